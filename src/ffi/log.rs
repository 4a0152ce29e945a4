//! Error logs.

use std::ptr::addr_of;

use nginx_sys::{
    ngx_http_conf_ctx_t, ngx_http_core_loc_conf_t, ngx_http_core_module, ngx_http_core_srv_conf_t,
    ngx_log_t,
};
use ngx::ngx_log_error;
use ngx_wsgi_host::log::Level;
use ngx_wsgi_host::wire::LOG_MAX;

/// The error log of a server, once the configuration has been read.
pub fn server_log(server: *const ngx_http_core_srv_conf_t) -> Option<*mut ngx_log_t> {
    // SAFETY: the core module's index is fixed; a server's configuration, its context and the
    // location configuration in it live in the cycle's pool.
    unsafe {
        let core = addr_of!(ngx_http_core_module);
        let server: *mut ngx_http_conf_ctx_t = server.as_ref()?.ctx;
        let location = *server.as_ref()?.loc_conf.add((*core).ctx_index);
        let log = location.cast::<ngx_http_core_loc_conf_t>().as_ref()?.error_log;
        (!log.is_null()).then_some(log)
    }
}

/// Writes text to a log as records of one line that nginx does not cut.
pub fn write_text(level: Level, log: *mut ngx_log_t, text: &str) {
    for line in text.split('\n') {
        // Another control character could make one line look like two.
        let line = line.replace(|c: char| c.is_control() && c != '\t', " ");
        let mut rest = line.as_str();
        loop {
            let mut end = rest.len().min(LOG_MAX);
            while !rest.is_char_boundary(end) {
                end -= 1;
            }
            ngx_log_error!(level as u8, log, "{}", &rest[..end]);
            rest = &rest[end..];
            if rest.is_empty() {
                break;
            }
        }
    }
}
