//! Starting, replacing and burying processes.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::sys::socket::{accept4, SockFlag};
use nix::sys::wait::{waitpid, WaitPidFlag, WaitStatus};
use nix::unistd::{close, write, Pid};

use super::child::{Child, Role, Slot};
use super::run::Supervisor;
use super::{death, fork};
use crate::config::GroupConfig;
use crate::scoreboard::{seats, ProcessState, Reports};
use crate::succession::{Order, Wish, Word};

/// Least time between the starts of two successors in one slot: a process may ask all the time.
const REST: Duration = Duration::from_millis(100);

/// Longest time that a successor takes until it is ready.
const START: Duration = Duration::from_secs(60);

impl Supervisor {
    /// Starts the processes whose time has come.
    pub(super) fn start_due(&mut self) {
        let now = Instant::now();
        for index in 0..self.slots.len() {
            let slot = &mut self.slots[index];
            if slot.due.take_if(|due| *due <= now).is_none() {
                continue;
            }
            let seat = slot.seat;
            match self.fork(index, seat, None) {
                Ok(child) => self.slots[index].current = Some(child),
                Err(_) => {
                    let slot = &mut self.slots[index];
                    slot.due = Some(now + slot.backoff.pause(Duration::ZERO));
                }
            }
        }
    }

    /// Starts the successors that are wished for, as long as there are seats.
    pub(super) fn start_successors(&mut self) {
        for index in 0..self.slots.len() {
            let slot = &self.slots[index];
            let rests = slot.rest_until.is_some_and(|until| until > Instant::now());
            if slot.wish.is_none() || slot.successor.is_some() || rests {
                continue;
            }
            let Some(seat) = self.vacant_seats(slot.group).next() else {
                self.put_off(index);
                continue;
            };
            let slot = &mut self.slots[index];
            let Some(wish) = slot.wish.take() else { continue };
            slot.told = false;
            slot.rest_until = Some(Instant::now() + REST);
            match self.fork(index, seat, Some(wish.clone())) {
                Ok(child) => self.slots[index].successor = Some(child),
                Err(_) => stay(self.slots[index].current.as_ref(), &wish),
            }
        }
    }

    /// All seats are taken by processes that do not come to their end. The successor is started when
    /// one of them does; no request waits for that.
    fn put_off(&mut self, index: usize) {
        let slot = &mut self.slots[index];
        let (Some(wish), false) = (&slot.wish, slot.told) else { return };
        tracing::warn!(
            "'{}' has changed, but all successors of group \"{}\" wait for processes that still run \
             requests",
            wish.change.of.shown(),
            self.config.groups[slot.group].name
        );
        stay(slot.current.as_ref(), wish);
        slot.told = true;
    }

    /// Ends successors that take too long. Their slots' processes stay.
    pub(super) fn end_slow_successors(&mut self) {
        for slot in &mut self.slots {
            let slow = |child: &&mut Child| child.started.elapsed() >= START;
            let Some(child) = slot.successor.as_mut().filter(slow) else { continue };
            tracing::error!(
                "daemon process {} of group \"{}\" is not ready after {} s",
                child.pid,
                self.config.groups[slot.group].name,
                START.as_secs()
            );
            child.give_up();
            child.started = Instant::now();
        }
    }

    /// When the next successor may start, or has taken too long.
    pub(super) fn next_succession(&self) -> Option<Instant> {
        let slots = self.slots.iter();
        let rests = slots.clone().filter(|slot| slot.wish.is_some() && !slot.told);
        let rests =
            rests.filter(|slot| slot.successor.is_none()).filter_map(|slot| slot.rest_until);
        let slow = slots.filter_map(|slot| slot.successor.as_ref());
        rests.chain(slow.map(|child| child.started + START)).min()
    }

    /// A new process for a slot; failure is logged.
    fn fork(&self, index: usize, seat: usize, wish: Option<Wish>) -> Result<Child, Errno> {
        let slot = &self.slots[index];
        let group = &self.config.groups[slot.group];
        self.leases.begin(slot.group, seat);
        let level = slot.log.threshold();
        fork::start(&self.config, group, seat, wish, level, self.title).inspect_err(|errno| {
            self.leases.set_state(slot.group, seat, ProcessState::Gone);
            tracing::error!(
                level = 2u64,
                "cannot start a daemon process of group \"{}\": {}",
                group.name,
                errno.desc()
            );
        })
    }

    /// The seats of a group that belong to no slot.
    pub(super) fn vacant_seats(&self, group: usize) -> impl Iterator<Item = usize> + '_ {
        let all = usize::from(seats(self.config.groups[group].processes));
        let slots = move || self.slots.iter().filter(move |slot| slot.group == group);
        (0..all).filter(move |seat| !slots().any(|slot| slot.sits_on(*seat)))
    }

    pub(super) fn listener(&self, group: usize, seat: usize) -> BorrowedFd<'_> {
        let fd = self.config.groups[group].listeners[seat].fd;
        // SAFETY: the configuration names the group's listeners, which stay open in the supervisor.
        unsafe { BorrowedFd::borrow_raw(fd) }
    }

    /// Closes a connection that came for a process which has ended meanwhile. nginx sees that nobody
    /// took the request up and sends it again.
    pub(super) fn send_away(&self, group: usize, seat: usize) {
        let listener = self.config.groups[group].listeners[seat].fd;
        if let Ok(connection) = accept4(listener, SockFlag::SOCK_CLOEXEC) {
            let _ = close(connection);
        }
    }

    pub(super) fn read_control(&mut self, index: usize, pid: Pid) {
        let Some(child) = self.slots[index].child(pid) else { return };
        let seat = child.seat;
        let Some(word) = child.listen() else { return };
        let group = self.slots[index].group;
        match word {
            Word::Ready if self.stop.is_none() => {
                self.leases.set_state(group, seat, ProcessState::Ready);
                self.hand_over(index, pid);
                self.wake_waiting(group);
            }
            Word::Ready | Word::Draining => {
                self.leases.set_state(group, seat, ProcessState::Draining);
            }
            Word::Replace(wish) => self.wish(index, pid, &wish),
        }
    }

    /// A process wants to be replaced. The others of its group run the same scripts, so they are
    /// replaced as well.
    fn wish(&mut self, index: usize, pid: Pid, wish: &Wish) {
        let asking = &self.slots[index];
        let is_current = asking.current.as_ref().is_some_and(|child| child.pid == pid);
        let newer = asking.is_being_replaced_for_older(wish);
        if self.stop.is_some() || !is_current || asking.is_being_replaced() && !newer {
            return;
        }
        let group = asking.group;
        for slot in self.slots.iter_mut().filter(|slot| slot.group == group) {
            let serves = slot.current.as_ref().is_some_and(|child| child.ready_since.is_some());
            if serves && (newer || !slot.is_being_replaced()) {
                if let Some(overtaken) = &mut slot.successor {
                    overtaken.give_up();
                }
                slot.wish = Some(wish.clone());
                slot.told = false;
            }
        }
    }

    /// A successor that is ready takes over.
    fn hand_over(&mut self, index: usize, pid: Pid) {
        let slot = &mut self.slots[index];
        let Some(successor) = slot.successor.take_if(|child| child.pid == pid) else { return };
        slot.seat = successor.seat;
        let Some(old) = slot.current.replace(successor) else { return };
        self.leases.set_state(slot.group, old.seat, ProcessState::Draining);
        order(&old, &Order::HandOver);
        let name = &self.config.groups[slot.group].name;
        tracing::info!(
            "daemon process {pid} of group \"{name}\" takes over from process {}",
            old.pid
        );
        slot.retiring.push(old);
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

    /// Buries the processes that have ended.
    pub(super) fn reap(&mut self) {
        for index in 0..self.slots.len() {
            let pids: Vec<Pid> = self.slots[index].children().map(|child| child.pid).collect();
            for pid in pids {
                let status = waitpid(pid, Some(WaitPidFlag::WNOHANG));
                if let Ok(status @ (WaitStatus::Exited(..) | WaitStatus::Signaled(..))) = status {
                    self.bury(index, pid, &status);
                }
            }
        }
    }

    fn bury(&mut self, index: usize, pid: Pid, status: &WaitStatus) {
        let slot = &mut self.slots[index];
        let Some((mut child, role)) = slot.remove(pid) else { return };
        self.leases.set_state(slot.group, child.seat, ProcessState::Gone);
        let group = &self.config.groups[slot.group];
        slot.drain_log(&mut child, &group.name);
        let manner = death::manner(status);
        let overtaken = role == Role::Successor && slot.wish.is_some();
        let planned =
            self.stop.is_some() || overtaken || matches!(status, WaitStatus::Exited(_, 0));
        let running = last_words(group, child.seat);
        let name = &group.name;
        if planned {
            tracing::info!("Process '{name}' (pid {pid}) {manner}{running}");
        } else {
            tracing::error!("Process '{name}' (pid {pid}) has died, {manner}{running}");
        }
        if self.stop.is_some() {
            return;
        }
        match role {
            Role::Current => slot.succeed(&child),
            Role::Successor if overtaken => {}
            Role::Successor => slot.keep_current(&child, &group.name),
            Role::Retiring => {}
        }
    }
}

impl Slot {
    fn is_being_replaced(&self) -> bool {
        self.successor.is_some() || self.wish.is_some()
    }

    /// Whether the replacement in progress is for an older version of the script.
    fn is_being_replaced_for_older(&self, wish: &Wish) -> bool {
        let successors = self.successor.as_ref().and_then(|child| child.wish.as_ref());
        let pending = self.wish.as_ref().or(successors);
        pending.is_some_and(|pending| pending.change.is_older_than(&wish.change))
    }

    /// The current process has died: its successor steps in early, or a new one is started.
    fn succeed(&mut self, dead: &Child) {
        self.wish = None;
        match self.successor.take() {
            Some(successor) => {
                self.seat = successor.seat;
                self.current = Some(successor);
            }
            None => self.due = Some(Instant::now() + self.backoff.pause(dead.ready_for())),
        }
    }

    /// A successor has died before it was ready.
    fn keep_current(&self, dead: &Child, group: &str) {
        let (Some(current), Some(wish)) = (&self.current, &dead.wish) else { return };
        tracing::error!(
            "daemon process {} of group \"{group}\" goes on with what it has loaded: its successor \
             could not load '{}', or ended before it was ready",
            current.pid,
            wish.change.of.shown()
        );
        stay(Some(current), wish);
    }
}

fn stay(process: Option<&Child>, wish: &Wish) {
    if let Some(process) = process {
        order(process, &Order::Stay(wish.change.clone()));
    }
}

fn order(process: &Child, order: &Order) {
    let Some(control) = &process.control else { return };
    if let Err(error) = control.say(order) {
        // A process that does not listen is ending, or stuck: the reaper of either is not far.
        tracing::warn!("daemon process {} does not take orders: {error}", process.pid);
    }
}

/// What a dead process was running, as its report says. The report is mapped for this moment only:
/// processes of other groups are forked from this one and must not inherit it.
fn last_words(group: &GroupConfig, seat: usize) -> String {
    // SAFETY: the configuration names the group's report, which stays open in the supervisor.
    let report = unsafe { BorrowedFd::borrow_raw(group.report) };
    let Ok(reports) = Reports::open(report, seats(group.processes), group.threads) else {
        return String::new();
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let running = reports.running(seat);
    reports.clear(seat);
    death::requests(&running, now.as_micros() as u64)
}
