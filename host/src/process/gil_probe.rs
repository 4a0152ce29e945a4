//! Whether the GIL can still be had.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::python::Runtime;

/// How often the GIL is taken.
const PROBE: Duration = Duration::from_secs(1);

/// After this it is tried by way of all interpreters that run requests.
pub const LATE: Duration = Duration::from_secs(2);

/// Nobody looks for so long unless the whole process has stood still (SIGSTOP, a frozen container).
const STOOD_STILL: Duration = Duration::from_secs(5);

/// Takes the GIL again and again, on threads of its own.
pub struct GilProbe {
    runtime: Arc<Runtime>,
    last: Arc<Mutex<Instant>>,
    /// When somebody last wanted to know.
    looked: Mutex<Instant>,
    /// Whether the other interpreters are being tried.
    trying: Arc<AtomicBool>,
}

impl GilProbe {
    /// Starts to probe; `None` without a thread, which was logged.
    pub fn start(runtime: &Arc<Runtime>) -> Option<Self> {
        let probe = GilProbe {
            runtime: Arc::clone(runtime),
            last: Arc::new(Mutex::new(Instant::now())),
            looked: Mutex::new(Instant::now()),
            trying: Arc::default(),
        };
        let (runtime, last) = (Arc::clone(runtime), Arc::clone(&probe.last));
        let take = move || loop {
            thread::sleep(PROBE);
            let main = runtime.main();
            runtime.visit(main, |_| *lock(&last) = Instant::now());
        };
        match thread::Builder::new().name("wsgi-deadlock".into()).spawn(take) {
            Ok(_) => Some(probe),
            Err(error) => {
                tracing::error!("cannot watch for deadlocks: {error}");
                None
            }
        }
    }

    /// When the GIL could last be taken. Tries the other interpreters where the main one has had to
    /// wait: a busy thread of another interpreter may not notice that somebody waits.
    /// A process that has stood still gets all its time again.
    pub fn last(&self, now: Instant) -> Instant {
        let looked = std::mem::replace(&mut *lock(&self.looked), now);
        if now >= looked + STOOD_STILL {
            *lock(&self.last) = now;
        }
        let last = *lock(&self.last);
        if now >= last + LATE && !self.trying.swap(true, Ordering::Relaxed) {
            self.try_others();
        }
        last
    }

    fn try_others(&self) {
        for interpreter in self.runtime.busy_interpreters() {
            let (runtime, last) = (Arc::clone(&self.runtime), Arc::clone(&self.last));
            let trying = Arc::clone(&self.trying);
            let take = move || {
                runtime.visit(&interpreter, |_| *lock(&last) = Instant::now());
                trying.store(false, Ordering::Relaxed);
            };
            // Without the thread the main interpreter's has to do.
            let _ = thread::Builder::new().name("wsgi-deadlock".into()).spawn(take);
        }
    }
}

fn lock(last: &Mutex<Instant>) -> MutexGuard<'_, Instant> {
    last.lock().unwrap_or_else(PoisonError::into_inner)
}
