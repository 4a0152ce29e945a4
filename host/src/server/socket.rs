//! Non-blocking reading and writing of a stream socket, and waiting for it.

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
use nix::sys::socket::sockopt::{RcvBuf, SndBuf};
use nix::sys::socket::{
    recv, recvmsg, sendmsg, setsockopt, shutdown, ControlMessage, ControlMessageOwned, MsgFlags,
    Shutdown, UnixAddr,
};

use crate::clock::poll_timeout;

use crate::config::ConnectionConfig;

/// What reading gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// Nothing there now.
    Nothing,
    /// The peer has closed.
    Closed,
    /// So many bytes, at least one.
    Bytes(usize),
}

/// Room for a control message with a descriptor: nix's `cmsg_space!` allocates.
const ONE_DESCRIPTOR: usize = 32;

/// A connected stream socket in non-blocking mode.
pub struct Socket {
    fd: OwnedFd,
    timeout: Option<Duration>,
}

impl Socket {
    pub fn new(fd: OwnedFd, config: &ConnectionConfig) -> Self {
        // Sizes out of the system's range it corrects by itself; there is nothing to fail.
        if let Some(size) = config.send_buffer {
            let _ = setsockopt(&fd, SndBuf, &size);
        }
        if let Some(size) = config.receive_buffer {
            let _ = setsockopt(&fd, RcvBuf, &size);
        }
        let timeout = config.timeout.map(|seconds| Duration::from_secs(seconds.into()));
        Socket { fd, timeout }
    }

    /// How long a read or a write may make no progress.
    pub fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    /// When something that makes no progress from now on has failed; `None`: never.
    pub fn deadline(&self) -> Option<Instant> {
        self.timeout.map(|timeout| Instant::now() + timeout)
    }

    /// Reads what is there. `buf` must not be empty.
    pub fn receive(&self, buf: &mut [u8]) -> Result<Received, Errno> {
        loop {
            return match recv(self.fd.as_raw_fd(), buf, MsgFlags::MSG_DONTWAIT) {
                Ok(0) | Err(Errno::ECONNRESET) => Ok(Received::Closed),
                Ok(n) => Ok(Received::Bytes(n)),
                Err(Errno::EAGAIN) => Ok(Received::Nothing),
                Err(Errno::EINTR) => continue,
                Err(errno) => Err(errno),
            };
        }
    }

    /// Reads what is there into `buf`, and what follows that into `next`. Neither may be empty.
    pub fn receive_parts(&self, buf: &mut [u8], next: &mut [u8]) -> Result<Received, Errno> {
        let mut parts = [IoSliceMut::new(buf), IoSliceMut::new(next)];
        loop {
            let flags = MsgFlags::MSG_DONTWAIT;
            let received = recvmsg::<()>(self.fd.as_raw_fd(), &mut parts, None, flags);
            return match received.map(|message| message.bytes) {
                Ok(0) | Err(Errno::ECONNRESET) => Ok(Received::Closed),
                Ok(n) => Ok(Received::Bytes(n)),
                Err(Errno::EAGAIN) => Ok(Received::Nothing),
                Err(Errno::EINTR) => continue,
                Err(errno) => Err(errno),
            };
        }
    }

    /// Reads what is there, and takes a descriptor along that comes with it.
    pub fn receive_with(
        &self,
        buf: &mut [u8],
        descriptor: &mut Option<OwnedFd>,
    ) -> Result<Received, Errno> {
        let mut parts = [IoSliceMut::new(buf)];
        let mut control = [0; ONE_DESCRIPTOR];
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
        loop {
            let received =
                recvmsg::<()>(self.fd.as_raw_fd(), &mut parts, Some(&mut control), flags);
            let message = match received {
                Ok(message) => message,
                Err(Errno::EAGAIN) => return Ok(Received::Nothing),
                Err(Errno::ECONNRESET) => return Ok(Received::Closed),
                Err(Errno::EINTR) => continue,
                Err(errno) => return Err(errno),
            };
            for attached in message.cmsgs()? {
                let ControlMessageOwned::ScmRights(found) = attached else { continue };
                // SAFETY: the system has just made them; all but the last are closed here.
                let owned = |fd: RawFd| unsafe { OwnedFd::from_raw_fd(fd) };
                found.into_iter().for_each(|fd| *descriptor = Some(owned(fd)));
            }
            return Ok(match message.bytes {
                0 => Received::Closed,
                n => Received::Bytes(n),
            });
        }
    }

    /// Writes `bytes` with a descriptor attached to the first of them, waiting for room as long as it
    /// takes.
    ///
    /// # Errors
    ///
    /// As for [`Self::send_all`].
    pub fn send_with(&self, bytes: &[u8], fd: BorrowedFd<'_>) -> Result<(), Errno> {
        let fds = [fd.as_raw_fd()];
        let attached = [ControlMessage::ScmRights(&fds)];
        loop {
            match self.send_parts(&[IoSlice::new(bytes)], &attached) {
                Ok(sent) => return self.send_all(&bytes[sent..], &[]),
                Err(errno) => self.wait_for_room(errno)?,
            }
        }
    }

    /// Writes all of `head` and `tail`, waiting for room as long as it takes.
    ///
    /// # Errors
    ///
    /// `ETIMEDOUT` when there was no room for the time that is configured, and what the system says.
    pub fn send_all(&self, head: &[u8], tail: &[u8]) -> Result<(), Errno> {
        let (mut head, mut tail) = (head, tail);
        while !head.is_empty() || !tail.is_empty() {
            match self.send_some(head, tail) {
                Ok(sent) => {
                    let of_head = sent.min(head.len());
                    head = &head[of_head..];
                    tail = &tail[sent - of_head..];
                }
                Err(errno) => self.wait_for_room(errno)?,
            }
        }
        Ok(())
    }

    /// Waits until it makes sense to try again after a failure to send.
    fn wait_for_room(&self, errno: Errno) -> Result<(), Errno> {
        match errno {
            Errno::EAGAIN if self.wait(PollFlags::POLLOUT, self.deadline())? => Ok(()),
            Errno::EAGAIN => Err(Errno::ETIMEDOUT),
            Errno::EINTR => Ok(()),
            errno => Err(errno),
        }
    }

    /// Writes as much as goes without waiting.
    pub fn send_some(&self, head: &[u8], tail: &[u8]) -> Result<usize, Errno> {
        let parts = [IoSlice::new(head), IoSlice::new(tail)];
        let parts = if tail.is_empty() { &parts[..1] } else { &parts[..] };
        self.send_parts(parts, &[])
    }

    fn send_parts(
        &self,
        parts: &[IoSlice<'_>],
        attached: &[ControlMessage<'_>],
    ) -> Result<usize, Errno> {
        let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
        sendmsg::<UnixAddr>(self.fd.as_raw_fd(), parts, attached, flags, None)
    }

    /// Waits for one of `events` or the peer's end; `false` once `until` has passed.
    pub fn wait(&self, events: PollFlags, until: Option<Instant>) -> Result<bool, Errno> {
        loop {
            match poll(&mut [PollFd::new(self.fd.as_fd(), events)], poll_timeout(until)) {
                Ok(0) if until.is_some_and(|until| Instant::now() >= until) => return Ok(false),
                Ok(0) | Err(Errno::EINTR) => {}
                Ok(_) => return Ok(true),
                Err(errno) => return Err(errno),
            }
        }
    }

    /// Whether the peer has closed its end.
    pub fn is_hung_up(&self) -> bool {
        let mut ask = [PollFd::new(self.fd.as_fd(), PollFlags::empty())];
        matches!(poll(&mut ask, PollTimeout::ZERO), Ok(1))
    }

    /// Ends the connection for the peer now, even while somebody else still holds the descriptor.
    pub fn close(&self) {
        // A peer that has gone already is the only way to fail.
        let _ = shutdown(self.fd.as_raw_fd(), Shutdown::Both);
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
