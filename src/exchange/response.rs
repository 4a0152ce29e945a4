//! A host's answer, as nginx's upstream code reads it.

use std::ffi::c_void;
use std::ops::Range;

use nginx_sys::{
    ngx_buf_t, ngx_chain_get_free_buf, ngx_chain_t, ngx_event_pipe_add_free_buf, ngx_event_pipe_t,
    ngx_hash_find, ngx_http_request_t, ngx_http_upstream_header_t, ngx_http_upstream_main_conf_t,
    ngx_http_upstream_module, ngx_int_t, ngx_list_push, ngx_log_t, ngx_table_elt_t, NGX_HTTP_HEAD,
    NGX_HTTP_NOT_MODIFIED, NGX_HTTP_NO_CONTENT,
};
use ngx::ngx_log_error;
use ngx_wsgi_host::wire::{BadFrame, Head, Kind, LogRecord, Outcome};

use super::frames::Piece;
use super::Exchange;
use crate::ffi::{code, guard, header_key, pool_copy, text, Request};

/// Headers of the application that would break the framing of nginx's own response, or be taken
/// for instructions to nginx (semantics l.5).
const WITHHELD: [&[u8]; 2] = [b"transfer-encoding", b"status"];

/// What a piece of input means for the response.
enum Step {
    /// All input is used.
    Starved,
    /// RESPONSE was read; the payload is with the frame reader.
    Head,
    /// Body bytes.
    Data(Range<usize>),
    /// END was read.
    End(Outcome),
}

impl Exchange {
    /// Advances through `input`. LOG frames are logged on the way.
    fn step(
        &mut self,
        input: &[u8],
        at: &mut usize,
        log: *mut ngx_log_t,
    ) -> Result<Step, BadFrame> {
        while let Some(piece) = self.frames.next(input, at)? {
            let kind = match piece {
                Piece::Data(range) if self.head_seen => return Ok(Step::Data(range)),
                Piece::Data(_) => return Err(BadFrame::Unexpected(Kind::Data)),
                Piece::Frame(kind) => kind,
            };
            match kind {
                Kind::Log => write_log(log, LogRecord::decode(self.frames.payload())?),
                Kind::Response if !self.head_seen => {
                    self.head_seen = true;
                    return Ok(Step::Head);
                }
                Kind::Reject if !self.head_seen => {
                    self.rejected = true;
                    return Err(BadFrame::Unexpected(kind));
                }
                // The process began to drain while the request was on its way; it still answers.
                Kind::GoAway => self.going_away = true,
                Kind::End => {
                    let outcome = Outcome::decode(self.frames.payload())?;
                    self.outcome = Some(outcome);
                    return Ok(Step::End(outcome));
                }
                _ => return Err(BadFrame::Unexpected(kind)),
            }
        }
        Ok(Step::Starved)
    }

    /// How many bytes of a piece belong to the response: the announced Content-Length is never
    /// exceeded, nor is a body sent where HTTP has none.
    fn admit(&mut self, len: usize) -> usize {
        if self.bodyless {
            return 0;
        }
        let Some(rest) = &mut self.rest else { return len };
        let admitted = (*rest).min(len as u64);
        *rest -= admitted;
        if *rest == 0 {
            self.request.stop_watching_client();
        }
        admitted as usize
    }

    /// Whether the client has been sent what was announced to it.
    fn is_whole(&self, outcome: Outcome) -> bool {
        outcome == Outcome::Complete && (self.bodyless || self.rest.unwrap_or(0) == 0)
    }
}

fn write_log(log: *mut ngx_log_t, record: LogRecord<'_>) {
    // A control character could make one line look like two.
    let line = text(record.text).replace(|c: char| c.is_control() && c != '\t', " ");
    ngx_log_error!(record.level, log, "{line}");
}

fn bad_frame(log: *mut ngx_log_t, error: BadFrame) {
    ngx_log_error!(nginx_sys::NGX_LOG_ERR, log, "upstream sent an invalid response: {error}");
}

/// nginx's `process_header`.
///
/// # Safety
///
/// Called by nginx for a request whose context is an [`Exchange`].
pub unsafe extern "C" fn process_header(r: *mut ngx_http_request_t) -> ngx_int_t {
    guard("a response header", code::ERROR, || {
        // SAFETY: as documented.
        let r = unsafe { Request::new(r) };
        match Exchange::of(r) {
            Some(exchange) => read_head(r, exchange),
            None => code::ERROR,
        }
    })
}

fn read_head(r: Request, exchange: &mut Exchange) -> ngx_int_t {
    // SAFETY: the upstream's buffer holds what was received between pos and last.
    let (buffer, input) = unsafe {
        let buffer = std::ptr::addr_of_mut!((*r.upstream()).buffer);
        (buffer, received(buffer))
    };
    let mut at = 0;
    let rc = loop {
        match exchange.step(input, &mut at, r.log()) {
            Ok(Step::Head) => {
                let rc = accept_head(r, exchange);
                if rc != code::OK || r.get().method != NGX_HTTP_HEAD as usize {
                    break rc;
                }
                // Nothing but END follows; if it is here, the connection can be kept.
            }
            // The answer to HEAD is whole with its header; without END the connection is closed.
            Ok(Step::Starved) if exchange.head_seen => break code::OK,
            Ok(Step::Starved) => break starved(r, exchange),
            Ok(Step::Data(_)) => {}
            Ok(Step::End(outcome)) => {
                break end_without_body(r, exchange, outcome, at == input.len());
            }
            Err(_) if exchange.rejected => break code::INVALID_HEADER,
            Err(error) => {
                bad_frame(r.log(), error);
                break code::INVALID_HEADER;
            }
        }
    };
    // SAFETY: at is within what was received. When all is used the buffer is free again: frames
    // are gathered elsewhere, so its size does not limit them.
    unsafe {
        (*buffer).pos = (*buffer).pos.add(at);
        if rc == code::AGAIN {
            (*buffer).pos = (*buffer).start;
            (*buffer).last = (*buffer).start;
        }
    }
    rc
}

/// # Safety
///
/// `b` is a buffer of nginx's with received bytes between pos and last, which stay as they are as
/// long as the result is used.
unsafe fn received<'a>(b: *const ngx_buf_t) -> &'a [u8] {
    // SAFETY: as the caller guarantees.
    unsafe { std::slice::from_raw_parts((*b).pos, (*b).last.offset_from((*b).pos).max(0) as usize) }
}

/// More input is needed, unless the head is longer than wsgi_buffer_size allows.
fn starved(r: Request, exchange: &Exchange) -> ngx_int_t {
    // SAFETY: the upstream has its configuration.
    let limit = unsafe { (*(*r.upstream()).conf).buffer_size };
    match exchange.frames.response_len() {
        Some(len) if len > limit => {
            ngx_log_error!(
                nginx_sys::NGX_LOG_ERR,
                r.log(),
                "upstream sent too big header: {len} bytes, \"wsgi_buffer_size\" is {limit}"
            );
            code::INVALID_HEADER
        }
        _ => code::AGAIN,
    }
}

/// The host said END while the header was awaited: to a HEAD request, or because the application
/// failed.
fn end_without_body(r: Request, exchange: &Exchange, outcome: Outcome, clean: bool) -> ngx_int_t {
    if clean && !exchange.going_away {
        keep_alive(r);
    }
    if exchange.head_seen && outcome == Outcome::Complete {
        return code::OK;
    }
    if outcome == Outcome::Complete {
        ngx_log_error!(nginx_sys::NGX_LOG_ERR, r.log(), "upstream sent no response");
    }
    // nginx answers 500.
    code::ERROR
}

/// The exchange is over: the connection may carry another one.
fn keep_alive(r: Request) {
    // SAFETY: the upstream of a live request.
    unsafe { (*r.upstream()).set_keepalive(1) };
}

/// Takes over status and headers of a RESPONSE frame.
fn accept_head(r: Request, exchange: &mut Exchange) -> ngx_int_t {
    let payload = exchange.frames.payload();
    // SAFETY: the upstream has its configuration.
    let limit = unsafe { (*(*r.upstream()).conf).buffer_size };
    if payload.len() > limit {
        ngx_log_error!(
            nginx_sys::NGX_LOG_ERR,
            r.log(),
            "upstream sent too big header: {} bytes, \"wsgi_buffer_size\" is {limit}",
            payload.len()
        );
        return code::INVALID_HEADER;
    }
    let head = match Head::decode(payload) {
        Ok(head) => head,
        Err(error) => {
            bad_frame(r.log(), error);
            return code::INVALID_HEADER;
        }
    };
    let status = u32::from(head.status);
    let bodyless = status == NGX_HTTP_NO_CONTENT || status == NGX_HTTP_NOT_MODIFIED;
    for (name, value) in head.headers() {
        let length_of_nothing =
            status == NGX_HTTP_NO_CONTENT && name.eq_ignore_ascii_case(b"content-length");
        if length_of_nothing || WITHHELD.iter().any(|held| name.eq_ignore_ascii_case(held)) {
            continue;
        }
        if push_header(r, name, value).is_none() {
            return code::ERROR;
        }
    }
    // SAFETY: a live upstream; the status line is copied into the request's pool.
    unsafe {
        let Some(line) = pool_copy(r.pool(), head.status_line) else { return code::ERROR };
        let u = &mut *r.upstream();
        u.headers_in.status_n = status as usize;
        u.headers_in.status_line = line;
        if let Some(state) = u.state.as_mut() {
            if state.status == 0 {
                state.status = status as usize;
            }
        }
    }
    exchange.bodyless = bodyless;
    code::OK
}

/// Adds a response header the way nginx's protocol modules do. `None`: nginx has no memory, or
/// refuses the header.
fn push_header(r: Request, name: &[u8], value: &[u8]) -> Option<()> {
    // SAFETY: a live upstream whose header list nginx has initialised; key, value and lower-case
    // key are copies in the request's pool, NUL-terminated as nginx's parsers expect.
    unsafe {
        let u = r.upstream();
        let header = ngx_list_push(std::ptr::addr_of_mut!((*u).headers_in.headers));
        let header = header.cast::<ngx_table_elt_t>().as_mut()?;
        *header = std::mem::zeroed();
        header.key = terminated(r, name)?;
        header.value = terminated(r, value)?;
        let lower = pool_copy(r.pool(), name)?;
        let lower = std::slice::from_raw_parts_mut(lower.data, lower.len);
        header.hash = header_key(lower);
        header.lowcase_key = lower.as_mut_ptr();

        let index = (*std::ptr::addr_of!(ngx_http_upstream_module)).ctx_index;
        let umcf = (*r.get().main_conf.add(index)).cast::<ngx_http_upstream_main_conf_t>();
        let known = ngx_hash_find(
            std::ptr::addr_of_mut!((*umcf).headers_in_hash),
            header.hash,
            header.lowcase_key,
            header.key.len,
        )
        .cast::<ngx_http_upstream_header_t>();
        if let Some(known) = known.as_ref() {
            let handler = known.handler?;
            if handler(r.as_ptr(), header, known.offset) != code::OK {
                return None;
            }
        }
    }
    Some(())
}

/// A copy in the request's pool with a NUL behind it.
fn terminated(r: Request, value: &[u8]) -> Option<nginx_sys::ngx_str_t> {
    let mut copy = Vec::with_capacity(value.len() + 1);
    copy.extend_from_slice(value);
    copy.push(0);
    // SAFETY: the request's pool is live.
    let mut s = unsafe { pool_copy(r.pool(), &copy) }?;
    s.len -= 1;
    Some(s)
}

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
        let (r, input) = unsafe { (Request::new((*p).input_ctx.cast()), received(raw)) };
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
        if (*p).in_.is_null() {
            (*p).in_ = link;
        } else {
            *(*p).last_in = link;
        }
        (*p).last_in = std::ptr::addr_of_mut!((*link).next);
        Some(b)
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
            (r, buffer, received(buffer))
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
    // SAFETY: the upstream of a live request.
    let u = unsafe { &mut *r.upstream() };
    let mut tail: *mut *mut ngx_chain_t = &mut u.out_bufs;
    for link in super::links(u.out_bufs) {
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
