//! Effective names of a request: what runs, and where (mod_wsgi semantics a.2).

use std::borrow::Cow;

use ngx_wsgi_host::wire::hook;

use super::{names, Target};
use crate::conf::{LocationConf, MainConf, ScriptOptions, Setting, Token};
use crate::ffi::Request;
use crate::route::{Lasting, Route};

/// The callable of a handler script.
const HANDLER: &[u8] = b"handle_request";
/// That of any other, unless another one is named.
const APPLICATION: &[u8] = b"application";

impl Target {
    /// Where a request goes as configured: the script's own options before the location's settings.
    pub fn configured(
        r: Request,
        main: &MainConf,
        conf: &'static LocationConf,
        options: &'static ScriptOptions,
        route: Route,
    ) -> Self {
        let resource = resource(main, &route);
        let name = |own: &'static Option<Setting>, outer: &'static Option<Setting>, default| {
            let setting = own.as_ref().or(outer.as_ref()).unwrap_or(default);
            names::evaluate(setting, r, conf, &resource)
        };
        let process_group =
            name(&options.process_group, &conf.process_group, &Setting::Token(Token::Global));
        let application_group = name(
            &options.application_group,
            &conf.application_group,
            &Setting::Token(Token::Resource),
        );
        Target {
            process_group,
            application_group,
            callable: match (&route.handled, &options.callable, &conf.callable) {
                (Some(_), ..) => HANDLER.into(),
                (None, Some(name), _) => name.as_bytes().into(),
                (None, None, Some(setting)) => callable(setting, r, conf),
                (None, None, None) => APPLICATION.into(),
            },
            pass_authorization: options.pass_authorization.unwrap_or(conf.pass_authorization == 1),
            reloading: conf.script_reloading != 0,
            jail: None,
            route,
        }
    }

    /// Puts the name that a function of a dispatch script has returned in the place of the configured
    /// one. It is read like a name in the configuration; what is no token is the name itself.
    pub fn replace(
        &mut self,
        r: Request,
        main: &MainConf,
        conf: &LocationConf,
        function: &[u8],
        name: Vec<u8>,
    ) {
        let token = std::str::from_utf8(&name).ok().and_then(|name| Token::parse(name).ok());
        let setting = token.map(Setting::Token);
        let group = |name| match &setting {
            Some(setting) => {
                names::evaluate(setting, r, conf, &resource(main, &self.route)).into_owned().into()
            }
            None => Lasting::from(name),
        };
        match std::str::from_utf8(function) {
            Ok(hook::PROCESS_GROUP) => self.process_group = group(name),
            Ok(hook::APPLICATION_GROUP) => self.application_group = group(name),
            Ok(hook::CALLABLE_OBJECT) => {
                self.callable = match &setting {
                    Some(setting) => callable(setting, r, conf).into_owned().into(),
                    None => name.into(),
                };
            }
            _ => {}
        }
    }
}

/// What `%{RESOURCE}` names.
fn resource<'a>(main: &MainConf, route: &'a Route) -> Cow<'a, [u8]> {
    // The URLs of a handler script are the client's choice, and each would have an interpreter.
    let mut resource = Cow::Borrowed(match route.handled {
        Some(_) => &*route.script,
        None => &*route.script_name,
    });
    if !main.python.is_case_sensitive() {
        resource.to_mut().make_ascii_lowercase();
    }
    resource
}

fn callable<'a>(setting: &'a Setting, r: Request, conf: &LocationConf) -> Cow<'a, [u8]> {
    let name = match setting {
        // A variable that does not exist falls back to the default, unlike in group names.
        Setting::Token(Token::Env(name)) => {
            names::environment(name, r, conf).unwrap_or_default().into()
        }
        setting => names::evaluate(setting, r, conf, b""),
    };
    if name.is_empty() {
        APPLICATION.into()
    } else {
        name
    }
}
