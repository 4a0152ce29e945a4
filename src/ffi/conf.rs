//! Configuration time: arguments, errors, unset values and their merging.

use std::ffi::{c_char, c_void};

use nginx_sys::{
    ngx_array_t, ngx_bufs_t, ngx_command_t, ngx_conf_t, ngx_flag_t, ngx_http_conf_ctx_t,
    ngx_http_core_loc_conf_t, ngx_http_core_srv_conf_t, ngx_http_handler_pt, ngx_module_t,
    ngx_msec_t, ngx_str_t, ngx_uint_t,
};
use ngx::ngx_conf_log_error;

use super::bytes;

/// `NGX_CONF_UNSET`.
pub const UNSET: ngx_flag_t = -1;
/// `NGX_CONF_UNSET_UINT`.
pub const UNSET_UINT: ngx_uint_t = ngx_uint_t::MAX;
/// `NGX_CONF_UNSET_MSEC`.
pub const UNSET_MSEC: ngx_msec_t = ngx_msec_t::MAX;
/// `NGX_CONF_UNSET_SIZE`.
pub const UNSET_SIZE: usize = usize::MAX;
/// `NGX_CONF_UNSET_PTR`.
pub const UNSET_PTR: *mut ngx_array_t = usize::MAX as *mut ngx_array_t;

/// The text of a configuration error was logged; nginx is to be told that it failed.
#[derive(Debug, PartialEq, Eq)]
pub struct ConfigError;

/// A configuration that is being read.
#[derive(Clone, Copy)]
pub struct Conf(*mut ngx_conf_t);

impl Conf {
    /// Wraps the pointer that nginx calls back with.
    ///
    /// # Safety
    ///
    /// `cf` is valid for the callback.
    pub unsafe fn new(cf: *mut ngx_conf_t) -> Self {
        Conf(cf)
    }

    /// nginx's pointer.
    pub fn as_ptr(self) -> *mut ngx_conf_t {
        self.0
    }

    /// The fields.
    pub fn get<'a>(self) -> &'a ngx_conf_t {
        // SAFETY: valid for the callback, see new.
        unsafe { &*self.0 }
    }

    /// The directive's words: its name first. They live as long as the cycle.
    pub fn words<'a>(self) -> &'a [ngx_str_t] {
        // SAFETY: while a directive's handler runs, args holds its words.
        unsafe { (*self.get().args).as_slice() }
    }

    /// A word as text. nginx's configuration may hold any bytes; what is not UTF-8 is an error.
    ///
    /// # Errors
    ///
    /// [`ConfigError`], logged.
    pub fn word<'a>(self, index: usize) -> Result<&'a str, ConfigError> {
        // SAFETY: words live in the cycle's pool.
        let word = unsafe { bytes(&self.words()[index]) };
        std::str::from_utf8(word).map_err(|_| self.error(format_args!("value is not UTF-8")))
    }

    /// Logs `"directive" cause in file:line` at the level that fails the configuration.
    pub fn error(self, cause: impl std::fmt::Display) -> ConfigError {
        // SAFETY: words live in the cycle's pool.
        let name = unsafe { self.words().first().map_or(&b""[..], |word| bytes(word)) };
        conf_error(self.0, format_args!("\"{}\" {cause}", super::text(name)));
        ConfigError
    }

    /// Reads the directive's block: `handler` is called for each of the directives in it, which are
    /// not looked up in any module's table. The directive's own words are gone afterwards.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when the block cannot be read, or from the handler.
    pub fn read_block<T>(
        self,
        value: &mut T,
        handler: fn(Conf, &mut T) -> Result<(), ConfigError>,
    ) -> Result<(), ConfigError> {
        let mut reader = BlockReader { value, handler };
        // SAFETY: what nginx's own blocks of this kind do. The reader outlives the parsing, which
        // ends before this returns; then the old handler is back.
        unsafe {
            let before = ((*self.0).handler, (*self.0).handler_conf);
            (*self.0).handler = Some(read_in_block::<T>);
            (*self.0).handler_conf = std::ptr::from_mut(&mut reader).cast();
            let failed = nginx_sys::ngx_conf_parse(self.0, std::ptr::null_mut());
            ((*self.0).handler, (*self.0).handler_conf) = before;
            checked(failed)
        }
    }

    /// Reads the files that the directive `include` names, as a part of the block it stands in.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] from those files, logged.
    pub fn include(self) -> Result<(), ConfigError> {
        // SAFETY: nginx's own handler; it looks at the words only.
        checked(unsafe {
            nginx_sys::ngx_conf_include(self.0, std::ptr::null_mut(), std::ptr::null_mut())
        })
    }

    /// A module's main configuration.
    pub fn main_conf<'a, T>(self, module: &ngx_module_t) -> Option<&'a mut T> {
        let ctx = self.get().ctx.cast::<ngx_http_conf_ctx_t>();
        // SAFETY: inside http{} the context is an ngx_http_conf_ctx_t with a slot for each module.
        unsafe { (*(*ctx).main_conf.add(module.ctx_index)).cast::<T>().as_mut() }
    }

    /// `file:line` of the directive.
    pub fn place(self) -> String {
        // SAFETY: conf_file is null (nginx -g) or describes the file being read.
        unsafe {
            match self.get().conf_file.as_ref() {
                Some(file) => format!("{}:{}", super::text(bytes(&file.file.name)), file.line),
                None => "command line".to_owned(),
            }
        }
    }
}

/// What reads a block's directives, and into what.
struct BlockReader<'a, T> {
    value: &'a mut T,
    handler: fn(Conf, &mut T) -> Result<(), ConfigError>,
}

/// `NGX_CONF_ERROR`: the error has been logged.
const FAILED: *mut c_char = usize::MAX as *mut c_char;

unsafe extern "C" fn read_in_block<T>(
    cf: *mut ngx_conf_t,
    _: *mut ngx_command_t,
    reader: *mut c_void,
) -> *mut c_char {
    super::guard("a directive in a block", FAILED, || {
        // SAFETY: nginx passes the pointer that read_block has given it, while that runs.
        let (cf, reader) = unsafe { (Conf::new(cf), &mut *reader.cast::<BlockReader<'_, T>>()) };
        (reader.handler)(cf, reader.value).map_or(FAILED, |()| std::ptr::null_mut())
    })
}

fn checked(result: *mut c_char) -> Result<(), ConfigError> {
    if result.is_null() {
        Ok(())
    } else {
        Err(ConfigError)
    }
}

/// Logs a configuration error; nginx adds file and line.
pub fn conf_error(cf: *mut ngx_conf_t, cause: std::fmt::Arguments<'_>) {
    ngx_conf_log_error!(nginx_sys::NGX_LOG_EMERG, cf, "{cause}");
}

/// Logs a configuration warning; nginx adds file and line.
pub fn conf_warn(cf: *mut ngx_conf_t, cause: std::fmt::Arguments<'_>) {
    ngx_conf_log_error!(nginx_sys::NGX_LOG_WARN, cf, "{cause}");
}

/// A time in nginx's notation, in seconds.
pub fn parse_seconds(mut word: ngx_str_t) -> Option<u64> {
    // SAFETY: one of a directive's words, which is only read.
    let seconds = unsafe { nginx_sys::ngx_parse_time(&mut word, 1) };
    u64::try_from(seconds).ok()
}

/// The enclosing server's configuration of the core module, while the configuration is read.
fn enclosing<T>(cf: Conf, module: &ngx_module_t) -> *mut T {
    let ctx = cf.get().ctx.cast::<ngx_http_conf_ctx_t>();
    // SAFETY: as in Conf::main_conf.
    unsafe { (*(*ctx).srv_conf.add(module.ctx_index)).cast() }
}

/// The server that the directive stands in, `None` at the `http` level.
pub fn enclosing_server(cf: Conf) -> Option<*const ngx_http_core_srv_conf_t> {
    // SAFETY: the core module's index is fixed before the configuration is read.
    let core = unsafe { &*std::ptr::addr_of!(nginx_sys::ngx_http_core_module) };
    let in_server = cf.get().cmd_type & nginx_sys::NGX_HTTP_MAIN_CONF as usize == 0;
    in_server.then(|| enclosing::<ngx_http_core_srv_conf_t>(cf, core).cast_const())
}

/// Milliseconds of a time as nginx's directives take it.
pub fn parse_msec(mut word: ngx_str_t) -> Option<usize> {
    // SAFETY: a word of the configuration; nginx only reads it.
    let msec = unsafe { nginx_sys::ngx_parse_time(&mut word, 0) };
    usize::try_from(msec).ok()
}

/// Makes `handler` the content handler of the location that the directive stands in.
pub fn set_content_handler(cf: Conf, handler: ngx_http_handler_pt) {
    // SAFETY: the core module's index is fixed before the configuration is read; inside http{} the
    // context has a location configuration of each module, which only this thread uses.
    unsafe {
        let core = &*std::ptr::addr_of!(nginx_sys::ngx_http_core_module);
        let ctx = cf.get().ctx.cast::<ngx_http_conf_ctx_t>();
        let location = (*(*ctx).loc_conf.add(core.ctx_index)).cast::<ngx_http_core_loc_conf_t>();
        (*location).handler = handler;
    }
}

/// Values that have a mark for "not set".
pub trait Unset: Copy {
    /// Whether the value is the mark.
    fn is_unset(self) -> bool;
}

impl Unset for ngx_flag_t {
    fn is_unset(self) -> bool {
        self == UNSET
    }
}

/// File offsets.
impl Unset for i64 {
    fn is_unset(self) -> bool {
        self == -1
    }
}

impl Unset for usize {
    fn is_unset(self) -> bool {
        self == usize::MAX
    }
}

impl<T> Unset for *mut T {
    fn is_unset(self) -> bool {
        self as usize == usize::MAX
    }
}

impl Unset for ngx_bufs_t {
    fn is_unset(self) -> bool {
        self.num == 0
    }
}

/// nginx's `ngx_conf_merge_*_value`: an unset value takes the outer one, or the default.
pub fn merge<T: Unset>(value: &mut T, outer: T, default: T) {
    if value.is_unset() {
        *value = if outer.is_unset() { default } else { outer };
    }
}

/// nginx's `ngx_conf_merge_bitmask_value`: 0 is unset.
pub fn bitmask(value: &mut ngx_uint_t, outer: ngx_uint_t, default: ngx_uint_t) {
    if *value == 0 {
        *value = if outer == 0 { default } else { outer };
    }
}
