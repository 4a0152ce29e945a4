//! The request body: BODY frames off the connection, or a file that nginx has put it into.

use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::uio::pread;

use super::socket::{Received, Socket};
use crate::exchange::BodyError;
use crate::wire::{BadFrame, Header, Kind, Span, HEADER_LEN, LAST, SPAN_FRAME_LEN};

/// The read half of a connection during one exchange.
///
/// It never reads past the frame it is in, so that what follows the body is left for whoever reads
/// the next request.
pub struct Body {
    /// What came with the REQUEST frame and has not been used up.
    pending: Vec<u8>,
    used: usize,
    /// What is read of a frame before its bytes: the header, or the whole BODY_FILE frame.
    header: [u8; SPAN_FRAME_LEN],
    header_len: usize,
    /// The descriptor that has come with the REQUEST frame.
    descriptor: Option<OwnedFd>,
    /// Where the current frame's bytes are, if not on the connection.
    file: Option<File>,
    /// Bytes of the current frame still to come.
    left: usize,
    /// No frame follows the current one.
    last: bool,
    failed: Option<BodyError>,
    bad: Option<BadFrame>,
}

/// A file, and where the next byte is in it.
struct File {
    fd: OwnedFd,
    offset: u64,
}

impl Body {
    pub fn new() -> Self {
        Body {
            pending: Vec::new(),
            used: 0,
            header: [0; SPAN_FRAME_LEN],
            header_len: 0,
            descriptor: None,
            file: None,
            left: 0,
            last: true,
            failed: None,
            bad: None,
        }
    }

    /// Starts the body of a new exchange with what was read behind its REQUEST frame.
    pub fn begin(&mut self, expected: bool, pending: &[u8], descriptor: Option<OwnedFd>) {
        self.pending.clear();
        self.pending.extend_from_slice(pending);
        self.used = 0;
        self.header_len = 0;
        self.descriptor = descriptor;
        self.file = None;
        self.left = 0;
        self.last = !expected;
        self.failed = None;
        self.bad = None;
    }

    /// Whether the body is at its end.
    pub fn is_complete(&self) -> bool {
        self.last && self.left == 0 && self.failed.is_none()
    }

    /// Whether some of it has not arrived, or may not have.
    pub fn is_to_come(&mut self, socket: &Socket) -> bool {
        if self.is_complete() {
            return false;
        }
        let rest = self.remaining(socket);
        let here = self.pending.len() - self.used;
        rest.is_none_or(|rest| self.file.is_none() && rest > here as u64)
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

    /// Reads body bytes without waiting for nginx: `None` when nothing is there yet, 0 at the end.
    pub fn read(&mut self, socket: &Socket, buf: &mut [u8]) -> Result<Option<usize>, BodyError> {
        self.read_with(socket, buf, File::read)
    }

    /// The same without waiting for a disk either.
    pub fn read_now(
        &mut self,
        socket: &Socket,
        buf: &mut [u8],
    ) -> Result<Option<usize>, BodyError> {
        self.read_with(socket, buf, File::read_now)
    }

    /// Bytes up to the end of the body, as soon as its last frame has begun.
    pub fn remaining(&mut self, socket: &Socket) -> Option<u64> {
        let begins = self.left == 0 && !self.last && self.failed.is_none();
        if begins && self.pending.len() - self.used >= HEADER_LEN {
            // A frame that is none is for the next read to tell.
            let _ = self.next_frame(socket);
        }
        let known = self.last && self.failed.is_none();
        known.then_some(self.left as u64)
    }

    /// Lets a body in a file have been read: nothing of it is on the connection.
    pub fn forget_file(&mut self) {
        if self.file.take().is_some() {
            self.left = 0;
        }
    }

    fn read_with(
        &mut self,
        socket: &Socket,
        buf: &mut [u8],
        read_file: impl FnOnce(&mut File, &mut [u8]) -> Result<Option<usize>, Errno>,
    ) -> Result<Option<usize>, BodyError> {
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
        let buf = &mut buf[..want];
        let got = match &mut self.file {
            Some(file) => match read_file(file, buf) {
                Ok(Some(0)) => {
                    let cut = "the file with the request content is shorter than it was";
                    return Err(self.fail(BodyError::Io(cut.to_owned())));
                }
                Ok(got) => got,
                Err(errno) => return Err(self.fail_with(errno)),
            },
            None => self.take_piece(socket, buf)?,
        };
        self.left -= got.unwrap_or(0);
        Ok(got)
    }

    /// Reads on to the next frame's bytes; `false` when its header is not there yet.
    fn next_frame(&mut self, socket: &Socket) -> Result<bool, BodyError> {
        if !self.gather(socket, HEADER_LEN)? {
            return Ok(false);
        }
        let header = self.header.first_chunk().map(Header::decode);
        let header = match header.unwrap_or(Err(BadFrame::Truncated("header"))) {
            Ok(header) => header,
            Err(bad) => return Err(self.break_off(bad)),
        };
        match header.kind {
            Kind::Body => {
                self.left = header.len as usize;
                self.last = header.flags & LAST != 0;
            }
            Kind::BodyFile if HEADER_LEN + header.len as usize != SPAN_FRAME_LEN => {
                return Err(self.break_off(BadFrame::Invalid("length")));
            }
            Kind::BodyFile if !self.gather(socket, SPAN_FRAME_LEN)? => return Ok(false),
            Kind::BodyFile => {
                self.open_file(header).map_err(|bad| self.break_off(bad))?;
            }
            kind => return Err(self.break_off(BadFrame::Unexpected(kind))),
        }
        self.header_len = 0;
        Ok(true)
    }

    /// Reads the beginning of a frame, up to so many bytes; `false` when they are not all there yet.
    fn gather(&mut self, socket: &Socket, len: usize) -> Result<bool, BodyError> {
        while self.header_len < len {
            let mut bytes = [0; SPAN_FRAME_LEN];
            let missing = len - self.header_len;
            let Some(got) = self.take(socket, &mut bytes[..missing])? else { return Ok(false) };
            self.header[self.header_len..self.header_len + got].copy_from_slice(&bytes[..got]);
            self.header_len += got;
        }
        Ok(true)
    }

    /// The whole body is in the file of a BODY_FILE frame.
    fn open_file(&mut self, header: Header) -> Result<(), BadFrame> {
        let span = Span::decode(&self.header[HEADER_LEN..])?;
        let fd = self.descriptor.take().ok_or(BadFrame::NoDescriptor(header.kind))?;
        self.left = usize::try_from(span.len).map_err(|_| BadFrame::Invalid("length"))?;
        self.last = true;
        self.file = Some(File { fd, offset: span.offset });
        Ok(())
    }

    /// Takes bytes of the current frame, and the next frame's header along with the last of them.
    fn take_piece(&mut self, socket: &Socket, buf: &mut [u8]) -> Result<Option<usize>, BodyError> {
        let ends = buf.len() == self.left && !self.last && self.used == self.pending.len();
        if !ends {
            return self.take(socket, buf);
        }
        let header = &mut self.header[..HEADER_LEN];
        let want = buf.len();
        let received = socket.receive_parts(buf, header);
        let Some(got) = self.received(received)? else { return Ok(None) };
        self.header_len = got.saturating_sub(want);
        Ok(Some(got.min(want)))
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
        let received = socket.receive(buf);
        self.received(received)
    }

    fn received(&mut self, received: Result<Received, Errno>) -> Result<Option<usize>, BodyError> {
        match received {
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

impl File {
    /// Reads what comes next; may wait for a disk.
    fn read(&mut self, buf: &mut [u8]) -> Result<Option<usize>, Errno> {
        loop {
            match pread(&self.fd, buf, self.offset as i64) {
                Ok(got) => return Ok(self.advance(got)),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno),
            }
        }
    }

    /// Reads what is in memory; `None` when nothing is, or the file system cannot tell.
    fn read_now(&mut self, buf: &mut [u8]) -> Result<Option<usize>, Errno> {
        let part = libc::iovec { iov_base: buf.as_mut_ptr().cast(), iov_len: buf.len() };
        let (fd, at) = (self.fd.as_raw_fd(), self.offset as i64);
        // SAFETY: an open descriptor, and one buffer of that length.
        match unsafe { libc::preadv2(fd, &part, 1, at, libc::RWF_NOWAIT) } {
            // Also for a reason that read() meets again, and reports.
            -1 => Ok(None),
            got => Ok(self.advance(got as usize)),
        }
    }

    fn advance(&mut self, got: usize) -> Option<usize> {
        self.offset += got as u64;
        Some(got)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ConnectionConfig;
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    fn read_all(body: &mut Body, socket: &Socket, size: usize, found: &mut Vec<u8>) -> bool {
        let mut buf = vec![0; size];
        while let Some(got) = body.read(socket, &mut buf).unwrap() {
            if got == 0 {
                return true;
            }
            found.extend_from_slice(&buf[..got]);
        }
        false
    }

    #[test]
    fn frames_come_in_any_pieces_and_what_follows_stays() {
        let mut stream = Vec::new();
        for (flags, text) in [(0, &b"one"[..]), (0, b""), (0, b"two, three"), (LAST, b"four")] {
            stream.extend(Header::new(Kind::Body, flags, text.len() as u32).encode());
            stream.extend(text);
        }
        for piece in [1, 2, 7, 11, 12, stream.len()] {
            for early in [0, 3, 8, 11, 13, 19] {
                for size in [1, 3, 4, 100] {
                    let (ours, mut theirs) = UnixStream::pair().unwrap();
                    let socket = Socket::new(ours.into(), &ConnectionConfig::default());
                    let mut body = Body::new();
                    body.begin(true, &stream[..early], None);
                    let (mut found, mut whole) = (Vec::new(), false);
                    for part in stream[early..].chunks(piece) {
                        assert!(!whole && body.is_to_come(&socket));
                        theirs.write_all(part).unwrap();
                        whole = read_all(&mut body, &socket, size, &mut found);
                    }
                    assert!(whole && !body.is_to_come(&socket), "{piece} {early} {size}");
                    assert_eq!(found, b"onetwo, threefour");
                    theirs.write_all(b"next").unwrap();
                    assert!(read_all(&mut body, &socket, size, &mut found));
                    assert_eq!(socket.receive(&mut [0; 9]), Ok(Received::Bytes(4)));
                }
            }
        }
    }

    #[test]
    fn nothing_is_to_come_of_a_body_that_is_here() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let socket = Socket::new(ours.into(), &ConnectionConfig::default());
        let frame = [&Header::new(Kind::Body, LAST, 4).encode()[..], b"body"].concat();
        let mut body = Body::new();
        body.begin(true, &frame, None);
        assert!(!body.is_to_come(&socket));
        body.begin(true, &frame[..frame.len() - 1], None);
        assert!(body.is_to_come(&socket));
        body.begin(false, b"", None);
        assert!(!body.is_to_come(&socket));
    }
}
