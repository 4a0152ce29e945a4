//! Regular expressions of an nginx that is built without them.

use std::ops::Range;

use nginx_sys::ngx_str_t;

use super::{Conf, ConfigError};

/// There is none.
#[derive(Clone, Copy, Debug)]
pub enum Regex {}

impl Regex {
    /// Refuses, as nginx does where a regular expression stands.
    ///
    /// # Errors
    ///
    /// [`ConfigError`], logged.
    pub fn compile(cf: Conf, _: ngx_str_t) -> Result<Self, ConfigError> {
        Err(cf.error("needs an nginx with the PCRE library"))
    }

    /// How many groups it has.
    pub fn groups(self) -> usize {
        match self {}
    }

    /// The first match in `subject`.
    pub fn find<const N: usize>(self, _: &[u8]) -> Option<[Option<Range<usize>>; N]> {
        match self {}
    }
}
