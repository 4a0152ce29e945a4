//! The connection to a host, as nginx's upstream code uses it: descriptors travel over it.

use std::ffi::c_void;
use std::os::fd::AsFd;
use std::ptr::NonNull;
use std::slice;

use nginx_sys::{
    ngx_chain_t, ngx_chain_update_sent, ngx_chain_writer, ngx_connection_t, ngx_int_t, ngx_io,
    off_t,
};
use ngx::ngx_log_error;
use ngx_wsgi_host::mailbox::{Sleep, ROOM};
use ngx_wsgi_host::scoreboard::Lease;
use ngx_wsgi_host::wire::{BadFrame, Header, BY_MAIL};

use super::{links, Exchange};
use crate::ffi::{buf_size, code, contents, guard, in_memory, receive, send_with, Request};

/// nginx's output filter of a request that is sent as it is.
///
/// # Safety
///
/// Called by nginx with the request as `data`.
pub unsafe extern "C" fn output_filter(data: *mut c_void, input: *mut ngx_chain_t) -> ngx_int_t {
    guard("a request", code::ERROR, || {
        // SAFETY: filter_ctx is the request.
        let r = unsafe { Request::new(data.cast()) };
        write(r, input)
    })
}

/// Sends the request, or a part of it. nginx's own code makes connections, and this is called before it
/// reads from one.
pub fn write(r: Request, out: *mut ngx_chain_t) -> ngx_int_t {
    // SAFETY: the upstream of a live request, which has its connection while it is written to; the
    // writer belongs to it.
    unsafe {
        let u = r.upstream();
        let c = (*u).peer.connection;
        (*c).recv = Some(receive_descriptor);
        (*c).recv_chain = Some(receive_chain);
        if let Some(exchange) = Exchange::of(r) {
            if (*c).sent == 0 && !out.is_null() {
                settle(c, exchange);
            }
            if exchange.upload_waits {
                (*c).send_chain = Some(send_upload);
            } else if exchange.slot.is_some() && (*c).sent == 0 && !r.request_body_no_buffering() {
                (*c).send_chain = Some(leave);
            }
        }
        ngx_chain_writer(std::ptr::addr_of_mut!((*u).writer).cast(), out)
    }
}

/// Prepares the connection for an exchange that begins: small messages may be left in memory.
///
/// # Safety
///
/// `c` is the open connection of the exchange, over which nothing of the exchange has been sent.
unsafe fn settle(c: *mut ngx_connection_t, exchange: &mut Exchange) {
    let Some(open) = NonNull::new(c) else { return };
    if exchange.slot.is_none() {
        // What has carried a request before has been kept with its slot, if it has one.
        // SAFETY: as the caller guarantees.
        let is_new = unsafe { (*c).requests <= 1 };
        let lease = exchange.lease.as_ref().filter(|_| is_new);
        let pool = |lease: &Lease| exchange.dispatcher().idle(exchange.place, lease.process);
        exchange.slot = lease.and_then(|lease| pool(lease).settle(lease.incarnation, open));
    }
    if let Some(slot) = &exchange.slot {
        slot.expect(open);
    }
    let flags = if exchange.slot.is_some() { BY_MAIL } else { 0 };
    Header::set_flags(&mut exchange.frame, flags);
}

/// Leaves a small request in memory when the host will look there. Writes as nginx does it otherwise.
unsafe extern "C" fn leave(
    c: *mut ngx_connection_t,
    chain: *mut ngx_chain_t,
    limit: off_t,
) -> *mut ngx_chain_t {
    let failed = code::ERROR as *mut ngx_chain_t;
    guard("a request", failed, || {
        // SAFETY: nginx writes to an open connection of a live request; the links of its chain have
        // their buffers, whose bytes nobody changes meanwhile.
        unsafe {
            (*c).send_chain = ngx_io.send_chain;
            let exchange = Exchange::of(Request::new((*c).data.cast()));
            let slot = exchange.as_ref().and_then(|exchange| exchange.slot.as_ref());
            let buffers = || links(chain).map(|link| (*link).buf);
            let len: u64 = buffers().map(|b| buf_size(b)).sum();
            let bytes = buffers().filter(|b| buf_size(*b) > 0).map(|b| contents(b));
            let fits = len <= ROOM as u64 && buffers().all(|b| in_memory(b));
            let left = match slot.filter(|_| fits) {
                Some(slot) => slot.leave(bytes),
                None => Err(Sleep::NONE),
            };
            let Err(sleep) = left else {
                (*c).sent += len as off_t;
                return ngx_chain_update_sent(chain, len as off_t);
            };
            let rest = ngx_io.send_chain.map_or(failed, |send_chain| send_chain(c, chain, limit));
            if rest.is_null() {
                slot.into_iter().for_each(|slot| slot.call(sleep));
            }
            rest
        }
    })
}

/// Writing as nginx does it, with the descriptor of the request's body attached to the first bytes.
unsafe extern "C" fn send_upload(
    c: *mut ngx_connection_t,
    chain: *mut ngx_chain_t,
    limit: off_t,
) -> *mut ngx_chain_t {
    let failed = code::ERROR as *mut ngx_chain_t;
    guard("a request", failed, || {
        // SAFETY: nginx writes to an open connection of a live request; the chain begins with the
        // REQUEST frame, in memory.
        unsafe {
            let Some(exchange) = Exchange::of(Request::new((*c).data.cast())) else {
                return failed;
            };
            let Some(upload) = &exchange.upload else { return failed };
            let sent = send_with(c, (*chain).buf, upload.as_fd());
            if sent == code::AGAIN {
                return chain;
            }
            if sent < 0 {
                return failed;
            }
            exchange.upload_waits = false;
            (*c).send_chain = ngx_io.send_chain;
            let rest = ngx_chain_update_sent(chain, sent as off_t);
            match ngx_io.send_chain {
                Some(send_chain) if !rest.is_null() => send_chain(c, rest, limit),
                _ => rest,
            }
        }
    })
}

/// Reads from the response if it has been left in memory. `None`: it has not, or nothing more of it is there.
///
/// # Safety
///
/// `c` is an open connection whose data is a live request.
unsafe fn receive_mail(c: *mut ngx_connection_t, out: &mut [u8]) -> Option<usize> {
    // SAFETY: as the caller guarantees; a connection has its events.
    let (r, read) = unsafe { (Request::new((*c).data.cast()), &mut *(*c).read) };
    let slot = Exchange::of(r)?.slot.as_ref()?;
    slot.wake();
    let count = slot.receive(out)?;
    // The kernel may have told nginx of more meanwhile, and tells it once.
    if slot.is_read() && read.available == 0 && read.pending_eof() == 0 {
        read.set_ready(0);
    }
    Some(count)
}

/// Reading into several buffers as nginx does it, for a connection whose data is a request.
unsafe extern "C" fn receive_chain(
    c: *mut ngx_connection_t,
    chain: *mut ngx_chain_t,
    limit: off_t,
) -> isize {
    guard("a response", code::ERROR, || {
        let (mut all, mut left) = (0, if limit == 0 { usize::MAX } else { limit as usize });
        // SAFETY: nginx reads from an open connection of a live request; the links of its chain have
        // buffers with room behind what they hold.
        unsafe {
            for link in links(chain) {
                let b = (*link).buf;
                let room = ((*b).end.offset_from((*b).last).max(0) as usize).min(left);
                let out = slice::from_raw_parts_mut((*b).last, room);
                let Some(count) = receive_mail(c, out) else { break };
                all += count;
                left -= count;
            }
            match ngx_io.recv_chain {
                Some(receive) if all == 0 => receive(c, chain, limit),
                _ => all as isize,
            }
        }
    })
}

/// Reading as nginx does it, for a connection whose data is a request.
unsafe extern "C" fn receive_descriptor(
    c: *mut ngx_connection_t,
    buf: *mut u8,
    size: usize,
) -> isize {
    guard("a response", code::ERROR, || {
        // SAFETY: nginx reads from an open connection of a live request, into a buffer of that size.
        let (r, out) =
            unsafe { (Request::new((*c).data.cast()), slice::from_raw_parts_mut(buf, size)) };
        // SAFETY: as above.
        if let Some(count) = unsafe { receive_mail(c, out) } {
            return count as isize;
        }
        // SAFETY: as above.
        let received = unsafe { receive(c, buf, size) };
        if received.dropped {
            ngx_log_error!(
                nginx_sys::NGX_LOG_ERR,
                r.log(),
                "a descriptor from upstream is lost: it sent more than one, or this worker has as \
                 many files open as it may"
            );
        }
        let Some(descriptor) = received.descriptor else { return received.count };
        match Exchange::of(r) {
            Some(exchange) if exchange.descriptor.is_none() => {
                exchange.descriptor = Some(descriptor);
                received.count
            }
            _ => {
                let stray = BadFrame::StrayDescriptor;
                ngx_log_error!(
                    nginx_sys::NGX_LOG_ERR,
                    r.log(),
                    "upstream sent an invalid response: {stray}"
                );
                // SAFETY: the connection's event.
                unsafe { (*(*c).read).set_error(1) };
                code::ERROR
            }
        }
    })
}
