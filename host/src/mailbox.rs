//! Memory through which small messages go between a worker of nginx and a host that are both awake.
//!
//! A message on a socket costs a system call at either end, and wakes the receiver. One that is at work
//! need not be woken, it only has to look. So each side says whether it will look here before it goes to
//! sleep: then the other one leaves its message in memory, and sends it on the connection's socket
//! otherwise. One that has been sent to will wake up and look, so what comes next can be left as well.
//! Nobody depends on any of this: what a message is does not follow from the way it takes.
//!
//! A connection has a *slot*, which is never given to another one: whoever is still at the old one writes
//! to what nobody reads. In a slot there is room for one message each way: a whole request, or a whole
//! response, and nothing that belongs to it goes over the socket.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use nix::errno::Errno;
use nix::fcntl::{fcntl, FcntlArg, SealFlag};
use nix::sys::stat::fstat;

use crate::memory::{Mapping, MappingError};

/// Connections that share one memory.
pub const SLOTS: usize = 32;

/// Bytes that a message may have.
pub const ROOM: usize = 16 << 10;

/// Where messages are: before them is [`Head`].
const ROOMS: usize = 4096;
const BYTES: usize = ROOMS + 2 * SLOTS * ROOM;

/// Where a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    Host,
    Worker,
}

/// The receiver may be asleep.
const ASLEEP: u32 = 0;
/// It looks before it goes to sleep.
const AWAKE: u32 = 1;
/// It has been asleep, and something on a socket wakes it, whereupon it looks.
const CALLED: u32 = 2;
const STATE: u32 = 3;
/// Each sleep has another number, above the state.
const NEXT_SLEEP: u32 = 4;

/// One direction.
#[repr(C, align(64))]
struct Way {
    /// What the receiver is at: [`ASLEEP`], [`AWAKE`] or [`CALLED`], and the number of its last sleep.
    receiver: AtomicU32,
    /// A bit for each slot: its message is there.
    there: AtomicU32,
    lengths: [AtomicU32; SLOTS],
}

#[repr(C)]
struct Head {
    to_host: Way,
    to_worker: Way,
    /// A bit for each slot: the host knows its connection.
    attached: AtomicU32,
}

const _: () = assert!(size_of::<Head>() <= ROOMS && SLOTS <= 32);

/// Why a message could not be left. If the receiver was asleep: which of its sleeps that was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sleep(Option<u32>);

impl Sleep {
    /// The message does not depend on whether the receiver is asleep.
    pub const NONE: Self = Sleep(None);
}

/// The memory of a worker and a host. Neither trusts it: a length is checked where it is read, and a
/// message is copied before anybody looks at it.
pub struct Mailboxes {
    memory: Mapping,
}

impl Mailboxes {
    /// New ones, and the descriptor that the other side opens them with.
    ///
    /// # Errors
    ///
    /// [`MappingError`] when the kernel refuses.
    pub fn create() -> Result<(Self, OwnedFd), MappingError> {
        let (memory, fd) = Mapping::create(c"ngx-wsgi-mailboxes", BYTES)?;
        Ok((Mailboxes { memory }, fd))
    }

    /// Those behind a descriptor. `None`: it is none of [`Self::create`]'s.
    ///
    /// # Errors
    ///
    /// [`MappingError`] when the kernel refuses.
    pub fn open(fd: BorrowedFd<'_>) -> Result<Option<Self>, MappingError> {
        let sealed = fcntl(fd, FcntlArg::F_GET_SEALS).is_ok_and(|seals| {
            SealFlag::from_bits_truncate(seals).contains(SealFlag::F_SEAL_SHRINK)
        });
        if !sealed || fstat(fd).map_or(0, |stat| stat.st_size) < BYTES as i64 {
            return Ok(None);
        }
        Ok(Some(Mailboxes { memory: Mapping::open(fd, BYTES)? }))
    }

    fn head(&self) -> &Head {
        self.memory.at(0)
    }

    fn way(&self, to: To) -> &Way {
        match to {
            To::Host => &self.head().to_host,
            To::Worker => &self.head().to_worker,
        }
    }

    fn room(to: To, slot: usize) -> usize {
        ROOMS + (2 * (slot % SLOTS) + usize::from(to == To::Worker)) * ROOM
    }

    /// The host says that it knows the slot's connection.
    pub fn attach(&self, slot: usize) {
        self.head().attached.fetch_or(bit(slot), SeqCst);
    }

    /// Whether the host knows the slot's connection.
    pub fn is_attached(&self, slot: usize) -> bool {
        self.head().attached.load(SeqCst) & bit(slot) != 0
    }

    /// The receiver promises to look before it sleeps.
    pub fn wake(&self, to: To) {
        let receiver = &self.way(to).receiver;
        receiver.store(receiver.load(SeqCst) & !STATE | AWAKE, SeqCst);
    }

    /// The receiver is about to sleep, and promises nothing. It has to look once again now.
    pub fn rest(&self, to: To) {
        let receiver = &self.way(to).receiver;
        receiver.store((receiver.load(SeqCst) & !STATE | ASLEEP).wrapping_add(NEXT_SLEEP), SeqCst);
    }

    /// The receiver's sleep, if it may be asleep.
    fn sleep(&self, to: To) -> Result<(), Sleep> {
        let receiver = self.way(to).receiver.load(SeqCst);
        match receiver & STATE {
            ASLEEP => Err(Sleep(Some(receiver))),
            _ => Ok(()),
        }
    }

    /// The receiver wakes up from a sleep, and looks: since it fell asleep, something has been sent to it
    /// that it receives on the slot's socket.
    pub fn call(&self, to: To, sleep: Sleep) {
        let Some(asleep) = sleep.0 else { return };
        let receiver = &self.way(to).receiver;
        // It has woken up since: then it is not known whether what was sent is still to be received.
        let _ = receiver.compare_exchange(asleep, asleep & !STATE | CALLED, SeqCst, SeqCst);
    }

    /// Leaves a message, whose parts are copied.
    ///
    /// # Errors
    ///
    /// [`Sleep`]: nobody gets it, because the receiver may be asleep or the message is too long.
    pub fn put<'a>(
        &self,
        to: To,
        slot: usize,
        parts: impl Iterator<Item = &'a [u8]>,
    ) -> Result<(), Sleep> {
        self.sleep(to)?;
        let (way, room) = (self.way(to), Self::room(to, slot));
        let mut len = 0;
        for part in parts {
            if part.len() > ROOM - len {
                return Err(Sleep(None));
            }
            self.memory.write(room + len, part);
            len += part.len();
        }
        way.lengths[slot % SLOTS].store(len as u32, SeqCst);
        way.there.fetch_or(bit(slot), SeqCst);
        // A receiver that goes to sleep says so first and looks afterwards. If that was before, the
        // message may lie there; if it has been taken, it was seen.
        self.sleep(to).or_else(|sleep| if self.take(to, slot) { Err(sleep) } else { Ok(()) })
    }

    /// Takes the slot's message: it is the caller's, if it was there.
    pub fn take(&self, to: To, slot: usize) -> bool {
        self.way(to).there.fetch_and(!bit(slot), SeqCst) & bit(slot) != 0
    }

    /// The slots with messages, as bits.
    pub fn there(&self, to: To) -> u32 {
        self.way(to).there.load(SeqCst)
    }

    /// Length of the message that was taken.
    pub fn len(&self, to: To, slot: usize) -> usize {
        (self.way(to).lengths[slot % SLOTS].load(SeqCst) as usize).min(ROOM)
    }

    /// Copies from the message that was taken, from its byte `at` on. What is behind [`ROOM`] is not
    /// written to.
    pub fn read(&self, to: To, slot: usize, at: usize, out: &mut [u8]) {
        let at = at.min(ROOM);
        let len = out.len().min(ROOM - at);
        self.memory.read(Self::room(to, slot) + at, &mut out[..len]);
    }
}

fn bit(slot: usize) -> u32 {
    1 << (slot % SLOTS)
}

/// Which memory a descriptor is for: the same one has the same name as long as it is open anywhere.
///
/// # Errors
///
/// What the system says.
pub fn name_of(fd: &OwnedFd) -> Result<(u64, u64), Errno> {
    fstat(fd).map(|stat| (stat.st_dev, stat.st_ino))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    fn put(boxes: &Mailboxes, to: To, slot: usize, message: &[u8]) -> Result<(), Sleep> {
        boxes.put(to, slot, std::iter::once(message))
    }

    #[test]
    fn nothing_is_left_with_a_receiver_that_may_sleep() {
        let (boxes, _fd) = Mailboxes::create().unwrap();
        assert!(put(&boxes, To::Host, 3, b"hello").is_err());
        boxes.wake(To::Host);
        assert!(boxes.put(To::Host, 3, [&b"hel"[..], b"lo"].into_iter()).is_ok());
        assert!(put(&boxes, To::Worker, 3, b"hello").is_err());
        assert_eq!((boxes.there(To::Host), boxes.there(To::Worker)), (1 << 3, 0));
    }

    #[test]
    fn a_receiver_that_has_been_sent_to_in_its_sleep_is_called() {
        let (boxes, _fd) = Mailboxes::create().unwrap();
        let sleep = put(&boxes, To::Host, 0, b"first").unwrap_err();
        boxes.call(To::Host, sleep);
        assert!(put(&boxes, To::Host, 1, b"second").is_ok());
        boxes.rest(To::Host);
        assert!(put(&boxes, To::Host, 2, b"third").is_err());
    }

    #[test]
    fn what_was_sent_in_an_earlier_sleep_calls_nobody() {
        let (boxes, _fd) = Mailboxes::create().unwrap();
        let sleep = put(&boxes, To::Host, 0, b"first").unwrap_err();
        boxes.wake(To::Host);
        boxes.rest(To::Host);
        boxes.call(To::Host, sleep);
        assert!(put(&boxes, To::Host, 1, b"second").is_err());
    }

    #[test]
    fn both_sides_see_the_same() {
        let (ours, fd) = Mailboxes::create().unwrap();
        let theirs = Mailboxes::open(fd.as_fd()).unwrap().unwrap();
        theirs.attach(31);
        assert!(ours.is_attached(31) && !ours.is_attached(30));
        theirs.wake(To::Host);
        let message = vec![b'x'; ROOM];
        let long = ours.put(To::Host, 31, [&message[..], b"y"].into_iter());
        assert_eq!(long, Err(Sleep::NONE));
        assert!(!theirs.take(To::Host, 31));
        assert!(put(&ours, To::Host, 31, &message).is_ok());
        assert!(theirs.take(To::Host, 31) && !theirs.take(To::Host, 31));
        let mut out = vec![0; theirs.len(To::Host, 31)];
        theirs.read(To::Host, 31, 0, &mut out);
        assert_eq!(out, message);
    }

    #[test]
    fn what_is_no_memory_of_ours_is_not_opened() {
        let (_memory, fd) = Mapping::create(c"short", ROOMS).unwrap();
        assert!(Mailboxes::open(fd.as_fd()).unwrap().is_none());
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(Mailboxes::open(file.as_fd()).unwrap().is_none());
    }

    #[test]
    fn no_message_is_lost_or_doubled_between_falling_asleep_and_sending() {
        const ROUNDS: u32 = 200_000;
        let (boxes, _fd) = Mailboxes::create().unwrap();
        let (left, got) = (AtomicU32::new(0), AtomicU32::new(0));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for round in 0..ROUNDS {
                    let slot = round as usize % SLOTS;
                    let is_free = boxes.there(To::Host) & bit(slot) == 0;
                    if is_free && put(&boxes, To::Host, slot, b"m").is_ok() {
                        left.fetch_add(1, SeqCst);
                    }
                }
                boxes.wake(To::Worker);
            });
            let look = || (0..SLOTS).filter(|slot| boxes.take(To::Host, *slot)).count() as u32;
            while boxes.sleep(To::Worker).is_err() {
                boxes.wake(To::Host);
                got.fetch_add(look(), SeqCst);
                boxes.rest(To::Host);
                got.fetch_add(look(), SeqCst);
            }
        });
        assert_eq!(boxes.there(To::Host), 0);
        assert_eq!(left.load(SeqCst), got.load(SeqCst));
    }
}
