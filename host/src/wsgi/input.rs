//! `wsgi.input` (mod_wsgi semantics d.1).

use std::ffi::c_void;
use std::sync::{Arc, Mutex, MutexGuard};

use pyo3::ffi;

use super::scope::Scope;
use crate::exchange::BodyError;
use crate::lock::{lock, try_lock};
use crate::python::class::{
    self, arguments, callback, method, next_callback, size_argument, slot, Class,
};
use crate::python::object::{BytesBuffer, Kind, Object, Py, PyResult, Raised};

/// Bytes asked of the connection at a time when an application reads lines, or everything of a body
/// whose length is not known.
const BLOCK: usize = 64 << 10;

/// The request body as Python reads it.
pub struct Input {
    scope: Arc<Scope>,
    /// Nobody waits for it with the GIL: who has it may wait for the client, and for the GIL.
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
    Raised(Raised),
    Now(BodyError),
    Before,
}

impl From<Raised> for Failure {
    fn from(raised: Raised) -> Self {
        Failure::Raised(raised)
    }
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
    let size = size_argument(py, arguments, -1)?;
    let want = usize::try_from(size).unwrap_or(usize::MAX);
    let mut bytes = py.bytes_buffer();
    let read = input.buffer(py).read(py, &input.scope, want, &mut bytes);
    read.map_err(|failure| raise(py, failure))?;
    input.scope.input.add_bytes(bytes.len());
    bytes.finish(py)
}

fn readline(py: Py, input: &Input, tuple: &Object) -> PyResult<Object> {
    let arguments = arguments(py, "readline", tuple, 0, 1)?;
    input.check(py, "readline")?;
    let size = size_argument(py, arguments, -1)?;
    input.line(py, size)?.finish(py)
}

fn readlines(py: Py, input: &Input, tuple: &Object) -> PyResult<Object> {
    let arguments = arguments(py, "readlines", tuple, 0, 1)?;
    input.check(py, "readlines")?;
    let hint = size_argument(py, arguments, 0)?;
    let lines = py.list()?;
    let mut total = 0;
    loop {
        let line = input.line(py, -1)?;
        if line.len() == 0 {
            return Ok(lines);
        }
        total += line.len();
        lines.append(&line.finish(py)?)?;
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
        if line.len() == 0 {
            return Ok(None);
        }
        line.finish(py).map(Some)
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

    fn line(&self, py: Py, size: isize) -> PyResult<BytesBuffer> {
        let most = usize::try_from(size).unwrap_or(usize::MAX);
        let mut line = py.bytes_buffer();
        let read = self.buffer(py).line(py, &self.scope, most, &mut line);
        read.map_err(|failure| raise(py, failure))?;
        self.scope.input.add_bytes(line.len());
        Ok(line)
    }

    /// The buffer, which another thread may have for as long as it waits for the client.
    fn buffer(&self, py: Py) -> MutexGuard<'_, Buffer> {
        loop {
            match try_lock(&self.buffer) {
                Some(buffer) => return buffer,
                None => py.detach(|| drop(lock(&self.buffer))),
            }
        }
    }
}

/// Not while the buffer is locked: to make an exception may run finalizers that read, too.
fn raise(py: Py, failure: Failure) -> Raised {
    let cause = match failure {
        Failure::Raised(raised) => return raised,
        Failure::Now(error) => error.to_string(),
        Failure::Before => "input is already in error state".to_owned(),
    };
    py.raise(Kind::Os, &format!("mod_wsgi request data read error: {cause}"))
}

impl Buffer {
    /// Reads until there are `want` bytes, or the body has ended.
    fn read(
        &mut self,
        py: Py,
        scope: &Scope,
        want: usize,
        out: &mut BytesBuffer,
    ) -> Result<(), Failure> {
        self.check()?;
        loop {
            let missing = want - out.len();
            let more = match scope.exchange().remaining() {
                Some(rest) => missing.min(self.ahead().len().saturating_add(rest as usize)),
                None => missing.min(out.len().max(BLOCK)),
            };
            if more == 0 {
                return Ok(());
            }
            out.reserve(py, more)?;
            let got = self.fill(py, scope, out.room())?;
            out.advance(got);
            if got < more {
                return Ok(());
            }
        }
    }

    /// Reads up to and including a line end, at most `most` bytes.
    fn line(
        &mut self,
        py: Py,
        scope: &Scope,
        most: usize,
        out: &mut BytesBuffer,
    ) -> Result<(), Failure> {
        if most == 0 {
            return Ok(());
        }
        self.check()?;
        loop {
            let ahead = self.ahead();
            let end = ahead.iter().position(|byte| *byte == b'\n').map(|at| at + 1);
            let want = end.unwrap_or(ahead.len()).min(most - out.len());
            out.reserve(py, want)?;
            let taken = self.take(out.room());
            out.advance(taken);
            if end.is_some() || out.len() == most || !self.read_ahead(py, scope)? {
                return Ok(());
            }
        }
    }

    /// What has been read and not been handed out.
    fn ahead(&self) -> &[u8] {
        &self.ahead[self.used..]
    }

    /// Moves bytes that were read ahead.
    fn take(&mut self, room: &mut [u8]) -> usize {
        let len = self.ahead().len().min(room.len());
        room[..len].copy_from_slice(&self.ahead()[..len]);
        self.used += len;
        len
    }

    /// Fills all of `room`, less only at the end of the body.
    fn fill(&mut self, py: Py, scope: &Scope, room: &mut [u8]) -> Result<usize, Failure> {
        let mut len = self.take(room);
        while len < room.len() {
            match self.read_some(py, scope, &mut room[len..])? {
                0 => break,
                got => len += got,
            }
        }
        Ok(len)
    }

    /// Reads ahead when there is nothing left; `false` at the end of the body.
    fn read_ahead(&mut self, py: Py, scope: &Scope) -> Result<bool, Failure> {
        if self.ahead().is_empty() {
            let mut block = std::mem::take(&mut self.ahead);
            self.used = 0;
            block.resize(BLOCK, 0);
            let got = self.read_some(py, scope, &mut block)?;
            block.truncate(got);
            self.ahead = block;
        }
        Ok(!self.ahead().is_empty())
    }

    /// Reads at least a byte, unless the body has ended. The GIL is given away for what takes time: to
    /// get it back may take much longer than to copy a block.
    fn read_some(&mut self, py: Py, scope: &Scope, room: &mut [u8]) -> Result<usize, Failure> {
        let exchange = scope.exchange();
        let read = scope.input.call(|| {
            if room.len() <= BLOCK {
                if let Some(got) = exchange.read_now(room)? {
                    return Ok(got);
                }
            }
            py.detach(|| exchange.read(room))
        });
        read.map_err(|error| {
            self.failed = true;
            Failure::Now(error)
        })
    }

    fn check(&self) -> Result<(), Failure> {
        if self.failed {
            return Err(Failure::Before);
        }
        Ok(())
    }
}
