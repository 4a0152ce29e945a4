//! wsgi_param.

use super::value::Value;
use crate::ffi::{Conf, ConfigError};

/// One `wsgi_param`, mod_wsgi's SetEnv.
#[derive(Clone, Debug)]
pub struct Param {
    /// Name of the environ entry.
    pub name: String,
    /// Its value.
    pub value: Value,
    /// Leave the entry out when its value is empty.
    pub if_not_empty: bool,
}

impl Param {
    /// Reads `wsgi_param NAME value [if_not_empty]`.
    ///
    /// # Errors
    ///
    /// [`ConfigError`], logged.
    pub fn read(cf: Conf) -> Result<Self, ConfigError> {
        let if_not_empty = match cf.words().get(3) {
            None => false,
            Some(_) if cf.word(3)? == "if_not_empty" => true,
            Some(_) => {
                return Err(cf.error(format_args!("has invalid parameter \"{}\"", cf.word(3)?)))
            }
        };
        let value = Value::compile(cf, cf.words()[2])?;
        Ok(Param { name: cf.word(1)?.to_owned(), value, if_not_empty })
    }
}
