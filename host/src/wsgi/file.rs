//! The short way of a response that is a regular file (mod_wsgi semantics d.7).

use std::os::fd::{BorrowedFd, OwnedFd, RawFd};

use nix::sys::stat::{fstat, SFlag};

use super::output::{Output, Sent};
use crate::python::object::{Kind, Object, Py, PyResult};
use crate::wire::Span;

/// Bytes read at a time.
const BLOCK: usize = 256 << 10;

/// A regular file, from where it is read.
pub struct Plain {
    fd: RawFd,
    offset: u64,
    end: u64,
    /// Keeps the descriptor open.
    _filelike: Object,
}

impl Plain {
    /// The file behind a file wrapper; `None` when it is none, or does not say where it stands.
    pub fn behind(py: Py, wrapper: &Object) -> PyResult<Option<Self>> {
        let filelike = wrapper.attr(c"filelike")?;
        let (Some(fd), Some(offset)) = (ask(py, &filelike, c"fileno"), ask(py, &filelike, c"tell"))
        else {
            return Ok(None);
        };
        let (Ok(fd), Ok(offset)) = (RawFd::try_from(fd), u64::try_from(offset)) else {
            return Ok(None);
        };
        if fd < 0 {
            return Ok(None);
        }
        // SAFETY: the application's object says that it has this descriptor open; a stale number
        // makes fstat fail or describe some other file, as it would for the application's own use.
        let Ok(found) = fstat(unsafe { BorrowedFd::borrow_raw(fd) }) else { return Ok(None) };
        let kind = SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT;
        if kind != SFlag::S_IFREG {
            return Ok(None);
        }
        let end = u64::try_from(found.st_size).unwrap_or(0);
        Ok(Some(Plain { fd, offset, end, _filelike: filelike }))
    }

    /// Sends the file from its position to its end, or as much as the application has announced.
    pub fn send(self, py: Py, output: &Output) -> PyResult<Sent> {
        let mut rest = self.end.saturating_sub(self.offset);
        let announced = output.length(py)?;
        match announced {
            Some(length) => rest = rest.min(length),
            None => output.announce(rest),
        }
        if announced.is_none_or(|length| length == rest) && output.takes_files() {
            let span = Span { offset: self.offset, len: rest };
            if let Some(fd) = self.for_nginx(span) {
                return output.send_file(py, fd, span);
            }
        }
        let mut sent = output.commit(py)?;
        let mut offset = self.offset;
        let mut block = vec![0; BLOCK.min(rest as usize)];
        while rest > 0 && sent == Sent::Yes {
            let want = block.len().min(rest as usize);
            let got = self.read(py, &mut block[..want], offset)?;
            if got == 0 {
                break;
            }
            sent = output.send(py, &block[..got], false)?;
            offset += got as u64;
            rest -= got as u64;
        }
        Ok(sent)
    }

    /// A descriptor of its own for nginx, which outlives the application's. `None` when nginx cannot
    /// send this file, or there are no descriptors left.
    fn for_nginx(&self, span: Span) -> Option<OwnedFd> {
        // SAFETY: as in behind; the object that owns the descriptor is held.
        let fd = unsafe { BorrowedFd::borrow_raw(self.fd) };
        let fit = span.len > 0 && span.check(fd).is_ok();
        fit.then(|| fd.try_clone_to_owned().ok()).flatten()
    }

    fn read(&self, py: Py, block: &mut [u8], offset: u64) -> PyResult<usize> {
        let fd = self.fd;
        let read = py.detach(|| loop {
            // SAFETY: as in behind; the object that owns the descriptor is held.
            let fd = unsafe { BorrowedFd::borrow_raw(fd) };
            match nix::sys::uio::pread(fd, block, offset as i64) {
                Err(nix::Error::EINTR) => {}
                read => return read,
            }
        });
        read.map_err(|errno| {
            py.raise(Kind::Os, &format!("mod_wsgi failed to read response file: {}", errno.desc()))
        })
    }
}

/// An integer that a method without arguments returns, if there is such a method and it does.
fn ask(py: Py, object: &Object, name: &std::ffi::CStr) -> Option<i64> {
    match object.call_method(name, &[]) {
        Ok(value) => value.as_int(),
        Err(raised) => {
            py.clear(raised);
            None
        }
    }
}
