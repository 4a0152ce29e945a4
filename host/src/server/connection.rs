//! One connection from nginx: its two halves and what has become of it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock};

use super::body::Body;
use super::mail::Slot;
use super::socket::Socket;
use super::writer::Writer;
use crate::config::ConnectionConfig;
use crate::lock::{lock, try_lock};

/// Nobody reads requests from the connection.
const IDLE: u8 = 0;
/// A thread does.
const OWNED: u8 = 1;
/// A thread does, and there has been another event since.
const CALLED: u8 = 2;

/// Whether some of a response still waits to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    Nothing,
    Some,
}

/// A connection. The halves have locks of their own: a thread that reads input and one that writes
/// output do not wait for each other.
pub struct Connection {
    /// Names the connection in the registry and in epoll; never used twice.
    pub token: u64,
    pub socket: Socket,
    /// Longest line of a response header.
    pub header_line_max: usize,
    /// nginx reads the memory of this process.
    pub lends: bool,
    lost: AtomicBool,
    /// nginx is to close it.
    leaving: AtomicBool,
    registered: AtomicBool,
    /// Its place in the memory that is shared with the worker.
    slot: OnceLock<Slot>,
    /// A request has been taken from there.
    mail: AtomicBool,
    /// [`IDLE`], [`OWNED`] or [`CALLED`].
    owner: AtomicU8,
    body: Mutex<Body>,
    writer: Mutex<Writer>,
}

impl Connection {
    pub fn new(token: u64, fd: OwnedFd, config: &ConnectionConfig) -> Self {
        Connection {
            token,
            socket: Socket::new(fd, config),
            header_line_max: config.header_line.unwrap_or(usize::MAX),
            lends: config.lends,
            lost: AtomicBool::new(false),
            leaving: AtomicBool::new(false),
            registered: AtomicBool::new(false),
            slot: OnceLock::new(),
            mail: AtomicBool::new(false),
            owner: AtomicU8::new(IDLE),
            body: Mutex::new(Body::new()),
            writer: Mutex::new(Writer::new()),
        }
    }

    /// The read half. Never held while waiting for the peer.
    pub fn body(&self) -> MutexGuard<'_, Body> {
        lock(&self.body)
    }

    /// The read half, unless another thread has it.
    pub fn try_body(&self) -> Option<MutexGuard<'_, Body>> {
        try_lock(&self.body)
    }

    /// The write half. Held until a whole frame has left.
    pub fn writer(&self) -> MutexGuard<'_, Writer> {
        lock(&self.writer)
    }

    /// The write half, unless another thread has it.
    pub fn try_writer(&self) -> Option<MutexGuard<'_, Writer>> {
        try_lock(&self.writer)
    }

    /// Sends what has been gathered for the outbox, without waiting.
    pub fn send_waiting(&self) -> Left {
        // Whoever has it may be sending.
        let Some(mut writer) = self.try_writer() else { return Left::Some };
        let sent = writer.send_gathered(&self.socket, self.slot());
        if sent == Ok(false) {
            return Left::Some;
        }
        writer.posted = false;
        drop(writer);
        if sent.is_err() {
            self.lose();
        }
        if self.leaving.load(Ordering::SeqCst) {
            self.go_away();
        }
        Left::Nothing
    }

    /// Gives the connection a place in the memory that is shared with the worker; the first one counts.
    pub fn settle(&self, slot: Slot) {
        let _ = self.slot.set(slot);
    }

    pub fn slot(&self) -> Option<&Slot> {
        self.slot.get()
    }

    /// A request has been taken from the connection's slot; its owner reads it.
    pub fn deliver(&self) {
        self.mail.store(true, Ordering::SeqCst);
    }

    /// The slot with a request that has been taken.
    pub fn take_mail(&self) -> Option<&Slot> {
        let slot = self.slot.get()?;
        self.mail.swap(false, Ordering::SeqCst).then_some(slot)
    }

    /// The peer receives nothing any more.
    pub fn lose(&self) {
        self.lost.store(true, Ordering::Relaxed);
    }

    pub fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    /// Whether this is the first time that epoll hears of the connection.
    pub fn register(&self) -> bool {
        !self.registered.swap(true, Ordering::Relaxed)
    }

    pub fn is_registered(&self) -> bool {
        self.registered.load(Ordering::Relaxed)
    }

    /// Takes the connection after an event. `false` when another thread has it, which will look again.
    pub fn claim(&self) -> bool {
        let claim = |owner| Some(if owner == IDLE { OWNED } else { CALLED });
        self.owner.fetch_update(Ordering::AcqRel, Ordering::Acquire, claim) == Ok(IDLE)
    }

    /// Gives the connection back. `false` when there has been an event meanwhile: it is still the
    /// caller's, who has to look again.
    pub fn release(&self) -> bool {
        let release = |owner| Some(if owner == CALLED { OWNED } else { IDLE });
        self.owner.fetch_update(Ordering::AcqRel, Ordering::Acquire, release) != Ok(CALLED)
    }

    /// Whether an exchange is running or its end waits; also while its thread is busy writing.
    pub fn writer_is_open(&self) -> bool {
        self.try_writer().is_none_or(|writer| writer.is_open())
    }

    /// Tells nginx to close the connection. Who has the write half does it otherwise: the thread of the
    /// exchange that is writing, or the outbox.
    pub fn go_away(&self) {
        self.leaving.store(true, Ordering::SeqCst);
        let Some(mut writer) = self.try_writer() else { return };
        if !writer.is_exchanging() && writer.go_away(&self.socket).is_err() {
            self.lose();
            self.socket.close();
        }
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    #[test]
    fn an_event_for_an_owned_connection_is_not_forgotten() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let connection = Connection::new(2, ours.into(), &ConnectionConfig::default());
        assert!(connection.claim());
        assert!(!connection.claim());
        assert!(!connection.claim());
        assert!(!connection.release());
        assert!(connection.release());
        assert!(connection.claim() && connection.release());
    }
}
