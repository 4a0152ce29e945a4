//! The Python runtime of a process: initialisation, application groups, thread states.

use std::sync::Arc;

use thiserror::Error;

use crate::config::RuntimeConfig;
use crate::exchange::Exchange;
use crate::wire::{Outcome, Request};

/// Python could not be started in this process.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("Python could not be initialised: {0}")]
pub struct StartError(pub String);

/// The Python runtime of this process; there is at most one.
pub struct Runtime {
    _config: RuntimeConfig,
}

/// One request thread's way into Python: its thread state in each interpreter.
pub struct RequestThread {
    _runtime: Arc<Runtime>,
}

impl Runtime {
    /// Initialises Python on the calling thread, which becomes Python's main thread. The GIL is
    /// not held on return.
    ///
    /// # Errors
    ///
    /// [`StartError`] when the configuration names no usable Python.
    pub fn start(config: RuntimeConfig) -> Result<Arc<Self>, StartError> {
        Ok(Arc::new(Runtime { _config: config }))
    }

    /// Ends all interpreters: on the thread that called [`Self::start`], when no request runs.
    pub fn stop(&self) {}

    /// The calling thread's way into Python. `id` counts request threads from 1.
    pub fn thread(self: &Arc<Self>, id: u32) -> RequestThread {
        let _ = id;
        RequestThread { _runtime: Arc::clone(self) }
    }
}

impl RequestThread {
    /// Runs the application for one request. Never panics; says how the exchange is to end.
    pub fn serve(&mut self, request: &Request<'_>, exchange: &Arc<dyn Exchange>) -> Outcome {
        let _ = (request, exchange);
        Outcome::Failed
    }
}
