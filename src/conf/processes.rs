//! Handlers of the directives that make processes, and of how many threads serve embedded requests.

use std::path::Path;

use super::common::{full_path, set_once};
use super::daemon::{instead_of, DaemonOptions};
use super::main::GroupDefinition;
use super::MainConf;
use crate::ffi::{conf_warn, enclosing_server, Conf, ConfigError};
use crate::master::SocketNames;

pub fn cmd_daemon_process(cf: Conf, conf: &mut MainConf) -> Result<(), ConfigError> {
    let name = cf.word(1)?;
    if name.is_empty() || name.starts_with('%') || name.contains('/') {
        return Err(cf.error(format_args!("has invalid name \"{name}\"")));
    }
    if conf.group(name.as_bytes()).is_some() {
        return Err(cf.error(format_args!("has duplicate name \"{name}\"")));
    }
    let mut options = DaemonOptions::default();
    for index in 2..cf.words().len() {
        let option = cf.word(index)?;
        options.set(option).map_err(|error| cf.error(error))?;
        if let Some(instead) = instead_of(option) {
            conf_warn(
                cf.as_ptr(),
                format_args!(
                    "\"wsgi_daemon_process\" option \"{option}\" has no effect: {instead} applies"
                ),
            );
        }
    }
    options.check().map_err(|error| cf.error(error))?;
    let server = enclosing_server(cf);
    let name = name.to_owned();
    conf.add_group(GroupDefinition { name, options, place: cf.place(), server });
    Ok(())
}

pub fn cmd_socket_prefix(cf: Conf, conf: &mut MainConf) -> Result<(), ConfigError> {
    let prefix = full_path(cf, cf.words()[1])?;
    SocketNames::next(Some(&prefix), Path::new("/")).check().map_err(|error| cf.error(error))?;
    set_once(cf, &mut conf.socket_prefix, prefix)
}

pub fn cmd_daemon_executable(cf: Conf, conf: &mut MainConf) -> Result<(), ConfigError> {
    let path = full_path(cf, cf.words()[1])?;
    if let Err(error) = nix::unistd::access(&path, nix::unistd::AccessFlags::X_OK) {
        return Err(cf.error(format_args!("\"{}\" cannot be executed: {error}", path.display())));
    }
    set_once(cf, &mut conf.daemon_executable, path)
}

pub fn cmd_embedded_threads(cf: Conf, conf: &mut MainConf) -> Result<(), ConfigError> {
    if conf.embedded_threads != crate::ffi::UNSET {
        return Err(cf.error("is duplicate"));
    }
    let value = cf.word(1)?;
    match value.parse::<u16>() {
        Ok(threads) if threads <= 1024 => conf.embedded_threads = threads as isize,
        _ => {
            return Err(cf.error(format_args!(
                "has invalid value \"{value}\": must be a number from 0 to 1024"
            )))
        }
    }
    Ok(())
}
