//! A request as this module sees it.

use std::ffi::{c_uint, CStr};
use std::ptr::NonNull;

use nginx_sys::{
    ngx_chain_t, ngx_connection_t, ngx_hash_strlow, ngx_http_block_reading, ngx_http_cleanup_add,
    ngx_http_cleanup_pt, ngx_http_core_loc_conf_t, ngx_http_core_module, ngx_http_core_srv_conf_t,
    ngx_http_discard_request_body, ngx_http_get_variable, ngx_http_log_ctx_t,
    ngx_http_map_uri_to_path, ngx_http_request_t, ngx_http_upstream_t, ngx_int_t, ngx_list_part_t,
    ngx_log_t, ngx_module_t, ngx_pool_cleanup_add, ngx_pool_t, ngx_post_event, ngx_posted_events,
    ngx_str_t, ngx_table_elt_t,
};

use nix::errno::Errno;

use super::{bindings, bytes};

/// A live request, on the event thread. Copies are as good as the original, and none may be used
/// after the request was finalized: nginx's own rule for the pointer inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request(NonNull<ngx_http_request_t>);

macro_rules! flags {
    ($($(#[$meta:meta])* $get:ident;)*) => {
        $($(#[$meta])*
        pub fn $get(self) -> bool {
            // SAFETY: both bindings describe the same C struct; see build.rs.
            unsafe { (*self.0.as_ptr().cast::<bindings::ngx_http_request_s>()).$get() != 0 }
        })*
    };
}

impl Request {
    /// Wraps the pointer that nginx calls back with.
    ///
    /// # Safety
    ///
    /// `r` is a live request, and this is the event thread.
    pub unsafe fn new(r: *mut ngx_http_request_t) -> Self {
        // SAFETY: nginx never calls back with a null request.
        Request(unsafe { NonNull::new_unchecked(r) })
    }

    /// nginx's pointer.
    pub fn as_ptr(self) -> *mut ngx_http_request_t {
        self.0.as_ptr()
    }

    /// The fields, for reading. Bit-fields go through the flags below.
    pub fn get<'a>(self) -> &'a ngx_http_request_t {
        // SAFETY: live by the type's rule; short-lived shared views on the event thread only.
        unsafe { self.0.as_ref() }
    }

    flags! {
        /// The body is passed on as it arrives.
        request_body_no_buffering;
        /// Nothing follows the response's header.
        header_only;
        /// nginx has led the request to another URL than the client's.
        internal;
        /// The response comes from nginx's cache.
        #[cfg(ngx_feature = "http_cache")]
        cached;
    }

    /// There is no cache.
    #[cfg(not(ngx_feature = "http_cache"))]
    pub fn cached(self) -> bool {
        false
    }

    /// Makes nginx hand the body on as it arrives.
    pub fn set_request_body_no_buffering(self) {
        // SAFETY: as for the flags.
        unsafe {
            (*self.0.as_ptr().cast::<bindings::ngx_http_request_s>())
                .set_request_body_no_buffering(1 as c_uint);
        }
    }

    /// Lets nginx send parts of the response when the client asks for them.
    pub fn allow_ranges(self) {
        // SAFETY: as for the flags.
        unsafe {
            (*self.0.as_ptr().cast::<bindings::ngx_http_request_s>()).set_allow_ranges(1 as c_uint);
        }
    }

    /// Lets it have one part at a time only.
    pub fn allow_single_range(self) {
        // SAFETY: as for the flags.
        unsafe {
            (*self.0.as_ptr().cast::<bindings::ngx_http_request_s>()).set_single_range(1 as c_uint);
        }
    }

    /// Whether nginx compares the response with what the client has already.
    pub fn compare_with_client(self, compares: bool) {
        // SAFETY: as for the flags.
        unsafe {
            let r = &mut *self.0.as_ptr().cast::<bindings::ngx_http_request_s>();
            r.set_disable_not_modified(c_uint::from(!compares));
        }
    }

    /// Closes the client's connection behind the response.
    pub fn forbid_keepalive(self) {
        // SAFETY: as for the flags.
        unsafe {
            (*self.0.as_ptr().cast::<bindings::ngx_http_request_s>()).set_keepalive(0 as c_uint);
        }
    }

    /// Bytes a second at which the client is served, 0 without a limit, and whether that is final:
    /// nginx looks into its configuration otherwise.
    pub fn limit_rate(self) -> (usize, bool) {
        // SAFETY: as for the flags.
        unsafe {
            let r = &*self.0.as_ptr().cast::<bindings::ngx_http_request_s>();
            (r.limit_rate, r.limit_rate_set() != 0)
        }
    }

    /// Sets what [`Self::limit_rate`] says.
    pub fn set_limit_rate(self, (rate, is_final): (usize, bool)) {
        // SAFETY: as for the flags.
        unsafe {
            let r = &mut *self.0.as_ptr().cast::<bindings::ngx_http_request_s>();
            r.limit_rate = rate;
            r.set_limit_rate_set(c_uint::from(is_final));
        }
    }

    /// Lets the request go on when the handler that nginx has called returns `NGX_DONE`. Whoever has it
    /// go on later finalizes it.
    pub fn hold(self) {
        // SAFETY: as for the flags; a request's main request lives as long as it.
        unsafe {
            let main = self.get().main.cast::<bindings::ngx_http_request_s>();
            (*main).set_count((*main).count() + 1);
        }
    }

    /// Whether this is the client's request, not a subrequest of it.
    pub fn is_main(self) -> bool {
        std::ptr::eq(self.as_ptr(), self.get().main)
    }

    /// Whether the client sends its body in chunks.
    pub fn chunked(self) -> bool {
        self.get().headers_in.chunked() != 0
    }

    /// From now on a client that closes its connection ends nothing: it has what it asked for.
    pub fn stop_watching_client(self) {
        // SAFETY: a live request; the handler ignores what the client sends.
        unsafe { (*self.as_ptr()).read_event_handler = Some(ngx_http_block_reading) };
    }

    /// Whether the client has closed its connection, as far as that shows without reading what it has sent.
    pub fn client_has_gone(self) -> bool {
        // SAFETY: a live request's connection has an open descriptor; one byte has room.
        let peeked = unsafe {
            let (mut byte, flags) = (0u8, libc::MSG_PEEK | libc::MSG_DONTWAIT);
            libc::recv((*self.connection()).fd, std::ptr::addr_of_mut!(byte).cast(), 1, flags)
        };
        match peeked {
            0 => true,
            -1 => !matches!(Errno::last(), Errno::EAGAIN | Errno::EINTR),
            _ => false,
        }
    }

    /// The client's connection.
    pub fn connection(self) -> *mut ngx_connection_t {
        self.get().connection
    }

    /// Whether the connection is TLS.
    pub fn is_tls(self) -> bool {
        #[cfg(ngx_feature = "http_ssl")]
        // SAFETY: a request always has its connection.
        return unsafe { !(*self.connection()).ssl.is_null() };
        #[cfg(not(ngx_feature = "http_ssl"))]
        return false;
    }

    /// The log of the request's location.
    pub fn log(self) -> *mut ngx_log_t {
        // SAFETY: a request always has its connection, and that its log.
        unsafe { (*self.connection()).log }
    }

    /// Makes log lines of the connection tell this request (nginx's `ngx_http_set_log_request`).
    pub fn set_log_request(self) {
        // SAFETY: the log data of an HTTP connection is its ngx_http_log_ctx_t.
        unsafe {
            let ctx = (*self.log()).data.cast::<ngx_http_log_ctx_t>();
            if let Some(ctx) = ctx.as_mut() {
                ctx.current_request = self.as_ptr();
            }
        }
    }

    /// Sets what log lines say nginx is doing ("while ...").
    pub fn set_action(self, action: &'static CStr) {
        // SAFETY: a request's connection has its log; nginx does not write through the pointer.
        unsafe { (*self.log()).action = action.as_ptr().cast_mut().cast() };
    }

    /// The request's pool.
    pub fn pool(self) -> *mut ngx_pool_t {
        self.get().pool
    }

    /// The upstream, once it was created.
    pub fn upstream(self) -> *mut ngx_http_upstream_t {
        self.get().upstream
    }

    /// Has nginx end what it does with the upstream, soon, as it does when the upstream does not answer
    /// in time.
    pub fn time_out_upstream(self) {
        // SAFETY: null, or an upstream whose connection, if any, is open and has its read event; this is
        // what an expired timer of that event leads to.
        unsafe {
            let Some(u) = self.upstream().as_mut() else { return };
            let Some(c) = u.peer.connection.as_mut() else { return };
            (*c.read).set_timedout(1);
            ngx_post_event(c.read, std::ptr::addr_of_mut!(ngx_posted_events));
        }
    }

    /// The buffers of the body that was read.
    pub fn body(self) -> *mut ngx_chain_t {
        // SAFETY: null, or a body in the request's pool.
        unsafe { self.get().request_body.as_ref() }.map_or(std::ptr::null_mut(), |body| body.bufs)
    }

    /// Reads the body, if there is one, and throws it away: `code::OK`, or the status of the answer.
    pub fn discard_body(self) -> ngx_int_t {
        // SAFETY: a live request whose body nobody has begun to read.
        unsafe { ngx_http_discard_request_body(self.as_ptr()) }
    }

    /// Lets the request have had no body. What is being sent of it stays as it is.
    pub fn forget_body(self) {
        // SAFETY: null, or a body in the request's pool, where its buffers stay.
        if let Some(body) = unsafe { self.get().request_body.as_mut() } {
            body.bufs = std::ptr::null_mut();
        }
    }

    /// This module's context.
    pub fn context<T>(self, module: &ngx_module_t) -> *mut T {
        // SAFETY: ctx has a slot for each module.
        unsafe { (*self.get().ctx.add(module.ctx_index)).cast() }
    }

    /// Sets this module's context.
    pub fn set_context<T>(self, module: &ngx_module_t, context: *mut T) {
        // SAFETY: as above.
        unsafe { *self.get().ctx.add(module.ctx_index) = context.cast() };
    }

    /// A module's main configuration.
    pub fn main_conf<T>(self, module: &ngx_module_t) -> *mut T {
        // SAFETY: main_conf has a slot for each module.
        unsafe { (*self.get().main_conf.add(module.ctx_index)).cast() }
    }

    /// A module's location configuration.
    pub fn location_conf<T>(self, module: &ngx_module_t) -> *mut T {
        // SAFETY: loc_conf has a slot for each module.
        unsafe { (*self.get().loc_conf.add(module.ctx_index)).cast() }
    }

    /// The core module's configuration of the location.
    pub fn core_location<'a>(self) -> &'a ngx_http_core_loc_conf_t {
        // SAFETY: every location has one, in the cycle's pool.
        unsafe { &*self.location_conf(&*std::ptr::addr_of!(ngx_http_core_module)) }
    }

    /// The core module's configuration of the server.
    pub fn core_server<'a>(self) -> &'a ngx_http_core_srv_conf_t {
        // SAFETY: every request has a server, whose configuration is in the cycle's pool.
        unsafe {
            let index = (*std::ptr::addr_of!(ngx_http_core_module)).ctx_index;
            &*(*self.get().srv_conf.add(index)).cast()
        }
    }

    /// The value of an nginx variable, `None` when it is unknown or has none.
    pub fn variable<'a>(self, name: &str) -> Option<&'a [u8]> {
        let mut lower = name.as_bytes().to_vec();
        let mut name = ngx_str_t { len: lower.len(), data: lower.as_mut_ptr() };
        // SAFETY: lower is writable and as long as it says; the result lives in the request's pool.
        unsafe {
            let key = ngx_hash_strlow(name.data, name.data, name.len);
            let value = ngx_http_get_variable(self.as_ptr(), &mut name, key).as_ref()?;
            // The only field that nginx sets for a name it doesn't know.
            if value.not_found() != 0 {
                return None;
            }
            Some(std::slice::from_raw_parts(
                if value.len() == 0 { NonNull::dangling().as_ptr() } else { value.data },
                value.len() as usize,
            ))
        }
    }

    /// The request headers in the client's order.
    pub fn headers<'a>(self) -> Headers<'a> {
        Headers { part: Some(&self.get().headers_in.headers.part), index: 0 }
    }

    /// Keeps `value` until the request's pool is destroyed. `None` without memory.
    pub fn keep<T>(self, value: T) -> Option<NonNull<T>> {
        // SAFETY: the request's pool is live.
        let cleanup = NonNull::new(unsafe { ngx_pool_cleanup_add(self.pool(), 0) })?;
        let value = NonNull::from(Box::leak(Box::new(value)));
        // SAFETY: a fresh cleanup entry.
        unsafe {
            (*cleanup.as_ptr()).handler = Some(drop_boxed::<T>);
            (*cleanup.as_ptr()).data = value.as_ptr().cast();
        }
        Some(value)
    }

    /// The values of this type that are kept in the request's pool, the newest first. Subrequests
    /// share the pool of their request.
    pub fn kept<T>(self) -> impl Iterator<Item = NonNull<T>> {
        // SAFETY: the request's pool is live, and its cleanups are a list that ends with null.
        let mut cleanup = unsafe { (*self.pool()).cleanup };
        std::iter::from_fn(move || loop {
            // SAFETY: as above.
            let entry = unsafe { cleanup.as_ref() }?;
            cleanup = entry.next;
            // Only keep registers this function for a T.
            let ours: unsafe extern "C" fn(*mut std::ffi::c_void) = drop_boxed::<T>;
            if entry.handler.is_some_and(|handler| std::ptr::fn_addr_eq(handler, ours)) {
                return NonNull::new(entry.data.cast());
            }
        })
    }

    /// Calls `handler` with `data` when the request ends, before its pool goes. `false` without
    /// memory.
    pub fn on_end<T>(self, handler: ngx_http_cleanup_pt, data: *mut T) -> bool {
        // SAFETY: a live request.
        let Some(cleanup) = (unsafe { ngx_http_cleanup_add(self.as_ptr(), 0).as_mut() }) else {
            return false;
        };
        cleanup.handler = handler;
        cleanup.data = data.cast();
        true
    }
}

/// The end of what [`Request::keep`] keeps.
unsafe extern "C" fn drop_boxed<T>(data: *mut std::ffi::c_void) {
    // SAFETY: data is the box that keep has leaked; a pool runs each cleanup once.
    drop(unsafe { Box::from_raw(data.cast::<T>()) });
}

/// Iterates over request headers: name and value, undecoded.
pub struct Headers<'a> {
    part: Option<&'a ngx_list_part_t>,
    index: usize,
}

impl<'a> Iterator for Headers<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let part = self.part?;
            if self.index < part.nelts {
                // SAFETY: the list's parts hold nelts headers each, in the request's pool.
                let header = unsafe { &*part.elts.cast::<ngx_table_elt_t>().add(self.index) };
                self.index += 1;
                // SAFETY: as above.
                return Some(unsafe { (bytes(&header.key), bytes(&header.value)) });
            }
            self.index = 0;
            // SAFETY: null or the next part of the same list.
            self.part = unsafe { part.next.as_ref() };
        }
    }
}

/// Makes a header name lower-case, and returns its hash, as nginx's header tables are keyed
/// (`ngx_hash_strlow`).
pub fn header_key(name: &mut [u8]) -> usize {
    name.iter_mut().fold(0usize, |key, byte| {
        byte.make_ascii_lowercase();
        key.wrapping_mul(31).wrapping_add(usize::from(*byte))
    })
}

/// The file that nginx maps the request's URL to, by the location's `root` or `alias`, and how much of
/// its name comes from there. `None` without memory.
pub fn file_name(r: Request) -> Option<(Vec<u8>, usize)> {
    let (mut name, mut root) = (ngx_str_t { len: 0, data: std::ptr::null_mut() }, 0);
    // SAFETY: a live request; nginx allocates the name, and returns where its NUL is.
    unsafe {
        let end = ngx_http_map_uri_to_path(r.as_ptr(), &mut name, &mut root, 0);
        if end.is_null() {
            return None;
        }
        let name = std::slice::from_raw_parts(name.data, end.offset_from(name.data) as usize);
        Some((name.to_vec(), root.min(name.len())))
    }
}
