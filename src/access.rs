//! Access, authentication and group hooks, in nginx's ACCESS phase (mod_wsgi semantics g).
//!
//! Scripts decide; they run on the Python threads of this worker. Two phase handlers ask them, so that
//! nginx's `satisfy` takes the script that looks at the client's address and the one that checks its
//! password for two opinions.

mod authenticate;
mod digest;
mod nonces;
pub mod settings;
mod state;

use std::sync::atomic::AtomicU8;
use std::sync::OnceLock;

use nginx_sys::{
    ngx_array_push, ngx_array_t, ngx_http_core_main_conf_t, ngx_http_handler_pt,
    ngx_http_phases_NGX_HTTP_ACCESS_PHASE, ngx_http_request_t, ngx_http_variable_value_t,
    ngx_int_t, NGX_HTTP_FORBIDDEN, NGX_HTTP_GATEWAY_TIME_OUT, NGX_HTTP_INTERNAL_SERVER_ERROR,
    NGX_HTTP_SATISFY_ANY,
};
use ngx::ngx_log_error;
use ngx_wsgi_host::wire::hook;

use crate::conf::{LocationConf, MainConf};
use crate::ffi::{
    bytes, code, guard, override_variable, text, Conf, ConfigError, Request, SharedSlice, Variable,
};
use nonces::{Nonces, Slot};
use state::{Asked, State};

pub use settings::AccessConf;

const SERVER_ERROR: ngx_int_t = NGX_HTTP_INTERNAL_SERVER_ERROR as ngx_int_t;

/// What hooks have in common.
#[derive(Default)]
pub struct MainAccess {
    /// Whether any directive about access is there.
    pub used: bool,
    pub uses_digest: bool,
    /// How many scripts answer for passwords.
    pub user_scripts: usize,
    /// What nobody needs to be told again while the configuration is read.
    warned: Vec<String>,
    remote_user: Option<Variable>,
    shared: Option<Shared>,
}

/// What all workers know of Digest authentication.
struct Shared {
    nonces: Nonces<SharedSlice<Slot>>,
    /// For each of those scripts 1 when it has answered with a SHA-256 hash last.
    sha256: SharedSlice<AtomicU8>,
}

type Getter = unsafe extern "C" fn(
    *mut ngx_http_request_t,
    *mut ngx_http_variable_value_t,
    usize,
) -> ngx_int_t;

/// What evaluates nginx's own `$remote_user`.
static REMOTE_USER: OnceLock<Getter> = OnceLock::new();

impl MainAccess {
    /// Takes `$remote_user` over, when all directives have been read.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] without memory, logged.
    pub fn prepare(&mut self, cf: Conf) -> Result<(), ConfigError> {
        if self.used {
            if let Some(before) = override_variable(cf, "remote_user", remote_user) {
                // The same function of nginx's in every configuration.
                let _ = REMOTE_USER.set(before);
            }
            self.remote_user = Some(Variable::find(cf, "remote_user")?);
        }
        Ok(())
    }

    /// Makes what workers share, before there are any.
    ///
    /// # Errors
    ///
    /// When the kernel gives no memory or no random numbers.
    pub fn start(&mut self) -> std::io::Result<()> {
        if !self.uses_digest || self.shared.is_some() {
            return Ok(());
        }
        let mut key = [0; 32];
        std::io::Read::read_exact(&mut std::fs::File::open("/dev/urandom")?, &mut key)?;
        let slots = SharedSlice::new(nonces::SLOTS + 1)?;
        let sha256 = SharedSlice::new(self.user_scripts)?;
        self.shared = Some(Shared { nonces: Nonces::new(key, slots), sha256 });
        Ok(())
    }
}

/// Registers the phase handlers where they run after those of nginx's own modules: whom `deny` keeps
/// out, or `auth_basic`, costs no Python.
pub fn add_phase_handlers(core: &mut ngx_http_core_main_conf_t) -> ngx_int_t {
    let handlers = &mut core.phases[ngx_http_phases_NGX_HTTP_ACCESS_PHASE as usize].handlers;
    // nginx runs them from the last to the first.
    for handler in [access_handler, authentication_handler] {
        if !push_first(handlers, Some(handler)) {
            return code::ERROR;
        }
    }
    code::OK
}

fn push_first(handlers: &mut ngx_array_t, handler: ngx_http_handler_pt) -> bool {
    // SAFETY: a phase's array of handlers, initialised before postconfiguration; all elements up to
    // the pushed one are written before they are read again.
    unsafe {
        if ngx_array_push(handlers).is_null() {
            return false;
        }
        let first = handlers.elts.cast::<ngx_http_handler_pt>();
        std::ptr::copy(first, first.add(1), handlers.nelts - 1);
        first.write(handler);
    }
    true
}

/// The user that a hook has let in, and how the user was authenticated: for the environ of the
/// application that the location leads to.
pub fn authenticated_user<'a>(r: Request) -> Option<(&'a [u8], &'static str)> {
    let state = State::of(r).filter(|_| r.is_main() && conf_of(r).authenticates())?;
    let identity = state.identity.as_ref()?;
    Some((&identity.user, identity.auth_type))
}

fn conf_of<'a>(r: Request) -> &'a AccessConf {
    // SAFETY: this module's location configuration of the request, which lives as long as its cycle.
    unsafe { &(*r.location_conf::<LocationConf>(crate::module())).access }
}

fn main_of<'a>(r: Request) -> &'a MainConf {
    // SAFETY: this module's main configuration of the request, which lives as long as its cycle.
    unsafe { &*r.main_conf::<MainConf>(crate::module()) }
}

unsafe extern "C" fn access_handler(r: *mut ngx_http_request_t) -> ngx_int_t {
    guard("an access script", SERVER_ERROR, || {
        // SAFETY: nginx calls its phase handlers with the request.
        check_access(unsafe { Request::new(r) })
    })
}

unsafe extern "C" fn authentication_handler(r: *mut ngx_http_request_t) -> ngx_int_t {
    guard("authentication", SERVER_ERROR, || {
        // SAFETY: as in access_handler.
        authenticate::handle(unsafe { Request::new(r) })
    })
}

/// Asks `allow_access()`.
fn check_access(r: Request) -> ngx_int_t {
    let conf = conf_of(r);
    let Some(Some(script)) = &conf.access_script else { return code::DECLINED };
    let Some(state) = State::enter(r) else { return SERVER_ERROR };
    // SAFETY: a request has its connection, which has the peer's address.
    let host = unsafe { bytes(&(*r.connection()).addr_text) };
    let verdict = match state.ask(r, script, hook::ALLOW_ACCESS, &[(hook::HOST, host)]) {
        Asked::Pending => return code::AGAIN,
        Asked::Answered(answer) => answer.verdict,
        Asked::Failed => return NGX_HTTP_FORBIDDEN as ngx_int_t,
        Asked::TimedOut => return NGX_HTTP_GATEWAY_TIME_OUT as ngx_int_t,
    };
    match verdict {
        hook::YES => code::OK,
        hook::UNKNOWN => code::DECLINED,
        _ => {
            let any = r.core_location().satisfy == NGX_HTTP_SATISFY_ANY as usize;
            // A password may let the client in yet.
            if !(any && conf.authenticates()) {
                ngx_log_error!(
                    nginx_sys::NGX_LOG_ERR,
                    r.log(),
                    "Client denied by server configuration: allow_access() of WSGI script \"{}\" \
                     has refused \"{}\".",
                    text(&script.script),
                    text(host)
                );
            }
            NGX_HTTP_FORBIDDEN as ngx_int_t
        }
    }
}

/// `$remote_user`: whom a hook has let in, otherwise what nginx makes of the request.
unsafe extern "C" fn remote_user(
    r: *mut ngx_http_request_t,
    value: *mut ngx_http_variable_value_t,
    data: usize,
) -> ngx_int_t {
    guard("a variable", code::ERROR, || {
        // SAFETY: nginx evaluates variables of a live request.
        let request = unsafe { Request::new(r) };
        let known = State::of(request).and_then(|state| state.identity.as_ref());
        let Some(identity) = known else {
            // SAFETY: nginx's own handler of this variable, with what nginx passes.
            return REMOTE_USER.get().map_or(code::ERROR, |get| unsafe { get(r, value, data) });
        };
        // SAFETY: a value of nginx's; the name lives as long as the request's pool.
        unsafe {
            let value = &mut *value;
            value.set_len(identity.user.len() as u32);
            value.data = identity.user.as_ptr().cast_mut();
            value.set_valid(1);
            value.set_no_cacheable(0);
            value.set_not_found(0);
        }
        code::OK
    })
}
