//! FILE and BODY_FILE frames: bytes that stay in a file, whose descriptor is attached to the frame.

use std::os::fd::{AsFd, BorrowedFd};

use nix::fcntl::{fcntl, FcntlArg, OFlag};
use nix::sys::stat::{fstat, SFlag};
use nix::sys::statfs::{fstatfs, FsType, FUSE_SUPER_MAGIC, NFS_SUPER_MAGIC, SMB_SUPER_MAGIC};
use thiserror::Error;

use super::frame::{BadFrame, Fields, Header, Kind, HEADER_LEN};

/// Flag of a FILE frame: nginx may answer conditional requests and those for ranges itself.
pub const STATIC: u8 = 1;

/// Bytes of a whole FILE or BODY_FILE frame.
pub const SPAN_FRAME_LEN: usize = HEADER_LEN + SPAN_LEN;

const SPAN_LEN: usize = 16;

/// File systems besides those with names in nix whose reads wait for another machine: CIFS, SMB2,
/// Ceph, 9p.
const REMOTE: [FsType; 6] = [
    NFS_SUPER_MAGIC,
    SMB_SUPER_MAGIC,
    FsType(0xff53_4d42),
    FsType(0xfe53_4d42),
    FsType(0x00c3_6400),
    FsType(0x0102_1997),
];

/// A part of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Where it begins, in bytes.
    pub offset: u64,
    /// Its length in bytes.
    pub len: u64,
}

/// Why nginx does not send a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Unfit {
    /// It may block the event loop, or has no bytes of its own.
    #[error("is not a regular file")]
    NotRegular,
    /// It was opened for writing only, or with `O_PATH`.
    #[error("is not open for reading")]
    NotReadable,
    /// Whoever serves the file system decides when a read returns.
    #[error("is on a file system of another process or machine")]
    Remote,
    /// It ends before the span does.
    #[error("is shorter than it was")]
    Short,
    /// The system says nothing about it.
    #[error("cannot be examined")]
    Unknown,
}

impl Span {
    /// A whole frame: header and payload.
    pub fn encode(&self, kind: Kind, flags: u8) -> [u8; SPAN_FRAME_LEN] {
        let mut frame = [0; SPAN_FRAME_LEN];
        let header = Header::new(kind, flags, SPAN_LEN as u32).encode();
        frame[..HEADER_LEN].copy_from_slice(&header);
        frame[HEADER_LEN..HEADER_LEN + 8].copy_from_slice(&self.offset.to_le_bytes());
        frame[HEADER_LEN + 8..].copy_from_slice(&self.len.to_le_bytes());
        frame
    }

    /// Reads the payload of a FILE or BODY_FILE frame.
    ///
    /// # Errors
    ///
    /// [`BadFrame`] when it is cut short, empty, or ends where no file can.
    pub fn decode(payload: &[u8]) -> Result<Self, BadFrame> {
        let mut fields = Fields(payload);
        let span = Span { offset: fields.u64("offset")?, len: fields.u64("length")? };
        let end = span.offset.checked_add(span.len).and_then(|end| i64::try_from(end).ok());
        if span.len == 0 || end.is_none() || !fields.0.is_empty() {
            return Err(BadFrame::Invalid("length"));
        }
        Ok(span)
    }

    /// Whether nginx may send this part of a file, which the other side of the wire has opened and
    /// may not mean well with: reading it must neither wait nor fail.
    ///
    /// # Errors
    ///
    /// What speaks against it.
    pub fn check(&self, fd: BorrowedFd<'_>) -> Result<(), Unfit> {
        let found = fstat(fd).map_err(|_| Unfit::Unknown)?;
        if SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT != SFlag::S_IFREG {
            return Err(Unfit::NotRegular);
        }
        if u64::try_from(found.st_size).unwrap_or(0) < self.offset.saturating_add(self.len) {
            return Err(Unfit::Short);
        }
        let flags = fcntl(fd.as_fd(), FcntlArg::F_GETFL).map_err(|_| Unfit::Unknown)?;
        let flags = OFlag::from_bits_retain(flags);
        if flags.contains(OFlag::O_PATH) || flags & OFlag::O_ACCMODE == OFlag::O_WRONLY {
            return Err(Unfit::NotReadable);
        }
        let system = fstatfs(fd).map_err(|_| Unfit::Unknown)?.filesystem_type();
        if system == FUSE_SUPER_MAGIC || REMOTE.contains(&system) {
            return Err(Unfit::Remote);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{File, OpenOptions};
    use std::io::Write;
    use std::os::fd::OwnedFd;
    use std::os::unix::fs::OpenOptionsExt;
    use std::path::PathBuf;

    struct Temporary(PathBuf);

    impl Temporary {
        fn new(name: &str) -> Self {
            let name = format!("wsgi-span-{}-{name}", std::process::id());
            let path = std::env::temp_dir().join(name);
            File::create(&path).unwrap().write_all(b"0123456789").unwrap();
            Temporary(path)
        }
    }

    impl Drop for Temporary {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    fn check(fd: impl Into<OwnedFd>, offset: u64, len: u64) -> Result<(), Unfit> {
        Span { offset, len }.check(fd.into().as_fd())
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        let span = Span { offset: 7, len: u64::from(u32::MAX) + 1 };
        let frame = span.encode(Kind::File, STATIC);
        let header = Header::decode(frame.first_chunk().unwrap()).unwrap();
        assert_eq!((header.kind, header.flags, header.len), (Kind::File, STATIC, 16));
        assert_eq!(Span::decode(&frame[HEADER_LEN..]), Ok(span));
    }

    #[test]
    fn spans_of_no_file_are_refused() {
        let decoded = |offset: u64, len: u64| {
            let frame = Span { offset, len }.encode(Kind::File, 0);
            Span::decode(&frame[HEADER_LEN..])
        };
        assert!(decoded(0, 0).is_err());
        assert!(decoded(u64::MAX, 1).is_err());
        assert!(decoded(i64::MAX as u64, 1).is_err());
        assert!(decoded(i64::MAX as u64 - 1, 1).is_ok());
        assert!(Span::decode(&[0; 15]).is_err() && Span::decode(&[1; 17]).is_err());
    }

    #[test]
    fn only_files_that_can_be_read_at_once_are_sent() {
        let file = Temporary::new("plain");
        let open = || OpenOptions::new().read(true).open(&file.0).unwrap();
        assert_eq!(check(open(), 2, 8), Ok(()));
        assert_eq!(check(open(), 2, 9), Err(Unfit::Short));
        assert_eq!(check(open(), u64::MAX, 9), Err(Unfit::Short));
        let (reader, _writer) = nix::unistd::pipe().unwrap();
        assert_eq!(check(reader, 0, 1), Err(Unfit::NotRegular));
        for path in ["/dev/zero", "/"] {
            assert_eq!(check(File::open(path).unwrap(), 0, 1), Err(Unfit::NotRegular));
        }
        let write_only = OpenOptions::new().write(true).open(&file.0).unwrap();
        assert_eq!(check(write_only, 0, 1), Err(Unfit::NotReadable));
        let flags = OFlag::O_PATH.bits();
        let name_only = OpenOptions::new().read(true).custom_flags(flags).open(&file.0).unwrap();
        assert_eq!(check(name_only, 0, 1), Err(Unfit::NotReadable));
    }
}
