//! Signals on their way to the subscribers in Python.

use std::sync::mpsc::{channel, Sender};
use std::sync::Arc;
use std::thread;

use nix::sys::signal::Signal;

use crate::python::Runtime;

/// Publishes signals, in order, on a thread that may wait for the GIL.
pub struct Dispatcher {
    runtime: Arc<Runtime>,
    /// The thread, from the first signal on.
    thread: Option<Sender<Signal>>,
}

impl Dispatcher {
    pub fn new(runtime: Arc<Runtime>) -> Self {
        Dispatcher { runtime, thread: None }
    }

    pub fn publish(&mut self, signal: Signal) {
        let runtime = &self.runtime;
        let signals = self.thread.get_or_insert_with(|| {
            let (sender, signals) = channel::<Signal>();
            let runtime = Arc::clone(runtime);
            let dispatch = move || {
                let mut python = runtime.thread(0);
                for signal in signals {
                    python.publish_signal(signal.as_str(), signal as i32);
                }
            };
            if let Err(error) = thread::Builder::new().name("wsgi-signals".into()).spawn(dispatch) {
                tracing::error!("cannot tell subscribers of signals: {error}");
            }
            sender
        });
        // Fails when there is no thread, which was logged.
        let _ = signals.send(signal);
    }
}
