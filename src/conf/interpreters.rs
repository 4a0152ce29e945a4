//! `wsgi_interpreter_options [process-group=] [application-group=] { ... }`: settings of some
//! interpreters (mod_wsgi semantics a.5).

use nginx_sys::ngx_log_t;
use ngx::ngx_log_error;
use ngx_wsgi_host::config::{InterpreterOptions, PythonConfig, RuntimeConfig};
use ngx_wsgi_host::python::{FREE_THREADING, OWN_GILS, VERSION};

use super::common::set_once;
use super::daemon::{path_list, switch_interval};
use super::imports::fixed_name;
use super::main::GroupReference;
use super::python::{flag, Switch};
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

/// Warns of settings that have no effect. Daemons with an executable of their own may have another
/// Python, and warn themselves.
pub fn warn(conf: &MainConf, log: *mut ngx_log_t) {
    let warn = |text: std::fmt::Arguments<'_>| {
        ngx_log_error!(nginx_sys::NGX_LOG_WARN, log, "{text}");
    };
    let python = &conf.python;
    let blocks = || python.interpreters.iter();
    let places = |switch: &Option<Switch>, of: fn(&InterpreterOptions) -> Option<bool>| {
        let switch = switch.iter().filter(|switch| switch.on).map(|switch| switch.place.clone());
        let blocks = blocks().filter(|block| of(&block.options) == Some(true));
        switch.chain(blocks.map(|block| block.place.clone())).collect::<Vec<_>>()
    };
    if !conf.has_unknown_python() {
        for place in places(&python.per_interpreter_gil, |options| options.per_interpreter_gil) {
            if !OWN_GILS {
                warn(format_args!(
                    "\"wsgi_per_interpreter_gil\" has no effect in {place}: it needs Python 3.12, this \
                     is {VERSION}"
                ));
            }
        }
        for place in places(&python.free_threading, |options| options.free_threading) {
            if !FREE_THREADING {
                warn(format_args!(
                    "\"wsgi_free_threading\" has no effect in {place}: this Python, {VERSION}, is not a \
                     free-threaded build"
                ));
            }
        }
    }
    for InterpreterBlock { options, place } in blocks() {
        let Some(application) = &options.application_group else { continue };
        if options.free_threading.is_some() {
            warn(format_args!(
                "\"wsgi_free_threading\" has no effect for application group \"{application}\" in \
                 {place}: it is for whole processes"
            ));
        }
        if options.switch_interval.is_some() && !application.is_empty() && !conf.owns_gil(options) {
            warn(format_args!(
                "\"wsgi_switch_interval\" has no effect for application group \"{application}\" in \
                 {place}: it shares the GIL of its process"
            ));
        }
    }
}

impl MainConf {
    /// Whether daemon processes may have another Python than this module.
    fn has_unknown_python(&self) -> bool {
        self.daemon_executable.is_some()
    }

    /// What holds for embedded and daemon processes alike, without what their Python cannot do.
    pub fn python_config(&self) -> PythonConfig {
        let mut python = self.python.shared();
        if self.has_unknown_python() {
            return python;
        }
        python.per_interpreter_gil &= OWN_GILS;
        python.free_threading &= FREE_THREADING;
        for options in &mut python.interpreters {
            options.per_interpreter_gil = options.per_interpreter_gil.filter(|_| OWN_GILS);
            options.free_threading = options.free_threading.filter(|_| FREE_THREADING);
        }
        python
    }

    /// Whether the application group that a block is for has a GIL of its own anywhere.
    fn owns_gil(&self, options: &InterpreterOptions) -> bool {
        let python = self.python_config();
        let application = options.application_group.as_deref().unwrap_or_default();
        let owns = |process_group: String| {
            let python = python.clone();
            RuntimeConfig { process_group, python, ..RuntimeConfig::default() }
                .settings(application)
                .own_gil
        };
        match &options.process_group {
            Some(name) => owns(name.clone()),
            None => {
                let daemons = self.groups.iter().map(|group| group.name.clone());
                daemons.chain([String::new()]).any(owns)
            }
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
        "wsgi_per_interpreter_gil" => set_once(cf, &mut options.per_interpreter_gil, flag(cf)?),
        "wsgi_free_threading" => set_once(cf, &mut options.free_threading, flag(cf)?),
        "wsgi_restrict_stdin" => set_once(cf, &mut options.restrict_stdin, flag(cf)?),
        "wsgi_restrict_stdout" => set_once(cf, &mut options.restrict_stdout, flag(cf)?),
        "wsgi_restrict_signal" => set_once(cf, &mut options.restrict_signal, flag(cf)?),
        _ => Err(cf.error("directive is not allowed in \"wsgi_interpreter_options\"")),
    }
}
