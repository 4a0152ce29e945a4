//! The table of directives.

use std::ffi::{c_char, c_void, CStr};
use std::mem::offset_of;
use std::ptr::{addr_of_mut, null_mut};

use nginx_sys::{
    ngx_command_t, ngx_conf_set_access_slot, ngx_conf_set_bufs_slot, ngx_conf_set_flag_slot,
    ngx_conf_set_msec_slot, ngx_conf_set_num_slot, ngx_conf_set_path_slot, ngx_conf_set_size_slot,
    ngx_conf_set_str_array_slot, ngx_conf_t, ngx_http_upstream_conf_t,
    ngx_http_upstream_ignore_headers_masks, NGX_CONF_1MORE, NGX_CONF_BLOCK, NGX_CONF_FLAG,
    NGX_CONF_NOARGS, NGX_CONF_TAKE1, NGX_CONF_TAKE12, NGX_CONF_TAKE123, NGX_CONF_TAKE1234,
    NGX_CONF_TAKE2, NGX_CONF_TAKE23, NGX_HTTP_LOC_CONF, NGX_HTTP_LOC_CONF_OFFSET,
    NGX_HTTP_MAIN_CONF_OFFSET,
};

#[cfg(ngx_feature = "http_cache")]
use super::cache;
use super::directive::{command, family, flag, global, local, setter, switch, words, Setter};
use super::directive::{ANY, ANY_AND_IF, ANY_AND_LIMIT, M, S};
use super::imports;
use super::interpreters;
use super::next_upstream::MASKS;
use super::store::cmd_store;
use super::{handlers, obsolete, processes, proxies, python, reporting, scripts};
use super::{LocationConf, MainConf};
use crate::access::settings as access;

/// A directive that has no effect.
const fn obsolete(s: &'static CStr, place: u32, args: u32) -> ngx_command_t {
    local(s, place, args, setter!(LocationConf, obsolete::warn))
}

macro_rules! field {
    ($name:ident) => {
        offset_of!(ngx_http_upstream_conf_t, $name)
    };
}

#[cfg(not(ngx_complex_limit_rate))]
const LIMIT_RATE: Setter = ngx_conf_set_size_slot;
#[cfg(ngx_complex_limit_rate)]
const LIMIT_RATE: Setter = nginx_sys::ngx_http_set_complex_value_size_slot;

/// nginx's table of directives, ended by an empty one. Mutable because nginx's type is; nobody
/// writes to it.
macro_rules! commands {
    [$($command:expr),* $(,)?] => {
        pub static mut COMMANDS: [ngx_command_t; [$($command,)* ngx_command_t::empty()].len()] =
            [$($command,)* ngx_command_t::empty()];
    };
}

commands![
    local(
        c"wsgi_script_alias",
        ANY,
        NGX_CONF_1MORE,
        setter!(LocationConf, scripts::cmd_script_alias),
    ),
    local(
        c"wsgi_script_alias_match",
        ANY,
        NGX_CONF_1MORE,
        setter!(LocationConf, scripts::cmd_script_alias_match),
    ),
    local(
        c"wsgi_handler_script",
        ANY,
        NGX_CONF_1MORE,
        setter!(LocationConf, scripts::cmd_handler_script),
    ),
    local(
        c"wsgi_set_handler",
        NGX_HTTP_LOC_CONF,
        NGX_CONF_TAKE1,
        setter!(LocationConf, handlers::set_handler),
    ),
    local(
        c"wsgi_trusted_proxy_headers",
        ANY,
        NGX_CONF_1MORE,
        setter!(LocationConf, proxies::headers),
    ),
    local(c"wsgi_trusted_proxies", ANY, NGX_CONF_1MORE, setter!(LocationConf, proxies::proxies)),
    flag(c"wsgi_error_override", ANY_AND_IF, offset_of!(LocationConf, error_override)),
    local(
        c"wsgi_process_group",
        ANY_AND_IF,
        NGX_CONF_TAKE1,
        setter!(LocationConf, scripts::cmd_process_group),
    ),
    local(
        c"wsgi_application_group",
        ANY_AND_IF,
        NGX_CONF_TAKE1,
        setter!(LocationConf, scripts::cmd_application_group),
    ),
    local(
        c"wsgi_callable_object",
        ANY_AND_IF,
        NGX_CONF_TAKE1,
        setter!(LocationConf, scripts::cmd_callable_object),
    ),
    local(
        c"wsgi_dispatch_script",
        ANY,
        NGX_CONF_TAKE12,
        setter!(LocationConf, scripts::cmd_dispatch_script),
    ),
    local(c"wsgi_param", ANY_AND_IF, NGX_CONF_TAKE23, setter!(LocationConf, scripts::cmd_param)),
    local(
        c"wsgi_map_head_to_get",
        ANY_AND_IF,
        NGX_CONF_TAKE1,
        setter!(LocationConf, scripts::cmd_map_head_to_get),
    ),
    global(
        c"wsgi_daemon_process",
        M | S,
        NGX_CONF_1MORE,
        setter!(MainConf, processes::cmd_daemon_process),
    ),
    global(c"wsgi_import_script", M | S, NGX_CONF_1MORE, setter!(MainConf, imports::import_script)),
    local(
        c"wsgi_restrict_process",
        ANY,
        NGX_CONF_1MORE,
        setter!(LocationConf, scripts::cmd_restrict_process),
    ),
    global(
        c"wsgi_socket_prefix",
        M,
        NGX_CONF_TAKE1,
        setter!(MainConf, processes::cmd_socket_prefix),
    ),
    global(
        c"wsgi_daemon_executable",
        M,
        NGX_CONF_TAKE1,
        setter!(MainConf, processes::cmd_daemon_executable),
    ),
    global(c"wsgi_python_home", M, NGX_CONF_TAKE1, setter!(MainConf, python::home)),
    global(c"wsgi_python_path", M, NGX_CONF_TAKE1, setter!(MainConf, python::path)),
    global(
        c"wsgi_embedded_threads",
        M,
        NGX_CONF_TAKE1,
        setter!(MainConf, processes::cmd_embedded_threads),
    ),
    global(c"wsgi_python_eggs", M, NGX_CONF_TAKE1, setter!(MainConf, python::eggs)),
    global(c"wsgi_python_optimize", M, NGX_CONF_TAKE1, setter!(MainConf, python::optimize)),
    global(c"wsgi_python_warnings", M, NGX_CONF_TAKE1, setter!(MainConf, python::warnings)),
    global(c"wsgi_python_hash_seed", M, NGX_CONF_TAKE1, setter!(MainConf, python::hash_seed)),
    global(c"wsgi_switch_interval", M, NGX_CONF_TAKE1, setter!(MainConf, python::interval)),
    global(
        c"wsgi_per_interpreter_gil",
        M,
        NGX_CONF_FLAG,
        setter!(MainConf, python::per_interpreter_gil),
    ),
    global(c"wsgi_free_threading", M, NGX_CONF_FLAG, setter!(MainConf, python::free_threading)),
    global(
        c"wsgi_interpreter_options",
        M,
        NGX_CONF_BLOCK | NGX_CONF_NOARGS | NGX_CONF_TAKE12,
        setter!(MainConf, interpreters::block),
    ),
    switch(c"wsgi_dont_write_bytecode", offset_of!(MainConf, python.dont_write_bytecode)),
    switch(c"wsgi_lazy_initialization", offset_of!(MainConf, python.lazy_initialization)),
    switch(c"wsgi_restrict_stdin", offset_of!(MainConf, python.restrict_stdin)),
    switch(c"wsgi_restrict_stdout", offset_of!(MainConf, python.restrict_stdout)),
    switch(c"wsgi_restrict_signal", offset_of!(MainConf, python.restrict_signal)),
    switch(c"wsgi_destroy_interpreter", offset_of!(MainConf, python.destroy_interpreter)),
    switch(c"wsgi_case_sensitivity", offset_of!(MainConf, python.case_sensitivity)),
    switch(c"wsgi_server_metrics", offset_of!(MainConf, server_metrics)),
    switch(c"wsgi_restrict_embedded", offset_of!(MainConf, restrict_embedded)),
    flag(c"wsgi_pass_authorization", ANY_AND_IF, offset_of!(LocationConf, pass_authorization)),
    flag(c"wsgi_script_reloading", ANY_AND_IF, offset_of!(LocationConf, script_reloading)),
    flag(c"wsgi_ignore_activity", ANY_AND_IF, offset_of!(LocationConf, ignore_activity)),
    flag(c"wsgi_chunked_request", ANY_AND_IF, offset_of!(LocationConf, chunked_request)),
    family(c"wsgi_buffering", NGX_CONF_FLAG, ngx_conf_set_flag_slot, field!(buffering)),
    family(
        c"wsgi_request_buffering",
        NGX_CONF_FLAG,
        ngx_conf_set_flag_slot,
        field!(request_buffering),
    ),
    family(
        c"wsgi_ignore_client_abort",
        NGX_CONF_FLAG,
        ngx_conf_set_flag_slot,
        field!(ignore_client_abort),
    ),
    family(
        c"wsgi_intercept_errors",
        NGX_CONF_FLAG,
        ngx_conf_set_flag_slot,
        field!(intercept_errors),
    ),
    family(c"wsgi_force_ranges", NGX_CONF_FLAG, ngx_conf_set_flag_slot, field!(force_ranges)),
    family(
        c"wsgi_connect_timeout",
        NGX_CONF_TAKE1,
        ngx_conf_set_msec_slot,
        field!(connect_timeout),
    ),
    family(c"wsgi_send_timeout", NGX_CONF_TAKE1, ngx_conf_set_msec_slot, field!(send_timeout)),
    family(c"wsgi_read_timeout", NGX_CONF_TAKE1, ngx_conf_set_msec_slot, field!(read_timeout)),
    family(c"wsgi_buffer_size", NGX_CONF_TAKE1, ngx_conf_set_size_slot, field!(buffer_size)),
    family(c"wsgi_buffers", NGX_CONF_TAKE2, ngx_conf_set_bufs_slot, field!(bufs)),
    family(
        c"wsgi_busy_buffers_size",
        NGX_CONF_TAKE1,
        ngx_conf_set_size_slot,
        field!(busy_buffers_size_conf),
    ),
    family(
        c"wsgi_max_temp_file_size",
        NGX_CONF_TAKE1,
        ngx_conf_set_size_slot,
        field!(max_temp_file_size_conf),
    ),
    family(
        c"wsgi_temp_file_write_size",
        NGX_CONF_TAKE1,
        ngx_conf_set_size_slot,
        field!(temp_file_write_size_conf),
    ),
    family(c"wsgi_temp_path", NGX_CONF_TAKE1234, ngx_conf_set_path_slot, field!(temp_path)),
    family(c"wsgi_limit_rate", NGX_CONF_TAKE1, LIMIT_RATE, field!(limit_rate)),
    family(c"wsgi_hide_header", NGX_CONF_TAKE1, ngx_conf_set_str_array_slot, field!(hide_headers)),
    family(c"wsgi_pass_header", NGX_CONF_TAKE1, ngx_conf_set_str_array_slot, field!(pass_headers)),
    words(
        c"wsgi_ignore_headers",
        offset_of!(LocationConf, upstream) + field!(ignore_headers),
        addr_of_mut!(ngx_http_upstream_ignore_headers_masks).cast(),
    ),
    local(
        c"wsgi_access_script",
        ANY_AND_LIMIT,
        NGX_CONF_TAKE12,
        setter!(LocationConf, access::access_script),
    ),
    local(
        c"wsgi_auth_user_script",
        ANY_AND_LIMIT,
        NGX_CONF_TAKE12,
        setter!(LocationConf, access::auth_user_script),
    ),
    local(
        c"wsgi_auth_group_script",
        ANY_AND_LIMIT,
        NGX_CONF_TAKE12,
        setter!(LocationConf, access::auth_group_script),
    ),
    local(
        c"wsgi_auth_type",
        ANY_AND_LIMIT,
        NGX_CONF_TAKE1,
        setter!(LocationConf, access::auth_type),
    ),
    local(
        c"wsgi_auth_name",
        ANY_AND_LIMIT,
        NGX_CONF_TAKE1,
        setter!(LocationConf, access::auth_name),
    ),
    local(
        c"wsgi_auth_nonce_lifetime",
        ANY_AND_LIMIT,
        NGX_CONF_TAKE1,
        setter!(LocationConf, access::nonce_lifetime),
    ),
    local(c"wsgi_require", ANY_AND_LIMIT, NGX_CONF_1MORE, setter!(LocationConf, access::require)),
    family(
        c"wsgi_pass_request_headers",
        NGX_CONF_FLAG,
        ngx_conf_set_flag_slot,
        field!(pass_request_headers),
    ),
    family(
        c"wsgi_pass_request_body",
        NGX_CONF_FLAG,
        ngx_conf_set_flag_slot,
        field!(pass_request_body),
    ),
    words(
        c"wsgi_next_upstream",
        offset_of!(LocationConf, next_upstream.failures),
        addr_of_mut!(MASKS).cast(),
    ),
    command(
        c"wsgi_next_upstream_tries",
        ANY,
        NGX_CONF_TAKE1,
        ngx_conf_set_num_slot,
        NGX_HTTP_LOC_CONF_OFFSET,
        offset_of!(LocationConf, next_upstream.tries),
        null_mut(),
    ),
    command(
        c"wsgi_next_upstream_timeout",
        ANY,
        NGX_CONF_TAKE1,
        ngx_conf_set_msec_slot,
        NGX_HTTP_LOC_CONF_OFFSET,
        offset_of!(LocationConf, next_upstream.timeout),
        null_mut(),
    ),
    local(c"wsgi_store", ANY, NGX_CONF_TAKE1, setter!(LocationConf, cmd_store)),
    family(c"wsgi_store_access", NGX_CONF_TAKE123, ngx_conf_set_access_slot, field!(store_access)),
    #[cfg(ngx_feature = "http_cache")]
    command(
        c"wsgi_cache_path",
        M,
        nginx_sys::NGX_CONF_2MORE,
        cache::cache_path,
        NGX_HTTP_MAIN_CONF_OFFSET,
        offset_of!(MainConf, caches),
        cache::tag(),
    ),
    #[cfg(ngx_feature = "http_cache")]
    local(c"wsgi_cache", ANY, NGX_CONF_TAKE1, setter!(LocationConf, cache::cmd_cache)),
    #[cfg(ngx_feature = "http_cache")]
    local(c"wsgi_cache_key", ANY, NGX_CONF_TAKE1, setter!(LocationConf, cache::cmd_cache_key)),
    #[cfg(ngx_feature = "http_cache")]
    family(
        c"wsgi_cache_bypass",
        NGX_CONF_1MORE,
        nginx_sys::ngx_http_set_predicate_slot,
        field!(cache_bypass),
    ),
    #[cfg(ngx_feature = "http_cache")]
    family(
        c"wsgi_no_cache",
        NGX_CONF_1MORE,
        nginx_sys::ngx_http_set_predicate_slot,
        field!(no_cache),
    ),
    #[cfg(ngx_feature = "http_cache")]
    family(
        c"wsgi_cache_valid",
        NGX_CONF_1MORE,
        nginx_sys::ngx_http_file_cache_valid_set_slot,
        field!(cache_valid),
    ),
    #[cfg(ngx_feature = "http_cache")]
    family(c"wsgi_cache_min_uses", NGX_CONF_TAKE1, ngx_conf_set_num_slot, field!(cache_min_uses)),
    #[cfg(ngx_feature = "http_cache")]
    family(
        c"wsgi_cache_max_range_offset",
        NGX_CONF_TAKE1,
        nginx_sys::ngx_conf_set_off_slot,
        field!(cache_max_range_offset),
    ),
    #[cfg(ngx_feature = "http_cache")]
    words(
        c"wsgi_cache_methods",
        offset_of!(LocationConf, upstream) + field!(cache_methods),
        addr_of_mut!(nginx_sys::ngx_http_upstream_cache_method_mask).cast(),
    ),
    #[cfg(ngx_feature = "http_cache")]
    words(
        c"wsgi_cache_use_stale",
        offset_of!(LocationConf, upstream) + field!(cache_use_stale),
        addr_of_mut!(MASKS).cast(),
    ),
    #[cfg(ngx_feature = "http_cache")]
    family(
        c"wsgi_cache_revalidate",
        NGX_CONF_FLAG,
        ngx_conf_set_flag_slot,
        field!(cache_revalidate),
    ),
    #[cfg(ngx_feature = "http_cache")]
    family(c"wsgi_cache_lock", NGX_CONF_FLAG, ngx_conf_set_flag_slot, field!(cache_lock)),
    #[cfg(ngx_feature = "http_cache")]
    family(
        c"wsgi_cache_lock_timeout",
        NGX_CONF_TAKE1,
        ngx_conf_set_msec_slot,
        field!(cache_lock_timeout),
    ),
    #[cfg(ngx_feature = "http_cache")]
    family(c"wsgi_cache_lock_age", NGX_CONF_TAKE1, ngx_conf_set_msec_slot, field!(cache_lock_age)),
    #[cfg(ngx_feature = "http_cache")]
    family(
        c"wsgi_cache_background_update",
        NGX_CONF_FLAG,
        ngx_conf_set_flag_slot,
        field!(cache_background_update),
    ),
    global(
        c"wsgi_slow_requests",
        M,
        NGX_CONF_TAKE1,
        setter!(MainConf, reporting::cmd_slow_requests),
    ),
    local(
        c"wsgi_status",
        NGX_HTTP_LOC_CONF,
        NGX_CONF_NOARGS | NGX_CONF_TAKE1,
        setter!(LocationConf, reporting::cmd_status),
    ),
    obsolete(c"wsgi_reload_mechanism", ANY, NGX_CONF_TAKE1),
    obsolete(c"wsgi_python_executable", M, NGX_CONF_TAKE1),
    obsolete(c"wsgi_py3k_warning_flag", M, NGX_CONF_TAKE1),
    obsolete(c"wsgi_accept_mutex", M, NGX_CONF_TAKE1),
    obsolete(c"wsgi_socket_rotation", M, NGX_CONF_TAKE1),
    obsolete(c"wsgi_enable_sendfile", ANY, NGX_CONF_TAKE1),
    obsolete(c"wsgi_verbose_debugging", M, NGX_CONF_TAKE1),
    obsolete(c"wsgi_pass_apache_request", ANY, NGX_CONF_TAKE1),
    obsolete(c"wsgi_telemetry_service", M, NGX_CONF_1MORE),
];
