//! In place of `cache.rs`, for an nginx that was configured without its cache.

use nginx_sys::ngx_buf_t;

use crate::ffi::Request;

/// Nothing is.
pub fn is_cacheable(_: Request) -> bool {
    false
}

/// Nothing to do.
pub fn forgo(_: Request) {}

/// There is nothing to answer from.
pub fn serves_stale(_: Request, _: u32) -> bool {
    false
}

/// At the start of the buffer.
pub fn header_start(_: Request) -> usize {
    0
}

/// Nothing to do.
pub fn keep_head(_: Request, _: *mut ngx_buf_t, _: &[u8], _: &[u8]) -> Option<()> {
    Some(())
}
