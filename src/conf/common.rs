//! What the handlers of directives have in common.

use std::path::PathBuf;
use std::ptr::addr_of;

use nginx_sys::ngx_str_t;

use super::MainConf;
use crate::ffi::{bytes, code, Conf, ConfigError};

/// The main configuration that is being read.
pub fn main_conf<'a>(cf: Conf) -> Option<&'a mut MainConf> {
    // SAFETY: this module's index is fixed before the configuration is read.
    cf.main_conf(unsafe { &*addr_of!(crate::ngx_http_wsgi_module) })
}

/// Sets a value that may be given once.
pub fn set_once<T>(cf: Conf, slot: &mut Option<T>, value: T) -> Result<(), ConfigError> {
    if slot.is_some() {
        return Err(cf.error("is duplicate"));
    }
    *slot = Some(value);
    Ok(())
}

/// A file name relative to nginx's prefix made absolute.
///
/// # Errors
///
/// [`ConfigError`], logged, for an empty one: it would be the prefix.
pub fn full_name(cf: Conf, mut word: ngx_str_t) -> Result<Vec<u8>, ConfigError> {
    if word.len == 0 {
        return Err(cf.error("has invalid value \"\": must be a path"));
    }
    // SAFETY: word is one of the directive's words; nginx allocates the result in the cycle's pool.
    unsafe {
        if nginx_sys::ngx_conf_full_name(cf.get().cycle, &mut word, 0) != code::OK {
            return Err(ConfigError);
        }
        Ok(bytes(&word).to_vec())
    }
}

/// A path relative to nginx's prefix made absolute. It goes to processes as text.
pub fn full_path(cf: Conf, word: ngx_str_t) -> Result<PathBuf, ConfigError> {
    let name = full_name(cf, word)?;
    String::from_utf8(name).map(PathBuf::from).map_err(|_| cf.error("value is not UTF-8"))
}
