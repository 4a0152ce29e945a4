//! What a request thread serves with.

use std::sync::Arc;

use crate::exchange::Exchange;
use crate::log::Level;
use crate::python::RequestThread;
use crate::wire::{Outcome, Request};

/// Serves requests on one thread; made on that thread and never leaves it.
pub trait Serve {
    /// Runs one request and says how the exchange is to end.
    fn serve(&mut self, request: &Request<'_>, exchange: &Arc<dyn Exchange>) -> Outcome;
}

impl Serve for RequestThread {
    fn serve(&mut self, request: &Request<'_>, exchange: &Arc<dyn Exchange>) -> Outcome {
        RequestThread::serve(self, request, exchange)
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

/// Fails every request with the reason why there is no Python.
pub(super) struct Unavailable(pub String);

impl Serve for Unavailable {
    fn serve(&mut self, _: &Request<'_>, exchange: &Arc<dyn Exchange>) -> Outcome {
        exchange.log(Level::Error, self.0.as_bytes());
        Outcome::Failed
    }
}
