//! From a URL to a WSGI script.

mod alias;
mod file;
pub mod jail;
mod owner;
mod prefixes;
mod script;
mod template;

use std::borrow::Cow;

use nginx_sys::{ngx_http_request_t, ngx_int_t};

use crate::conf::{Alias, Handler, Inherited, LocationConf, Mapping, ScriptOptions};
use crate::ffi::{bytes, code, guard, Request};
use template::Captures;

pub use alias::collapse;
pub use owner::{check as check_owner, Foreign, Owner};
pub use prefixes::Prefixes;
pub use script::NoScript;
pub use template::{Template, GROUPS};

/// Bytes that belong to the configuration or to a request, or are a copy. Nothing that refers to them
/// outlives the request, nor that its cycle.
pub type Lasting = Cow<'static, [u8]>;

/// Where an alias leads for one URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The script file.
    pub script: Lasting,
    /// SCRIPT_NAME.
    pub script_name: Lasting,
    /// PATH_INFO.
    pub path_info: Lasting,
    /// What a handler script is asked to handle.
    pub handled: Option<Handled>,
    /// When the script was modified, microseconds since the epoch, where that has been looked at.
    pub modified: Option<i64>,
}

/// A file, there or not, that a handler script handles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handled {
    /// The handler's name.
    pub handler: String,
    /// The file.
    pub resource: Vec<u8>,
}

/// What takes a request.
pub enum Mapped {
    Alias(Taken),
    Handler(&'static Handler),
}

impl Mapped {
    /// Finds the script, and divides the URL of `r`.
    ///
    /// # Errors
    ///
    /// [`NoScript`] when there is no file to run.
    pub fn route(&self, r: Request) -> Result<Route, NoScript> {
        match self {
            Mapped::Alias(taken) => Route::find(r, taken),
            Mapped::Handler(Handler::WsgiScript) => file::script(r),
            Mapped::Handler(Handler::Script(script)) => file::handled(r, script),
        }
    }

    /// The options of the script.
    pub fn options(&self) -> &'static ScriptOptions {
        match self {
            Mapped::Alias(taken) => &taken.alias.options,
            Mapped::Handler(Handler::WsgiScript) => ScriptOptions::NONE,
            Mapped::Handler(Handler::Script(script)) => &script.options,
        }
    }
}

impl Route {
    /// Divides the URL of `r`, which an alias has taken.
    ///
    /// # Errors
    ///
    /// [`NoScript`] when there is no file to run.
    fn find(r: Request, taken: &Taken) -> Result<Self, NoScript> {
        // SAFETY: lives as long as the request.
        let uri = unsafe { bytes(&r.get().uri) };
        let rest = &uri[taken.len..];
        match &taken.alias.mapping {
            Mapping::Path { target, .. } => {
                let found = script::find(target, rest)?;
                let (name, info) = uri.split_at(taken.len + found.taken);
                let route = Route::new(found.path, name, info.into());
                Ok(Route { modified: found.modified, ..route })
            }
            Mapping::Regex { target, .. } => {
                let (path, fixed) =
                    target.expand(uri, taken.captures.as_deref().unwrap_or(&Captures::default()));
                let below = [&path[fixed..], rest].concat();
                let found = script::find(&path[..fixed], &below)?;
                let info = &below[found.taken..];
                let script = found.path.into_owned().into();
                Ok(Route::new(script, alias::before(uri, info), info.to_vec().into()))
            }
        }
    }

    fn new(script: Lasting, name: &'static [u8], info: Lasting) -> Self {
        let path_info = match info {
            Cow::Borrowed(info) => collapse(info),
            Cow::Owned(info) => Cow::Owned(collapse(&info).into_owned()),
        };
        Route { script, script_name: collapse(name), path_info, handled: None, modified: None }
    }
}

/// An alias, and what it takes of a URL.
pub struct Taken {
    alias: &'static Alias,
    /// How many bytes of the URL; the rest leads on from the target.
    len: usize,
    /// Where the groups of a regular expression are.
    captures: Option<Box<Captures>>,
}

impl Taken {
    fn of(alias: &'static Alias, uri: &[u8]) -> Option<Self> {
        let (len, captures) = match &alias.mapping {
            Mapping::Path { path, .. } => (alias::matched_len(path, uri)?, None),
            Mapping::Regex { regex, .. } => {
                let captures: Captures = regex.find(uri)?;
                (alias::location_len(uri, captures[0].as_ref()?.end)?, Some(Box::new(captures)))
            }
        };
        Some(Taken { alias, len, captures })
    }
}

/// nginx's handler of the PREACCESS phase: the location is known and its settings apply; what
/// produces the content is decided here.
///
/// # Safety
///
/// Called by nginx.
pub unsafe extern "C" fn preaccess_handler(r: *mut ngx_http_request_t) -> ngx_int_t {
    guard("the URL mapping", code::ERROR, || {
        // SAFETY: as documented.
        let r = unsafe { Request::new(r) };
        // SAFETY: this module's location configuration of the request.
        let conf = unsafe { &*r.location_conf::<LocationConf>(crate::module()) };
        if r.get().content_handler.is_none() && mapped(r, conf).is_some() {
            // SAFETY: a live request; content_handler is ours to set until the content phase.
            unsafe { (*r.as_ptr()).content_handler = Some(crate::exchange::content_handler) };
        }
        code::DECLINED
    })
}

/// What takes the request: first an alias of the location itself, then the location's handler, then the
/// aliases of the levels around it, unless the location is more than settings: it is named, or says
/// itself where its files are. (One with a content handler was left alone before.)
pub fn mapped(r: Request, conf: &'static LocationConf) -> Option<Mapped> {
    // SAFETY: lives as long as the request.
    let uri = unsafe { bytes(&r.get().uri) };
    let take = |alias: &'static Alias| Taken::of(alias, uri);
    if let Some(taken) = conf.aliases.own.find(uri, take) {
        return Some(Mapped::Alias(taken));
    }
    if let Some(handler) = &conf.handler {
        return Some(Mapped::Handler(handler));
    }
    let location = r.core_location();
    let applies = |it: &&Inherited| !conf.named && it.shares_root(location);
    let mut inherited = conf.aliases.inherited.iter().filter(applies);
    inherited.find_map(|it| it.declared.find(uri, take)).map(Mapped::Alias)
}
