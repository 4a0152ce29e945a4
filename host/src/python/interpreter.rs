//! An application group's interpreter, and what is prepared in it before application code runs.

use std::ffi::CStr;
use std::mem::ManuallyDrop;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use pyo3::ffi;

use super::lent::Returned;
use super::object::{Object, Py, PyResult, Raised};
use super::thread_state::ThreadState;
use super::{create, exception};
use crate::api::Api;
use crate::config::{InterpreterSettings, PythonConfig, RuntimeConfig};
use crate::lock::lock;
use crate::script::ScriptNames;
use crate::wire::key;
use crate::wsgi::{Environs, Types};

/// One interpreter, for the life of the process.
pub struct Interpreter {
    /// Application group; empty for the main interpreter.
    pub name: String,
    /// What it is called in log lines.
    pub label: String,
    settings: InterpreterSettings,
    state: *mut ffi::PyInterpreterState,
    /// The state it was made with: enters it at the end.
    first: Mutex<Option<ThreadState>>,
    /// Whether events of the interpreter have had a subscriber.
    observed: AtomicBool,
    /// Whether the process's end was published to it.
    told: AtomicBool,
    /// Its bytes objects that nginx has had.
    pub returned: Arc<Returned>,
    /// Left to the process's end: dropping them would need the interpreter.
    objects: ManuallyDrop<Objects>,
}

/// Python objects that every request of the interpreter uses.
pub struct Objects {
    pub types: Types,
    pub api: Api,
    /// `sys.modules`.
    pub modules: Object,
    pub environs: Environs,
    pub scripts: ScriptNames,
    /// Strings for the names of [`key::WELL_KNOWN`], by position.
    keys: Vec<Object>,
}

// SAFETY: the Python objects are used only by threads attached to the interpreter, which the
// methods take a `Py` for, and that means under its GIL; the rest is Send and Sync by itself or an
// address that does not change.
unsafe impl Send for Interpreter {}
// SAFETY: as above.
unsafe impl Sync for Interpreter {}

impl Interpreter {
    /// Prepares the interpreter that the thread is attached to, and detaches the thread.
    ///
    /// # Safety
    ///
    /// The thread is attached to an interpreter that is new, through its only thread state.
    pub unsafe fn set_up(name: String, config: &RuntimeConfig) -> Result<Self, String> {
        // SAFETY: attached, by the caller's promise.
        let (py, state) = unsafe { (Py::assume(), ffi::PyInterpreterState_Get()) };
        let settings = config.settings(&name);
        let objects = Objects::new(py, &name, config, &settings).map_err(|raised| {
            exception::log(py, raised, b"A Python interpreter could not be prepared.");
            format!("interpreter \"{name}\" could not be prepared")
        });
        // SAFETY: attached, and nobody else keeps the state.
        let first = unsafe { ThreadState::detach_current() };
        Ok(Interpreter {
            label: config.interpreter(&name),
            settings,
            name,
            state,
            first: Mutex::new(Some(first)),
            observed: AtomicBool::new(false),
            told: AtomicBool::new(false),
            returned: Arc::default(),
            objects: ManuallyDrop::new(objects?),
        })
    }

    /// Makes the interpreter of another application group. Called on the main interpreter, without
    /// the GIL.
    pub fn make_sibling(&self, name: &str, config: &RuntimeConfig) -> Result<Arc<Self>, String> {
        // SAFETY: the main interpreter lives as long as the process.
        let state =
            unsafe { ThreadState::new(self.state) }.ok_or("no memory for a Python thread state")?;
        let attached = state.attach();
        tracing::info!("Creating sub-interpreter '{name}' in {}.", config.context());
        // SAFETY: attached to the main interpreter.
        if let Err(cause) = unsafe { create::sub_interpreter(config.settings(name).own_gil) } {
            drop(attached);
            state.delete();
            return Err(format!("interpreter \"{name}\" could not be created: {cause}"));
        }
        // The thread has left the main interpreter, whose lock it has passed on or let go.
        std::mem::forget(attached);
        // SAFETY: attached to the new interpreter through its only state.
        let interpreter = unsafe { Self::set_up(name.to_owned(), config) };
        state.delete();
        interpreter.map(Arc::new)
    }

    /// Whether the interpreter's GIL is its own.
    pub fn owns_gil(&self) -> bool {
        self.settings.own_gil && create::OWN_GILS
    }

    pub fn state(&self) -> *mut ffi::PyInterpreterState {
        self.state
    }

    /// What is prepared in the interpreter.
    pub fn objects(&self, _: Py) -> &Objects {
        &self.objects
    }

    /// Whether events of the interpreter have had a subscriber.
    pub fn is_observed(&self) -> bool {
        self.observed.load(Ordering::Relaxed)
    }

    /// Notes that there is a subscriber; whether none was known before.
    pub fn observe(&self) -> bool {
        !self.observed.swap(true, Ordering::Relaxed)
    }

    /// Runs `what` attached through the state that the interpreter was made with; `None` when that is
    /// in use. Python's main thread has no other: `PyGILState_Ensure()` in extensions finds it there.
    pub fn with_first<T>(&self, what: impl FnOnce(Py) -> T) -> Option<T> {
        let first = lock(&self.first).take()?;
        let attached = first.attach();
        let result = what(attached.py());
        drop(attached);
        *lock(&self.first) = Some(first);
        Some(result)
    }

    /// Tells the interpreter's subscribers, once, why the process is about to end.
    pub fn publish_stopping(&self, reason: &str) {
        if self.told.swap(true, Ordering::Relaxed) {
            return;
        }
        self.with_first(|py| {
            if let Err(raised) = tell_stopping(py, self, reason) {
                exception::log(py, raised, b"Unable to publish 'process_stopping'.");
            }
        });
    }

    /// Tells the interpreter's subscribers of a signal.
    pub fn publish_signal(&self, py: Py, name: &str, number: i32) {
        let tell = || -> PyResult<()> {
            let payload = py.dict()?;
            payload.set_item(&py.interned("signame")?, &py.str(name)?)?;
            payload.set_item(&py.interned("signum")?, &py.int(number.into())?)?;
            self.objects(py).api.publish(py, "process_signal", &payload)
        };
        if let Err(raised) = tell() {
            exception::log(py, raised, b"Unable to publish 'process_signal'.");
        }
    }

    /// Runs what is registered for the interpreter's end: waits for threads that are no daemons,
    /// then calls what `atexit` has. Its memory goes with the process: threads of the application
    /// may still refer to it.
    pub fn wind_up(&self, config: &PythonConfig) {
        let Some(first) = lock(&self.first).take() else { return };
        let attached = first.attach();
        let py = attached.py();
        let mut steps: Vec<fn(Py, &Self) -> PyResult<()>> = Vec::new();
        if config.destroy_interpreter {
            steps.extend([join_threads as fn(Py, &Self) -> PyResult<()>, run_atexit]);
        }
        if !self.settings.restrict_stdout {
            steps.push(flush_stdout);
        }
        steps.push(flush_others);
        for step in steps {
            if let Err(raised) = step(py, self) {
                exception::log(py, raised, b"Exception occurred while an interpreter ended.");
            }
        }
    }
}

fn tell_stopping(py: Py, interpreter: &Interpreter, reason: &str) -> Result<(), Raised> {
    let payload = py.dict()?;
    payload.set_item(&py.interned("shutdown_reason")?, &py.str(reason)?)?;
    interpreter.objects.api.publish(py, "process_stopping", &payload)
}

/// Python waits for threads that are no daemons when an interpreter ends. The main thread of
/// `threading` may be any request thread, so they are joined one by one.
fn join_threads(py: Py, interpreter: &Interpreter) -> Result<(), Raised> {
    interpreter.objects.api.join_threads(py)
}

fn run_atexit(py: Py, _: &Interpreter) -> Result<(), Raised> {
    py.import(c"atexit")?.call_method(c"_run_exitfuncs", &[]).map(drop)
}

fn flush_stdout(py: Py, _: &Interpreter) -> Result<(), Raised> {
    flush(py, c"stdout")
}

fn flush_others(py: Py, _: &Interpreter) -> Result<(), Raised> {
    [c"stderr", c"__stdout__", c"__stderr__"].into_iter().try_for_each(|name| flush(py, name))
}

fn flush(py: Py, name: &CStr) -> Result<(), Raised> {
    let stream = py.import(c"sys")?.attr(name)?;
    if !stream.is_none() {
        stream.call_method(c"flush", &[])?;
    }
    Ok(())
}

impl Objects {
    fn new(
        py: Py,
        name: &str,
        config: &RuntimeConfig,
        settings: &InterpreterSettings,
    ) -> PyResult<Self> {
        let types = Types::new(py)?;
        let api = Api::install(py, name, config, settings, &types)?;
        // One interval for all interpreters that share the GIL.
        let owns_gil = name.is_empty() || settings.own_gil && create::OWN_GILS;
        if let Some(interval) = settings.switch_interval.filter(|_| owns_gil) {
            let interval = py.float(interval)?;
            py.import(c"sys")?.call_method(c"setswitchinterval", &[&interval])?;
        }
        let modules = py.import(c"sys")?.attr(c"modules")?;
        let keys = key::WELL_KNOWN.iter().map(|key| py.interned(key)).collect::<PyResult<_>>()?;
        Ok(Objects {
            types,
            api,
            modules,
            environs: Environs::new(py)?,
            scripts: ScriptNames::new(py)?,
            keys,
        })
    }

    /// The string of an environ key.
    pub fn key(&self, py: Py, name: &[u8]) -> PyResult<Object> {
        match key::code(name) {
            0 => py.latin1(name),
            code => Ok(self.keys[usize::from(code) - 1].clone()),
        }
    }
}
