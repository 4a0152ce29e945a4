//! Directives that decide how Python starts and what interpreters may do.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use nginx_sys::ngx_flag_t;
use ngx_wsgi_host::config::{Credentials, HashSeed, PythonConfig};
use ngx_wsgi_host::python::{Home, HomeError};
use nix::unistd::geteuid;

use super::common::{full_path, set_once};
use super::daemon::{path_list, switch_interval};
use super::interpreters::InterpreterBlock;
use super::{warning_filter, MainConf};
use crate::ffi::{str_of, Conf, ConfigError, UNSET};
use crate::master::with_rights_of;

/// What is configured of Python at the `http` level.
pub struct PythonSettings {
    pub home: Option<PathBuf>,
    /// `file:line` of the home.
    pub home_place: String,
    pub path: Option<Vec<PathBuf>>,
    pub eggs: Option<PathBuf>,
    pub switch_interval: Option<f64>,
    pub per_interpreter_gil: Option<Switch>,
    pub free_threading: Option<Switch>,
    pub interpreters: Vec<InterpreterBlock>,
    optimize: Option<u8>,
    warnings: Vec<String>,
    hash_seed: Option<HashSeed>,
    pub dont_write_bytecode: ngx_flag_t,
    pub lazy_initialization: ngx_flag_t,
    pub restrict_stdin: ngx_flag_t,
    pub restrict_stdout: ngx_flag_t,
    pub restrict_signal: ngx_flag_t,
    pub destroy_interpreter: ngx_flag_t,
    pub case_sensitivity: ngx_flag_t,
}

/// On or off, and where that was written.
#[derive(Clone, Debug)]
pub struct Switch {
    pub on: bool,
    /// `file:line`
    pub place: String,
}

impl Default for PythonSettings {
    fn default() -> Self {
        PythonSettings {
            home: None,
            home_place: String::new(),
            path: None,
            eggs: None,
            switch_interval: None,
            per_interpreter_gil: None,
            free_threading: None,
            interpreters: Vec::new(),
            optimize: None,
            warnings: Vec::new(),
            hash_seed: None,
            dont_write_bytecode: UNSET,
            lazy_initialization: UNSET,
            restrict_stdin: UNSET,
            restrict_stdout: UNSET,
            restrict_signal: UNSET,
            destroy_interpreter: UNSET,
            case_sensitivity: UNSET,
        }
    }
}

impl PythonSettings {
    /// Whether scripts whose paths differ in letter case only are different ones.
    pub fn is_case_sensitive(&self) -> bool {
        self.case_sensitivity != 0
    }

    /// Whether Python is initialised where and when it is first needed.
    pub fn is_lazy(&self) -> bool {
        self.lazy_initialization != 0
    }

    /// What is configured for embedded and daemon processes alike.
    pub fn shared(&self) -> PythonConfig {
        PythonConfig {
            home: self.home.clone(),
            optimize: self.optimize.unwrap_or(0),
            warnings: self.warnings.clone(),
            dont_write_bytecode: self.dont_write_bytecode == 1,
            hash_seed: self.hash_seed,
            per_interpreter_gil: self.per_interpreter_gil.as_ref().is_some_and(|gil| gil.on),
            free_threading: self.free_threading.as_ref().is_some_and(|free| free.on),
            interpreters: self.interpreters.iter().map(|block| block.options.clone()).collect(),
            restrict_stdin: self.restrict_stdin == 1,
            restrict_stdout: self.restrict_stdout == 1,
            restrict_signal: self.restrict_signal != 0,
            lazy_initialization: self.is_lazy(),
            destroy_interpreter: self.destroy_interpreter != 0,
            case_sensitive: self.is_case_sensitive(),
            server_version: crate::master::server_version(),
        }
    }
}

/// What is certainly wrong with a home when the configuration is read. Daemons may have a Python
/// of another version where their executable is another (`own_executable`), and what root is not
/// let into, others may be.
pub fn check_home(home: &Path, own_executable: bool) -> Result<(), HomeError> {
    match Home::find(home) {
        Err(HomeError::OtherVersion { .. } | HomeError::NoPython(_)) if own_executable => Ok(()),
        Err(HomeError::Unreadable { .. }) if geteuid().is_root() => Ok(()),
        found => found.map(drop),
    }
}

/// Why the user that a home is for cannot read it, as it is now.
pub fn unreadable(home: &Path, user: &Credentials) -> Option<HomeError> {
    with_rights_of(user, || Home::find(home))?
        .err()
        .filter(|error| matches!(error, HomeError::Unreadable { .. }))
}

pub fn home(cf: Conf, conf: &mut MainConf) -> Result<(), ConfigError> {
    let mut home = OsString::new();
    for (index, part) in cf.word(1)?.split(':').enumerate() {
        if part.is_empty() || index > 1 {
            let text = "must be a prefix or prefix:exec_prefix";
            return Err(cf.error(format_args!("has invalid value \"{}\": {text}", cf.word(1)?)));
        }
        if index > 0 {
            home.push(":");
        }
        home.push(full_path(cf, str_of(part.as_bytes()))?);
    }
    set_once(cf, &mut conf.python.home, home.into())?;
    conf.python.home_place = cf.place();
    Ok(())
}

pub fn path(cf: Conf, conf: &mut MainConf) -> Result<(), ConfigError> {
    set_once(cf, &mut conf.python.path, path_list(cf.word(1)?))
}

pub fn eggs(cf: Conf, conf: &mut MainConf) -> Result<(), ConfigError> {
    let directory = full_path(cf, cf.words()[1])?;
    if directory.exists() && !directory.is_dir() {
        return Err(cf.error(format_args!("\"{}\" is not a directory", directory.display())));
    }
    set_once(cf, &mut conf.python.eggs, directory)
}

pub fn optimize(cf: Conf, conf: &mut MainConf) -> Result<(), ConfigError> {
    let level = match cf.word(1)? {
        "0" => 0,
        "1" => 1,
        "2" => 2,
        other => {
            return Err(cf.error(format_args!("has invalid value \"{other}\": must be 0, 1 or 2")))
        }
    };
    set_once(cf, &mut conf.python.optimize, level)
}

pub fn warnings(cf: Conf, conf: &mut MainConf) -> Result<(), ConfigError> {
    let filter = cf.word(1)?;
    if let Err(reason) = warning_filter::check(filter) {
        return Err(cf.error(format_args!("has invalid filter \"{filter}\": {reason}")));
    }
    conf.python.warnings.push(filter.to_owned());
    Ok(())
}

pub fn hash_seed(cf: Conf, conf: &mut MainConf) -> Result<(), ConfigError> {
    let value = cf.word(1)?;
    let seed = match value {
        "random" => HashSeed::Random,
        number => HashSeed::Fixed(number.parse().map_err(|_| {
            let range = "must be \"random\" or a number from 0 to 4294967295";
            cf.error(format_args!("has invalid value \"{value}\": {range}"))
        })?),
    };
    set_once(cf, &mut conf.python.hash_seed, seed)
}

pub fn interval(cf: Conf, conf: &mut MainConf) -> Result<(), ConfigError> {
    let interval = switch_interval("value", cf.word(1)?).map_err(|error| cf.error(error))?;
    set_once(cf, &mut conf.python.switch_interval, interval)
}

pub fn per_interpreter_gil(cf: Conf, conf: &mut MainConf) -> Result<(), ConfigError> {
    let switch = Switch { on: flag(cf)?, place: cf.place() };
    set_once(cf, &mut conf.python.per_interpreter_gil, switch)
}

pub fn free_threading(cf: Conf, conf: &mut MainConf) -> Result<(), ConfigError> {
    let switch = Switch { on: flag(cf)?, place: cf.place() };
    set_once(cf, &mut conf.python.free_threading, switch)
}

/// A directive's only argument, on or off.
pub fn flag(cf: Conf) -> Result<bool, ConfigError> {
    match &*cf.word(1)?.to_ascii_lowercase() {
        "on" => Ok(true),
        "off" => Ok(false),
        value => {
            let cause = format_args!("has invalid value \"{value}\": must be \"on\" or \"off\"");
            Err(cf.error(cause))
        }
    }
}
