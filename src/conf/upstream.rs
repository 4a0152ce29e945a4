//! The part of a location's configuration that nginx's upstream code reads: what the uwsgi_*
//! directives of the same names configure, with the same defaults
//! (nginx: http/modules/ngx_http_uwsgi_module.c).

use std::ffi::CStr;

use nginx_sys::{
    ngx_bufs_t, ngx_conf_merge_path_value, ngx_conf_t, ngx_hash_init_t, ngx_http_upstream_conf_t,
    ngx_http_upstream_hide_headers_hash, ngx_pagesize, ngx_path_init_t, ngx_str_t,
};

use super::LocationConf;
use crate::ffi::{
    bitmask, code, conf_error, merge, str_of, ConfigError, UNSET, UNSET_MSEC, UNSET_PTR,
    UNSET_SIZE, UNSET_UINT,
};

const GIB: usize = 1 << 30;

/// Headers of the application that stay inside: nginx writes its own Date and Server, the others
/// are instructions to nginx.
static HIDDEN: [&CStr; 7] = [
    c"Date",
    c"Server",
    c"X-Accel-Expires",
    c"X-Accel-Redirect",
    c"X-Accel-Limit-Rate",
    c"X-Accel-Buffering",
    c"X-Accel-Charset",
];

/// Everything unset.
pub fn unset() -> ngx_http_upstream_conf_t {
    // SAFETY: all-zero is nginx's own initial state (ngx_pcalloc in create_loc_conf).
    let mut conf: ngx_http_upstream_conf_t = unsafe { std::mem::zeroed() };
    conf.connect_timeout = UNSET_MSEC;
    conf.send_timeout = UNSET_MSEC;
    conf.read_timeout = UNSET_MSEC;
    conf.send_lowat = UNSET_SIZE;
    conf.buffer_size = UNSET_SIZE;
    #[cfg(not(ngx_complex_limit_rate))]
    {
        conf.limit_rate = UNSET_SIZE;
    }
    #[cfg(ngx_complex_limit_rate)]
    {
        conf.limit_rate = UNSET_SIZE as *mut _;
    }
    conf.busy_buffers_size_conf = UNSET_SIZE;
    conf.max_temp_file_size_conf = UNSET_SIZE;
    conf.temp_file_write_size_conf = UNSET_SIZE;
    conf.store_access = UNSET_UINT;
    conf.buffering = UNSET;
    conf.request_buffering = UNSET;
    conf.ignore_client_abort = UNSET;
    conf.intercept_errors = UNSET;
    conf.force_ranges = UNSET;
    conf.hide_headers = UNSET_PTR;
    conf.pass_headers = UNSET_PTR;
    conf.pass_request_headers = UNSET;
    conf.pass_request_body = UNSET;
    conf.socket_keepalive = 0;
    // An application may answer before it has read its input: the rest of the body still goes out.
    conf.set_preserve_output(1);
    conf.set_change_buffering(1);
    conf.module = str_of(b"wsgi");
    #[cfg(ngx_feature = "http_cache")]
    super::cache::unset(&mut conf);
    conf
}

/// Fills unset values from the outer level or the defaults, and checks the sizes against each
/// other.
///
/// # Errors
///
/// [`ConfigError`], logged.
pub fn merge_upstream(
    cf: *mut ngx_conf_t,
    conf: &mut LocationConf,
    outer: &mut LocationConf,
) -> Result<(), ConfigError> {
    #[cfg(ngx_feature = "http_cache")]
    super::cache::merge_cache(cf, conf, outer)?;
    super::store::merge_store(conf, outer);
    let (conf, outer) = (&mut conf.upstream, &mut outer.upstream);
    merge_values(conf, outer);
    merge_sizes(cf, conf, outer)?;
    merge_headers(cf, conf, outer)?;
    merge_temp_path(cf, conf, outer)
}

fn merge_values(conf: &mut ngx_http_upstream_conf_t, outer: &ngx_http_upstream_conf_t) {
    merge(&mut conf.connect_timeout, outer.connect_timeout, 60_000);
    merge(&mut conf.send_timeout, outer.send_timeout, 60_000);
    merge(&mut conf.read_timeout, outer.read_timeout, 60_000);
    merge(&mut conf.send_lowat, outer.send_lowat, 0);
    #[cfg(not(ngx_complex_limit_rate))]
    merge(&mut conf.limit_rate, outer.limit_rate, 0);
    #[cfg(ngx_complex_limit_rate)]
    merge(&mut conf.limit_rate, outer.limit_rate, std::ptr::null_mut());
    merge(&mut conf.store_access, outer.store_access, 0o600);
    merge(&mut conf.buffering, outer.buffering, 1);
    merge(&mut conf.request_buffering, outer.request_buffering, 1);
    merge(&mut conf.ignore_client_abort, outer.ignore_client_abort, 0);
    merge(&mut conf.intercept_errors, outer.intercept_errors, 0);
    merge(&mut conf.force_ranges, outer.force_ranges, 0);
    merge(&mut conf.pass_request_headers, outer.pass_request_headers, 1);
    merge(&mut conf.pass_request_body, outer.pass_request_body, 1);
    bitmask(&mut conf.ignore_headers, outer.ignore_headers, set(0));
    // Which failed requests go to another process is decided by the peer, also by
    // wsgi_next_upstream; nginx only has to ask.
    conf.next_upstream = set(nginx_sys::NGX_HTTP_UPSTREAM_FT_ERROR
        | nginx_sys::NGX_HTTP_UPSTREAM_FT_TIMEOUT
        | nginx_sys::NGX_HTTP_UPSTREAM_FT_INVALID_HEADER
        | nginx_sys::NGX_HTTP_UPSTREAM_FT_STATUS
        | nginx_sys::NGX_HTTP_UPSTREAM_FT_NON_IDEMPOTENT);
}

/// A set of bits that is not unset, whatever is in it.
pub fn set(mask: u32) -> usize {
    (nginx_sys::NGX_CONF_BITMASK_SET | mask) as usize
}

fn merge_sizes(
    cf: *mut ngx_conf_t,
    conf: &mut ngx_http_upstream_conf_t,
    outer: &ngx_http_upstream_conf_t,
) -> Result<(), ConfigError> {
    let refuse = |text: &str| {
        conf_error(cf, format_args!("{text}"));
        Err(ConfigError)
    };
    // SAFETY: set once at nginx's start.
    let page = unsafe { ngx_pagesize };
    merge(&mut conf.buffer_size, outer.buffer_size, page);
    merge(&mut conf.bufs, outer.bufs, ngx_bufs_t { num: 8, size: page });
    if conf.bufs.num < 2 {
        return refuse("there must be at least 2 \"wsgi_buffers\"");
    }
    let size = conf.buffer_size.max(conf.bufs.size);
    let or = |value: usize, default: usize| if value == UNSET_SIZE { default } else { value };

    merge(&mut conf.busy_buffers_size_conf, outer.busy_buffers_size_conf, UNSET_SIZE);
    conf.busy_buffers_size = or(conf.busy_buffers_size_conf, 2 * size);
    if conf.busy_buffers_size < size {
        return refuse(
            "\"wsgi_busy_buffers_size\" must be equal to or greater than the maximum of the value \
             of \"wsgi_buffer_size\" and one of the \"wsgi_buffers\"",
        );
    }
    if conf.busy_buffers_size > (conf.bufs.num as usize - 1) * conf.bufs.size {
        return refuse(
            "\"wsgi_busy_buffers_size\" must be less than the size of all \"wsgi_buffers\" minus \
             one buffer",
        );
    }

    merge(&mut conf.temp_file_write_size_conf, outer.temp_file_write_size_conf, UNSET_SIZE);
    conf.temp_file_write_size = or(conf.temp_file_write_size_conf, 2 * size);
    if conf.temp_file_write_size < size {
        return refuse(
            "\"wsgi_temp_file_write_size\" must be equal to or greater than the maximum of the \
             value of \"wsgi_buffer_size\" and one of the \"wsgi_buffers\"",
        );
    }

    merge(&mut conf.max_temp_file_size_conf, outer.max_temp_file_size_conf, UNSET_SIZE);
    conf.max_temp_file_size = or(conf.max_temp_file_size_conf, GIB);
    if conf.max_temp_file_size != 0 && conf.max_temp_file_size < size {
        return refuse(
            "\"wsgi_max_temp_file_size\" must be equal to zero to disable temporary files usage \
             or must be equal to or greater than the maximum of the value of \
             \"wsgi_buffer_size\" and one of the \"wsgi_buffers\"",
        );
    }
    Ok(())
}

fn merge_headers(
    cf: *mut ngx_conf_t,
    conf: &mut ngx_http_upstream_conf_t,
    outer: &mut ngx_http_upstream_conf_t,
) -> Result<(), ConfigError> {
    let mut hidden: Vec<ngx_str_t> = HIDDEN.iter().map(|name| str_of(name.to_bytes())).collect();
    hidden.push(str_of(b""));
    // SAFETY: an all-zero ngx_hash_init_t with the three fields that the callee reads, as nginx's
    // own modules pass it; hidden ends with a string without data, as the callee expects.
    let rc = unsafe {
        hidden.last_mut().expect("just pushed").data = std::ptr::null_mut();
        let mut hash: ngx_hash_init_t = std::mem::zeroed();
        hash.max_size = 512;
        hash.bucket_size = nginx_sys::ngx_cacheline_size.next_multiple_of(64).max(64);
        hash.name = c"wsgi_hide_headers_hash".as_ptr().cast_mut();
        ngx_http_upstream_hide_headers_hash(cf, conf, outer, hidden.as_mut_ptr(), &mut hash)
    };
    if rc == code::OK {
        Ok(())
    } else {
        Err(ConfigError)
    }
}

/// The default lies beside nginx's own temporary directories: where uwsgi's is, under our name.
fn merge_temp_path(
    cf: *mut ngx_conf_t,
    conf: &mut ngx_http_upstream_conf_t,
    outer: &ngx_http_upstream_conf_t,
) -> Result<(), ConfigError> {
    let sibling = nginx_sys::NGX_HTTP_UWSGI_TEMP_PATH.to_string_lossy();
    let path = sibling.replace("uwsgi", "wsgi");
    // SAFETY: cf's pool lives as long as the configuration; init is copied from by the callee.
    let rc = unsafe {
        // nginx uses the name as a C string, too.
        let name = crate::ffi::pool_copy((*cf).pool, format!("{path}\0").as_bytes());
        let mut name = name.ok_or(ConfigError)?;
        name.len -= 1;
        let mut init = ngx_path_init_t { name, level: [1, 2, 0] };
        ngx_conf_merge_path_value(cf, &mut conf.temp_path, outer.temp_path, &mut init)
    };
    if rc.is_null() {
        Ok(())
    } else {
        Err(ConfigError)
    }
}
