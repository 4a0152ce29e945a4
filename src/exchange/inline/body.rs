//! A request body that nginx has read, in memory or in its temporary file.

use std::collections::VecDeque;
use std::os::fd::{BorrowedFd, RawFd};

use ngx_wsgi_host::exchange::BodyError;
use nix::errno::Errno;
use nix::sys::uio::pread;

use crate::exchange::links;
use crate::ffi::{buf_size, in_memory, Request};

/// What has not been read of it. Used only as long as the request lives.
#[derive(Default)]
pub struct Body {
    parts: VecDeque<Part>,
    failed: Option<BodyError>,
}

enum Part {
    Memory { at: *const u8, len: usize },
    File { fd: RawFd, offset: i64, len: u64 },
}

impl Part {
    fn len(&self) -> u64 {
        match self {
            Part::Memory { len, .. } => *len as u64,
            Part::File { len, .. } => *len,
        }
    }
}

impl Body {
    /// All of a request's.
    pub fn of(r: Request) -> Self {
        let parts = links(r.body()).filter_map(|link| {
            // SAFETY: links of the request's body have their buffers, whose bytes or file nginx keeps, and
            // does not change, until the request ends.
            unsafe {
                let b = (*link).buf;
                let len = buf_size(b);
                if len == 0 {
                    None
                } else if in_memory(b) {
                    Some(Part::Memory { at: (*b).pos, len: len as usize })
                } else {
                    Some(Part::File { fd: (*(*b).file).fd, offset: (*b).file_pos, len })
                }
            }
        });
        Body { parts: parts.collect(), failed: None }
    }

    /// Bytes that have not been read.
    pub fn remaining(&self) -> u64 {
        self.parts.iter().map(Part::len).sum()
    }

    /// Reads into `buf`, at least a byte unless nothing is left (0). What is in a file may wait for the
    /// disk.
    pub fn read(&mut self, buf: &mut [u8]) -> Result<usize, BodyError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let Some(part) = self.parts.front_mut() else { return Ok(0) };
        let want = part.len().min(buf.len() as u64) as usize;
        if want == 0 {
            return Ok(0);
        }
        let got = match part {
            Part::Memory { at, len } => {
                // SAFETY: see `of`; the range lies within the buffer, and a Python object's memory, which
                // `buf` is, is no part of it.
                unsafe {
                    std::ptr::copy_nonoverlapping(*at, buf.as_mut_ptr(), want);
                    *at = at.add(want);
                }
                *len -= want;
                want
            }
            Part::File { fd, offset, len } => match read_file(*fd, &mut buf[..want], *offset) {
                Ok(got) => {
                    *offset += got as i64;
                    *len -= got as u64;
                    got
                }
                Err(error) => {
                    self.failed = Some(error.clone());
                    return Err(error);
                }
            },
        };
        if part.len() == 0 {
            self.parts.pop_front();
        }
        Ok(got)
    }
}

fn read_file(fd: RawFd, buf: &mut [u8], offset: i64) -> Result<usize, BodyError> {
    loop {
        // SAFETY: nginx's temporary file, which is open as long as the request lives.
        match pread(unsafe { BorrowedFd::borrow_raw(fd) }, buf, offset) {
            Ok(0) => {
                let cut = "the file with the request content is shorter than it was";
                return Err(BodyError::Io(cut.to_owned()));
            }
            Ok(got) => return Ok(got),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(BodyError::Io(errno.desc().to_owned())),
        }
    }
}
