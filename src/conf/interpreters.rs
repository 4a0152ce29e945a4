//! `wsgi_interpreter_options [process-group=] [application-group=] { ... }`: settings of some
//! interpreters (mod_wsgi semantics a.5).

use nginx_sys::ngx_log_t;
use ngx::ngx_log_error;
use ngx_wsgi_host::config::InterpreterOptions;

use super::commands::set_once;
use super::daemon::{path_list, switch_interval};
use super::imports::fixed_name;
use super::main::GroupReference;
use super::MainConf;
use crate::ffi::{Conf, ConfigError};

/// One block of the configuration.
#[derive(Clone, Debug)]
pub struct InterpreterBlock {
    pub options: InterpreterOptions,
    /// `file:line`.
    pub place: String,
}

pub fn block(cf: Conf, conf: &mut MainConf) -> Result<(), ConfigError> {
    let (mut process_group, mut application_group) = (None, None);
    for index in 1..cf.words().len() {
        let option = cf.word(index)?;
        let (key, value) = option.split_once('=').unwrap_or_default();
        let selector = match &*key.to_ascii_lowercase() {
            "process-group" => &mut process_group,
            "application-group" => &mut application_group,
            _ => return Err(cf.error(format_args!("has invalid option \"{option}\""))),
        };
        if selector.replace(fixed_name(cf, option, value)?).is_some() {
            return Err(cf.error(format_args!("has duplicate option \"{option}\"")));
        }
    }
    let place = cf.place();
    if let Some(name) = process_group.iter().find(|name| !name.is_empty()) {
        conf.references.push(GroupReference {
            name: name.clone(),
            directive: cf.word(0)?.to_owned(),
            place: place.clone(),
        });
    }
    let mut options =
        InterpreterOptions { process_group, application_group, ..InterpreterOptions::default() };
    cf.read_block(&mut options, setting)?;
    conf.python.interpreters.push(InterpreterBlock { options, place });
    Ok(())
}

/// Warns of settings that have no effect.
pub fn warn(conf: &MainConf, log: *mut ngx_log_t) {
    let named = |name: &Option<String>| name.clone().filter(|name| !name.is_empty());
    for InterpreterBlock { options, place } in &conf.python.interpreters {
        let Some(application) = named(&options.application_group) else { continue };
        if options.switch_interval.is_some() {
            ngx_log_error!(
                nginx_sys::NGX_LOG_WARN,
                log,
                "\"wsgi_switch_interval\" has no effect for application group \"{application}\" in {place}: \
                 it shares the GIL of its process"
            );
        }
    }
}

/// A directive inside the block.
fn setting(cf: Conf, options: &mut InterpreterOptions) -> Result<(), ConfigError> {
    let name = cf.word(0)?;
    if cf.words().len() != 2 {
        return Err(cf.error("directive has an invalid number of arguments"));
    }
    match name {
        "include" => cf.include(),
        "wsgi_python_path" => set_once(cf, &mut options.python_path, path_list(cf.word(1)?)),
        "wsgi_switch_interval" => {
            let interval =
                switch_interval("value", cf.word(1)?).map_err(|error| cf.error(error))?;
            set_once(cf, &mut options.switch_interval, interval)
        }
        "wsgi_restrict_stdin" => flag(cf, &mut options.restrict_stdin),
        "wsgi_restrict_stdout" => flag(cf, &mut options.restrict_stdout),
        "wsgi_restrict_signal" => flag(cf, &mut options.restrict_signal),
        _ => Err(cf.error("directive is not allowed in \"wsgi_interpreter_options\"")),
    }
}

fn flag(cf: Conf, slot: &mut Option<bool>) -> Result<(), ConfigError> {
    let value = match &*cf.word(1)?.to_ascii_lowercase() {
        "on" => true,
        "off" => false,
        value => {
            let cause = format_args!("has invalid value \"{value}\": must be \"on\" or \"off\"");
            return Err(cf.error(cause));
        }
    };
    set_once(cf, slot, value)
}
