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
    waiting: BTreeMap<u64, Waiting>,
    next: u64,
}

impl Queue {
    /// Appends to the queue; the ticket takes it out again.
    pub fn push(&mut self, waiting: Waiting) -> u64 {
        let ticket = self.next;
        self.next += 1;
        self.waiting.insert(ticket, waiting);
        ticket
    }

    /// Takes what waits longest.
    pub fn pop(&mut self) -> Option<Waiting> {
        self.waiting.pop_first().map(|(_, waiting)| waiting)
    }

    /// Takes something out of turn. `false` when it is not waiting.
    pub fn remove(&mut self, ticket: u64) -> bool {
        self.waiting.remove(&ticket).is_some()
    }

    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}
