//! wsgi_next_upstream: which failures of a request that an application has seen are no reason to
//! give up.

use std::ffi::CStr;

use nginx_sys::{
    ngx_conf_bitmask_t, ngx_msec_t, ngx_str_t, ngx_uint_t, NGX_HTTP_UPSTREAM_FT_ERROR,
    NGX_HTTP_UPSTREAM_FT_HTTP_403, NGX_HTTP_UPSTREAM_FT_HTTP_404, NGX_HTTP_UPSTREAM_FT_HTTP_429,
    NGX_HTTP_UPSTREAM_FT_HTTP_500, NGX_HTTP_UPSTREAM_FT_HTTP_503,
    NGX_HTTP_UPSTREAM_FT_INVALID_HEADER, NGX_HTTP_UPSTREAM_FT_NON_IDEMPOTENT,
    NGX_HTTP_UPSTREAM_FT_OFF, NGX_HTTP_UPSTREAM_FT_TIMEOUT, NGX_HTTP_UPSTREAM_FT_UPDATING,
};

use super::directive::name;
use super::upstream::set;
use crate::ffi::{bitmask, merge, UNSET_MSEC, UNSET_UINT};

const fn mask(s: &'static CStr, mask: u32) -> ngx_conf_bitmask_t {
    ngx_conf_bitmask_t { name: name(s), mask: mask as ngx_uint_t }
}

/// The words of wsgi_next_upstream and wsgi_cache_use_stale. Mutable because nginx's table type is;
/// nobody writes to it.
pub static mut MASKS: [ngx_conf_bitmask_t; 12] = [
    mask(c"error", NGX_HTTP_UPSTREAM_FT_ERROR),
    mask(c"timeout", NGX_HTTP_UPSTREAM_FT_TIMEOUT),
    mask(c"invalid_header", NGX_HTTP_UPSTREAM_FT_INVALID_HEADER),
    mask(c"non_idempotent", NGX_HTTP_UPSTREAM_FT_NON_IDEMPOTENT),
    mask(c"http_500", NGX_HTTP_UPSTREAM_FT_HTTP_500),
    mask(c"http_503", NGX_HTTP_UPSTREAM_FT_HTTP_503),
    mask(c"http_403", NGX_HTTP_UPSTREAM_FT_HTTP_403),
    mask(c"http_404", NGX_HTTP_UPSTREAM_FT_HTTP_404),
    mask(c"http_429", NGX_HTTP_UPSTREAM_FT_HTTP_429),
    mask(c"updating", NGX_HTTP_UPSTREAM_FT_UPDATING),
    mask(c"off", NGX_HTTP_UPSTREAM_FT_OFF),
    ngx_conf_bitmask_t { name: ngx_str_t { len: 0, data: std::ptr::null_mut() }, mask: 0 },
];

/// When a request that an application has seen goes to another process.
#[derive(Clone, Copy, Debug)]
pub struct NextUpstream {
    /// The failures, as nginx's bits.
    pub failures: ngx_uint_t,
    /// Most processes that run the request; 0: all of the group.
    pub tries: ngx_uint_t,
    /// Milliseconds after which nothing is sent again; 0: never.
    pub timeout: ngx_msec_t,
}

impl Default for NextUpstream {
    fn default() -> Self {
        NextUpstream { failures: 0, tries: UNSET_UINT, timeout: UNSET_MSEC }
    }
}

impl NextUpstream {
    /// Fills unset values from the outer level or the defaults. Nothing is run twice by default.
    pub fn merge(&mut self, outer: &Self) {
        bitmask(&mut self.failures, outer.failures, set(NGX_HTTP_UPSTREAM_FT_OFF));
        if self.failures & NGX_HTTP_UPSTREAM_FT_OFF as usize != 0 {
            self.failures = set(NGX_HTTP_UPSTREAM_FT_OFF);
        }
        merge(&mut self.tries, outer.tries, 0);
        merge(&mut self.timeout, outer.timeout, 0);
    }

    /// Whether all of these failures are named.
    pub fn covers(&self, failures: u32) -> bool {
        self.failures & failures as usize == failures as usize
    }
}
