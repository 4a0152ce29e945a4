//! The connection to a host, as nginx's upstream code uses it: descriptors travel over it.

use std::ffi::c_void;
use std::os::fd::AsFd;

use nginx_sys::{
    ngx_chain_t, ngx_chain_update_sent, ngx_chain_writer, ngx_connection_t, ngx_int_t, ngx_io,
    off_t,
};
use ngx::ngx_log_error;
use ngx_wsgi_host::wire::BadFrame;

use super::Exchange;
use crate::ffi::{code, guard, receive, send_with, Request};

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
        if Exchange::of(r).is_some_and(|exchange| exchange.upload_waits) {
            (*c).send_chain = Some(send_upload);
        }
        ngx_chain_writer(std::ptr::addr_of_mut!((*u).writer).cast(), out)
    }
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

/// Reading as nginx does it, for a connection whose data is a request.
unsafe extern "C" fn receive_descriptor(
    c: *mut ngx_connection_t,
    buf: *mut u8,
    size: usize,
) -> isize {
    guard("a response", code::ERROR, || {
        // SAFETY: nginx reads from an open connection of a live request, into a buffer of that size.
        let (received, r) = unsafe { (receive(c, buf, size), Request::new((*c).data.cast())) };
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
