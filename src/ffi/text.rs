//! nginx strings.

use std::borrow::Cow;

use nginx_sys::{ngx_pnalloc, ngx_pool_t, ngx_str_t};

/// The bytes of an nginx string.
///
/// # Safety
///
/// The string's memory is initialised and lives, unchanged, as long as the result is used: callers
/// hold what owns it (request, connection or cycle).
pub unsafe fn bytes<'a>(s: &ngx_str_t) -> &'a [u8] {
    // Of an empty string nginx does not always set the pointer.
    if s.len == 0 || s.data.is_null() {
        return &[];
    }
    // SAFETY: non-null with len readable bytes, as the caller guarantees.
    unsafe { std::slice::from_raw_parts(s.data, s.len) }
}

/// An nginx string that borrows `value`. nginx does not write through the strings it is given by
/// this module.
pub fn str_of(value: &'static [u8]) -> ngx_str_t {
    ngx_str_t { len: value.len(), data: value.as_ptr().cast_mut() }
}

/// Bytes as text for messages.
pub fn text(value: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(value)
}

/// Copies bytes into a pool. `None` when the pool has no memory left.
///
/// # Safety
///
/// `pool` is a live pool of the calling process.
pub unsafe fn pool_copy(pool: *mut ngx_pool_t, value: &[u8]) -> Option<ngx_str_t> {
    // SAFETY: a live pool; a zero-sized allocation is legal.
    let data: *mut u8 = unsafe { ngx_pnalloc(pool, value.len().max(1)) }.cast();
    if data.is_null() {
        return None;
    }
    // SAFETY: fresh memory of that size does not overlap value.
    unsafe { std::ptr::copy_nonoverlapping(value.as_ptr(), data, value.len()) };
    Some(ngx_str_t { len: value.len(), data })
}
