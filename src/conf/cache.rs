//! wsgi_cache, wsgi_cache_path, wsgi_cache_key: nginx's own cache for the responses of applications
//! (nginx: http/modules/ngx_http_uwsgi_module.c).

use std::ffi::{c_char, c_void};
use std::mem::offset_of;
use std::ptr::addr_of_mut;

use nginx_sys::{
    ngx_array_t, ngx_command_t, ngx_conf_t, ngx_http_file_cache_set_slot, ngx_http_file_cache_t,
    ngx_http_script_variables_count, ngx_http_upstream_conf_t, ngx_palloc, ngx_pool_t,
    ngx_shared_memory_add, NGX_HTTP_GET, NGX_HTTP_HEAD, NGX_HTTP_UPSTREAM_FT_ERROR,
    NGX_HTTP_UPSTREAM_FT_NOLIVE, NGX_HTTP_UPSTREAM_FT_OFF,
};

use super::common::set_once;
use super::upstream::set;
use super::value::Value;
use super::{LocationConf, MainConf};
use crate::ffi::{
    bitmask, bytes, conf_error, merge, text, Conf, ConfigError, UNSET, UNSET_MSEC, UNSET_PTR,
    UNSET_UINT,
};

/// `NGX_MAX_OFF_T_VALUE`.
const NO_LIMIT: nginx_sys::off_t = nginx_sys::off_t::MAX;
/// Milliseconds.
const LOCK_TIME: usize = 5000;

/// Everything unset.
pub fn unset(conf: &mut ngx_http_upstream_conf_t) {
    conf.cache_min_uses = UNSET_UINT;
    conf.cache_max_range_offset = UNSET as nginx_sys::off_t;
    conf.cache_bypass = UNSET_PTR;
    conf.no_cache = UNSET_PTR;
    conf.cache_valid = UNSET_PTR;
    conf.cache_lock = UNSET;
    conf.cache_lock_timeout = UNSET_MSEC;
    conf.cache_lock_age = UNSET_MSEC;
    conf.cache_revalidate = UNSET;
    conf.cache_background_update = UNSET;
}

/// Fills unset values from the outer level or the defaults.
///
/// # Errors
///
/// [`ConfigError`], logged: the zone has no wsgi_cache_path.
pub fn merge_cache(
    cf: *mut ngx_conf_t,
    conf: &mut LocationConf,
    outer: &LocationConf,
) -> Result<(), ConfigError> {
    // What stores does not cache, and what caches does not store.
    if conf.store == Some(true) {
        conf.cache = Some(false);
    } else if conf.cache == Some(true) {
        conf.store = Some(false);
    }
    if conf.cache.is_none() {
        conf.cache = outer.cache;
        conf.upstream.cache_zone = outer.upstream.cache_zone;
        conf.upstream.cache_value = outer.upstream.cache_value;
    }
    conf.cache_key = conf.cache_key.or(outer.cache_key);
    conf.upstream.set_cache((conf.cache == Some(true)).into());
    merge_values(&mut conf.upstream, &outer.upstream);
    // SAFETY: null, or a zone of the cycle being configured; wsgi_cache_path gives it its data.
    if let Some(zone) = unsafe { conf.upstream.cache_zone.as_ref() } {
        if zone.data.is_null() {
            // SAFETY: the zone's name lives as long as the cycle.
            let name = text(unsafe { bytes(&zone.shm.name) });
            conf_error(cf, format_args!("\"wsgi_cache\" zone \"{name}\" is unknown"));
            return Err(ConfigError);
        }
    }
    Ok(())
}

fn merge_values(conf: &mut ngx_http_upstream_conf_t, outer: &ngx_http_upstream_conf_t) {
    merge(&mut conf.cache_min_uses, outer.cache_min_uses, 1);
    merge(&mut conf.cache_max_range_offset, outer.cache_max_range_offset, NO_LIMIT);
    merge(&mut conf.cache_bypass, outer.cache_bypass, std::ptr::null_mut());
    merge(&mut conf.no_cache, outer.no_cache, std::ptr::null_mut());
    merge(&mut conf.cache_valid, outer.cache_valid, std::ptr::null_mut());
    merge(&mut conf.cache_lock, outer.cache_lock, 0);
    merge(&mut conf.cache_lock_timeout, outer.cache_lock_timeout, LOCK_TIME);
    merge(&mut conf.cache_lock_age, outer.cache_lock_age, LOCK_TIME);
    merge(&mut conf.cache_revalidate, outer.cache_revalidate, 0);
    merge(&mut conf.cache_background_update, outer.cache_background_update, 0);

    bitmask(&mut conf.cache_use_stale, outer.cache_use_stale, set(NGX_HTTP_UPSTREAM_FT_OFF));
    if conf.cache_use_stale & NGX_HTTP_UPSTREAM_FT_OFF as usize != 0 {
        conf.cache_use_stale = set(NGX_HTTP_UPSTREAM_FT_OFF);
    }
    if conf.cache_use_stale & NGX_HTTP_UPSTREAM_FT_ERROR as usize != 0 {
        conf.cache_use_stale |= NGX_HTTP_UPSTREAM_FT_NOLIVE as usize;
    }
    if conf.cache_methods == 0 {
        conf.cache_methods = outer.cache_methods;
    }
    conf.cache_methods |= (NGX_HTTP_GET | NGX_HTTP_HEAD) as usize;
}

/// `wsgi_cache_path`.
///
/// # Safety
///
/// Called by nginx with the main configuration.
pub unsafe extern "C" fn cache_path(
    cf: *mut ngx_conf_t,
    command: *mut ngx_command_t,
    conf: *mut c_void,
) -> *mut c_char {
    // SAFETY: as documented; the callee pushes the new cache to the array at the command's offset.
    unsafe {
        let caches = addr_of_mut!((*conf.cast::<MainConf>()).caches);
        if (*caches).elts.is_null() && !init_array(&mut *caches, (*cf).pool) {
            return usize::MAX as *mut c_char; // NGX_CONF_ERROR
        }
        debug_assert_eq!((*command).offset, offset_of!(MainConf, caches));
        ngx_http_file_cache_set_slot(cf, command, conf)
    }
}

/// nginx's `ngx_array_init` for pointers to caches. `false` without memory.
///
/// # Safety
///
/// `pool` is live.
unsafe fn init_array(array: &mut ngx_array_t, pool: *mut ngx_pool_t) -> bool {
    const FIRST: usize = 4;
    array.size = size_of::<*mut ngx_http_file_cache_t>();
    array.nalloc = FIRST;
    array.pool = pool;
    // SAFETY: as the caller guarantees.
    array.elts = unsafe { ngx_palloc(pool, FIRST * array.size) };
    !array.elts.is_null()
}

/// `wsgi_cache zone | off`, where the zone's name may hold variables.
pub fn cmd_cache(cf: Conf, conf: &mut LocationConf) -> Result<(), ConfigError> {
    let mut word = cf.words()[1];
    // SAFETY: words live as long as the cycle.
    let on = unsafe { bytes(&word) } != b"off";
    set_once(cf, &mut conf.cache, on)?;
    if !on {
        return Ok(());
    }
    if conf.store == Some(true) {
        return Err(cf.error("is incompatible with \"wsgi_store\""));
    }
    // SAFETY: counts dollar signs in a valid string.
    if unsafe { ngx_http_script_variables_count(&mut word) } > 0 {
        conf.upstream.cache_value = Value::compile(cf, word)?.as_ptr();
        return Ok(());
    }
    // SAFETY: the configuration being read; the module's address is the tag of its zones.
    let zone = unsafe { ngx_shared_memory_add(cf.as_ptr(), &mut word, 0, tag()) };
    conf.upstream.cache_zone = zone;
    if zone.is_null() {
        Err(ConfigError)
    } else {
        Ok(())
    }
}

/// Whose the zones are.
pub const fn tag() -> *mut c_void {
    addr_of_mut!(crate::ngx_http_wsgi_module).cast()
}

/// `wsgi_cache_key`.
pub fn cmd_cache_key(cf: Conf, conf: &mut LocationConf) -> Result<(), ConfigError> {
    let key = Value::compile(cf, cf.words()[1])?;
    set_once(cf, &mut conf.cache_key, key)
}
