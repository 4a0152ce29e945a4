//! Options of wsgi_daemon_process (mod_wsgi semantics b.1).

// By its path: tests/logic.rs compiles this file by itself.
#[path = "daemon/values.rs"]
mod values;

use std::path::{Path, PathBuf};

use ngx_wsgi_host::config::Timers;
use nix::unistd::{Gid, Group, Uid, User};
use thiserror::Error;

/// Most processes of one group: more is a mistake in the configuration.
const PROCESSES_MAX: u16 = 1024;
/// Most threads of one process, mod_wsgi's limit.
const THREADS_MAX: u16 = 65533;

/// A `wsgi_daemon_process` that was written.
#[derive(Clone, Debug, Default)]
pub struct DaemonOptions {
    pub user: Option<User>,
    pub group: Option<Group>,
    pub processes: Option<u16>,
    pub threads: Option<u16>,
    pub umask: Option<u32>,
    pub home: Option<PathBuf>,
    pub python_home: Option<PathBuf>,
    pub python_path: Option<Vec<PathBuf>>,
    pub python_eggs: Option<PathBuf>,
    pub switch_interval: Option<f64>,
    pub lang: Option<String>,
    pub locale: Option<String>,
    pub display_name: Option<String>,
    pub shutdown_timeout: Option<u32>,
    pub queue_timeout: Option<u32>,
    pub connect_timeout: Option<u32>,
    pub timers: Timers,
    pub reload_wait: Option<f64>,
    pub supplementary_groups: Option<Vec<Gid>>,
    pub stack_size: Option<usize>,
    pub cpu_priority: Option<i32>,
    /// Bytes; in these three `None` is no limit.
    pub memory_limit: Option<u64>,
    pub virtual_memory_limit: Option<u64>,
    /// Seconds.
    pub cpu_time_limit: Option<u32>,
    pub listen_backlog: Option<i32>,
    pub socket_user: Option<Uid>,
    pub send_buffer_size: Option<u64>,
    pub receive_buffer_size: Option<u64>,
    /// Seconds; `None` leaves it to nginx's timeouts.
    pub socket_timeout: Option<u32>,
    pub header_buffer_size: Option<u64>,
    pub script_user: Option<Uid>,
    pub script_group: Option<Gid>,
    /// Without a slash at its end; the root directory itself is empty.
    pub chroot: Option<PathBuf>,
    pub server_metrics: bool,
}

/// An option that cannot be used.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum OptionError {
    #[error("has invalid option \"{0}\"")]
    Unknown(String),
    #[error("has invalid {what} \"{value}\": {reason}")]
    Value { what: String, value: String, reason: String },
    #[error("cannot have both \"{0}\" and \"{1}\"")]
    Exclusive(&'static str, &'static str),
}

fn value_error(what: &str, value: &str, reason: impl ToString) -> OptionError {
    let (what, value, reason) = (what.to_owned(), value.to_owned(), reason.to_string());
    OptionError::Value { what, value, reason }
}

impl DaemonOptions {
    /// Takes one `name=value`. A later one of the same name replaces an earlier one.
    ///
    /// # Errors
    ///
    /// [`OptionError`] for an unknown name or a value out of range.
    pub fn set(&mut self, option: &str) -> Result<(), OptionError> {
        let unknown = || OptionError::Unknown(option.to_owned());
        let (name, value) = option.split_once('=').ok_or_else(unknown)?;
        match name {
            "user" => self.user = Some(user(value)?),
            "group" => self.group = Some(group(value)?),
            "processes" => self.processes = Some(number("processes", value, 1, PROCESSES_MAX)?),
            "threads" => self.threads = Some(number("threads", value, 0, THREADS_MAX)?),
            "umask" => self.umask = Some(umask(value)?),
            "home" => self.home = Some(absolute("home", value)?),
            "python-home" => self.python_home = Some(absolute("python-home", value)?),
            "python-path" => self.python_path = Some(path_list(value)),
            "python-eggs" => self.python_eggs = Some(absolute("python-eggs", value)?),
            "switch-interval" => self.switch_interval = Some(switch_interval(name, value)?),
            "lang" => self.lang = Some(not_empty("lang", value)?),
            "locale" => self.locale = Some(not_empty("locale", value)?),
            "display-name" => self.display_name = Some(value.to_owned()),
            "shutdown-timeout" => self.shutdown_timeout = Some(seconds("shutdown-timeout", value)?),
            "queue-timeout" => self.queue_timeout = Some(seconds("queue-timeout", value)?),
            "connect-timeout" => self.connect_timeout = Some(seconds("connect-timeout", value)?),
            "reload-wait" => self.reload_wait = Some(reload_wait(name, value)?),
            "supplementary-groups" => self.supplementary_groups = Some(values::gids(name, value)?),
            "stack-size" => self.stack_size = Some(values::stack_size(name, value)?),
            "cpu-priority" => self.cpu_priority = Some(values::priority(name, value)?),
            "memory-limit" => self.memory_limit = values::size(name, value, 0)?,
            "virtual-memory-limit" => self.virtual_memory_limit = values::size(name, value, 0)?,
            "cpu-time-limit" => self.cpu_time_limit = values::period("cpu-time-limit", value)?,
            "listen-backlog" => self.listen_backlog = Some(values::backlog(name, value)?),
            "socket-user" => self.socket_user = Some(values::uid(name, value)?),
            "send-buffer-size" => self.send_buffer_size = values::buffer_size(name, value)?,
            "receive-buffer-size" => self.receive_buffer_size = values::buffer_size(name, value)?,
            "socket-timeout" => self.socket_timeout = values::period("socket-timeout", value)?,
            "header-buffer-size" => self.header_buffer_size = values::size(name, value, 8192)?,
            "script-user" => self.script_user = Some(values::uid(name, value)?),
            "script-group" => self.script_group = Some(values::gid(name, value)?),
            "chroot" => self.chroot = Some(values::jail("chroot", value)?),
            "root" => self.chroot = Some(values::jail("root", value)?),
            "server-metrics" => self.server_metrics = values::switch(name, value)?,
            "response-buffer-size" => drop(values::size(name, value, 65536)?),
            "response-socket-timeout" => drop(seconds("response-socket-timeout", value)?),
            "response-flush-delay" => drop(values::milliseconds(name, value)?),
            _ => *self.timer(name).ok_or_else(unknown)? = seconds(name, value)?,
        }
        Ok(())
    }

    fn timer(&mut self, name: &str) -> Option<&mut u32> {
        let timers = &mut self.timers;
        Some(match name {
            "maximum-requests" => &mut timers.maximum_requests,
            "startup-timeout" => &mut timers.startup,
            "deadlock-timeout" => &mut timers.deadlock,
            "inactivity-timeout" => &mut timers.inactivity,
            "request-timeout" => &mut timers.request,
            "interrupt-timeout" => &mut timers.interrupt,
            "graceful-timeout" => &mut timers.graceful,
            "eviction-timeout" => &mut timers.eviction,
            "restart-interval" => &mut timers.restart_interval,
            _ => return None,
        })
    }

    /// Checks the options of one group against each other.
    ///
    /// # Errors
    ///
    /// [`OptionError::Exclusive`].
    pub fn check(&self) -> Result<(), OptionError> {
        if self.script_user.is_some() && self.script_group.is_some() {
            return Err(OptionError::Exclusive("script-user", "script-group"));
        }
        Ok(())
    }

    /// Process title: `%{GROUP}` becomes `(wsgi:NAME)`.
    pub fn title(&self, name: &str) -> Option<String> {
        let title = self.display_name.as_ref()?;
        Some(title.replace("%{GROUP}", &format!("(wsgi:{name})")))
    }
}

/// What applies instead of an option of mod_wsgi that has nothing to do here.
pub fn instead_of(option: &str) -> Option<&'static str> {
    match option.split('=').next()? {
        "response-buffer-size" => Some("\"wsgi_buffers\" and \"wsgi_max_temp_file_size\""),
        "response-socket-timeout" => Some("\"send_timeout\""),
        "response-flush-delay" => Some("\"wsgi_buffering\" on or off"),
        _ => None,
    }
}

/// Directories separated by colons.
pub fn path_list(value: &str) -> Vec<PathBuf> {
    value.split(':').filter(|entry| !entry.is_empty()).map(PathBuf::from).collect()
}

fn number(what: &'static str, value: &str, min: u16, max: u16) -> Result<u16, OptionError> {
    let bad = || value_error(what, value, format_args!("must be a number from {min} to {max}"));
    value.parse().ok().filter(|n| (min..=max).contains(n)).ok_or_else(bad)
}

fn seconds(what: &str, value: &str) -> Result<u32, OptionError> {
    let unit = if what == "maximum-requests" { "requests" } else { "seconds" };
    let bad = || value_error(what, value, format_args!("must be a number of {unit}"));
    value.parse().ok().filter(|n| *n <= i32::MAX as u32).ok_or_else(bad)
}

/// How long a thread keeps the GIL: seconds, which may be fractions.
pub fn switch_interval(what: &str, value: &str) -> Result<f64, OptionError> {
    let bad = || value_error(what, value, "must be a number of seconds greater than 0");
    let number = value.parse().ok().filter(|n| *n > 0.0 && *n <= f64::from(i32::MAX));
    number.filter(|_| !value.starts_with('+')).ok_or_else(bad)
}

/// How long a request waits for another process: seconds, which may be fractions.
fn reload_wait(what: &str, value: &str) -> Result<f64, OptionError> {
    let bad = || value_error(what, value, "must be a number of seconds");
    let number = value.parse().ok().filter(|n| (0.0..=f64::from(i32::MAX)).contains(n));
    number.filter(|_| value.starts_with(|c: char| c.is_ascii_digit())).ok_or_else(bad)
}

fn not_empty(what: &str, value: &str) -> Result<String, OptionError> {
    if value.is_empty() || value.contains('\0') {
        return Err(value_error(what, value, "must be a name"));
    }
    Ok(value.to_owned())
}

fn umask(value: &str) -> Result<u32, OptionError> {
    let bad = || value_error("umask", value, "must be an octal number from 0 to 0777");
    u32::from_str_radix(value, 8).ok().filter(|mask| *mask <= 0o777).ok_or_else(bad)
}

fn absolute(what: &'static str, value: &str) -> Result<PathBuf, OptionError> {
    if Path::new(value).is_absolute() {
        return Ok(PathBuf::from(value));
    }
    Err(value_error(what, value, "must be an absolute path"))
}

/// A user by name or `#uid`; root is refused.
fn user(value: &str) -> Result<User, OptionError> {
    let bad = |reason: &dyn ToString| value_error("user", value, reason.to_string());
    let found = match value.strip_prefix('#') {
        Some(id) => {
            let id = id.parse().map_err(|_| bad(&"not a uid"))?;
            User::from_uid(Uid::from_raw(id))
        }
        None => User::from_name(value),
    };
    let user = found.map_err(|error| bad(&error))?.ok_or_else(|| bad(&"no such user"))?;
    if user.uid.is_root() {
        return Err(bad(&"WSGI process blocked from running as root"));
    }
    Ok(user)
}

/// A group by name or `#gid`.
fn group(value: &str) -> Result<Group, OptionError> {
    let bad = |reason: &dyn ToString| value_error("group", value, reason.to_string());
    let found = match value.strip_prefix('#') {
        Some(id) => {
            let id = id.parse().map_err(|_| bad(&"not a gid"))?;
            Group::from_gid(Gid::from_raw(id))
        }
        None => Group::from_name(value),
    };
    found.map_err(|error| bad(&error))?.ok_or_else(|| bad(&"no such group"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(option: &str) -> Result<DaemonOptions, OptionError> {
        let mut options = DaemonOptions::default();
        options.set(option).map(|()| options)
    }

    #[test]
    fn values_are_read() {
        assert_eq!(set("processes=3").unwrap().processes, Some(3));
        assert_eq!(set("umask=0027").unwrap().umask, Some(0o27));
        assert_eq!(set("python-path=/a:/b").unwrap().python_path.unwrap().len(), 2);
        assert_eq!(set("switch-interval=0.01").unwrap().switch_interval, Some(0.01));
        assert_eq!(set("locale=C.UTF-8").unwrap().locale.unwrap(), "C.UTF-8");
        assert_eq!(set("maximum-requests=9").unwrap().timers.maximum_requests, 9);
        assert!(set("server-metrics=On").unwrap().server_metrics);
        assert!(!set("server-metrics=off").unwrap().server_metrics);
        assert_eq!(set("reload-wait=0.5").unwrap().reload_wait, Some(0.5));
        assert_eq!(set("display-name=%{GROUP}").unwrap().title("x").unwrap(), "(wsgi:x)");
        assert!(set("user=nobody").unwrap().user.is_some());
    }

    #[test]
    fn bad_values_and_unknown_names_are_refused() {
        for option in [
            "processes=0",
            "processes=two",
            "processes=-1",
            "threads=-1",
            "threads=70000",
            "umask=8",
            "umask=7777",
            "home=relative",
            "user=no-such-user",
            "user=root",
            "user=#0",
            "group=#x",
            "queue-timeout=-1",
            "python-eggs=relative",
            "switch-interval=0",
            "switch-interval=-0.1",
            "switch-interval=nan",
            "switch-interval=inf",
            "switch-interval=fast",
            "maximum-requests=-1",
            "maximum-requests=many",
            "deadlock-timeout=1.5",
            "inactivity-timeout=",
            "restart-interval=1h",
            "reload-wait=-1",
            "reload-wait=inf",
            "reload-wait=.5",
            "lang=",
            "locale=",
            "nonsense=1",
            "processes",
            "=1",
            "supplementary-groups=",
            "supplementary-groups=#0,",
            "supplementary-groups=no-such-group",
            "supplementary-groups=#4294967295",
            "stack-size=16k",
            "stack-size=4g",
            "cpu-priority=-21",
            "cpu-priority=21",
            "cpu-priority=low",
            "memory-limit=-1",
            "memory-limit=1t",
            "memory-limit=k",
            "memory-limit=9223372036854775807g",
            "virtual-memory-limit=",
            "cpu-time-limit=1s",
            "listen-backlog=-1",
            "socket-user=#x",
            "socket-user=no-such-user",
            "send-buffer-size=511",
            "receive-buffer-size=3g",
            "socket-timeout=x",
            "header-buffer-size=8191",
            "script-user=no-such-user",
            "script-group=no-such-group",
            "chroot=relative",
            "root=relative",
            "chroot=/nonexistent",
            "response-buffer-size=65535",
            "response-socket-timeout=-1",
            "response-flush-delay=x",
            "server-metrics=1",
            "server-metrics=",
        ] {
            assert!(set(option).is_err(), "{option}");
        }
    }

    #[test]
    fn sizes_have_nginx_suffixes() {
        assert_eq!(set("memory-limit=1000").unwrap().memory_limit, Some(1000));
        assert_eq!(set("memory-limit=2M").unwrap().memory_limit, Some(2 << 20));
        assert_eq!(set("memory-limit=3g").unwrap().memory_limit, Some(3 << 30));
        assert_eq!(set("stack-size=512k").unwrap().stack_size, Some(512 << 10));
        assert_eq!(set("memory-limit=0").unwrap().memory_limit, None);
        assert_eq!(set("send-buffer-size=0").unwrap().send_buffer_size, None);
        assert_eq!(set("header-buffer-size=0").unwrap().header_buffer_size, None);
    }

    #[test]
    fn ids_need_no_names() {
        let options = set("supplementary-groups=#54321,#0").unwrap();
        let ids: Vec<u32> =
            options.supplementary_groups.unwrap().iter().map(|gid| gid.as_raw()).collect();
        assert_eq!(ids, [54321, 0]);
        assert_eq!(set("script-user=#54321").unwrap().script_user, Some(Uid::from_raw(54321)));
    }

    #[test]
    fn a_jail_has_no_slash_at_its_end() {
        if nix::unistd::geteuid().is_root() {
            assert_eq!(set("chroot=/usr//bin/").unwrap().chroot.unwrap(), Path::new("/usr/bin"));
            assert_eq!(set("root=/").unwrap().chroot.unwrap(), Path::new(""));
        } else {
            assert!(set("chroot=/usr").unwrap_err().to_string().contains("root"));
        }
    }

    #[test]
    fn a_script_is_a_users_or_a_groups() {
        let mut options = set("script-user=#1").unwrap();
        assert_eq!(options.check(), Ok(()));
        options.set("script-group=#1").unwrap();
        assert!(options.check().is_err());
    }

    #[test]
    fn the_last_one_counts() {
        let mut options = DaemonOptions::default();
        options.set("threads=2").unwrap();
        options.set("threads=4").unwrap();
        assert_eq!(options.threads, Some(4));
    }
}
