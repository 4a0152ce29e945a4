//! Requests that wait for a slot inside nginx's upstream code: nginx had to look into its cache first,
//! or they are sent again. nginx is told that their connection is being made; they hold a stand-in for
//! it, and get the real one with their slot.

use std::ptr::{addr_of_mut, null_mut};

use nginx_sys::{
    ngx_add_timer, ngx_connection_t, ngx_create_pool, ngx_current_msec, ngx_del_timer,
    ngx_delete_posted_event, ngx_event_connect_peer, ngx_event_t, ngx_peer_connection_t,
    ngx_post_event, ngx_posted_events, NGX_HTTP_GATEWAY_TIME_OUT, NGX_HTTP_UPSTREAM_FT_ERROR,
    NGX_HTTP_UPSTREAM_FT_TIMEOUT,
};

use super::waiting::{end_waiting, finalize};
use crate::exchange::{serves_stale, Exchange};
use crate::ffi::{code, guard, Request};

/// A connection that is none, in the request's pool.
pub struct Parked {
    connection: ngx_connection_t,
    read: ngx_event_t,
    write: ngx_event_t,
    /// Runs when nginx has taken the stand-in for a connection that is being made.
    settled: ngx_event_t,
    /// The status of a request that need not wait, because nobody will take it.
    refused: Option<u32>,
}

/// Gives nginx a stand-in. `None` without memory.
pub fn park(
    pc: &mut ngx_peer_connection_t,
    exchange: &mut Exchange,
    refused: Option<u32>,
) -> Option<()> {
    let r = exchange.request;
    // SAFETY: all-zero is a connection's and an event's initial state.
    let parked = unsafe { std::mem::zeroed::<Parked>() };
    let mut parked = r.keep(Parked { refused, ..parked })?;
    exchange.parked = Some(parked);
    // SAFETY: in the request's pool, which outlives nginx's use of it, and not moved; nginx sets the
    // handlers of the two events itself. The pool is the request's, which nginx does not destroy: see
    // unpark.
    unsafe {
        let parked = parked.as_mut();
        parked.connection.fd = -1;
        parked.connection.read = addr_of_mut!(parked.read);
        parked.connection.write = addr_of_mut!(parked.write);
        parked.connection.pool = r.pool();
        parked.connection.recv = Some(fail_to_receive);
        parked.read.data = addr_of_mut!(parked.connection).cast();
        parked.write.data = addr_of_mut!(parked.connection).cast();
        parked.settled.data = std::ptr::from_mut(exchange).cast();
        parked.settled.handler = Some(on_settled);
        parked.settled.log = r.log();
        ngx_post_event(addr_of_mut!(parked.settled), addr_of_mut!(ngx_posted_events));
        pc.connection = addr_of_mut!(parked.connection);
    }
    Some(())
}

/// Takes the stand-in away, whatever becomes of the request. `false`: it has none.
pub fn unpark(pc: &mut ngx_peer_connection_t, exchange: &mut Exchange) -> bool {
    let Some(mut parked) = exchange.parked.take() else { return false };
    // SAFETY: in the request's pool.
    unsafe {
        let parked = parked.as_mut();
        if parked.write.timer_set() != 0 {
            ngx_del_timer(&mut parked.write);
        }
        if parked.settled.posted() != 0 {
            ngx_delete_posted_event(&mut parked.settled);
        }
        if std::ptr::eq(pc.connection, &parked.connection) {
            pc.connection = null_mut();
        }
    }
    true
}

/// The request has its slot: makes the connection, and lets nginx go on as if it had made it itself
/// (nginx: ngx_http_upstream_connect).
pub fn resume(r: Request, exchange: &mut Exchange) {
    let Some(mut parked) = exchange.parked else { return };
    // SAFETY: a live request, whose upstream waits for its connection; the stand-in stays in the
    // request's pool.
    unsafe {
        let u = &mut *r.upstream();
        let parked = parked.as_mut();
        unpark(&mut u.peer, exchange);
        u.start_time = ngx_current_msec;
        if exchange.attempts == 0 {
            // wsgi_next_upstream_timeout begins with the first attempt.
            u.peer.start_time = ngx_current_msec;
        }
        let rc = ngx_event_connect_peer(&mut u.peer);
        if let Some(state) = u.state.as_mut() {
            state.peer = u.peer.name;
        }
        if ![code::OK, code::AGAIN, code::DONE].contains(&rc) || !adopt(r, parked) {
            exchange.parked = Some(parked.into());
            u.peer.connection = &mut parked.connection;
            return give_up(r, parked, false);
        }
        if rc == code::AGAIN {
            ngx_add_timer((*u.peer.connection).write, (*u.conf).connect_timeout);
        } else if let Some(send) = u.write_event_handler {
            send(r.as_ptr(), u);
        }
    }
}

/// Prepares the connection as nginx does. `false` without memory.
///
/// # Safety
///
/// The request's upstream has a new connection in place of the stand-in.
unsafe fn adopt(r: Request, parked: &Parked) -> bool {
    // SAFETY: as the caller guarantees.
    unsafe {
        let (u, client) = (&mut *r.upstream(), &*r.connection());
        let c = &mut *u.peer.connection;
        c.requests += 1;
        c.data = r.as_ptr().cast();
        (*c.read).handler = parked.read.handler;
        (*c.write).handler = parked.write.handler;
        c.set_sendfile(c.sendfile() & client.sendfile());
        u.output.set_sendfile(c.sendfile());
        if c.pool.is_null() {
            c.pool = ngx_create_pool(128, client.log);
            if c.pool.is_null() {
                return false;
            }
        }
        c.log = client.log;
        (*c.pool).log = client.log;
        (*c.read).log = client.log;
        (*c.write).log = client.log;
        u.writer.connection = c;
    }
    true
}

/// Ends the wait with a status, or with a response from the cache.
pub fn dismiss(r: Request, exchange: &mut Exchange, status: u32) {
    let timed_out = status == NGX_HTTP_GATEWAY_TIME_OUT;
    let failure = if timed_out { NGX_HTTP_UPSTREAM_FT_TIMEOUT } else { NGX_HTTP_UPSTREAM_FT_ERROR };
    exchange.dispatcher().dequeue(exchange);
    let Some(mut parked) = exchange.parked else { return };
    // SAFETY: a live request, whose upstream waits; the stand-in is in its pool.
    unsafe {
        if serves_stale(r, failure) {
            return give_up(r, parked.as_mut(), timed_out);
        }
        let u = &mut *r.upstream();
        unpark(&mut u.peer, exchange);
        // There is no peer to be freed.
        u.peer.sockaddr = null_mut();
    }
    finalize(r, status);
}

/// Lets nginx see the stand-in fail.
///
/// # Safety
///
/// The stand-in is the connection of the request's upstream.
unsafe fn give_up(r: Request, parked: &mut Parked, timed_out: bool) {
    // SAFETY: as the caller guarantees; the handler is the one that nginx reads a response with. It
    // need not look at the socket, as if the request had been sent.
    unsafe {
        let u = &mut *r.upstream();
        parked.read.set_timedout(timed_out.into());
        u.set_request_sent(1);
        if let Some(receive) = u.read_event_handler {
            receive(r.as_ptr(), u);
        }
    }
}

unsafe extern "C" fn fail_to_receive(_: *mut ngx_connection_t, _: *mut u8, _: usize) -> isize {
    code::ERROR
}

/// nginx has set its own timer for the connection; how long a request waits for a slot is ours.
unsafe extern "C" fn on_settled(event: *mut ngx_event_t) {
    guard("a waiting request", (), || {
        // SAFETY: the event lives in the request's pool and is taken back before the exchange goes.
        let (exchange, refused) = unsafe {
            let exchange = &mut *(*event).data.cast::<Exchange>();
            let Some(mut parked) = exchange.parked else { return };
            let parked = parked.as_mut();
            if parked.write.timer_set() != 0 {
                ngx_del_timer(&mut parked.write);
            }
            (exchange, parked.refused)
        };
        if let Some(status) = refused {
            end_waiting(exchange.request, status);
        }
    });
}
