//! Everything that lives and dies with one configuration.

use std::cell::OnceCell;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nginx_sys::{ngx_core_conf_t, ngx_cycle_t, ngx_log_t, ngx_str_t};
use ngx::ngx_log_error;
use ngx_wsgi_host::clock::{now_us, poll_timeout};
use ngx_wsgi_host::config::{
    ConnectionConfig, ErrorLog, GroupConfig, Limits, Listener, SupervisorConfig,
};
use ngx_wsgi_host::memory::MappingError;
use ngx_wsgi_host::scoreboard::{
    GenerationFacts, GroupShape, Leases, Reports, ServerGroup, ServerView, Shape,
};
use ngx_wsgi_host::succession::ScriptIn;
use nix::poll::{poll, PollFd, PollFlags};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::socket::{
    recv, shutdown, socketpair, AddressFamily, MsgFlags, Shutdown, SockFlag, SockType,
};
use nix::unistd::{geteuid, Gid, Uid, User};
use thiserror::Error;

use super::board::EmbeddedBoard;
use super::executable::{HostExecutable, NotFound};
use super::identity::{self, Root};
use super::sockets::{self, Access, SocketError, SocketNames};
use super::spawn::{self, SpawnError};
use crate::conf::{DaemonOptions, GroupDefinition, MainConf};
use crate::dispatch::Dispatcher;
use crate::ffi::{file_log, log_level, server_log, worker_count, Role};

static GENERATIONS: AtomicU32 = AtomicU32::new(0);

/// Longest line of a response header where none is configured (mod_wsgi's).
const HEADER_LINE: usize = 32 << 10;

/// The daemons of a configuration could not be started.
#[derive(Debug, Error)]
pub enum StartError {
    #[error(transparent)]
    Executable(#[from] NotFound),
    #[error(transparent)]
    Memory(#[from] MappingError),
    #[error(transparent)]
    Socket(#[from] SocketError),
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    #[error("cannot make a {what}: {source}")]
    Descriptor { what: &'static str, source: nix::Error },
    #[error(transparent)]
    Root(#[from] Root),
}

/// One configuration's processes and memory, as master and workers hold them.
pub struct Generation {
    /// The calling process's part in dispatching; made on first use, never in the master. Dropped
    /// before what it refers to.
    dispatcher: OnceCell<Box<Dispatcher>>,
    /// `None` when no group is configured, or their start failed.
    pub daemons: Option<Daemons>,
    /// What workers tell each other of the hosts inside them; `None` without memory for it.
    pub embedded: Option<EmbeddedBoard>,
    /// Which configuration of this nginx it is.
    pub facts: GenerationFacts,
}

/// The shared part of all groups.
pub struct Daemons {
    pub leases: Leases,
    /// For each group.
    pub reports: Vec<Arc<Reports>>,
    /// For each group and process.
    pub addresses: Vec<Vec<Address>>,
    /// One eventfd for each worker.
    pub wakeups: Vec<OwnedFd>,
    /// End A: the supervisor lives as long as anybody holds it.
    pub lifeline: OwnedFd,
    /// The longest of the groups'.
    shutdown_timeout: Duration,
}

/// Where a daemon process listens.
pub struct Address {
    pub path: PathBuf,
    pub sockaddr: libc::sockaddr_un,
    /// `unix:PATH`, as nginx names it; points into `_text`.
    pub name: ngx_str_t,
    _text: Box<str>,
}

impl Generation {
    /// What embedded applications may see of the server: everything, they share the worker's memory.
    pub fn view(&self, conf: &MainConf) -> ServerView {
        let daemons =
            self.daemons.iter().flat_map(|daemons| conf.groups.iter().zip(&daemons.reports));
        let daemons = daemons.map(|(group, reports)| ServerGroup {
            name: group.name.clone(),
            size: group.processes(),
            reports: Arc::clone(reports),
        });
        let embedded = self.embedded.iter().flat_map(|board| &board.reports);
        let embedded = embedded.map(|reports| ServerGroup {
            name: String::new(),
            size: 1,
            reports: Arc::clone(reports),
        });
        ServerView { generation: self.facts, groups: embedded.chain(daemons).collect() }
    }

    /// The dispatcher of this process.
    pub fn dispatcher(&self, conf: &MainConf) -> &Dispatcher {
        self.dispatcher.get_or_init(|| Dispatcher::enter(conf, self))
    }

    /// Lets go of the daemons and waits until they have ended, as long as their shutdown-timeout
    /// lets them run: a service manager kills what is left when the master has gone. Only for the
    /// master at its end.
    pub fn end(self) {
        // Daemons wait for nginx to close its connections; with master_process off they are here.
        drop(self.dispatcher);
        let Some(daemons) = self.daemons else { return };
        // The workers have gone; what this process holds is the last of the lifeline.
        if shutdown(daemons.lifeline.as_raw_fd(), Shutdown::Write).is_err() {
            return;
        }
        let patience = daemons.shutdown_timeout + Duration::from_secs(2);
        let mut hangup = [PollFd::new(daemons.lifeline.as_fd(), PollFlags::empty())];
        let until = Instant::now() + patience;
        while Instant::now() < until {
            match poll(&mut hangup, poll_timeout(Some(until))) {
                Err(nix::Error::EINTR) => {}
                _ => return,
            }
        }
    }

    /// One without daemons so far.
    pub fn new(conf: &MainConf, cycle: &ngx_cycle_t, core: &ngx_core_conf_t) -> Self {
        let board = EmbeddedBoard::create(worker_count(core), conf.embedded_slots());
        if let Err(error) = &board {
            ngx_log_error!(nginx_sys::NGX_LOG_ALERT, cycle.log, "wsgi: {error}");
        }
        Generation {
            dispatcher: OnceCell::new(),
            daemons: None,
            embedded: board.ok(),
            facts: GenerationFacts {
                number: GENERATIONS.fetch_add(1, Ordering::Relaxed) + 1,
                started_us: now_us(),
            },
        }
    }

    /// Starts the daemons that the configuration asks for.
    ///
    /// # Errors
    ///
    /// [`StartError`]; nothing is left behind.
    pub fn start(
        &mut self,
        conf: &MainConf,
        cycle: &ngx_cycle_t,
        core: &ngx_core_conf_t,
    ) -> Result<(), StartError> {
        if conf.groups.is_empty() {
            return Ok(());
        }
        let executable = HostExecutable::find(conf.daemon_executable.as_deref())?;
        let worker = geteuid().is_root().then(|| Uid::from_raw(core.user));
        let names = conf.socket_names(core);
        let workers = worker_count(core);

        let shape = Shape::new(conf.groups.iter().map(shape_of).collect(), workers);
        let (leases, leases_fd) = Leases::create(shape)?;
        let wakeups = (0..workers).map(|_| eventfd()).collect::<Result<Vec<_>, _>>()?;
        let (lifeline, far_end) = lifeline()?;

        let timeouts = conf.groups.iter().map(GroupDefinition::shutdown_timeout);
        let shutdown_timeout = Duration::from_secs(timeouts.max().unwrap_or(0).into());

        let mut groups = Vec::new();
        let mut daemons = Daemons {
            leases,
            reports: Vec::new(),
            addresses: Vec::new(),
            wakeups,
            lifeline,
            shutdown_timeout,
        };
        let mut held: Vec<OwnedFd> = Vec::new();
        for (index, group) in conf.groups.iter().enumerate() {
            let (report, fd) = Reports::create(group.seats(), group.threads())?;
            let listeners = listen(&names, index, group, &access(group, core), &mut daemons)?;
            let imports = conf.imports.of(&group.name);
            groups.push(group_config(group, core, &listeners, fd.as_raw_fd(), imports)?);
            daemons.reports.push(Arc::new(report));
            held.push(fd);
            held.extend(listeners.into_iter().map(|(fd, _)| fd));
        }
        held.extend([leases_fd, far_end]);
        let config = SupervisorConfig {
            lifeline: held[held.len() - 1].as_raw_fd(),
            leases: held[held.len() - 2].as_raw_fd(),
            wakeups: daemons.wakeups.iter().map(AsRawFd::as_raw_fd).collect(),
            error_log: error_log(cycle),
            python: conf.python_config(),
            worker_uid: worker.map(Uid::as_raw),
            generation: self.facts,
            groups,
        };
        let keep: Vec<RawFd> = held
            .iter()
            .chain(&daemons.wakeups)
            .map(AsRawFd::as_raw_fd)
            .chain([config.error_log.fd])
            .chain(config.groups.iter().filter_map(|group| Some(group.error_log.as_ref()?.fd)))
            .filter(|fd| *fd > 2)
            .collect();
        spawn::supervisor(&executable, &config, &keep)?;
        self.daemons = Some(daemons);
        Ok(())
    }
}

impl Drop for Daemons {
    /// Runs in every process that destroys the cycle's pool. The sockets belong to the supervisor,
    /// which removes them when the generation's last worker has gone: until then workers connect to
    /// them. Only for one that was killed the master does it.
    fn drop(&mut self) {
        if matches!(Role::current(), Role::Master | Role::Single) && self.supervisor_is_dead() {
            for address in self.addresses.iter().flatten() {
                let _ = std::fs::remove_file(&address.path);
            }
        }
    }
}

impl Daemons {
    /// Whether the far end of the lifeline is closed.
    pub fn supervisor_is_dead(&self) -> bool {
        let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
        matches!(recv(self.lifeline.as_raw_fd(), &mut [0], flags), Ok(0))
    }
}

fn shape_of(group: &GroupDefinition) -> GroupShape {
    GroupShape { processes: group.seats(), threads: group.threads() }
}

fn eventfd() -> Result<OwnedFd, StartError> {
    EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)
        .map(OwnedFd::from)
        .map_err(|source| StartError::Descriptor { what: "eventfd", source })
}

fn lifeline() -> Result<(OwnedFd, OwnedFd), StartError> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    socketpair(AddressFamily::Unix, SockType::Stream, None, flags)
        .map_err(|source| StartError::Descriptor { what: "lifeline", source })
}

/// nginx's workers connect as the socket's owner; where `socket-user=` is that, as its group.
fn access(group: &GroupDefinition, core: &ngx_core_conf_t) -> Access {
    let backlog = group.options.listen_backlog.unwrap_or(sockets::BACKLOG);
    let (owner, group) = match group.options.socket_user {
        _ if !geteuid().is_root() => (None, None),
        Some(user) => (Some(user), Some(Gid::from_raw(core.group))),
        None => (Some(Uid::from_raw(core.user)), None),
    };
    Access { owner, group, backlog }
}

fn listen(
    names: &SocketNames,
    index: usize,
    group: &GroupDefinition,
    access: &Access,
    daemons: &mut Daemons,
) -> Result<Vec<(OwnedFd, PathBuf)>, StartError> {
    let mut listeners = Vec::new();
    // Known to daemons before the first is bound, so that a failure half-way unlinks them.
    daemons.addresses.push(Vec::new());
    let seats = if group.is_service() { 0 } else { group.seats() };
    for process in 0..usize::from(seats) {
        let path = names.path(index, process);
        daemons.addresses[index].push(Address::new(&path));
        listeners.push((sockets::open(&path, access)?, path));
    }
    Ok(listeners)
}

impl Address {
    fn new(path: &Path) -> Self {
        use std::os::unix::ffi::OsStrExt;
        // SAFETY: an all-zero sockaddr_un is an unnamed address.
        let mut sockaddr: libc::sockaddr_un = unsafe { std::mem::zeroed() };
        sockaddr.sun_family = libc::AF_UNIX as libc::sa_family_t;
        // The last byte stays NUL; longer paths were refused when the configuration was read.
        let room = sockaddr.sun_path.len() - 1;
        for (cell, byte) in sockaddr.sun_path[..room].iter_mut().zip(path.as_os_str().as_bytes()) {
            *cell = *byte as libc::c_char;
        }
        let text = format!("unix:{}", path.display()).into_boxed_str();
        let name = ngx_str_t { len: text.len(), data: text.as_ptr().cast_mut() };
        Address { path: path.to_owned(), sockaddr, name, _text: text }
    }
}

fn group_config(
    group: &GroupDefinition,
    core: &ngx_core_conf_t,
    listeners: &[(OwnedFd, PathBuf)],
    report: RawFd,
    imports: Vec<ScriptIn>,
) -> Result<GroupConfig, StartError> {
    let options = &group.options;
    let identity = identity::of_group(group, core)?;
    let uid = identity.as_ref().map_or_else(geteuid, |identity| Uid::from_raw(identity.uid));
    let user = User::from_uid(uid).ok().flatten();
    Ok(GroupConfig {
        name: group.name.clone(),
        processes: group.processes(),
        multiprocess: options.processes.is_some(),
        threads: group.threads(),
        credentials: identity,
        user_home: user.as_ref().map(|user| user.dir.clone()),
        user_name: user.map(|user| user.name),
        umask: options.umask,
        home: options.home.clone(),
        python_path: options.python_path.clone().unwrap_or_default(),
        python_home: options.python_home.clone(),
        python_eggs: options.python_eggs.clone(),
        switch_interval: options.switch_interval,
        lang: options.lang.clone(),
        locale: options.locale.clone(),
        display_name: options.title(&group.name),
        shutdown_timeout: group.shutdown_timeout(),
        timers: options.timers,
        reload_wait: options.reload_wait.unwrap_or(0.0),
        error_log: own_log(group),
        listeners: listeners
            .iter()
            .map(|(fd, path)| Listener { fd: fd.as_raw_fd(), path: path.clone() })
            .collect(),
        report,
        imports,
        stack_size: options.stack_size,
        cpu_priority: options.cpu_priority,
        limits: Limits {
            cpu_time: options.cpu_time_limit,
            memory: options.memory_limit,
            virtual_memory: options.virtual_memory_limit,
        },
        chroot: options.chroot.as_ref().map(|jail| Path::new("/").join(jail)),
        socket_uid: options.socket_user.map(Uid::as_raw),
        connections: connections(options),
        server_metrics: options.server_metrics,
    })
}

fn connections(options: &DaemonOptions) -> ConnectionConfig {
    let size = |size: u64| usize::try_from(size).unwrap_or(usize::MAX);
    ConnectionConfig {
        send_buffer: options.send_buffer_size.map(size),
        receive_buffer: options.receive_buffer_size.map(size),
        timeout: options.socket_timeout,
        header_line: Some(options.header_buffer_size.map_or(HEADER_LINE, size)),
        ..ConnectionConfig::default()
    }
}

fn error_log(cycle: &ngx_cycle_t) -> ErrorLog {
    let fallback = || ErrorLog { fd: 2, path: None, level: log_level(cycle.log) };
    file_of(cycle.log).unwrap_or_else(fallback)
}

/// The error log of the server that a group was written in, where it is a file.
fn own_log(group: &GroupDefinition) -> Option<ErrorLog> {
    file_of(server_log(group.server?)?)
}

fn file_of(log: *mut ngx_log_t) -> Option<ErrorLog> {
    use std::os::unix::ffi::OsStringExt;
    let (fd, name) = file_log(log).filter(|(fd, _)| *fd >= 0)?;
    let path = name.map(|name| PathBuf::from(std::ffi::OsString::from_vec(name)));
    Some(ErrorLog { fd, path, level: log_level(log) })
}

/// nginx's version as three numbers.
pub fn server_version() -> (u32, u32, u32) {
    let number = nginx_sys::nginx_version;
    (number / 1_000_000, number / 1000 % 1000, number % 1000)
}
