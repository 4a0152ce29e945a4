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
    /// How many came so far: their tickets.
    pushed: i64,
    /// How many were put in front, among themselves in order: their tickets, from the smallest.
    returned: i64,
}

impl Queue {
    /// Appends to the queue; the ticket takes it out again.
    pub fn push(&mut self, waiting: Waiting) -> i64 {
        self.pushed += 1;
        self.waiting.insert(self.pushed, waiting);
        self.pushed
    }

    /// Puts what has had its turn before all that has not.
    pub fn push_returned(&mut self, waiting: Waiting) -> i64 {
        self.returned += 1;
        let ticket = i64::MIN + self.returned;
        self.waiting.insert(ticket, waiting);
        ticket
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
