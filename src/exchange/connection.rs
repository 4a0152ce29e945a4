//! The connection to a host, as nginx's upstream code uses it: descriptors travel over it.

use std::ffi::c_void;

use nginx_sys::{ngx_chain_t, ngx_chain_writer, ngx_connection_t, ngx_int_t};
use ngx::ngx_log_error;
use ngx_wsgi_host::wire::BadFrame;

use super::Exchange;
use crate::ffi::{code, guard, receive, Request};

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
        (*(*u).peer.connection).recv = Some(receive_descriptor);
        ngx_chain_writer(std::ptr::addr_of_mut!((*u).writer).cast(), out)
    }
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
