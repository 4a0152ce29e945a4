//! Settings that are evaluated for each request.

use std::ptr::NonNull;

use nginx_sys::{
    ngx_http_compile_complex_value, ngx_http_compile_complex_value_t, ngx_http_complex_value,
    ngx_http_complex_value_t, ngx_http_script_variables_count, ngx_palloc, ngx_str_t,
};

use super::token::Token;
use crate::ffi::{bytes, code, Conf, ConfigError, Request};

/// A string that may hold nginx variables, compiled into the cycle's pool.
#[derive(Clone, Copy, Debug)]
pub struct Value(NonNull<ngx_http_complex_value_t>);

impl Value {
    /// Compiles a word of the configuration.
    ///
    /// # Errors
    ///
    /// [`ConfigError`], logged by nginx.
    pub fn compile(cf: Conf, mut word: ngx_str_t) -> Result<Self, ConfigError> {
        // SAFETY: the cycle's pool is live; the zeroed structs are as nginx's own callers make them.
        unsafe {
            let value = ngx_palloc(cf.get().pool, size_of::<ngx_http_complex_value_t>());
            let value = NonNull::new(value.cast()).ok_or(ConfigError)?;
            let mut compile: ngx_http_compile_complex_value_t = std::mem::zeroed();
            compile.cf = cf.as_ptr();
            compile.value = &mut word;
            compile.complex_value = value.as_ptr();
            if ngx_http_compile_complex_value(&mut compile) != code::OK {
                return Err(ConfigError);
            }
            Ok(Value(value))
        }
    }

    /// What nginx's own code evaluates.
    #[cfg(ngx_feature = "http_cache")]
    pub fn as_ptr(self) -> *mut ngx_http_complex_value_t {
        self.0.as_ptr()
    }

    /// The value for a request; `None` without memory.
    pub fn evaluate<'a>(self, r: Request) -> Option<&'a [u8]> {
        let mut out = ngx_str_t { len: 0, data: std::ptr::null_mut() };
        // SAFETY: the value lives as long as the cycle that r belongs to; out lives in r's pool.
        unsafe {
            if ngx_http_complex_value(r.as_ptr(), self.0.as_ptr(), &mut out) != code::OK {
                return None;
            }
            Some(bytes(&out))
        }
    }
}

/// A group or callable name: a token, a text, or a text with nginx variables.
#[derive(Clone, Debug)]
pub enum Setting {
    /// One of mod_wsgi's tokens, or plain text.
    Token(Token),
    /// Text with nginx variables.
    Variables(Value),
}

impl Setting {
    /// Reads a word of the configuration.
    ///
    /// # Errors
    ///
    /// [`ConfigError`], logged.
    pub fn compile(cf: Conf, text: &str) -> Result<Self, ConfigError> {
        let copy = text.as_bytes();
        // SAFETY: the cycle's pool is live.
        let mut word = unsafe { crate::ffi::pool_copy(cf.get().pool, copy) }.ok_or(ConfigError)?;
        // SAFETY: counts dollar signs in a valid string.
        if unsafe { ngx_http_script_variables_count(&mut word) } > 0 {
            return Ok(Setting::Variables(Value::compile(cf, word)?));
        }
        Token::parse(text).map(Setting::Token).map_err(|error| cf.error(error))
    }

    /// The plain text, when the setting is the same for every request.
    pub fn fixed(&self) -> Option<&str> {
        match self {
            Setting::Token(Token::Text(text)) => Some(text),
            Setting::Token(Token::Global) => Some(""),
            _ => None,
        }
    }
}
