//! Buffers and chains.

use std::os::fd::RawFd;

use nginx_sys::{
    ngx_alloc_chain_link, ngx_buf_t, ngx_chain_t, ngx_file_t, ngx_pcalloc, ngx_pool_t, off_t,
};

use super::Request;

/// A chain under construction, in a pool.
pub struct Chain {
    pool: *mut ngx_pool_t,
    head: *mut ngx_chain_t,
    tail: *mut *mut ngx_chain_t,
}

/// A read-only buffer over memory of the pool. `None` without memory.
///
/// # Safety
///
/// `pool` is live; `start..start + len` is readable as long as the buffer is used.
pub unsafe fn memory_buf(
    pool: *mut ngx_pool_t,
    start: *const u8,
    len: usize,
) -> Option<*mut ngx_buf_t> {
    // SAFETY: a live pool; zeroed memory is nginx's initial state of a buffer.
    let b: *mut ngx_buf_t = unsafe { ngx_pcalloc(pool, size_of::<ngx_buf_t>()) }.cast();
    if b.is_null() {
        return None;
    }
    // SAFETY: b is a fresh buffer; the range is the caller's.
    unsafe {
        (*b).start = start.cast_mut();
        (*b).pos = (*b).start;
        (*b).last = (*b).start.add(len);
        (*b).end = (*b).last;
        (*b).set_memory(1);
    }
    Some(b)
}

/// A buffer over a part of a file, which nginx calls by `name` when something is wrong with it. `None`
/// without memory.
///
/// # Safety
///
/// The descriptor is open as long as the buffer is used.
pub unsafe fn file_buf(
    r: Request,
    fd: RawFd,
    name: &str,
    start: off_t,
    len: off_t,
) -> Option<*mut ngx_buf_t> {
    // SAFETY: a live pool; zeroed memory is nginx's initial state of both. nginx uses the name as a C
    // string, too.
    unsafe {
        let b = ngx_pcalloc(r.pool(), size_of::<ngx_buf_t>()).cast::<ngx_buf_t>().as_mut()?;
        let file = ngx_pcalloc(r.pool(), size_of::<ngx_file_t>()).cast::<ngx_file_t>().as_mut()?;
        file.name = super::pool_copy(r.pool(), format!("{name}\0").as_bytes())?;
        file.name.len -= 1;
        file.fd = fd;
        file.log = r.log();
        b.file = file;
        b.file_pos = start;
        b.file_last = start + len;
        b.set_in_file(1);
        Some(b)
    }
}

/// An empty chain in a pool.
///
/// # Safety
///
/// `pool` outlives the chain. The chain must not be moved once something was pushed: use it in
/// place.
pub unsafe fn chain_of(pool: *mut ngx_pool_t) -> Chain {
    Chain { pool, head: std::ptr::null_mut(), tail: std::ptr::null_mut() }
}

impl Chain {
    /// Appends a buffer. `false` without memory.
    pub fn push(&mut self, b: *mut ngx_buf_t) -> bool {
        // SAFETY: the pool is live, see chain_of.
        let link = unsafe { ngx_alloc_chain_link(self.pool) };
        if link.is_null() {
            return false;
        }
        // SAFETY: link is fresh; tail is null or the next field of the last link.
        unsafe {
            (*link).buf = b;
            (*link).next = std::ptr::null_mut();
            if self.tail.is_null() {
                self.head = link;
            } else {
                *self.tail = link;
            }
            self.tail = std::ptr::addr_of_mut!((*link).next);
        }
        true
    }

    /// Appends a copy of `data`. `false` without memory.
    pub fn push_copy(&mut self, data: &[u8]) -> bool {
        // SAFETY: the pool is live, and so is the copy in it.
        let buf = unsafe {
            super::pool_copy(self.pool, data).and_then(|s| memory_buf(self.pool, s.data, s.len))
        };
        buf.is_some_and(|b| self.push(b))
    }

    /// The first link.
    pub fn head(&self) -> *mut ngx_chain_t {
        self.head
    }
}

/// Bytes that a buffer holds, in memory or in its file (nginx's `ngx_buf_size`).
///
/// # Safety
///
/// `b` is a valid buffer.
pub unsafe fn size(b: *const ngx_buf_t) -> u64 {
    // SAFETY: as the caller guarantees; pos and last lie in one allocation.
    unsafe {
        if in_memory(b) {
            (*b).last.offset_from((*b).pos).max(0) as u64
        } else {
            let len: off_t = (*b).file_last - (*b).file_pos;
            len.max(0) as u64
        }
    }
}

/// What a buffer in memory holds.
///
/// # Safety
///
/// `b` is a valid buffer in memory, and its bytes between pos and last stay as they are as long as the
/// result is used.
pub unsafe fn contents<'a>(b: *const ngx_buf_t) -> &'a [u8] {
    // SAFETY: as the caller guarantees.
    unsafe { std::slice::from_raw_parts((*b).pos, (*b).last.offset_from((*b).pos).max(0) as usize) }
}

/// nginx's `ngx_buf_in_memory`.
///
/// # Safety
///
/// `b` is a valid buffer.
pub unsafe fn in_memory(b: *const ngx_buf_t) -> bool {
    // SAFETY: as the caller guarantees.
    unsafe { (*b).temporary() != 0 || (*b).memory() != 0 || (*b).mmap() != 0 }
}
