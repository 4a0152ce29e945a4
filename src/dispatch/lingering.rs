//! Slots whose requests nginx has left before their end: until their thread is free again, nobody
//! else may be sent there.

use nginx_sys::ngx_current_msec;
use ngx_wsgi_host::scoreboard::Lease;

use super::dispatcher::Place;

/// A request that was sent is taken up within this time, or was lost with its connection.
const TAKEN_UP_WITHIN_MS: usize = 1000;
/// Looks are this far apart at most.
const LOOK_MS: usize = 20;

/// What a process reports of the thread that has a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ThreadIs {
    /// It runs the request.
    Running,
    /// It ran the request last.
    Done,
    /// No thread has it: not yet, or one that is at another request already.
    Elsewhere,
}

/// One such slot.
pub struct Lingering {
    pub place: Place,
    pub lease: Lease,
    pub request: u64,
    since_msec: usize,
    seen: bool,
}

impl Lingering {
    pub fn new(place: Place, lease: Lease, request: u64) -> Self {
        Lingering { place, lease, request, since_msec: now(), seen: false }
    }

    /// Whether the slot is free, by what the process reports (`None`: it has been replaced).
    pub fn is_done(&mut self, ask: impl FnOnce(&Self) -> Option<ThreadIs>) -> bool {
        match ask(self) {
            None | Some(ThreadIs::Done) => true,
            Some(ThreadIs::Running) => {
                self.seen = true;
                false
            }
            Some(ThreadIs::Elsewhere) => self.seen || self.age() >= TAKEN_UP_WITHIN_MS,
        }
    }

    /// Milliseconds until the next look: the longer it lasts, the later.
    pub fn next_look(&self) -> usize {
        self.age().clamp(1, LOOK_MS)
    }

    fn age(&self) -> usize {
        now().wrapping_sub(self.since_msec)
    }
}

fn now() -> usize {
    // SAFETY: the event thread's clock.
    unsafe { ngx_current_msec }
}
