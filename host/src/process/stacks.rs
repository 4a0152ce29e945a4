//! The Python stacks of a process that is in trouble, for the log.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::clock::now_us;
use crate::python::interpreter::Interpreter;
use crate::python::object::Py;
use crate::python::Runtime;
use crate::scoreboard::Reports;
use crate::server::{Activity, Host};

/// How long the GIL is waited for.
const PATIENCE: Duration = Duration::from_secs(2);

/// What shows the stacks.
#[derive(Clone)]
pub struct Stacks {
    runtime: Option<Arc<Runtime>>,
    activity: Arc<Activity>,
    reports: Arc<Reports>,
    process: usize,
    threads: u16,
}

impl Stacks {
    pub fn new(runtime: Option<Arc<Runtime>>, activity: Arc<Activity>, host: &Host) -> Self {
        let (reports, process) = (Arc::clone(host.reports()), host.process());
        Stacks { runtime, activity, reports, process, threads: host.threads() }
    }

    /// Logs the stacks of all threads, or of one. Gives up when the GIL cannot be had, and shows what
    /// can be shown without; so where no GIL keeps all the threads from running.
    pub fn log(&self, only: Option<u64>) {
        let Some(runtime) = &self.runtime else { return };
        if runtime.stacks_are_unsafe() {
            // Those of a process that goes on have to stay unknown.
            return if only.is_none() {
                self.dump_without_gil()
            };
        }
        let (done, wait) = channel();
        let claimed = Arc::new(AtomicBool::new(false));
        for interpreter in runtime.busy_interpreters() {
            let (this, claimed, done) = (self.clone(), Arc::clone(&claimed), done.clone());
            let runtime = Arc::clone(runtime);
            let write = move || {
                let write = |py| {
                    if !claimed.swap(true, Ordering::Relaxed) {
                        this.write(py, &runtime, &interpreter, only);
                        // Fails when nobody waits any more.
                        let _ = done.send(());
                    }
                };
                runtime.visit(&interpreter, write);
            };
            // Without threads there is only what can be shown without the GIL.
            let _ = thread::Builder::new().name("wsgi-stacks".into()).spawn(write);
        }
        drop(done);
        if wait.recv_timeout(PATIENCE).is_err() && !claimed.swap(true, Ordering::Relaxed) {
            self.dump_without_gil();
        }
    }

    fn write(&self, py: Py, runtime: &Runtime, interpreter: &Interpreter, only: Option<u64>) {
        for line in runtime.stacks(py, interpreter, &self.names(), only).lines() {
            tracing::error!("{line}");
        }
    }

    /// Shows the stacks although somebody keeps the GIL.
    pub fn dump_without_gil(&self) {
        let Some(runtime) = &self.runtime else { return };
        if !runtime.dump_without_gil() {
            tracing::warn!("this Python cannot show stacks while a thread keeps the GIL");
        }
    }

    fn names(&self) -> Vec<(u64, String)> {
        let threads = 0..usize::from(self.threads);
        threads.map(|thread| (self.activity.ident(thread), self.describe(thread))).collect()
    }

    /// A request thread and what it runs: `request thread 3, running "GET /" for 12.3 s`.
    pub fn describe(&self, thread: usize) -> String {
        let number = thread + 1;
        let Some(running) = self.reports.running_on(self.process, thread) else {
            return format!("request thread {number}");
        };
        let seconds = running.seconds(now_us());
        format!("request thread {number}, running \"{}\" for {seconds:.1} s", running.line)
    }
}
