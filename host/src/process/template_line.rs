//! The line between a supervisor and a template: one JSON text a packet. What the new process needs
//! besides goes with the order.

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{
    recvmsg, sendmsg, socketpair, AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags,
    SockFlag, SockType, UnixAddr,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::succession::Wish;

/// Longest packet, in bytes: an order has room for what a process may wish.
const LONGEST: usize = 96 << 10;

/// Descriptors of an order.
pub const DESCRIPTORS: usize = 2;

/// What the supervisor says: fork a process. With it go the process's end of the control line and of
/// the log pipe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// The new process's seat.
    pub seat: usize,
    /// What the process it is to replace wants.
    pub wish: Option<Wish>,
}

/// What a template says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Word {
    /// It takes orders.
    Ready,
    /// The last order's process.
    Forked(i32),
    /// The last order failed with this errno.
    Failed(i32),
}

/// One end of the line.
#[derive(Debug)]
pub struct TemplateLine(OwnedFd);

impl TemplateLine {
    /// Both ends of a new line.
    ///
    /// # Errors
    ///
    /// When the kernel gives no sockets.
    pub fn pair() -> Result<(Self, Self), Errno> {
        let flags = SockFlag::SOCK_CLOEXEC;
        let (one, other) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?;
        Ok((TemplateLine(one), TemplateLine(other)))
    }

    /// Says something, and hands `descriptors` over with it. Never blocks.
    ///
    /// # Errors
    ///
    /// The other end has gone, does not listen, or the packet is too long.
    pub fn say<T: Serialize>(&self, word: &T, descriptors: &[RawFd]) -> Result<(), Errno> {
        // These types always have a JSON form.
        let text = serde_json::to_vec(word).unwrap_or_default();
        if text.len() > LONGEST {
            return Err(Errno::EMSGSIZE);
        }
        let rights = [ControlMessage::ScmRights(descriptors)];
        let rights = if descriptors.is_empty() { &[][..] } else { &rights[..] };
        let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
        let fd = self.0.as_raw_fd();
        sendmsg::<UnixAddr>(fd, &[IoSlice::new(&text)], rights, flags, None).map(drop)
    }

    /// Waits for what the other end says next; `None` when it has closed the line.
    ///
    /// # Errors
    ///
    /// What was said makes no sense, or cannot be received.
    pub fn hear<T: DeserializeOwned>(&self) -> Result<Option<(T, Vec<OwnedFd>)>, Errno> {
        let mut text = vec![0; LONGEST];
        let mut rights = cmsg_space!([RawFd; DESCRIPTORS]);
        let (length, descriptors) = loop {
            let mut parts = [IoSliceMut::new(&mut text)];
            let fd = self.0.as_raw_fd();
            let flags = MsgFlags::MSG_CMSG_CLOEXEC;
            match recvmsg::<UnixAddr>(fd, &mut parts, Some(&mut rights), flags) {
                Err(Errno::EINTR) => {}
                Err(Errno::ECONNRESET) => return Ok(None),
                received => {
                    let received = received?;
                    let mut descriptors = Vec::new();
                    for message in received.cmsgs()? {
                        if let ControlMessageOwned::ScmRights(fds) = message {
                            // SAFETY: the kernel has just made them for this process.
                            let own = |fd| unsafe { OwnedFd::from_raw_fd(fd) };
                            descriptors.extend(fds.into_iter().map(own));
                        }
                    }
                    break (received.bytes, descriptors);
                }
            }
        };
        if length == 0 {
            return Ok(None);
        }
        let word = serde_json::from_slice(&text[..length]).map_err(|_| Errno::EBADMSG)?;
        Ok(Some((word, descriptors)))
    }
}

impl AsFd for TemplateLine {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for TemplateLine {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::{Read, Write};

    #[test]
    fn an_order_takes_its_descriptors_along() {
        let (one, other) = TemplateLine::pair().unwrap();
        let (read, write) = nix::unistd::pipe().unwrap();
        let order = Order { seat: 3, wish: None };
        one.say(&order, &[write.as_raw_fd()]).unwrap();
        drop(write);
        let (heard, mut descriptors) = other.hear::<Order>().unwrap().unwrap();
        assert_eq!((heard, descriptors.len()), (order, 1));
        File::from(descriptors.remove(0)).write_all(b"x").unwrap();
        let mut text = String::new();
        File::from(read).read_to_string(&mut text).unwrap();
        assert_eq!(text, "x");
    }

    #[test]
    fn nonsense_is_an_error_and_the_end_is_the_end() {
        let (one, other) = TemplateLine::pair().unwrap();
        one.say(&"x", &[]).unwrap();
        assert_eq!(one.say(&"x".repeat(LONGEST), &[]), Err(Errno::EMSGSIZE));
        drop(one);
        assert_eq!(other.hear::<Word>().unwrap_err(), Errno::EBADMSG);
        assert!(other.hear::<Word>().unwrap().is_none());
    }
}
