//! The supervisor's loop.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
use nix::sys::signal::{kill, Signal};
use nix::sys::signalfd::SignalFd;
use nix::unistd::{read, Pid};

use super::child::{Child, Slot};
use super::templates::Place;
use crate::clock::poll_timeout;
use crate::config::SupervisorConfig;
use crate::log::LogFile;
use crate::process::{Descriptors, Title};
use crate::scoreboard::{Leases, ProcessState};

/// What daemon processes get beyond their own shutdown timeout before they are killed: they show
/// their stacks then.
const GRACE: Duration = Duration::from_secs(3);

/// What a process that is not ready yet gets where shutdown-timeout sets no limit: no request, thread
/// or exit function can need more.
const UNREADY: Duration = Duration::from_secs(5);

/// A supervisor at work.
pub struct Supervisor {
    pub(super) config: Arc<SupervisorConfig>,
    pub(super) leases: Leases,
    pub(super) wakeups: Vec<OwnedFd>,
    pub(super) lifeline: OwnedFd,
    pub(super) signals: SignalFd,
    /// Group by group.
    pub(super) slots: Vec<Slot>,
    /// One for each group.
    pub(super) templates: Vec<Place>,
    pub(super) log: Arc<LogFile>,
    pub(super) title: Title,
    pub(super) descriptors: Option<Descriptors>,
    /// The generation is ending.
    pub(super) stopping: bool,
}

/// Something to read.
#[derive(Clone, Copy, Debug)]
enum Source {
    Signals,
    Lifeline,
    Control(usize, Pid),
    Log(usize, Pid),
    Template(usize),
    TemplateLog(usize),
    /// A connection at a seat where nobody sits.
    Straggler(usize, usize),
}

impl Supervisor {
    /// Runs until the generation is over and all processes have ended.
    pub fn run(&mut self) {
        let now = Instant::now();
        self.slots.iter_mut().for_each(|slot| slot.due = Some(now));
        while !self.stopping || !self.is_alone() {
            if !self.stopping {
                self.start_templates();
                self.start_due();
                self.start_successors();
            }
            self.end_overdue();
            self.end_overdue_templates();
            for source in self.wait() {
                self.handle(source);
            }
        }
        self.unlink();
        tracing::info!("supervisor of daemon processes exits");
    }

    fn is_alone(&self) -> bool {
        self.children().next().is_none() && self.running_templates().next().is_none()
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
        if !self.stopping {
            sources.push((self.lifeline.as_fd(), Source::Lifeline));
        }
        for (index, slot) in self.slots.iter().enumerate() {
            for child in slot.children() {
                if let Some(control) = &child.control {
                    sources.push((control.as_fd(), Source::Control(index, child.pid)));
                }
                if child.pipe.is_open() {
                    sources.push((child.pipe.as_fd(), Source::Log(index, child.pid)));
                }
            }
        }
        for (group, template) in self.running_templates() {
            if !template.over {
                sources.push((template.line.as_fd(), Source::Template(group)));
            }
            if template.pipe.is_open() {
                sources.push((template.pipe.as_fd(), Source::TemplateLog(group)));
            }
        }
        if !self.stopping {
            let groups = self.config.groups.iter().enumerate();
            for (group, _) in groups.filter(|(_, group)| !group.is_service()) {
                for seat in self.vacant_seats(group) {
                    sources.push((self.listener(group, seat), Source::Straggler(group, seat)));
                }
            }
        }
        sources
    }

    /// All processes.
    pub(super) fn children(&self) -> impl Iterator<Item = &Child> {
        self.slots.iter().flat_map(Slot::children)
    }

    fn timeout(&self) -> PollTimeout {
        let start = self.next_start().filter(|_| !self.stopping);
        let next = start.into_iter().chain(self.next_replacement()).chain(self.next_template());
        poll_timeout(next.min())
    }

    fn handle(&mut self, source: Source) {
        match source {
            Source::Signals => self.read_signals(),
            Source::Lifeline => self.read_lifeline(),
            Source::Control(index, pid) => self.read_control(index, pid),
            Source::Log(index, pid) => {
                let slot = &mut self.slots[index];
                slot.read_log(pid, &self.config.groups[slot.group].name);
            }
            Source::Template(group) => self.read_template(group),
            Source::TemplateLog(group) => self.read_template_log(group),
            Source::Straggler(group, seat) => self.send_away(group, seat),
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

    fn begin_stop(&mut self, why: &str) {
        if self.stopping {
            return;
        }
        tracing::info!("stopping daemon processes: {why}");
        self.stopping = true;
        let now = Instant::now();
        for slot in &mut self.slots {
            slot.due = None;
            slot.pending = None;
            let group = slot.group;
            let shutdown = match self.config.groups[group].shutdown_timeout {
                0 => None,
                seconds => Some(Duration::from_secs(seconds.into())),
            };
            for child in slot.children_mut() {
                let limit = shutdown.or_else(|| child.ready_since.is_none().then_some(UNREADY));
                child.kill_at = limit.map(|limit| now + limit + GRACE);
                self.leases.set_state(group, child.seat, ProcessState::Draining);
            }
        }
        self.end_templates();
        self.signal_all(Signal::SIGTERM);
    }

    fn signal_all(&self, signal: Signal) {
        for child in self.children() {
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
