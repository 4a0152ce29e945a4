//! Host processes as peers of nginx's upstream code.

use std::ffi::c_void;

use nginx_sys::{
    ngx_current_msec, ngx_http_request_t, ngx_http_upstream_srv_conf_t, ngx_int_t,
    ngx_peer_connection_t, ngx_str_t, ngx_uint_t, socklen_t, NGX_HTTP_LOCK, NGX_HTTP_PATCH,
    NGX_HTTP_POST, NGX_HTTP_UPSTREAM_FT_ERROR, NGX_HTTP_UPSTREAM_FT_NON_IDEMPOTENT,
    NGX_HTTP_UPSTREAM_FT_TIMEOUT, NGX_PEER_FAILED, NGX_PEER_NEXT,
};
use ngx_wsgi_host::scoreboard::Lease;

use super::dispatcher::Place;
use super::idle::Connection;
use super::mail::Slot;
use super::parked::{park, unpark};
use super::waiting::Admission;
use crate::conf::{LocationConf, MainConf};
use crate::exchange::Exchange;
use crate::ffi::{code, guard, now_msec, Request};

/// A request that no process takes up is not sent more often than this. Processes that reject it are
/// asked to take it as it is well before.
pub(super) const ATTEMPTS: u32 = 8;

/// nginx's `peer.init`: one try, by our own rules.
///
/// # Safety
///
/// Called by nginx for a request whose context is an [`Exchange`].
pub unsafe extern "C" fn init_peer(
    r: *mut ngx_http_request_t,
    _: *mut ngx_http_upstream_srv_conf_t,
) -> ngx_int_t {
    guard("a peer", code::ERROR, || {
        // SAFETY: as documented; the upstream exists when its peer is initialised.
        unsafe {
            let Some(exchange) = Exchange::of(Request::new(r)) else { return code::ERROR };
            let peer = &mut (*(*r).upstream).peer;
            peer.data = std::ptr::from_mut(exchange).cast();
            peer.get = Some(get_peer);
            peer.free = Some(free_peer);
            peer.tries = 1;
        }
        code::OK
    })
}

unsafe extern "C" fn get_peer(pc: *mut ngx_peer_connection_t, data: *mut c_void) -> ngx_int_t {
    guard("a peer", code::ERROR, || {
        // SAFETY: set by init_peer; nginx holds the request while it connects.
        let (pc, exchange) = unsafe { (&mut *pc, &mut *data.cast::<Exchange>()) };
        if exchange.lease.is_none() {
            // nginx had to look into its cache first, or sends the request again.
            let dispatcher = exchange.dispatcher();
            let first = exchange.attempts == 0;
            match if first { dispatcher.admit(exchange) } else { dispatcher.admit_again(exchange) }
            {
                Admission::Leased => {}
                Admission::Waits => return stand_in(pc, exchange, None),
                Admission::Refused(status) => return stand_in(pc, exchange, Some(status)),
            }
        }
        exchange.attempts += 1;
        let Some((process, incarnation)) =
            exchange.lease.as_ref().map(|lease| (lease.process, lease.incarnation))
        else {
            return code::ERROR;
        };
        exchange.process = process;
        exchange.clock.sent = Some(now_msec());
        exchange.clock.pid = exchange.dispatcher().pid(exchange.place, process);
        connect(pc, exchange, process, incarnation)
    })
}

/// Lets nginx wait for a connection that is not being made yet (`NGX_AGAIN`).
fn stand_in(
    pc: &mut ngx_peer_connection_t,
    exchange: &mut Exchange,
    refused: Option<u32>,
) -> ngx_int_t {
    pc.sockaddr = std::ptr::from_ref(&EMBEDDED).cast_mut().cast();
    pc.socklen = size_of::<libc::sockaddr>() as socklen_t;
    match park(pc, exchange, refused) {
        Some(()) => code::AGAIN,
        None => code::ERROR,
    }
}

/// Supplies a kept connection (`NGX_DONE`), or says where to connect to (`NGX_OK`).
fn connect(
    pc: &mut ngx_peer_connection_t,
    exchange: &mut Exchange,
    process: usize,
    incarnation: u32,
) -> ngx_int_t {
    let dispatcher = exchange.dispatcher();
    let kept = dispatcher.idle(exchange.place, process).take(incarnation, pc.log);
    match exchange.place {
        Place::Daemon(group) => {
            let Some(address) = dispatcher.address(group, process) else { return code::ERROR };
            pc.sockaddr = std::ptr::from_ref(&address.sockaddr).cast_mut().cast();
            pc.socklen = size_of::<libc::sockaddr_un>() as socklen_t;
            pc.name = std::ptr::from_ref(&address.name).cast_mut();
            match kept {
                Some(kept) => supply(pc, exchange, kept),
                None => {
                    dispatcher.watch_sent(exchange);
                    code::OK
                }
            }
        }
        Place::Embedded => {
            pc.sockaddr = std::ptr::from_ref(&EMBEDDED).cast_mut().cast();
            pc.socklen = size_of::<libc::sockaddr>() as socklen_t;
            pc.name = std::ptr::from_ref(&EMBEDDED_NAME.0).cast_mut();
            let fresh = || dispatcher.embedded_host().and_then(|host| host.connect(pc.log));
            match kept.or_else(|| fresh().map(|c| Connection { c, slot: None })) {
                Some(connection) => supply(pc, exchange, connection),
                None => code::ERROR,
            }
        }
    }
}

/// A string that nginx only reads.
struct Name(ngx_str_t);

// SAFETY: points to a static text.
unsafe impl Sync for Name {}

static EMBEDDED_NAME: Name =
    Name(ngx_str_t { len: "embedded".len(), data: "embedded".as_ptr().cast_mut() });

/// nginx wants every peer to have an address; nobody connects to this one.
static EMBEDDED: libc::sockaddr =
    libc::sockaddr { sa_family: libc::AF_UNIX as libc::sa_family_t, sa_data: [0; 14] };

fn supply(
    pc: &mut ngx_peer_connection_t,
    exchange: &mut Exchange,
    connection: Connection,
) -> ngx_int_t {
    pc.connection = connection.c;
    exchange.slot = connection.slot;
    code::DONE
}

unsafe extern "C" fn free_peer(
    pc: *mut ngx_peer_connection_t,
    data: *mut c_void,
    state: ngx_uint_t,
) {
    guard("a peer", (), || {
        // SAFETY: as in get_peer.
        let (pc, exchange) = unsafe { (&mut *pc, &mut *data.cast::<Exchange>()) };
        let dispatcher = exchange.dispatcher();
        dispatcher.dequeue(exchange);
        unpark(pc, exchange);
        let slot = exchange.slot.take();
        let Some(lease) = exchange.lease.take() else {
            pc.tries = 0;
            return;
        };
        let failed = state & (NGX_PEER_FAILED | NGX_PEER_NEXT) as ngx_uint_t != 0;
        let unseen = failed && !has_timed_out(pc) && may_be_sent_again(exchange);
        if failed {
            if !exchange.answered() {
                dispatcher.idle(exchange.place, lease.process).clear();
            }
            pc.tries = usize::from(unseen || pass_on(pc, exchange));
        } else {
            keep_connection(pc, slot, exchange, &lease);
        }
        if exchange.outcome.is_some() || unseen {
            dispatcher.release(exchange.place, lease);
        } else {
            dispatcher.release_later(exchange.place, lease, exchange.id);
        }
    });
}

/// A request that failed goes to another process only when no application has seen it: the process
/// rejected it, or died before it took it up.
fn may_be_sent_again(exchange: &Exchange) -> bool {
    let Place::Daemon(group) = exchange.place else { return false };
    let unseen = exchange.rejected
        || !exchange.dispatcher().has_taken_up(group, exchange.process, exchange.id);
    unseen && !exchange.answered() && exchange.attempts < ATTEMPTS
}

/// Takes a request that has failed away from the process whose application has seen it, when
/// `wsgi_next_upstream` says so.
fn pass_on(pc: &ngx_peer_connection_t, exchange: &mut Exchange) -> bool {
    let failure = match exchange.failure {
        _ if has_timed_out(pc) => NGX_HTTP_UPSTREAM_FT_TIMEOUT,
        0 => NGX_HTTP_UPSTREAM_FT_ERROR,
        failure => failure,
    };
    let passes = passes_on(exchange, failure);
    if passes {
        exchange.passed_on += 1;
        exchange.failure = failure;
        // It has had its process; now it waits for another.
        exchange.waits_since = None;
    }
    passes
}

/// Whether `wsgi_next_upstream` lets another process run the request after this failure, one of
/// nginx's bits.
pub fn passes_on(exchange: &Exchange, failure: u32) -> bool {
    let Place::Daemon(group) = exchange.place else { return false };
    let r = exchange.request;
    // SAFETY: this module's configurations of a live request, its upstream, the event thread's clock.
    let (conf, group, since) = unsafe {
        let main = &*r.main_conf::<MainConf>(crate::module());
        let conf = &*r.location_conf::<LocationConf>(crate::module());
        let start = (*r.upstream()).peer.start_time;
        (conf.next_upstream, &main.groups[group], ngx_current_msec.wrapping_sub(start))
    };
    let again = NGX_HTTP_POST | NGX_HTTP_LOCK | NGX_HTTP_PATCH;
    let idempotent = r.get().method & again as ngx_uint_t == 0;
    let needed = if idempotent { failure } else { failure | NGX_HTTP_UPSTREAM_FT_NON_IDEMPOTENT };
    let processes = usize::from(group.processes());
    let tries = if conf.tries == 0 { processes } else { conf.tries.min(processes) };
    conf.covers(needed)
        && exchange.passed_on as usize + 1 < tries
        && exchange.attempts < ATTEMPTS
        && !r.request_body_no_buffering()
        && (conf.timeout == 0 || since < conf.timeout)
}

fn has_timed_out(pc: &ngx_peer_connection_t) -> bool {
    // SAFETY: null, or an open connection with its events.
    unsafe {
        pc.connection
            .as_ref()
            .is_some_and(|c| (*c.read).timedout() != 0 || (*c.write).timedout() != 0)
    }
}

fn keep_connection(
    pc: &mut ngx_peer_connection_t,
    slot: Option<Slot>,
    exchange: &Exchange,
    lease: &Lease,
) {
    // SAFETY: the upstream exists as long as its peer is in use.
    let clean = unsafe {
        let u = exchange.request.upstream();
        (*u).keepalive() != 0 && (*u).request_body_sent() != 0
    };
    if pc.connection.is_null() || !clean {
        return;
    }
    let pool = exchange.dispatcher().idle(exchange.place, lease.process);
    if pool.keep(lease.incarnation, Connection { c: pc.connection, slot }) {
        pc.connection = std::ptr::null_mut();
    }
}
