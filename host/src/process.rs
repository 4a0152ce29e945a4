//! One daemon process, from fork to exit.
//!
//! The supervisor forks and calls [`run`], which sets the process up, starts Python, says that it
//! is ready and waits for the end: a signal, or the supervisor's.

mod descriptors;
mod environment;
mod identity;
mod lifetime;
mod signals;
mod title;

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;

use nix::errno::Errno;
use nix::unistd::Pid;
use thiserror::Error;

use crate::config::{GroupConfig, PythonConfig, RuntimeConfig};
use crate::log::{Level, PipeSink};
use crate::python::{Runtime, StartError};
use crate::scoreboard::{MappingError, Reports};
use crate::server::{Host, HostConfig};

pub use title::Title;

/// Control byte: the process takes requests.
pub const READY: u8 = b'r';
/// Control byte: the process finishes what it has.
pub const DRAINING: u8 = b'd';

/// Everything that a new process needs from its supervisor.
pub struct Start<'a> {
    /// The group.
    pub group: &'a GroupConfig,
    /// Settings common to all groups.
    pub python: &'a PythonConfig,
    /// Number of the process in its group.
    pub process: usize,
    /// User of nginx's workers.
    pub worker_uid: Option<u32>,
    /// The process that forked.
    pub supervisor: Pid,
    /// Least severe level of the group's log.
    pub level: Level,
    /// Where the process title goes.
    pub title: Title,
    /// This process's end of the control socket.
    pub control: OwnedFd,
    /// This process's end of the log pipe.
    pub log: OwnedFd,
}

/// A step of the setting-up that failed.
#[derive(Debug, Error)]
pub enum SetupError {
    /// A system call.
    #[error("cannot {step}: {}", .source.desc())]
    Step {
        /// What was to be done.
        step: String,
        /// Why it could not.
        source: Errno,
    },
    /// The configuration asks for root.
    #[error("cannot set the user: applications do not run as root")]
    Root,
    /// The supervisor ended meanwhile.
    #[error("cannot go on: the supervisor has gone")]
    Orphaned,
    /// The group's report.
    #[error(transparent)]
    Report(#[from] MappingError),
    /// Python.
    #[error(transparent)]
    Python(#[from] StartError),
    /// The host or its threads.
    #[error("cannot start request threads: {0}")]
    Host(io::Error),
}

impl SetupError {
    fn step(step: impl Into<String>) -> impl FnOnce(Errno) -> Self {
        move |source| SetupError::Step { step: step.into(), source }
    }
}

/// Runs a daemon process until its end; called right after fork. Returns the exit code, with which
/// the caller must exit: descriptors have been closed underneath their owners.
pub fn run(start: &Start<'_>) -> i32 {
    let alert = |error: SetupError| {
        tracing::error!(level = 2u64, "daemon process group \"{}\": {error}", start.group.name);
        1
    };
    if let Err(error) = descriptors::redirect(start.log.as_fd()) {
        return alert(error);
    }
    crate::log::install(Box::<PipeSink>::default(), start.level);
    match set_up(start).and_then(|signals| serve(start, signals)) {
        Ok(code) => code,
        Err(error) => alert(error),
    }
}

fn set_up(start: &Start<'_>) -> Result<signals::Signals, SetupError> {
    let group = start.group;
    let title = group.display_name.clone();
    start.title.set(&title.unwrap_or(format!("ngx-wsgi-host: daemon process {}", group.name)));
    identity::assume(group)?;
    identity::tie_to(start.supervisor)?;
    environment::enter_directory(group)?;
    environment::set_umask(group);
    let signals =
        signals::Signals::install().map_err(SetupError::step("install signal handlers"))?;
    environment::set_variables(group);
    let mut keep = vec![group.report, start.control.as_raw_fd(), signals.as_raw_fd()];
    keep.extend(listener_of(start));
    descriptors::close_all_but(&mut keep)?;
    Ok(signals)
}

fn serve(start: &Start<'_>, signals: signals::Signals) -> Result<i32, SetupError> {
    let group = start.group;
    // SAFETY: the supervisor's configuration names the group's report, kept open above.
    let report = unsafe { BorrowedFd::borrow_raw(group.report) };
    let reports = Arc::new(Reports::open(report, group.processes, group.threads)?);
    reports.enter(start.process, std::process::id());
    let runtime = Runtime::start(runtime_config(group, start.python))?;
    let host = Host::new(HostConfig {
        threads: group.threads,
        listener: listener_of(start).map(descriptors::own).transpose().map_err(SetupError::Host)?,
        allowed_uid: start.worker_uid,
        reports,
        process: start.process,
    })
    .map_err(SetupError::Host)?;
    let threads = Arc::clone(&runtime);
    host.spawn(move |id| Box::new(threads.thread(id))).map_err(SetupError::Host)?;
    Ok(lifetime::live(group, start.control.as_fd(), &signals, &host, &runtime))
}

fn listener_of(start: &Start<'_>) -> Option<RawFd> {
    start.group.listeners.get(start.process).map(|listener| listener.fd)
}

fn runtime_config(group: &GroupConfig, python: &PythonConfig) -> RuntimeConfig {
    RuntimeConfig {
        process_group: group.name.clone(),
        python_home: group.python_home.clone().or_else(|| python.home.clone()),
        python_path: group.python_path.clone(),
        home: group.home.clone(),
        threads: group.threads,
        processes: group.processes,
        multiprocess: group.multiprocess,
        run_once: false,
        server_version: python.server_version,
    }
}
