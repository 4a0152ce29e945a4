//! Status and headers of a host's answer.

use std::ptr::NonNull;

use nginx_sys::{
    ngx_hash_find, ngx_http_request_t, ngx_http_upstream_header_t, ngx_http_upstream_main_conf_t,
    ngx_http_upstream_module, ngx_int_t, ngx_list_push, ngx_pnalloc, ngx_str_t, ngx_table_elt_t,
    NGX_HTTP_BAD_REQUEST, NGX_HTTP_FORBIDDEN, NGX_HTTP_INTERNAL_SERVER_ERROR, NGX_HTTP_NOT_FOUND,
    NGX_HTTP_NOT_MODIFIED, NGX_HTTP_NO_CONTENT, NGX_HTTP_OK, NGX_HTTP_SERVICE_UNAVAILABLE,
    NGX_HTTP_TOO_MANY_REQUESTS, NGX_HTTP_UPSTREAM_FT_HTTP_403, NGX_HTTP_UPSTREAM_FT_HTTP_404,
    NGX_HTTP_UPSTREAM_FT_HTTP_429, NGX_HTTP_UPSTREAM_FT_HTTP_500, NGX_HTTP_UPSTREAM_FT_HTTP_503,
    NGX_HTTP_UPSTREAM_FT_INVALID_HEADER,
};
use ngx::ngx_log_error;
use ngx_wsgi_host::wire::{Head, Outcome};

use super::{bad_frame, file, keep_alive, PassedFile, Step};
use crate::conf::LocationConf;
use crate::dispatch::passes_on;
use crate::exchange::{cache, serves_stale, Exchange};
use crate::ffi::{code, contents, guard, header_key, intercept, pool_copy, Request};

/// Headers of the application that would break the framing of nginx's own response, or be taken
/// for instructions to nginx (semantics l.5).
const WITHHELD: [&[u8]; 2] = [b"transfer-encoding", b"status"];

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
        (buffer, contents(buffer))
    };
    let mut at = 0;
    let rc = loop {
        match exchange.step(input, &mut at, r.log()) {
            Ok(Step::Head) => {
                let rc = accept_head(r, exchange, input);
                if rc != code::OK || !exchange.head_only && exchange.file.is_none() {
                    break rc;
                }
                // Nothing but END follows; if it is here, the connection can be kept.
            }
            // END is not far: nothing remains to be produced.
            Ok(Step::Starved) if exchange.file.is_some() => break code::AGAIN,
            // The answer to HEAD is whole with its header; without END the connection is closed.
            Ok(Step::Starved) if exchange.head_seen => break code::OK,
            Ok(Step::Starved) => break starved(r, exchange),
            Ok(Step::Data(_) | Step::Lent(_)) => {}
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
    if rc == code::INVALID_HEADER {
        exchange.failure = NGX_HTTP_UPSTREAM_FT_INVALID_HEADER;
    }
    // SAFETY: at is within what was received. When all is used the buffer is free again: frames
    // are gathered elsewhere, so its size does not limit them.
    unsafe {
        (*buffer).pos = (*buffer).pos.add(at);
        if rc == code::AGAIN {
            (*buffer).pos = (*buffer).start.add(cache::header_start(r));
            (*buffer).last = (*buffer).pos;
        }
    }
    if rc == code::OK && exchange.file.is_some() {
        file::prepare(r, exchange);
        // With something left to be read nginx turns to the body at once, and the header goes out
        // together with it.
        // SAFETY: some bytes have been received in this call, and they have been used.
        unsafe { (*buffer).pos = (*buffer).last.sub(1) };
        return rc;
    }
    if rc == code::OK
        && cache::keep_head(r, buffer, exchange.frames.payload(input), &input[at..]).is_none()
    {
        return code::ERROR;
    }
    rc
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
fn end_without_body(
    r: Request,
    exchange: &mut Exchange,
    outcome: Outcome,
    clean: bool,
) -> ngx_int_t {
    if clean && !exchange.going_away {
        keep_alive(r);
    }
    if exchange.head_seen && outcome == Outcome::Complete {
        return code::OK;
    }
    if outcome == Outcome::Complete {
        ngx_log_error!(nginx_sys::NGX_LOG_ERR, r.log(), "upstream sent no response");
    }
    if passes_status(r, exchange, NGX_HTTP_INTERNAL_SERVER_ERROR)
        || serves_stale(r, NGX_HTTP_UPSTREAM_FT_HTTP_500)
    {
        // SAFETY: a live upstream. nginx takes this for a response, which it does not pass on.
        unsafe { (*r.upstream()).headers_in.status_n = NGX_HTTP_INTERNAL_SERVER_ERROR as usize };
        return code::OK;
    }
    // nginx answers 500.
    code::ERROR
}

/// Notes an answer that `wsgi_next_upstream` may name, and tells nginx whether another process is
/// to be asked.
fn passes_status(r: Request, exchange: &mut Exchange, status: u32) -> bool {
    exchange.failure = match status {
        NGX_HTTP_INTERNAL_SERVER_ERROR => NGX_HTTP_UPSTREAM_FT_HTTP_500,
        NGX_HTTP_SERVICE_UNAVAILABLE => NGX_HTTP_UPSTREAM_FT_HTTP_503,
        NGX_HTTP_FORBIDDEN => NGX_HTTP_UPSTREAM_FT_HTTP_403,
        NGX_HTTP_NOT_FOUND => NGX_HTTP_UPSTREAM_FT_HTTP_404,
        NGX_HTTP_TOO_MANY_REQUESTS => NGX_HTTP_UPSTREAM_FT_HTTP_429,
        _ => return false,
    };
    let passes = passes_on(exchange, exchange.failure);
    // SAFETY: a live upstream. For the sake of a status nginx wants more than one try to be left.
    unsafe { (*r.upstream()).peer.tries = if passes { 2 } else { 1 } };
    passes
}

/// Takes over status and headers of a RESPONSE frame.
fn accept_head(r: Request, exchange: &mut Exchange, input: &[u8]) -> ngx_int_t {
    let head = match read(r, exchange.frames.payload(input)) {
        Ok(head) => head,
        Err(rc) => return rc,
    };
    let status = u32::from(head.status);
    let treatment = Treatment::of(r, status);
    if treatment == Treatment::Replaced {
        exchange.overridden = intercept(r, head.status);
        if exchange.overridden.is_none() {
            return code::ERROR;
        }
    }
    match take_over(r, exchange.file.as_mut(), &head, treatment) {
        Some(bodyless) => exchange.bodyless = bodyless,
        None => return code::ERROR,
    }
    if !r.cached() {
        passes_status(r, exchange, status);
    }
    code::OK
}

/// What becomes of the body that comes with a status (`wsgi_error_override`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Treatment {
    /// It is sent.
    Kept,
    /// nginx's error page takes the response's place.
    Replaced,
    /// There is none, nor a page.
    Emptied,
}

impl Treatment {
    pub fn of(r: Request, status: u32) -> Self {
        match overrides_errors(r) && status >= NGX_HTTP_BAD_REQUEST {
            false => Treatment::Kept,
            true if is_of_nginx(status) => Treatment::Emptied,
            true => Treatment::Replaced,
        }
    }
}

/// Reads the payload of a RESPONSE frame, or says what `process_header` returns without one.
pub fn read(r: Request, payload: &[u8]) -> Result<Head<'_>, ngx_int_t> {
    // SAFETY: the upstream has its configuration.
    let limit = unsafe { (*(*r.upstream()).conf).buffer_size };
    if payload.len() > limit {
        ngx_log_error!(
            nginx_sys::NGX_LOG_ERR,
            r.log(),
            "upstream sent too big header: {} bytes, \"wsgi_buffer_size\" is {limit}",
            payload.len()
        );
        return Err(code::INVALID_HEADER);
    }
    Head::decode(payload).map_err(|error| {
        bad_frame(r.log(), error);
        code::INVALID_HEADER
    })
}

/// Makes status and headers those of the upstream. Says whether the response has no body, whatever
/// the application sends; `None`: nginx has no memory, or refuses a header.
pub fn take_over(
    r: Request,
    mut file: Option<&mut PassedFile>,
    head: &Head<'_>,
    treatment: Treatment,
) -> Option<bool> {
    let status = u32::from(head.status);
    let emptied = treatment == Treatment::Emptied;
    let bodyless = emptied || status == NGX_HTTP_NO_CONTENT || status == NGX_HTTP_NOT_MODIFIED;
    for (name, value) in head.headers() {
        if emptied && name.get(..8).is_some_and(|start| start.eq_ignore_ascii_case(b"content-")) {
            continue;
        }
        let length_of_nothing =
            status == NGX_HTTP_NO_CONTENT && name.eq_ignore_ascii_case(b"content-length");
        if length_of_nothing || WITHHELD.iter().any(|held| name.eq_ignore_ascii_case(held)) {
            continue;
        }
        let accepts_ranges = name.eq_ignore_ascii_case(b"accept-ranges");
        if accepts_ranges && file.as_mut().is_some_and(|file| file.has_ranges(status, value)) {
            // nginx says so itself.
            continue;
        }
        // A path with 200 is nothing for the client: nginx goes there itself.
        let internal = status == NGX_HTTP_OK
            && name.eq_ignore_ascii_case(b"location")
            && value.starts_with(b"/");
        let name = if internal { b"X-Accel-Redirect" } else { name };
        if internal {
            r.forget_body();
        }
        push_header(r, name, value)?;
    }
    if emptied {
        push_header(r, b"Content-Length", b"0")?;
    }
    // SAFETY: a live upstream; the status line is copied into the request's pool.
    unsafe {
        // Only a number: nginx adds the phrase that it knows.
        let line = if head.status_line.len() > 3 { head.status_line } else { b"" };
        let line = pool_copy(r.pool(), line)?;
        let u = &mut *r.upstream();
        u.headers_in.status_n = status as usize;
        u.headers_in.status_line = line;
        if let Some(state) = u.state.as_mut() {
            if state.status == 0 {
                state.status = status as usize;
            }
        }
    }
    Some(bodyless)
}

/// `wsgi_error_override`.
fn overrides_errors(r: Request) -> bool {
    // SAFETY: this module's configuration of the request.
    unsafe { (*r.location_conf::<LocationConf>(crate::module())).error_override == 1 }
}

/// Statuses that have another meaning inside nginx, which closes the connection for them or tells
/// the client 400: no page can be asked for with them.
fn is_of_nginx(status: u32) -> bool {
    matches!(status, 408 | 444 | 494..=499)
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
        let copies = ngx_pnalloc(r.pool(), 2 * (name.len() + 1) + value.len() + 1).cast::<u8>();
        let copies = NonNull::new(copies)?.as_ptr();
        header.key = terminated(copies, name);
        header.value = terminated(copies.add(name.len() + 1), value);
        header.lowcase_key = copies.add(name.len() + 1 + value.len() + 1);
        let lower = terminated(header.lowcase_key, name);
        header.hash = header_key(std::slice::from_raw_parts_mut(lower.data, lower.len));

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

/// Copies `value` to `place` with a NUL behind it.
///
/// # Safety
///
/// There is room for both, apart from `value`.
unsafe fn terminated(place: *mut u8, value: &[u8]) -> ngx_str_t {
    // SAFETY: as the caller guarantees.
    unsafe {
        std::ptr::copy_nonoverlapping(value.as_ptr(), place, value.len());
        *place.add(value.len()) = 0;
    }
    ngx_str_t { len: value.len(), data: place }
}
