//! Frame headers, kinds and limits.

use thiserror::Error;

use super::span::Unfit;

/// Bytes of a frame header.
pub const HEADER_LEN: usize = 8;

const FLAGS_AT: usize = 5;

/// Flag of a BODY frame: no more body follows.
pub const LAST: u8 = 1;

/// Flag of a REQUEST frame: the response may be left in the connection's mailbox.
pub const BY_MAIL: u8 = 1;

/// Longest text of one LOG frame, in bytes; below nginx's own limit of a log line (2048).
pub const LOG_MAX: usize = 1800;

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// nginx to host: target and environ of a request.
    Request = 1,
    /// nginx to host: a piece of the request body; with [`LAST`] its end.
    Body = 2,
    /// nginx to host: the body is a file, its descriptor is attached: `u64 offset, u64 length`.
    BodyFile = 3,
    /// nginx to host, before the first REQUEST: `u8 slot` in the memory whose descriptor is attached, see
    /// [`crate::mailbox`].
    Mailbox = 4,
    /// host to nginx: status and headers.
    Response = 16,
    /// host to nginx: a piece of the response body.
    Data = 17,
    /// host to nginx, before RESPONSE: the body is a file, its descriptor is attached:
    /// `u64 offset, u64 length`; with [`super::STATIC`] it is one on disk.
    File = 18,
    /// host to nginx in the same process: the whole response body is memory that it is lent:
    /// `u64 number`.
    Lent = 23,
    /// host to nginx: `u8 level` and text for the request's error log.
    Log = 19,
    /// host to nginx: the script has changed, this process is not the one to run it.
    Reject = 20,
    /// host to nginx: the exchange is complete; payload is one [`super::Outcome`] byte.
    End = 21,
    /// host to nginx, between exchanges: send no more requests here, close the connection.
    GoAway = 22,
}

/// A frame that breaks the protocol; the connection is to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BadFrame {
    /// The kind byte is none of [`Kind`].
    #[error("unknown frame kind {0}")]
    Kind(u8),
    /// The payload is longer than the kind allows.
    #[error("{0:?} frame of {1} bytes is over its limit")]
    Length(Kind, u32),
    /// A field does not fit into the payload.
    #[error("frame ends inside its field \"{0}\"")]
    Truncated(&'static str),
    /// A field has a value that is not allowed.
    #[error("frame field \"{0}\" is invalid")]
    Invalid(&'static str),
    /// A frame of this kind cannot stand here.
    #[error("unexpected {0:?} frame")]
    Unexpected(Kind),
    /// No descriptor has come with the frame. The receiver may have as many open as it is allowed.
    #[error("{0:?} frame without its descriptor")]
    NoDescriptor(Kind),
    /// A descriptor has come that no frame announces.
    #[error("a descriptor without its frame")]
    StrayDescriptor,
    /// The descriptor of the frame is none that may be used.
    #[error("the file of a {0:?} frame {1}")]
    File(Kind, Unfit),
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Kind::Request,
            2 => Kind::Body,
            3 => Kind::BodyFile,
            4 => Kind::Mailbox,
            16 => Kind::Response,
            17 => Kind::Data,
            18 => Kind::File,
            19 => Kind::Log,
            20 => Kind::Reject,
            21 => Kind::End,
            22 => Kind::GoAway,
            23 => Kind::Lent,
            _ => return None,
        })
    }
}

/// The longest payload of a frame of this kind, in bytes.
pub const fn limit(kind: Kind) -> u32 {
    match kind {
        Kind::Request => 16 << 20,
        Kind::Body | Kind::Data => 1 << 30,
        Kind::BodyFile | Kind::File => 16,
        Kind::Response => 1 << 20,
        Kind::Lent => 8,
        Kind::Log => LOG_MAX as u32 + 1,
        Kind::End | Kind::Mailbox => 1,
        Kind::Reject | Kind::GoAway => 0,
    }
}

/// A decoded frame header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Payload length in bytes.
    pub len: u32,
    /// What the payload is.
    pub kind: Kind,
    /// Kind-specific flags.
    pub flags: u8,
}

impl Header {
    /// Builds a header; the caller keeps `len` within [`limit`].
    pub const fn new(kind: Kind, flags: u8, len: u32) -> Self {
        Header { len, kind, flags }
    }

    /// The bytes on the wire.
    pub const fn encode(&self) -> [u8; HEADER_LEN] {
        let len = self.len.to_le_bytes();
        [len[0], len[1], len[2], len[3], self.kind as u8, self.flags, 0, 0]
    }

    /// Changes the flags of an encoded frame.
    pub fn set_flags(frame: &mut [u8], flags: u8) {
        frame[FLAGS_AT] = flags;
    }

    /// Reads a header.
    ///
    /// # Errors
    ///
    /// [`BadFrame`] when the kind is unknown, the length over the kind's limit, or a reserved byte
    /// set.
    pub fn decode(bytes: &[u8; HEADER_LEN]) -> Result<Self, BadFrame> {
        let len = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        let kind = Kind::from_byte(bytes[4]).ok_or(BadFrame::Kind(bytes[4]))?;
        if len > limit(kind) {
            return Err(BadFrame::Length(kind, len));
        }
        if bytes[6] != 0 || bytes[7] != 0 {
            return Err(BadFrame::Invalid("reserved"));
        }
        Ok(Header { len, kind, flags: bytes[FLAGS_AT] })
    }
}

/// Appends little-endian fields.
pub(super) fn put_u16(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_le_bytes());
}

/// Appends a `u32`-prefixed byte string.
pub(super) fn put_bytes(out: &mut Vec<u8>, value: &[u8]) {
    out.extend_from_slice(&(value.len() as u32).to_le_bytes());
    out.extend_from_slice(value);
}

/// Reads fields off a payload, naming the one that does not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fields<'a>(pub &'a [u8]);

impl<'a> Fields<'a> {
    pub fn take(&mut self, len: usize, name: &'static str) -> Result<&'a [u8], BadFrame> {
        if self.0.len() < len {
            return Err(BadFrame::Truncated(name));
        }
        let (head, tail) = self.0.split_at(len);
        self.0 = tail;
        Ok(head)
    }

    pub fn u8(&mut self, name: &'static str) -> Result<u8, BadFrame> {
        Ok(self.take(1, name)?[0])
    }

    pub fn u16(&mut self, name: &'static str) -> Result<u16, BadFrame> {
        let b = self.take(2, name)?;
        Ok(u16::from_le_bytes([b[0], b[1]]))
    }

    pub fn u32(&mut self, name: &'static str) -> Result<u32, BadFrame> {
        let b = self.take(4, name)?;
        Ok(u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
    }

    pub fn u64(&mut self, name: &'static str) -> Result<u64, BadFrame> {
        let mut b = [0; 8];
        b.copy_from_slice(self.take(8, name)?);
        Ok(u64::from_le_bytes(b))
    }

    pub fn bytes(&mut self, name: &'static str) -> Result<&'a [u8], BadFrame> {
        let len = self.u32(name)? as usize;
        self.take(len, name)
    }
}
