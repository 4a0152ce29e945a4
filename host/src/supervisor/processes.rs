//! Starting, watching and burying processes.

use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{accept4, SockFlag};
use nix::unistd::{getpid, write, Pid};

use super::child::{Child, Role, Slot};
use super::death::{self, Death};
use super::fork;
use super::replacement::end_limit;
use super::run::Supervisor;
use crate::clock::now_us;
use crate::config::{GroupConfig, SupervisorConfig};
use crate::log::Level;
use crate::process::Common;
use crate::scoreboard::{seats, ProcessState, Reports, Restart};
use crate::succession::{Wish, Word};

/// Pause of a supervisor that is out of descriptors or memory.
const EXHAUSTED: Duration = Duration::from_millis(100);

/// Longest time between the end of a process's line and its own.
const UNREACHABLE: Duration = Duration::from_secs(1);

impl Supervisor {
    /// Starts the processes whose time has come, as long as there are seats.
    pub(super) fn start_due(&mut self) {
        let now = Instant::now();
        for index in 0..self.slots.len() {
            let slot = &self.slots[index];
            if slot.due.is_none_or(|due| due > now) || self.awaits_template(slot.group) {
                continue;
            }
            let Some(seat) = self.vacant_seats(slot.group).next() else { continue };
            let started = self.fork(index, seat, None);
            let slot = &mut self.slots[index];
            slot.due = match started {
                Ok(child) => {
                    slot.current = Some(child);
                    None
                }
                Err(_) => Some(now + slot.backoff.pause(Duration::ZERO)),
            };
        }
    }

    /// When the next process is due.
    pub(super) fn next_start(&self) -> Option<Instant> {
        let seated = |slot: &&Slot| {
            !self.awaits_template(slot.group) && self.vacant_seats(slot.group).next().is_some()
        };
        self.slots
            .iter()
            .filter(|slot| slot.due.is_some())
            .filter(seated)
            .filter_map(|s| s.due)
            .min()
    }

    /// A new process for a slot; failure is logged.
    pub(super) fn fork(
        &mut self,
        index: usize,
        seat: usize,
        wish: Option<Wish>,
    ) -> Result<Child, Errno> {
        let (group, level) = (self.slots[index].group, self.slots[index].log.threshold());
        self.leases.begin(group, seat);
        let config = Arc::clone(&self.config);
        let common = self.common(&config, group, level);
        let delegate = |order: &_, descriptors: &_| self.order(group, order, descriptors);
        let forked = fork::start(common, seat, wish, delegate);
        if let Ok(child) = &forked {
            self.leases.introduce(group, seat, child.pid.as_raw() as u32, now_us());
        }
        forked.inspect_err(|errno| {
            self.leases.set_state(group, seat, ProcessState::Gone);
            tracing::error!(
                level = 2u64,
                "cannot start a daemon process of group \"{}\": {}",
                config.groups[group].name,
                errno.desc()
            );
        })
    }

    /// What all processes of a group get.
    pub(super) fn common<'a>(
        &self,
        config: &'a SupervisorConfig,
        group: usize,
        level: Level,
    ) -> Common<'a> {
        Common {
            group: &config.groups[group],
            python: &config.python,
            worker_uid: config.worker_uid,
            generation: config.generation,
            supervisor: getpid(),
            level,
            descriptors: self.descriptors,
            title: self.title,
        }
    }

    /// The slots of a group, with their indices. All groups' are in order.
    pub(super) fn slots_of(&self, group: usize) -> impl Iterator<Item = (usize, &Slot)> {
        let first = self.slots.partition_point(|slot| slot.group < group);
        let slots = self.slots[first..].iter().take_while(move |slot| slot.group == group);
        slots.enumerate().map(move |(offset, slot)| (first + offset, slot))
    }

    /// The seats of a group that nobody sits on.
    pub(super) fn vacant_seats(&self, group: usize) -> impl Iterator<Item = usize> + '_ {
        let all = usize::from(seats(self.config.groups[group].processes));
        let taken = move |seat| self.slots_of(group).any(|(_, slot)| slot.takes(seat));
        (0..all).filter(move |seat| !taken(*seat))
    }

    pub(super) fn listener(&self, group: usize, seat: usize) -> BorrowedFd<'_> {
        let fd = self.config.groups[group].listeners[seat].fd;
        // SAFETY: the configuration names the group's listeners, which stay open in the supervisor.
        unsafe { BorrowedFd::borrow_raw(fd) }
    }

    /// Closes the connections that came for a process which has ended meanwhile. nginx sees that
    /// nobody took the requests up and sends them again.
    pub(super) fn send_away(&self, group: usize, seat: usize) {
        // Services have none.
        let Some(listener) = self.config.groups[group].listeners.get(seat) else { return };
        // Closed together at the end: what is sent again at once may come here again.
        let mut stragglers = Vec::new();
        loop {
            match accept4(listener.fd, SockFlag::SOCK_CLOEXEC) {
                // SAFETY: a new descriptor that nobody else knows.
                Ok(connection) => stragglers.push(unsafe { OwnedFd::from_raw_fd(connection) }),
                Err(Errno::EINTR | Errno::ECONNABORTED) => {}
                Err(Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM) => {
                    return std::thread::sleep(EXHAUSTED)
                }
                Err(_) => return,
            }
        }
    }

    pub(super) fn read_control(&mut self, index: usize, pid: Pid) {
        let Some(child) = self.slots[index].child(pid) else { return };
        let seat = child.seat;
        let Some(word) = child.listen() else { return self.give_up_unreachable(index, pid) };
        let group = self.slots[index].group;
        match word {
            Word::Ready if !self.stopping => {
                self.leases.set_state(group, seat, ProcessState::Ready);
                self.hand_over(index, pid);
                self.wake_waiting(group);
            }
            Word::Ready | Word::Draining => {
                self.leases.set_state(group, seat, ProcessState::Draining);
                self.depart(index, pid, Restart::Exited);
            }
            Word::Spent => {
                self.leases.set_state(group, seat, ProcessState::Draining);
                self.let_go(index, pid);
            }
            Word::Replace(wish) => self.wish(index, pid, wish),
        }
    }

    /// A process that has closed its line without a word is about to be buried. One that is still there
    /// after a while is another program, or has lost its descriptors, and serves nobody any more. A
    /// service needs no line.
    fn give_up_unreachable(&mut self, index: usize, pid: Pid) {
        let slot = &mut self.slots[index];
        if self.config.groups[slot.group].is_service() {
            return;
        }
        let Some(child) = slot.child(pid).filter(|child| child.is_unreachable()) else { return };
        let limit = Instant::now() + UNREACHABLE;
        child.kill_at = Some(child.kill_at.map_or(limit, |at| at.min(limit)));
    }

    /// The current process ends without waiting for a successor: the next one is started already.
    pub(super) fn depart(&mut self, index: usize, pid: Pid, restart: Restart) {
        let slot = &mut self.slots[index];
        let Some(old) = slot.current.take_if(|child| child.pid == pid) else { return };
        if !self.stopping {
            self.leases.count_restart(slot.group, restart);
            slot.succeed(&old);
        }
        slot.retire(old, end_limit(&self.config.groups[slot.group]));
    }

    /// As many workers as there are new slots learn that there is something to lease.
    fn wake_waiting(&self, group: usize) {
        for _ in 0..self.config.groups[group].threads {
            let Some(worker) = self.leases.next_waiting(group) else { return };
            self.leases.call(group, worker);
            if let Some(wakeup) = self.wakeups.get(worker) {
                // Fails only when the counter is full, which wakes the worker as well.
                let _ = write(wakeup, &1u64.to_ne_bytes());
            }
        }
    }

    /// Buries the processes that have ended.
    pub(super) fn reap(&mut self) {
        let mut dead = Vec::new();
        for (index, slot) in self.slots.iter().enumerate() {
            for child in slot.children() {
                let Some(death) = Death::reap(child.pid) else { continue };
                // Of all before the first is buried: what is sent again goes to none of them.
                self.leases.set_state(slot.group, child.seat, ProcessState::Gone);
                dead.push((index, child.pid, death));
            }
        }
        for (index, pid, death) in dead {
            self.bury(index, pid, death);
        }
        let templates: Vec<_> = self.running_templates().map(|(group, t)| (group, t.pid)).collect();
        for (group, pid) in templates {
            if let Some(death) = Death::reap(pid) {
                self.bury_template(group, death);
            }
        }
        self.reap_adopted();
    }

    /// Buries what daemon processes have left behind, where the supervisor adopts it.
    fn reap_adopted(&self) {
        while let Some(pid) = ended_child() {
            let known = self.children().map(|child| child.pid);
            // One that has ended this moment has a signal on its way.
            if known.chain(self.running_templates().map(|(_, t)| t.pid)).any(|known| known == pid) {
                return;
            }
            Death::reap(pid);
        }
    }

    fn bury(&mut self, index: usize, pid: Pid, death: Death) {
        let slot = &mut self.slots[index];
        let Some((mut child, role)) = slot.remove(pid) else { return };
        let group = &self.config.groups[slot.group];
        slot.drain_log(&mut child, &group.name);
        let manner = death.manner();
        let overtaken = role == Role::Successor && slot.pending.is_some();
        let planned = self.stopping || overtaken || death.is_success();
        let running = last_words(group, child.seat);
        let name = &group.name;
        if planned {
            tracing::info!("Process '{name}' (pid {pid}) {manner}{running}");
        } else {
            tracing::error!("Process '{name}' (pid {pid}) has died, {manner}{running}");
        }
        if self.stopping {
            return;
        }
        match role {
            Role::Current => {
                let restart = if planned { Restart::Exited } else { Restart::Crashed };
                self.leases.count_restart(slot.group, restart);
                slot.succeed(&child);
                let group = slot.group;
                self.send_away(group, child.seat);
            }
            Role::Successor if !overtaken => self.keep_current(index, child),
            Role::Successor | Role::Retiring => {}
        }
    }
}

impl Slot {
    /// The current process has gone: its successor steps in early, or a new one is started.
    fn succeed(&mut self, gone: &Child) {
        self.pending = None;
        match self.successor.take() {
            Some(successor) => self.current = Some(Child { kill_at: None, ..successor }),
            None => {
                let (backoff, ready) = (&mut self.backoff, gone.ready_for());
                let pause =
                    if gone.draining { backoff.pause_as_told(ready) } else { backoff.pause(ready) };
                self.due = Some(Instant::now() + pause);
            }
        }
    }
}

/// A child that has ended and has not been buried.
fn ended_child() -> Option<Pid> {
    // SAFETY: a plain struct that the call fills in; without a child its pid stays 0.
    let pid = unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        (libc::waitid(libc::P_ALL, 0, &mut info, flags) == 0).then(|| info.si_pid())?
    };
    (pid != 0).then(|| Pid::from_raw(pid))
}

/// What a dead process was running, as its report says. The report is mapped for this moment only:
/// processes of other groups are forked from this one and must not inherit it.
fn last_words(group: &GroupConfig, seat: usize) -> String {
    // SAFETY: the configuration names the group's report, which stays open in the supervisor.
    let report = unsafe { BorrowedFd::borrow_raw(group.report) };
    let Ok(reports) = Reports::open(report, seats(group.processes), group.threads) else {
        return String::new();
    };
    let running = reports.running(seat);
    reports.clear(seat);
    death::requests(&running, now_us())
}
