//! The table of directives, and the handlers of those that have no file of their own.

use std::ffi::{c_char, c_void, CStr};
use std::mem::offset_of;
use std::path::{Path, PathBuf};
use std::ptr::{addr_of, addr_of_mut, null_mut};
use std::rc::Rc;

use nginx_sys::{
    ngx_command_t, ngx_conf_set_access_slot, ngx_conf_set_bitmask_slot, ngx_conf_set_bufs_slot,
    ngx_conf_set_flag_slot, ngx_conf_set_msec_slot, ngx_conf_set_num_slot, ngx_conf_set_path_slot,
    ngx_conf_set_size_slot, ngx_conf_set_str_array_slot, ngx_conf_t, ngx_http_upstream_conf_t,
    ngx_http_upstream_ignore_headers_masks, ngx_str_t, ngx_uint_t, NGX_CONF_1MORE, NGX_CONF_BLOCK,
    NGX_CONF_FLAG, NGX_CONF_NOARGS, NGX_CONF_TAKE1, NGX_CONF_TAKE12, NGX_CONF_TAKE123,
    NGX_CONF_TAKE1234, NGX_CONF_TAKE2, NGX_CONF_TAKE23, NGX_HTTP_LIF_CONF, NGX_HTTP_LMT_CONF,
    NGX_HTTP_LOC_CONF, NGX_HTTP_LOC_CONF_OFFSET, NGX_HTTP_MAIN_CONF, NGX_HTTP_MAIN_CONF_OFFSET,
    NGX_HTTP_SRV_CONF,
};

use super::aliases::full_name;
#[cfg(ngx_feature = "http_cache")]
use super::cache;
use super::daemon::{instead_of, DaemonOptions};
use super::imports::{self, fixed_name};
use super::interpreters;
use super::main::{GroupDefinition, GroupReference};
use super::next_upstream::MASKS;
use super::store::cmd_store;
use super::value::Setting;
use super::{handlers, obsolete, proxies, python, Alias, LocationConf, MainConf, MapHead, Param};
use crate::access::settings as access;
use crate::ffi::{
    conf_warn, enclosing_server, guard, parse_msec, set_content_handler, Conf, ConfigError,
};
use crate::hook::Hook;
use crate::master::SocketNames;
use crate::status::{self, Format};

type Setter = unsafe extern "C" fn(*mut ngx_conf_t, *mut ngx_command_t, *mut c_void) -> *mut c_char;

const M: u32 = NGX_HTTP_MAIN_CONF;
const S: u32 = NGX_HTTP_SRV_CONF;
const ANY: u32 = M | S | NGX_HTTP_LOC_CONF;
const ANY_AND_LIMIT: u32 = ANY | NGX_HTTP_LMT_CONF;
const ANY_AND_IF: u32 = ANY | NGX_HTTP_LIF_CONF | NGX_HTTP_LMT_CONF;

/// nginx compares names up to their NUL.
pub(super) const fn name(s: &'static CStr) -> ngx_str_t {
    ngx_str_t { len: s.count_bytes(), data: s.as_ptr().cast_mut().cast() }
}

const fn command(
    s: &'static CStr,
    place: u32,
    args: u32,
    set: Setter,
    conf: usize,
    offset: usize,
    post: *mut c_void,
) -> ngx_command_t {
    ngx_command_t {
        name: name(s),
        type_: (place | args) as ngx_uint_t,
        set: Some(set),
        conf,
        offset,
        post,
    }
}

/// A directive of the location level with a handler of ours.
const fn local(s: &'static CStr, place: u32, args: u32, set: Setter) -> ngx_command_t {
    command(s, place, args, set, NGX_HTTP_LOC_CONF_OFFSET, 0, null_mut())
}

/// A directive of the main level with a handler of ours.
const fn global(s: &'static CStr, place: u32, args: u32, set: Setter) -> ngx_command_t {
    command(s, place, args, set, NGX_HTTP_MAIN_CONF_OFFSET, 0, null_mut())
}

/// A flag of the location level.
const fn flag(s: &'static CStr, place: u32, offset: usize) -> ngx_command_t {
    command(
        s,
        place,
        NGX_CONF_FLAG,
        ngx_conf_set_flag_slot,
        NGX_HTTP_LOC_CONF_OFFSET,
        offset,
        null_mut(),
    )
}

/// A flag of the main level.
const fn switch(s: &'static CStr, offset: usize) -> ngx_command_t {
    command(
        s,
        M,
        NGX_CONF_FLAG,
        ngx_conf_set_flag_slot,
        NGX_HTTP_MAIN_CONF_OFFSET,
        offset,
        null_mut(),
    )
}

/// A directive of the upstream family, set by nginx itself.
const fn family(s: &'static CStr, args: u32, set: Setter, field: usize) -> ngx_command_t {
    let offset = offset_of!(LocationConf, upstream) + field;
    command(s, ANY, args, set, NGX_HTTP_LOC_CONF_OFFSET, offset, null_mut())
}

/// A directive whose words are bits.
const fn words(s: &'static CStr, offset: usize, masks: *mut c_void) -> ngx_command_t {
    let (place, args) = (NGX_HTTP_LOC_CONF_OFFSET, NGX_CONF_1MORE);
    command(s, ANY, args, ngx_conf_set_bitmask_slot, place, offset, masks)
}

/// nginx's setter for a handler of ours.
macro_rules! setter {
    ($conf:ty, $handler:path) => {{
        unsafe extern "C" fn set(
            cf: *mut ngx_conf_t,
            _: *mut ngx_command_t,
            conf: *mut c_void,
        ) -> *mut c_char {
            // SAFETY: nginx passes the configuration that the directive's offset names: the
            // location's for `local`, the main one for `global`, as the table pairs them.
            unsafe { handle::<$conf>(cf, conf, $handler) }
        }
        set
    }};
}

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
    local(c"wsgi_script_alias", ANY, NGX_CONF_1MORE, setter!(LocationConf, cmd_script_alias)),
    local(
        c"wsgi_script_alias_match",
        ANY,
        NGX_CONF_1MORE,
        setter!(LocationConf, cmd_script_alias_match),
    ),
    local(c"wsgi_handler_script", ANY, NGX_CONF_1MORE, setter!(LocationConf, cmd_handler_script)),
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
        setter!(LocationConf, cmd_process_group),
    ),
    local(
        c"wsgi_application_group",
        ANY_AND_IF,
        NGX_CONF_TAKE1,
        setter!(LocationConf, cmd_application_group),
    ),
    local(
        c"wsgi_callable_object",
        ANY_AND_IF,
        NGX_CONF_TAKE1,
        setter!(LocationConf, cmd_callable_object),
    ),
    local(
        c"wsgi_dispatch_script",
        ANY,
        NGX_CONF_TAKE12,
        setter!(LocationConf, cmd_dispatch_script),
    ),
    local(c"wsgi_param", ANY_AND_IF, NGX_CONF_TAKE23, setter!(LocationConf, cmd_param)),
    local(
        c"wsgi_map_head_to_get",
        ANY_AND_IF,
        NGX_CONF_TAKE1,
        setter!(LocationConf, cmd_map_head_to_get),
    ),
    global(c"wsgi_daemon_process", M | S, NGX_CONF_1MORE, setter!(MainConf, cmd_daemon_process)),
    global(c"wsgi_import_script", M | S, NGX_CONF_1MORE, setter!(MainConf, imports::import_script)),
    local(
        c"wsgi_restrict_process",
        ANY,
        NGX_CONF_1MORE,
        setter!(LocationConf, cmd_restrict_process),
    ),
    global(c"wsgi_socket_prefix", M, NGX_CONF_TAKE1, setter!(MainConf, cmd_socket_prefix)),
    global(c"wsgi_daemon_executable", M, NGX_CONF_TAKE1, setter!(MainConf, cmd_daemon_executable)),
    global(c"wsgi_python_home", M, NGX_CONF_TAKE1, setter!(MainConf, python::home)),
    global(c"wsgi_python_path", M, NGX_CONF_TAKE1, setter!(MainConf, python::path)),
    global(c"wsgi_embedded_threads", M, NGX_CONF_TAKE1, setter!(MainConf, cmd_embedded_threads)),
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
    global(c"wsgi_slow_requests", M, NGX_CONF_TAKE1, setter!(MainConf, cmd_slow_requests)),
    local(
        c"wsgi_status",
        NGX_HTTP_LOC_CONF,
        NGX_CONF_NOARGS | NGX_CONF_TAKE1,
        setter!(LocationConf, cmd_status),
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

/// What a directive does to the configuration at its level.
type Handler<T> = fn(Conf, &mut T) -> Result<(), ConfigError>;

/// # Safety
///
/// nginx calls a directive's setter with these, and the directive's offset names a T.
unsafe fn handle<T>(cf: *mut ngx_conf_t, conf: *mut c_void, handler: Handler<T>) -> *mut c_char {
    let failed = usize::MAX as *mut c_char; // NGX_CONF_ERROR
    guard("a directive", failed, || {
        // SAFETY: nginx passes the configuration that the directive's offset names, made by this
        // module's create_*_conf as a T, and nobody else refers to it during the call.
        let (cf, conf) = unsafe { (Conf::new(cf), &mut *conf.cast::<T>()) };
        match handler(cf, conf) {
            Ok(()) => null_mut(),
            Err(ConfigError) => failed,
        }
    })
}

fn cmd_script_alias(cf: Conf, conf: &mut LocationConf) -> Result<(), ConfigError> {
    let Some(alias) = conf.aliases.add(cf)? else { return Ok(()) };
    announce(cf, &alias)
}

fn cmd_script_alias_match(cf: Conf, conf: &mut LocationConf) -> Result<(), ConfigError> {
    let alias = conf.aliases.add_match(cf)?;
    announce(cf, &alias)
}

/// What a new alias means for the whole configuration.
fn announce(cf: Conf, alias: &Alias) -> Result<(), ConfigError> {
    refer_to(cf, alias.options.process_group.as_ref());
    main_conf(cf).map_or(Ok(()), |main| imports::preload(cf, main, alias))
}

fn cmd_handler_script(cf: Conf, conf: &mut LocationConf) -> Result<(), ConfigError> {
    let script = conf.handler_scripts.add(cf)?;
    refer_to(cf, script.options.process_group.as_ref());
    Ok(())
}

fn cmd_restrict_process(cf: Conf, conf: &mut LocationConf) -> Result<(), ConfigError> {
    let words = 1..cf.words().len();
    let names = words.map(|index| cf.word(index).and_then(|name| fixed_name(cf, name, name)));
    let names = names.collect::<Result<Rc<[String]>, _>>()?;
    set_once(cf, &mut conf.restrict_process, names)
}

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

/// Remembers the name of a group, to be looked up when all groups are known.
fn refer_to(cf: Conf, setting: Option<&Setting>) {
    let Some(name) = setting.and_then(Setting::fixed).filter(|name| !name.is_empty()) else {
        return;
    };
    if let Some(main) = main_conf(cf) {
        main.references.push(GroupReference {
            name: name.to_owned(),
            directive: cf.word(0).unwrap_or_default().to_owned(),
            place: cf.place(),
        });
    }
}

fn cmd_process_group(cf: Conf, conf: &mut LocationConf) -> Result<(), ConfigError> {
    let setting = Setting::compile(cf, cf.word(1)?)?;
    refer_to(cf, Some(&setting));
    set_once(cf, &mut conf.process_group, setting)
}

fn cmd_application_group(cf: Conf, conf: &mut LocationConf) -> Result<(), ConfigError> {
    let setting = Setting::compile(cf, cf.word(1)?)?;
    set_once(cf, &mut conf.application_group, setting)
}

fn cmd_callable_object(cf: Conf, conf: &mut LocationConf) -> Result<(), ConfigError> {
    use super::token::Token;
    let setting = Setting::compile(cf, cf.word(1)?)?;
    if matches!(
        setting,
        Setting::Token(Token::Global | Token::Server | Token::Host | Token::Resource)
    ) {
        return Err(cf.error(format_args!("cannot be \"{}\"", cf.word(1)?)));
    }
    set_once(cf, &mut conf.callable, setting)
}

/// `wsgi_dispatch_script path [application-group=...]`, or `off`.
fn cmd_dispatch_script(cf: Conf, conf: &mut LocationConf) -> Result<(), ConfigError> {
    let hook = Hook::read_or_off(cf)?.map(Rc::new);
    set_once(cf, &mut conf.dispatch_script, hook)
}

fn cmd_param(cf: Conf, conf: &mut LocationConf) -> Result<(), ConfigError> {
    let param = Param::read(cf)?;
    Rc::make_mut(&mut conf.params).push(param);
    Ok(())
}

fn cmd_map_head_to_get(cf: Conf, conf: &mut LocationConf) -> Result<(), ConfigError> {
    let value = cf.word(1)?;
    let map = match &*value.to_ascii_lowercase() {
        "off" => MapHead::Off,
        "on" => MapHead::On,
        "auto" => MapHead::Auto,
        _ => {
            let cause = "must be \"off\", \"on\" or \"auto\"";
            return Err(cf.error(format_args!("has invalid value \"{value}\": {cause}")));
        }
    };
    set_once(cf, &mut conf.map_head_to_get, map)
}

fn cmd_slow_requests(cf: Conf, conf: &mut MainConf) -> Result<(), ConfigError> {
    let value = cf.word(1)?;
    let fraction = value.parse().ok().filter(|_| value.starts_with(|c: char| c.is_ascii_digit()));
    let fraction = fraction.filter(|seconds: &f64| *seconds <= f64::from(i32::MAX));
    let msec = fraction.map(|seconds| (seconds * 1e3).round() as usize);
    let msec = msec.or_else(|| parse_msec(cf.words()[1])).ok_or_else(|| {
        let time = "must be a number of seconds, or a time as nginx writes it";
        cf.error(format_args!("has invalid value \"{value}\": {time}"))
    })?;
    set_once(cf, &mut conf.slow_requests_ms, (msec > 0).then_some(msec))
}

fn cmd_status(cf: Conf, conf: &mut LocationConf) -> Result<(), ConfigError> {
    let format = match cf.words().get(1) {
        None => None,
        Some(_) => {
            let name = cf.word(1)?;
            Some(Format::named(name).ok_or_else(|| {
                let formats = "must be \"html\", \"json\" or \"prometheus\"";
                cf.error(format_args!("has invalid format \"{name}\": {formats}"))
            })?)
        }
    };
    set_once(cf, &mut conf.status, format)?;
    set_content_handler(cf, Some(status::content_handler));
    Ok(())
}

fn cmd_daemon_process(cf: Conf, conf: &mut MainConf) -> Result<(), ConfigError> {
    let name = cf.word(1)?;
    if name.is_empty() || name.starts_with('%') || name.contains('/') {
        return Err(cf.error(format_args!("has invalid name \"{name}\"")));
    }
    if conf.group(name.as_bytes()).is_some() {
        return Err(cf.error(format_args!("has duplicate name \"{name}\"")));
    }
    let mut options = DaemonOptions::default();
    for index in 2..cf.words().len() {
        let option = cf.word(index)?;
        options.set(option).map_err(|error| cf.error(error))?;
        if let Some(instead) = instead_of(option) {
            conf_warn(
                cf.as_ptr(),
                format_args!(
                    "\"wsgi_daemon_process\" option \"{option}\" has no effect: {instead} applies"
                ),
            );
        }
    }
    options.check().map_err(|error| cf.error(error))?;
    let server = enclosing_server(cf);
    let name = name.to_owned();
    conf.add_group(GroupDefinition { name, options, place: cf.place(), server });
    Ok(())
}

/// A path relative to nginx's prefix made absolute. It goes to processes as text.
pub fn full_path(cf: Conf, word: ngx_str_t) -> Result<PathBuf, ConfigError> {
    let name = full_name(cf, word)?;
    String::from_utf8(name).map(PathBuf::from).map_err(|_| cf.error("value is not UTF-8"))
}

fn cmd_socket_prefix(cf: Conf, conf: &mut MainConf) -> Result<(), ConfigError> {
    let prefix = full_path(cf, cf.words()[1])?;
    SocketNames::next(Some(&prefix), Path::new("/")).check().map_err(|error| cf.error(error))?;
    set_once(cf, &mut conf.socket_prefix, prefix)
}

fn cmd_daemon_executable(cf: Conf, conf: &mut MainConf) -> Result<(), ConfigError> {
    let path = full_path(cf, cf.words()[1])?;
    if let Err(error) = nix::unistd::access(&path, nix::unistd::AccessFlags::X_OK) {
        return Err(cf.error(format_args!("\"{}\" cannot be executed: {error}", path.display())));
    }
    set_once(cf, &mut conf.daemon_executable, path)
}

fn cmd_embedded_threads(cf: Conf, conf: &mut MainConf) -> Result<(), ConfigError> {
    if conf.embedded_threads != crate::ffi::UNSET {
        return Err(cf.error("is duplicate"));
    }
    let value = cf.word(1)?;
    match value.parse::<u16>() {
        Ok(threads) if (1..=1024).contains(&threads) => conf.embedded_threads = threads as isize,
        _ => {
            return Err(cf.error(format_args!(
                "has invalid value \"{value}\": must be a number from 1 to 1024"
            )))
        }
    }
    Ok(())
}
