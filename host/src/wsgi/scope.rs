//! The request that a thread serves, for everything that outlives it or is not handed it.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::exchange::Exchange;
use crate::python::object::Object;

/// One request, as long as something refers to it.
pub struct Scope {
    exchange: Arc<dyn Exchange>,
    over: AtomicBool,
    /// What the application reads, and what it sends.
    pub input: Meter,
    pub output: Meter,
}

/// Counts calls and bytes in one direction, and their time when somebody wants to know.
#[derive(Default)]
pub struct Meter {
    calls: AtomicU64,
    bytes: AtomicU64,
    timed: AtomicBool,
    nanos: AtomicU64,
}

impl Meter {
    /// Takes the time from here on.
    pub fn take_time(&self) {
        self.timed.store(true, Ordering::Relaxed);
    }

    /// Runs a call that waits for nginx.
    pub fn call<T>(&self, call: impl FnOnce() -> T) -> T {
        self.calls.fetch_add(1, Ordering::Relaxed);
        if !self.timed.load(Ordering::Relaxed) {
            return call();
        }
        let since = Instant::now();
        let result = call();
        let nanos = u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
        result
    }

    pub fn add_bytes(&self, count: usize) {
        self.bytes.fetch_add(count as u64, Ordering::Relaxed);
    }

    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub fn time(&self) -> Duration {
        Duration::from_nanos(self.nanos.load(Ordering::Relaxed))
    }
}

impl Scope {
    pub fn new(exchange: &Arc<dyn Exchange>) -> Arc<Self> {
        Arc::new(Scope {
            exchange: Arc::clone(exchange),
            over: AtomicBool::new(false),
            input: Meter::default(),
            output: Meter::default(),
        })
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
