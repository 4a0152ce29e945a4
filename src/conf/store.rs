//! wsgi_store: responses become files.

use nginx_sys::{
    ngx_http_script_compile, ngx_http_script_compile_t, ngx_http_script_variables_count,
};

use super::common::set_once;
use super::LocationConf;
use crate::ffi::{bytes, code, Conf, ConfigError};

/// `wsgi_store on | off | path`. The path may hold variables.
pub fn cmd_store(cf: Conf, conf: &mut LocationConf) -> Result<(), ConfigError> {
    let mut path = cf.words()[1];
    // SAFETY: words live as long as the cycle.
    let value = unsafe { bytes(&path) };
    set_once(cf, &mut conf.store, value != b"off")?;
    if value == b"off" {
        return Ok(());
    }
    if conf.cache == Some(true) {
        return Err(cf.error("is incompatible with \"wsgi_cache\""));
    }
    if value == b"on" {
        return Ok(());
    }
    // nginx opens the result as a C string: the NUL behind the word is part of the script.
    path.len += 1;
    // SAFETY: an all-zero ngx_http_script_compile_t with the fields that nginx's own callers set;
    // the arrays it makes live in the cycle's pool.
    let rc = unsafe {
        let mut compile: ngx_http_script_compile_t = std::mem::zeroed();
        compile.cf = cf.as_ptr();
        compile.variables = ngx_http_script_variables_count(&mut path);
        compile.source = &mut path;
        compile.lengths = &mut conf.upstream.store_lengths;
        compile.values = &mut conf.upstream.store_values;
        compile.set_complete_lengths(1);
        compile.set_complete_values(1);
        ngx_http_script_compile(&mut compile)
    };
    if rc == code::OK {
        Ok(())
    } else {
        Err(ConfigError)
    }
}

/// Fills what is unset from the outer level.
pub fn merge_store(conf: &mut LocationConf, outer: &LocationConf) {
    if conf.store.is_none() {
        conf.store = outer.store;
        conf.upstream.store_lengths = outer.upstream.store_lengths;
        conf.upstream.store_values = outer.upstream.store_values;
    }
    conf.upstream.set_store((conf.store == Some(true)).into());
}
