//! nginx's regular expressions, as its `location ~` has them.

use std::ffi::c_int;
use std::ops::Range;
use std::ptr::NonNull;

use nginx_sys::{ngx_regex_compile, ngx_regex_compile_t, ngx_regex_exec, ngx_regex_t, ngx_str_t};

use super::{bytes, code, text, Conf, ConfigError};

/// A compiled regular expression, which lives as long as the cycle that it was compiled for.
#[derive(Clone, Copy, Debug)]
pub struct Regex {
    code: NonNull<ngx_regex_t>,
    groups: usize,
}

impl Regex {
    /// Compiles a word of the configuration.
    ///
    /// # Errors
    ///
    /// [`ConfigError`], logged with the library's reason.
    pub fn compile(cf: Conf, pattern: ngx_str_t) -> Result<Self, ConfigError> {
        let mut reason = [0u8; nginx_sys::NGX_MAX_CONF_ERRSTR as usize];
        // SAFETY: an all-zero ngx_regex_compile_t with the fields set that nginx's own callers set;
        // pattern is one of the directive's words; reason outlives the call.
        unsafe {
            let mut compile: ngx_regex_compile_t = std::mem::zeroed();
            compile.pattern = pattern;
            compile.pool = cf.get().pool;
            compile.err = ngx_str_t { len: reason.len(), data: reason.as_mut_ptr() };
            if ngx_regex_compile(&mut compile) != code::OK {
                return Err(cf.error(text(bytes(&compile.err))));
            }
            let code = NonNull::new(compile.regex).ok_or(ConfigError)?;
            Ok(Regex { code, groups: compile.captures.max(0) as usize + 1 })
        }
    }

    /// How many groups it has, the whole match included.
    pub fn groups(self) -> usize {
        self.groups
    }

    /// The first match in `subject`: where it is and where its groups are, the first `N` of them,
    /// the whole match included.
    pub fn find<const N: usize>(self, subject: &[u8]) -> Option<[Option<Range<usize>>; N]> {
        // The library's working space is a third of it.
        let mut found = vec![-1 as c_int; self.groups * 3];
        let mut s = ngx_str_t { len: subject.len(), data: subject.as_ptr().cast_mut() };
        // SAFETY: a compiled expression; the subject is only read; found is as long as it says.
        let rc =
            unsafe { ngx_regex_exec(self.code.as_ptr(), &mut s, found.as_mut_ptr(), found.len()) };
        if rc < 0 {
            return None;
        }
        Some(std::array::from_fn(|group| {
            let place = found.get(group * 2..group * 2 + 2).filter(|_| group < self.groups)?;
            let (start, end) = (usize::try_from(place[0]).ok()?, usize::try_from(place[1]).ok()?);
            (start <= end && end <= subject.len()).then_some(start..end)
        }))
    }
}
