//! The supervisor's loop.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
use nix::sys::signal::{kill, Signal};
use nix::sys::signalfd::SignalFd;
use nix::sys::wait::{waitpid, WaitPidFlag, WaitStatus};
use nix::unistd::{read, write};

use super::child::{Change, Slot};
use super::{death, fork};
use crate::config::{GroupConfig, SupervisorConfig};
use crate::log::LogFile;
use crate::process::Title;
use crate::scoreboard::{Leases, ProcessState, Reports};

/// What daemon processes get beyond their own shutdown timeout before they are killed.
const GRACE: Duration = Duration::from_secs(1);

/// A supervisor at work.
pub struct Supervisor {
    pub(super) config: SupervisorConfig,
    pub(super) leases: Leases,
    pub(super) wakeups: Vec<OwnedFd>,
    pub(super) lifeline: OwnedFd,
    pub(super) signals: SignalFd,
    pub(super) slots: Vec<Slot>,
    pub(super) log: Arc<LogFile>,
    pub(super) title: Title,
    pub(super) stop: Option<Stop>,
}

/// The end of the generation, in progress.
pub(super) struct Stop {
    /// When what is left is killed; `None` while everything is waited for.
    kill_at: Option<Instant>,
}

/// Something to read.
#[derive(Clone, Copy, Debug)]
enum Source {
    Signals,
    Lifeline,
    Control(usize),
    Log(usize),
}

impl Supervisor {
    /// Runs until the generation is over and all processes have ended.
    pub fn run(&mut self) {
        let now = Instant::now();
        self.slots.iter_mut().for_each(|slot| slot.due = Some(now));
        while self.stop.is_none() || self.slots.iter().any(|slot| slot.child.is_some()) {
            self.start_due();
            for source in self.wait() {
                self.handle(source);
            }
            self.kill_overdue();
        }
        self.unlink();
        tracing::info!("supervisor of daemon processes exits");
    }

    fn wait(&self) -> Vec<Source> {
        let sources = self.sources();
        let mut polled: Vec<_> =
            sources.iter().map(|(fd, _)| PollFd::new(*fd, PollFlags::POLLIN)).collect();
        match poll(&mut polled, self.timeout()) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => {
                tracing::error!(level = 2u64, "poll() failed: {}", errno.desc());
                std::thread::sleep(GRACE);
            }
        }
        let ready = sources.iter().zip(&polled).filter(|(_, polled)| polled.any() == Some(true));
        ready.map(|((_, source), _)| *source).collect()
    }

    fn sources(&self) -> Vec<(BorrowedFd<'_>, Source)> {
        let mut sources = vec![(self.signals.as_fd(), Source::Signals)];
        if self.stop.is_none() {
            sources.push((self.lifeline.as_fd(), Source::Lifeline));
        }
        for (index, slot) in self.slots.iter().enumerate() {
            let Some(child) = &slot.child else { continue };
            if let Some(control) = &child.control {
                sources.push((control.as_fd(), Source::Control(index)));
            }
            if child.pipe.is_open() {
                sources.push((child.pipe.as_fd(), Source::Log(index)));
            }
        }
        sources
    }

    fn timeout(&self) -> PollTimeout {
        let next = match &self.stop {
            Some(stop) => stop.kill_at,
            None => self.slots.iter().filter_map(|slot| slot.due).min(),
        };
        next.map_or(PollTimeout::NONE, |next| {
            let left = next.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
            PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
        })
    }

    fn handle(&mut self, source: Source) {
        match source {
            Source::Signals => self.read_signals(),
            Source::Lifeline => self.read_lifeline(),
            Source::Control(index) => self.read_control(index),
            Source::Log(index) => {
                let slot = &mut self.slots[index];
                slot.read_log(&self.config.groups[slot.group].name);
            }
        }
    }

    fn read_signals(&mut self) {
        while let Ok(Some(info)) = self.signals.read_signal() {
            match Signal::try_from(info.ssi_signo as i32) {
                Ok(Signal::SIGCHLD) => self.reap(),
                Ok(Signal::SIGUSR1) => self.reopen_logs(),
                Ok(signal @ (Signal::SIGTERM | Signal::SIGINT | Signal::SIGQUIT)) => {
                    self.begin_stop(&format!("{signal} received"));
                }
                // They are sent to nginx or to a terminal's processes.
                _ => {}
            }
        }
    }

    fn reopen_logs(&self) {
        self.log.reopen();
        self.slots.iter().for_each(|slot| slot.log.reopen());
    }

    fn read_lifeline(&mut self) {
        match read(&self.lifeline, &mut [0; 64]) {
            Ok(1..) | Err(Errno::EAGAIN | Errno::EINTR) => {}
            Ok(0) | Err(_) => self.begin_stop("nginx has left the generation"),
        }
    }

    fn read_control(&mut self, index: usize) {
        let slot = &mut self.slots[index];
        let (group, process) = (slot.group, slot.process);
        let changes = slot.child.as_mut().map(|child| child.listen()).unwrap_or_default();
        for change in changes {
            match change {
                Change::Ready if self.stop.is_none() => {
                    self.leases.set_state(group, process, ProcessState::Ready);
                    self.wake_waiting(group);
                }
                _ => self.leases.set_state(group, process, ProcessState::Draining),
            }
        }
    }

    /// As many workers as there are new slots learn that there is something to lease.
    fn wake_waiting(&self, group: usize) {
        for _ in 0..self.config.groups[group].threads {
            let Some(worker) = self.leases.next_waiting(group) else { return };
            if let Some(wakeup) = self.wakeups.get(worker) {
                // Fails only when the counter is full, which wakes the worker as well.
                let _ = write(wakeup, &1u64.to_ne_bytes());
            }
        }
    }

    fn start_due(&mut self) {
        if self.stop.is_some() {
            return;
        }
        let now = Instant::now();
        for slot in self.slots.iter_mut().filter(|slot| slot.due.is_some_and(|due| due <= now)) {
            slot.due = None;
            self.leases.begin(slot.group, slot.process);
            match fork::start(&self.config, slot, self.title) {
                Ok(child) => slot.child = Some(child),
                Err(errno) => {
                    self.leases.set_state(slot.group, slot.process, ProcessState::Gone);
                    slot.due = Some(now + slot.backoff.pause(Duration::ZERO));
                    let name = &self.config.groups[slot.group].name;
                    tracing::error!(
                        level = 2u64,
                        "cannot start a daemon process of group \"{name}\": {}",
                        errno.desc()
                    );
                }
            }
        }
    }

    fn reap(&mut self) {
        for index in 0..self.slots.len() {
            let Some(child) = &self.slots[index].child else { continue };
            let status = waitpid(child.pid, Some(WaitPidFlag::WNOHANG));
            if let Ok(status @ (WaitStatus::Exited(..) | WaitStatus::Signaled(..))) = status {
                self.bury(index, &status);
            }
        }
    }

    fn bury(&mut self, index: usize, status: &WaitStatus) {
        let slot = &mut self.slots[index];
        let Some(mut child) = slot.child.take() else { return };
        self.leases.set_state(slot.group, slot.process, ProcessState::Gone);
        let group = &self.config.groups[slot.group];
        slot.drain_log(&mut child, &group.name);
        let manner = death::manner(status);
        let planned = self.stop.is_some() || matches!(status, WaitStatus::Exited(_, 0));
        let running = last_words(group, slot.process);
        let text =
            format!("daemon process {} of group \"{}\" {manner}{running}", child.pid, group.name);
        if planned {
            tracing::info!("{text}");
        } else {
            tracing::error!("{text}");
        }
        if self.stop.is_none() {
            slot.due = Some(Instant::now() + slot.backoff.pause(child.ready_for()));
        }
    }

    fn begin_stop(&mut self, why: &str) {
        if self.stop.is_some() {
            return;
        }
        tracing::info!("stopping daemon processes: {why}");
        let timeouts = self.config.groups.iter().map(|group| group.shutdown_timeout);
        let longest = timeouts.clone().max().unwrap_or(0);
        let waits_forever = timeouts.clone().any(|timeout| timeout == 0);
        let left = Duration::from_secs(longest.into()) + GRACE;
        self.stop = Some(Stop { kill_at: (!waits_forever).then(|| Instant::now() + left) });
        for slot in &mut self.slots {
            slot.due = None;
            if slot.child.is_some() {
                self.leases.set_state(slot.group, slot.process, ProcessState::Draining);
            }
        }
        self.signal_all(Signal::SIGTERM);
    }

    fn kill_overdue(&mut self) {
        let Some(stop) = &mut self.stop else { return };
        if stop.kill_at.is_some_and(|at| at <= Instant::now()) {
            stop.kill_at = None;
            self.signal_all(Signal::SIGKILL);
        }
    }

    fn signal_all(&self, signal: Signal) {
        for child in self.slots.iter().filter_map(|slot| slot.child.as_ref()) {
            // Not reaped yet, so the pid is still this child's.
            let _ = kill(child.pid, signal);
        }
    }

    fn unlink(&self) {
        for listener in self.config.groups.iter().flat_map(|group| &group.listeners) {
            match fs::remove_file(&listener.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!("cannot remove {}: {error}", listener.path.display());
                }
                _ => {}
            }
        }
    }
}

/// What a dead process was running, as its report says. The report is mapped for this moment only:
/// processes of other groups are forked from this one and must not inherit it.
fn last_words(group: &GroupConfig, process: usize) -> String {
    // SAFETY: the configuration names the group's report, which stays open in the supervisor.
    let report = unsafe { BorrowedFd::borrow_raw(group.report) };
    let Ok(reports) = Reports::open(report, group.processes, group.threads) else {
        return String::new();
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let running = reports.running(process);
    reports.clear(process);
    death::requests(&running, now.as_micros() as u64)
}
