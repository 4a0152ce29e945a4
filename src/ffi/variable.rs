//! Variables that this module defines.

use nginx_sys::{
    ngx_http_add_variable, ngx_http_get_variable_pt, ngx_http_variable_value_t, ngx_int_t,
    NGX_HTTP_VAR_NOCACHEABLE,
};

use super::{code, pool_copy, str_of, Conf, ConfigError, Request};

/// Defines a variable before the configuration is read. `handler` is called with `data` each time
/// that the variable is asked for, or if its value is `lasting`, once for a client's request.
///
/// # Errors
///
/// [`ConfigError`] without memory.
pub fn define_variable(
    cf: Conf,
    name: &'static str,
    handler: ngx_http_get_variable_pt,
    data: usize,
    lasting: bool,
) -> Result<(), ConfigError> {
    let mut name = str_of(name.as_bytes());
    // SAFETY: nginx copies the name, which it does not write to; the variable lives in the cycle's
    // pool, like the configuration that is being read.
    unsafe {
        let flags = if lasting { 0 } else { NGX_HTTP_VAR_NOCACHEABLE as usize };
        let variable = ngx_http_add_variable(cf.as_ptr(), &mut name, flags);
        let variable = variable.as_mut().ok_or(ConfigError)?;
        variable.get_handler = handler;
        variable.data = data;
    }
    Ok(())
}

/// Answers a variable's handler: with a copy of the value, or that there is none.
///
/// # Safety
///
/// `v` is what nginx has called the handler with, for `r`.
pub unsafe fn set_variable(
    r: Request,
    v: *mut ngx_http_variable_value_t,
    value: Option<&[u8]>,
) -> ngx_int_t {
    // SAFETY: as the caller guarantees; the copy lives as long as the request.
    unsafe {
        let v = &mut *v;
        let Some(value) = value else {
            v.set_not_found(1);
            return code::OK;
        };
        let Some(copy) = pool_copy(r.pool(), value) else { return code::ERROR };
        v.data = copy.data;
        v.set_len(copy.len as u32);
        v.set_valid(1);
        v.set_no_cacheable(0);
        v.set_not_found(0);
    }
    code::OK
}
