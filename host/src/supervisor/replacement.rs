//! Planned replacement: a successor is started, takes over when it is ready, and the old process
//! retires. One process of a group at a time.

use std::time::{Duration, Instant};

use nix::unistd::Pid;

use super::child::{Child, Pending, Slot};
use super::run::Supervisor;
use crate::config::GroupConfig;
use crate::scoreboard::{ProcessState, Restart};
use crate::succession::{Order, Reason, Wish};

/// Least time between the starts of two successors in one slot: a process may ask all the time.
const REST: Duration = Duration::from_millis(100);

/// Longest time that a successor takes until it is ready, where `startup-timeout=` says nothing.
const START: Duration = Duration::from_secs(60);

/// What a retired process gets beyond its own timeouts before it is killed.
const OVERTIME: Duration = Duration::from_secs(5);

impl Supervisor {
    /// Starts the successors whose turn it is, as long as there are seats.
    pub(super) fn start_successors(&mut self) {
        for group in 0..self.config.groups.len() {
            let Some(index) = self.next_to_replace(group) else { continue };
            match self.seat_of_successor(group) {
                Some(seat) => self.start_successor(index, seat),
                None => self.put_off(index),
            }
        }
    }

    /// The slot of a group that has waited longest for its successor; none while another one's is
    /// starting, or the group's template.
    fn next_to_replace(&self, group: usize) -> Option<usize> {
        let slots = || self.slots_of(group);
        if self.awaits_template(group) || slots().any(|(_, slot)| slot.successor.is_some()) {
            return None;
        }
        let now = Instant::now();
        slots()
            .filter(|(_, slot)| slot.rest_until.is_none_or(|until| until <= now))
            .filter_map(|(index, slot)| Some((slot.pending.as_ref()?.since, index)))
            .min()
            .map(|(_, index)| index)
    }

    /// A seat that no slot without a process will need.
    fn seat_of_successor(&self, group: usize) -> Option<usize> {
        let needed = self.slots_of(group).filter(|(_, slot)| slot.current.is_none()).count();
        self.vacant_seats(group).nth(needed)
    }

    fn start_successor(&mut self, index: usize, seat: usize) {
        let slot = &mut self.slots[index];
        let Some(Pending { wish, .. }) = slot.pending.take() else { return };
        slot.rest_until = Some(Instant::now() + REST);
        match self.fork(index, seat, Some(wish.clone())) {
            Ok(mut child) => {
                let slot = &mut self.slots[index];
                child.kill_at = Some(child.started + start_limit(&self.config.groups[slot.group]));
                slot.successor = Some(child);
            }
            Err(_) => stay(self.slots[index].current.as_ref(), &wish.reason),
        }
    }

    /// All seats are taken by processes that do not come to their end. The successor is started when
    /// one of them does; no request waits for that.
    fn put_off(&mut self, index: usize) {
        let slot = &mut self.slots[index];
        let (Some(pending), Some(current)) = (&mut slot.pending, &slot.current) else { return };
        if std::mem::replace(&mut pending.told, true) {
            return;
        }
        tracing::warn!(
            "the successor of daemon process {} of group \"{}\" has to wait ({}): all seats are \
             taken by processes that still run requests",
            current.pid,
            self.config.groups[slot.group].name,
            pending.wish.reason.name()
        );
        stay(Some(current), &pending.wish.reason);
    }

    /// Ends the processes that take too long: successors until they are ready, retired ones until
    /// their end.
    pub(super) fn end_overdue(&mut self) {
        let now = Instant::now();
        for slot in &mut self.slots {
            let name = &self.config.groups[slot.group].name;
            for child in slot.children_mut().filter(|child| child.is_overdue(now)) {
                let what = if self.stopping {
                    "does not end"
                } else if child.is_unreachable() {
                    "has lost its line to the supervisor"
                } else if child.ready_since.is_some() {
                    "does not end"
                } else {
                    "is not ready in time"
                };
                tracing::error!("daemon process {} of group \"{name}\" {what}: killed", child.pid);
                child.kill();
            }
        }
    }

    /// When the next successor may start, or a process has taken too long.
    pub(super) fn next_replacement(&self) -> Option<Instant> {
        let now = Instant::now();
        let pending =
            self.slots.iter().filter(|slot| slot.pending.as_ref().is_some_and(|p| !p.told));
        let rests = pending.filter_map(|slot| slot.rest_until).filter(|until| *until > now);
        rests.chain(self.children().filter_map(|child| child.kill_at)).min()
    }

    /// A process wants to be replaced. Where a script has changed, the others of its group run it as
    /// well, so they are replaced too.
    pub(super) fn wish(&mut self, index: usize, pid: Pid, wish: Wish) {
        let asking = &self.slots[index];
        let is_current = asking.current.as_ref().is_some_and(|child| child.pid == pid);
        let newer = asking.is_being_replaced_for_older(&wish.reason);
        if self.stopping || !is_current || asking.is_being_replaced() && !newer {
            return;
        }
        if wish.reason.change().is_none() {
            self.slots[index].pending = Some(Pending::new(wish));
            return;
        }
        let group = asking.group;
        for slot in self.slots.iter_mut().filter(|slot| slot.group == group) {
            let serves = slot.current.as_ref().is_some_and(|child| child.ready_since.is_some());
            if serves && (newer || !slot.is_being_replaced()) {
                if let Some(overtaken) = &mut slot.successor {
                    overtaken.kill();
                }
                slot.pending = Some(Pending::new(wish.clone()));
            }
        }
    }

    /// A successor that is ready takes over.
    pub(super) fn hand_over(&mut self, index: usize, pid: Pid) {
        let slot = &mut self.slots[index];
        let Some(mut successor) = slot.successor.take_if(|child| child.pid == pid) else { return };
        successor.kill_at = None;
        let wish = successor.wish.take();
        let Some(old) = slot.current.replace(successor) else { return };
        self.leases.set_state(slot.group, old.seat, ProcessState::Draining);
        let group = &self.config.groups[slot.group];
        let (name, gone) = (&group.name, old.pid);
        let reason = wish.map_or(Reason::GracefulSignal, |wish| wish.reason);
        self.leases.count_restart(slot.group, (&reason).into());
        let patient = group.timers.graceful == 0 && reason == Reason::RestartInterval;
        tracing::info!(
            "daemon process {pid} of group \"{name}\" takes over from process {gone} ({})",
            reason.name()
        );
        order(&old, &Order::HandOver(reason));
        slot.retire(old, end_limit(group).filter(|_| !patient));
    }

    /// A process that is for one request only has had it: the next one is started at once.
    pub(super) fn let_go(&mut self, index: usize, pid: Pid) {
        let Some(child) = self.slots[index].child(pid) else { return };
        order(child, &Order::HandOver(Reason::MaximumRequests));
        self.depart(index, pid, Restart::MaximumRequests);
        let slot = &mut self.slots[index];
        slot.due = slot.due.map(|_| Instant::now());
        slot.backoff.clear();
    }

    /// A successor has died before it was ready.
    pub(super) fn keep_current(&mut self, index: usize, dead: Child) {
        let slot = &self.slots[index];
        let (Some(current), Some(wish)) = (&slot.current, &dead.wish) else { return };
        let group = slot.group;
        self.leases.set_state(group, current.seat, ProcessState::Overdue);
        tracing::error!(
            "daemon process {} of group \"{}\" goes on with what it has loaded ({}): its successor {} \
             ended before it was ready",
            current.pid,
            self.config.groups[group].name,
            wish.reason.name(),
            dead.pid,
        );
        stay(Some(current), &wish.reason);
        // What one successor could not load is not tried in the place of the others.
        for slot in self.slots.iter_mut().filter(|slot| slot.group == group) {
            let same = |pending: &mut Pending| {
                pending.wish.reason == wish.reason && wish.reason.change().is_some()
            };
            if slot.pending.take_if(same).is_some() {
                stay(slot.current.as_ref(), &wish.reason);
            }
        }
    }
}

impl Slot {
    fn is_being_replaced(&self) -> bool {
        self.successor.is_some() || self.pending.is_some()
    }

    /// Whether the replacement in progress is for an older version of the script.
    fn is_being_replaced_for_older(&self, reason: &Reason) -> bool {
        let pending = self.pending.as_ref().map(|pending| &pending.wish);
        let started = || self.successor.as_ref().and_then(|child| child.wish.as_ref());
        pending.or_else(started).is_some_and(|wish| wish.reason.is_older_than(reason))
    }

    /// A process serves no longer; it has so much time to finish what it runs.
    pub(super) fn retire(&mut self, mut old: Child, limit: Option<Duration>) {
        old.kill_at = limit.map(|limit| Instant::now() + limit);
        self.retiring.push(old);
    }
}

fn start_limit(group: &GroupConfig) -> Duration {
    match group.timers.startup {
        0 => START,
        seconds => Duration::from_secs(seconds.into()),
    }
}

/// Longest time that a retired process takes to its end; `None` where it may take for ever.
pub(super) fn end_limit(group: &GroupConfig) -> Option<Duration> {
    let timers = &group.timers;
    if group.shutdown_timeout == 0 {
        return None;
    }
    let longest = timers.graceful.max(timers.eviction) + group.shutdown_timeout;
    Some(Duration::from_secs(longest.into()) + OVERTIME)
}

fn stay(process: Option<&Child>, reason: &Reason) {
    if let Some(process) = process {
        order(process, &Order::Stay(reason.clone()));
    }
}

fn order(process: &Child, order: &Order) {
    let Some(control) = &process.control else { return };
    if let Err(error) = control.say(order) {
        // A process that does not listen is ending, or stuck: the reaper of either is not far.
        tracing::warn!("daemon process {} does not take orders: {error}", process.pid);
    }
}
