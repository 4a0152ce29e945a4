//! A request body on its way to the host, in BODY frames.

use std::ffi::c_void;
use std::os::fd::OwnedFd;

use nginx_sys::{
    ngx_buf_t, ngx_chain_get_free_buf, ngx_chain_t, ngx_chain_update_chains, ngx_int_t, ngx_pool_t,
};
use ngx_wsgi_host::wire::{Header, Kind, Span, HEADER_LEN, LAST};

use super::{connection, links, Exchange};
use crate::ffi::{
    buf_size, chain_of, code, guard, in_memory, memory_buf, read_only, Chain, Request,
};

/// The longest BODY frame: far below the wire's limit, so that a file's parts stay divisible.
const PIECE: u64 = 1 << 29;

/// State of a body that is sent as it arrives.
#[derive(Default)]
pub struct FramedBody {
    request_sent: bool,
    free: Chain0,
    busy: Chain0,
}

/// A chain pointer that starts out null.
struct Chain0(*mut ngx_chain_t);

impl Default for Chain0 {
    fn default() -> Self {
        Chain0(std::ptr::null_mut())
    }
}

/// The temporary file that holds all of the request's body, if one does.
pub fn upload(r: Request) -> Option<(OwnedFd, Span)> {
    // SAFETY: null, or a body in the request's pool, whose links have their buffers; one that is not in
    // memory has its file.
    unsafe {
        let link = r.body().as_ref()?;
        let b = link.buf;
        if !link.next.is_null() || in_memory(b) || buf_size(b) == 0 {
            return None;
        }
        let span = Span { offset: u64::try_from((*b).file_pos).ok()?, len: buf_size(b) };
        Some((read_only((*b).file.as_ref()?.fd)?, span))
    }
}

/// Appends a body that has been read completely. `false` without memory.
pub fn append_frames(out: &mut Chain, pool: *mut ngx_pool_t, body: *mut ngx_chain_t) -> bool {
    // SAFETY: links of the request's body have their buffer.
    let mut rest = links(body).map(|link| unsafe { buf_size((*link).buf) }).sum::<u64>();
    if rest == 0 {
        return out.push_copy(&Header::new(Kind::Body, LAST, 0).encode());
    }
    links(body).all(|link| {
        // SAFETY: as above.
        let (b, size) = unsafe { ((*link).buf, buf_size((*link).buf)) };
        rest -= size;
        append_buf(out, pool, b, rest == 0)
    })
}

/// Appends a buffer in frames; with `last` no more of the body follows.
fn append_buf(out: &mut Chain, pool: *mut ngx_pool_t, b: *mut ngx_buf_t, last: bool) -> bool {
    // SAFETY: a valid buffer of the body.
    let total = unsafe { buf_size(b) };
    let mut done = 0;
    while done < total {
        let len = (total - done).min(PIECE);
        // SAFETY: done + len lies within the buffer; a copy of a buffer refers to the same bytes,
        // which live as long as the request.
        let piece = unsafe {
            let Some(piece) = memory_buf(pool, std::ptr::null(), 0) else { return false };
            *piece = *b;
            if in_memory(b) {
                (*piece).pos = (*b).pos.add(done as usize);
                (*piece).last = (*piece).pos.add(len as usize);
            } else {
                (*piece).file_pos = (*b).file_pos + done as i64;
                (*piece).file_last = (*piece).file_pos + len as i64;
            }
            (*piece).set_last_buf(0);
            (*piece).set_last_in_chain(0);
            piece
        };
        let flags = if last && done + len == total { LAST } else { 0 };
        let header = Header::new(Kind::Body, flags, len as u32).encode();
        if !out.push_copy(&header) || !out.push(piece) {
            return false;
        }
        done += len;
    }
    true
}

/// nginx's output filter for a body that is read while it is sent (`wsgi_request_buffering off`):
/// puts each part into a frame. Model: ngx_http_proxy_body_output_filter.
///
/// # Safety
///
/// Called by nginx with the request as `data`.
pub unsafe extern "C" fn output_filter(data: *mut c_void, input: *mut ngx_chain_t) -> ngx_int_t {
    guard("a request body", code::ERROR, || {
        // SAFETY: filter_ctx is the request.
        let r = unsafe { Request::new(data.cast()) };
        let Some(exchange) = Exchange::of(r) else { return code::ERROR };
        let Some(mut out) = framed(r, &mut exchange.body_out, input) else { return code::ERROR };
        let tag = tag();
        let state = &mut exchange.body_out;
        let rc = connection::write(r, out);
        // SAFETY: the chains are the request's.
        unsafe {
            ngx_chain_update_chains(r.pool(), &mut state.free.0, &mut state.busy.0, &mut out, tag);
        }
        rc
    })
}

fn tag() -> *mut c_void {
    output_filter as *mut c_void
}

/// The input with frame headers between. `None` without memory.
fn framed(r: Request, state: &mut FramedBody, input: *mut ngx_chain_t) -> Option<*mut ngx_chain_t> {
    // SAFETY: the request's pool outlives the chain.
    let mut out = unsafe { chain_of(r.pool()) };
    let mut last = false;
    for link in links(input) {
        // SAFETY: every link has its buffer.
        unsafe {
            let b = (*link).buf;
            if !state.request_sent {
                // The REQUEST frame itself comes first.
                state.request_sent = true;
                out.push(b).then_some(())?;
                continue;
            }
            last |= (*b).last_buf() != 0;
            (*b).set_last_buf(0);
            let size = buf_size(b);
            if size > 0 {
                out.push(header_buf(r, state, Header::new(Kind::Body, 0, size as u32))?)
                    .then_some(())?;
                out.push(b).then_some(())?;
            } else if (*b).flush() != 0 || (*b).sync() != 0 {
                out.push(b).then_some(())?;
            }
        }
    }
    if last {
        let end = header_buf(r, state, Header::new(Kind::Body, LAST, 0))?;
        // SAFETY: a buffer of ours.
        unsafe { (*end).set_last_buf(1) };
        out.push(end).then_some(())?;
    }
    Some(out.head())
}

/// A buffer with a frame header, taken from those that have been sent.
fn header_buf(r: Request, state: &mut FramedBody, header: Header) -> Option<*mut ngx_buf_t> {
    // SAFETY: free holds links whose buffers have been sent; a fresh buffer gets its memory here.
    unsafe {
        let link = ngx_chain_get_free_buf(r.pool(), &mut state.free.0);
        if link.is_null() {
            return None;
        }
        let b = (*link).buf;
        if (*b).start.is_null() {
            (*b).start = nginx_sys::ngx_palloc(r.pool(), HEADER_LEN).cast();
            if (*b).start.is_null() {
                return None;
            }
            (*b).end = (*b).start.add(HEADER_LEN);
        }
        let bytes = header.encode();
        std::ptr::copy_nonoverlapping(bytes.as_ptr(), (*b).start, HEADER_LEN);
        (*b).pos = (*b).start;
        (*b).last = (*b).end;
        (*b).tag = tag();
        (*b).set_temporary(1);
        (*b).set_memory(0);
        (*b).set_last_buf(0);
        Some(b)
    }
}
