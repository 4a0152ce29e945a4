//! What is configured for the whole server.

use std::collections::BTreeSet;
use std::path::PathBuf;

use nginx_sys::{
    ngx_core_conf_t, ngx_flag_t, ngx_http_core_srv_conf_t, ngx_http_upstream_srv_conf_t, ngx_int_t,
    ngx_log_t,
};
use ngx::ngx_log_error;
use ngx_wsgi_host::config::Credentials;
use ngx_wsgi_host::scoreboard;
use nix::unistd::{geteuid, Uid, User};
use rustc_hash::FxHashMap;

use super::daemon::DaemonOptions;
use super::imports::Imports;
use super::interpreters;
use super::python::{check_home, unreadable, PythonSettings};
use crate::exchange::Neighbours;
use crate::ffi::{bytes, ConfigError};
use crate::master::{of_group, of_workers, Generation, SocketNames};
use crate::route::Owner;

/// Threads of a daemon process and of the embedded host where none are configured (mod_wsgi's).
pub const DEFAULT_THREADS: u16 = 15;

/// The settings of the `http` level.
pub struct MainConf {
    /// The groups in configuration order.
    pub groups: Vec<GroupDefinition>,
    /// Where they are, by name.
    group_indices: FxHashMap<Box<[u8]>, usize>,
    /// Group names that were written where only a defined group can stand.
    pub references: Vec<GroupReference>,
    /// What is loaded before any request.
    pub imports: Imports,
    pub socket_prefix: Option<PathBuf>,
    pub daemon_executable: Option<PathBuf>,
    pub embedded_threads: ngx_int_t,
    /// Directives that have no effect on a script, and its place, as far as that has been said.
    pub useless: BTreeSet<(&'static str, String)>,
    /// No application may run in the workers.
    pub restrict_embedded: ngx_flag_t,
    pub python: PythonSettings,
    /// Embedded applications may see what all processes report.
    pub server_metrics: ngx_flag_t,
    /// Requests that take longer are logged, `Some(None)` where that is switched off explicitly.
    pub slow_requests_ms: Option<Option<usize>>,
    /// The upstream that all requests go through; its peers are host processes.
    pub upstream: ngx_http_upstream_srv_conf_t,
    /// The caches of wsgi_cache_path; without memory of its own as long as there is none.
    #[cfg(ngx_feature = "http_cache")]
    pub caches: nginx_sys::ngx_array_t,
    /// Other modules of this nginx; looked up when all of the configuration has been read.
    pub neighbours: Option<Neighbours>,
    /// Whether there is a hook, which runs in workers.
    pub has_hooks: bool,
    /// Whether and how hooks of access are used.
    pub access: crate::access::MainAccess,
    /// What runs for this configuration; made by init_module, dropped with the cycle.
    pub generation: Option<Box<Generation>>,
}

/// A `wsgi_daemon_process`.
#[derive(Clone, Debug)]
pub struct GroupDefinition {
    pub name: String,
    pub options: DaemonOptions,
    /// `file:line`.
    pub place: String,
    /// The server it was written in, `None` for the `http` level.
    pub server: Option<*const ngx_http_core_srv_conf_t>,
}

/// A group's name in another directive.
#[derive(Clone, Debug)]
pub struct GroupReference {
    pub name: String,
    pub directive: String,
    /// `file:line`.
    pub place: String,
}

impl Default for MainConf {
    fn default() -> Self {
        MainConf {
            groups: Vec::new(),
            group_indices: FxHashMap::default(),
            references: Vec::new(),
            imports: Imports::default(),
            socket_prefix: None,
            daemon_executable: None,
            embedded_threads: crate::ffi::UNSET,
            useless: BTreeSet::new(),
            restrict_embedded: crate::ffi::UNSET,
            python: PythonSettings::default(),
            server_metrics: crate::ffi::UNSET,
            slow_requests_ms: None,
            // SAFETY: all-zero is a valid, empty upstream.
            upstream: unsafe { std::mem::zeroed() },
            #[cfg(ngx_feature = "http_cache")]
            // SAFETY: all-zero is an array that has not been initialised.
            caches: unsafe { std::mem::zeroed() },
            neighbours: None,
            has_hooks: false,
            access: crate::access::MainAccess::default(),
            generation: None,
        }
    }
}

impl GroupDefinition {
    pub fn processes(&self) -> u16 {
        self.options.processes.unwrap_or(1)
    }

    /// Places for its processes in the tables.
    pub fn seats(&self) -> u16 {
        scoreboard::seats(self.processes())
    }

    pub fn threads(&self) -> u16 {
        self.options.threads.unwrap_or(DEFAULT_THREADS)
    }

    /// Whether its processes take no requests and only run their scripts.
    pub fn is_service(&self) -> bool {
        self.threads() == 0
    }

    /// Seconds that running requests have when a process ends (mod_wsgi's default: 5).
    pub fn shutdown_timeout(&self) -> u32 {
        self.options.shutdown_timeout.unwrap_or(5)
    }

    /// Whose scripts the group runs; `None`: anybody's.
    pub fn script_owner(&self) -> Option<Owner> {
        let user = self.options.script_user.map(Owner::User);
        user.or_else(|| self.options.script_group.map(Owner::Group))
    }

    /// Whether requests of `server` may use the group: one of the `http` level, of the same server,
    /// or of one with the same name. A server without a name is like no other.
    pub fn is_visible_from(&self, server: &ngx_http_core_srv_conf_t) -> bool {
        let Some(own) = self.server else { return true };
        // SAFETY: server configurations live as long as the cycle, like this definition.
        std::ptr::eq(own, server)
            || server.server_name.len > 0
                && unsafe { bytes(&(*own).server_name) == bytes(&server.server_name) }
    }
}

impl MainConf {
    /// Threads of the embedded host that run applications; 0: the event loop's own thread does.
    pub fn embedded_threads(&self) -> u16 {
        u16::try_from(self.embedded_threads).unwrap_or(DEFAULT_THREADS)
    }

    /// Whether applications run on the event loop's own thread in embedded mode.
    pub fn runs_inline(&self) -> bool {
        self.embedded_threads() == 0
    }

    /// Slots of the embedded host: its threads; or one for hooks, and one for the event loop's thread.
    pub fn embedded_slots(&self) -> u16 {
        match self.embedded_threads() {
            0 => 2,
            threads => threads,
        }
    }

    /// The index of a group.
    pub fn group(&self, name: &[u8]) -> Option<usize> {
        self.group_indices.get(name).copied()
    }

    /// Adds a group, whose name is not taken.
    pub fn add_group(&mut self, group: GroupDefinition) {
        self.group_indices.insert(group.name.as_bytes().into(), self.groups.len());
        self.groups.push(group);
    }

    /// Checks what only the whole configuration can tell.
    ///
    /// # Errors
    ///
    /// [`ConfigError`], logged.
    pub fn validate(
        &self,
        names: &SocketNames,
        core: &ngx_core_conf_t,
        log: *mut ngx_log_t,
    ) -> Result<(), ConfigError> {
        for reference in &self.references {
            if self.group(reference.name.as_bytes()).is_none() {
                ngx_log_error!(
                    nginx_sys::NGX_LOG_EMERG,
                    log,
                    "\"{}\" names unknown daemon process group \"{}\" in {}",
                    reference.directive,
                    reference.name,
                    reference.place
                );
                return Err(ConfigError);
            }
        }
        self.imports.validate(self, log)?;
        let idle = |group: &&GroupDefinition| {
            group.is_service() && self.imports.of(&group.name).is_empty()
        };
        if let Some(group) = self.groups.iter().find(idle) {
            ngx_log_error!(
                nginx_sys::NGX_LOG_EMERG,
                log,
                "\"wsgi_daemon_process\" \"{}\" has \"threads=0\" but no \"wsgi_import_script\" to run \
                 in {}",
                group.name,
                group.place
            );
            return Err(ConfigError);
        }
        let as_root = |group: &&GroupDefinition| group.options.user.is_none() && core.user == 0;
        if let Some(group) = self.groups.iter().find(as_root).filter(|_| geteuid().is_root()) {
            ngx_log_error!(
                nginx_sys::NGX_LOG_EMERG,
                log,
                "\"wsgi_daemon_process\" \"{}\" in {}: WSGI process blocked from running as root, \
                 nginx's \"user\" is root: use \"user=\"",
                group.name,
                group.place
            );
            return Err(ConfigError);
        }
        self.validate_homes(core, log)?;
        interpreters::warn(self, log);
        if !self.groups.is_empty() {
            if let Err(error) = names.check() {
                ngx_log_error!(nginx_sys::NGX_LOG_EMERG, log, "\"wsgi_socket_prefix\" {error}");
                return Err(ConfigError);
            }
        }
        Ok(())
    }

    fn validate_homes(
        &self,
        core: &ngx_core_conf_t,
        log: *mut ngx_log_t,
    ) -> Result<(), ConfigError> {
        let own_executable = self.daemon_executable.is_some();
        let mut warned = Vec::new();
        for (home, directive, place, user) in self.homes(core) {
            if let Err(error) = check_home(home, own_executable) {
                ngx_log_error!(nginx_sys::NGX_LOG_EMERG, log, "{directive} {error} in {place}");
                return Err(ConfigError);
            }
            let Some((uid, error)) =
                user.and_then(|user| Some((user.uid, unreadable(home, &user)?)))
            else {
                continue;
            };
            if !warned.contains(&(home, uid)) {
                let name = User::from_uid(Uid::from_raw(uid)).ok().flatten().map(|user| user.name);
                let name = name.unwrap_or_else(|| format!("#{uid}"));
                ngx_log_error!(
                    nginx_sys::NGX_LOG_WARN,
                    log,
                    "{directive} {error} as user \"{name}\" in {place}"
                );
                warned.push((home, uid));
            }
        }
        Ok(())
    }

    /// Every home with its directive and place, and who uses it.
    fn homes(&self, core: &ngx_core_conf_t) -> Vec<(&PathBuf, String, &str, Option<Credentials>)> {
        let user_of = |group: &GroupDefinition| of_group(group, core).ok().flatten();
        let mut homes = Vec::new();
        for group in &self.groups {
            // What is inside a jail its processes find out: links there lead elsewhere from here.
            if group.options.chroot.is_some() {
                continue;
            }
            if let Some(home) = &group.options.python_home {
                let directive = format!("\"wsgi_daemon_process\" \"{}\": python-home", group.name);
                homes.push((home, directive, group.place.as_str(), user_of(group)));
            }
        }
        if let Some(home) = &self.python.home {
            let without =
                |options: &DaemonOptions| options.python_home.is_none() && options.chroot.is_none();
            let others = self.groups.iter().filter(|group| without(&group.options));
            let mut users: Vec<_> = others.map(user_of).collect();
            if users.is_empty() {
                users.push(of_workers(core));
            }
            let place = self.python.home_place.as_str();
            let entry = |user| (home, "\"wsgi_python_home\"".to_owned(), place, user);
            homes.extend(users.into_iter().map(entry));
        }
        homes
    }
}
