//! Descriptors of ours in nginx's event loop.

use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr::NonNull;

use nginx_sys::{
    ngx_close_connection, ngx_connection_t, ngx_delete_posted_event, ngx_event_actions,
    ngx_event_t, ngx_free_connection, ngx_get_connection, ngx_handle_read_event, ngx_log_t,
};

/// A descriptor that the event loop watches for reading.
pub struct Watched {
    connection: NonNull<ngx_connection_t>,
    /// Closed after the connection was taken out of the event loop.
    fd: OwnedFd,
}

impl Watched {
    /// Watches `fd`; `handler` is called with an event whose data is the connection, whose data is
    /// `owner`. `None` when nginx has no connection left.
    pub fn new<T>(
        fd: OwnedFd,
        handler: unsafe extern "C" fn(*mut ngx_event_t),
        owner: *mut T,
        log: *mut ngx_log_t,
    ) -> Option<Self> {
        // SAFETY: fd is open; the log outlives the process's event loop or the generation.
        let connection = NonNull::new(unsafe { ngx_get_connection(fd.as_raw_fd(), log) })?;
        // SAFETY: a fresh connection with its two events, used on the event thread only.
        unsafe {
            let c = connection.as_ptr();
            (*c).data = owner.cast();
            let read = (*c).read;
            (*read).handler = Some(handler);
            (*read).log = log;
            (*(*c).write).log = log;
            // Keeps it out of nginx's sweeps over client connections at shutdown.
            (*read).set_channel(1);
            if ngx_handle_read_event(read, 0) != super::code::OK {
                ngx_free_connection(c);
                return None;
            }
        }
        Some(Watched { connection, fd })
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        super::fork::release(self.fd.as_raw_fd());
        // SAFETY: the connection is ours until it is freed here. The event is taken out of epoll
        // first: the descriptor's description may live on in another process.
        unsafe {
            let c = self.connection.as_ptr();
            if (*(*c).read).posted() != 0 {
                ngx_delete_posted_event((*c).read);
            }
            if (*(*c).read).active() != 0 {
                if let Some(del) = ngx_event_actions.del {
                    del((*c).read, 0, 0);
                }
            }
            ngx_free_connection(c);
            (*c).fd = -1;
        }
    }
}

/// Closes a connection with its pool.
///
/// # Safety
///
/// `c` is an open connection that nobody uses afterwards.
pub unsafe fn close_connection(c: *mut ngx_connection_t) {
    // SAFETY: as the caller guarantees; the pool, if any, belongs to the connection.
    unsafe {
        if !(*c).pool.is_null() {
            nginx_sys::ngx_destroy_pool((*c).pool);
            (*c).pool = std::ptr::null_mut();
        }
        ngx_close_connection(c);
    }
}
