//! Has nginx replace an upstream's response by its error page.

use std::ffi::c_void;
use std::ptr::{addr_of, NonNull};

use nginx_sys::{
    ngx_array_t, ngx_http_core_loc_conf_t, ngx_http_core_module, ngx_http_err_page_t,
    ngx_http_max_module, ngx_http_upstream_conf_t, ngx_pcalloc,
};

use super::Request;

/// The configurations of a request's location, while others stand in for them.
#[derive(Clone, Copy, Debug)]
pub struct Locations {
    own: *mut *mut c_void,
    instead: *mut *mut c_void,
}

impl Locations {
    /// Gives the request its own back. What has changed them since (another location) stays.
    pub fn restore(self, r: Request) {
        // SAFETY: a live request; its own table lives as long as the cycle.
        unsafe {
            if std::ptr::eq((*r.as_ptr()).loc_conf, self.instead) {
                (*r.as_ptr()).loc_conf = self.own;
            }
        }
    }
}

/// Makes nginx drop the upstream's response and answer with its own page for `status`, to be called
/// from `process_header`. nginx intercepts errors only for which the location has an `error_page`
/// (`ngx_http_upstream_intercept_errors`), so it sees one until it lets go of the upstream: then
/// the locations have to be restored, before nginx looks for the page. `None` without memory.
pub fn intercept(r: Request, status: u16) -> Option<Locations> {
    // SAFETY: a live request with its upstream; everything new is in the request's pool. The list
    // of pages is read for the status of its elements only, and not beyond the restoring.
    unsafe {
        let page = zeroed::<ngx_http_err_page_t>(r, 1)?.as_ptr();
        (*page).status = status as isize;
        let pages = zeroed::<ngx_array_t>(r, 1)?.as_ptr();
        (*pages).elts = page.cast();
        (*pages).nelts = 1;
        (*pages).nalloc = 1;
        (*pages).size = size_of::<ngx_http_err_page_t>();
        (*pages).pool = r.pool();

        let core = zeroed::<ngx_http_core_loc_conf_t>(r, 1)?.as_ptr();
        std::ptr::copy_nonoverlapping(std::ptr::from_ref(r.core_location()), core, 1);
        (*core).error_pages = pages;

        let own = (*r.as_ptr()).loc_conf;
        let count = *addr_of!(ngx_http_max_module);
        let instead = zeroed::<*mut c_void>(r, count)?.as_ptr();
        std::ptr::copy_nonoverlapping(own, instead, count);
        *instead.add((*addr_of!(ngx_http_core_module)).ctx_index) = core.cast();

        let u = r.upstream();
        let conf = zeroed::<ngx_http_upstream_conf_t>(r, 1)?.as_ptr();
        std::ptr::copy_nonoverlapping((*u).conf, conf, 1);
        (*conf).intercept_errors = 1;
        (*u).conf = conf;

        (*r.as_ptr()).loc_conf = instead;
        Some(Locations { own, instead })
    }
}

/// Room for `count` of a C type in the request's pool.
///
/// # Safety
///
/// A `T` is valid when all its bytes are zero.
unsafe fn zeroed<T>(r: Request, count: usize) -> Option<NonNull<T>> {
    // SAFETY: the request's pool is live; its memory is aligned for every C type.
    NonNull::new(unsafe { ngx_pcalloc(r.pool(), size_of::<T>() * count) }.cast())
}
