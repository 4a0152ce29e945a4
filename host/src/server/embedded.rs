//! A host on threads inside an nginx worker.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::socket::{socketpair, AddressFamily, SockFlag, SockType};

use super::host::{Host, HostConfig};
use super::serve::{with_python, Serve};
use crate::config::{ConnectionConfig, RuntimeConfig};
use crate::lock::lock;
use crate::python::{Runtime, StartError};
use crate::scoreboard::{Progress, Reports};
use crate::succession::ScriptIn;

/// Stack of Python's main thread.
const STACK: usize = 8 << 20;

/// How long request threads that were started during a stop may take to notice it.
const LATE_THREADS: Duration = Duration::from_secs(10);

/// Seconds that the thread for hooks may make no progress with an answer where requests run on the
/// event loop's own thread: that one may wait for what this one holds, and nothing is read meanwhile.
const HOOK_TIMEOUT: u32 = 10;

/// How long memory that nginx has given back may wait for a request that drops it by the way.
const COLLECT_AFTER: Duration = Duration::from_secs(1);

/// The number of the caller's own thread where it runs the requests; the others follow.
const OWN_THREAD: u32 = 1;

/// The embedded host. Its threads block all signals, so that nginx's reach its event loop; dropping
/// it without [`Self::stop`] leaves Python running.
pub struct Embedded {
    host: Arc<Host>,
    life: Arc<Life>,
    main: Mutex<Option<JoinHandle<()>>>,
}

/// Where Python's main thread is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Running,
    Stopping,
    Stopped,
}

struct Life {
    phase: Mutex<Phase>,
    changed: Condvar,
    /// Python, once the scripts to import have been loaded, or why there is none.
    python: OnceLock<Result<Arc<Runtime>, StartError>>,
    /// nginx has given memory back.
    returned: AtomicBool,
}

impl Embedded {
    /// Starts Python on a thread of its own, which loads the scripts to import, and `threads` request
    /// threads behind it, which report what they are at. Returns before Python is up; requests wait
    /// for all of it, and are failed when Python does not come up.
    ///
    /// With 0 threads the caller runs requests itself, with what [`Self::serve_here`] gives; one thread
    /// is there for connections all the same.
    ///
    /// # Errors
    ///
    /// When the kernel refuses descriptors or the thread.
    pub fn start(config: RuntimeConfig, threads: u16, reports: Arc<Reports>) -> io::Result<Self> {
        reports.enter(0, std::process::id());
        let mut host = HostConfig::new(threads.max(1), reports);
        host.connections.lends = true;
        if threads == 0 {
            host.connections =
                ConnectionConfig { timeout: Some(HOOK_TIMEOUT), ..ConnectionConfig::default() };
        }
        let host = Arc::new(Host::new(host)?);
        let life = Arc::new(Life {
            phase: Mutex::new(Phase::Running),
            changed: Condvar::new(),
            python: OnceLock::new(),
            returned: AtomicBool::new(false),
        });
        let main = {
            let (host, life) = (Arc::clone(&host), Arc::clone(&life));
            let builder = thread::Builder::new().name("wsgi-main".into()).stack_size(STACK);
            let first = if threads == 0 { OWN_THREAD + 1 } else { OWN_THREAD };
            without_signals(|| builder.spawn(move || run(config, &host, &life, first)))?
        };
        Ok(Embedded { host, life, main: Mutex::new(Some(main)) })
    }

    /// A new connection to the host: the end that is nginx's. Does not block.
    ///
    /// # Errors
    ///
    /// When descriptors are exhausted or the host has been stopped.
    pub fn connect(&self) -> io::Result<OwnedFd> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::Stream, None, flags)?;
        self.host.adopt(ours)?;
        Ok(theirs)
    }

    /// What the calling thread serves requests with itself. Waits until Python is up and the scripts to
    /// import are loaded. Has to be dropped on the same thread before [`Self::stop`].
    pub fn serve_here(&self) -> Box<dyn Serve> {
        let starting = |_: &mut Phase| self.life.python.get().is_none();
        let waited = self.life.changed.wait_while(self.life.phase(), starting);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
        let ended = || Err(StartError("its thread has ended".to_owned()));
        with_python(self.life.python.get().cloned().unwrap_or_else(ended))(OWN_THREAD)
    }

    /// What the request threads are at.
    pub fn reports(&self) -> &Arc<Reports> {
        self.host.reports()
    }

    /// Lets running requests finish and ends Python. `false` when something still runs after
    /// `timeout`: then the process must be left with `_exit`.
    ///
    /// Idle connections are closed at once: the caller is nginx's event loop, nobody could send
    /// another request.
    pub fn stop(&self, timeout: Duration) -> bool {
        let until = Instant::now() + timeout;
        if !self.host.stop(timeout) {
            return false;
        }
        let mut phase = self.life.phase();
        if *phase == Phase::Running {
            *phase = Phase::Stopping;
            self.life.changed.notify_all();
        }
        let left = until.saturating_duration_since(Instant::now());
        let waited =
            self.life.changed.wait_timeout_while(phase, left, |phase| *phase != Phase::Stopped);
        if *waited.unwrap_or_else(PoisonError::into_inner).0 != Phase::Stopped {
            return false;
        }
        let main = lock(&self.main).take();
        main.is_none_or(|main| main.join().is_ok())
    }
}

impl Life {
    fn phase(&self) -> MutexGuard<'_, Phase> {
        lock(&self.phase)
    }

    fn is_up(&self, python: Result<Arc<Runtime>, StartError>) {
        let _phase = self.phase();
        // Set once, by the only thread that does.
        let _ = self.python.set(python);
        self.changed.notify_all();
    }

    /// Meanwhile calls `collect` a while after memory has been given back.
    fn wait_for_stop(&self, collect: impl Fn()) {
        let runs = |phase: &mut Phase| *phase == Phase::Running;
        let mut phase = self.phase();
        while *phase == Phase::Running {
            let returned = || self.returned.load(Ordering::Acquire);
            if !returned() {
                let wait = self.changed.wait_while(phase, |phase| runs(phase) && !returned());
                phase = wait.unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let wait = self.changed.wait_timeout_while(phase, COLLECT_AFTER, runs);
            drop(wait.unwrap_or_else(PoisonError::into_inner));
            self.returned.store(false, Ordering::Release);
            collect();
            phase = self.phase();
        }
    }

    /// Called on nginx's event loop. Nobody has the lock for more than a moment.
    fn note_returned(&self) {
        if !self.returned.swap(true, Ordering::AcqRel) {
            let _phase = self.phase();
            self.changed.notify_all();
        }
    }

    fn stopped(&self) {
        *self.phase() = Phase::Stopped;
        self.changed.notify_all();
    }
}

/// Python's main thread. The request threads are counted from `first`.
fn run(config: RuntimeConfig, host: &Host, life: &Arc<Life>, first: u32) {
    let runtime = Runtime::start(config);
    if let Err(error) = &runtime {
        tracing::error!(level = 2u64, "{error}");
    }
    if let Ok(runtime) = &runtime {
        let watched = Arc::clone(life);
        runtime.announce_returned(Arc::new(move || watched.note_returned()));
        let wanted = |_: &&ScriptIn| *life.phase() == Phase::Running;
        runtime.imports().iter().take_while(wanted).for_each(|script| {
            runtime.import(script);
        });
    }
    life.is_up(runtime.clone());
    if *life.phase() == Phase::Running {
        host.reports().set_progress(host.process(), Progress::Serving);
        let serve = with_python(runtime.clone());
        if let Err(error) = host.spawn(move |id| serve(id + first - 1)) {
            tracing::error!(level = 2u64, "cannot start request threads: {error}");
        }
    }
    life.wait_for_stop(|| runtime.iter().for_each(|runtime| runtime.collect()));
    // Request threads that were started a moment too late end by themselves, but before Python.
    if !host.stop(LATE_THREADS) {
        return;
    }
    if let Ok(runtime) = runtime {
        runtime.stop("");
    }
    life.stopped();
}

/// Runs `start` with all signals blocked, which the thread it starts inherits; only those that a
/// thread causes itself stay open.
fn without_signals<T>(start: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let mut blocked = SigSet::all();
    for own in [Signal::SIGSEGV, Signal::SIGBUS, Signal::SIGFPE, Signal::SIGILL] {
        blocked.remove(own);
    }
    let before = blocked.thread_swap_mask(nix::sys::signal::SigmaskHow::SIG_SETMASK)?;
    let started = start();
    before.thread_set_mask()?;
    started
}
