//! Python between its initialisation and the first line of an application: what processes that are
//! forked from one that has it share.

use nix::errno::Errno;
use pyo3::ffi;

use super::create::{FREE_THREADING, OWN_GILS};
use super::initialize;
use super::object::PyResult;
use super::thread_state::ThreadState;
use super::{exception, StartError};
use crate::config::RuntimeConfig;

/// What preparing the main interpreter imports, and hardly a framework does without: loaded before the
/// fork, it is shared.
const PREPARATION: [&std::ffi::CStr; 10] = [
    c"functools",
    c"io",
    c"logging",
    c"os",
    c"signal",
    c"site",
    c"threading",
    c"traceback",
    c"types",
    c"warnings",
];

/// Python, initialised in this process; nothing of an application has run. The thread that made it
/// is Python's main thread, and not attached.
pub struct Initialized(ThreadState);

impl Initialized {
    /// Initialises Python on the calling thread. `context` says where that is, for the log. What is
    /// asked for and this Python cannot do is a warning.
    ///
    /// # Errors
    ///
    /// [`StartError`] when the configuration names no usable Python.
    pub fn new(config: &RuntimeConfig, context: &str) -> Result<Self, StartError> {
        let version = initialize::version();
        tracing::info!("Initializing Python runtime in {context}, version {version}.");
        warn_of_missing(config, context, &version);
        initialize::initialize(&config.python, config.free_threading())?;
        // SAFETY: initialising has attached this thread, and nobody else keeps the state.
        Ok(Initialized(unsafe { ThreadState::detach_current() }))
    }

    /// Attaches the thread, for whoever takes over from here.
    pub(super) fn enter(self) {
        std::mem::forget(self.0.attach());
    }

    /// Loads what every process would load before its application, and keeps the garbage collector
    /// from writing to it: memory that nobody writes to stays shared after a fork.
    pub fn make_shareable(&self) {
        let attached = self.0.attach();
        let py = attached.py();
        let prepare = || -> PyResult<()> {
            for module in PREPARATION {
                py.import(module)?;
            }
            let gc = py.import(c"gc")?;
            gc.call_method(c"collect", &[])?;
            gc.call_method(c"freeze", &[]).map(drop)
        };
        if let Err(raised) = prepare() {
            exception::log(py, raised, b"Python's own modules could not be loaded.");
        }
    }

    /// Calls `fork`, which forks this process, and says in which process it has returned, as Python
    /// wants to be told of it. The process has no other thread.
    ///
    /// # Errors
    ///
    /// What `fork` fails with.
    pub fn around_fork<T>(
        &self,
        fork: impl FnOnce() -> Result<T, Errno>,
        is_child: impl FnOnce(&T) -> bool,
    ) -> Result<T, Errno> {
        let _attached = self.0.attach();
        // SAFETY: attached, and each call has its counterpart below in the process it is for.
        unsafe {
            ffi::PyOS_BeforeFork();
            let forked = fork();
            if forked.as_ref().is_ok_and(is_child) {
                ffi::PyOS_AfterFork_Child();
            } else {
                ffi::PyOS_AfterFork_Parent();
            }
            forked
        }
    }
}

fn warn_of_missing(config: &RuntimeConfig, context: &str, version: &str) {
    if config.uses_own_gils() && !OWN_GILS {
        tracing::warn!(
            "\"wsgi_per_interpreter_gil\" has no effect in {context}: it needs Python 3.12, this is \
             {version}"
        );
    }
    if config.free_threading() && !FREE_THREADING {
        tracing::warn!(
            "\"wsgi_free_threading\" has no effect in {context}: this Python, {version}, is not a \
             free-threaded build"
        );
    }
}
