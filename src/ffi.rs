//! What nginx-sys lacks: macros, flags, strings, buffers, events. The only home of raw tricks.

#[allow(
    clippy::all,
    clippy::undocumented_unsafe_blocks,
    dead_code,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    unused_qualifications,
    unsafe_op_in_unsafe_fn
)]
mod bindings {
    include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
}

mod buf;
mod conf;
mod connection;
mod descriptor;
mod error_page;
mod event;
pub mod fork;
mod guard;
mod log;
mod neighbour;
mod process;
#[cfg(ngx_feature = "pcre")]
mod regex;
#[cfg(not(ngx_feature = "pcre"))]
#[path = "ffi/no_regex.rs"]
mod regex;
mod reply;
mod request;
mod shared;
mod stderr;
mod text;
mod variable;

pub use buf::{chain_of, contents, file_buf, in_memory, memory_buf, size as buf_size, Chain};
pub use conf::{
    bitmask, conf_error, conf_warn, enclosing_server, merge, parse_msec, parse_seconds,
    set_content_handler, Conf, ConfigError, UNSET, UNSET_MSEC, UNSET_PTR, UNSET_SIZE, UNSET_UINT,
};
pub use connection::{close_connection, Watched};
pub use descriptor::{read_only, receive, send_whole, send_with};
pub use error_page::{intercept, Locations};
pub use event::{look_before_waiting, now_msec, ClockAhead, Timer};
pub use guard::guard;
pub use log::{server_log, write_text};
pub use neighbour::{has_module, override_variable, Neighbour, Variable};
pub use process::{
    core_conf, file_log, is_worker, log_level, pid, random, worker_count, worker_index, Role,
};
pub use regex::Regex;
pub use reply::Reply;
pub use request::{file_name, header_key, Request};
pub use shared::SharedSlice;
pub use stderr::Redirected;
pub use text::{bytes, pool_copy, str_of, text};
pub use variable::{define_variable, set_variable};

/// nginx's return codes as the callbacks return them.
pub mod code {
    use nginx_sys::ngx_int_t;

    pub const OK: ngx_int_t = nginx_sys::NGX_OK as ngx_int_t;
    pub const ERROR: ngx_int_t = nginx_sys::NGX_ERROR as ngx_int_t;
    pub const AGAIN: ngx_int_t = nginx_sys::NGX_AGAIN as ngx_int_t;
    pub const DONE: ngx_int_t = nginx_sys::NGX_DONE as ngx_int_t;
    pub const DECLINED: ngx_int_t = nginx_sys::NGX_DECLINED as ngx_int_t;
    pub const INVALID_HEADER: ngx_int_t = nginx_sys::NGX_HTTP_UPSTREAM_INVALID_HEADER as ngx_int_t;
}
