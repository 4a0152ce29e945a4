//! The options that a script is given where it is named.

use super::value::Setting;
use crate::ffi::{Conf, ConfigError};

/// What is said of a script in its own directive; it comes before the location's settings.
#[derive(Clone, Debug, Default)]
pub struct ScriptOptions {
    pub process_group: Option<Setting>,
    pub application_group: Option<Setting>,
    /// Taken literally, as mod_wsgi does.
    pub callable: Option<String>,
    pub pass_authorization: Option<bool>,
}

impl ScriptOptions {
    /// Nothing is said.
    pub const NONE: &'static Self = &ScriptOptions {
        process_group: None,
        application_group: None,
        callable: None,
        pass_authorization: None,
    };

    /// Reads the words from the fourth on.
    ///
    /// # Errors
    ///
    /// [`ConfigError`], logged.
    pub fn read(cf: Conf) -> Result<Self, ConfigError> {
        let mut options = ScriptOptions::default();
        for index in 3..cf.words().len() {
            options.set(cf, cf.word(index)?)?;
        }
        Ok(options)
    }

    fn set(&mut self, cf: Conf, option: &str) -> Result<(), ConfigError> {
        let invalid = || cf.error(format_args!("has invalid option \"{option}\""));
        let (name, value) = option.split_once('=').ok_or_else(invalid)?;
        if value.is_empty() {
            return Err(cf.error(format_args!("has invalid option \"{option}\": no value")));
        }
        match name {
            "process-group" => self.process_group = Some(Setting::compile(cf, value)?),
            "application-group" => self.application_group = Some(Setting::compile(cf, value)?),
            "callable-object" => self.callable = Some(value.to_owned()),
            "pass-authorization" => {
                let bad = || cf.error(format_args!("has invalid value \"{value}\" for \"{name}\""));
                self.pass_authorization = Some(on_off(value).ok_or_else(bad)?);
            }
            _ => return Err(invalid()),
        }
        Ok(())
    }
}

/// `on` or `off` in any letter case, as both nginx and mod_wsgi take it.
fn on_off(value: &str) -> Option<bool> {
    match value.to_ascii_lowercase().as_str() {
        "on" => Some(true),
        "off" => Some(false),
        _ => None,
    }
}
