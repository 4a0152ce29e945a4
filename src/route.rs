//! From a URL to a WSGI script.

mod alias;
pub mod jail;
mod owner;
mod script;

use std::rc::Rc;

use nginx_sys::{ngx_http_request_t, ngx_int_t};

use crate::conf::{Alias, Inherited, LocationConf};
use crate::ffi::{bytes, code, guard, Request};

pub use alias::{collapse, covers};
pub use owner::{check as check_owner, Foreign, Owner};
pub use script::NoScript;

/// Where an alias leads for one URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The script file.
    pub script: Vec<u8>,
    /// SCRIPT_NAME.
    pub script_name: Vec<u8>,
    /// PATH_INFO.
    pub path_info: Vec<u8>,
}

impl Route {
    /// Divides the URL of `r`, of which the alias takes `matched` bytes.
    ///
    /// # Errors
    ///
    /// [`NoScript`] when there is no file to run.
    pub fn find(r: Request, alias: &Alias, matched: usize) -> Result<Self, NoScript> {
        // SAFETY: lives as long as the request.
        let uri = unsafe { bytes(&r.get().uri) };
        let found = script::find(&alias.target, &uri[matched..])?;
        let (name, info) = uri.split_at(matched + found.taken);
        Ok(Route { script: found.path, script_name: collapse(name), path_info: collapse(info) })
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
        if r.get().content_handler.is_none() && matching(r, conf).is_some() {
            // SAFETY: a live request; content_handler is ours to set until the content phase.
            unsafe { (*r.as_ptr()).content_handler = Some(crate::exchange::content_handler) };
        }
        code::DECLINED
    })
}

/// The alias that takes the request, and how much of its URL: first the location's own, then those
/// of the levels around it, unless the location is more than settings: it is named, or says itself
/// where its files are. (One with a content handler was left alone before.)
pub fn matching(r: Request, conf: &LocationConf) -> Option<(Rc<Alias>, usize)> {
    // SAFETY: lives as long as the request.
    let uri = unsafe { bytes(&r.get().uri) };
    let covers =
        |alias: &Rc<Alias>| Some((Rc::clone(alias), alias::matched_len(&alias.path, uri)?));
    conf.aliases.own.iter().find_map(covers).or_else(|| {
        let location = r.core_location();
        let applies = |it: &&Inherited| !conf.named && it.shares_root(location);
        conf.aliases.inherited.iter().filter(applies).find_map(|it| covers(&it.alias))
    })
}
