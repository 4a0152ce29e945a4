//! Whether the GILs of a process can still be had.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::lock::lock;
use crate::python::interpreter::Interpreter;
use crate::python::Runtime;

/// How often the GIL is taken.
const PROBE: Duration = Duration::from_secs(1);

/// After this it is tried by way of all interpreters that run requests.
pub const LATE: Duration = Duration::from_secs(2);

/// Nobody looks for so long unless the whole process has stood still (SIGSTOP, a frozen container).
const STOOD_STILL: Duration = Duration::from_secs(5);

/// Takes each GIL of the process again and again, on threads of its own.
pub struct GilProbe {
    runtime: Arc<Runtime>,
    /// One for each GIL, the process's first. Interpreters that come with one of their own get theirs
    /// when somebody looks.
    gils: Mutex<Vec<Gil>>,
    /// When somebody last wanted to know.
    looked: Mutex<Instant>,
}

/// A GIL, known by an interpreter that has it.
struct Gil {
    interpreter: Arc<Interpreter>,
    last: Arc<Mutex<Instant>>,
    /// Whether the other interpreters that share it are being tried.
    trying: Arc<AtomicBool>,
}

impl GilProbe {
    /// Starts to probe; `None` without a thread, which was logged.
    pub fn start(runtime: &Arc<Runtime>) -> Option<Self> {
        let main = Gil::start(runtime, runtime.main())?;
        Some(GilProbe {
            runtime: Arc::clone(runtime),
            gils: Mutex::new(vec![main]),
            looked: Mutex::new(Instant::now()),
        })
    }

    /// When every GIL could last be taken. Tries other interpreters where one has had to wait: a busy
    /// thread of another interpreter may not notice that somebody waits.
    /// A process that has stood still gets all its time again.
    pub fn last(&self, now: Instant) -> Instant {
        let mut gils = lock(&self.gils);
        for interpreter in self.runtime.own_gils() {
            if !gils.iter().any(|gil| Arc::ptr_eq(&gil.interpreter, &interpreter)) {
                gils.extend(Gil::start(&self.runtime, &interpreter));
            }
        }
        let looked = std::mem::replace(&mut *lock(&self.looked), now);
        let stood_still = now >= looked + STOOD_STILL;
        gils.iter().map(|gil| gil.last(&self.runtime, now, stood_still)).min().unwrap_or(now)
    }
}

impl Gil {
    fn start(runtime: &Arc<Runtime>, interpreter: &Arc<Interpreter>) -> Option<Self> {
        let gil = Gil {
            interpreter: Arc::clone(interpreter),
            last: Arc::new(Mutex::new(Instant::now())),
            trying: Arc::default(),
        };
        let (runtime, interpreter) = (Arc::clone(runtime), Arc::clone(interpreter));
        let last = Arc::clone(&gil.last);
        let take = move || loop {
            thread::sleep(PROBE);
            runtime.visit(&interpreter, |_| *lock(&last) = Instant::now());
        };
        match thread::Builder::new().name("wsgi-deadlock".into()).spawn(take) {
            Ok(_) => Some(gil),
            Err(error) => {
                tracing::error!("cannot watch for deadlocks: {error}");
                None
            }
        }
    }

    fn last(&self, runtime: &Arc<Runtime>, now: Instant, stood_still: bool) -> Instant {
        let mut last = lock(&self.last);
        if stood_still {
            *last = now;
        }
        if now >= *last + LATE && !self.trying.swap(true, Ordering::Relaxed) {
            self.try_others(runtime);
        }
        *last
    }

    fn try_others(&self, runtime: &Arc<Runtime>) {
        let others = runtime.busy_interpreters().into_iter().filter(|other| {
            if self.interpreter.owns_gil() {
                Arc::ptr_eq(other, &self.interpreter)
            } else {
                !other.owns_gil()
            }
        });
        for interpreter in others {
            let (runtime, last) = (Arc::clone(runtime), Arc::clone(&self.last));
            let trying = Arc::clone(&self.trying);
            let take = move || {
                runtime.visit(&interpreter, |_| *lock(&last) = Instant::now());
                trying.store(false, Ordering::Relaxed);
            };
            // Without the thread the first interpreter's has to do.
            let _ = thread::Builder::new().name("wsgi-deadlock".into()).spawn(take);
        }
    }
}
