//! A process slot of a group, and the processes that have to do with it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::{kill, Signal};
use nix::unistd::Pid;

use super::backoff::Backoff;
use super::lines::LogPipe;
use crate::log::{Level, LogFile, PipeLine};
use crate::succession::{Control, Heard, Wish, Word};

/// One of the `processes=` of a group.
pub struct Slot {
    pub group: usize,
    /// Where the processes' lines go.
    pub log: Arc<LogFile>,
    pub backoff: Backoff,
    /// The process that serves, or is about to.
    pub current: Option<Child>,
    /// The one that starts beside it and takes over when it is ready.
    pub successor: Option<Child>,
    /// Those that have been taken over from and finish what they have.
    pub retiring: Vec<Child>,
    /// When to start the next current process.
    pub due: Option<Instant>,
    /// The successor that is to be started next.
    pub pending: Option<Pending>,
    /// No successor is started before.
    pub rest_until: Option<Instant>,
}

/// A successor that has not been started yet.
pub struct Pending {
    pub wish: Wish,
    pub since: Instant,
    /// The current process knows that there is no seat for it yet.
    pub told: bool,
}

impl Pending {
    pub fn new(wish: Wish) -> Self {
        Pending { wish, since: Instant::now(), told: false }
    }
}

/// A running daemon process.
pub struct Child {
    pub pid: Pid,
    /// Its place in the group's tables, from start to end.
    pub seat: usize,
    /// `None` once the process has closed its end.
    pub control: Option<Control>,
    pub pipe: LogPipe,
    /// What it was started for, if it is a successor.
    pub wish: Option<Wish>,
    pub started: Instant,
    pub ready_since: Option<Instant>,
    pub draining: bool,
    /// When it is killed if it has not ended by itself.
    pub kill_at: Option<Instant>,
}

impl Child {
    /// How long the process has been ready.
    pub fn ready_for(&self) -> Duration {
        self.ready_since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Whether the time has come to kill it.
    pub fn is_overdue(&self, now: Instant) -> bool {
        self.kill_at.is_some_and(|at| at <= now)
    }

    /// Whether it has closed its line, or talked nonsense, without having said that it ends.
    pub fn is_unreachable(&self) -> bool {
        self.control.is_none() && !self.draining
    }

    /// Kills a process, whatever it has said meanwhile.
    pub fn kill(&mut self) {
        self.control = None;
        self.kill_at = None;
        // Not reaped yet, so the pid is still this child's.
        let _ = kill(self.pid, Signal::SIGKILL);
    }

    /// Reads what the process says. It may be hostile: only the first word of each kind counts,
    /// and only while it makes sense.
    pub fn listen(&mut self) -> Option<Word> {
        let word = match self.control.as_ref()?.hear() {
            Heard::Nothing => return None,
            Heard::Closed | Heard::Nonsense => {
                self.control = None;
                return None;
            }
            Heard::Said(word) => word,
        };
        let fits = match &word {
            Word::Ready => self.ready_since.is_none() && !self.draining,
            Word::Draining => !self.draining,
            Word::Spent | Word::Replace(_) => self.ready_since.is_some() && !self.draining,
        };
        match word {
            Word::Ready if fits => self.ready_since = Some(Instant::now()),
            Word::Draining | Word::Spent => self.draining = true,
            _ => {}
        }
        fits.then_some(word)
    }
}

/// What a process was in its slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Current,
    Successor,
    Retiring,
}

impl Slot {
    /// A slot of a group without a process.
    pub fn new(group: usize, log: Arc<LogFile>) -> Self {
        Slot {
            group,
            log,
            backoff: Backoff::default(),
            current: None,
            successor: None,
            retiring: Vec::new(),
            due: None,
            pending: None,
            rest_until: None,
        }
    }

    /// All its processes.
    pub fn children(&self) -> impl Iterator<Item = &Child> {
        self.current.iter().chain(&self.successor).chain(&self.retiring)
    }

    /// All its processes.
    pub fn children_mut(&mut self) -> impl Iterator<Item = &mut Child> {
        self.current.iter_mut().chain(&mut self.successor).chain(&mut self.retiring)
    }

    /// One of its processes.
    pub fn child(&mut self, pid: Pid) -> Option<&mut Child> {
        self.children_mut().find(|child| child.pid == pid)
    }

    /// Takes a process out that has ended.
    pub fn remove(&mut self, pid: Pid) -> Option<(Child, Role)> {
        let is_it = |child: &mut Child| child.pid == pid;
        if let Some(child) = self.current.take_if(is_it) {
            return Some((child, Role::Current));
        }
        if let Some(child) = self.successor.take_if(is_it) {
            return Some((child, Role::Successor));
        }
        let position = self.retiring.iter().position(|child| child.pid == pid)?;
        Some((self.retiring.swap_remove(position), Role::Retiring))
    }

    /// Whether one of its processes sits on a seat.
    pub fn takes(&self, seat: usize) -> bool {
        self.children().any(|child| child.seat == seat)
    }

    /// Writes what a process has logged.
    pub fn read_log(&mut self, pid: Pid, group: &str) {
        let log = Arc::clone(&self.log);
        let Some(child) = self.child(pid) else { return };
        child.pipe.read(|line| write(&log, pid.as_raw(), group, line));
    }

    /// Writes all that a dead process has left.
    pub fn drain_log(&self, child: &mut Child, group: &str) {
        let pid = child.pid.as_raw();
        child.pipe.drain(|line| write(&self.log, pid, group, line));
    }
}

/// Writes a line of a process of `group`.
pub fn write(log: &LogFile, pid: i32, group: &str, line: &[u8]) {
    match PipeLine::parse(line) {
        PipeLine::Leveled(level, text) => log.write(level, pid, text),
        PipeLine::Raw(text) => {
            let named = [format!("daemon process \"{group}\" stderr: ").as_bytes(), text].concat();
            log.write(Level::Error, pid, &named);
        }
    }
}
