//! What a process's watchdogs do in Python: raise an exception in another thread, show the stacks of
//! all threads, see whether the GIL can still be had.

use std::collections::HashSet;
use std::ffi::{c_char, c_int, c_void};
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use std::sync::Arc;

use pyo3::ffi;

use super::interpreter::Interpreter;
use super::object::{Py, PyResult};
use super::thread_state::ThreadState;
use super::Runtime;
use crate::lock::lock;

/// Where a request thread is in Python.
#[derive(Default)]
pub struct Place {
    /// The interpreter that runs its request; null between requests. Changed under its GIL only.
    interpreter: AtomicPtr<Interpreter>,
    /// An exception may be on its way to the thread.
    interrupted: AtomicBool,
}

impl Place {
    /// The calling thread, which is attached, runs a request there until the result is dropped; it
    /// has to be attached to the same interpreter then.
    pub fn enter(&self, interpreter: &Arc<Interpreter>) -> Running<'_> {
        self.interpreter.store(Arc::as_ptr(interpreter).cast_mut(), Ordering::Relaxed);
        Running(self)
    }
}

/// A request that a thread runs in an interpreter.
#[must_use]
pub struct Running<'a>(&'a Place);

impl Drop for Running<'_> {
    /// The request is over, and what was meant for it must not hit the next one.
    fn drop(&mut self) {
        self.0.interpreter.store(std::ptr::null_mut(), Ordering::Relaxed);
        if self.0.interrupted.swap(false, Ordering::Relaxed) {
            // SAFETY: attached; takes back what has not been raised yet in this very thread.
            unsafe {
                ffi::PyThreadState_SetAsyncExc(libc::pthread_self() as _, std::ptr::null_mut())
            };
        }
    }
}

impl Runtime {
    /// Raises `mod_wsgi.RequestTimeout` in a request thread, if that is `still` wanted once this
    /// thread has the GIL; whether it was. It takes effect when the thread next executes bytecode.
    pub fn interrupt(&self, place: &Place, ident: u64, still: impl Fn() -> bool) -> bool {
        let pointer = place.interpreter.load(Ordering::Relaxed);
        // SAFETY: interpreters live as long as the runtime.
        let Some(interpreter) = (unsafe { pointer.as_ref() }) else { return false };
        let raise = |py: Py| {
            // The request ends under the same GIL, so it does not end before the exception is there.
            if place.interpreter.load(Ordering::Relaxed) != pointer || !still() {
                return false;
            }
            place.interrupted.store(true, Ordering::Relaxed);
            let class = &interpreter.objects(py).api.request_timeout;
            // SAFETY: attached; a live exception class.
            unsafe { ffi::PyThreadState_SetAsyncExc(ident as _, class.as_ptr()) > 0 }
        };
        self.visit(interpreter, raise).unwrap_or(false)
    }

    /// The interpreters that run requests, and the main one. Before 3.12, a thread that keeps the GIL
    /// lets it go only for others of the same interpreter: who wants to have it has to ask there.
    pub fn busy_interpreters(&self) -> Vec<Arc<Interpreter>> {
        let places = lock(&self.places);
        let busy: HashSet<_> =
            places.values().map(|place| place.interpreter.load(Ordering::Relaxed)).collect();
        let is_busy = |interpreter: &Arc<Interpreter>| {
            interpreter.name.is_empty() || busy.contains(&Arc::as_ptr(interpreter).cast_mut())
        };
        self.interpreters().into_iter().filter(is_busy).collect()
    }

    /// Takes the GIL by way of an interpreter and does something with it; `None` without memory.
    pub fn visit<T>(&self, interpreter: &Interpreter, work: impl FnOnce(Py) -> T) -> Option<T> {
        // SAFETY: interpreters live as long as the runtime; the state is deleted below.
        let state = unsafe { ThreadState::new(interpreter.state()) }?;
        let attached = state.attach();
        let done = work(attached.py());
        drop(attached);
        state.delete();
        Some(done)
    }

    /// Whether Python's own way to the stacks of other threads would read what they are writing: it
    /// takes them all to share one GIL (CPython's `_PyThread_CurrentFrames`).
    pub fn stacks_are_unsafe(&self) -> bool {
        !self.own_gils().is_empty() || super::FREE_THREADING && self.config().free_threading()
    }

    /// The Python stacks of all threads, or of one, as lines, asked for in an interpreter. `names`
    /// says what request threads, known by identifier, are called.
    pub fn stacks(
        &self,
        py: Py,
        interpreter: &Interpreter,
        names: &[(u64, String)],
        only: Option<u64>,
    ) -> String {
        let text = || -> PyResult<String> {
            let known = py.dict()?;
            for (ident, name) in names {
                known.set_item(&py.int(*ident as i64)?, &py.str(name)?)?;
            }
            let only = only.map_or_else(|| Ok(py.none()), |ident| py.int(ident as i64))?;
            let text = interpreter.objects(py).api.stacks.call(&[&known, &only])?;
            let bytes = text.encode_utf8(c"backslashreplace")?;
            Ok(String::from_utf8_lossy(bytes.as_bytes().unwrap_or_default()).into_owned())
        };
        text().unwrap_or_else(|raised| {
            py.clear(raised);
            "the stacks cannot be formatted".to_owned()
        })
    }

    /// Writes the Python stacks of all threads to standard error without taking the GIL, which
    /// somebody keeps for ever; whether this Python can do that. Only for a process that ends: the
    /// stacks may change meanwhile.
    pub fn dump_without_gil(&self) -> bool {
        type Dump = unsafe extern "C" fn(c_int, *mut c_void, *mut c_void) -> *const c_char;
        // SAFETY: looks a symbol up in what is loaded.
        let dump = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"_Py_DumpTracebackThreads".as_ptr()) };
        if dump.is_null() {
            return false;
        }
        // SAFETY: faulthandler's function of this signature, in all versions that have the symbol.
        let dump = unsafe { std::mem::transmute::<*mut c_void, Dump>(dump) };
        for interpreter in self.interpreters() {
            // SAFETY: made to be called in any state of the process; a live interpreter, and no
            // current thread state.
            unsafe { dump(2, interpreter.state().cast(), std::ptr::null_mut()) };
        }
        true
    }
}
