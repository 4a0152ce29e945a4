//! What the Python side sees of one request's connection.
//!
//! The server implements [`Exchange`] over a socket; the WSGI adapter drives it. Methods that read or
//! send wait for nginx and are called without the GIL; `respond` and a small `send_last` only queue.
//! [`Exchange::read_now`] and [`Exchange::gather`] never wait. They take `&self` and are safe from any
//! thread, because an application may hand `wsgi.input`, `wsgi.errors` or `write` to threads of its own.

use std::os::fd::OwnedFd;

use thiserror::Error;

use crate::log::Level;
use crate::python::Lent;
use crate::wire::{Headers, Span};

/// Why the request body cannot be read any further.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum BodyError {
    /// nginx closed the connection before the end of the body: the client has gone.
    #[error("client connection closed")]
    Closed,
    /// Reading failed.
    #[error("{0}")]
    Io(String),
}

/// Nobody receives the response any more.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("client connection closed")]
pub struct Disconnected;

/// One request's way in and out.
pub trait Exchange: Send + Sync {
    /// Reads body bytes into `buf`, at least one unless the body is at its end (0). Blocks.
    ///
    /// # Errors
    ///
    /// [`BodyError`]; every later call fails in the same way.
    fn read(&self, buf: &mut [u8]) -> Result<usize, BodyError>;

    /// As [`Self::read`], but never waits: `None` when there is nothing to be had at once.
    ///
    /// # Errors
    ///
    /// As for [`Self::read`].
    fn read_now(&self, buf: &mut [u8]) -> Result<Option<usize>, BodyError> {
        let _ = buf;
        Ok(None)
    }

    /// How many bytes of the body have not been read, when that is known for certain.
    fn remaining(&self) -> Option<u64> {
        None
    }

    /// Queues status and headers; they leave with the first data or with the end.
    ///
    /// # Errors
    ///
    /// [`Disconnected`] when the connection has failed before, or the headers are over the wire's
    /// limit.
    fn respond(
        &self,
        status: u16,
        status_line: &[u8],
        headers: &Headers,
    ) -> Result<(), Disconnected>;

    /// Sends a block of the response body. Blocks while nginx takes no more.
    ///
    /// # Errors
    ///
    /// [`Disconnected`] when nginx has closed the connection.
    fn send(&self, block: &[u8]) -> Result<(), Disconnected>;

    /// Takes a small block that leaves with what follows it, or by itself within a moment. Never waits:
    /// `false` when the block has not been taken and is to be sent.
    ///
    /// # Errors
    ///
    /// As for [`Self::send`].
    fn gather(&self, block: &[u8]) -> Result<bool, Disconnected> {
        let _ = block;
        Ok(false)
    }

    /// Sends the block that the exchange ends with: nothing follows but its end, with which it may
    /// leave together.
    ///
    /// # Errors
    ///
    /// As for [`Self::send`].
    fn send_last(&self, block: &[u8]) -> Result<(), Disconnected> {
        self.send(block)
    }

    /// Whether [`Self::send_file`] can be used.
    fn takes_files(&self) -> bool {
        false
    }

    /// Queues a part of a file as the body, which leaves with the end of the exchange. Comes right
    /// after [`Self::respond`]. A file that nginx may not read is for the caller to be found out.
    ///
    /// # Errors
    ///
    /// [`Disconnected`] as for [`Self::send`], and where files are not taken.
    fn send_file(&self, fd: OwnedFd, span: Span) -> Result<(), Disconnected> {
        let _ = (fd, span);
        Err(Disconnected)
    }

    /// Whether [`Self::lend`] can be used.
    fn takes_memory(&self) -> bool {
        false
    }

    /// Hands over the block that is the whole body: nginx reads it where it is. Comes right after
    /// [`Self::respond`], leaves with the end of the exchange, and never waits.
    ///
    /// # Errors
    ///
    /// [`Disconnected`] as for [`Self::send`], and where memory is not taken.
    fn lend(&self, block: Lent) -> Result<(), Disconnected> {
        let _ = block;
        Err(Disconnected)
    }

    /// Sends one line to the request's error log. Lines longer than the wire allows are split,
    /// never cut. Once the connection is lost the line goes to the process's own log.
    fn log(&self, level: Level, line: &[u8]);

    /// Whether nobody receives the response any more: an earlier call failed, or nginx has closed
    /// the connection. Does not block.
    fn is_disconnected(&self) -> bool;
}
