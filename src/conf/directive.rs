//! How nginx is told of a directive.

use std::ffi::{c_char, c_void, CStr};
use std::mem::offset_of;
use std::ptr::null_mut;

use nginx_sys::{
    ngx_command_t, ngx_conf_set_bitmask_slot, ngx_conf_set_flag_slot, ngx_conf_t, ngx_str_t,
    ngx_uint_t, NGX_CONF_1MORE, NGX_CONF_FLAG, NGX_HTTP_LIF_CONF, NGX_HTTP_LMT_CONF,
    NGX_HTTP_LOC_CONF, NGX_HTTP_LOC_CONF_OFFSET, NGX_HTTP_MAIN_CONF, NGX_HTTP_MAIN_CONF_OFFSET,
    NGX_HTTP_SRV_CONF,
};

use super::LocationConf;
use crate::ffi::{guard, Conf, ConfigError};

/// What nginx calls for a directive.
pub type Setter =
    unsafe extern "C" fn(*mut ngx_conf_t, *mut ngx_command_t, *mut c_void) -> *mut c_char;

pub const M: u32 = NGX_HTTP_MAIN_CONF;
pub const S: u32 = NGX_HTTP_SRV_CONF;
pub const ANY: u32 = M | S | NGX_HTTP_LOC_CONF;
pub const ANY_AND_LIMIT: u32 = ANY | NGX_HTTP_LMT_CONF;
pub const ANY_AND_IF: u32 = ANY | NGX_HTTP_LIF_CONF | NGX_HTTP_LMT_CONF;

/// nginx compares names up to their NUL.
pub const fn name(s: &'static CStr) -> ngx_str_t {
    ngx_str_t { len: s.count_bytes(), data: s.as_ptr().cast_mut().cast() }
}

pub const fn command(
    s: &'static CStr,
    place: u32,
    args: u32,
    set: Setter,
    conf: usize,
    offset: usize,
    post: *mut c_void,
) -> ngx_command_t {
    ngx_command_t {
        name: name(s),
        type_: (place | args) as ngx_uint_t,
        set: Some(set),
        conf,
        offset,
        post,
    }
}

/// A directive of the location level with a handler of ours.
pub const fn local(s: &'static CStr, place: u32, args: u32, set: Setter) -> ngx_command_t {
    command(s, place, args, set, NGX_HTTP_LOC_CONF_OFFSET, 0, null_mut())
}

/// A directive of the main level with a handler of ours.
pub const fn global(s: &'static CStr, place: u32, args: u32, set: Setter) -> ngx_command_t {
    command(s, place, args, set, NGX_HTTP_MAIN_CONF_OFFSET, 0, null_mut())
}

/// A flag of the location level.
pub const fn flag(s: &'static CStr, place: u32, offset: usize) -> ngx_command_t {
    command(
        s,
        place,
        NGX_CONF_FLAG,
        ngx_conf_set_flag_slot,
        NGX_HTTP_LOC_CONF_OFFSET,
        offset,
        null_mut(),
    )
}

/// A flag of the main level.
pub const fn switch(s: &'static CStr, offset: usize) -> ngx_command_t {
    command(
        s,
        M,
        NGX_CONF_FLAG,
        ngx_conf_set_flag_slot,
        NGX_HTTP_MAIN_CONF_OFFSET,
        offset,
        null_mut(),
    )
}

/// A directive of the upstream family, set by nginx itself.
pub const fn family(s: &'static CStr, args: u32, set: Setter, field: usize) -> ngx_command_t {
    let offset = offset_of!(LocationConf, upstream) + field;
    command(s, ANY, args, set, NGX_HTTP_LOC_CONF_OFFSET, offset, null_mut())
}

/// A directive whose words are bits.
pub const fn words(s: &'static CStr, offset: usize, masks: *mut c_void) -> ngx_command_t {
    let (place, args) = (NGX_HTTP_LOC_CONF_OFFSET, NGX_CONF_1MORE);
    command(s, ANY, args, ngx_conf_set_bitmask_slot, place, offset, masks)
}

/// nginx's setter for a handler of ours.
macro_rules! setter {
    ($conf:ty, $handler:path) => {{
        unsafe extern "C" fn set(
            cf: *mut ngx_conf_t,
            _: *mut ngx_command_t,
            conf: *mut c_void,
        ) -> *mut c_char {
            // SAFETY: nginx passes the configuration that the directive's offset names: the
            // location's for `local`, the main one for `global`, as the table pairs them.
            unsafe { $crate::conf::directive::handle::<$conf>(cf, conf, $handler) }
        }
        set
    }};
}
pub(super) use setter;

/// What a directive does to the configuration at its level.
pub type Handler<T> = fn(Conf, &mut T) -> Result<(), ConfigError>;

/// # Safety
///
/// nginx calls a directive's setter with these, and the directive's offset names a T.
pub unsafe fn handle<T>(
    cf: *mut ngx_conf_t,
    conf: *mut c_void,
    handler: Handler<T>,
) -> *mut c_char {
    let failed = usize::MAX as *mut c_char; // NGX_CONF_ERROR
    guard("a directive", failed, || {
        // SAFETY: nginx passes the configuration that the directive's offset names, made by this
        // module's create_*_conf as a T, and nobody else refers to it during the call.
        let (cf, conf) = unsafe { (Conf::new(cf), &mut *conf.cast::<T>()) };
        match handler(cf, conf) {
            Ok(()) => null_mut(),
            Err(ConfigError) => failed,
        }
    })
}
