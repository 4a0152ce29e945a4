//! wsgi_handler_script and wsgi_set_handler.

use std::rc::Rc;

use super::common::{full_name, set_once};
use super::script_options::ScriptOptions;
use super::LocationConf;
use crate::ffi::{conf_error, Conf, ConfigError};

/// The handler that runs files as WSGI scripts.
const WSGI_SCRIPT: &str = "wsgi-script";
/// None: nginx handles the files.
const OFF: &str = "off";

/// One `wsgi_handler_script`.
#[derive(Clone, Debug)]
pub struct HandlerScript {
    pub name: String,
    /// The file.
    pub path: Vec<u8>,
    pub options: ScriptOptions,
}

/// A `wsgi_set_handler`.
#[derive(Clone, Debug)]
pub struct SetHandler {
    name: String,
    /// `file:line`.
    place: String,
}

/// What handles the requests of a location.
#[derive(Clone, Debug)]
pub enum Handler {
    /// The file that the URL leads to is the script.
    WsgiScript,
    /// One script for all files.
    Script(Rc<HandlerScript>),
}

/// The handler scripts of a level and of those around it.
#[derive(Clone, Debug, Default)]
pub struct HandlerScripts(Vec<Rc<HandlerScript>>);

impl HandlerScripts {
    /// Reads `wsgi_handler_script name path [options]`.
    ///
    /// # Errors
    ///
    /// [`ConfigError`], logged.
    pub fn add(&mut self, cf: Conf) -> Result<Rc<HandlerScript>, ConfigError> {
        let words = cf.words();
        if words.len() < 3 {
            return Err(cf.error("requires at least two arguments"));
        }
        let name = cf.word(1)?;
        if name.is_empty() || [WSGI_SCRIPT, OFF].contains(&name) {
            return Err(cf.error(format_args!("has invalid name \"{name}\"")));
        }
        if self.named(name).is_some() {
            return Err(cf.error(format_args!("has duplicate name \"{name}\"")));
        }
        let options = ScriptOptions::read(cf)?;
        if options.callable.is_some() {
            let cause =
                "has invalid option \"callable-object\": a handler is called handle_request";
            return Err(cf.error(cause));
        }
        let path = full_name(cf, words[2])?;
        let script = Rc::new(HandlerScript { name: name.to_owned(), path, options });
        self.0.push(Rc::clone(&script));
        Ok(script)
    }

    /// Takes over the outer level's, but for names that this level has.
    pub fn merge(&mut self, outer: &HandlerScripts) {
        for script in &outer.0 {
            if self.named(&script.name).is_none() {
                self.0.push(Rc::clone(script));
            }
        }
    }

    fn named(&self, name: &str) -> Option<&Rc<HandlerScript>> {
        self.0.iter().find(|script| script.name == name)
    }

    /// The handler that `set` names, when all of the level's are known; `None`: it is switched off.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] for an unknown name, logged.
    pub fn find(
        &self,
        cf: *mut nginx_sys::ngx_conf_t,
        set: &SetHandler,
    ) -> Result<Option<Handler>, ConfigError> {
        match set.name.as_str() {
            WSGI_SCRIPT => return Ok(Some(Handler::WsgiScript)),
            OFF => return Ok(None),
            _ => {}
        }
        let handler = self.named(&set.name).cloned().map(Handler::Script);
        handler.map(Some).ok_or_else(|| {
            let SetHandler { name, place } = set;
            conf_error(
                cf,
                format_args!(
                    "\"wsgi_set_handler\" names unknown handler \"{name}\" in {place}: neither \
                     \"{WSGI_SCRIPT}\" nor \"{OFF}\" nor a \"wsgi_handler_script\""
                ),
            );
            ConfigError
        })
    }
}

/// `wsgi_set_handler wsgi-script|name|off`.
pub fn set_handler(cf: Conf, conf: &mut LocationConf) -> Result<(), ConfigError> {
    let set = SetHandler { name: cf.word(1)?.to_owned(), place: cf.place() };
    set_once(cf, &mut conf.set_handler, set)
}
