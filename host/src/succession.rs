//! How a daemon process is replaced by another one without a request noticing.
//!
//! The process asks its supervisor for a successor and goes on serving. The supervisor starts one
//! beside it, which loads what the process has loaded before it takes requests. Then the old process
//! takes no more, finishes what it runs, and ends. When the successor does not become ready, the old
//! process goes on with what it has.

mod control;
mod reason;

use crate::lock::lock;
use std::collections::HashMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub use control::{Control, Heard, Order, SayError, Word};
pub use reason::{Change, Reason, ScriptIn, Wish};

/// Pause before a replacement that has failed is tried again.
pub const RETRY: Duration = Duration::from_secs(60);

/// The same where the application asks, and nothing tells a later wish from an earlier one.
const ASK_AGAIN: Duration = Duration::from_secs(10);

/// Longest time that the supervisor takes for an answer.
const ANSWER: Duration = Duration::from_secs(5);

/// What becomes of a request that met a changed script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A successor has taken over: the request is for it.
    TakenOver,
    /// The request is served with the code that is there.
    Stay,
}

/// A process's side of its succession.
pub struct Succession {
    control: Control,
    patience: Duration,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    phase: Phase,
    /// Changes that a successor could not load, with the time of its failure.
    refused: HashMap<ScriptIn, (Option<i64>, Instant)>,
}

#[derive(Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Settled,
    Asked(Instant, Reason),
    TakenOver,
}

impl Succession {
    /// The succession of the process at this end of `control`. Requests that meet a changed script
    /// wait for the successor as long as `patience`; afterwards the old code runs them.
    pub fn new(control: Control, patience: Duration) -> Self {
        Succession { control, patience, state: Mutex::default(), changed: Condvar::new() }
    }

    /// The line to the supervisor.
    pub fn control(&self) -> &Control {
        &self.control
    }

    /// Says something that needs no answer.
    pub fn tell(&self, word: &Word) {
        // Fails when the supervisor has gone, which ends this process anyway.
        let _ = self.control.say(word);
    }

    /// Asks for a successor because of a change, and with `hold` waits for it. The caller does not
    /// hold the GIL.
    pub fn ask(
        &self,
        change: &Change,
        loaded: impl FnOnce() -> Vec<ScriptIn>,
        hold: bool,
    ) -> Verdict {
        let mut state = self.state();
        let hold = hold && state.failed(change).is_none();
        if state.wants(change) {
            tracing::info!(
                "Forcing restart of daemon process {} due to modification of script '{}'.",
                std::process::id(),
                change.of.shown()
            );
            if !self.wish(&mut state, Reason::Script(change.clone()), loaded()) {
                return Verdict::Stay;
            }
        }
        while let (Phase::Asked(since, _), true) = (&state.phase, hold) {
            let left = self.patience.saturating_sub(since.elapsed());
            if left.is_zero() {
                break;
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        if state.phase == Phase::TakenOver {
            Verdict::TakenOver
        } else {
            Verdict::Stay
        }
    }

    /// Asks for a successor that loads what is `loaded` here; whether this is a new wish.
    pub fn replace(&self, reason: Reason, loaded: Vec<ScriptIn>) -> bool {
        let mut state = self.state();
        state.phase == Phase::Settled && self.wish(&mut state, reason, loaded)
    }

    /// Whether a successor has been asked for, or has taken over.
    pub fn is_under_way(&self) -> bool {
        self.state().phase != Phase::Settled
    }

    fn wish(&self, state: &mut State, reason: Reason, loaded: Vec<ScriptIn>) -> bool {
        let say = |loaded| {
            let reason = reason.clone();
            self.control.say(&Word::Replace(Wish { reason, loaded }))
        };
        let said = match say(loaded) {
            // Hundreds of scripts: the successor loads the others when they are asked for.
            Err(SayError::TooLong) => {
                say(reason.change().map(|c| c.of.clone()).into_iter().collect())
            }
            said => said,
        };
        match said {
            Ok(()) => state.phase = Phase::Asked(Instant::now(), reason),
            Err(error) => tracing::error!("cannot ask for a successor: {error}"),
        }
        matches!(state.phase, Phase::Asked(..))
    }

    /// Takes the process out of service after its only request: nginx sends it no other one once
    /// this returns.
    pub fn spend(&self) {
        if let Err(error) = self.control.say(&Word::Spent) {
            return tracing::error!("cannot leave the service: {error}");
        }
        let serves = |state: &mut State| state.phase != Phase::TakenOver;
        drop(self.changed.wait_timeout_while(self.state(), ANSWER, serves));
    }

    /// The successor has taken over, or the process ends: what is held is for another process.
    pub fn hand_over(&self) {
        self.settle(Phase::TakenOver);
    }

    /// No successor became ready: what is held runs here.
    pub fn stay(&self, reason: &Reason) {
        if let Some(change) = reason.change() {
            let failed = (change.modified, Instant::now());
            self.state().refused.insert(change.of.clone(), failed);
        }
        self.settle(Phase::Settled);
    }

    fn settle(&self, phase: Phase) {
        self.state().phase = phase;
        self.changed.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl State {
    /// Whether the supervisor is to be asked: for the first time, again after a while, or because
    /// the script has changed once more.
    fn wants(&self, change: &Change) -> bool {
        match &self.phase {
            Phase::TakenOver => false,
            Phase::Asked(_, asked) => asked.change().is_some_and(|old| old.is_older_than(change)),
            Phase::Settled => {
                let pause = if change.modified.is_some() { RETRY } else { ASK_AGAIN };
                self.failed(change).is_none_or(|failed| failed.elapsed() >= pause)
            }
        }
    }

    /// When a successor could not load this change.
    fn failed(&self, change: &Change) -> Option<Instant> {
        let (modified, failed) = self.refused.get(&change.of)?;
        (*modified == change.modified).then_some(*failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::thread;

    fn change(modified: Option<i64>) -> Change {
        let of = ScriptIn { application_group: String::new(), script: b"/a.wsgi".to_vec() };
        Change { of, modified }
    }

    fn script(modified: Option<i64>) -> Reason {
        Reason::Script(change(modified))
    }

    fn pair() -> (Arc<Succession>, Control) {
        let (ours, theirs) = Control::pair().unwrap();
        (Arc::new(Succession::new(ours, Duration::from_secs(30))), theirs)
    }

    fn holding(succession: &Arc<Succession>, change: Change) -> thread::JoinHandle<Verdict> {
        let succession = Arc::clone(succession);
        thread::spawn(move || succession.ask(&change, Vec::new, true))
    }

    fn wish(supervisor: &Control) -> Wish {
        loop {
            match supervisor.hear::<Word>() {
                Heard::Said(Word::Replace(wish)) => return wish,
                Heard::Nothing => thread::yield_now(),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn held_requests_go_to_the_successor() {
        let (succession, supervisor) = pair();
        let threads: Vec<_> = (0..3).map(|_| holding(&succession, change(Some(1)))).collect();
        assert_eq!(wish(&supervisor).reason, script(Some(1)));
        succession.hand_over();
        threads.into_iter().for_each(|t| assert_eq!(t.join().unwrap(), Verdict::TakenOver));
        assert_eq!(succession.ask(&change(Some(2)), Vec::new, true), Verdict::TakenOver);
        assert!(matches!(supervisor.hear::<Word>(), Heard::Nothing), "asked once");
    }

    #[test]
    fn a_change_that_was_refused_is_not_asked_for_again() {
        let (succession, supervisor) = pair();
        let thread = holding(&succession, change(Some(1)));
        let wish_ = wish(&supervisor);
        succession.stay(&wish_.reason);
        assert_eq!(thread.join().unwrap(), Verdict::Stay);
        assert_eq!(succession.ask(&change(Some(1)), Vec::new, true), Verdict::Stay);
        let thread = holding(&succession, change(Some(2)));
        assert_eq!(wish(&supervisor).reason, script(Some(2)));
        succession.hand_over();
        assert_eq!(thread.join().unwrap(), Verdict::TakenOver);
    }

    #[test]
    fn a_process_with_very_many_scripts_is_replaced_as_well() {
        let (succession, supervisor) = pair();
        let many = vec![change(None).of; 10_000];
        assert_eq!(succession.ask(&change(Some(1)), || many, false), Verdict::Stay);
        let loaded = vec![change(None).of];
        assert_eq!(wish(&supervisor), Wish { reason: script(Some(1)), loaded });
    }

    #[test]
    fn a_newer_version_is_asked_for_before_the_last_one_is_ready() {
        let (succession, supervisor) = pair();
        let first = holding(&succession, change(Some(1)));
        assert_eq!(wish(&supervisor).reason, script(Some(1)));
        let second = holding(&succession, change(Some(2)));
        assert_eq!(wish(&supervisor).reason, script(Some(2)));
        succession.hand_over();
        assert_eq!(first.join().unwrap(), Verdict::TakenOver);
        assert_eq!(second.join().unwrap(), Verdict::TakenOver);
    }

    #[test]
    fn a_request_that_cannot_be_held_is_served_at_once() {
        let (succession, supervisor) = pair();
        assert_eq!(succession.ask(&change(None), Vec::new, false), Verdict::Stay);
        assert_eq!(wish(&supervisor).reason, script(None));
    }

    #[test]
    fn without_patience_the_old_code_runs() {
        let (ours, supervisor) = Control::pair().unwrap();
        let succession = Succession::new(ours, Duration::ZERO);
        assert_eq!(succession.ask(&change(Some(1)), Vec::new, true), Verdict::Stay);
        assert_eq!(wish(&supervisor).reason, script(Some(1)));
        assert!(!succession.replace(Reason::MaximumRequests, Vec::new()), "asked already");
    }

    #[test]
    fn a_spent_process_waits_to_be_let_go() {
        let (succession, supervisor) = pair();
        let thread = thread::spawn({
            let succession = Arc::clone(&succession);
            move || succession.spend()
        });
        while !matches!(supervisor.hear(), Heard::Said(Word::Spent)) {
            thread::yield_now();
        }
        assert!(!thread.is_finished());
        succession.hand_over();
        thread.join().unwrap();
    }

    #[test]
    fn another_reason_is_a_wish_as_well() {
        let (succession, supervisor) = pair();
        assert!(succession.replace(Reason::RestartInterval, Vec::new()));
        assert_eq!(wish(&supervisor).reason, Reason::RestartInterval);
        assert!(!succession.replace(Reason::MaximumRequests, Vec::new()), "one at a time");
        succession.stay(&Reason::RestartInterval);
        assert!(succession.replace(Reason::MaximumRequests, Vec::new()));
    }
}
