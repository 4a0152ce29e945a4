//! Scripts that are loaded before any request: wsgi_import_script, and aliases that say all that is
//! needed for it (mod_wsgi semantics a.6).

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nginx_sys::{ngx_http_core_srv_conf_t, ngx_log_t};
use ngx::ngx_log_error;
use ngx_wsgi_host::succession::ScriptIn;

use super::aliases::Alias;
use super::common::full_name;
use super::main::GroupDefinition;
use super::value::Setting;
use super::MainConf;
use crate::ffi::{enclosing_server, Conf, ConfigError};
use crate::route::jail;

/// A script and the processes that load it.
#[derive(Clone, Debug)]
pub struct Import {
    /// Empty: nginx's workers.
    process_group: String,
    script: ScriptIn,
    directive: String,
    /// `file:line`.
    place: String,
    /// The server it was written in, `None` for the `http` level.
    server: Option<*const ngx_http_core_srv_conf_t>,
}

/// All of them in configuration order.
#[derive(Clone, Debug, Default)]
pub struct Imports(Vec<Import>);

impl Imports {
    /// What the processes of a group load, each script once; the empty name means nginx's workers.
    pub fn of(&self, process_group: &str) -> Vec<ScriptIn> {
        let mut scripts = Vec::new();
        for import in self.0.iter().filter(|import| import.process_group == process_group) {
            if !scripts.contains(&import.script) {
                scripts.push(import.script.clone());
            }
        }
        scripts
    }

    /// Checks what only the whole configuration can tell: the servers' names.
    ///
    /// # Errors
    ///
    /// [`ConfigError`], logged.
    pub fn validate(&self, conf: &MainConf, log: *mut ngx_log_t) -> Result<(), ConfigError> {
        for import in &self.0 {
            let Some(index) = conf.group(import.process_group.as_bytes()) else { continue };
            let group = &conf.groups[index];
            // SAFETY: server configurations live as long as the cycle that is being configured.
            let visible = match import.server.and_then(|server| unsafe { server.as_ref() }) {
                Some(server) => group.is_visible_from(server),
                None => group.server.is_none(),
            };
            if !visible {
                ngx_log_error!(
                    nginx_sys::NGX_LOG_EMERG,
                    log,
                    "\"{}\" cannot use daemon process group \"{}\" in {}, which belongs to another \
                     server in {}",
                    import.directive,
                    import.process_group,
                    group.place,
                    import.place
                );
                return Err(ConfigError);
            }
        }
        Ok(())
    }

    fn add(
        cf: Conf,
        conf: &mut MainConf,
        process_group: &str,
        script: ScriptIn,
    ) -> Result<(), ConfigError> {
        let script = match conf.group(process_group.as_bytes()) {
            Some(index) => as_seen_by(cf, &conf.groups[index], script)?,
            None if process_group.is_empty() => script,
            None => {
                return Err(cf.error(format_args!(
                    "names daemon process group \"{process_group}\", which is not defined before"
                )))
            }
        };
        conf.imports.0.push(Import {
            process_group: process_group.to_owned(),
            script,
            directive: cf.word(0)?.to_owned(),
            place: cf.place(),
            server: enclosing_server(cf),
        });
        Ok(())
    }
}

/// A script with its path inside the group's jail, where it has one.
fn as_seen_by(
    cf: Conf,
    group: &GroupDefinition,
    script: ScriptIn,
) -> Result<ScriptIn, ConfigError> {
    let Some(chroot) = &group.options.chroot else { return Ok(script) };
    let inside = jail::file(chroot.as_os_str().as_bytes(), &script.script).ok_or_else(|| {
        cf.error(format_args!(
            "names script \"{}\", which is outside the chroot of daemon process group \"{}\"",
            script.shown(),
            group.name
        ))
    })?;
    Ok(ScriptIn { script: inside.to_vec(), ..script })
}

/// `wsgi_import_script path process-group=… application-group=…`.
pub fn import_script(cf: Conf, conf: &mut MainConf) -> Result<(), ConfigError> {
    let script = full_name(cf, cf.words()[1])?;
    let (mut process_group, mut application_group) = (None, None);
    for index in 2..cf.words().len() {
        let option = cf.word(index)?;
        match option.split_once('=') {
            Some(("process-group", value)) => process_group = Some(fixed_name(cf, option, value)?),
            Some(("application-group", value)) => {
                application_group = Some(fixed_name(cf, option, value)?);
            }
            _ => return Err(cf.error(format_args!("has invalid option \"{option}\""))),
        }
    }
    let missing = |option| cf.error(format_args!("requires \"{option}=\""));
    let process_group = process_group.ok_or_else(|| missing("process-group"))?;
    let application_group = application_group.ok_or_else(|| missing("application-group"))?;
    Imports::add(cf, conf, &process_group, ScriptIn { application_group, script })
}

/// Loads the script of an alias ahead when it is known which process and which interpreter will run
/// it. A directory is none.
pub fn preload(cf: Conf, conf: &mut MainConf, alias: &Alias) -> Result<(), ConfigError> {
    let fixed = |group: &Option<Setting>| Some(group.as_ref()?.fixed()?.to_owned());
    let (process_group, application_group) =
        (fixed(&alias.options.process_group), fixed(&alias.options.application_group));
    let (Some(process_group), Some(application_group)) = (process_group, application_group) else {
        return Ok(());
    };
    let Some(target) = alias.mapping.fixed_target() else { return Ok(()) };
    if Path::new(std::ffi::OsStr::from_bytes(target)).is_dir() {
        return Ok(());
    }
    let script = ScriptIn { application_group, script: target.to_vec() };
    Imports::add(cf, conf, &process_group, script)
}

/// The name of a group that is the same for every request; empty for `%{GLOBAL}`.
pub fn fixed_name(cf: Conf, word: &str, value: &str) -> Result<String, ConfigError> {
    let invalid = || {
        cf.error(format_args!("has invalid value \"{word}\": must be a name or \"%{{GLOBAL}}\""))
    };
    if value.is_empty() || value.starts_with('%') && value != "%{GLOBAL}" {
        return Err(invalid());
    }
    Setting::compile(cf, value)?.fixed().map(str::to_owned).ok_or_else(invalid)
}
