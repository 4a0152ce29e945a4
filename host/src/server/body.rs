//! The request body: BODY frames off the connection.

use nix::errno::Errno;

use super::socket::{Received, Socket};
use crate::exchange::BodyError;
use crate::wire::{BadFrame, Header, Kind, HEADER_LEN, LAST};

/// The read half of a connection during one exchange.
///
/// It never reads past the frame it is in, so that what follows the body is left for whoever reads
/// the next request.
pub struct Body {
    /// What came with the REQUEST frame and has not been used up.
    pending: Vec<u8>,
    used: usize,
    header: [u8; HEADER_LEN],
    header_len: usize,
    /// Payload bytes of the current frame still to come.
    left: usize,
    /// No frame follows the current one.
    last: bool,
    failed: Option<BodyError>,
    bad: Option<BadFrame>,
}

impl Body {
    pub fn new() -> Self {
        Body {
            pending: Vec::new(),
            used: 0,
            header: [0; HEADER_LEN],
            header_len: 0,
            left: 0,
            last: true,
            failed: None,
            bad: None,
        }
    }

    /// Starts the body of a new exchange with what was read behind its REQUEST frame.
    pub fn begin(&mut self, expected: bool, pending: &[u8]) {
        self.pending.clear();
        self.pending.extend_from_slice(pending);
        self.used = 0;
        self.header_len = 0;
        self.left = 0;
        self.last = !expected;
        self.failed = None;
        self.bad = None;
    }

    /// Whether the body is at its end.
    pub fn is_complete(&self) -> bool {
        self.last && self.left == 0 && self.failed.is_none()
    }

    /// The frame that broke the protocol: in the body, or behind it and before END.
    pub fn bad_frame(&self) -> Option<BadFrame> {
        if self.bad.is_some() || !self.is_complete() || self.used == self.pending.len() {
            return self.bad;
        }
        let rest = &self.pending[self.used..];
        let bad = match rest.first_chunk().map(Header::decode) {
            Some(Ok(header)) => BadFrame::Unexpected(header.kind),
            Some(Err(bad)) => bad,
            None => BadFrame::Truncated("header"),
        };
        Some(bad)
    }

    /// Reads body bytes without waiting: `None` when nothing is there yet, 0 at the end.
    pub fn read(&mut self, socket: &Socket, buf: &mut [u8]) -> Result<Option<usize>, BodyError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        if buf.is_empty() {
            return Ok(Some(0));
        }
        while self.left == 0 {
            if self.last {
                return Ok(Some(0));
            }
            if !self.next_frame(socket)? {
                return Ok(None);
            }
        }
        let want = buf.len().min(self.left);
        let got = self.take(socket, &mut buf[..want])?;
        self.left -= got.unwrap_or(0);
        Ok(got)
    }

    /// Reads on to the next frame's payload; `false` when its header is not there yet.
    fn next_frame(&mut self, socket: &Socket) -> Result<bool, BodyError> {
        while self.header_len < HEADER_LEN {
            let mut bytes = [0; HEADER_LEN];
            let missing = HEADER_LEN - self.header_len;
            let Some(got) = self.take(socket, &mut bytes[..missing])? else { return Ok(false) };
            self.header[self.header_len..self.header_len + got].copy_from_slice(&bytes[..got]);
            self.header_len += got;
        }
        self.header_len = 0;
        let header = match Header::decode(&self.header) {
            Ok(header) if header.kind == Kind::Body => header,
            Ok(header) => return Err(self.break_off(BadFrame::Unexpected(header.kind))),
            Err(bad) => return Err(self.break_off(bad)),
        };
        self.left = header.len as usize;
        self.last = header.flags & LAST != 0;
        Ok(true)
    }

    /// Takes bytes that are there, from those that came early or from the socket.
    fn take(&mut self, socket: &Socket, buf: &mut [u8]) -> Result<Option<usize>, BodyError> {
        let early = &self.pending[self.used..];
        if !early.is_empty() {
            let n = early.len().min(buf.len());
            buf[..n].copy_from_slice(&early[..n]);
            self.used += n;
            return Ok(Some(n));
        }
        match socket.receive(buf) {
            Ok(Received::Bytes(n)) => Ok(Some(n)),
            Ok(Received::Nothing) => Ok(None),
            Ok(Received::Closed) => Err(self.fail(BodyError::Closed)),
            Err(errno) => Err(self.fail_with(errno)),
        }
    }

    /// The rest did not arrive in time.
    pub fn time_out(&mut self) -> BodyError {
        self.fail_with(Errno::ETIMEDOUT)
    }

    fn break_off(&mut self, bad: BadFrame) -> BodyError {
        self.bad = Some(bad);
        self.fail(BodyError::Io(bad.to_string()))
    }

    fn fail_with(&mut self, errno: Errno) -> BodyError {
        self.fail(BodyError::Io(errno.desc().to_owned()))
    }

    fn fail(&mut self, error: BodyError) -> BodyError {
        self.failed = Some(error.clone());
        error
    }
}
