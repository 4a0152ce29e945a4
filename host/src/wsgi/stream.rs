//! `wsgi.errors`, `sys.stdout` and `sys.stderr`: text that becomes lines of a log.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::c_void;
use std::sync::{Arc, Mutex};

use pyo3::ffi;

use super::scope::Scope;
use crate::lock::lock;
use crate::log::Level;
use crate::python::class::{self, arguments, callback, method, slot, Class};
use crate::python::object::{Kind, Object, Py, PyResult};
use crate::python::record;

/// A request's own stream, or the process's: that one writes to the log of whichever request the
/// calling thread serves.
pub struct Stream {
    scope: Option<Arc<Scope>>,
    /// The beginning of a line of a request's stream.
    partial: Mutex<Vec<u8>>,
}

/// The beginnings of lines that a thread has written to the process's streams.
#[derive(Default)]
struct Begun(HashMap<usize, Vec<u8>>);

impl Drop for Begun {
    /// What a thread leaves behind; it serves no request and is not attached any more.
    fn drop(&mut self) {
        for line in self.0.values().filter(|line| !line.is_empty()) {
            record::process(Level::Error, before_nul(line));
        }
    }
}

thread_local! {
    static BEGUN: RefCell<Begun> = RefCell::default();
}

impl Class for Stream {
    const NAME: &'static std::ffi::CStr = c"mod_wsgi.Stream";
    const FLAGS: std::ffi::c_ulong = ffi::Py_TPFLAGS_BASETYPE;
    const METHODS: &'static [ffi::PyMethodDef] =
        &[method!(Stream, c"write", write), method!(Stream, c"flush", flush)];

    fn slots() -> Vec<ffi::PyType_Slot> {
        vec![slot(ffi::Py_tp_new, new as *mut c_void)]
    }
}

/// `wsgi.errors` of a request.
pub fn errors(class: &Object, scope: &Arc<Scope>) -> PyResult<Object> {
    class::instance(class, Stream { scope: Some(Arc::clone(scope)), partial: Mutex::default() })
}

/// Writes the rest of a request's stream, and what this thread has begun on the process's.
pub fn finish(py: Py, errors: &Object) {
    // SAFETY: made by `errors` above.
    let stream = unsafe { class::value::<Stream>(errors) };
    stream.flush(py);
    let begun = BEGUN.with(|begun| std::mem::take(&mut begun.borrow_mut().0));
    for line in begun.into_values().filter(|line| !line.is_empty()) {
        record::line(py, Level::Error, before_nul(&line));
    }
}

/// A NUL ends the line, as it does in mod_wsgi.
fn before_nul(line: &[u8]) -> &[u8] {
    line.split(|byte| *byte == 0).next().unwrap_or_default()
}

unsafe extern "C" fn new(
    class: *mut ffi::PyTypeObject,
    _: *mut ffi::PyObject,
    _: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    callback(|_| {
        let class = class.cast::<ffi::PyObject>();
        // SAFETY: Python passes the type, which is Stream's or derived from it.
        let class = unsafe { Object::from_ref(&class) };
        class::instance(class, Stream { scope: None, partial: Mutex::default() })
    })
}

fn write(py: Py, stream: &Stream, tuple: &Object) -> PyResult<Object> {
    let arguments = arguments(py, "write", tuple, 1, 1)?;
    if stream.is_over() {
        let message = "write() called on wsgi.errors after request completed";
        return Err(py.raise(Kind::Runtime, message));
    }
    let text = &arguments[0];
    if !text.is_str() {
        let message = format!("write() argument must be str, not {}", text.described());
        return Err(py.raise(Kind::Type, &message));
    }
    let len = py.int(text.str_len())?;
    let encoded = text.encode_utf8(c"replace")?;
    stream.write(py, encoded.as_bytes().unwrap_or_default());
    Ok(len)
}

fn flush(py: Py, stream: &Stream, tuple: &Object) -> PyResult<Object> {
    arguments(py, "flush", tuple, 0, 0)?;
    // After the request nothing is left to be written.
    if !stream.is_over() {
        stream.flush(py);
    }
    Ok(py.none())
}

impl Stream {
    fn is_over(&self) -> bool {
        self.scope.as_ref().is_some_and(|scope| scope.is_over())
    }

    /// Logs the lines that `text` completes and keeps the beginning of the next.
    fn write(&self, py: Py, text: &[u8]) {
        let mut lines = self.with_partial(|partial| {
            partial.extend_from_slice(text);
            let complete = partial.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            partial.drain(..complete).collect::<Vec<u8>>()
        });
        if lines.pop().is_some() {
            lines.split(|byte| *byte == b'\n').for_each(|line| self.log(py, line));
        }
    }

    fn flush(&self, py: Py) {
        let line = self.with_partial(std::mem::take);
        if !line.is_empty() {
            self.log(py, &line);
        }
    }

    /// No Python runs while the buffer is borrowed.
    fn with_partial<T>(&self, change: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        if self.scope.is_some() {
            return change(&mut lock(&self.partial));
        }
        let key = std::ptr::from_ref(self) as usize;
        BEGUN.with(|begun| change(begun.borrow_mut().0.entry(key).or_default()))
    }

    fn log(&self, py: Py, line: &[u8]) {
        let line = before_nul(line);
        match &self.scope {
            Some(scope) => py.detach(|| scope.exchange().log(Level::Error, line)),
            None => record::line(py, Level::Error, line),
        }
    }
}
