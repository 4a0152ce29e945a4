//! What nginx hands to a host: everything a process needs to know, already validated.
//!
//! The module writes it as JSON into a memfd, whose number is the supervisor's only argument.

mod interpreters;

use std::os::fd::RawFd;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::scoreboard::{GenerationFacts, ServerView};
use crate::succession::ScriptIn;

pub use interpreters::{InterpreterOptions, InterpreterSettings};

/// The configuration of one generation's supervisor.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SupervisorConfig {
    /// End B of the lifeline: EOF when master and workers of the generation have gone.
    pub lifeline: RawFd,
    /// The shared lease table.
    pub leases: RawFd,
    /// One eventfd per nginx worker slot, written to when a process becomes ready.
    pub wakeups: Vec<RawFd>,
    /// nginx's error log.
    pub error_log: ErrorLog,
    /// Settings common to all interpreters.
    pub python: PythonConfig,
    /// User of nginx's workers: apart from root, who else may connect to a daemon process. `None`
    /// leaves that to the sockets' permissions.
    #[serde(default)]
    pub worker_uid: Option<u32>,
    /// Which configuration of nginx this is.
    pub generation: GenerationFacts,
    /// The groups in configuration order; their index is the group's index in the lease table.
    pub groups: Vec<GroupConfig>,
}

impl SupervisorConfig {
    /// Whether the processes of a group are forked from one that has initialised Python. A service's
    /// are not: what its scripts do with signals needs a Python that starts after the process.
    pub fn uses_template(&self, group: &GroupConfig) -> bool {
        !self.python.lazy_initialization && !group.is_service()
    }
}

/// An error log to write to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ErrorLog {
    /// Open for appending.
    pub fd: RawFd,
    /// Its name, to follow log rotation; `None` for stderr and for logs that are no files.
    pub path: Option<PathBuf>,
    /// nginx's number of the least severe level to write.
    pub level: u8,
}

/// Facts about the server and settings that every interpreter shares.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PythonConfig {
    /// `wsgi_python_home`: a prefix, or `prefix:exec_prefix`.
    pub home: Option<PathBuf>,
    /// `wsgi_python_optimize`, 0 to 2.
    pub optimize: u8,
    /// `wsgi_python_warnings`: filters, a later one counts before an earlier one.
    pub warnings: Vec<String>,
    /// `wsgi_dont_write_bytecode`.
    pub dont_write_bytecode: bool,
    /// `wsgi_python_hash_seed`; `None` leaves it to Python.
    pub hash_seed: Option<HashSeed>,
    /// `wsgi_restrict_stdin`.
    pub restrict_stdin: bool,
    /// `wsgi_restrict_stdout`.
    pub restrict_stdout: bool,
    /// `wsgi_restrict_signal`.
    pub restrict_signal: bool,
    /// `wsgi_lazy_initialization`: off, a group's processes are forked from one that has Python.
    pub lazy_initialization: bool,
    /// `wsgi_destroy_interpreter`.
    pub destroy_interpreter: bool,
    /// `wsgi_case_sensitivity`.
    pub case_sensitive: bool,
    /// `wsgi_per_interpreter_gil`
    pub per_interpreter_gil: bool,
    /// `wsgi_free_threading`
    pub free_threading: bool,
    /// Every `wsgi_interpreter_options`, in configuration order.
    pub interpreters: Vec<InterpreterOptions>,
    /// Version of nginx as (major, minor, patch).
    pub server_version: (u32, u32, u32),
}

impl Default for PythonConfig {
    fn default() -> Self {
        PythonConfig {
            home: None,
            optimize: 0,
            warnings: Vec::new(),
            dont_write_bytecode: false,
            hash_seed: None,
            restrict_stdin: false,
            restrict_stdout: false,
            restrict_signal: true,
            lazy_initialization: true,
            destroy_interpreter: true,
            case_sensitive: true,
            per_interpreter_gil: false,
            free_threading: false,
            interpreters: Vec::new(),
            server_version: (0, 0, 0),
        }
    }
}

/// What the hashes of strings start from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HashSeed {
    /// Another in each process.
    Random,
    /// The same in each process.
    Fixed(u32),
}

/// One `wsgi_daemon_process`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GroupConfig {
    /// The group's name.
    pub name: String,
    /// `processes=`: how many processes.
    pub processes: u16,
    /// Whether `processes=` was written: that alone makes `wsgi.multiprocess` true.
    pub multiprocess: bool,
    /// `threads=`: request threads of each process; 0 makes it a service, see [`Self::is_service`].
    pub threads: u16,
    /// Who the processes run as; `None` when nginx was not started as root.
    pub credentials: Option<Credentials>,
    /// Home directory of the user the processes run as, from the user database.
    pub user_home: Option<PathBuf>,
    /// Name of the user the processes run as, from the user database.
    pub user_name: Option<String>,
    /// `umask=`.
    pub umask: Option<u32>,
    /// `home=`: working directory and first entry of `sys.path`.
    pub home: Option<PathBuf>,
    /// `python-path=`; `wsgi_python_path` is for embedded applications only.
    pub python_path: Vec<PathBuf>,
    /// `python-home=`; without it [`PythonConfig::home`] counts.
    pub python_home: Option<PathBuf>,
    /// `python-eggs=`; `wsgi_python_eggs` is for embedded applications only.
    pub python_eggs: Option<PathBuf>,
    /// `switch-interval=` in seconds; `wsgi_switch_interval` is for embedded applications only.
    pub switch_interval: Option<f64>,
    /// `lang=`, the variable LANG.
    pub lang: Option<String>,
    /// `locale=`, the variable LC_ALL and the locale of the process.
    pub locale: Option<String>,
    /// `display-name=`, `%{GROUP}` already replaced.
    pub display_name: Option<String>,
    /// `shutdown-timeout=` in seconds; 0 waits for ever.
    pub shutdown_timeout: u32,
    /// What ends or replaces the group's processes.
    pub timers: Timers,
    /// `reload-wait=` in seconds: how long a request that meets a changed script waits for the
    /// process that has the new one.
    pub reload_wait: f64,
    /// Error log of the server the group belongs to, where it is not nginx's main one.
    pub error_log: Option<ErrorLog>,
    /// One listening unix socket for each of the group's [`crate::scoreboard::seats`], bound by
    /// nginx; none for a service.
    pub listeners: Vec<Listener>,
    /// The group's report, a memfd of [`crate::scoreboard::Reports`].
    pub report: RawFd,
    /// What its processes load before they say that they are ready, in this order.
    #[serde(default)]
    pub imports: Vec<ScriptIn>,
    /// `stack-size=`: stack of each request thread in bytes; `None` leaves it to the host.
    pub stack_size: Option<usize>,
    /// `cpu-priority=`, as setpriority() takes it.
    pub cpu_priority: Option<i32>,
    /// What the processes may use.
    pub limits: Limits,
    /// `chroot=`: all other paths of the group are those inside.
    pub chroot: Option<PathBuf>,
    /// `socket-user=`: who may connect besides root and nginx's workers.
    pub socket_uid: Option<u32>,
    /// The connections from nginx.
    pub connections: ConnectionConfig,
    /// `server-metrics=`: its applications may see what its processes report.
    pub server_metrics: bool,
}

impl GroupConfig {
    /// Whether its processes take no requests and only run their scripts (mod_wsgi semantics b.6).
    pub fn is_service(&self) -> bool {
        self.threads == 0
    }
}

/// What ends or replaces a daemon process (mod_wsgi semantics b.3): seconds, 0 for never.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timers {
    /// `maximum-requests=`, a count.
    pub maximum_requests: u32,
    /// `startup-timeout=`
    pub startup: u32,
    /// `deadlock-timeout=`
    pub deadlock: u32,
    /// `inactivity-timeout=`
    pub inactivity: u32,
    /// `request-timeout=`
    pub request: u32,
    /// `interrupt-timeout=`
    pub interrupt: u32,
    /// `graceful-timeout=`
    pub graceful: u32,
    /// `eviction-timeout=`
    pub eviction: u32,
    /// `restart-interval=`
    pub restart_interval: u32,
}

impl Default for Timers {
    /// mod_wsgi's defaults.
    fn default() -> Self {
        Timers {
            maximum_requests: 0,
            startup: 0,
            deadlock: 300,
            inactivity: 0,
            request: 0,
            interrupt: 0,
            graceful: 15,
            eviction: 0,
            restart_interval: 0,
        }
    }
}

/// Resource limits; `None` leaves the supervisor's.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Limits {
    /// `cpu-time-limit=` in seconds.
    pub cpu_time: Option<u32>,
    /// `memory-limit=`: bytes of data (RLIMIT_DATA).
    pub memory: Option<u64>,
    /// `virtual-memory-limit=`: bytes of address space (RLIMIT_AS).
    pub virtual_memory: Option<u64>,
}

/// What holds for each connection from nginx; `None` leaves it to the system, or is no limit.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ConnectionConfig {
    /// `send-buffer-size=` in bytes.
    pub send_buffer: Option<usize>,
    /// `receive-buffer-size=` in bytes.
    pub receive_buffer: Option<usize>,
    /// `socket-timeout=`: seconds that a read or a write may make no progress.
    pub timeout: Option<u32>,
    /// `header-buffer-size=`: longest line of a response header in bytes.
    pub header_line: Option<usize>,
    /// nginx is in the same process and reads the memory of bytes objects.
    #[serde(skip)]
    pub lends: bool,
}

/// A listening unix socket.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Listener {
    /// The socket.
    pub fd: RawFd,
    /// Its path, unlinked at the generation's end.
    pub path: PathBuf,
}

/// The identity of a daemon process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Credentials {
    /// User, never 0.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
}

/// What one process's Python runtime is started with. The daemon process makes it from its
/// [`GroupConfig`], the nginx worker from its own configuration for the embedded host.
#[derive(Clone, Debug, Default)]
pub struct RuntimeConfig {
    /// Daemon process group, empty when embedded.
    pub process_group: String,
    /// What is the same in all processes; `home` is this process's own.
    pub python: PythonConfig,
    /// Directories for `site.addsitedir`; new entries go to the front of `sys.path`.
    pub python_path: Vec<PathBuf>,
    /// Goes before all of them (`home=`).
    pub home: Option<PathBuf>,
    /// The variable PYTHON_EGG_CACHE.
    pub python_eggs: Option<PathBuf>,
    /// How long a thread keeps the GIL while others wait for it, in seconds.
    pub switch_interval: Option<f64>,
    /// Request threads of the process.
    pub threads: u16,
    /// Processes of the group, or nginx workers.
    pub processes: u16,
    /// `wsgi.multiprocess`.
    pub multiprocess: bool,
    /// `wsgi.run_once`.
    pub run_once: bool,
    /// Scripts to load before any request, in this order.
    pub imports: Vec<ScriptIn>,
    /// The process runs its scripts and nothing else, see [`GroupConfig::is_service`].
    pub service: bool,
    /// What `mod_wsgi.server_metrics()` shows; `None` where it may show nothing.
    pub server: Option<ServerView>,
}

impl RuntimeConfig {
    /// Whether this is a process of a daemon process group.
    pub fn is_daemon(&self) -> bool {
        !self.process_group.is_empty()
    }

    /// Where the runtime is, for log lines.
    pub fn context(&self) -> String {
        match self.process_group.as_str() {
            "" => "embedded mode".to_owned(),
            group => format!("daemon process '{group}'"),
        }
    }

    /// An interpreter and where it is, for log lines; the main one has no name.
    pub fn interpreter(&self, name: &str) -> String {
        let interpreter = match name {
            "" => "main interpreter".to_owned(),
            name => format!("sub-interpreter '{name}'"),
        };
        let preposition = if self.is_daemon() { "of" } else { "in" };
        format!("{interpreter} {preposition} {}", self.context())
    }
}
