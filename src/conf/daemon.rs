//! Options of wsgi_daemon_process (mod_wsgi semantics b.1).

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
}

/// An option that cannot be used.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum OptionError {
    #[error("has invalid option \"{0}\"")]
    Unknown(String),
    #[error("has invalid {what} \"{value}\": {reason}")]
    Value { what: String, value: String, reason: String },
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

    /// Process title: `%{GROUP}` becomes `(wsgi:NAME)`.
    pub fn title(&self, name: &str) -> Option<String> {
        let title = self.display_name.as_ref()?;
        Some(title.replace("%{GROUP}", &format!("(wsgi:{name})")))
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
        ] {
            assert!(set(option).is_err(), "{option}");
        }
    }

    #[test]
    fn the_last_one_counts() {
        let mut options = DaemonOptions::default();
        options.set("threads=2").unwrap();
        options.set("threads=4").unwrap();
        assert_eq!(options.threads, Some(4));
    }
}
