//! One daemon process, from fork to exit.
//!
//! The supervisor forks and calls [`run`], which sets the process up, starts Python, says that it
//! is ready and waits for the end: a signal, or the supervisor's. Or it has a [`template`] fork.

mod adoption;
mod descriptors;
mod dispatcher;
mod environment;
mod gil_probe;
mod identity;
mod lifetime;
mod limits;
mod monitor;
mod nofile;
mod service;
mod signals;
mod stacks;
mod template;
mod template_line;
mod title;

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;

use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use thiserror::Error;

use crate::config::{GroupConfig, PythonConfig, RuntimeConfig};
use crate::log::{Level, PipeSink};
use crate::memory::MappingError;
use crate::python::{Imported, Initialized, Runtime, StartError};
use crate::scoreboard::{seats, GenerationFacts, Progress, Reports, ServerGroup, ServerView};
use crate::server::{with_python, Activity, Host, HostConfig};
use crate::succession::{Succession, Wish};
use lifetime::Life;

pub use nofile::Descriptors;
pub use template::run as run_template;
pub use template_line::{Order as TemplateOrder, TemplateLine, Word as TemplateWord};
pub use title::Title;

/// What every process of a group needs from the supervisor.
#[derive(Clone, Copy)]
pub struct Common<'a> {
    /// The group.
    pub group: &'a GroupConfig,
    /// Settings common to all groups.
    pub python: &'a PythonConfig,
    /// User of nginx's workers.
    pub worker_uid: Option<u32>,
    /// Which configuration of nginx it belongs to.
    pub generation: GenerationFacts,
    /// The parent.
    pub supervisor: Pid,
    /// Least severe level of the group's log.
    pub level: Level,
    /// How many descriptors it may have; `None` as many as the supervisor.
    pub descriptors: Option<Descriptors>,
    /// Where the process title goes.
    pub title: Title,
}

/// Everything that a new process needs from its supervisor.
pub struct Start<'a> {
    /// What it shares with others.
    pub common: Common<'a>,
    /// Its seat in the group's tables.
    pub seat: usize,
    /// The line to the supervisor, and what goes over it.
    pub succession: Arc<Succession>,
    /// What the process it is to replace wants; `None` for one that replaces nobody.
    pub wish: Option<&'a Wish>,
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
    /// The host or its threads.
    #[error("cannot start request threads: {0}")]
    Host(io::Error),
    /// A successor cannot do what it was started for.
    #[error("cannot take over: the script '{0}' cannot be loaded")]
    Script(String),
    /// A template without Python.
    #[error("the template cannot go on: {0}")]
    Template(StartError),
    /// A template that must not fork.
    #[error(
        "the template cannot go on: Python's start has started a thread (sitecustomize and .pth files \
         may), and processes with threads are not copied"
    )]
    Threads,
}

impl SetupError {
    fn step(step: impl Into<String>) -> impl FnOnce(Errno) -> Self {
        move |source| SetupError::Step { step: step.into(), source }
    }
}

/// Runs a daemon process until its end; called right after fork. Returns the exit code, with which
/// the caller must exit: descriptors have been closed underneath their owners.
pub fn run(start: &Start<'_>) -> i32 {
    let common = start.common;
    let begun = common.redirect(start.log.as_fd()).and_then(|()| common.assume_identity());
    match begun {
        Ok(()) => live(start, None),
        Err(error) => common.alert(&error),
    }
}

/// The life of a process that is the group's user already.
fn live(start: &Start<'_>, python: Option<Initialized>) -> i32 {
    match set_up(start).and_then(|signals| serve(start, signals, python)) {
        Ok(code) => code,
        Err(error) => start.common.alert(&error),
    }
}

impl Common<'_> {
    /// Makes a log pipe this process's log, standard output and standard error.
    fn redirect(&self, log: BorrowedFd<'_>) -> Result<(), SetupError> {
        descriptors::redirect(log)?;
        crate::log::install(Box::<PipeSink>::default(), self.level);
        Ok(())
    }

    /// Makes this process what those of its group are, for good.
    fn assume_identity(&self) -> Result<(), SetupError> {
        let group = self.group;
        descriptors::empty_stdin()?;
        limits::set_priority(group);
        identity::enter_jail(group)?;
        identity::assume(group)?;
        environment::enter_directory(group)?;
        environment::set_umask(group);
        limits::apply(group);
        environment::set_variables(group);
        if let Some(descriptors) = self.descriptors {
            descriptors.restore();
        }
        Ok(())
    }

    /// Logs why the process ends; the exit code.
    fn alert(&self, error: &SetupError) -> i32 {
        let level =
            if matches!(error, SetupError::Script(_)) { Level::Error } else { Level::Alert };
        let level = u64::from(level as u8);
        tracing::error!(level, "daemon process group \"{}\": {error}", self.group.name);
        1
    }
}

fn set_up(start: &Start<'_>) -> Result<signals::Signals, SetupError> {
    let Common { group, title, supervisor, .. } = start.common;
    let shown = group.display_name.clone();
    title.set(&shown.unwrap_or(format!("ngx-wsgi-host: daemon process {}", group.name)));
    identity::tie_to(supervisor, Signal::SIGTERM)?;
    let signals =
        signals::Signals::install().map_err(SetupError::step("install signal handlers"))?;
    let mut keep = vec![group.report, start.succession.control().as_raw_fd(), signals.as_raw_fd()];
    keep.extend(listener_of(start));
    descriptors::close_all_but(&mut keep)?;
    Ok(signals)
}

fn serve(
    start: &Start<'_>,
    signals: signals::Signals,
    python: Option<Initialized>,
) -> Result<i32, SetupError> {
    let group = start.common.group;
    let user = group.credentials.as_ref();
    let user = user.map(|user| format!("uid={}, gid={} and ", user.uid, user.gid));
    tracing::info!(
        "Starting daemon process '{}' with {}threads={}.",
        group.name,
        user.unwrap_or_default(),
        group.threads
    );
    // SAFETY: the supervisor's configuration names the group's report, kept open above.
    let report = unsafe { BorrowedFd::borrow_raw(group.report) };
    let reports = Arc::new(Reports::open(report, seats(group.processes), group.threads)?);
    reports.enter(start.seat, std::process::id());
    // Without Python the process stays, and says why to every request: what is wrong is in the
    // configuration, and the next process would be no better.
    let server = server_view(start, &reports);
    let config = RuntimeConfig { server, ..runtime_config(&start.common) };
    let runtime = match python {
        Some(python) => Runtime::start_with(python, config),
        None => Runtime::start(config),
    };
    if let Err(error) = &runtime {
        tracing::error!(level = 2u64, "daemon process group \"{}\": {error}", group.name);
    }
    if group.is_service() {
        reports.set_progress(start.seat, Progress::Serving);
        let live = |runtime| service::live(group, &start.succession, &signals, runtime);
        return runtime.as_deref().map_or(Ok(1), live);
    }
    if let Ok(runtime) = &runtime {
        preload(runtime, start.wish)?;
    }
    let most = u64::from(group.timers.maximum_requests);
    let waker = signals.waker().map_err(SetupError::Host)?;
    let activity = Arc::new(Activity::new(group.threads, most, Some(waker)));
    let config = host_config(start, reports, Arc::clone(&activity))?;
    let host = Host::new(config).map_err(SetupError::Host)?;
    if let Ok(runtime) = &runtime {
        runtime.replace_through(Arc::clone(&start.succession));
    }
    host.spawn(with_python(runtime.clone())).map_err(SetupError::Host)?;
    let (succession, signals) = (&*start.succession, &signals);
    let life = Life { group, succession, signals, host: &host, activity, runtime: runtime.ok() };
    Ok(life.live())
}

/// Loads each script once: what has changed, what the process that is to be replaced has loaded, and
/// those to import. Where something that it runs cannot be loaded, the old process goes on. A script
/// that has been removed is nobody's any more.
fn preload(runtime: &Runtime, wish: Option<&Wish>) -> Result<(), SetupError> {
    let changed = wish.and_then(|wish| wish.reason.change()).map(|change| &change.of);
    let loaded = wish.map_or(&[][..], |wish| &wish.loaded);
    let needed = |script| Some(script) == changed || loaded.contains(script) && script.exists();
    let mut done = Vec::new();
    for script in runtime.imports().iter().chain(changed).chain(loaded) {
        let needed = needed(script);
        if done.contains(&script) || !needed && !runtime.imports().contains(script) {
            continue;
        }
        if runtime.import(script) != Imported::Loaded && needed {
            return Err(SetupError::Script(script.shown()));
        }
        done.push(script);
    }
    Ok(())
}

/// Ends the process without exit handlers, which other threads may be inside of.
fn leave_at_once() -> ! {
    // SAFETY: does not return.
    unsafe { libc::_exit(1) }
}

fn host_config(
    start: &Start<'_>,
    reports: Arc<Reports>,
    activity: Arc<Activity>,
) -> Result<HostConfig, SetupError> {
    let group = start.common.group;
    let plain = HostConfig::new(group.threads, reports);
    Ok(HostConfig {
        listener: listener_of(start).map(descriptors::own).transpose().map_err(SetupError::Host)?,
        allowed_uids: start.common.worker_uid.map_or_else(Vec::new, |worker| {
            std::iter::once(worker).chain(group.socket_uid).collect()
        }),
        process: start.seat,
        activity,
        stirs: group.timers.inactivity > 0,
        stack_size: group.stack_size.unwrap_or(plain.stack_size),
        connections: group.connections.clone(),
        ..plain
    })
}

fn listener_of(start: &Start<'_>) -> Option<RawFd> {
    start.common.group.listeners.get(start.seat).map(|listener| listener.fd)
}

/// What the group's applications may see of the server: its own processes.
fn server_view(start: &Start<'_>, reports: &Arc<Reports>) -> Option<ServerView> {
    let GroupConfig { name, processes: size, .. } = start.common.group;
    let group = ServerGroup { name: name.clone(), size: *size, reports: Arc::clone(reports) };
    let view = ServerView { generation: start.common.generation, groups: vec![group] };
    start.common.group.server_metrics.then_some(view)
}

/// The settings of a group's Python.
fn runtime_config(common: &Common<'_>) -> RuntimeConfig {
    let Common { group, python, .. } = *common;
    RuntimeConfig {
        process_group: group.name.clone(),
        python: PythonConfig {
            home: group.python_home.clone().or_else(|| python.home.clone()),
            ..python.clone()
        },
        python_path: group.python_path.clone(),
        home: group.home.clone(),
        python_eggs: group.python_eggs.clone(),
        switch_interval: group.switch_interval,
        threads: group.threads,
        processes: group.processes,
        multiprocess: group.multiprocess,
        run_once: group.threads == 1 && group.timers.maximum_requests == 1,
        imports: group.imports.clone(),
        service: group.is_service(),
        server: None,
    }
}
