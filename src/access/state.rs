//! What is known of a request while and after hooks are asked about it. nginx forgets a module's
//! context of a request with each internal redirect, so this is found through the request's pool.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::c_void;
use std::ptr::{fn_addr_eq, NonNull};

use nginx_sys::{ngx_http_core_run_phases, ngx_http_handler_pt, ngx_table_elt_t};
use ngx_wsgi_host::wire::RequestEncoder;

use crate::conf::LocationConf;
use crate::exchange::{content_handler, encode_for_hook, Target};
use crate::ffi::{bytes, guard, Request};
use crate::hook::{Answer, Conclusion, Hook, Question};
use crate::route::{collapse, mapped, Lasting, Route};

thread_local! {
    /// By the address of the pool.
    static STATES: RefCell<BTreeMap<usize, NonNull<State>>> = const { RefCell::new(BTreeMap::new()) };
}

/// Who the client is.
pub struct Identity {
    pub user: Vec<u8>,
    pub auth_type: &'static str,
}

/// One request's state. Lives in its pool.
pub struct State {
    pool: usize,
    pending: Option<Box<Question>>,
    /// Whose password was right in this pass through the phase; the groups are asked about.
    pub proven: Option<Identity>,
    /// Whom a hook has let in last.
    pub identity: Option<Identity>,
    /// The request's nonce count has been noted: after an internal redirect it is no replay.
    pub counted: bool,
    /// The challenge in the response header.
    pub challenge: Option<NonNull<ngx_table_elt_t>>,
}

/// What asking a hook has led to.
pub enum Asked {
    /// The phases go on when there is an answer.
    Pending,
    Answered(Answer),
    /// Why was logged.
    Failed,
    TimedOut,
}

impl State {
    /// The state of a request that hooks were asked about.
    pub fn of<'a>(r: Request) -> Option<&'a mut State> {
        let state = STATES.with(|states| states.borrow().get(&(r.pool() as usize)).copied())?;
        // SAFETY: it is in the table as long as it lives, in the request's pool; used on the event
        // thread only, by one callback at a time.
        Some(unsafe { &mut *state.as_ptr() })
    }

    /// The state of a request, made when there is none. `None` without memory.
    pub fn enter<'a>(r: Request) -> Option<&'a mut State> {
        if let Some(state) = State::of(r) {
            return Some(state);
        }
        let pool = r.pool() as usize;
        let state = r.keep(State {
            pool,
            pending: None,
            proven: None,
            identity: None,
            counted: false,
            challenge: None,
        })?;
        STATES.with(|states| states.borrow_mut().insert(pool, state));
        r.on_end(Some(on_end), state.as_ptr()).then(|| State::of(r))?
    }

    /// Asks a hook, or gives the answer to what was asked before in this place.
    pub fn ask(
        &mut self,
        r: Request,
        script: &Hook,
        function: &str,
        arguments: &[(&str, &[u8])],
    ) -> Asked {
        if self.pending.is_none() {
            let tell = |encoder: &mut RequestEncoder| tell(r, arguments, encoder);
            self.pending = script.ask(r, function, run_phases, tell);
            if self.pending.is_none() {
                return Asked::Failed;
            }
        }
        let outcome = self.pending.as_ref().and_then(|question| question.outcome().cloned());
        let Some(outcome) = outcome else { return Asked::Pending };
        self.pending = None;
        match outcome {
            Conclusion::Answered(answer) => Asked::Answered(answer),
            Conclusion::Failed => Asked::Failed,
            Conclusion::TimedOut => Asked::TimedOut,
        }
    }
}

impl Drop for State {
    fn drop(&mut self) {
        STATES.with(|states| states.borrow_mut().remove(&self.pool));
    }
}

/// The request ends, perhaps in the middle of a question.
unsafe extern "C" fn on_end(data: *mut c_void) {
    guard("the end of a request", (), || {
        // SAFETY: the state lives in the request's pool, which goes after its cleanups.
        let state = unsafe { &mut *data.cast::<State>() };
        if let Some(mut question) = state.pending.take() {
            question.read_last_lines();
        }
    });
}

/// nginx runs the phase again that has asked.
fn run_phases(r: Request) {
    // SAFETY: a live request that waits in a phase.
    unsafe { ngx_http_core_run_phases(r.as_ptr()) };
}

/// Writes the environ and the arguments of a hook.
fn tell(r: Request, arguments: &[(&str, &[u8])], encoder: &mut RequestEncoder) {
    // SAFETY: this module's location configuration of the request, which lives as long as its cycle.
    let conf = unsafe { &*r.location_conf::<LocationConf>(crate::module()) };
    let target = Target {
        route: route(r, conf),
        process_group: Lasting::default(),
        application_group: Lasting::default(),
        callable: Lasting::default(),
        pass_authorization: false,
        reloading: true,
        jail: None,
    };
    if let Some(neighbours) = &super::main_of(r).neighbours {
        encode_for_hook(r, neighbours, &target, encoder);
    }
    for (name, value) in arguments {
        encoder.entry(name.as_bytes(), value);
    }
}

/// Where the request leads: to an application, or to whatever else nginx has there.
fn route(r: Request, conf: &'static LocationConf) -> Route {
    let ours: ngx_http_handler_pt = Some(content_handler);
    let is_ours = match (r.get().content_handler, ours) {
        (Some(one), Some(other)) => fn_addr_eq(one, other),
        _ => false,
    };
    let application = mapped(r, conf).filter(|_| is_ours);
    let route = application.and_then(|application| application.route(r).ok());
    route.unwrap_or_else(|| Route {
        script: r.variable("request_filename").unwrap_or_default().into(),
        script_name: Lasting::default(),
        // SAFETY: lives as long as the request.
        path_info: collapse(unsafe { bytes(&r.get().uri) }),
        handled: None,
        modified: None,
    })
}
