//! A daemon process between ready and exit.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{poll, PollFd, PollFlags};
use nix::sys::signal::Signal;

use super::dispatcher::Dispatcher;
use super::gil_probe::GilProbe;
use super::monitor::{Action, Facts, Monitor};
use super::signals::Signals;
use super::stacks::Stacks;
use crate::clock::poll_timeout;
use crate::config::GroupConfig;
use crate::python::Runtime;
use crate::scoreboard::Progress;
use crate::server::{Activity, Busy, Host};
use crate::succession::{Heard, Order, Reason, ScriptIn, Succession, Word};

/// Longest time that idle threads take to leave once nothing holds them.
const LAST_THREADS: Duration = Duration::from_secs(10);

/// How often a process that finishes its requests looks at those that never will.
const LOOK: Duration = Duration::from_secs(1);

/// Why a process stops serving.
struct End {
    /// As `process_stopping` says it.
    reason: &'static str,
    /// Requests have to be cut: the log is to show where they are.
    forced: bool,
}

/// A daemon process that serves.
pub struct Life<'a> {
    pub group: &'a GroupConfig,
    pub succession: &'a Succession,
    pub signals: &'a Signals,
    pub host: &'a Host,
    pub activity: Arc<Activity>,
    /// `None` where Python could not be started.
    pub runtime: Option<Arc<Runtime>>,
}

/// After a successor has taken over: what runs may finish.
struct Draining {
    reason: Reason,
    since: Instant,
    /// `None`: however long it takes.
    until: Option<Instant>,
}

impl Life<'_> {
    /// Serves until a signal, a timer, a successor or the supervisor's end, then finishes. Returns
    /// the exit code.
    pub fn live(&self) -> i32 {
        self.host.reports().set_progress(self.host.process(), Progress::Serving);
        self.succession.tell(&Word::Ready);
        tracing::info!("daemon process of group \"{}\" is ready", self.group.name);
        let end = self.watch();
        self.shut_down(&end)
    }

    fn stacks(&self) -> Stacks {
        Stacks::new(self.runtime.clone(), Arc::clone(&self.activity), self.host)
    }

    /// The process's main thread is its monitor: nothing here waits for the GIL.
    fn watch(&self) -> End {
        let probed = self.runtime.as_ref().filter(|_| self.group.timers.deadlock > 0);
        let gil = probed.and_then(GilProbe::start);
        let mut monitor = Monitor::new(self.group.timers, self.group.threads, Instant::now());
        let mut dispatcher = self.runtime.clone().map(Dispatcher::new);
        let mut draining: Option<Draining> = None;
        loop {
            let now = Instant::now();
            let (starting, started) =
                self.runtime.as_ref().map_or((None, true), |runtime| runtime.start_of_scripts());
            let gil = gil.as_ref().map(|gil| gil.last(now));
            let starting = starting.filter(|_| !started);
            let facts = Facts { activity: &self.activity, starting, started, gil };
            while let Some(action) = monitor.due(now, &facts) {
                if let Some(end) = self.act(action, draining.is_some(), &mut monitor) {
                    return end;
                }
            }
            if let Some(end) = draining.as_ref().and_then(|d| self.drained(d, now, &monitor)) {
                return end;
            }
            let next = monitor.next(now, &facts);
            let look = draining.as_ref().map(|d| d.until.unwrap_or(now + LOOK).min(now + LOOK));
            self.wait(next.into_iter().chain(look).min());
            for signal in self.signals.take() {
                if let Some(end) = self.on_signal(signal, &mut monitor, &mut dispatcher) {
                    return end;
                }
            }
            match self.succession.control().hear() {
                Heard::Said(Order::HandOver(reason)) => match self.begin_to_drain(reason) {
                    Ok(begun) => draining = Some(begun),
                    Err(end) => return end,
                },
                Heard::Said(Order::Stay(reason)) => {
                    self.succession.stay(&reason);
                    monitor.stay(Instant::now());
                }
                Heard::Nothing => {}
                Heard::Closed | Heard::Nonsense => return End::requested(),
            }
        }
    }

    /// Waits for a signal, an order, or the time.
    fn wait(&self, until: Option<Instant>) {
        let mut sources = [
            PollFd::new(self.succession.control().as_fd(), PollFlags::POLLIN),
            PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
        ];
        if let Err(errno @ (Errno::EINVAL | Errno::ENOMEM)) =
            poll(&mut sources, poll_timeout(until))
        {
            tracing::error!(level = 2u64, "poll() failed: {}", errno.desc());
            thread::sleep(LOOK);
        }
    }

    fn act(&self, action: Action, draining: bool, monitor: &mut Monitor) -> Option<End> {
        let name = &self.group.name;
        match action {
            Action::Interrupt(busy) => self.interrupt(busy),
            Action::Replace(_) if draining => {}
            Action::Replace(reason) => self.replace(reason, monitor),
            Action::StartupExpired => {
                tracing::error!("Application startup timer expired in daemon process '{name}'.");
                return Some(End { reason: "startup_timeout", forced: true });
            }
            Action::Deadlocked => {
                tracing::error!(
                    "Daemon process deadlock timer expired, stopping process '{name}': no thread \
                     could take the GIL for {} s.",
                    self.group.timers.deadlock
                );
                self.stacks().dump_without_gil();
                // Whatever else ended the process properly would wait for the GIL as well.
                super::leave_at_once();
            }
        }
        None
    }

    /// Asks for a successor; until it is ready this process serves.
    fn replace(&self, reason: Reason, monitor: &mut Monitor) {
        monitor.asked();
        let name = &self.group.name;
        // A second signal while the successor is starting changes nothing.
        if self.succession.is_under_way() && reason != Reason::RequestTimeout {
            return;
        }
        match &reason {
            Reason::MaximumRequests => {
                tracing::info!("Maximum requests reached for daemon process '{name}'.");
            }
            Reason::RestartInterval => {
                tracing::info!("Daemon process restart timer expired in process '{name}'.");
            }
            Reason::InactivityTimeout => {
                tracing::info!("Daemon process idle inactivity timer expired in process '{name}'.");
            }
            Reason::RequestTimeout => {
                tracing::error!("Daemon process request time limit exceeded in process '{name}'.");
                self.stacks().log(None);
            }
            Reason::CpuTimeLimit => tracing::warn!("Exceeded CPU time limit in process '{name}'."),
            Reason::GracefulSignal => {
                tracing::info!("Process graceful restart requested for process '{name}'.");
            }
            Reason::EvictionSignal => {
                tracing::info!("Process eviction requested for process '{name}'.");
            }
            Reason::Script(_) => {}
        }
        self.succession.replace(reason.clone(), self.to_be_loaded(&reason));
    }

    /// What the successor loads. One that replaces an idle process is to be small.
    fn to_be_loaded(&self, reason: &Reason) -> Vec<ScriptIn> {
        match (&self.runtime, reason) {
            (None, _) | (_, Reason::InactivityTimeout) => Vec::new(),
            (Some(runtime), _) => runtime.scripts(),
        }
    }

    /// Raises RequestTimeout in a request, on a thread that may wait for the GIL.
    fn interrupt(&self, busy: Busy) {
        let Some(runtime) = self.runtime.clone() else { return };
        let (activity, stacks) = (Arc::clone(&self.activity), self.stacks());
        let name = self.group.name.clone();
        let interrupt = move || {
            if !activity.is_running(busy) {
                return;
            }
            let ident = activity.ident(busy.thread);
            let line = stacks.describe(busy.thread);
            tracing::error!(
                "Daemon process request time limit exceeded in process '{name}': {line}."
            );
            stacks.log(Some(ident));
            let Some(place) = runtime.place(busy.thread as u32 + 1) else { return };
            if runtime.interrupt(&place, ident, || activity.is_running(busy)) {
                tracing::info!("Injected RequestTimeout into {line}.");
            }
        };
        // Without the thread the request goes on, until the process is given up for it.
        let _ = thread::Builder::new().name("wsgi-interrupt".into()).spawn(interrupt);
    }

    fn on_signal(
        &self,
        signal: Signal,
        monitor: &mut Monitor,
        dispatcher: &mut Option<Dispatcher>,
    ) -> Option<End> {
        match signal {
            Signal::SIGTERM | Signal::SIGINT => return Some(End::requested()),
            Signal::SIGUSR1 if self.group.timers.eviction > 0 => {
                self.replace(Reason::EvictionSignal, monitor);
            }
            Signal::SIGUSR1 => self.replace(Reason::GracefulSignal, monitor),
            Signal::SIGXCPU => self.replace(Reason::CpuTimeLimit, monitor),
            signal => {
                if let Some(dispatcher) = dispatcher {
                    dispatcher.publish(signal);
                }
            }
        }
        None
    }

    /// A successor has taken over. `Err`: what runs gets no time of its own.
    fn begin_to_drain(&self, reason: Reason) -> Result<Draining, End> {
        self.succession.hand_over();
        let timers = &self.group.timers;
        let seconds = match reason {
            Reason::EvictionSignal => timers.eviction,
            _ => timers.graceful,
        };
        let since = Instant::now();
        let until = match (seconds, &reason) {
            (0, Reason::RestartInterval) => None,
            (0, _) => return Err(End { reason: reason.name(), forced: false }),
            (seconds, _) => Some(since + Duration::from_secs(seconds.into())),
        };
        let running = self.activity.busy().count();
        tracing::info!(
            "Process '{}' is replaced ({}); waiting for {running} running requests.",
            self.group.name,
            reason.name()
        );
        self.host.drain(Some(Duration::ZERO));
        Ok(Draining { reason, since, until })
    }

    /// Whether the time to finish is over, and how.
    fn drained(&self, draining: &Draining, now: Instant, monitor: &Monitor) -> Option<End> {
        let name = &self.group.name;
        let reason = draining.reason.name();
        if self.host.drain(Some(Duration::ZERO)) {
            tracing::info!("Requests have completed; stopping process '{name}'.");
            return Some(End { reason, forced: false });
        }
        let hopeless = now >= draining.since + LOOK && monitor.only_stale(now, &self.activity);
        if !hopeless && draining.until.is_none_or(|until| until > now) {
            return None;
        }
        tracing::warn!("Requests did not complete; forcing shutdown of process '{name}'.");
        Some(End { reason, forced: true })
    }

    fn shut_down(&self, end: &End) -> i32 {
        let name = &self.group.name;
        tracing::info!("Shutdown requested for daemon process '{name}'.");
        self.succession.tell(&Word::Draining);
        // Whatever ends the process: no application has seen the requests that it holds.
        self.succession.hand_over();
        if end.forced {
            self.stacks().log(None);
        }
        if self.group.shutdown_timeout > 0 {
            self.arm_reaper(Duration::from_secs(self.group.shutdown_timeout.into()), end.forced);
        }
        // Subscribers hear of the end while requests still run.
        self.host.drain(Some(Duration::ZERO));
        if let Some(runtime) = &self.runtime {
            runtime.publish_stopping(end.reason);
        }
        // Without a limit of its own: the reaper has one, for this and for what follows.
        self.host.drain(None);
        self.host.stop(LAST_THREADS);
        if let Some(runtime) = &self.runtime {
            runtime.stop(end.reason);
        }
        tracing::info!("Exiting daemon process '{name}'.");
        0
    }

    /// Ends the process when the shutdown takes too long, wherever it hangs: in a request, or in an
    /// application's own threads and exit handlers.
    fn arm_reaper(&self, timeout: Duration, shown: bool) {
        let (name, stacks) = (self.group.name.clone(), self.stacks());
        let reap = move || {
            thread::sleep(timeout);
            tracing::warn!("Shutdown timeout expired; aborting daemon process '{name}'.");
            if !shown {
                stacks.log(None);
            }
            super::leave_at_once()
        };
        // Without the thread the supervisor kills the process a little later.
        let _ = thread::Builder::new().name("wsgi-reaper".into()).spawn(reap);
    }
}

impl End {
    /// A signal, or the supervisor's own end.
    fn requested() -> Self {
        End { reason: "shutdown_signal", forced: false }
    }
}
