//! Requests that workers have left in memory ([`crate::mailbox`]) instead of sending them.

use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};

use crate::lock::lock;
use crate::mailbox::{name_of, Mailboxes, Sleep, To, SLOTS};

/// After so many in a row the leader looks at the sockets.
const IN_A_ROW: usize = 16;

/// The token of no connection.
const NOBODY: u64 = u64::MAX;

/// All that workers have left for a host.
#[derive(Default)]
pub struct Mail {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    known: Vec<((u64, u64), Weak<Boxes>)>,
    /// Those that are looked at before the leader sleeps, the one whose turn it is first.
    awake: VecDeque<Arc<Boxes>>,
    in_a_row: usize,
}

/// What is shared with one worker.
struct Boxes {
    shared: Mailboxes,
    /// Whose the slots are.
    tokens: [AtomicU64; SLOTS],
    /// The slot whose turn is next.
    turn: AtomicU32,
}

/// A connection's place there.
pub struct Slot {
    boxes: Arc<Boxes>,
    number: usize,
    announced: AtomicBool,
}

impl Mail {
    /// Gives a connection, named by its token, the slot of this number in the memory behind a descriptor.
    /// `None`: it does without; why has been logged.
    pub fn attach(&self, fd: &OwnedFd, number: usize, token: u64) -> Option<Slot> {
        match self.boxes(fd) {
            Ok(boxes) => {
                boxes.tokens[number % SLOTS].store(token, Ordering::Relaxed);
                Some(Slot { boxes, number, announced: AtomicBool::new(false) })
            }
            Err(error) => {
                tracing::debug!("requests arrive on sockets only: {error}");
                None
            }
        }
    }

    fn boxes(&self, fd: &OwnedFd) -> Result<Arc<Boxes>, Box<dyn std::error::Error>> {
        let name = name_of(fd)?;
        let mut state = lock(&self.state);
        state.known.retain(|(_, boxes)| boxes.strong_count() > 0);
        let known = state.known.iter().find(|(known, _)| *known == name);
        if let Some(boxes) = known.and_then(|(_, boxes)| boxes.upgrade()) {
            return Ok(boxes);
        }
        let shared = Mailboxes::open(fd.as_fd())?.ok_or("this is no memory for that")?;
        // Whoever had it open before may have been called, and have left without looking.
        shared.rest(To::Host);
        let tokens = [const { AtomicU64::new(NOBODY) }; SLOTS];
        let boxes = Arc::new(Boxes { shared, tokens, turn: AtomicU32::new(0) });
        state.known.push((name, Arc::downgrade(&boxes)));
        Ok(boxes)
    }

    /// The caller leads, and looks before it sleeps what else there is from the slot's worker.
    pub fn wake(&self, slot: &Slot) {
        let mut state = lock(&self.state);
        if !state.awake.iter().any(|boxes| Arc::ptr_eq(boxes, &slot.boxes)) {
            slot.boxes.shared.wake(To::Host);
            state.awake.push_back(Arc::clone(&slot.boxes));
        }
    }

    /// A request has been read from the socket of the slot's connection, perhaps before the leader has been
    /// told of it, who sleeps on then: nobody has called him. Whether he has to be woken, because something
    /// was left that he was called for.
    pub fn uncall(&self, slot: &Slot) -> bool {
        let state = lock(&self.state);
        if state.awake.iter().any(|boxes| Arc::ptr_eq(boxes, &slot.boxes)) {
            return false;
        }
        slot.boxes.shared.rest(To::Host);
        slot.boxes.shared.there(To::Host) != 0
    }

    /// The caller leads, and looks what there is from any worker before it sleeps: a connection is gone, and
    /// perhaps what has called the host on it.
    pub fn wake_all(&self) {
        let mut state = lock(&self.state);
        state.awake = state.known.iter().filter_map(|(_, boxes)| boxes.upgrade()).collect();
        state.awake.iter().for_each(|boxes| boxes.shared.wake(To::Host));
    }

    /// Takes the next message: the token of its connection. `None`: there is none, or it is the sockets'
    /// turn.
    pub fn next(&self) -> Option<u64> {
        let mut state = lock(&self.state);
        for _ in 0..state.awake.len() {
            if state.in_a_row == IN_A_ROW {
                break;
            }
            state.awake.rotate_left(1);
            let token = state.awake.back().and_then(|boxes| boxes.next());
            if token.is_some() {
                state.in_a_row += 1;
                return token;
            }
        }
        state.in_a_row = 0;
        None
    }

    /// Whether there is another message.
    pub fn is_there(&self) -> bool {
        lock(&self.state).awake.iter().any(|boxes| boxes.shared.there(To::Host) != 0)
    }

    /// The leader is about to sleep. `false`: it must not, there is a message.
    pub fn rest(&self) -> bool {
        let mut state = lock(&self.state);
        state.awake.iter().for_each(|boxes| boxes.shared.rest(To::Host));
        let there = state.awake.iter().any(|boxes| boxes.shared.there(To::Host) != 0);
        if there {
            state.awake.iter().for_each(|boxes| boxes.shared.wake(To::Host));
        } else {
            state.awake.clear();
        }
        !there
    }
}

impl Boxes {
    fn next(&self) -> Option<u64> {
        let (there, turn) = (self.shared.there(To::Host), self.turn.load(Ordering::Relaxed));
        if there == 0 {
            return None;
        }
        // Nobody waits while others have their turn twice.
        let number = (there.rotate_right(turn).trailing_zeros() + turn) as usize % SLOTS;
        self.turn.store((number + 1) as u32, Ordering::Relaxed);
        self.shared.take(To::Host, number).then(|| self.tokens[number].load(Ordering::Relaxed))
    }
}

impl Slot {
    /// From now on the worker may use the slot: epoll tells of what it sends on the connection.
    pub fn announce(&self) {
        if !self.announced.swap(true, Ordering::Relaxed) {
            self.boxes.shared.attach(self.number);
        }
    }

    /// Copies the message that was taken for the connection to the beginning of `out`, which grows if it
    /// has to; its length.
    pub fn read(&self, out: &mut Vec<u8>) -> usize {
        let len = self.boxes.shared.len(To::Host, self.number);
        if out.len() < len {
            out.resize(len, 0);
        }
        self.boxes.shared.read(To::Host, self.number, 0, &mut out[..len]);
        len
    }

    /// Leaves a whole response for the worker.
    ///
    /// # Errors
    ///
    /// [`Sleep`]: it has to be sent.
    pub fn answer(&self, response: &[u8]) -> Result<(), Sleep> {
        self.boxes.shared.put(To::Worker, self.number, std::iter::once(response))
    }

    /// A whole response has been sent on the socket of the slot's connection, which the worker slept
    /// through until then.
    pub fn call(&self, sleep: Sleep) {
        self.boxes.shared.call(To::Worker, sleep);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybodys_turn_comes() {
        let (mail, workers) = (Mail::default(), [(); 2].map(|()| Mailboxes::create().unwrap()));
        let token = |worker: usize, number: usize| (worker * 100 + number + 2) as u64;
        let mut slots = Vec::new();
        for (worker, (_, fd)) in workers.iter().enumerate() {
            for number in [0, 7] {
                slots.push(mail.attach(fd, number, token(worker, number)).unwrap());
            }
        }
        assert!(Arc::ptr_eq(&slots[0].boxes, &slots[1].boxes));
        slots.iter().for_each(|slot| mail.wake(slot));
        let put = |worker: usize, number| {
            let message = std::iter::once(&b"request"[..]);
            assert!(workers[worker].0.put(To::Host, number, message).is_ok());
        };
        put(0, 0);
        put(0, 7);
        put(1, 7);
        assert!(!mail.rest());
        let tokens: Vec<u64> = std::iter::from_fn(|| mail.next()).collect();
        assert_eq!(tokens.len(), 3);
        assert!(tokens[..2].contains(&token(1, 7)), "{tokens:?}");
        let mut message = Vec::new();
        assert_eq!(slots[1].read(&mut message), 7);
        assert_eq!(message, b"request");
        for _ in 0..IN_A_ROW {
            put(0, 0);
            assert!(mail.next().is_some());
        }
        put(0, 0);
        assert!(mail.next().is_none(), "the sockets' turn");
        assert!(mail.next().is_some());
        assert!(mail.rest());
        assert!(workers[0].0.put(To::Host, 0, std::iter::once(&b"late"[..])).is_err());
    }

    #[test]
    fn a_slot_that_is_filled_again_and_again_does_not_keep_others_waiting() {
        let (mail, (worker, fd)) = (Mail::default(), Mailboxes::create().unwrap());
        let slots = [3, 9, 31].map(|number| mail.attach(&fd, number, number as u64).unwrap());
        mail.wake(&slots[0]);
        let put = |number| worker.put(To::Host, number, std::iter::once(&b"request"[..])).unwrap();
        [3, 9, 31].into_iter().for_each(put);
        for expected in [3, 9, 31, 3, 9, 31] {
            let token = mail.next();
            assert_eq!(token, Some(expected));
            put(expected as usize);
        }
    }

    #[test]
    fn who_reads_what_has_called_the_leader_answers_for_it() {
        let (mail, (worker, fd)) = (Mail::default(), Mailboxes::create().unwrap());
        let slot = mail.attach(&fd, 0, 2).unwrap();
        let leave = || worker.put(To::Host, 1, std::iter::once(&b"request"[..]));
        let call = || worker.call(To::Host, leave().unwrap_err());
        call();
        assert!(!mail.uncall(&slot));
        assert!(leave().is_err(), "nobody is called any more");
        call();
        leave().unwrap();
        assert!(mail.uncall(&slot), "the leader has to look");
        mail.wake_all();
        assert!(!mail.uncall(&slot) && mail.is_there());
    }

    #[test]
    fn memory_that_is_opened_again_calls_nobody() {
        let (mail, (worker, fd)) = (Mail::default(), Mailboxes::create().unwrap());
        drop(mail.attach(&fd, 0, 2));
        let leave = || worker.put(To::Host, 1, std::iter::once(&b"request"[..]));
        worker.call(To::Host, leave().unwrap_err());
        let slot = mail.attach(&fd, 2, 3).unwrap();
        assert!(leave().is_err());
        mail.wake(&slot);
        leave().unwrap();
        assert_eq!(mail.next(), Some(NOBODY));
    }
}
