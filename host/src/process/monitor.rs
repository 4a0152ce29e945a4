//! The timers of a daemon process (mod_wsgi semantics b.3). No clock but the monotonic one, and
//! nothing that needs the GIL.

use std::time::{Duration, Instant};

use super::gil_probe::LATE;
use crate::config::Timers;
use crate::server::{Activity, Busy};
use crate::succession::{Reason, RETRY};

/// How often something is looked at that tells nobody.
const LOOK: Duration = Duration::from_secs(1);

/// What is to be done now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Ask for a successor.
    Replace(Reason),
    /// Raise `RequestTimeout` in the request.
    Interrupt(Busy),
    /// End at once: the application has not started.
    StartupExpired,
    /// End at once: nobody gets the GIL any more.
    Deadlocked,
}

/// What the timers look at.
pub struct Facts<'a> {
    pub activity: &'a Activity,
    /// When the first request came, as long as no script has been loaded.
    pub starting: Option<Instant>,
    /// Whether a script has been loaded.
    pub started: bool,
    /// When the GIL could last be taken.
    pub gil: Option<Instant>,
}

/// Watches over a process.
pub struct Monitor {
    timers: Timers,
    /// When a request has run for too long.
    request_limit: Duration,
    born: Instant,
    /// A successor has been asked for, and nothing has come of it yet.
    asked: bool,
    /// After a successor has failed.
    again_at: Option<Instant>,
    interrupted: Vec<(Busy, Instant)>,
}

impl Monitor {
    pub fn new(timers: Timers, threads: u16, now: Instant) -> Self {
        let factor = 1.0 + f64::from(threads.max(1)).ln();
        Monitor {
            timers,
            request_limit: Duration::from_secs(timers.request.into()).mul_f64(factor),
            born: now,
            asked: false,
            again_at: None,
            interrupted: Vec::new(),
        }
    }

    /// A successor has been asked for.
    pub fn asked(&mut self) {
        self.asked = true;
    }

    /// There will be no successor for now.
    pub fn stay(&mut self, now: Instant) {
        self.asked = false;
        self.again_at = Some(now + RETRY);
    }

    /// What is to be done now, the most urgent first.
    pub fn due(&mut self, now: Instant, facts: &Facts<'_>) -> Option<Action> {
        if passed(now, facts.gil, self.timers.deadlock) {
            return Some(Action::Deadlocked);
        }
        if passed(now, facts.starting, self.timers.startup) {
            return Some(Action::StartupExpired);
        }
        let overrun = self.overrun(now, facts.activity);
        if let Some(Overrun::Interrupt(busy)) = overrun {
            self.interrupted.push((busy, now));
            return Some(Action::Interrupt(busy));
        }
        if self.asked || self.again_at.is_some_and(|at| at > now) {
            return None;
        }
        let reason = match overrun {
            Some(_) => Reason::RequestTimeout,
            None => self.planned(now, facts.activity)?,
        };
        self.asked = true;
        Some(Action::Replace(reason))
    }

    fn planned(&self, now: Instant, activity: &Activity) -> Option<Reason> {
        let timers = &self.timers;
        let most = u64::from(timers.maximum_requests);
        if most > 0 && activity.finished() >= most {
            return Some(Reason::MaximumRequests);
        }
        if passed(now, Some(self.born), timers.restart_interval) {
            return Some(Reason::RestartInterval);
        }
        passed(now, activity.last_stir(), timers.inactivity).then_some(Reason::InactivityTimeout)
    }

    /// The first request that has run for too long.
    fn overrun(&mut self, now: Instant, activity: &Activity) -> Option<Overrun> {
        if self.timers.request == 0 {
            return None;
        }
        self.interrupted.retain(|(busy, _)| activity.is_running(*busy));
        let late = activity.busy().filter(|busy| now >= busy.since + self.request_limit);
        let overruns = late.filter_map(|busy| self.stage(now, busy));
        overruns.min_by_key(|overrun| matches!(overrun, Overrun::Hopeless))
    }

    fn stage(&self, now: Instant, busy: Busy) -> Option<Overrun> {
        if self.timers.interrupt == 0 {
            return Some(Overrun::Hopeless);
        }
        let interrupted = self.interrupted.iter().find(|(other, _)| *other == busy);
        match interrupted {
            None => Some(Overrun::Interrupt(busy)),
            Some((_, at)) => {
                passed(now, Some(*at), self.timers.interrupt).then_some(Overrun::Hopeless)
            }
        }
    }

    /// Whether requests run, and all of them have run for too long to be waited for.
    pub fn only_stale(&self, now: Instant, activity: &Activity) -> bool {
        let limit = self.request_limit + Duration::from_secs(self.timers.interrupt.into());
        let mut busy = activity.busy().peekable();
        self.timers.request > 0 && busy.peek().is_some() && busy.all(|b| now >= b.since + limit)
    }

    /// When to look again.
    pub fn next(&self, now: Instant, facts: &Facts<'_>) -> Option<Instant> {
        let timers = &self.timers;
        let mut next = vec![
            after(facts.gil, timers.deadlock),
            facts.gil.map(|gil| (gil + LATE).max(now + LOOK)),
            after(facts.starting, timers.startup),
            (timers.startup > 0 && !facts.started).then_some(now + LOOK),
        ];
        if timers.request > 0 {
            next.push(Some(now + self.request_limit));
            next.extend(facts.activity.busy().map(|busy| self.next_stage(now, busy)));
        }
        match self.again_at {
            _ if self.asked => {}
            Some(at) if at > now => next.push(Some(at)),
            _ => {
                next.push(after(Some(self.born), timers.restart_interval));
                // Before the first request, one that comes now is idle no earlier than this.
                let stirred = facts.activity.last_stir().unwrap_or(now);
                next.push(after(Some(stirred), timers.inactivity));
            }
        }
        next.into_iter().flatten().min()
    }

    fn next_stage(&self, now: Instant, busy: Busy) -> Option<Instant> {
        let interrupted = self.interrupted.iter().find(|(other, _)| *other == busy);
        let at = match interrupted {
            None => busy.since + self.request_limit,
            Some((_, at)) => *at + span(self.timers.interrupt),
        };
        // What has passed has been dealt with.
        (at > now).then_some(at)
    }
}

/// What becomes of a request that has run for too long.
#[derive(Clone, Copy)]
enum Overrun {
    Interrupt(Busy),
    /// Only the process's end ends it.
    Hopeless,
}

fn span(seconds: u32) -> Duration {
    Duration::from_secs(seconds.into())
}

/// The end of a timer that is on and has been armed.
fn after(since: Option<Instant>, seconds: u32) -> Option<Instant> {
    since.filter(|_| seconds > 0).map(|since| since + span(seconds))
}

fn passed(now: Instant, since: Option<Instant>, seconds: u32) -> bool {
    after(since, seconds).is_some_and(|end| now >= end)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct World {
        activity: Activity,
        born: Instant,
    }

    impl World {
        fn new() -> Self {
            World { activity: Activity::new(3, 0, None), born: Instant::now() }
        }

        fn monitor(&self, timers: Timers) -> Monitor {
            Monitor::new(timers, 1, self.born)
        }

        fn facts(&self) -> Facts<'_> {
            Facts { activity: &self.activity, starting: None, started: true, gil: None }
        }

        fn after(&self, seconds: u64) -> Instant {
            // Requests of a test begin within its first second.
            self.born + Duration::from_secs(seconds) + Duration::from_millis(900)
        }
    }

    #[test]
    fn nothing_is_due_without_timers() {
        let world = World::new();
        let mut monitor = world.monitor(Timers::default());
        world.activity.begin(0, false);
        assert_eq!(monitor.due(world.after(1 << 20), &world.facts()), None);
        assert_eq!(monitor.next(world.born, &world.facts()), None);
    }

    #[test]
    fn a_successor_is_asked_for_once_and_again_after_a_failure() {
        let world = World::new();
        let mut monitor = world.monitor(Timers { maximum_requests: 2, ..Timers::default() });
        let now = world.after(1);
        world.activity.end(0);
        assert_eq!(monitor.due(now, &world.facts()), None);
        world.activity.end(0);
        let replace = Some(Action::Replace(Reason::MaximumRequests));
        assert_eq!(monitor.due(now, &world.facts()), replace);
        assert_eq!(monitor.due(now, &world.facts()), None);
        monitor.stay(now);
        assert_eq!(monitor.due(now, &world.facts()), None);
        assert_eq!(monitor.next(now, &world.facts()), Some(now + RETRY));
        assert_eq!(monitor.due(now + RETRY, &world.facts()), replace);
    }

    #[test]
    fn a_process_without_requests_is_not_idle() {
        let world = World::new();
        let mut monitor = world.monitor(Timers { inactivity: 5, ..Timers::default() });
        assert_eq!(monitor.due(world.after(100), &world.facts()), None);
        world.activity.begin(0, true);
        assert_eq!(monitor.due(world.after(100), &world.facts()), None);
        world.activity.begin(0, false);
        assert_eq!(monitor.due(world.after(3), &world.facts()), None);
        let idle = Some(Action::Replace(Reason::InactivityTimeout));
        assert_eq!(monitor.due(world.after(100), &world.facts()), idle);
    }

    #[test]
    fn the_restart_interval_counts_from_the_start() {
        let world = World::new();
        let mut monitor = world.monitor(Timers { restart_interval: 5, ..Timers::default() });
        assert_eq!(monitor.next(world.born, &world.facts()), Some(world.born + span(5)));
        assert_eq!(monitor.due(world.after(3), &world.facts()), None);
        let due = monitor.due(world.after(5), &world.facts());
        assert_eq!(due, Some(Action::Replace(Reason::RestartInterval)));
    }

    #[test]
    fn a_request_is_interrupted_before_the_process_is_given_up() {
        let world = World::new();
        let timers = Timers { request: 10, interrupt: 5, ..Timers::default() };
        let mut monitor = world.monitor(timers);
        world.activity.begin(0, false);
        world.activity.begin(1, false);
        assert_eq!(monitor.due(world.after(8), &world.facts()), None);
        let now = world.after(10);
        for thread in [0, 1] {
            let due = monitor.due(now, &world.facts());
            assert!(
                matches!(due, Some(Action::Interrupt(busy)) if busy.thread == thread),
                "{due:?}"
            );
        }
        assert_eq!(monitor.due(now, &world.facts()), None);
        assert_eq!(monitor.next(now, &world.facts()), Some(now + span(5)));
        world.activity.end(0);
        assert!(!monitor.only_stale(now, &world.activity));
        let due = monitor.due(now + span(5), &world.facts());
        assert_eq!(due, Some(Action::Replace(Reason::RequestTimeout)));
        assert!(monitor.only_stale(now + span(5), &world.activity));
    }

    #[test]
    fn without_an_interrupt_the_process_is_given_up() {
        let world = World::new();
        let mut monitor = world.monitor(Timers { request: 10, ..Timers::default() });
        world.activity.begin(0, false);
        let due = monitor.due(world.after(10), &world.facts());
        assert_eq!(due, Some(Action::Replace(Reason::RequestTimeout)));
    }

    #[test]
    fn more_threads_have_more_time() {
        let timers = Timers { request: 60, ..Timers::default() };
        let limit = |threads| Monitor::new(timers, threads, Instant::now()).request_limit.as_secs();
        assert_eq!((limit(1), limit(5), limit(15)), (60, 156, 222));
    }

    #[test]
    fn urgent_ends_come_first() {
        let world = World::new();
        let timers = Timers { startup: 5, deadlock: 5, ..Timers::default() };
        let mut monitor = world.monitor(timers);
        let born = Some(world.born);
        let facts = Facts { starting: born, started: false, ..world.facts() };
        assert_eq!(monitor.due(world.after(3), &facts), None);
        assert_eq!(monitor.due(world.after(5), &facts), Some(Action::StartupExpired));
        let facts = Facts { gil: born, ..world.facts() };
        assert_eq!(monitor.due(world.after(5), &facts), Some(Action::Deadlocked));
        assert_eq!(monitor.next(world.born, &facts), Some(world.born + LATE));
    }
}
