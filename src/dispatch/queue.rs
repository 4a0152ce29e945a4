//! Requests that wait for a slot, first come first served.

use std::collections::BTreeMap;
use std::ptr::NonNull;

use crate::ffi::Request;
use crate::hook::Question;

/// What waits for a slot.
pub enum Waiting {
    /// A request for an application.
    Request(Request),
    /// A question to a hook. It takes itself out before it goes.
    Question(NonNull<Question>),
}

/// What waits for one group in one worker. Every operation is logarithmic in its length.
#[derive(Default)]
pub struct Queue {
    waiting: BTreeMap<i64, Waiting>,
    /// The ticket of what came last.
    last: i64,
    /// The ticket of what was put in front last.
    first: i64,
}

impl Queue {
    /// Appends to the queue; the ticket takes it out again.
    pub fn push(&mut self, waiting: Waiting) -> i64 {
        self.last += 1;
        self.waiting.insert(self.last, waiting);
        self.last
    }

    /// Puts what has had its turn in front of the queue.
    pub fn push_front(&mut self, waiting: Waiting) -> i64 {
        self.first -= 1;
        self.waiting.insert(self.first, waiting);
        self.first
    }

    /// Takes what waits longest.
    pub fn pop(&mut self) -> Option<Waiting> {
        self.waiting.pop_first().map(|(_, waiting)| waiting)
    }

    /// Takes something out of turn. `false` when it is not waiting.
    pub fn remove(&mut self, ticket: i64) -> bool {
        self.waiting.remove(&ticket).is_some()
    }

    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}
