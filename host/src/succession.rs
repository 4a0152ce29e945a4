//! How a daemon process whose script has changed is replaced (mod_wsgi semantics e.4).
//!
//! The process asks its supervisor for a successor and holds the request that met the change. The
//! supervisor starts one beside it, which loads the script before it takes requests. Then the old
//! process hands back what it holds, finishes what it runs, and ends. When the successor fails to
//! load the script, the old process goes on with what it has.

mod control;

use std::collections::HashMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

pub use control::{Control, Heard, Order, SayError, Word};

/// Longest time that a request is held for a successor; afterwards the old code runs it.
const HOLD: Duration = Duration::from_secs(30);

/// Pause before a change that no successor could load is tried again; no request is held for that.
const RETRY: Duration = Duration::from_secs(60);

/// The same where the application asks, and nothing tells a later wish from an earlier one.
const ASK_AGAIN: Duration = Duration::from_secs(10);

/// A script and the interpreter it runs in.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ScriptIn {
    /// Application group; empty for the main interpreter.
    pub application_group: String,
    /// Path of the script.
    pub script: Vec<u8>,
}

impl ScriptIn {
    /// The path for messages.
    pub fn shown(&self) -> String {
        String::from_utf8_lossy(&self.script).into_owned()
    }
}

/// Why a process is to be replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// What has changed.
    pub of: ScriptIn,
    /// Its modification time now, microseconds since the epoch; `None` when it is not the file but
    /// the application that asks.
    pub modified: Option<i64>,
}

/// What a process asks its supervisor for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wish {
    /// The reason. A successor that cannot load this script does not take over.
    pub change: Change,
    /// What else the process has loaded; its successor loads it too.
    pub loaded: Vec<ScriptIn>,
}

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
    Asked(Instant, Change),
    TakenOver,
}

impl Succession {
    /// The succession of the process at this end of `control`.
    pub fn new(control: Control) -> Self {
        Succession { control, state: Mutex::default(), changed: Condvar::new() }
    }

    /// The line to the supervisor.
    pub fn control(&self) -> &Control {
        &self.control
    }

    /// Asks for a successor that loads what is `loaded` here, and with `hold` waits for it. The
    /// caller does not hold the GIL.
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
            if let Err(error) = self.wish(change, loaded()) {
                tracing::error!("cannot ask for a successor: {error}");
                return Verdict::Stay;
            }
            state.phase = Phase::Asked(Instant::now(), change.clone());
        }
        while let (Phase::Asked(since, _), true) = (&state.phase, hold) {
            let Some(left) = HOLD.checked_sub(since.elapsed()) else { break };
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        if state.phase == Phase::TakenOver {
            Verdict::TakenOver
        } else {
            Verdict::Stay
        }
    }

    fn wish(&self, change: &Change, loaded: Vec<ScriptIn>) -> Result<(), SayError> {
        let say = |loaded| {
            let change = change.clone();
            self.control.say(&Word::Replace(Wish { change, loaded }))
        };
        match say(loaded) {
            // Hundreds of scripts: the successor loads the others when they are asked for.
            Err(SayError::TooLong) => say(Vec::new()),
            said => said,
        }
    }

    /// The successor has taken over: held requests go to it.
    pub fn hand_over(&self) {
        self.settle(Phase::TakenOver);
    }

    /// No successor could load the change: held requests run here.
    pub fn stay(&self, change: &Change) {
        self.state().refused.insert(change.of.clone(), (change.modified, Instant::now()));
        self.settle(Phase::Settled);
    }

    fn settle(&self, phase: Phase) {
        self.state().phase = phase;
        self.changed.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whether the supervisor is to be asked: for the first time, again after a while, or because
    /// the script has changed once more.
    fn wants(&self, change: &Change) -> bool {
        match &self.phase {
            Phase::TakenOver => false,
            Phase::Asked(_, asked) => asked.is_older_than(change),
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

impl Change {
    /// Whether `other` is another version of the same script.
    pub fn is_older_than(&self, other: &Change) -> bool {
        self.of == other.of && other.modified.is_some() && self.modified != other.modified
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

    fn pair() -> (Arc<Succession>, Control) {
        let (ours, theirs) = Control::pair().unwrap();
        (Arc::new(Succession::new(ours)), theirs)
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
        assert_eq!(wish(&supervisor).change, change(Some(1)));
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
        succession.stay(&wish_.change);
        assert_eq!(thread.join().unwrap(), Verdict::Stay);
        assert_eq!(succession.ask(&change(Some(1)), Vec::new, true), Verdict::Stay);
        let thread = holding(&succession, change(Some(2)));
        assert_eq!(wish(&supervisor).change, change(Some(2)));
        succession.hand_over();
        assert_eq!(thread.join().unwrap(), Verdict::TakenOver);
    }

    #[test]
    fn a_process_with_very_many_scripts_is_replaced_as_well() {
        let (succession, supervisor) = pair();
        let many = vec![change(None).of; 10_000];
        assert_eq!(succession.ask(&change(Some(1)), || many, false), Verdict::Stay);
        assert_eq!(wish(&supervisor), Wish { change: change(Some(1)), loaded: Vec::new() });
    }

    #[test]
    fn a_newer_version_is_asked_for_before_the_last_one_is_ready() {
        let (succession, supervisor) = pair();
        let first = holding(&succession, change(Some(1)));
        assert_eq!(wish(&supervisor).change, change(Some(1)));
        let second = holding(&succession, change(Some(2)));
        assert_eq!(wish(&supervisor).change, change(Some(2)));
        succession.hand_over();
        assert_eq!(first.join().unwrap(), Verdict::TakenOver);
        assert_eq!(second.join().unwrap(), Verdict::TakenOver);
    }

    #[test]
    fn a_request_that_cannot_be_held_is_served_at_once() {
        let (succession, supervisor) = pair();
        assert_eq!(succession.ask(&change(None), Vec::new, false), Verdict::Stay);
        assert_eq!(wish(&supervisor).change, change(None));
    }
}
