//! ngx-wsgi: Python web applications hosted by nginx, with mod_wsgi's semantics.
//!
//! What nginx needs to see is here; each hook is one line into a room.

mod access;
mod conf;
mod dispatch;
mod exchange;
mod ffi;
mod hook;
mod master;
mod route;
mod status;

use std::ffi::{c_char, c_void};
use std::path::PathBuf;
use std::ptr::{addr_of, addr_of_mut, null_mut};

use nginx_sys::{
    ngx_array_push, ngx_conf_t, ngx_core_conf_t, ngx_cycle_t, ngx_http_handler_pt,
    ngx_http_module_t, ngx_http_phases_NGX_HTTP_PREACCESS_PHASE, ngx_int_t, ngx_module_t,
    ngx_uint_t, NGX_HTTP_MODULE,
};
use ngx::http::{HttpModule, HttpModuleLocationConf, HttpModuleMainConf, NgxHttpCoreModule};
use ngx::ngx_log_error;

use conf::{LocationConf, MainConf};
use ffi::{bytes, code, core_conf, guard, text, Conf, ConfigError, Role};
use master::{Generation, HostExecutable, SocketNames};

struct Module;

static NGX_HTTP_WSGI_MODULE_CTX: ngx_http_module_t = ngx_http_module_t {
    preconfiguration: Some(Module::preconfiguration),
    postconfiguration: Some(Module::postconfiguration),
    create_main_conf: Some(Module::create_main_conf),
    init_main_conf: None,
    create_srv_conf: None,
    merge_srv_conf: None,
    create_loc_conf: Some(Module::create_loc_conf),
    merge_loc_conf: Some(merge_loc_conf),
};

#[cfg(feature = "export-modules")]
ngx::ngx_modules!(ngx_http_wsgi_module);

#[used]
#[allow(non_upper_case_globals)]
#[cfg_attr(not(feature = "export-modules"), no_mangle)]
pub static mut ngx_http_wsgi_module: ngx_module_t = ngx_module_t {
    ctx: addr_of!(NGX_HTTP_WSGI_MODULE_CTX) as _,
    commands: addr_of_mut!(conf::COMMANDS).cast(),
    type_: NGX_HTTP_MODULE as ngx_uint_t,
    init_master: None,
    init_module: Some(init_module),
    init_process: Some(init_process),
    init_thread: None,
    exit_thread: None,
    exit_process: Some(exit_process),
    exit_master: Some(exit_master),
    ..ngx_module_t::default()
};

/// This module, for looking up its configurations and contexts.
fn module() -> &'static ngx_module_t {
    // SAFETY: nginx writes the indexes before it calls into the module, and never again.
    unsafe { &*addr_of!(ngx_http_wsgi_module) }
}

impl HttpModule for Module {
    fn module() -> &'static ngx_module_t {
        module()
    }

    unsafe extern "C" fn preconfiguration(cf: *mut ngx_conf_t) -> ngx_int_t {
        guard("the configuration", code::ERROR, || {
            // SAFETY: nginx passes the configuration being read.
            match exchange::define_variables(unsafe { Conf::new(cf) }) {
                Ok(()) => code::OK,
                Err(ConfigError) => code::ERROR,
            }
        })
    }

    unsafe extern "C" fn postconfiguration(cf: *mut ngx_conf_t) -> ngx_int_t {
        guard("the configuration", code::ERROR, || {
            // SAFETY: nginx passes the configuration being read.
            let cf = unsafe { Conf::new(cf) };
            match validate(cf) {
                Some(()) => add_phase_handler(cf),
                None => code::ERROR,
            }
        })
    }
}

// SAFETY: create_main_conf makes this type.
unsafe impl HttpModuleMainConf for Module {
    type MainConf = MainConf;
}

// SAFETY: create_loc_conf makes this type.
unsafe impl HttpModuleLocationConf for Module {
    type LocationConf = LocationConf;
}

unsafe extern "C" fn merge_loc_conf(
    cf: *mut ngx_conf_t,
    outer: *mut c_void,
    inner: *mut c_void,
) -> *mut c_char {
    let failed = usize::MAX as *mut c_char; // NGX_CONF_ERROR
    guard("the configuration", failed, || {
        // SAFETY: two different configurations of this module's type.
        let (outer, inner) =
            unsafe { (&mut *outer.cast::<LocationConf>(), &mut *inner.cast::<LocationConf>()) };
        // SAFETY: nginx passes the configuration being read; while it merges, the location
        // configuration in its context is the inner one, and the core module has merged before.
        let Some(core) = NgxHttpCoreModule::location_conf(unsafe { &*cf }) else { return failed };
        inner.observe(core, outer);
        if ngx::http::Merge::merge(inner, outer).is_err() {
            return failed;
        }
        // SAFETY: as above.
        if inner.check(unsafe { Conf::new(cf) }, core).is_err() {
            return failed;
        }
        if let Some(set) = &inner.set_handler {
            match inner.handler_scripts.find(cf, set) {
                Ok(handler) => inner.handler = handler,
                Err(ConfigError) => return failed,
            }
        }
        if let Some(main) = MainConf::of(cf) {
            inner.upstream.upstream = &mut main.upstream;
        }
        match conf::merge_upstream(cf, inner, outer) {
            Ok(()) => {
                if let Some(main) = MainConf::of(cf) {
                    conf::warn_inline(cf, main, inner);
                }
                null_mut()
            }
            Err(_) => failed,
        }
    })
}

impl MainConf {
    /// The configuration that is being read.
    fn of<'a>(cf: *mut ngx_conf_t) -> Option<&'a mut MainConf> {
        // SAFETY: nginx passes the configuration being read, inside http{}.
        unsafe { Conf::new(cf) }.main_conf(module())
    }

    /// The configuration of a cycle, `None` without an http{} block.
    fn of_cycle<'a>(cycle: &ngx_cycle_t) -> Option<&'a mut MainConf> {
        Module::main_conf_mut(cycle)
    }

    /// The names of the next generation's sockets.
    fn socket_names(&self, core: &ngx_core_conf_t) -> SocketNames {
        // SAFETY: lives as long as the cycle; empty until the core module's own defaults are set.
        let pid = unsafe { bytes(&core.pid) };
        let pid = if pid.is_empty() { nginx_sys::NGX_PID_PATH.to_bytes() } else { pid };
        SocketNames::next(self.socket_prefix.as_deref(), &PathBuf::from(text(pid).into_owned()))
    }
}

fn validate(cf: Conf) -> Option<()> {
    let main = cf.main_conf::<MainConf>(module())?;
    main.upstream.peer.init = Some(dispatch::init_peer);
    main.neighbours = Some(exchange::Neighbours::find(cf).ok()?);
    main.access.prepare(cf).ok()?;
    // SAFETY: the cycle being configured.
    let core = core_conf(unsafe { &*cf.get().cycle })?;
    main.validate(&main.socket_names(core), core, cf.get().log).ok()?;
    if !main.groups.is_empty() {
        if let Err(error) = HostExecutable::find(main.daemon_executable.as_deref()) {
            ffi::conf_error(cf.as_ptr(), format_args!("{error}"));
            return None;
        }
    }
    Some(())
}

fn add_phase_handler(cf: Conf) -> ngx_int_t {
    // SAFETY: the core module's configuration exists, and its phase arrays are initialised before
    // postconfiguration.
    unsafe {
        let Some(core) = NgxHttpCoreModule::main_conf_mut(cf.get()) else { return code::ERROR };
        let phase = &mut core.phases[ngx_http_phases_NGX_HTTP_PREACCESS_PHASE as usize];
        let handler = ngx_array_push(&mut phase.handlers).cast::<ngx_http_handler_pt>();
        if handler.is_null() {
            return code::ERROR;
        }
        *handler = Some(route::preaccess_handler);
        access::add_phase_handlers(core)
    }
}

/// Starts the daemons of a configuration. Failing ends nginx at its start, and never at a reload:
/// there, requests are answered with 503 until another reload.
unsafe extern "C" fn init_module(cycle: *mut ngx_cycle_t) -> ngx_int_t {
    guard("start-up", code::ERROR, || {
        if Role::testing() || Role::current() == Role::Signaller {
            return code::OK;
        }
        // SAFETY: nginx passes the new cycle; ngx_cycle is still the old one.
        let (cycle, first) = unsafe { (&*cycle, (*nginx_sys::ngx_cycle).conf_ctx.is_null()) };
        let (Some(main), Some(core)) = (MainConf::of_cycle(cycle), core_conf(cycle)) else {
            return code::OK;
        };
        if let Some(neighbours) = &mut main.neighbours {
            neighbours.look_again(cycle);
        }
        let mut generation = Generation::new(main, cycle, core);
        let rc = match generation.start(main, cycle, core) {
            Ok(()) => {
                // SAFETY: set while nginx reads its environment, before any cycle.
                let upgrade = unsafe { nginx_sys::ngx_inherited != 0 };
                if core.master != 0 && (!first || upgrade) {
                    generation.wait_until_ready(main, cycle);
                }
                code::OK
            }
            Err(error) => {
                ngx_log_error!(nginx_sys::NGX_LOG_EMERG, cycle.log, "wsgi: {error}");
                if first {
                    code::ERROR
                } else {
                    code::OK
                }
            }
        };
        main.generation = Some(Box::new(generation));
        match main.access.start() {
            Ok(()) => rc,
            Err(error) => {
                ngx_log_error!(nginx_sys::NGX_LOG_EMERG, cycle.log, "wsgi_auth_type: {error}");
                if first {
                    code::ERROR
                } else {
                    rc
                }
            }
        }
    })
}

unsafe extern "C" fn init_process(cycle: *mut ngx_cycle_t) -> ngx_int_t {
    guard("a worker's start", code::ERROR, || {
        // SAFETY: nginx passes the running cycle.
        let Some(main) = MainConf::of_cycle(unsafe { &*cycle }) else { return code::OK };
        if ffi::is_worker() {
            if let Some(generation) = &main.generation {
                generation.dispatcher(main);
            }
            dispatch::listen_to_mail();
            dispatch::start_embedded_early(main);
        }
        code::OK
    })
}

/// A worker's end: Python finishes first; where it cannot, no exit handler may run beside it.
unsafe extern "C" fn exit_process(_: *mut ngx_cycle_t) {
    let stopped =
        guard("a worker's end", true, || dispatch::stop_embedded(Role::ending().unwrap_or(true)));
    if !stopped {
        // SAFETY: ends the process at once.
        unsafe { libc::_exit(0) };
    }
}

/// The master's end: lets go of the daemons, and of the sockets' files.
unsafe extern "C" fn exit_master(cycle: *mut ngx_cycle_t) {
    guard("the master's end", (), || {
        // SAFETY: nginx passes the running cycle.
        if let Some(main) = MainConf::of_cycle(unsafe { &*cycle }) {
            if let Some(generation) = main.generation.take() {
                // Another nginx may take over while this one waits. nginx itself closes them next.
                // SAFETY: nginx passes the running cycle, and finds no socket to close later.
                unsafe { nginx_sys::ngx_close_listening_sockets(cycle) };
                generation.end();
            }
        }
    });
}
