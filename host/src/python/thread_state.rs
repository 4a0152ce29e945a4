//! Thread states: how a thread gets into an interpreter and out of it.

use std::marker::PhantomData;
use std::ptr::NonNull;

use pyo3::ffi;

use super::gil;
use super::object::Py;

/// One thread's state in one interpreter, not attached.
pub struct ThreadState(NonNull<ffi::PyThreadState>);

/// While it lives, the thread is attached through its state.
pub struct Attachment<'a> {
    _state: PhantomData<&'a ThreadState>,
}

impl ThreadState {
    /// Makes the calling thread's state in an interpreter.
    ///
    /// # Safety
    ///
    /// The interpreter is alive, and the state is deleted or forgotten before it ends.
    pub unsafe fn new(interpreter: *mut ffi::PyInterpreterState) -> Option<Self> {
        // SAFETY: allowed without the GIL; the caller promises the interpreter.
        NonNull::new(unsafe { ffi::PyThreadState_New(interpreter) }).map(ThreadState)
    }

    /// Detaches the thread and keeps the state it was attached with.
    ///
    /// # Safety
    ///
    /// The thread is attached, and nothing else keeps its current state.
    pub unsafe fn detach_current() -> Self {
        // SAFETY: the caller promises that there is a current state, so it is not null.
        ThreadState(unsafe { NonNull::new_unchecked(ffi::PyEval_SaveThread()) })
    }

    /// Attaches the thread.
    ///
    /// The caller is not attached already and is the state's own thread, or the only one that uses
    /// it.
    pub fn attach(&self) -> Attachment<'_> {
        // SAFETY: the state is alive, because interpreters end only when no thread uses them.
        gil::waiting(|| unsafe { ffi::PyEval_RestoreThread(self.0.as_ptr()) });
        Attachment { _state: PhantomData }
    }

    /// Ends the state. Destructors of the thread's Python data run.
    pub fn delete(self) {
        // SAFETY: attached with this very state, which is cleared and deleted once; deleting it
        // detaches the thread.
        unsafe {
            ffi::PyEval_RestoreThread(self.0.as_ptr());
            ffi::PyThreadState_Clear(self.0.as_ptr());
            ffi::PyThreadState_DeleteCurrent();
        }
    }
}

impl Attachment<'_> {
    /// The proof that the thread is attached.
    pub fn py(&self) -> Py {
        // SAFETY: the attachment is alive.
        unsafe { Py::assume() }
    }
}

impl Drop for Attachment<'_> {
    fn drop(&mut self) {
        // SAFETY: attached by `attach`; whoever detached in between has attached again.
        unsafe { ffi::PyEval_SaveThread() };
    }
}
