//! The content handler of `wsgi_status`.

use nginx_sys::{
    ngx_http_request_t, ngx_int_t, NGX_HTTP_GET, NGX_HTTP_HEAD, NGX_HTTP_INTERNAL_SERVER_ERROR,
    NGX_HTTP_NOT_ALLOWED, NGX_HTTP_SERVICE_UNAVAILABLE,
};

use super::choice::Format;
use super::snapshot::Snapshot;
use super::{html, prometheus};
use crate::conf::{LocationConf, MainConf};
use crate::ffi::{code, guard, Reply, Request};

/// nginx's content handler of a location with `wsgi_status`.
///
/// # Safety
///
/// Called by nginx.
pub unsafe extern "C" fn content_handler(r: *mut ngx_http_request_t) -> ngx_int_t {
    guard("wsgi_status", NGX_HTTP_INTERNAL_SERVER_ERROR as ngx_int_t, || {
        // SAFETY: as documented.
        answer(unsafe { Request::new(r) })
    })
}

fn answer(r: Request) -> ngx_int_t {
    if r.get().method & (NGX_HTTP_GET | NGX_HTTP_HEAD) as usize == 0 {
        return NGX_HTTP_NOT_ALLOWED as ngx_int_t;
    }
    let rc = r.discard_body();
    if rc != code::OK {
        return rc;
    }
    // SAFETY: this module's configurations of the request, which live as long as its cycle.
    let (conf, main) = unsafe {
        let module = crate::module();
        (&*r.location_conf::<LocationConf>(module), &*r.main_conf::<MainConf>(module))
    };
    let Some(generation) = &main.generation else {
        return NGX_HTTP_SERVICE_UNAVAILABLE as ngx_int_t;
    };
    let mut headers = vec![("Cache-Control", "no-store")];
    let format = conf.status.flatten().unwrap_or_else(|| {
        headers.push(("Vary", "Accept"));
        let accept = r.headers().filter(|(name, _)| name.eq_ignore_ascii_case(b"accept"));
        let accept: Vec<_> = accept.map(|(_, value)| value).collect();
        Format::accepted(&accept.join(&b','))
    });
    let status = Snapshot::take(main, generation);
    let body = match format {
        Format::Html => html::page(&status),
        Format::Prometheus => prometheus::page(&status),
        Format::Json => match serde_json::to_string_pretty(&status) {
            Ok(text) => text + "\n",
            Err(_) => return NGX_HTTP_INTERNAL_SERVER_ERROR as ngx_int_t,
        },
    };
    Reply { content_type: format.content_type(), headers: &headers, body: body.as_bytes() }.send(r)
}
