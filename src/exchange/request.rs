//! The REQUEST frame, as nginx's upstream code asks for it.

use nginx_sys::{ngx_http_request_t, ngx_int_t, NGX_HTTP_HEAD};
use ngx::ngx_log_error;
use ngx_wsgi_host::wire::{
    self, Kind, RequestEncoder, AGAIN, HEAD_ONLY, NO_BODY, NO_FILE, ONCE, QUIET, RELOADING,
};

use super::{body, cache, connection, environ, next_id, Exchange};
use crate::conf::{LocationConf, MainConf, MapHead};
use crate::ffi::{chain_of, code, guard, memory_buf, now_msec, Request};

/// nginx's `create_request`: the frame and, when it has been read, the body.
///
/// # Safety
///
/// Called by nginx for a request whose context is an [`Exchange`].
pub unsafe extern "C" fn create_request(r: *mut ngx_http_request_t) -> ngx_int_t {
    guard("a request", code::ERROR, || {
        // SAFETY: as documented.
        let r = unsafe { Request::new(r) };
        let Some(exchange) = Exchange::of(r) else { return code::ERROR };
        match write(r, exchange) {
            Some(()) => code::OK,
            None => code::ERROR,
        }
    })
}

fn write(r: Request, exchange: &mut Exchange) -> Option<()> {
    exchange.head_only = r.get().method == NGX_HTTP_HEAD as usize && !keeps_body(r);
    // SAFETY: a live request whose upstream has its configuration.
    let passed = unsafe { (*(*r.upstream()).conf).pass_request_body != 0 };
    let unbuffered = r.request_body_no_buffering();
    let has_body = passed && (unbuffered || !r.body().is_null());
    exchange.frame = encode(r, exchange, has_body, unbuffered)?;
    let upload = if has_body && !unbuffered { body::upload(r) } else { None };
    if let Some((_, span)) = &upload {
        exchange.frame.extend_from_slice(&span.encode(Kind::BodyFile, 0));
    }
    exchange.upload = upload.map(|(fd, _)| fd);
    exchange.upload_waits = exchange.upload.is_some();
    // SAFETY: the request's pool outlives the chain; the exchange has the frame as long as the pool, and
    // never another one.
    let mut out = unsafe { chain_of(r.pool()) };
    // SAFETY: as above.
    let frame = unsafe { memory_buf(r.pool(), exchange.frame.as_mut_ptr(), exchange.frame.len()) };
    out.push(frame?).then_some(())?;
    if has_body && !unbuffered && !exchange.upload_waits {
        body::append_frames(&mut out, r.pool(), r.body()).then_some(())?;
    }
    // SAFETY: the content handler made the upstream; unbuffered, nginx itself adds to this chain what
    // it reads, and the output filter puts that into frames.
    unsafe {
        let u = r.upstream();
        let plain = connection::output_filter;
        let filter = if unbuffered { body::output_filter } else { plain };
        (*u).output.output_filter = Some(filter);
        (*u).output.filter_ctx = r.as_ptr().cast();
        (*(*out.head()).buf).set_flush(1);
        (*u).request_bufs = out.head();
    }
    Some(())
}

/// Whether nginx keeps the response to a HEAD request: that must have its body then, and is the
/// response to GET. With `wsgi_map_head_to_get off` none is kept.
fn keeps_body(r: Request) -> bool {
    // SAFETY: this module's configuration of the request, and its upstream.
    let (conf, u) =
        unsafe { (&*r.location_conf::<LocationConf>(crate::module()), &mut *r.upstream()) };
    let keeps = cache::is_cacheable(r) || u.store() != 0;
    if keeps && conf.map_head_to_get() == MapHead::Off {
        u.set_store(0);
        cache::forgo(r);
        return false;
    }
    keeps
}

fn encode(r: Request, exchange: &Exchange, has_body: bool, once: bool) -> Option<Vec<u8>> {
    let flag = |on: bool, bit: u8| if on { bit } else { 0 };
    let flags = flag(!has_body, NO_BODY) | flag(once, ONCE) | flag(needs_bytes(r), NO_FILE);
    let asked = environ::Asked {
        whole: r.get().method == NGX_HTTP_HEAD as usize && !exchange.head_only,
        for_cache: cache::is_cacheable(r),
    };
    encode_for(r, exchange, flags, &asked)
}

/// The REQUEST frame, with `flags` besides those that follow from the configuration. `None`: it is over
/// the wire's limit, which was logged.
pub fn encode_for(
    r: Request,
    exchange: &Exchange,
    flags: u8,
    asked: &environ::Asked,
) -> Option<Vec<u8>> {
    let target = &exchange.target;
    let flag = |on: bool, bit: u8| if on { bit } else { 0 };
    // SAFETY: this module's configurations of the request.
    let (conf, main) = unsafe {
        let module = crate::module();
        (&*r.location_conf::<LocationConf>(module), &*r.main_conf::<MainConf>(module))
    };
    let mut encoder = RequestEncoder::new(&wire::Target {
        flags: flags
            | flag(target.reloading, RELOADING)
            | flag(conf.ignore_activity == 1, QUIET)
            | flag(exchange.head_only, HEAD_ONLY),
        id: exchange.id,
        start_us: exchange.start_us,
        queue_us: exchange.queue_us,
        script_modified: target.route.modified,
        process_group: &target.process_group,
        application_group: &target.application_group,
        script: &target.route.script,
        callable: &target.callable,
    });
    environ::encode(r, conf, main.neighbours.as_ref()?, target, asked, &mut encoder);
    match encoder.finish() {
        Ok(frame) => Some(frame),
        Err(error) => {
            ngx_log_error!(nginx_sys::NGX_LOG_ERR, r.log(), "request cannot be sent: {error}");
            None
        }
    }
}

/// Whether nginx does something with the response's bytes before it sends them.
fn needs_bytes(r: Request) -> bool {
    // SAFETY: the upstream of a live request, with its configuration.
    let (u, conf) = unsafe { (&*r.upstream(), &*(*r.upstream()).conf) };
    #[cfg(not(ngx_complex_limit_rate))]
    let limited = conf.limit_rate != 0;
    #[cfg(ngx_complex_limit_rate)]
    let limited = !conf.limit_rate.is_null();
    limited || cache::is_cacheable(r) || u.store() != 0
}

/// nginx's `reinit_request`: the same request goes to another process.
///
/// # Safety
///
/// As for [`create_request`].
pub unsafe extern "C" fn reinit_request(r: *mut ngx_http_request_t) -> ngx_int_t {
    guard("a request", code::ERROR, || {
        // SAFETY: as documented.
        let r = unsafe { Request::new(r) };
        let Some(exchange) = Exchange::of(r) else { return code::OK };
        exchange.read_rest(r);
        // SAFETY: create_request made the chain; its first buffer is the frame, in memory, and nginx
        // sends it from its start again.
        let frame = unsafe {
            let b = (*(*r.upstream()).request_bufs).buf;
            std::slice::from_raw_parts_mut((*b).start, (*b).end.offset_from((*b).start) as usize)
        };
        // What the last process reports of it is not said of this attempt.
        exchange.id = next_id();
        wire::set_id(frame, exchange.id);
        if exchange.rejected {
            mark_rejected(frame, exchange.attempts < REJECTIONS);
        }
        exchange.rewind();
        code::OK
    })
}

/// How often a request may meet a changed script before it takes what it finds.
const REJECTIONS: u32 = 4;

/// Notes in the REQUEST frame that it was rejected.
fn mark_rejected(frame: &mut [u8], reloading: bool) {
    let keep = if reloading { u8::MAX } else { !RELOADING };
    wire::set_flags(frame, |flags| flags & keep | AGAIN);
}

/// nginx's `abort_request`: nothing to do, the connection is closed.
///
/// # Safety
///
/// None of its own; the signature is nginx's.
pub unsafe extern "C" fn abort_request(_: *mut ngx_http_request_t) {}

/// nginx's `finalize_request`: the peer is freed next. When the exchange has not come to its end (the
/// client has gone, its body is broken), what the application has logged so far must not go with the
/// connection.
///
/// # Safety
///
/// As for [`create_request`].
pub unsafe extern "C" fn finalize_request(r: *mut ngx_http_request_t, _: ngx_int_t) {
    guard("the end of a request", (), || {
        // SAFETY: as documented.
        let r = unsafe { Request::new(r) };
        let Some(exchange) = Exchange::of(r) else { return };
        exchange.restore_locations();
        exchange.clock.ended.get_or_insert_with(now_msec);
        // SAFETY: the upstream of a live request; its connection, if there is one, is open.
        let connection = unsafe { (*r.upstream()).peer.connection.as_ref() };
        // What nginx answers from its cache has been read with the same reader.
        if let (Some(connection), None, false) = (connection, exchange.outcome, r.cached()) {
            exchange.read_last_lines(r, connection.fd);
        }
    });
}
