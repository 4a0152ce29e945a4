//! Requests that wait for a slot, first come first served.

use std::collections::BTreeMap;

use crate::ffi::Request;

/// The waiting requests of one group in one worker. Every operation is logarithmic in their
/// number.
#[derive(Default)]
pub struct Queue {
    waiting: BTreeMap<u64, Request>,
    next: u64,
}

impl Queue {
    /// Appends a request; the ticket takes it out again.
    pub fn push(&mut self, r: Request) -> u64 {
        let ticket = self.next;
        self.next += 1;
        self.waiting.insert(ticket, r);
        ticket
    }

    /// Takes the request that waits longest.
    pub fn pop(&mut self) -> Option<Request> {
        self.waiting.pop_first().map(|(_, r)| r)
    }

    /// Takes a request out of turn. `false` when it is not waiting.
    pub fn remove(&mut self, ticket: u64) -> bool {
        self.waiting.remove(&ticket).is_some()
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}
