//! What nginx's cache wants of an exchange: its key, and a response header that can be read again.

use nginx_sys::{
    ngx_array_push, ngx_buf_t, ngx_escape_uri, ngx_http_request_t, ngx_int_t, ngx_palloc,
    ngx_str_t, NGX_ESCAPE_URI, NGX_HTTP_CACHE_EXPIRED,
};
use ngx::ngx_log_error;
use ngx_wsgi_host::wire::{Header, Kind};

use super::names::local_port;
use crate::conf::LocationConf;
use crate::ffi::{bytes, code, guard, pool_copy, Request};

/// nginx's `create_key`.
///
/// # Safety
///
/// Called by nginx for a request whose cache has been made.
pub unsafe extern "C" fn create_key(r: *mut ngx_http_request_t) -> ngx_int_t {
    guard("a cache key", code::ERROR, || {
        // SAFETY: as documented.
        let r = unsafe { Request::new(r) };
        match key(r).and_then(|key| push_key(r, &key)) {
            Some(()) => code::OK,
            None => code::ERROR,
        }
    })
}

fn key(r: Request) -> Option<Vec<u8>> {
    // SAFETY: this module's configuration of the request.
    let conf = unsafe { &*r.location_conf::<LocationConf>(crate::module()) };
    match conf.cache_key {
        Some(key) => key.evaluate(r).map(<[u8]>::to_vec),
        None => Some(default_key(r)),
    }
}

fn push_key(r: Request, key: &[u8]) -> Option<()> {
    // SAFETY: nginx has initialised the keys of the request's cache; the copy lives as long as both.
    unsafe {
        let copy = pool_copy(r.pool(), key)?;
        let slot = ngx_array_push(std::ptr::addr_of_mut!((*r.get().cache).keys));
        *slot.cast::<ngx_str_t>().as_mut()? = copy;
    }
    Some(())
}

/// The URL that the application is asked for: `scheme://$host:$server_port/path?query`, with the path
/// escaped, so that no two of them are written alike. A Host header that says anything else follows:
/// it is what the application makes its links of.
fn default_key(r: Request) -> Vec<u8> {
    let request = r.get();
    // SAFETY: these live as long as the request; headers_in.host is null or a header of it.
    let (server, path, args, header) = unsafe {
        let host = request.headers_in.host.as_ref().map_or(&b""[..], |host| bytes(&host.value));
        (bytes(&request.headers_in.server), bytes(&request.uri), bytes(&request.args), host)
    };
    let server = if server.is_empty() {
        // SAFETY: the name lives as long as the cycle.
        unsafe { bytes(&r.core_server().server_name) }
    } else {
        server
    };
    let place = [server, b":", local_port(r).to_string().as_bytes()].concat();
    let scheme: &[u8] = if r.is_tls() { b"https://" } else { b"http://" };
    let mut key = [scheme, &*place, &*escape(path)].concat();
    if !args.is_empty() {
        key.push(b'?');
        key.extend_from_slice(args);
    }
    if !header.is_empty() && header != server && header != place {
        key.push(b' ');
        key.extend_from_slice(header);
    }
    key
}

fn escape(path: &[u8]) -> Vec<u8> {
    let kind = NGX_ESCAPE_URI as usize;
    let from = path.as_ptr().cast_mut();
    // SAFETY: without a destination the bytes to escape are counted; each becomes three.
    let special = unsafe { ngx_escape_uri(std::ptr::null_mut(), from, path.len(), kind) };
    let mut out = vec![0; path.len() + 2 * special];
    // SAFETY: reads path and writes what was counted.
    unsafe { ngx_escape_uri(out.as_mut_ptr(), from, path.len(), kind) };
    out
}

/// Whether the response may go into the cache.
pub fn is_cacheable(r: Request) -> bool {
    // SAFETY: null, or the upstream of a live request.
    unsafe { r.upstream().as_ref() }.is_some_and(|u| u.cacheable() != 0)
}

/// Lets the response not go into the cache.
pub fn forgo(r: Request) {
    // SAFETY: the upstream of a live request; nginx does the same for wsgi_no_cache.
    unsafe { (*r.upstream()).set_cacheable(0) };
}

/// Whether nginx answers from an entry that has expired when the request fails like this.
pub fn serves_stale(r: Request, failure: u32) -> bool {
    // SAFETY: the upstream of a live request with its configuration; its cache is null or its own.
    unsafe {
        let (u, cache) = (&*r.upstream(), r.get().cache.as_ref());
        let tolerated = (*u.conf).cache_use_stale & failure as usize != 0;
        u.cache_status() == NGX_HTTP_CACHE_EXPIRED
            && cache.is_some_and(|cache| tolerated || cache.stale_error() != 0)
    }
}

/// Where the response header begins in the upstream's buffer: the cache's own header is before it.
pub fn header_start(r: Request) -> usize {
    // SAFETY: null, or the cache of a live request.
    unsafe { r.get().cache.as_ref() }.map_or(0, |cache| cache.header_start)
}

/// Makes `buffer` what nginx writes to the cache: the RESPONSE frame from `header_start` to pos, and
/// what followed it in `input` after that. So the entry has no LOG frames in it, and a header that
/// came in pieces is whole. `None` without memory.
pub fn keep_head(r: Request, buffer: *mut ngx_buf_t, payload: &[u8], rest: &[u8]) -> Option<()> {
    if !is_cacheable(r) || r.cached() {
        return Some(());
    }
    // SAFETY: the upstream has its configuration.
    let limit = unsafe { (*(*r.upstream()).conf).buffer_size };
    let frame = [&Header::new(Kind::Response, 0, payload.len() as u32).encode(), payload].concat();
    let start = header_start(r);
    // nginx reads as much of an entry before it knows how long its header is.
    if start + frame.len() > limit {
        ngx_log_error!(
            nginx_sys::NGX_LOG_WARN,
            r.log(),
            "response is not cached: its header has {} bytes, with the cache's own {}, and \
             \"wsgi_buffer_size\" is {limit}",
            frame.len(),
            start + frame.len()
        );
        forgo(r);
        return Some(());
    }
    let size = limit + rest.len();
    // SAFETY: the new memory holds what is copied to it; nobody else refers to the buffer's old
    // memory, whose part before header_start nginx has not written yet.
    unsafe {
        let memory = ngx_palloc(r.pool(), size).cast::<u8>();
        if memory.is_null() {
            return None;
        }
        let pos = memory.add(start);
        std::ptr::copy_nonoverlapping(frame.as_ptr(), pos, frame.len());
        std::ptr::copy_nonoverlapping(rest.as_ptr(), pos.add(frame.len()), rest.len());
        (*buffer).start = memory;
        (*buffer).end = memory.add(size);
        (*buffer).pos = pos.add(frame.len());
        (*buffer).last = (*buffer).pos.add(rest.len());
    }
    Some(())
}
