//! Host processes as peers of nginx's upstream code.

use std::ffi::c_void;

use nginx_sys::{
    ngx_http_request_t, ngx_http_upstream_srv_conf_t, ngx_int_t, ngx_peer_connection_t, ngx_str_t,
    ngx_uint_t, socklen_t,
};
use ngx_wsgi_host::scoreboard::Lease;

use super::dispatcher::Place;
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
        exchange.attempts += 1;
        if exchange.lease.is_none() {
            let again = exchange.dispatcher().lease_again(exchange.place, exchange.process);
            exchange.lease = again;
        }
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
                Some(c) => supply(pc, c),
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
            match kept.or_else(fresh) {
                Some(c) => supply(pc, c),
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

fn supply(pc: &mut ngx_peer_connection_t, c: *mut nginx_sys::ngx_connection_t) -> ngx_int_t {
    pc.connection = c;
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
        exchange.timer.clear();
        let Some(lease) = exchange.lease.take() else { return };
        let failed = state & nginx_sys::NGX_PEER_FAILED as ngx_uint_t != 0;
        if failed {
            exchange.dispatcher().idle(exchange.place, lease.process).clear();
            pc.tries = usize::from(may_be_sent_again(exchange));
        } else {
            keep_connection(pc, exchange, &lease);
        }
        let dispatcher = exchange.dispatcher();
        if exchange.outcome.is_some() || pc.tries > 0 && failed {
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

fn keep_connection(pc: &mut ngx_peer_connection_t, exchange: &Exchange, lease: &Lease) {
    // SAFETY: the upstream exists as long as its peer is in use.
    let clean = unsafe {
        let u = exchange.request.upstream();
        (*u).keepalive() != 0 && (*u).request_body_sent() != 0
    };
    if pc.connection.is_null() || !clean {
        return;
    }
    let pool = exchange.dispatcher().idle(exchange.place, lease.process);
    if pool.keep(lease.incarnation, pc.connection) {
        pc.connection = std::ptr::null_mut();
    }
}
