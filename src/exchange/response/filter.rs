//! The body of a host's answer, on both of nginx's ways: through its event pipe (buffered), or at
//! once.

use std::ffi::c_void;

use nginx_sys::{
    ngx_buf_t, ngx_chain_get_free_buf, ngx_chain_t, ngx_event_pipe_add_free_buf, ngx_event_pipe_t,
    ngx_int_t,
};

use ngx_wsgi_host::python::Lent;

use super::{bad_frame, file, keep_alive, Step};
use crate::exchange::{links, Exchange};
use crate::ffi::{chain_of, code, contents, guard, memory_buf, Request};

/// nginx's `input_filter_init`, for both ways of passing the body on.
///
/// # Safety
///
/// Called by nginx with the request as `data`.
pub unsafe extern "C" fn filter_init(data: *mut c_void) -> ngx_int_t {
    guard("a response body", code::ERROR, || {
        // SAFETY: as documented.
        let r = unsafe { Request::new(data.cast()) };
        let Some(exchange) = Exchange::of(r) else { return code::ERROR };
        forgive_unread_body(r);
        file::begin(r, exchange);
        // SAFETY: a live upstream with its pipe.
        unsafe {
            let u = &mut *r.upstream();
            exchange.rest = u64::try_from(u.headers_in.content_length_n).ok();
            // The filters want to see every byte, and the end is theirs to declare: whatever ends
            // earlier is an error.
            (*u.pipe).length = 1;
            u.length = 1;
        }
        code::OK
    })
}

/// An application that answers need not read its input: that the rest of the request body cannot be
/// sent ends nothing while the response comes in.
fn forgive_unread_body(r: Request) {
    // SAFETY: the upstream of a live request, with its connection unless that was closed.
    unsafe {
        if let Some(c) = (*r.upstream()).peer.connection.as_ref() {
            if (*c.write).timer_set() != 0 {
                nginx_sys::ngx_del_timer(c.write);
            }
        }
    }
}

/// nginx's input filter of a buffered response: makes shadow buffers of the body's parts. Model:
/// ngx_http_fastcgi_input_filter.
///
/// # Safety
///
/// Called by nginx with a pipe whose context is the request.
pub unsafe extern "C" fn pipe_filter(p: *mut ngx_event_pipe_t, raw: *mut ngx_buf_t) -> ngx_int_t {
    guard("a response body", code::ERROR, || {
        // SAFETY: as documented.
        let (r, input) = unsafe { (Request::new((*p).input_ctx.cast()), contents(raw)) };
        let Some(exchange) = Exchange::of(r) else { return code::ERROR };
        if input.is_empty() {
            return code::OK;
        }
        forgive_unread_body(r);
        if exchange.outcome.is_some() {
            // SAFETY: as documented.
            unsafe { (*r.upstream()).set_keepalive(0) };
            return code::OK;
        }
        match pipe_input(r, exchange, p, raw, input) {
            Some(last) => release_raw(p, raw, last),
            None => code::ERROR,
        }
    })
}

/// Reads all of a raw buffer. Returns the last shadow of it, null when it holds no body; `None`
/// without memory.
fn pipe_input(
    r: Request,
    exchange: &mut Exchange,
    p: *mut ngx_event_pipe_t,
    raw: *mut ngx_buf_t,
    input: &[u8],
) -> Option<*mut ngx_buf_t> {
    let mut last: *mut ngx_buf_t = std::ptr::null_mut();
    let mut at = 0;
    loop {
        match exchange.step(input, &mut at, r.log()) {
            Ok(Step::Data(range)) => {
                let len = exchange.admit(range.len());
                if len > 0 {
                    last = shadow(p, raw, last, range.start, len)?;
                }
            }
            Ok(Step::Lent(block)) => {
                let len = exchange.admit(block.bytes().len());
                // SAFETY: the pipe of a live upstream.
                unsafe { (*p).read_length += len as i64 };
                let link = lent_link(r, block, len)?;
                if !link.is_null() {
                    append(p, link);
                }
            }
            Ok(Step::Starved) => {
                if !last.is_null() {
                    // Nothing more is at hand: what there is must not wait for it.
                    // SAFETY: a shadow made above.
                    unsafe { (*last).set_flush(1) };
                }
                break;
            }
            Ok(Step::End(outcome)) => {
                let clean = at == input.len() && !exchange.going_away;
                end_pipe(r, p, exchange.is_whole(outcome), clean);
                break;
            }
            Ok(Step::Head) => {}
            Err(error) => {
                bad_frame(r.log(), error);
                // SAFETY: the pipe of a live upstream.
                unsafe { (*p).set_upstream_error(1) };
                break;
            }
        }
    }
    Some(last)
}

fn end_pipe(r: Request, p: *mut ngx_event_pipe_t, whole: bool, clean: bool) {
    // SAFETY: the pipe of a live upstream.
    unsafe {
        if whole {
            (*p).set_upstream_done(1);
        } else {
            (*p).set_upstream_error(1);
        }
    }
    if clean {
        keep_alive(r);
    }
}

/// A buffer over a part of `raw`, appended to what the pipe has to send.
fn shadow(
    p: *mut ngx_event_pipe_t,
    raw: *mut ngx_buf_t,
    previous: *mut ngx_buf_t,
    start: usize,
    len: usize,
) -> Option<*mut ngx_buf_t> {
    // SAFETY: p and raw are nginx's, start + len lies within raw; the links of shadows are as
    // ngx_event_pipe expects them: raw leads to the first, each to the next.
    unsafe {
        let link = ngx_chain_get_free_buf((*p).pool, &mut (*p).free);
        if link.is_null() {
            return None;
        }
        let b = (*link).buf;
        *b = std::mem::zeroed();
        (*b).pos = (*raw).pos.add(start);
        (*b).last = (*b).pos.add(len);
        (*b).start = (*raw).start;
        (*b).end = (*raw).end;
        (*b).tag = (*p).tag;
        (*b).num = (*raw).num;
        (*b).set_temporary(1);
        (*b).set_recycled(1);
        if previous.is_null() {
            (*raw).shadow = b;
        } else {
            (*previous).shadow = b;
        }
        append(p, link);
        Some(b)
    }
}

/// Appends to what the pipe has to send.
fn append(p: *mut ngx_event_pipe_t, link: *mut ngx_chain_t) {
    // SAFETY: the pipe of a live upstream, and a link that nobody else has.
    unsafe {
        if (*p).in_.is_null() {
            (*p).in_ = link;
        } else {
            *(*p).last_in = link;
        }
        (*p).last_in = std::ptr::addr_of_mut!((*link).next);
    }
}

/// A link over the beginning of a block, which is given back with the request's pool; null for none of
/// it, `None` without memory. It has no tag of nginx's, so that nobody uses the buffer again.
fn lent_link(r: Request, block: Lent, len: usize) -> Option<*mut ngx_chain_t> {
    if len == 0 {
        return Some(std::ptr::null_mut());
    }
    let block = r.keep(block)?;
    // SAFETY: what is kept lives as long as the pool of the request, and so does the chain.
    unsafe {
        let buf = memory_buf(r.pool(), block.as_ref().bytes().as_ptr(), len)?;
        (*buf).set_flush(1);
        let mut out = chain_of(r.pool());
        out.push(buf).then_some(out.head())
    }
}

/// The last shadow gives the raw buffer back when it has been sent; without one it is free now.
fn release_raw(p: *mut ngx_event_pipe_t, raw: *mut ngx_buf_t, last: *mut ngx_buf_t) -> ngx_int_t {
    // SAFETY: as in shadow.
    unsafe {
        if last.is_null() {
            return ngx_event_pipe_add_free_buf(p, raw);
        }
        (*last).shadow = raw;
        (*last).set_last_shadow(1);
    }
    code::OK
}

/// nginx's input filter of an unbuffered response. Model: ngx_http_fastcgi_non_buffered_filter.
///
/// # Safety
///
/// Called by nginx with the request as `data`; `bytes` were received at the buffer's last.
pub unsafe extern "C" fn direct_filter(data: *mut c_void, bytes: isize) -> ngx_int_t {
    guard("a response body", code::ERROR, || {
        // SAFETY: as documented.
        let (r, buffer, input) = unsafe {
            let r = Request::new(data.cast());
            let buffer = std::ptr::addr_of_mut!((*r.upstream()).buffer);
            (*buffer).pos = (*buffer).last;
            (*buffer).last = (*buffer).last.offset(bytes);
            (r, buffer, contents(buffer))
        };
        forgive_unread_body(r);
        match Exchange::of(r).and_then(|exchange| direct_input(r, exchange, buffer, input)) {
            Some(()) => code::OK,
            None => code::ERROR,
        }
    })
}

fn direct_input(
    r: Request,
    exchange: &mut Exchange,
    buffer: *mut ngx_buf_t,
    input: &[u8],
) -> Option<()> {
    if exchange.file.is_some() {
        return file::pass(r, exchange);
    }
    // SAFETY: the upstream of a live request.
    let u = unsafe { &mut *r.upstream() };
    let mut tail: *mut *mut ngx_chain_t = &mut u.out_bufs;
    for link in links(u.out_bufs) {
        // SAFETY: a link of the upstream's chain.
        tail = unsafe { std::ptr::addr_of_mut!((*link).next) };
    }
    let mut at = 0;
    loop {
        match exchange.step(input, &mut at, r.log()) {
            Ok(Step::Data(range)) => {
                let len = exchange.admit(range.len());
                if len == 0 {
                    continue;
                }
                // SAFETY: the range lies within the buffer, which is not read into before these
                // bytes have been sent; tail is the end of out_bufs.
                unsafe {
                    let link = ngx_chain_get_free_buf(r.pool(), &mut u.free_bufs);
                    if link.is_null() {
                        return None;
                    }
                    *tail = link;
                    tail = std::ptr::addr_of_mut!((*link).next);
                    let b = (*link).buf;
                    (*b).pos = (*buffer).pos.add(range.start);
                    (*b).last = (*b).pos.add(len);
                    (*b).tag = u.output.tag;
                    (*b).set_flush(1);
                    (*b).set_memory(1);
                }
            }
            Ok(Step::Lent(block)) => {
                let len = exchange.admit(block.bytes().len());
                let link = lent_link(r, block, len)?;
                // SAFETY: tail is the end of out_bufs; null, or what nginx notes of the upstream.
                unsafe {
                    *tail = link;
                    if let Some(link) = link.as_mut() {
                        tail = &mut link.next;
                    }
                    if let Some(state) = u.state.as_mut() {
                        state.response_length += len as i64;
                    }
                }
            }
            Ok(Step::Starved) => return Some(()),
            Ok(Step::End(outcome)) => {
                if exchange.is_whole(outcome) {
                    u.length = 0;
                } else {
                    u.set_error(1);
                }
                if at == input.len() && !exchange.going_away {
                    u.set_keepalive(1);
                }
                return Some(());
            }
            Ok(Step::Head) => {}
            Err(error) => {
                bad_frame(r.log(), error);
                u.set_error(1);
                return Some(());
            }
        }
    }
}
