//! Status and headers of an application's response: what nginx's upstream code makes of those of a
//! process (`ngx_http_upstream_process_headers`), without one.

use std::ptr::addr_of_mut;

use nginx_sys::{
    ngx_hash_find, ngx_http_core_get_method, ngx_http_err_page_t, ngx_http_finalize_request,
    ngx_http_internal_redirect, ngx_http_named_location, ngx_http_parse_unsafe_uri,
    ngx_http_send_header, ngx_http_upstream_header_t, ngx_http_upstream_main_conf_t,
    ngx_http_upstream_module, ngx_int_t, ngx_list_part_t, ngx_list_push, ngx_str_t,
    ngx_table_elt_t, NGX_HTTP_BAD_GATEWAY, NGX_HTTP_GET, NGX_HTTP_HEAD, NGX_HTTP_LOG_UNSAFE,
    NGX_HTTP_NOT_FOUND, NGX_HTTP_SPECIAL_RESPONSE, NGX_HTTP_UNAUTHORIZED,
    NGX_HTTP_UPSTREAM_IGN_XA_REDIRECT,
};

use super::SERVER_ERROR;
use crate::exchange::response::{prepare_file, read_head, take_over, Treatment};
use crate::exchange::Exchange;
use crate::ffi::{bytes, code, Request};

/// How nginx ends the request, or leads it elsewhere.
pub enum Ending {
    /// With a status, or with what a filter has said.
    Finalized(ngx_int_t),
    /// `X-Accel-Redirect`.
    Redirected(ngx_str_t),
}

impl Ending {
    /// The request is not used afterwards.
    pub fn take_effect(self, r: Request) {
        match self {
            // SAFETY: a live request that reading its body has counted.
            Ending::Finalized(rc) => unsafe { ngx_http_finalize_request(r.as_ptr(), rc) },
            Ending::Redirected(uri) => redirect(r, uri),
        }
    }
}

/// Hands status and headers to nginx's filters. Says whether the response has no body, whatever the
/// application sends. What is left of it is of no use when there is an ending instead.
pub fn begin(r: Request, exchange: &mut Exchange, payload: &[u8]) -> Result<bool, Ending> {
    let head =
        read_head(r, payload).map_err(|_| Ending::Finalized(NGX_HTTP_BAD_GATEWAY as ngx_int_t))?;
    let status = u32::from(head.status);
    let treatment = Treatment::of(r, status);
    let failed = || Ending::Finalized(code::ERROR);
    let bodyless = take_over(r, exchange.file.as_mut(), &head, treatment)
        .ok_or(Ending::Finalized(SERVER_ERROR))?;
    if exchange.file.is_some() {
        prepare_file(r, exchange);
    }
    if treatment == Treatment::Replaced || intercepts(r, status) {
        // The challenge of a 401 goes with any page.
        copy_headers(r, |_, header| status == NGX_HTTP_UNAUTHORIZED && is_challenge(header))
            .ok_or_else(failed)?;
        return Err(Ending::Finalized(status as ngx_int_t));
    }
    if let Some(uri) = redirection(r) {
        copy_headers(r, |known, _| known.is_some_and(|known| known.redirect != 0))
            .ok_or_else(failed)?;
        return Err(Ending::Redirected(uri));
    }
    copy_headers(r, |_, header| !is_hidden(r, header)).ok_or(Ending::Finalized(SERVER_ERROR))?;
    set_status(r);
    // SAFETY: a live request whose header has not been sent.
    let rc = unsafe { ngx_http_send_header(r.as_ptr()) };
    // NGX_AGAIN: the header waits for the client, and the body behind it.
    if rc == code::ERROR || rc > code::OK || r.header_only() {
        return Err(Ending::Finalized(rc));
    }
    Ok(bodyless)
}

/// `wsgi_intercept_errors`: whether the location has a page for the status.
fn intercepts(r: Request, status: u32) -> bool {
    // SAFETY: the upstream of a live request has its configuration; the pages are an array of the
    // location's, or null.
    unsafe {
        if status < NGX_HTTP_SPECIAL_RESPONSE || (*(*r.upstream()).conf).intercept_errors == 0 {
            return false;
        }
        let Some(pages) = r.core_location().error_pages.as_ref() else { return false };
        let first = pages.elts.cast::<ngx_http_err_page_t>();
        (0..pages.nelts).any(|index| (*first.add(index)).status == status as isize)
    }
}

fn redirection(r: Request) -> Option<ngx_str_t> {
    // SAFETY: a live request with its upstream and the configuration of that.
    unsafe {
        let u = &*r.upstream();
        let ignored = (*u.conf).ignore_headers & NGX_HTTP_UPSTREAM_IGN_XA_REDIRECT as usize;
        u.headers_in.x_accel_redirect.as_ref().filter(|_| ignored == 0).map(|header| header.value)
    }
}

fn redirect(r: Request, mut uri: ngx_str_t) {
    // SAFETY: a live request that reading its body has counted, and that is not used afterwards; the
    // URI is in its pool. As ngx_http_upstream_process_headers does it.
    unsafe {
        let r = r.as_ptr();
        if bytes(&uri).first() == Some(&b'@') {
            ngx_http_named_location(r, &mut uri);
        } else {
            let mut args = ngx_str_t { len: 0, data: std::ptr::null_mut() };
            let mut flags = NGX_HTTP_LOG_UNSAFE as usize;
            if ngx_http_parse_unsafe_uri(r, &mut uri, &mut args, &mut flags) != code::OK {
                return ngx_http_finalize_request(r, NGX_HTTP_NOT_FOUND as ngx_int_t);
            }
            if (*r).method != NGX_HTTP_HEAD as usize {
                (*r).method = NGX_HTTP_GET as usize;
                (*r).method_name = ngx_http_core_get_method;
            }
            ngx_http_internal_redirect(r, &mut uri, &mut args);
        }
        ngx_http_finalize_request(r, code::DONE);
    }
}

/// Copies those of the application's headers to the response's that are `wanted`.
fn copy_headers(
    r: Request,
    wanted: impl Fn(Option<&ngx_http_upstream_header_t>, &ngx_table_elt_t) -> bool,
) -> Option<()> {
    // SAFETY: a live request with its upstream, whose list of headers is complete; nginx's own functions
    // copy a header as they do for it, and leave the list as it is.
    unsafe {
        let u = r.upstream();
        let index = (*std::ptr::addr_of!(ngx_http_upstream_module)).ctx_index;
        let umcf = (*r.get().main_conf.add(index)).cast::<ngx_http_upstream_main_conf_t>();
        let mut part: *const ngx_list_part_t = &(*u).headers_in.headers.part;
        while let Some(list) = part.as_ref() {
            for index in 0..list.nelts {
                let header = &mut *list.elts.cast::<ngx_table_elt_t>().add(index);
                let (hash, name, len) = (header.hash, header.lowcase_key, header.key.len);
                let known = ngx_hash_find(addr_of_mut!((*umcf).headers_in_hash), hash, name, len);
                let known = known.cast::<ngx_http_upstream_header_t>().as_ref();
                if !wanted(known, header) {
                    continue;
                }
                match known.and_then(|known| Some((known.copy_handler?, known.conf))) {
                    Some((copy, conf)) if copy(r.as_ptr(), header, conf) != code::OK => {
                        return None;
                    }
                    Some(_) => {}
                    None => {
                        let out = addr_of_mut!((*r.as_ptr()).headers_out.headers);
                        *ngx_list_push(out).cast::<ngx_table_elt_t>().as_mut()? = *header;
                    }
                }
            }
            part = list.next;
        }
    }
    Some(())
}

fn is_challenge(header: &ngx_table_elt_t) -> bool {
    // SAFETY: the name lives as long as the header.
    unsafe { bytes(&header.key) }.eq_ignore_ascii_case(b"www-authenticate")
}

/// `wsgi_hide_header` and what is hidden without it.
fn is_hidden(r: Request, header: &ngx_table_elt_t) -> bool {
    // SAFETY: the upstream of a live request has its configuration, and the header its hash and name.
    unsafe {
        let hidden = addr_of_mut!((*(*r.upstream()).conf).hide_headers_hash);
        !ngx_hash_find(hidden, header.hash, header.lowcase_key, header.key.len).is_null()
    }
}

fn set_status(r: Request) {
    // SAFETY: a live request with its upstream and the configuration of that.
    let (u, forced) = unsafe { (&*r.upstream(), (*(*r.upstream()).conf).force_ranges != 0) };
    // SAFETY: as above. An application's own Server or Date, where it is passed on, may be empty, which
    // has nginx send none.
    unsafe {
        let out = &mut (*r.as_ptr()).headers_out;
        for header in [out.server, out.date] {
            if let Some(header) = header.as_mut().filter(|header| header.value.data.is_null()) {
                header.hash = 0;
            }
        }
        out.status = u.headers_in.status_n;
        out.status_line = u.headers_in.status_line;
        out.content_length_n = u.headers_in.content_length_n;
    }
    r.compare_with_client(u.cacheable() != 0);
    if forced {
        r.allow_ranges();
        r.allow_single_range();
    }
}
