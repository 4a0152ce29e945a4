//! What has no effect without embedded threads (`wsgi_embedded_threads 0`): there is no upstream then.

use nginx_sys::{ngx_conf_t, NGX_HTTP_UPSTREAM_FT_OFF};

use super::upstream::set;
use super::value::Setting;
use super::{LocationConf, MainConf, Token};
use crate::ffi::conf_warn;

/// Warns about settings of a location whose scripts run on the event loop's own thread, once for each
/// script.
pub fn warn(cf: *mut ngx_conf_t, main: &mut MainConf, conf: &LocationConf) {
    if !main.runs_inline() {
        return;
    }
    let upstream = &conf.upstream;
    let useless = [
        ("wsgi_cache", conf.cache == Some(true)),
        ("wsgi_store", conf.store == Some(true)),
        ("wsgi_next_upstream", conf.next_upstream.failures != set(NGX_HTTP_UPSTREAM_FT_OFF)),
        ("wsgi_request_buffering off", upstream.request_buffering == 0),
    ];
    for alias in conf.aliases.all() {
        let group = alias.options.process_group.as_ref().or(conf.process_group.as_ref());
        if !group.is_none_or(|group| matches!(group, Setting::Token(Token::Global))) {
            continue;
        }
        for (directive, _) in useless.iter().filter(|(_, is_set)| *is_set) {
            if main.useless.insert((directive, alias.place.clone())) {
                conf_warn(
                    cf,
                    format_args!(
                        "\"{directive}\" has no effect on embedded applications with \
                         \"wsgi_embedded_threads 0\", as the one in {}",
                        alias.place
                    ),
                );
            }
        }
    }
}
