//! Directives of mod_wsgi that have nothing to do here: accepted, so that a configuration can be
//! carried over, with a warning that says what applies instead.

use super::LocationConf;
use crate::ffi::{conf_warn, Conf, ConfigError};

/// Names, and what applies instead.
const OBSOLETE: [(&str, &str); 9] = [
    (
        "wsgi_reload_mechanism",
        "an embedded script is loaded again when it has changed, a daemon process is replaced",
    ),
    ("wsgi_python_executable", "name the Python installation with \"wsgi_python_home\""),
    ("wsgi_py3k_warning_flag", "it was a switch of Python 2"),
    (
        "wsgi_accept_mutex",
        "processes do not compete for connections, nginx gives each request to a free thread",
    ),
    (
        "wsgi_socket_rotation",
        "workers of an old configuration keep its daemon processes until their last request",
    ),
    (
        "wsgi_enable_sendfile",
        "regular files in wsgi.file_wrapper are always sent without passing through Python",
    ),
    ("wsgi_verbose_debugging", "set the level of \"error_log\" to info or debug"),
    ("wsgi_pass_apache_request", "there is no Apache request that could be passed"),
    ("wsgi_telemetry_service", "\"wsgi_status\" shows what the processes are at"),
];

/// Warns; sets nothing.
pub fn warn(cf: Conf, _: &mut LocationConf) -> Result<(), ConfigError> {
    let name = cf.word(0)?;
    if let Some((_, instead)) = OBSOLETE.iter().find(|(known, _)| *known == name) {
        conf_warn(cf.as_ptr(), format_args!("\"{name}\" is obsolete and has no effect: {instead}"));
    }
    Ok(())
}
