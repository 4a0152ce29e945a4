//! One connection from nginx: its two halves and what has become of it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use super::body::Body;
use super::socket::Socket;
use super::writer::Writer;
use crate::config::ConnectionConfig;

/// A connection. The halves have locks of their own: a thread that reads input and one that writes
/// output do not wait for each other.
pub struct Connection {
    /// Names the connection in the registry and in epoll; never used twice.
    pub token: u64,
    pub socket: Socket,
    /// Longest line of a response header.
    pub header_line_max: usize,
    lost: AtomicBool,
    registered: AtomicBool,
    body: Mutex<Body>,
    writer: Mutex<Writer>,
}

impl Connection {
    pub fn new(token: u64, fd: OwnedFd, config: &ConnectionConfig) -> Self {
        Connection {
            token,
            socket: Socket::new(fd, config),
            header_line_max: config.header_line.unwrap_or(usize::MAX),
            lost: AtomicBool::new(false),
            registered: AtomicBool::new(false),
            body: Mutex::new(Body::new()),
            writer: Mutex::new(Writer::new()),
        }
    }

    /// The read half. Never held while waiting for the peer.
    pub fn body(&self) -> MutexGuard<'_, Body> {
        self.body.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The write half. Held until a whole frame has left.
    pub fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// Whether an exchange is running; also while its thread is busy writing.
    pub fn writer_is_open(&self) -> bool {
        match self.writer.try_lock() {
            Ok(writer) => writer.is_open(),
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner().is_open(),
            Err(TryLockError::WouldBlock) => true,
        }
    }

    /// Tells nginx to close the connection, unless an exchange is writing: its thread does it then.
    pub fn go_away(&self) {
        let mut writer = match self.writer.try_lock() {
            Ok(writer) => writer,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        if !writer.is_open() && writer.go_away(&self.socket).is_err() {
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
