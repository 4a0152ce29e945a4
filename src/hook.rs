//! Scripts whose functions nginx asks about a request, on the Python threads of this worker.

mod question;

use ngx_wsgi_host::wire::{self, BadFrame, RequestEncoder, AGAIN, HOOK, NO_BODY, RELOADING};

use crate::conf::{full_name, main_conf, LocationConf, MainConf, Setting, Token};
use crate::exchange::evaluate_name;
use crate::ffi::{Conf, ConfigError, Request};

pub use question::{Answer, Conclusion, GoOn, Question};

/// A script with a function to ask, and the interpreter it runs in.
#[derive(Debug)]
pub struct Hook {
    pub script: Vec<u8>,
    application_group: Setting,
}

impl Hook {
    /// Reads `path [application-group=...]`.
    ///
    /// # Errors
    ///
    /// [`ConfigError`], logged.
    pub fn read(cf: Conf) -> Result<Self, ConfigError> {
        let script = full_name(cf, cf.words()[1])?;
        let mut application_group = Setting::Token(Token::Global);
        if cf.words().len() > 2 {
            let option = cf.word(2)?;
            let invalid = || cf.error(format_args!("has invalid option \"{option}\""));
            let value = option.strip_prefix("application-group=").ok_or_else(invalid)?;
            application_group = Setting::compile(cf, value)?;
            // There is no mounted application yet, and no environ (mod_wsgi semantics a.3).
            let unfit =
                matches!(application_group, Setting::Token(Token::Resource | Token::Env(_)));
            if value.is_empty() || unfit {
                return Err(invalid());
            }
        }
        main_conf(cf).ok_or(ConfigError)?.has_hooks = true;
        Ok(Hook { script, application_group })
    }

    /// Reads the same, or `off`: none.
    ///
    /// # Errors
    ///
    /// [`ConfigError`], logged.
    pub fn read_or_off(cf: Conf) -> Result<Option<Self>, ConfigError> {
        if cf.word(1)? != "off" {
            return Hook::read(cf).map(Some);
        }
        match cf.words().get(2) {
            None => Ok(None),
            Some(_) => Err(cf.error(format_args!("has invalid option \"{}\"", cf.word(2)?))),
        }
    }

    /// Asks a function about a request; `tell` writes what it is told. Check
    /// [`Question::outcome`] afterwards: it may have failed at once. Otherwise `go_on` is called
    /// when there is an outcome.
    ///
    /// `None`: this worker has nobody to ask.
    pub fn ask(
        &self,
        r: Request,
        function: &str,
        go_on: GoOn,
        tell: impl FnOnce(&mut RequestEncoder),
    ) -> Option<Box<Question>> {
        // SAFETY: this module's configurations of the request, which live as long as its cycle.
        let (conf, main) = unsafe {
            let module = crate::module();
            (&*r.location_conf::<LocationConf>(module), &*r.main_conf::<MainConf>(module))
        };
        let dispatcher = main.generation.as_ref()?.dispatcher(main);
        let encode = |id| self.encode(r, conf, id, function, tell);
        Some(Question::ask(r, dispatcher, &conf.upstream, go_on, encode))
    }

    fn encode(
        &self,
        r: Request,
        conf: &LocationConf,
        id: u64,
        function: &str,
        tell: impl FnOnce(&mut RequestEncoder),
    ) -> Result<Vec<u8>, BadFrame> {
        let application_group = evaluate_name(&self.application_group, r, conf, b"");
        let reloading = if conf.script_reloading == 0 { 0 } else { RELOADING };
        let mut encoder = RequestEncoder::new(&wire::Target {
            // reload_required() is for applications.
            flags: NO_BODY | AGAIN | HOOK | reloading,
            id,
            application_group: &application_group,
            script: &self.script,
            callable: function.as_bytes(),
            ..wire::Target::default()
        });
        tell(&mut encoder);
        encoder.finish()
    }
}
