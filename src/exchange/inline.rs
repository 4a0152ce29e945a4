//! A request whose application runs on the event loop's own thread (`wsgi_embedded_threads 0`): no
//! upstream, no connection. nginx has read the body before, and waits until the application is done.

mod body;
mod direct;
mod head;
mod output;
mod spool;

use std::ptr::NonNull;
use std::sync::Arc;

use nginx_sys::{
    ngx_http_finalize_request, ngx_http_request_t, ngx_http_upstream_conf_t,
    ngx_http_upstream_create, ngx_int_t, ngx_list_init, ngx_table_elt_t, NGX_HTTP_HEAD,
    NGX_HTTP_INTERNAL_SERVER_ERROR,
};
use ngx::ngx_log_error;
use ngx_wsgi_host::clock::now_us;
use ngx_wsgi_host::scoreboard::Taken;
use ngx_wsgi_host::wire::{key, Outcome, Request as Sent, HEADER_LEN, NO_BODY};

use super::{environ, request, Exchange};
use crate::dispatch::{EmbeddedHost, Place};
use crate::ffi::{bytes, code, guard, now_msec, pid, ClockAhead, Request};
use direct::Direct;
use head::Ending;

const SERVER_ERROR: ngx_int_t = NGX_HTTP_INTERNAL_SERVER_ERROR as ngx_int_t;

/// Headers of a response that need no more memory.
const USUAL_HEADERS: usize = 8;

/// Makes the part of nginx's upstream that takes a response's headers. Nothing is connected to it.
/// `None` without memory.
pub fn prepare(r: Request, conf: NonNull<ngx_http_upstream_conf_t>) -> Option<()> {
    // SAFETY: a live request; the configuration lives as long as the cycle. The list is what nginx itself
    // makes before it reads headers.
    unsafe {
        if ngx_http_upstream_create(r.as_ptr()) != code::OK {
            return None;
        }
        let u = &mut *r.upstream();
        u.conf = conf.as_ptr();
        let (headers, size) = (&mut u.headers_in.headers, size_of::<ngx_table_elt_t>());
        (ngx_list_init(headers, r.pool(), USUAL_HEADERS, size) == code::OK).then_some(())
    }
}

/// Called by nginx when it has read the request's body.
///
/// # Safety
///
/// As documented: `r` is a live request.
pub unsafe extern "C" fn on_body(r: *mut ngx_http_request_t) {
    guard("a request", (), || {
        // SAFETY: as documented.
        let r = unsafe { Request::new(r) };
        match guard("a request", None, || run(r)) {
            Some((ending, _clock)) => ending.take_effect(r),
            // SAFETY: a live request, which is not used afterwards.
            None => unsafe { ngx_http_finalize_request(r.as_ptr(), SERVER_ERROR) },
        }
    });
}

/// Takes the request from the application at the latest when dropped: in a panic too it ends after that.
struct Attached(Arc<Direct>);

impl Drop for Attached {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Runs the application. How nginx is to end the request, and the clock for that; `None`: nothing could be
/// run, which was logged.
fn run(r: Request) -> Option<(Ending, ClockAhead)> {
    let exchange = Exchange::of(r)?;
    let dispatcher = exchange.dispatcher();
    let host = dispatcher.embedded_host()?;
    exchange.head_only = r.get().method == NGX_HTTP_HEAD as usize;
    // SAFETY: a live request whose upstream has its configuration.
    let passed = unsafe { (*(*r.upstream()).conf).pass_request_body != 0 };
    let has_body = passed && !r.body().is_null();
    let flags = if has_body { 0 } else { NO_BODY };
    let frame = request::encode_for(r, exchange, flags, &environ::Asked::default())?;
    let request = Sent::decode(&frame[HEADER_LEN..]).ok()?;

    let now = now_msec();
    exchange.clock.begun = Some(now);
    exchange.clock.sent = Some(now);
    exchange.clock.pid = Some(pid());
    exchange.lease = dispatcher.lease_at_once(Place::Embedded);
    let direct = Attached(Direct::new(r, has_body, exchange.head_only));
    take_up(r, host, &request);
    r.set_action(c"running the application");
    let served = host.serve(&request, &(Arc::clone(&direct.0) as _));
    let outcome = served.unwrap_or_else(|| {
        ngx_log_error!(
            nginx_sys::NGX_LOG_ALERT,
            r.log(),
            "an application cannot be run inside another one"
        );
        Outcome::Failed
    });
    // The application may have taken long: nginx's clock has stood still.
    let clock = ClockAhead::set();
    let live = direct.0.end()?;
    lay_down(host, live.sent());
    r.set_action(c"sending to client");
    let exchange = Exchange::of(r)?;
    exchange.clock.ended = Some(now_msec());
    if let Some(lease) = exchange.lease.take() {
        dispatcher.release(exchange.place, lease);
    }
    Some((live.finish(outcome), clock))
}

/// The report's slot of the event loop's thread; the thread for hooks has the first.
const SLOT: usize = 1;

/// Says what the thread is at: the other workers can see it.
fn take_up(r: Request, host: &EmbeddedHost, request: &Sent<'_>) {
    // SAFETY: these live as long as the request.
    let (method, uri, client) = unsafe {
        let request = r.get();
        let client = &(*r.connection()).addr_text;
        (bytes(&request.method_name), bytes(&request.unparsed_uri), bytes(client))
    };
    let server = request.known(key::SERVER_NAME).unwrap_or_default();
    let line = [method, uri].join(&b' ');
    let (script, now_us) = (request.script, now_us());
    let taken = Taken { request: request.id, now_us, line: &line, script, client, host: server };
    host.reports().take_up(0, SLOT, &taken);
}

fn lay_down(host: &EmbeddedHost, sent: u64) {
    host.reports().lay_down(0, SLOT, now_us(), sent);
}
