//! Making sub-interpreters, and what this Python can do there.

use pyo3::ffi;

/// Whether interpreters can have GILs of their own (Python 3.12 and later).
pub const OWN_GILS: bool = cfg!(Py_3_12);

/// Whether this Python can do without a GIL (a free-threaded build of 3.13 or later).
pub const FREE_THREADING: bool = cfg!(Py_GIL_DISABLED);

/// Makes an interpreter, and attaches the thread to it instead; where `own_gil` asks for what this
/// Python cannot do, one that shares the GIL. `Err` says what went wrong; the thread is as it was.
///
/// # Safety
///
/// The thread is attached to the main interpreter.
pub unsafe fn sub_interpreter(own_gil: bool) -> Result<(), String> {
    if own_gil && OWN_GILS {
        // SAFETY: the caller's promise.
        return unsafe { with_own_gil() };
    }
    // SAFETY: the caller's promise.
    if unsafe { ffi::Py_NewInterpreter() }.is_null() {
        return Err("Python gives no reason".to_owned());
    }
    Ok(())
}

#[cfg(Py_3_12)]
unsafe fn with_own_gil() -> Result<(), String> {
    // Threads that are daemons are no danger: the memory is left to the process's end.
    let config = ffi::PyInterpreterConfig {
        allow_exec: 1,
        allow_daemon_threads: 1,
        ..ffi::_PyInterpreterConfig_INIT
    };
    let mut state = std::ptr::null_mut();
    // SAFETY: attached; the configuration is read during the call only.
    let status = unsafe { ffi::Py_NewInterpreterFromConfig(&mut state, &config) };
    // Python's word, as for starting Python itself.
    super::initialize::check(status).map_err(|error| error.0)?;
    if state.is_null() {
        return Err("Python gives no reason".to_owned());
    }
    Ok(())
}

#[cfg(not(Py_3_12))]
unsafe fn with_own_gil() -> Result<(), String> {
    Err("Python 3.12 or later is needed".to_owned())
}
