//! What is configured for a location.

use std::rc::Rc;

use nginx_sys::{ngx_flag_t, ngx_http_core_loc_conf_t, ngx_http_upstream_conf_t};
use ngx::http::{Merge, MergeConfigError};

use super::aliases::Aliases;
use super::handlers::{Handler, HandlerScripts, SetHandler};
use super::next_upstream::NextUpstream;
use super::params::Param;
use super::value::Setting;
#[cfg(ngx_feature = "http_cache")]
use super::value::Value;
use crate::access::AccessConf;
use crate::exchange::{Network, ProxyHeader};
use crate::ffi::{merge, Conf, ConfigError, UNSET};
use crate::hook::Hook;
use crate::status::Format;

/// The settings of a location, and of the levels around it.
pub struct LocationConf {
    pub upstream: ngx_http_upstream_conf_t,
    pub aliases: Aliases,
    pub handler_scripts: HandlerScripts,
    pub set_handler: Option<SetHandler>,
    /// What `set_handler` names.
    pub handler: Option<Handler>,
    /// Where nginx has files at this level; null for the `http` level.
    root: *const u8,
    /// A named location, or an `if` inside one.
    pub named: bool,
    pub process_group: Option<Setting>,
    pub application_group: Option<Setting>,
    pub callable: Option<Setting>,
    /// What has the last word on these three; `Some(None)`: switched off here.
    pub dispatch_script: Option<Option<Rc<Hook>>>,
    /// The only groups that may be used, the empty name for embedded mode.
    pub restrict_process: Option<Rc<[String]>>,
    pub params: Rc<Vec<Param>>,
    /// What proxies may tell.
    pub trusted_proxy_headers: Option<Rc<Vec<ProxyHeader>>>,
    /// Which ones; `None`: all.
    pub trusted_proxies: Option<Rc<Vec<Network>>>,
    pub pass_authorization: ngx_flag_t,
    pub script_reloading: ngx_flag_t,
    pub ignore_activity: ngx_flag_t,
    pub chunked_request: ngx_flag_t,
    pub error_override: ngx_flag_t,
    pub map_head_to_get: Option<MapHead>,
    pub access: AccessConf,
    pub next_upstream: NextUpstream,
    pub store: Option<bool>,
    /// Never on in an nginx without its cache.
    pub cache: Option<bool>,
    #[cfg(ngx_feature = "http_cache")]
    pub cache_key: Option<Value>,
    /// `wsgi_status` and its format; inside, `None` leaves that to the client. Not inherited.
    pub status: Option<Option<Format>>,
}

/// When HEAD is presented as GET.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapHead {
    Off,
    On,
    /// Where a filter changes the content of responses.
    Auto,
}

impl Default for LocationConf {
    fn default() -> Self {
        LocationConf {
            upstream: super::upstream::unset(),
            aliases: Aliases::default(),
            handler_scripts: HandlerScripts::default(),
            set_handler: None,
            handler: None,
            root: std::ptr::null(),
            named: false,
            process_group: None,
            application_group: None,
            callable: None,
            dispatch_script: None,
            restrict_process: None,
            params: Rc::default(),
            trusted_proxy_headers: None,
            trusted_proxies: None,
            pass_authorization: UNSET,
            script_reloading: UNSET,
            ignore_activity: UNSET,
            chunked_request: UNSET,
            error_override: UNSET,
            map_head_to_get: None,
            access: AccessConf::default(),
            next_upstream: NextUpstream::default(),
            store: None,
            cache: None,
            #[cfg(ngx_feature = "http_cache")]
            cache_key: None,
            status: None,
        }
    }
}

impl LocationConf {
    pub fn map_head_to_get(&self) -> MapHead {
        self.map_head_to_get.unwrap_or(MapHead::Auto)
    }

    /// Whether requests may use a process group; the empty name means embedded mode.
    pub fn allows(&self, process_group: &[u8]) -> bool {
        let is_it = |name: &String| name.as_bytes().eq_ignore_ascii_case(process_group);
        self.restrict_process.as_ref().is_none_or(|names| names.iter().any(is_it))
    }

    /// Takes from nginx's own configuration of the level, which has been merged before.
    pub fn observe(&mut self, core: &ngx_http_core_loc_conf_t, outer: &LocationConf) {
        self.root = core.root.data;
        self.named = core.named() != 0 || core.noname() != 0 && outer.named;
    }

    /// Checks what the level has when it is merged with those around it.
    ///
    /// # Errors
    ///
    /// [`ConfigError`], logged.
    pub fn check(&self, cf: Conf, core: &ngx_http_core_loc_conf_t) -> Result<(), ConfigError> {
        // Of a server with locations it is those that answer requests.
        let is_server = core.name.len == 0 && core.noname() == 0;
        if is_server && !core.locations.is_null() {
            return Ok(());
        }
        self.access.check(cf, core.noname() == 0)
    }
}

impl Merge for LocationConf {
    fn merge(&mut self, outer: &Self) -> Result<(), MergeConfigError> {
        self.aliases.merge(&outer.aliases, outer.root, self.root);
        self.handler_scripts.merge(&outer.handler_scripts);
        inherit(&mut self.set_handler, &outer.set_handler);
        inherit(&mut self.process_group, &outer.process_group);
        inherit(&mut self.application_group, &outer.application_group);
        inherit(&mut self.callable, &outer.callable);
        inherit(&mut self.dispatch_script, &outer.dispatch_script);
        inherit(&mut self.restrict_process, &outer.restrict_process);
        inherit(&mut self.trusted_proxy_headers, &outer.trusted_proxy_headers);
        inherit(&mut self.trusted_proxies, &outer.trusted_proxies);
        if self.params.is_empty() {
            self.params = Rc::clone(&outer.params);
        }
        merge(&mut self.pass_authorization, outer.pass_authorization, 0);
        merge(&mut self.script_reloading, outer.script_reloading, 1);
        merge(&mut self.ignore_activity, outer.ignore_activity, 0);
        merge(&mut self.chunked_request, outer.chunked_request, 0);
        merge(&mut self.error_override, outer.error_override, 0);
        inherit(&mut self.map_head_to_get, &outer.map_head_to_get);
        self.access.merge(&outer.access);
        self.next_upstream.merge(&outer.next_upstream);
        Ok(())
    }
}

fn inherit<T: Clone>(value: &mut Option<T>, outer: &Option<T>) {
    if value.is_none() {
        value.clone_from(outer);
    }
}
