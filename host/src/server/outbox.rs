//! Blocks of responses that wait for others to leave with.
//!
//! A block that an application yields rarely comes alone: the next one follows, or the end of the
//! response. So small blocks are gathered in their connection's writer and leave together, which
//! spares this process and nginx a system call and a wake-up each. What does not fill up soon leaves
//! all the same, sent from a thread of its own, whatever the application does meanwhile: PEP 3333
//! ("Buffering and Streaming") allows that, and a block that waits for the next one is forbidden.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::errno::Errno;

use super::alarm::Alarm;
use super::connection::{Connection, Left};
use crate::lock::lock;

/// How long a block waits at most, unless nginx takes nothing.
const DELAY: Duration = Duration::from_millis(1);
/// Pause before the next attempt where nginx has taken nothing, or not all.
const RETRY: Duration = Duration::from_millis(20);

/// So many connections are not left waiting.
const MANY: usize = 8;

/// Connections with blocks that wait, and the thread that sees to them.
pub struct Outbox {
    state: Mutex<State>,
    alarm: Alarm,
}

struct State {
    waiting: Vec<Arc<Connection>>,
    /// What the alarm was set to, until it is heard.
    armed: Option<Duration>,
    over: bool,
}

impl Outbox {
    /// # Errors
    ///
    /// When the kernel gives no timer.
    pub fn new() -> Result<Self, Errno> {
        let state = State { waiting: Vec::new(), armed: None, over: false };
        Ok(Outbox { state: Mutex::new(state), alarm: Alarm::new()? })
    }

    /// Has what waits in the connection's writer sent within [`DELAY`]. `false` when nobody will.
    pub fn post(&self, connection: &Arc<Connection>) -> bool {
        let mut state = lock(&self.state);
        if state.over {
            return false;
        }
        state.waiting.push(Arc::clone(connection));
        self.arm(&mut state, DELAY);
        true
    }

    /// Whether many connections wait.
    pub fn is_full(&self) -> bool {
        lock(&self.state).waiting.len() >= MANY
    }

    /// Sends what waits, as far as it goes.
    pub fn send_all(&self) {
        let waiting = std::mem::take(&mut lock(&self.state).waiting);
        self.send(waiting);
    }

    fn arm(&self, state: &mut State, delay: Duration) {
        if state.armed.is_none_or(|armed| armed > delay) {
            state.armed = Some(delay);
            self.alarm.set(delay);
        }
    }

    /// Sends what waits, until the end.
    pub fn run(&self) {
        loop {
            self.alarm.wait(DELAY);
            let mut state = lock(&self.state);
            state.armed = None;
            let (waiting, over) = (std::mem::take(&mut state.waiting), state.over);
            drop(state);
            self.send(waiting);
            if over {
                return;
            }
        }
    }

    fn send(&self, waiting: Vec<Arc<Connection>>) {
        let stuck = waiting.into_iter().filter(|waits| waits.send_waiting() == Left::Some);
        let stuck: Vec<_> = stuck.collect();
        if !stuck.is_empty() {
            let mut state = lock(&self.state);
            state.waiting.extend(stuck);
            self.arm(&mut state, RETRY);
        }
    }

    /// Lets the thread go; what waits is sent before, nothing is taken after.
    pub fn end(&self) {
        let mut state = lock(&self.state);
        state.over = true;
        self.arm(&mut state, DELAY);
    }
}
