//! The Python runtime of a process: initialisation, application groups, thread states.
//!
//! The C API is used directly, through `pyo3::ffi`: what pyo3 itself keeps in statics belongs to
//! the main interpreter, and applications run in sub-interpreters.

pub(crate) mod class;
mod create;
pub(crate) mod exception;
pub(crate) mod gil;
mod home;
mod initialize;
mod initialized;
pub(crate) mod interpreter;
pub mod lent;
pub(crate) mod object;
pub(crate) mod record;
mod thread_state;
mod watch;

use std::borrow::Cow;
use std::collections::hash_map::{Entry, HashMap};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use pyo3::ffi;
use rustc_hash::FxHashMap;
use thiserror::Error;

use crate::config::RuntimeConfig;
use crate::exchange::Exchange;
use crate::lock::lock;
use crate::log::Level;
use crate::metrics::METRICS;
use crate::succession::{ScriptIn, Succession};
use crate::wire::{Outcome, Request, HOOK};
use interpreter::Interpreter;
use lent::Announce;
use thread_state::ThreadState;

pub use crate::script::Imported;
pub use create::{FREE_THREADING, OWN_GILS};
pub use home::{Home, HomeError, VERSION};
pub use initialized::Initialized;
pub use lent::Lent;
pub use watch::Place;

/// Python could not be started in this process.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("Python could not be initialised: {0}")]
pub struct StartError(pub String);

/// The Python runtime of this process; there is at most one.
pub struct Runtime {
    config: RuntimeConfig,
    main: Arc<Interpreter>,
    groups: Mutex<FxHashMap<String, Slot>>,
    created: Condvar,
    /// Whether a script is being loaded: one at a time in the process (mod_wsgi semantics e.2).
    loading: Mutex<bool>,
    loaded: Condvar,
    /// What has been loaded so far, in order.
    scripts: Mutex<Vec<ScriptIn>>,
    /// How a process with changed scripts is replaced; unset, they are loaded again in place.
    succession: OnceLock<Arc<Succession>>,
    /// Where each request thread is, by its number.
    places: Mutex<HashMap<u32, Arc<Place>>>,
    /// When the first request came.
    first_request: OnceLock<Instant>,
    /// Who is told of what has been lent and is back.
    announce: OnceLock<Announce>,
}

/// The right to load a script.
pub(crate) struct Loading<'a>(&'a Runtime);

impl Drop for Loading<'_> {
    fn drop(&mut self) {
        *lock(&self.0.loading) = false;
        self.0.loaded.notify_one();
    }
}

/// An application group that is there, or that a thread is making.
enum Slot {
    Making,
    Made(Arc<Interpreter>),
}

/// One request thread's way into Python: its thread state in each interpreter.
pub struct RequestThread {
    runtime: Arc<Runtime>,
    id: u32,
    place: Arc<Place>,
    states: FxHashMap<*const Interpreter, ThreadState>,
    /// The last request's wait for the GIL.
    waited: Duration,
}

impl Runtime {
    /// Initialises Python on the calling thread, which becomes Python's main thread. The GIL is
    /// not held on return.
    ///
    /// # Errors
    ///
    /// [`StartError`] when the configuration names no usable Python.
    pub fn start(config: RuntimeConfig) -> Result<Arc<Self>, StartError> {
        let python = Initialized::new(&config, &config.context())?;
        Self::start_with(python, config)
    }

    /// The same with a Python that is there, on its main thread.
    ///
    /// # Errors
    ///
    /// [`StartError`] when the main interpreter cannot be prepared.
    pub fn start_with(python: Initialized, config: RuntimeConfig) -> Result<Arc<Self>, StartError> {
        METRICS.set_up(config.threads);
        crate::api::set_up(&config);
        tracing::info!("Attaching to Python main interpreter in {}.", config.context());
        python.enter();
        // SAFETY: attached to the main interpreter, which is new, through its only thread state.
        let main = unsafe { Interpreter::set_up(String::new(), &config) };
        Ok(Arc::new(Runtime {
            places: Mutex::default(),
            first_request: OnceLock::new(),
            announce: OnceLock::new(),
            config,
            main: Arc::new(main.map_err(StartError)?),
            groups: Mutex::default(),
            created: Condvar::new(),
            loading: Mutex::new(false),
            loaded: Condvar::new(),
            scripts: Mutex::default(),
            succession: OnceLock::new(),
        }))
    }

    /// Tells the subscribers in every interpreter, once, that the process is about to end and why:
    /// on the thread that called [`Self::start`]. Requests may still run.
    pub fn publish_stopping(&self, reason: &str) {
        self.interpreters().iter().for_each(|interpreter| interpreter.publish_stopping(reason));
    }

    /// Ends all interpreters, the main one last: on the thread that called [`Self::start`], when no
    /// request runs. Threads that the application left behind are waited for, unless they are
    /// daemons, or interpreters are not to be torn down. Interpreters that have not been told the
    /// `reason` are.
    pub fn stop(&self, reason: &str) {
        self.publish_stopping(reason);
        self.wind_up();
    }

    /// [`Self::stop`] without telling anybody.
    pub fn wind_up(&self) {
        let context = self.config.context();
        tracing::info!("Destroying sub-interpreters in {context}.");
        self.interpreters().iter().for_each(|interpreter| interpreter.wind_up(&self.config.python));
        tracing::info!("Python runtime has shut down in {context}.");
    }

    /// Has somebody told when memory that was lent is back: before the first request. What no request
    /// drops by the way waits for [`Self::collect`].
    pub fn announce_returned(&self, announce: Announce) {
        self.main.returned.announce_to(&announce);
        // Set once.
        let _ = self.announce.set(announce);
    }

    /// Drops what has been lent and is back, on a thread that is not attached.
    pub fn collect(&self) {
        let has_some = |interpreter: &&Arc<Interpreter>| !interpreter.returned.is_empty();
        for interpreter in self.interpreters().iter().filter(has_some) {
            // Without memory for that, the next request does it.
            let _ = self.visit(interpreter, |py| interpreter.returned.collect(py));
        }
    }

    /// All interpreters that are made, the main one last.
    fn interpreters(&self) -> Vec<Arc<Interpreter>> {
        let groups = lock(&self.groups);
        let made = groups.values().filter_map(|slot| match slot {
            Slot::Made(interpreter) => Some(interpreter),
            Slot::Making => None,
        });
        made.chain([&self.main]).cloned().collect()
    }

    /// The interpreters with GILs of their own.
    pub(crate) fn own_gils(&self) -> Vec<Arc<Interpreter>> {
        self.interpreters().into_iter().filter(|interpreter| interpreter.owns_gil()).collect()
    }

    /// The calling thread's way into Python. `id` counts request threads from 1.
    pub fn thread(self: &Arc<Self>, id: u32) -> RequestThread {
        let place = Arc::new(Place::default());
        lock(&self.places).insert(id, Arc::clone(&place));
        RequestThread {
            runtime: Arc::clone(self),
            id,
            place,
            states: FxHashMap::default(),
            waited: Duration::ZERO,
        }
    }

    /// The scripts to load before any request.
    pub fn imports(&self) -> &[ScriptIn] {
        &self.config.imports
    }

    /// Loads a script before any request asks for it: on the thread that called [`Self::start`].
    /// What went wrong is logged.
    pub fn import(&self, script: &ScriptIn) -> Imported {
        let import = AssertUnwindSafe(|| {
            let interpreter = self.interpreter(&script.application_group)?;
            let import = |py| crate::script::import(py, self, &interpreter, &script.script);
            interpreter.with_first(import).ok_or_else(|| "the interpreter is in use".to_owned())
        });
        let failed = |cause: &str| {
            tracing::error!("script '{}' cannot be loaded: {cause}", script.shown());
            Imported::Failed
        };
        match catch_unwind(import) {
            Ok(Ok(imported)) => imported,
            Ok(Err(cause)) => failed(&cause),
            Err(_) => failed("internal error in the WSGI host"),
        }
    }

    /// Has a process with changed scripts replaced, instead of loading them again in place.
    pub fn replace_through(&self, succession: Arc<Succession>) {
        // Set once, before the first request.
        let _ = self.succession.set(succession);
    }

    pub(crate) fn succession(&self) -> Option<&Succession> {
        self.succession.get().map(Arc::as_ref)
    }

    /// The main interpreter.
    pub(crate) fn main(&self) -> &Arc<Interpreter> {
        &self.main
    }

    /// Where a request thread, known by its number, is in Python.
    pub fn place(&self, id: u32) -> Option<Arc<Place>> {
        lock(&self.places).get(&id).cloned()
    }

    /// When the first request came, and whether any script has been loaded since.
    pub fn start_of_scripts(&self) -> (Option<Instant>, bool) {
        (self.first_request.get().copied(), !lock(&self.scripts).is_empty())
    }

    /// Notes that a script has been loaded.
    pub(crate) fn note_script(&self, script: ScriptIn) {
        let mut scripts = lock(&self.scripts);
        if !scripts.contains(&script) {
            scripts.push(script);
        }
    }

    /// What has been loaded so far.
    pub fn scripts(&self) -> Vec<ScriptIn> {
        lock(&self.scripts).clone()
    }

    pub(crate) fn config(&self) -> &RuntimeConfig {
        &self.config
    }

    /// Waits for the right to load a script. The caller does not hold the GIL.
    pub(crate) fn loading(&self) -> Loading<'_> {
        let free = self.loaded.wait_while(lock(&self.loading), |loading| *loading);
        *free.unwrap_or_else(PoisonError::into_inner) = true;
        Loading(self)
    }

    /// The interpreter of an application group; the first request of a group makes it. The caller
    /// does not hold the GIL.
    fn interpreter(&self, group: &str) -> Result<Arc<Interpreter>, String> {
        if group.is_empty() {
            return Ok(Arc::clone(&self.main));
        }
        let mut groups = lock(&self.groups);
        loop {
            match groups.get(group) {
                Some(Slot::Made(interpreter)) => return Ok(Arc::clone(interpreter)),
                Some(Slot::Making) => {
                    groups = self.created.wait(groups).unwrap_or_else(PoisonError::into_inner);
                }
                None => break,
            }
        }
        groups.insert(group.to_owned(), Slot::Making);
        drop(groups);
        let made = self.main.make_sibling(group, &self.config);
        let mut groups = lock(&self.groups);
        match &made {
            Ok(interpreter) => {
                self.announce.get().into_iter().for_each(|it| interpreter.returned.announce_to(it));
                groups.insert(group.to_owned(), Slot::Made(Arc::clone(interpreter)));
            }
            Err(_) => {
                groups.remove(group);
            }
        }
        self.created.notify_all();
        made
    }
}

impl RequestThread {
    /// Runs the application for one request. Never panics; says how the exchange is to end.
    pub fn serve(&mut self, request: &Request<'_>, exchange: &Arc<dyn Exchange>) -> Outcome {
        let mut waited = Duration::ZERO;
        let served = catch_unwind(AssertUnwindSafe(|| self.run(request, exchange, &mut waited)));
        self.waited = waited;
        if self.runtime.config.run_once && !matches!(served, Ok(Ok(Outcome::Rejected))) {
            self.runtime.succession().into_iter().for_each(Succession::spend);
        }
        match served {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(cause)) => {
                exchange.log(Level::Error, cause.as_bytes());
                Outcome::Failed
            }
            Err(_) => {
                exchange.log(Level::Alert, b"internal error in the WSGI host");
                Outcome::Failed
            }
        }
    }

    /// How long the last request waited for the GIL before it ran.
    pub fn waited(&self) -> Duration {
        self.waited
    }

    /// Tells the subscribers in every interpreter of a signal.
    pub fn publish_signal(&mut self, name: &str, number: i32) {
        let runtime = Arc::clone(&self.runtime);
        for interpreter in runtime.interpreters() {
            let Ok(state) = self.state(&interpreter) else { continue };
            let attached = state.attach();
            interpreter.publish_signal(attached.py(), name, number);
        }
    }

    fn run(
        &mut self,
        request: &Request<'_>,
        exchange: &Arc<dyn Exchange>,
        waited: &mut Duration,
    ) -> Result<Outcome, String> {
        let group = group_name(request.application_group);
        let (runtime, id, place) = (Arc::clone(&self.runtime), self.id, Arc::clone(&self.place));
        runtime.first_request.get_or_init(Instant::now);
        let (interpreter, state) = self.enter(&runtime, &group)?;
        if interpreter.is_observed() || METRICS.is_recording() {
            gil::start();
        }
        let since = Instant::now();
        let attached = state.attach();
        *waited = since.elapsed();
        // Dropped before the attachment.
        let _running = place.enter(&interpreter);
        let py = attached.py();
        if request.flags & HOOK != 0 {
            return Ok(crate::wsgi::ask(py, &runtime, &interpreter, request, exchange));
        }
        Ok(crate::wsgi::serve(py, &runtime, &interpreter, id, request, exchange))
    }

    /// An application group's interpreter, and this thread's state in it.
    fn enter(
        &mut self,
        runtime: &Runtime,
        group: &str,
    ) -> Result<(Arc<Interpreter>, &ThreadState), String> {
        // PyGILState_Ensure() finds the first state that a thread gets, and extensions that use it
        // are to find the main interpreter.
        self.state(&runtime.main)?;
        let interpreter = runtime.interpreter(group)?;
        let state = self.state(&interpreter)?;
        Ok((interpreter, state))
    }

    /// This thread's state in an interpreter; the first request there makes it.
    fn state(&mut self, interpreter: &Arc<Interpreter>) -> Result<&ThreadState, &'static str> {
        match self.states.entry(Arc::as_ptr(interpreter)) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(place) => {
                // SAFETY: interpreters live as long as the runtime, and this thread's states are
                // deleted before it ends.
                let state = unsafe { ThreadState::new(interpreter.state()) };
                Ok(place.insert(state.ok_or("no memory for a Python thread state")?))
            }
        }
    }
}

impl Drop for RequestThread {
    fn drop(&mut self) {
        for (_, state) in self.states.drain() {
            // SAFETY: asks only whether Python is there.
            if unsafe { ffi::Py_IsInitialized() } != 0 {
                state.delete();
            }
        }
    }
}

/// The name of an application group: any bytes are one, and different ones are different groups.
fn group_name(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(name) => name.into(),
        Err(_) => bytes.iter().map(|byte| char::from(*byte)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::group_name;

    #[test]
    fn different_bytes_are_different_groups() {
        assert_eq!(group_name("caf\u{e9}".as_bytes()), "caf\u{e9}");
        assert_ne!(group_name(b"caf\xe9"), group_name(b"caf\xe8"));
    }
}
