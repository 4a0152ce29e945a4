//! Blocks of a response on their way through nginx's filters.

use std::os::fd::AsRawFd;
use std::ptr::{addr_of_mut, null_mut};

use nginx_sys::{
    ngx_buf_t, ngx_chain_get_free_buf, ngx_chain_t, ngx_chain_update_chains,
    ngx_http_output_filter, ngx_http_send_special, ngx_int_t, ngx_palloc, NGX_HTTP_FLUSH,
    NGX_HTTP_LAST,
};

use super::spool::Spool;
use crate::exchange::links;
use crate::ffi::{chain_of, code, file_buf, memory_buf, Chain, Request};

/// A block up to this size is copied into the request's pool.
const SMALL: usize = 4 << 10;

/// nginx's buffers for blocks that leave while the application runs.
pub struct Stream {
    size: usize,
    count: usize,
    free: *mut ngx_chain_t,
    busy: *mut ngx_chain_t,
    /// The client has not taken all.
    stuck: bool,
}

/// Nobody receives the response any more, or nginx has no memory for it.
pub struct Lost;

impl Stream {
    /// With so many buffers of that size (`wsgi_buffers`).
    pub fn new(count: usize, size: usize) -> Self {
        Stream { size, count, free: null_mut(), busy: null_mut(), stuck: false }
    }

    /// Sends as much of a block as the client takes, and says how much that is.
    pub fn pass(&mut self, r: Request, block: &[u8]) -> Result<usize, Lost> {
        let mut done = 0;
        while done < block.len() && !self.stuck {
            let mut out = null_mut();
            done += self.fill(r, &block[done..], &mut out).ok_or(Lost)?;
            // SAFETY: a live request whose header has been sent; a chain of its pool.
            let rc = unsafe { ngx_http_output_filter(r.as_ptr(), out) };
            let tag = tag();
            // SAFETY: the chains are the request's; nginx gives back what it has sent of them.
            unsafe {
                let (free, busy) = (addr_of_mut!(self.free), addr_of_mut!(self.busy));
                ngx_chain_update_chains(r.pool(), free, busy, &mut out, tag);
            }
            if rc == code::ERROR {
                return Err(Lost);
            }
            self.stuck = rc == code::AGAIN || !self.busy.is_null();
        }
        Ok(done)
    }

    /// Copies the beginning of a block into buffers; how much of it. `None` without memory.
    fn fill(&mut self, r: Request, block: &[u8], out: &mut *mut ngx_chain_t) -> Option<usize> {
        let (mut done, mut tail) = (0, std::ptr::from_mut(out));
        for piece in block.chunks(self.size).take(self.count) {
            // SAFETY: free holds links whose buffers have been sent; tail is where the chain ends.
            unsafe {
                let link = ngx_chain_get_free_buf(r.pool(), &mut self.free).as_mut()?;
                copy(r, link.buf, piece, self.size)?;
                done += piece.len();
                (*link.buf).set_flush(u32::from(done == block.len()));
                link.next = null_mut();
                *tail = link;
                tail = addr_of_mut!(link.next);
            }
        }
        Some(done)
    }
}

/// Puts a piece into a buffer that is free, or new.
///
/// # Safety
///
/// A buffer of ours; `piece` is not longer than `size`, which is the same for all of them.
unsafe fn copy(r: Request, b: *mut ngx_buf_t, piece: &[u8], size: usize) -> Option<()> {
    // SAFETY: as the caller guarantees; the memory is the request's.
    unsafe {
        if (*b).start.is_null() {
            (*b).start = ngx_palloc(r.pool(), size).cast();
            if (*b).start.is_null() {
                return None;
            }
            (*b).end = (*b).start.add(size);
        }
        std::ptr::copy_nonoverlapping(piece.as_ptr(), (*b).start, piece.len());
        (*b).pos = (*b).start;
        (*b).last = (*b).start.add(piece.len());
        (*b).tag = tag();
        (*b).set_temporary(1);
    }
    Some(())
}

fn tag() -> *mut std::ffi::c_void {
    std::ptr::from_ref(crate::module()).cast_mut().cast()
}

/// Sends what waits, and with `last` the end of the response. Returns what the request is finalized
/// with.
pub fn send_rest(r: Request, spool: Spool, last: bool) -> ngx_int_t {
    // SAFETY: the request's pool outlives the chain.
    let mut out = unsafe { chain_of(r.pool()) };
    match append(r, spool, &mut out) {
        Some(()) => send(r, out.head(), last),
        None => code::ERROR,
    }
}

/// Sends the last part of a response, which may be empty. With `last` unset its end stays open, and the
/// connection is closed.
pub fn send(r: Request, out: *mut ngx_chain_t, last: bool) -> ngx_int_t {
    let tail = links(out).last();
    // SAFETY: a live request whose header has been sent; buffers of its pool that nobody has seen.
    unsafe {
        if let Some(tail) = tail {
            let b = (*tail).buf;
            (*b).set_last_buf(u32::from(last && r.is_main()));
            (*b).set_last_in_chain(u32::from(last));
            let rc = ngx_http_output_filter(r.as_ptr(), out);
            if last || rc == code::ERROR {
                return rc;
            }
        }
        if last {
            return ngx_http_send_special(r.as_ptr(), NGX_HTTP_LAST as usize);
        }
        r.forbid_keepalive();
        ngx_http_send_special(r.as_ptr(), NGX_HTTP_FLUSH as usize)
    }
}

fn append(r: Request, spool: Spool, out: &mut Chain) -> Option<()> {
    let (memory, file) = spool.into_parts();
    if !memory.is_empty() && memory.len() <= SMALL {
        out.push_copy(&memory).then_some(())?;
    } else if !memory.is_empty() {
        let memory = r.keep(memory)?;
        // SAFETY: what is kept lives as long as the request's pool, and nobody changes it.
        let buf = unsafe {
            let memory = memory.as_ref();
            memory_buf(r.pool(), memory.as_ptr(), memory.len())?
        };
        out.push(buf).then_some(())?;
    }
    if let Some((file, len)) = file {
        let file = r.keep(file)?;
        // SAFETY: as above; the file is open as long as it is kept.
        let buf = unsafe {
            let fd = file.as_ref().as_raw_fd();
            file_buf(r, fd, "temporary file of a response", 0, i64::try_from(len).ok()?)?
        };
        out.push(buf).then_some(())?;
    }
    Some(())
}
