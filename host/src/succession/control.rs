//! The line between a daemon process and its supervisor: one JSON text a packet.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sys::socket::{recv, send, socketpair, AddressFamily, MsgFlags, SockFlag, SockType};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{Reason, Wish};

/// Longest packet, in bytes.
const LONGEST: usize = 64 << 10;

/// What a process says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Word {
    /// It takes requests.
    Ready,
    /// It finishes what it has.
    Draining,
    /// It has run all that it may, and waits to be let go.
    Spent,
    /// It needs a successor.
    Replace(Wish),
}

/// What the supervisor says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// A successor, started for this reason, has taken over.
    HandOver(Reason),
    /// There is no successor for this reason.
    Stay(Reason),
}

/// What the other side has said.
#[derive(Debug)]
pub enum Heard<T> {
    /// This.
    Said(T),
    /// Something that is none of the words; it may be hostile.
    Nonsense,
    /// Nothing yet.
    Nothing,
    /// It has closed its end.
    Closed,
}

/// A word could not be passed on.
#[derive(Debug, Error)]
pub enum SayError {
    /// It is longer than a packet may be.
    #[error("the message is too long")]
    TooLong,
    /// A system call.
    #[error("{}", .0.desc())]
    System(#[from] Errno),
}

/// One end of the line. Never blocks.
#[derive(Debug)]
pub struct Control(OwnedFd);

impl Control {
    /// Both ends of a new line.
    ///
    /// # Errors
    ///
    /// When the kernel gives no sockets.
    pub fn pair() -> Result<(Self, Self), Errno> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let (one, other) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?;
        Ok((Control(one), Control(other)))
    }

    /// Sends a word.
    ///
    /// # Errors
    ///
    /// [`SayError`]: the other side has gone or does not listen, or the word is too long.
    pub fn say<T: Serialize>(&self, word: &T) -> Result<(), SayError> {
        // These types always have a JSON form.
        let text = serde_json::to_vec(word).unwrap_or_default();
        if text.len() > LONGEST {
            return Err(SayError::TooLong);
        }
        send(self.0.as_raw_fd(), &text, MsgFlags::MSG_NOSIGNAL)?;
        Ok(())
    }

    /// The next thing that the other side has said.
    pub fn hear<T: DeserializeOwned>(&self) -> Heard<T> {
        let mut text = vec![0; LONGEST];
        match recv(self.0.as_raw_fd(), &mut text, MsgFlags::empty()) {
            Err(Errno::EAGAIN | Errno::EINTR) => Heard::Nothing,
            Ok(0) | Err(_) => Heard::Closed,
            Ok(n) => serde_json::from_slice(&text[..n]).map_or(Heard::Nonsense, Heard::Said),
        }
    }
}

impl From<OwnedFd> for Control {
    /// Takes over an end of a [`Control::pair`] that was handed on.
    fn from(end: OwnedFd) -> Self {
        Control(end)
    }
}

impl AsFd for Control {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Control {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_arrive_one_by_one_until_the_end() {
        let (one, other) = Control::pair().unwrap();
        assert!(matches!(other.hear::<Word>(), Heard::Nothing));
        one.say(&Word::Ready).unwrap();
        one.say(&Word::Draining).unwrap();
        one.say(&"x".repeat(9)).unwrap();
        assert!(matches!(one.say(&"x".repeat(LONGEST)), Err(SayError::TooLong)));
        drop(one);
        assert!(matches!(other.hear(), Heard::Said(Word::Ready)));
        assert!(matches!(other.hear(), Heard::Said(Word::Draining)));
        assert!(matches!(other.hear::<Word>(), Heard::Nonsense));
        assert!(matches!(other.hear::<Word>(), Heard::Closed));
    }
}
