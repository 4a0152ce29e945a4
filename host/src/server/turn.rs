//! Whose turn it is to wait for events: a leader and followers.
//!
//! The leader waits for events and runs what arrives, and as long as it is soon back it keeps the
//! turn: the next request finds a thread with warm caches, nobody is woken for it and nobody waits
//! for the GIL. The *deputy* watches. When the leader has been at one request for longer than the
//! *patience*, because its application waits for something or computes for long, the deputy leads.
//! The others rest.
//!
//! The patience adapts: a new leader that gets the GIL at once shows that the old one was only
//! waiting, so the next one is overtaken sooner; one that has to wait for the GIL came too early.

use std::sync::{Mutex, MutexGuard};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::alarm::{Alarm, AT_ONCE};
use crate::lock::lock;

/// Patience at first, and at most: a request that computes for longer is overtaken, and hands the
/// GIL over once, which is little beside it.
const PATIENCE: Duration = Duration::from_micros(250);
const LONGEST: Duration = Duration::from_micros(4000);
/// Below this it becomes nothing: each request is overtaken at once.
const SHORTEST: Duration = Duration::from_micros(60);

/// Having waited so long for the GIL is having found it taken.
const CONTENDED: Duration = Duration::from_micros(50);

/// The turn among the request threads of a host, each known by its index.
pub struct Turn {
    state: Mutex<State>,
    /// Wakes the deputy.
    alarm: Alarm,
}

struct State {
    leader: Option<Leader>,
    deputy: Option<usize>,
    /// The one that came last is woken first: its caches are the warmest.
    resting: Vec<(usize, Thread)>,
    /// Whether the alarm is set, or has gone off and nobody has seen to it yet.
    armed: bool,
    patience: Duration,
    over: bool,
}

#[derive(Clone, Copy)]
struct Leader {
    thread: usize,
    /// When it took up what it is at; `None` while it waits for events.
    since: Option<Instant>,
}

/// How a thread has become the leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lead {
    /// It was, or nobody else.
    Own,
    /// The old leader was at a request then.
    Overtaken(Instant),
}

impl Lead {
    /// Whether the old leader is likely to be still at what it was overtaken at.
    pub fn is_prompt(&self) -> bool {
        matches!(self, Lead::Overtaken(when) if when.elapsed() < CONTENDED)
    }
}

impl Turn {
    /// # Errors
    ///
    /// When the kernel gives no timer.
    pub fn new() -> Result<Self, Errno> {
        let state = State {
            leader: None,
            deputy: None,
            resting: Vec::new(),
            armed: false,
            patience: PATIENCE,
            over: false,
        };
        Ok(Turn { state: Mutex::new(state), alarm: Alarm::new()? })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Waits until the calling thread, which has nothing to do, is the leader; `None` when the host is
    /// over.
    pub fn lead(&self, thread: usize) -> Option<Lead> {
        let mut state = self.state();
        loop {
            if state.over {
                return None;
            }
            let lead = match state.leader {
                Some(leader) if leader.thread != thread => {
                    let now = Instant::now();
                    leader
                        .since
                        .filter(|since| now >= *since + state.patience)
                        .map(|_| Lead::Overtaken(now))
                }
                _ => Some(Lead::Own),
            };
            match lead {
                Some(lead) => {
                    state.install(thread);
                    return Some(lead);
                }
                None => state = self.follow(state, thread),
            }
        }
    }

    /// Waits, as the deputy or resting, until there may be something to lead.
    fn follow<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        thread: usize,
    ) -> MutexGuard<'a, State> {
        match state.deputy {
            Some(deputy) if deputy != thread => {
                state.resting.push((thread, thread::current()));
                while !state.over && state.deputy != Some(thread) {
                    drop(state);
                    thread::park();
                    state = self.state();
                }
                state
            }
            _ => {
                state.deputy = Some(thread);
                if let Some(since) = state.leader.and_then(|leader| leader.since) {
                    let until = since + state.patience;
                    self.arm(&mut state, until.saturating_duration_since(Instant::now()));
                }
                drop(state);
                self.alarm.wait(LONGEST);
                let mut state = self.state();
                state.armed = false;
                state
            }
        }
    }

    /// Whether the thread has not been overtaken.
    pub fn is_led_by(&self, thread: usize) -> bool {
        self.state().leader.is_some_and(|leader| leader.thread == thread)
    }

    /// The leader has found something to do.
    pub fn take_up(&self, thread: usize) {
        let mut state = self.state();
        let patience = state.patience;
        if let Some(leader) = state.leader.as_mut().filter(|leader| leader.thread == thread) {
            leader.since = Some(Instant::now());
            if state.deputy.is_some() {
                self.arm(&mut state, patience);
            }
        }
    }

    fn arm(&self, state: &mut State, delay: Duration) {
        if !state.armed {
            state.armed = true;
            self.alarm.set(delay);
        }
    }

    /// What a thread has learned that overtook: how long it had to wait for the GIL.
    pub fn learn(&self, waited: Duration) {
        let mut state = self.state();
        state.patience = match (waited < CONTENDED, state.patience) {
            (true, patience) if patience / 2 < SHORTEST => Duration::ZERO,
            (true, patience) => patience / 2,
            (false, Duration::ZERO) => SHORTEST,
            (false, patience) => (patience * 2).min(LONGEST),
        };
    }

    /// Lets all threads go.
    pub fn end(&self) {
        let mut state = self.state();
        state.over = true;
        state.resting.drain(..).for_each(|(_, thread)| thread.unpark());
        self.alarm.set(AT_ONCE);
    }
}

impl State {
    /// Makes a thread the leader, and one that rests the deputy if there is none then.
    fn install(&mut self, thread: usize) {
        self.leader = Some(Leader { thread, since: None });
        if self.deputy == Some(thread) {
            self.deputy = None;
        }
        if self.deputy.is_none() {
            if let Some((deputy, handle)) = self.resting.pop() {
                self.deputy = Some(deputy);
                handle.unpark();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{channel, Receiver, Sender};
    use std::sync::Arc;

    /// Long after anything here should have happened.
    const FAR: Duration = Duration::from_secs(20);

    /// A thread that says when it leads.
    struct Player {
        led: Receiver<Option<Lead>>,
        go_on: Sender<()>,
    }

    fn player(turn: &Arc<Turn>, index: usize) -> Player {
        let (says, led) = channel();
        let (go_on, goes) = channel();
        let turn = Arc::clone(turn);
        thread::spawn(move || {
            while let Some(lead) = turn.lead(index) {
                turn.take_up(index);
                says.send(Some(lead)).unwrap();
                if goes.recv().is_err() {
                    return;
                }
            }
            let _ = says.send(None);
        });
        Player { led, go_on }
    }

    fn patient() -> Arc<Turn> {
        let turn = Turn::new().unwrap();
        turn.state().patience = FAR * 10;
        Arc::new(turn)
    }

    #[test]
    fn whoever_is_soon_back_keeps_the_turn() {
        let turn = patient();
        let first = player(&turn, 0);
        assert_eq!(first.led.recv_timeout(FAR), Ok(Some(Lead::Own)));
        let second = player(&turn, 1);
        for _ in 0..100 {
            first.go_on.send(()).unwrap();
            assert_eq!(first.led.recv_timeout(FAR), Ok(Some(Lead::Own)));
        }
        assert!(second.led.try_recv().is_err());
        turn.end();
        assert_eq!(second.led.recv_timeout(FAR), Ok(None));
    }

    #[test]
    fn whoever_is_away_for_long_is_overtaken_by_one_after_another() {
        let turn = Arc::new(Turn::new().unwrap());
        let players: Vec<_> = (0..4).map(|index| player(&turn, index)).collect();
        for player in &players {
            assert!(matches!(player.led.recv_timeout(FAR), Ok(Some(_))));
        }
        // All are at something: who comes back leads at once, however many times.
        for _ in 0..3 {
            players[2].go_on.send(()).unwrap();
            assert!(matches!(players[2].led.recv_timeout(FAR), Ok(Some(_))));
        }
        turn.end();
        for player in &players {
            player.go_on.send(()).unwrap();
            assert_eq!(player.led.recv_timeout(FAR), Ok(None));
        }
    }

    #[test]
    fn those_who_rest_are_let_go_at_the_end() {
        let turn = patient();
        let players: Vec<_> = (0..5).map(|index| player(&turn, index)).collect();
        let rest = || turn.state().resting.len();
        let until = Instant::now() + FAR;
        while rest() < 3 && Instant::now() < until {
            thread::yield_now();
        }
        assert_eq!(rest(), 3);
        turn.end();
        for player in &players {
            let _ = player.go_on.send(());
        }
        for player in &players {
            let said: Vec<_> = player.led.iter().collect();
            assert_eq!(said.last(), Some(&None));
        }
    }

    #[test]
    fn the_patience_follows_what_is_learned() {
        let turn = Turn::new().unwrap();
        let patience = || turn.state().patience;
        (0..20).for_each(|_| turn.learn(Duration::ZERO));
        assert_eq!(patience(), Duration::ZERO);
        turn.learn(CONTENDED);
        assert_eq!(patience(), SHORTEST);
        (0..20).for_each(|_| turn.learn(CONTENDED));
        assert_eq!(patience(), LONGEST);
    }
}
