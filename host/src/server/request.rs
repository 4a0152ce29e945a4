//! Reading the REQUEST frame of the next exchange.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::PollFlags;
use thiserror::Error;

use super::mail::Slot;
use super::socket::{Received, Socket};
use crate::wire::{BadFrame, Header, Kind, BY_MAIL, HEADER_LEN};

/// What a thread keeps for reading; longer requests make the buffer grow until they are over.
const KEPT: usize = 32 << 10;

/// How long nginx may take from the first byte of a REQUEST frame to its last where no timeout is
/// configured.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A request could not be read; the connection is to be closed.
#[derive(Debug, Error)]
pub enum ReadError {
    #[error(transparent)]
    Bad(#[from] BadFrame),
    #[error("connection closed inside a REQUEST frame")]
    Closed,
    #[error("the rest of a REQUEST frame did not arrive in time")]
    TimedOut,
    #[error("cannot read: {0}")]
    Io(#[from] Errno),
}

/// What reading for a request gave.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing has arrived.
    Nothing,
    /// nginx has closed the connection between exchanges.
    Closed,
    /// nginx has attached memory with a slot of this number for the connection.
    Mailbox(usize),
    /// A whole frame is in the buffer.
    Request,
}

/// A thread's buffer for REQUEST frames and what comes right behind them.
pub struct RequestBuffer {
    bytes: Vec<u8>,
    len: usize,
    payload: usize,
    flags: u8,
    descriptor: Option<OwnedFd>,
}

impl RequestBuffer {
    /// A buffer that takes its memory at the first use: many a thread never serves.
    pub fn new() -> Self {
        RequestBuffer { bytes: Vec::new(), len: 0, payload: 0, flags: 0, descriptor: None }
    }

    /// Whether the response may be left in the connection's mailbox.
    pub fn wants_mail(&self) -> bool {
        self.flags & BY_MAIL != 0
    }

    /// Payload of the frame, and the bytes read behind it.
    pub fn split(&self) -> (&[u8], &[u8]) {
        self.bytes[HEADER_LEN..self.len].split_at(self.payload)
    }

    /// The descriptor that has come with them.
    pub fn take_descriptor(&mut self) -> Option<OwnedFd> {
        self.descriptor.take()
    }

    /// The buffer's memory, for anything between requests.
    pub fn scratch(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// Reads the next REQUEST frame. Waits only once its first byte has arrived.
    pub fn read(&mut self, socket: &Socket) -> Result<Next, ReadError> {
        self.reset();
        match socket.receive_with(&mut self.bytes, &mut self.descriptor)? {
            Received::Nothing => return Ok(Next::Nothing),
            Received::Closed => return Ok(Next::Closed),
            Received::Bytes(n) => self.len = n,
        }
        let until = Instant::now() + TIMEOUT;
        let header = loop {
            if let Some(header) = self.bytes[..self.len].first_chunk() {
                break Header::decode(header)?;
            }
            self.more(socket, until)?;
        };
        let whole = self.begin(header)?;
        if whole > self.bytes.len() {
            self.bytes.resize(whole, 0);
        }
        while self.len < whole {
            self.more(socket, until)?;
        }
        if header.kind == Kind::Mailbox {
            let slot = self.bytes[HEADER_LEN..whole].first().copied();
            return Ok(Next::Mailbox(slot.ok_or(BadFrame::Truncated("slot"))?.into()));
        }
        Ok(Next::Request)
    }

    /// Reads a REQUEST frame that was left in the connection's slot.
    pub fn read_mail(&mut self, slot: &Slot) -> Result<Next, ReadError> {
        self.reset();
        self.len = slot.read(&mut self.bytes);
        let header = self.bytes[..self.len].first_chunk();
        let header = Header::decode(header.ok_or(BadFrame::Truncated("header"))?)?;
        if header.kind != Kind::Request || self.begin(header)? > self.len {
            return Err(BadFrame::Truncated("request").into());
        }
        Ok(Next::Request)
    }

    /// Begins a frame; how long it is with its header.
    fn begin(&mut self, header: Header) -> Result<usize, BadFrame> {
        if !matches!(header.kind, Kind::Request | Kind::Mailbox) {
            return Err(BadFrame::Unexpected(header.kind));
        }
        self.flags = header.flags;
        self.payload = header.len as usize;
        Ok(HEADER_LEN + self.payload)
    }

    fn more(&mut self, socket: &Socket, until: Instant) -> Result<(), ReadError> {
        let until = socket.deadline().unwrap_or(until);
        loop {
            match socket.receive(&mut self.bytes[self.len..])? {
                Received::Bytes(n) => {
                    self.len += n;
                    return Ok(());
                }
                Received::Closed => return Err(ReadError::Closed),
                Received::Nothing if !socket.wait(PollFlags::POLLIN, Some(until))? => {
                    return Err(ReadError::TimedOut)
                }
                Received::Nothing => {}
            }
        }
    }

    fn reset(&mut self) {
        self.len = 0;
        self.payload = 0;
        self.flags = 0;
        self.descriptor = None;
        if self.bytes.len() != KEPT {
            self.bytes.resize(KEPT, 0);
            self.bytes.shrink_to_fit();
        }
    }
}
