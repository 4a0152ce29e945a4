//! What a request thread serves with.

use std::sync::Arc;
use std::time::Duration;

use crate::exchange::Exchange;
use crate::log::Level;
use crate::python::{RequestThread, Runtime, StartError};
use crate::wire::{Outcome, Request};

/// Serves requests on one thread; made on that thread and never leaves it.
pub trait Serve {
    /// Runs one request and says how the exchange is to end.
    fn serve(&mut self, request: &Request<'_>, exchange: &Arc<dyn Exchange>) -> Outcome;

    /// How long the last request waited for what only one thread can have at a time.
    fn waited(&self) -> Duration {
        Duration::ZERO
    }
}

impl Serve for RequestThread {
    fn serve(&mut self, request: &Request<'_>, exchange: &Arc<dyn Exchange>) -> Outcome {
        RequestThread::serve(self, request, exchange)
    }

    fn waited(&self) -> Duration {
        RequestThread::waited(self)
    }
}

impl<F> Serve for F
where
    F: FnMut(&Request<'_>, &Arc<dyn Exchange>) -> Outcome,
{
    fn serve(&mut self, request: &Request<'_>, exchange: &Arc<dyn Exchange>) -> Outcome {
        self(request, exchange)
    }
}

/// Makes what each request thread serves with: Python, or the reason why there is none.
pub fn with_python(
    runtime: Result<Arc<Runtime>, StartError>,
) -> impl Fn(u32) -> Box<dyn Serve> + Send + Sync + 'static {
    move |id| match &runtime {
        Ok(runtime) => Box::new(runtime.thread(id)),
        Err(error) => Box::new(Unavailable(error.to_string())),
    }
}

/// Fails every request with the reason why there is no Python.
struct Unavailable(String);

impl Serve for Unavailable {
    fn serve(&mut self, _: &Request<'_>, exchange: &Arc<dyn Exchange>) -> Outcome {
        exchange.log(Level::Error, self.0.as_bytes());
        Outcome::Failed
    }
}
