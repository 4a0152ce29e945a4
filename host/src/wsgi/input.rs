//! `wsgi.input` (mod_wsgi semantics d.1).

use std::ffi::c_void;
use std::sync::{Arc, Mutex, PoisonError};

use pyo3::ffi;

use super::scope::Scope;
use crate::exchange::BodyError;
use crate::python::class::{
    self, arguments, callback, method, next_callback, size_argument, slot, Class,
};
use crate::python::object::{Kind, Object, Py, PyResult, Raised};

/// Bytes asked of the connection at a time when an application reads lines or everything.
const BLOCK: usize = 64 << 10;

/// The request body as Python reads it.
pub struct Input {
    scope: Arc<Scope>,
    /// Taken only while the thread is detached: another one may hold it and wait for the client.
    buffer: Mutex<Buffer>,
}

#[derive(Default)]
struct Buffer {
    ahead: Vec<u8>,
    used: usize,
    failed: bool,
}

/// Why reading came to nothing.
enum Failure {
    Now(BodyError),
    Before,
}

impl Class for Input {
    const NAME: &'static std::ffi::CStr = c"mod_wsgi.Input";
    const METHODS: &'static [ffi::PyMethodDef] = &[
        method!(Input, c"read", read),
        method!(Input, c"readline", readline),
        method!(Input, c"readlines", readlines),
        method!(Input, c"close", close),
    ];

    fn slots() -> Vec<ffi::PyType_Slot> {
        vec![
            slot(ffi::Py_tp_iter, iter as *mut c_void),
            slot(ffi::Py_tp_iternext, next as *mut c_void),
        ]
    }
}

/// `wsgi.input` of a request.
pub fn input(class: &Object, scope: &Arc<Scope>) -> PyResult<Object> {
    class::instance(class, Input { scope: Arc::clone(scope), buffer: Mutex::default() })
}

fn read(py: Py, input: &Input, tuple: &Object) -> PyResult<Object> {
    let arguments = arguments(py, "read", tuple, 0, 1)?;
    input.check(py, "read")?;
    let size = size_argument(py, &arguments, -1)?;
    let want = usize::try_from(size).unwrap_or(usize::MAX);
    let bytes = input.with_buffer(py, |buffer, scope| buffer.read(scope, want))?;
    input.scope.input.add_bytes(bytes.len());
    py.bytes(&bytes)
}

fn readline(py: Py, input: &Input, tuple: &Object) -> PyResult<Object> {
    let arguments = arguments(py, "readline", tuple, 0, 1)?;
    input.check(py, "readline")?;
    let size = size_argument(py, &arguments, -1)?;
    py.bytes(&input.line(py, size)?)
}

fn readlines(py: Py, input: &Input, tuple: &Object) -> PyResult<Object> {
    let arguments = arguments(py, "readlines", tuple, 0, 1)?;
    input.check(py, "readlines")?;
    let hint = size_argument(py, &arguments, 0)?;
    let lines = py.list()?;
    let mut total = 0;
    loop {
        let line = input.line(py, -1)?;
        if line.is_empty() {
            return Ok(lines);
        }
        total += line.len();
        lines.append(&py.bytes(&line)?)?;
        if hint > 0 && total >= hint as usize {
            return Ok(lines);
        }
    }
}

fn close(py: Py, input: &Input, tuple: &Object) -> PyResult<Object> {
    arguments(py, "close", tuple, 0, 0)?;
    input.check(py, "close")?;
    Ok(py.none())
}

unsafe extern "C" fn iter(instance: *mut ffi::PyObject) -> *mut ffi::PyObject {
    callback(|py| {
        // SAFETY: Python passes a live instance of the type.
        let instance = unsafe { Object::from_ref(&instance) };
        // SAFETY: as above.
        unsafe { class::value::<Input>(instance) }.check_iteration(py)?;
        Ok(instance.clone())
    })
}

unsafe extern "C" fn next(instance: *mut ffi::PyObject) -> *mut ffi::PyObject {
    next_callback(|py| {
        // SAFETY: Python passes a live instance of the type.
        let input = unsafe { class::value::<Input>(Object::from_ref(&instance)) };
        input.check_iteration(py)?;
        let line = input.line(py, -1)?;
        if line.is_empty() {
            return Ok(None);
        }
        py.bytes(&line).map(Some)
    })
}

impl Input {
    fn check(&self, py: Py, name: &str) -> PyResult<()> {
        self.check_active(py, || format!("{name}() called on wsgi.input after request completed"))
    }

    fn check_iteration(&self, py: Py) -> PyResult<()> {
        self.check_active(py, || {
            "iteration of wsgi.input attempted after request completed".to_owned()
        })
    }

    fn check_active(&self, py: Py, message: impl FnOnce() -> String) -> PyResult<()> {
        if self.scope.is_over() {
            return Err(py.raise(Kind::Runtime, &message()));
        }
        Ok(())
    }

    fn line(&self, py: Py, size: isize) -> PyResult<Vec<u8>> {
        let most = usize::try_from(size).unwrap_or(usize::MAX);
        let line = self.with_buffer(py, |buffer, scope| buffer.line(scope, most))?;
        self.scope.input.add_bytes(line.len());
        Ok(line)
    }

    fn with_buffer<T: Send>(
        &self,
        py: Py,
        work: impl FnOnce(&mut Buffer, &Scope) -> Result<T, Failure> + Send,
    ) -> PyResult<T> {
        let (buffer, scope) = (&self.buffer, &self.scope);
        let done = py.detach(|| {
            let mut buffer = buffer.lock().unwrap_or_else(PoisonError::into_inner);
            work(&mut buffer, scope)
        });
        done.map_err(|failure| raise(py, failure))
    }
}

fn raise(py: Py, failure: Failure) -> Raised {
    let message = match failure {
        Failure::Now(error) => format!("mod_wsgi request data read error: {error}"),
        Failure::Before => {
            "mod_wsgi request data read error: input is already in error state".to_owned()
        }
    };
    py.raise(Kind::Os, &message)
}

impl Buffer {
    /// Reads until there are `want` bytes, or the body has ended.
    fn read(&mut self, scope: &Scope, want: usize) -> Result<Vec<u8>, Failure> {
        self.check()?;
        let mut out = Vec::new();
        self.take(&mut out, want);
        while out.len() < want {
            let len = out.len();
            out.resize(len + (want - len).min(BLOCK), 0);
            let read = scope.input.call(|| scope.exchange().read(&mut out[len..]));
            let got = read.map_err(|error| self.fail(error))?;
            out.truncate(len + got);
            if got == 0 {
                break;
            }
        }
        Ok(out)
    }

    /// Reads up to and including a line end, at most `most` bytes.
    fn line(&mut self, scope: &Scope, most: usize) -> Result<Vec<u8>, Failure> {
        if most == 0 {
            return Ok(Vec::new());
        }
        self.check()?;
        let mut out = Vec::new();
        loop {
            let ahead = &self.ahead[self.used..];
            let end = ahead.iter().position(|byte| *byte == b'\n').map(|at| at + 1);
            let want = end.unwrap_or(ahead.len()).min(most - out.len());
            self.take(&mut out, want);
            if end.is_some() || out.len() == most || !self.fill(scope)? {
                return Ok(out);
            }
        }
    }

    /// Moves bytes that were read ahead.
    fn take(&mut self, out: &mut Vec<u8>, want: usize) {
        let end = self.ahead.len().min(self.used.saturating_add(want));
        out.extend_from_slice(&self.ahead[self.used..end]);
        self.used = end;
    }

    /// Reads ahead; `false` at the end of the body.
    fn fill(&mut self, scope: &Scope) -> Result<bool, Failure> {
        if self.used < self.ahead.len() {
            return Ok(true);
        }
        self.ahead.resize(BLOCK, 0);
        self.used = 0;
        let read = scope.input.call(|| scope.exchange().read(&mut self.ahead));
        self.ahead.truncate(*read.as_ref().unwrap_or(&0));
        read.map(|got| got > 0).map_err(|error| self.fail(error))
    }

    fn check(&self) -> Result<(), Failure> {
        if self.failed {
            return Err(Failure::Before);
        }
        Ok(())
    }

    fn fail(&mut self, error: BodyError) -> Failure {
        self.failed = true;
        Failure::Now(error)
    }
}
