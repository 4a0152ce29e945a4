//! The request that a thread serves, for everything that outlives it or is not handed it.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use crate::exchange::Exchange;
use crate::python::object::Object;

/// One request, as long as something refers to it.
pub struct Scope {
    exchange: Arc<dyn Exchange>,
    over: AtomicBool,
}

impl Scope {
    pub fn new(exchange: &Arc<dyn Exchange>) -> Arc<Self> {
        Arc::new(Scope { exchange: Arc::clone(exchange), over: AtomicBool::new(false) })
    }

    pub fn exchange(&self) -> &Arc<dyn Exchange> {
        &self.exchange
    }

    /// Whether the request has been completed.
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }
}

struct Entry {
    scope: Arc<Scope>,
    data: Object,
}

thread_local! {
    static CURRENT: RefCell<Option<Entry>> = const { RefCell::new(None) };
}

/// Makes a request the thread's current one until it is dropped; the thread stays attached.
pub struct Current;

impl Current {
    /// `data` is what `mod_wsgi.request_data()` returns.
    pub fn enter(scope: &Arc<Scope>, data: Object) -> Self {
        let entry = Entry { scope: Arc::clone(scope), data };
        CURRENT.with(|current| current.replace(Some(entry)));
        Current
    }

    /// The request that this thread serves.
    pub fn scope() -> Option<Arc<Scope>> {
        CURRENT.with(|current| current.borrow().as_ref().map(|entry| Arc::clone(&entry.scope)))
    }

    /// Its data.
    pub fn data() -> Option<Object> {
        CURRENT.with(|current| current.borrow().as_ref().map(|entry| entry.data.clone()))
    }
}

impl Drop for Current {
    fn drop(&mut self) {
        let entry = CURRENT.with(RefCell::take);
        if let Some(entry) = &entry {
            entry.scope.over.store(true, Ordering::Release);
        }
        // The data is dropped here, outside the borrow: its destructors may ask for the scope.
    }
}
