//! The host inside this worker.

use std::cell::{OnceCell, RefCell};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nginx_sys::{
    ngx_connection_t, ngx_event_t, ngx_get_connection, ngx_io, ngx_post_event,
    ngx_posted_next_events,
};
use ngx::log::ngx_cycle_log;
use ngx::ngx_log_error;
use ngx_wsgi_host::clock::now_us;
use ngx_wsgi_host::config::RuntimeConfig;
use ngx_wsgi_host::exchange::Exchange;
use ngx_wsgi_host::log::Level;
use ngx_wsgi_host::scoreboard::{Leases, ProcessState, Reports};
use ngx_wsgi_host::server::{Embedded, Serve};
use ngx_wsgi_host::supervisor::LogPipe;
use ngx_wsgi_host::wire::{Outcome, Request};

use super::log_queue::LogQueue;
use crate::conf::MainConf;
use crate::ffi::fork::withhold;
use crate::ffi::{
    close_connection, code, core_conf, guard, worker_count, worker_index, write_text, Redirected,
    Watched,
};
use crate::master::Seat;

/// How long a worker that ends gracefully waits for Python to finish.
const GRACE: Duration = Duration::from_secs(5);
/// How long one that was told to terminate does.
const HURRY: Duration = Duration::from_millis(500);

/// How long the event loop's thread waits for Python before it looks at the log.
const SLICE: Duration = Duration::from_millis(50);

/// The embedded host of this process, and the leases on its threads.
pub struct EmbeddedHost {
    host: Embedded,
    pub leases: Arc<Leases>,
    /// Its group in the lease table.
    pub group: usize,
    log: Option<LogQueue>,
    stderr: RefCell<Option<Stderr>>,
    /// What the event thread runs requests with, where it does that itself.
    own: RefCell<Option<Box<dyn Serve>>>,
}

thread_local! {
    /// At most one a process: Python cannot be initialised twice. Lives on the event thread.
    static HOST: OnceCell<Option<&'static EmbeddedHost>> = const { OnceCell::new() };
}

/// The host, started on first use; `None` when that failed, which was logged.
pub fn host(conf: &MainConf) -> Option<&'static EmbeddedHost> {
    HOST.with(|host| *host.get_or_init(|| start(conf)))
}

/// Starts the host when there is something to load before any request, or Python is not to wait for
/// one.
pub fn start_early(conf: &MainConf) {
    let may_be_used = conf.restrict_embedded != 1 || conf.has_hooks;
    if !conf.imports.of("").is_empty() || !conf.python.is_lazy() && may_be_used {
        let host = host(conf);
        if let Some(host) = host.filter(|_| conf.runs_inline()) {
            host.prepare();
        }
    }
}

fn start(conf: &MainConf) -> Option<&'static EmbeddedHost> {
    match try_start(conf) {
        Ok(host) => Some(Box::leak(Box::new(host))),
        Err(cause) => {
            let log = ngx_cycle_log().as_ptr();
            ngx_log_error!(
                nginx_sys::NGX_LOG_EMERG,
                log,
                "cannot start the embedded host: {cause}"
            );
            None
        }
    }
}

fn try_start(conf: &MainConf) -> Result<EmbeddedHost, Box<dyn std::error::Error>> {
    let log = LogQueue::install(on_log_lines);
    reset_sigchld();
    let (threads, slots) = (conf.embedded_threads(), conf.embedded_slots());
    let shared = conf.generation.as_ref().and_then(|generation| generation.embedded.as_ref());
    let Seat { leases, group, reports } = match shared.and_then(|board| board.seat(worker_index()))
    {
        Some(seat) => seat,
        None => Seat::alone(slots)?,
    };
    leases.begin(group, 0);
    leases.introduce(group, 0, std::process::id(), now_us());
    leases.set_state(group, 0, ProcessState::Ready);
    let host = Embedded::start(runtime_config(conf), threads, reports)?;
    // Nobody would read the pipe while an application holds the event thread up, which may be waiting
    // for a child that writes to it.
    let stderr = if conf.runs_inline() { None } else { Stderr::install() };
    Ok(EmbeddedHost {
        host,
        leases,
        group,
        log,
        stderr: RefCell::new(stderr),
        own: RefCell::default(),
    })
}

fn runtime_config(conf: &MainConf) -> RuntimeConfig {
    // SAFETY: the running cycle.
    let core = unsafe { nginx_sys::ngx_cycle.as_ref().and_then(|cycle| core_conf(cycle)) };
    let workers = core.map_or(1, worker_count);
    let mut python = conf.python_config();
    // In one process in the foreground, which is for debugging, standard input is a terminal.
    let foreground = core.is_some_and(|core| core.master == 0 && core.daemon == 0);
    python.restrict_stdin &= !foreground;
    for options in &mut python.interpreters {
        options.restrict_stdin = options.restrict_stdin.filter(|_| !foreground);
    }
    RuntimeConfig {
        python,
        python_path: conf.python.path.clone().unwrap_or_default(),
        python_eggs: conf.python.eggs.clone(),
        switch_interval: conf.python.switch_interval,
        // One at a time is what a single thread does, too.
        threads: conf.embedded_threads().max(1),
        processes: u16::try_from(workers).unwrap_or(u16::MAX),
        multiprocess: workers > 1,
        imports: conf.imports.of(""),
        server: conf
            .generation
            .as_ref()
            .filter(|_| conf.server_metrics == 1)
            .map(|it| it.view(conf)),
        ..RuntimeConfig::default()
    }
}

/// nginx's handler reaps every child of the process, which would take exit codes away from the
/// application's `subprocess`. A process that serves requests has no children that nginx needs to
/// reap, nor have we: the supervisor is nobody's child.
fn reset_sigchld() {
    // SAFETY: resets a disposition; no handler of ours is involved.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
}

impl EmbeddedHost {
    /// What the host's threads report.
    pub fn reports(&self) -> &Reports {
        self.host.reports()
    }

    /// A new connection to the host, ready for nginx's upstream code. `None` was logged.
    pub fn connect(&self, log: *mut nginx_sys::ngx_log_t) -> Option<*mut ngx_connection_t> {
        match self.host.connect() {
            Ok(fd) => adopt(fd, log),
            Err(error) => {
                ngx_log_error!(
                    nginx_sys::NGX_LOG_ALERT,
                    log,
                    "cannot reach the embedded host: {error}"
                );
                None
            }
        }
    }
}

impl EmbeddedHost {
    /// Runs a request on the calling thread, the event loop's, which is held up until it is over. `None`
    /// when that is inside another one.
    pub fn serve(&self, request: &Request<'_>, exchange: &Arc<dyn Exchange>) -> Option<Outcome> {
        let mut own = self.own.try_borrow_mut().ok()?;
        let _held_up = self.log.as_ref().map(LogQueue::hold_up);
        let own = own.get_or_insert_with(|| self.host.serve_here());
        Some(own.serve(request, exchange))
    }

    /// Waits for Python, so that no request has to.
    fn prepare(&self) {
        let _held_up = self.log.as_ref().map(LogQueue::hold_up);
        self.own.borrow_mut().get_or_insert_with(|| self.host.serve_here());
    }

    /// Writes what has been logged so far.
    fn drain_logs(&self) {
        if let Some(log) = &self.log {
            log.drain_all();
        }
        if let Some(stderr) = &mut *self.stderr.borrow_mut() {
            Redirected::reading(|| stderr.pipe.read(log_stderr));
        }
    }
}

/// Makes an nginx connection of one end of a socketpair.
fn adopt(fd: OwnedFd, log: *mut nginx_sys::ngx_log_t) -> Option<*mut ngx_connection_t> {
    // SAFETY: an open descriptor becomes a connection of nginx's; what is set is what
    // ngx_event_connect_peer sets for a unix socket that is connected.
    unsafe {
        let c = ngx_get_connection(fd.as_raw_fd(), log);
        if c.is_null() {
            return None;
        }
        (*c).recv = ngx_io.recv;
        (*c).send = ngx_io.send;
        (*c).recv_chain = ngx_io.recv_chain;
        (*c).send_chain = ngx_io.send_chain;
        (*c).set_sendfile(1);
        (*c).set_log_error(nginx_sys::ngx_connection_log_error_e_NGX_ERROR_ERR);
        (*c).set_tcp_nopush(nginx_sys::ngx_connection_tcp_nopush_e_NGX_TCP_NOPUSH_DISABLED);
        (*c).set_tcp_nodelay(nginx_sys::ngx_connection_tcp_nodelay_e_NGX_TCP_NODELAY_DISABLED);
        (*(*c).read).log = log;
        (*(*c).write).log = log;
        (*c).log = log;
        // From here on the descriptor is closed with the connection.
        std::mem::forget(fd);
        // Only what can be read: nginx asks for more when it waits to write.
        if nginx_sys::ngx_handle_read_event((*c).read, 0) != code::OK {
            close_connection(c);
            return None;
        }
        (*(*c).write).set_ready(1);
        Some(c)
    }
}

/// Ends the host, if there is one. `false` when application code still runs: then the process must
/// not run exit handlers under its feet.
pub fn stop(at_once: bool) -> bool {
    HOST.with(|host| match host.get() {
        Some(Some(host)) => {
            let until = Instant::now() + if at_once { HURRY } else { GRACE };
            // This thread's part in Python ends before Python does.
            let held_up = host.log.as_ref().map(LogQueue::hold_up);
            drop(host.own.take());
            drop(held_up);
            loop {
                let left = until.saturating_duration_since(Instant::now());
                let stopped = host.host.stop(left.min(SLICE));
                // Whoever logs waits while the queue or the pipe is full, and is waited for here.
                host.drain_logs();
                if stopped || left.is_zero() {
                    if let Some(stderr) = host.stderr.take() {
                        stderr.end();
                    }
                    return stopped;
                }
            }
        }
        _ => true,
    })
}

/// What C code and child processes write to standard error.
struct Stderr {
    pipe: LogPipe,
    redirected: Redirected,
    _watched: Watched,
}

impl Stderr {
    fn install() -> Option<Self> {
        let redirected = Redirected::install()?;
        let pipe = redirected.pipe.try_clone().ok()?;
        let watched_fd = redirected.pipe.try_clone().ok()?;
        withhold(pipe.as_raw_fd());
        withhold(watched_fd.as_raw_fd());
        let log = ngx_cycle_log().as_ptr();
        let watched = Watched::new(watched_fd, on_stderr, std::ptr::null_mut::<()>(), log)?;
        Some(Stderr { pipe: LogPipe::new(pipe), redirected, _watched: watched })
    }

    /// Gives standard error back to nginx, and writes what is left.
    fn end(mut self) {
        drop(self.redirected);
        self.pipe.drain(log_stderr);
    }
}

fn log_stderr(line: &[u8]) {
    let line = format!("embedded stderr: {}", String::from_utf8_lossy(line));
    write_text(Level::Error, ngx_cycle_log().as_ptr(), &line);
}

unsafe extern "C" fn on_stderr(event: *mut ngx_event_t) {
    guard("the embedded host's standard error", (), || {
        let more = HOST.with(|host| {
            let Some(Some(host)) = host.get() else { return false };
            let mut stderr = host.stderr.borrow_mut();
            let Some(stderr) = &mut *stderr else { return false };
            Redirected::reading(|| stderr.pipe.read(log_stderr))
        });
        if more {
            // Other events come first. Nothing else says that there is more: the event is
            // edge-triggered, and who writes into a full pipe sleeps until it is read.
            // SAFETY: nginx's event of the watched pipe; closing that takes it out of the queue.
            unsafe { ngx_post_event(event, std::ptr::addr_of_mut!(ngx_posted_next_events)) };
        }
    });
}

unsafe extern "C" fn on_log_lines(_: *mut ngx_event_t) {
    guard("the embedded host's log", (), || {
        HOST.with(|host| {
            if let Some(Some(EmbeddedHost { log: Some(log), .. })) = host.get() {
                log.drain();
            }
        });
    });
}
