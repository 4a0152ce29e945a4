//! What a process's watchdogs do in Python: raise an exception in another thread, show the stacks of
//! all threads, see whether the GIL can still be had.

use std::ffi::{c_char, c_int, c_void};
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use std::sync::Arc;

use pyo3::ffi;

use super::interpreter::Interpreter;
use super::object::PyResult;
use super::thread_state::ThreadState;
use super::Runtime;

/// Where a request thread is in Python.
#[derive(Default)]
pub struct Place {
    /// The interpreter that runs its request; null between requests. Changed under its GIL only.
    interpreter: AtomicPtr<Interpreter>,
    /// An exception may be on its way to the thread.
    interrupted: AtomicBool,
}

impl Place {
    /// The calling thread runs a request there. It is attached.
    pub fn enter(&self, interpreter: &Arc<Interpreter>) {
        self.interpreter.store(Arc::as_ptr(interpreter).cast_mut(), Ordering::Relaxed);
    }

    /// The request is over, and what was meant for it must not hit the next one. The calling thread
    /// is attached to the interpreter it entered.
    pub fn leave(&self) {
        self.interpreter.store(std::ptr::null_mut(), Ordering::Relaxed);
        if self.interrupted.swap(false, Ordering::Relaxed) {
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
        // SAFETY: as above; the state is deleted below.
        let Some(state) = (unsafe { ThreadState::new(interpreter.state()) }) else { return false };
        let attached = state.attach();
        // The request ends under the same GIL, so it does not end before the exception is there.
        let raised = place.interpreter.load(Ordering::Relaxed) == pointer && still() && {
            place.interrupted.store(true, Ordering::Relaxed);
            let class = &interpreter.objects(attached.py()).api.request_timeout;
            // SAFETY: attached; a live exception class.
            unsafe { ffi::PyThreadState_SetAsyncExc(ident as _, class.as_ptr()) > 0 }
        };
        drop(attached);
        state.delete();
        raised
    }

    /// The Python stacks of all threads, or of one, as lines. `names` says what request threads,
    /// known by identifier, are called. Waits for the GIL.
    pub fn stacks(&self, names: &[(u64, String)], only: Option<u64>) -> String {
        // SAFETY: interpreters live as long as the runtime; the state is deleted below.
        let Some(state) = (unsafe { ThreadState::new(self.main.state()) }) else {
            return "no memory for a Python thread state".to_owned();
        };
        let attached = state.attach();
        let py = attached.py();
        let text = || -> PyResult<String> {
            let known = py.dict()?;
            for (ident, name) in names {
                known.set_item(&py.int(*ident as i64)?, &py.str(name)?)?;
            }
            let only = only.map_or_else(|| Ok(py.none()), |ident| py.int(ident as i64))?;
            let text = self.main.objects(py).api.stacks.call(&[&known, &only])?;
            let bytes = text.encode_utf8(c"backslashreplace")?;
            Ok(String::from_utf8_lossy(bytes.as_bytes().unwrap_or_default()).into_owned())
        };
        let text = text().unwrap_or_else(|raised| {
            py.clear(raised);
            "the stacks cannot be formatted".to_owned()
        });
        drop(attached);
        state.delete();
        text
    }

    /// What tells, again and again, that the GIL can be taken.
    pub fn gil_probe(&self) -> impl FnMut() {
        // SAFETY: interpreters live as long as the runtime, which is the process's; the probe's
        // thread ends with the process, so the state need not be deleted.
        let state = unsafe { ThreadState::new(self.main.state()) };
        move || drop(state.as_ref().map(ThreadState::attach))
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
