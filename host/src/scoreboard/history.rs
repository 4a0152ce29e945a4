//! What the lease table remembers for whoever looks at the server: since when its processes live,
//! how many requests they were given, why they were replaced, and how many requests wait.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::leases::Leases;
use crate::succession::Reason;

/// A seat's process, and what the seat has seen so far.
#[repr(C)]
pub(super) struct Life {
    pid: AtomicU64,
    started_us: AtomicU64,
    /// Requests, over all processes that have had the seat.
    requests: AtomicU64,
    /// How many of them came before the current process.
    before: AtomicU64,
}

/// For each [`Restart`], how often.
#[repr(C)]
pub(super) struct Restarts([AtomicU64; Restart::ALL.len()]);

/// Why a process of a group had to be followed by another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Restart {
    /// A script is another than the one it had loaded.
    ScriptReload,
    /// `maximum-requests=`.
    MaximumRequests,
    /// `restart-interval=`.
    RestartInterval,
    /// `inactivity-timeout=`.
    InactivityTimeout,
    /// `request-timeout=`.
    RequestTimeout,
    /// `cpu-time-limit=`.
    CpuTimeLimit,
    /// SIGUSR1.
    GracefulSignal,
    /// SIGUSR1 where there is an `eviction-timeout=`.
    EvictionSignal,
    /// It has ended properly, but nobody had told it to: SIGTERM, `startup-timeout=`, a service that
    /// is done.
    Exited,
    /// A signal has killed it, or its exit code says that it has failed.
    Crashed,
}

impl Restart {
    /// All of them, in the order of their numbers.
    pub const ALL: [Restart; 10] = [
        Restart::ScriptReload,
        Restart::MaximumRequests,
        Restart::RestartInterval,
        Restart::InactivityTimeout,
        Restart::RequestTimeout,
        Restart::CpuTimeLimit,
        Restart::GracefulSignal,
        Restart::EvictionSignal,
        Restart::Exited,
        Restart::Crashed,
    ];

    /// The name that people, monitors and, of a planned one, applications see.
    pub fn name(self) -> &'static str {
        match self {
            Restart::ScriptReload => "script_reload",
            Restart::MaximumRequests => "maximum_requests",
            Restart::RestartInterval => "restart_interval",
            Restart::InactivityTimeout => "inactivity_timeout",
            Restart::RequestTimeout => "request_timeout",
            Restart::CpuTimeLimit => "cpu_time_limit",
            Restart::GracefulSignal => "graceful_signal",
            Restart::EvictionSignal => "eviction_signal",
            Restart::Exited => "exited",
            Restart::Crashed => "crashed",
        }
    }
}

impl From<&Reason> for Restart {
    fn from(reason: &Reason) -> Self {
        match reason {
            Reason::Script(_) => Restart::ScriptReload,
            Reason::MaximumRequests => Restart::MaximumRequests,
            Reason::RestartInterval => Restart::RestartInterval,
            Reason::InactivityTimeout => Restart::InactivityTimeout,
            Reason::RequestTimeout => Restart::RequestTimeout,
            Reason::CpuTimeLimit => Restart::CpuTimeLimit,
            Reason::GracefulSignal => Restart::GracefulSignal,
            Reason::EvictionSignal => Restart::EvictionSignal,
        }
    }
}

impl Leases {
    fn life(&self, group: usize, process: usize) -> &Life {
        let range = self.shape.processes_of(group);
        assert!(process < range.len(), "process {process} is not in group {group}");
        self.memory.at(self.shape.life_at(range.start + process))
    }

    fn queue(&self, group: usize, worker: usize) -> &AtomicU32 {
        self.memory.at(self.shape.queue_at(group, worker % self.shape.workers()))
    }

    /// A seat's next process has had no request.
    pub(super) fn begin_life(&self, group: usize, process: usize) {
        let life = self.life(group, process);
        life.pid.store(0, Ordering::Relaxed);
        life.before.store(life.requests.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    pub(super) fn count_request(&self, group: usize, process: usize) {
        self.life(group, process).requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Says who sits on a seat, and since when in microseconds since the epoch.
    pub fn introduce(&self, group: usize, process: usize, pid: u32, started_us: u64) {
        let life = self.life(group, process);
        life.started_us.store(started_us, Ordering::Relaxed);
        life.pid.store(u64::from(pid), Ordering::Release);
    }

    /// Who sits on a seat, and since when; `None` until it was introduced.
    pub fn introduced(&self, group: usize, process: usize) -> Option<(u32, u64)> {
        let life = self.life(group, process);
        let pid = u32::try_from(life.pid.load(Ordering::Acquire)).ok().filter(|pid| *pid != 0)?;
        Some((pid, life.started_us.load(Ordering::Relaxed)))
    }

    /// Requests that were sent to the process on a seat.
    pub fn requests(&self, group: usize, process: usize) -> u64 {
        let life = self.life(group, process);
        let before = life.before.load(Ordering::Relaxed);
        life.requests.load(Ordering::Relaxed).saturating_sub(before)
    }

    /// Requests that were sent to any process of a group.
    pub fn requests_of(&self, group: usize) -> u64 {
        let seats = 0..self.shape.processes_of(group).len();
        seats.map(|seat| self.life(group, seat).requests.load(Ordering::Relaxed)).sum()
    }

    fn restart(&self, group: usize, restart: Restart) -> &AtomicU64 {
        let restarts: &Restarts = self.memory.at(self.shape.restarts_at(group));
        &restarts.0[restart as usize]
    }

    /// Counts that a process had to be followed by another.
    pub fn count_restart(&self, group: usize, restart: Restart) {
        self.restart(group, restart).fetch_add(1, Ordering::Relaxed);
    }

    /// How often that happened.
    pub fn restarts(&self, group: usize, restart: Restart) -> u64 {
        self.restart(group, restart).load(Ordering::Relaxed)
    }

    /// Says how many requests wait for the group in one worker.
    pub fn set_queue(&self, group: usize, worker: usize, len: usize) {
        let len = u32::try_from(len).unwrap_or(u32::MAX);
        self.queue(group, worker).store(len, Ordering::Relaxed);
    }

    /// Requests that wait for the group, in all workers.
    pub fn queued(&self, group: usize) -> u64 {
        let workers = 0..self.shape.workers();
        workers.map(|worker| u64::from(self.queue(group, worker).load(Ordering::Relaxed))).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{GroupShape, ProcessState, Shape};
    use super::*;

    fn table() -> Leases {
        let group = GroupShape { processes: 2, threads: 3 };
        Leases::inherited(Shape::new(vec![group, group], 2)).unwrap()
    }

    fn serve(leases: &Leases, requests: usize) {
        leases.begin(1, 0);
        leases.set_state(1, 0, ProcessState::Ready);
        for _ in 0..requests {
            let lease = leases.lease(1, 0).unwrap();
            leases.release(lease, 0);
        }
    }

    #[test]
    fn requests_are_counted_for_the_process_and_for_the_group() {
        let leases = table();
        serve(&leases, 3);
        assert_eq!((leases.requests(1, 0), leases.requests_of(1)), (3, 3));
        serve(&leases, 2);
        assert_eq!((leases.requests(1, 0), leases.requests_of(1)), (2, 5));
        assert_eq!((leases.requests_of(0), leases.busy(1, 0)), (0, 0));
    }

    #[test]
    fn a_seat_is_somebodys_until_the_next() {
        let leases = table();
        leases.begin(0, 1);
        assert_eq!(leases.introduced(0, 1), None);
        leases.introduce(0, 1, 7, 1000);
        assert_eq!(leases.introduced(0, 1), Some((7, 1000)));
        leases.begin(0, 1);
        assert_eq!((leases.introduced(0, 1), leases.introduced(1, 1)), (None, None));
    }

    #[test]
    fn queues_are_added_up_and_go_with_their_worker() {
        let leases = table();
        leases.set_queue(1, 0, 2);
        leases.set_queue(1, 1, 3);
        assert_eq!((leases.queued(0), leases.queued(1)), (0, 5));
        leases.reclaim(1);
        assert_eq!(leases.queued(1), 2);
        // Waiting flags lie beside them.
        leases.wait(1, 1);
        assert_eq!(leases.queued(1), 2);
    }

    #[test]
    fn restarts_are_counted_by_reason() {
        let leases = table();
        leases.count_restart(1, Restart::Crashed);
        leases.count_restart(1, Restart::Crashed);
        leases.count_restart(0, (&Reason::MaximumRequests).into());
        assert_eq!(leases.restarts(1, Restart::Crashed), 2);
        assert_eq!(leases.restarts(0, Restart::MaximumRequests), 1);
        assert_eq!(Restart::ALL.map(|restart| leases.restarts(1, restart)).iter().sum::<u64>(), 2);
        for (number, restart) in Restart::ALL.into_iter().enumerate() {
            assert_eq!(restart as usize, number);
        }
    }
}
