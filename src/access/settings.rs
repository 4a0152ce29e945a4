//! The directives about access, and what they configure.

use std::rc::Rc;

use ngx::ngx_log_error;

use crate::conf::{main_conf, set_once, LocationConf, Value};
use crate::ffi::{parse_seconds, text, Conf, ConfigError};
use crate::hook::Hook;

/// Seconds that a nonce is good for where nothing is configured (mod_auth_digest's default).
const NONCE_LIFETIME: u64 = 300;

/// A script that answers for passwords.
#[derive(Debug)]
pub struct UserScript {
    pub hook: Hook,
    /// Its number among those.
    pub number: usize,
}

/// How clients prove who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthType {
    Basic,
    Digest,
    Off,
}

/// Who is let in; one that fits is enough.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Requirement {
    ValidUser,
    Users(Vec<String>),
    Groups(Vec<String>),
}

/// What is configured about access for a location.
#[derive(Clone, Default)]
pub struct AccessConf {
    /// `Some(None)`: switched off here.
    pub access_script: Option<Option<Rc<Hook>>>,
    pub user_script: Option<Rc<UserScript>>,
    pub group_script: Option<Rc<Hook>>,
    pub auth_type: Option<AuthType>,
    pub auth_name: Option<Value>,
    /// Empty: not configured.
    pub require: Rc<Vec<Requirement>>,
    nonce_lifetime: Option<u64>,
    /// The first of the directives about who clients are: `"name" directive in file:line`.
    first: Option<Rc<str>>,
    /// It is of this level.
    own: bool,
}

impl AccessConf {
    /// What is not set here is as in the level around it.
    pub fn merge(&mut self, outer: &Self) {
        fn inherit<T: Clone>(value: &mut Option<T>, outer: &Option<T>) {
            if value.is_none() {
                value.clone_from(outer);
            }
        }
        inherit(&mut self.access_script, &outer.access_script);
        inherit(&mut self.user_script, &outer.user_script);
        inherit(&mut self.group_script, &outer.group_script);
        inherit(&mut self.auth_type, &outer.auth_type);
        inherit(&mut self.auth_name, &outer.auth_name);
        inherit(&mut self.nonce_lifetime, &outer.nonce_lifetime);
        if self.require.is_empty() {
            self.require = Rc::clone(&outer.require);
        }
        self.own = self.first.is_some();
        inherit(&mut self.first, &outer.first);
    }

    /// Whether clients have to prove who they are.
    pub fn authenticates(&self) -> bool {
        matches!(self.auth_type, Some(AuthType::Basic | AuthType::Digest))
    }

    /// The directive without which no client can be authenticated here, though others want it.
    pub fn missing(&self) -> Option<&'static str> {
        let wanted = self.user_script.is_some() || !self.require.is_empty();
        if self.auth_type.is_none() && wanted {
            return Some("wsgi_auth_type");
        }
        if !self.authenticates() {
            return None;
        }
        let is_group = |requirement: &Requirement| matches!(requirement, Requirement::Groups(_));
        match () {
            () if self.user_script.is_none() => Some("wsgi_auth_user_script"),
            () if self.auth_name.is_none() => Some("wsgi_auth_name"),
            () if self.group_script.is_none() && self.require.iter().any(is_group) => {
                Some("wsgi_auth_group_script")
            }
            () => None,
        }
    }

    /// Says what is missing where all requests would be answered with 500: an error in a level that
    /// sets something itself; else a warning in a real location, because it may never come to
    /// authentication there, once for what is inherited from one place.
    ///
    /// # Errors
    ///
    /// [`ConfigError`], logged.
    pub fn check(&self, cf: Conf, is_location: bool) -> Result<(), ConfigError> {
        let (Some(missing), Some(first)) = (self.missing(), &self.first) else { return Ok(()) };
        let problem = format!("no \"{missing}\" is defined for the {first}");
        let log = cf.get().log;
        if self.own {
            ngx_log_error!(nginx_sys::NGX_LOG_EMERG, log, "{problem}");
            return Err(ConfigError);
        }
        let warned = &mut main_conf(cf).ok_or(ConfigError)?.access.warned;
        if is_location && !warned.contains(&problem) {
            let effect = "a location that inherits it answers 500";
            ngx_log_error!(nginx_sys::NGX_LOG_WARN, log, "{problem}: {effect}");
            warned.push(problem);
        }
        Ok(())
    }

    /// Seconds that a nonce is good for.
    pub fn nonce_lifetime(&self) -> u64 {
        self.nonce_lifetime.unwrap_or(NONCE_LIFETIME)
    }

    /// Remembers where a directive about who clients are stands.
    fn note(&mut self, cf: Conf) -> Result<(), ConfigError> {
        if self.first.is_none() {
            self.first = Some(format!("\"{}\" directive in {}", cf.word(0)?, cf.place()).into());
        }
        Ok(())
    }
}

/// A script of one of the directives about access.
fn hook(cf: Conf) -> Result<Hook, ConfigError> {
    let hook = Hook::read(cf)?;
    main_conf(cf).ok_or(ConfigError)?.access.used = true;
    Ok(hook)
}

/// `wsgi_access_script path [application-group=...]`, or `off`.
pub fn access_script(cf: Conf, conf: &mut LocationConf) -> Result<(), ConfigError> {
    let hook = Hook::read_or_off(cf)?.map(Rc::new);
    main_conf(cf).ok_or(ConfigError)?.access.used |= hook.is_some();
    set_once(cf, &mut conf.access.access_script, hook)
}

/// `wsgi_auth_user_script path [application-group=...]`.
pub fn auth_user_script(cf: Conf, conf: &mut LocationConf) -> Result<(), ConfigError> {
    let hook = hook(cf)?;
    let access = &mut main_conf(cf).ok_or(ConfigError)?.access;
    let number = access.user_scripts;
    access.user_scripts += 1;
    conf.access.note(cf)?;
    set_once(cf, &mut conf.access.user_script, Rc::new(UserScript { hook, number }))
}

/// `wsgi_auth_group_script path [application-group=...]`.
pub fn auth_group_script(cf: Conf, conf: &mut LocationConf) -> Result<(), ConfigError> {
    let hook = hook(cf)?;
    conf.access.note(cf)?;
    set_once(cf, &mut conf.access.group_script, Rc::new(hook))
}

/// `wsgi_auth_type basic|digest|off`.
pub fn auth_type(cf: Conf, conf: &mut LocationConf) -> Result<(), ConfigError> {
    let value = cf.word(1)?;
    let kind = match &*value.to_ascii_lowercase() {
        "basic" => AuthType::Basic,
        "digest" => AuthType::Digest,
        "off" => AuthType::Off,
        _ => {
            let cause = "must be \"basic\", \"digest\" or \"off\"";
            return Err(cf.error(format_args!("has invalid value \"{value}\": {cause}")));
        }
    };
    let main = main_conf(cf).ok_or(ConfigError)?;
    main.access.used = true;
    main.access.uses_digest |= kind == AuthType::Digest;
    conf.access.note(cf)?;
    set_once(cf, &mut conf.access.auth_type, kind)
}

/// `wsgi_auth_name realm`.
pub fn auth_name(cf: Conf, conf: &mut LocationConf) -> Result<(), ConfigError> {
    let word = cf.words()[1];
    // SAFETY: words live in the cycle's pool.
    let name = unsafe { crate::ffi::bytes(&word) };
    if name.is_empty() || name.iter().any(u8::is_ascii_control) {
        let shown = text(name).escape_debug().to_string();
        let cause = "must be a text without control characters";
        return Err(cf.error(format_args!("has invalid value \"{shown}\": {cause}")));
    }
    let value = Value::compile(cf, word)?;
    conf.access.note(cf)?;
    set_once(cf, &mut conf.access.auth_name, value)
}

/// `wsgi_auth_nonce_lifetime time`.
pub fn nonce_lifetime(cf: Conf, conf: &mut LocationConf) -> Result<(), ConfigError> {
    let lifetime =
        parse_seconds(cf.words()[1]).filter(|seconds| *seconds > 0).ok_or_else(|| {
            let value = cf.word(1).unwrap_or_default();
            cf.error(format_args!("has invalid value \"{value}\": must be a time of at least 1s"))
        })?;
    set_once(cf, &mut conf.access.nonce_lifetime, lifetime)
}

/// `wsgi_require valid-user | user name ... | group name ...`.
pub fn require(cf: Conf, conf: &mut LocationConf) -> Result<(), ConfigError> {
    let kind = cf.word(1)?;
    let names = (2..cf.words().len()).map(|index| cf.word(index).map(str::to_owned));
    let names = names.collect::<Result<Vec<_>, _>>()?;
    let requirement = match (kind, names.is_empty()) {
        ("valid-user", true) => Requirement::ValidUser,
        ("valid-user", false) => {
            return Err(cf.error(format_args!("has invalid parameter \"{}\"", names[0])))
        }
        ("user" | "group", true) => {
            return Err(cf.error(format_args!("requires a name behind \"{kind}\"")))
        }
        ("user", false) => Requirement::Users(names),
        ("group", false) => Requirement::Groups(names),
        _ => {
            let cause = "must be \"valid-user\", \"user\" or \"group\"";
            return Err(cf.error(format_args!("has invalid value \"{kind}\": {cause}")));
        }
    };
    let main = main_conf(cf).ok_or(ConfigError)?;
    main.access.used = true;
    conf.access.note(cf)?;
    Rc::make_mut(&mut conf.access.require).push(requirement);
    Ok(())
}
