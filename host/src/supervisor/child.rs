//! A place for a process, and the process in it.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::unistd::{read, Pid};

use super::backoff::Backoff;
use super::lines::LogPipe;
use crate::log::{Level, LogFile, PipeLine};
use crate::process::{DRAINING, READY};

/// One process slot of a group.
pub struct Slot {
    pub group: usize,
    pub process: usize,
    /// Where the process's lines go.
    pub log: Arc<LogFile>,
    pub backoff: Backoff,
    pub child: Option<Child>,
    /// When to start the next process.
    pub due: Option<Instant>,
}

/// A running daemon process.
pub struct Child {
    pub pid: Pid,
    /// `None` once the process has closed its end.
    pub control: Option<OwnedFd>,
    pub pipe: LogPipe,
    pub ready_since: Option<Instant>,
    pub draining: bool,
}

/// What a process says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Ready,
    Draining,
}

impl Child {
    /// How long the process has been ready.
    pub fn ready_for(&self) -> Duration {
        self.ready_since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Reads what the process says. It may be hostile: only the first word of each kind counts.
    pub fn listen(&mut self) -> Vec<Change> {
        let mut bytes = [0; 16];
        let Some(control) = &self.control else { return Vec::new() };
        let read = match read(control, &mut bytes) {
            Err(Errno::EAGAIN | Errno::EINTR) => return Vec::new(),
            Ok(0) | Err(_) => {
                self.control = None;
                return Vec::new();
            }
            Ok(n) => n,
        };
        bytes[..read].iter().filter_map(|byte| self.heard(*byte)).collect()
    }

    fn heard(&mut self, byte: u8) -> Option<Change> {
        match byte {
            READY if self.ready_since.is_none() && !self.draining => {
                self.ready_since = Some(Instant::now());
                Some(Change::Ready)
            }
            DRAINING if !self.draining => {
                self.draining = true;
                Some(Change::Draining)
            }
            _ => None,
        }
    }
}

impl Slot {
    /// Writes what the process has logged.
    pub fn read_log(&mut self, group: &str) {
        let Some(child) = &mut self.child else { return };
        let (log, pid) = (&self.log, child.pid.as_raw());
        child.pipe.read(|line| write(log, pid, group, line));
    }

    /// Writes all that a dead process has left.
    pub fn drain_log(&self, child: &mut Child, group: &str) {
        let pid = child.pid.as_raw();
        child.pipe.drain(|line| write(&self.log, pid, group, line));
    }
}

fn write(log: &LogFile, pid: i32, group: &str, line: &[u8]) {
    match PipeLine::parse(line) {
        PipeLine::Leveled(level, text) => log.write(level, pid, text),
        PipeLine::Raw(text) => {
            let named = [format!("daemon process \"{group}\" stderr: ").as_bytes(), text].concat();
            log.write(Level::Error, pid, &named);
        }
    }
}
