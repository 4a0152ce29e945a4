//! `start_response` and the `write` it returns (mod_wsgi semantics d.4, d.5).

use std::borrow::Cow;
use std::ffi::c_void;
use std::sync::Arc;

use pyo3::ffi;

use super::events::Events;
use super::output::{Head, Output, Sent};
use crate::python::class::{self, callback, slot, Class};
use crate::python::exception;
use crate::python::object::{Kind, Object, Py, PyResult};
use crate::wire::Headers;

/// The callable that the application is given.
pub struct StartResponse {
    output: Arc<Output>,
    write: Object,
    /// `None` when nobody wants to know.
    events: Option<Events>,
}

/// The callable that start_response returns.
pub struct Write {
    output: Arc<Output>,
}

impl Class for StartResponse {
    const NAME: &'static std::ffi::CStr = c"mod_wsgi.StartResponse";
    const METHODS: &'static [ffi::PyMethodDef] = &[];

    fn slots() -> Vec<ffi::PyType_Slot> {
        vec![slot(ffi::Py_tp_call, call_start_response as *mut c_void)]
    }
}

impl Class for Write {
    const NAME: &'static std::ffi::CStr = c"mod_wsgi.Write";
    const METHODS: &'static [ffi::PyMethodDef] = &[];

    fn slots() -> Vec<ffi::PyType_Slot> {
        vec![slot(ffi::Py_tp_call, call_write as *mut c_void)]
    }
}

/// `start_response` of a request.
pub fn start_response(
    class: &Object,
    write_class: &Object,
    output: &Arc<Output>,
    events: Option<Events>,
) -> PyResult<Object> {
    let write = class::instance(write_class, Write { output: Arc::clone(output) })?;
    class::instance(class, StartResponse { output: Arc::clone(output), write, events })
}

unsafe extern "C" fn call_start_response(
    instance: *mut ffi::PyObject,
    arguments: *mut ffi::PyObject,
    named: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    callback(|py| {
        // SAFETY: Python passes a live instance of the type, an argument tuple, and a dict or null.
        let (instance, arguments) = unsafe {
            (
                class::value::<StartResponse>(Object::from_ref(&instance)),
                Object::from_ref(&arguments),
            )
        };
        instance.call(py, arguments, has_names(named))
    })
}

/// Whether there are keyword arguments.
fn has_names(named: *mut ffi::PyObject) -> bool {
    // SAFETY: Python calls with a dict that lives during the call, or with null.
    !named.is_null() && unsafe { ffi::PyDict_Size(named) } > 0
}

unsafe extern "C" fn call_write(
    instance: *mut ffi::PyObject,
    arguments: *mut ffi::PyObject,
    named: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    callback(|py| {
        // SAFETY: as in call_start_response.
        let (instance, arguments) = unsafe {
            (class::value::<Write>(Object::from_ref(&instance)), Object::from_ref(&arguments))
        };
        if has_names(named) {
            return Err(py.raise(Kind::Type, "write() takes no keyword arguments"));
        }
        let arguments = class::arguments(py, "write", arguments, 1, 1)?;
        instance.call(py, &arguments[0])
    })
}

impl Write {
    fn call(&self, py: Py, block: &Object) -> PyResult<Object> {
        if self.output.is_over() {
            return Err(py.raise(Kind::Runtime, "write() called after request completed"));
        }
        let Some(bytes) = block.as_bytes() else {
            let message = format!("write() argument must be bytes, not {}", block.type_name());
            return Err(py.raise(Kind::Type, &message));
        };
        match self.output.send(py, bytes, false)? {
            Sent::Yes => Ok(py.none()),
            Sent::ClientGone => Err(py.raise(Kind::Os, "mod_wsgi client connection closed")),
        }
    }
}

impl StartResponse {
    fn call(&self, py: Py, arguments: &Object, named: bool) -> PyResult<Object> {
        if named {
            return Err(py.raise(Kind::Type, "start_response() takes no keyword arguments"));
        }
        let arguments = class::arguments(py, "start_response", arguments, 2, 3)?;
        if self.output.is_over() {
            return Err(py.raise(Kind::Runtime, "start_response() called after request completed"));
        }
        let (status, headers) = (&arguments[0], &arguments[1]);
        if !headers.is_list() {
            let message =
                format!("start_response() argument 2 must be list, not {}", headers.described());
            return Err(py.raise(Kind::Type, &message));
        }
        self.check_order(py, arguments.get(2))?;
        if let Some(events) = &self.events {
            events.response_started(py, status, headers, arguments.get(2))?;
        }
        let (code, line) = status_line(py, status)?;
        let headers = header_list(py, headers)?;
        self.output.start(Head { status: code, line, headers });
        Ok(self.write.clone())
    }

    /// A second call is an error handler's, and comes too late once headers have left.
    fn check_order(&self, py: Py, exc_info: Option<&Object>) -> PyResult<()> {
        let exc_info = exc_info.filter(|info| !info.is_none());
        let misfit = "start_response() argument 'exc_info' must be a 3-tuple or None";
        if exc_info.is_some_and(|info| !info.is_tuple()) {
            return Err(py.raise(Kind::Runtime, misfit));
        }
        if !self.output.is_committed() {
            return Ok(());
        }
        let Some(info) = exc_info else {
            let message = "start_response() called more than once without exc_info";
            return Err(py.raise(Kind::Runtime, message));
        };
        match info.as_tuple() {
            Some([class, value, traceback]) if exception::is_class(class) => {
                Err(exception::restore(py, class.clone(), value.clone(), traceback.clone()))
            }
            _ => Err(py.raise(Kind::Runtime, misfit)),
        }
    }
}

/// The latin-1 bytes of a str.
fn native<'a>(py: Py, object: &'a Object) -> PyResult<Cow<'a, [u8]>> {
    if !object.is_str() {
        let message = format!("must be str, not {}", object.type_name());
        return Err(py.raise(Kind::Type, &message));
    }
    if let Some(ascii) = object.as_ascii() {
        return Ok(ascii.into());
    }
    let encoded = object.encode_latin1()?;
    Ok(encoded.as_bytes().unwrap_or_default().to_vec().into())
}

/// A ValueError that shows the bytes that are wrong.
fn unfit<T>(py: Py, what: &str, bytes: &[u8]) -> PyResult<T> {
    let shown = py.bytes(bytes)?.repr()?;
    Err(py.raise(Kind::Value, &format!("{what}: {shown}")))
}

fn is_control(byte: u8) -> bool {
    byte < 0x20 || byte == 0x7f
}

fn status_line(py: Py, status: &Object) -> PyResult<(u16, Vec<u8>)> {
    let line = native(py, status)?;
    let digits = line.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if digits != 3 {
        return unfit(py, "status code must be a 3 digit integer", &line);
    }
    let code = line[..3].iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0'));
    if code < 200 {
        return unfit(py, "status code must not be informational", &line);
    }
    if line.len() > 3 && line[3] != b' ' {
        return unfit(py, "no space following status code", &line);
    }
    if line.iter().any(|byte| is_control(*byte)) {
        return unfit(py, "control character in status reason phrase", &line);
    }
    Ok((code, line.into_owned()))
}

fn header_list(py: Py, list: &Object) -> PyResult<Headers> {
    let mut headers = Headers::default();
    for item in list.list_items() {
        add_header(py, &item, &mut headers)?;
    }
    Ok(headers)
}

fn add_header(py: Py, item: &Object, headers: &mut Headers) -> PyResult<()> {
    let fail = |kind: Kind, message: &str| Err(py.raise(kind, message));
    let Some(parts) = item.as_tuple() else {
        let message = format!("each header must be a 2-tuple, not {}", item.type_name());
        return fail(Kind::Type, &message);
    };
    let [name, value] = parts else {
        let message = format!("each header must be a 2-tuple, got length {}", parts.len());
        return fail(Kind::Value, &message);
    };
    let name = native(py, name)?;
    let value = native(py, value)?;
    if name.is_empty() {
        return fail(Kind::Value, "header name is empty");
    }
    if name.iter().any(|byte| is_control(*byte)) {
        return unfit(py, "control character in header name", &name);
    }
    if name.contains(&b' ') {
        return unfit(py, "space character in header name", &name);
    }
    if value.iter().any(|byte| matches!(byte, b'\r' | b'\n')) {
        return unfit(py, "carriage return/line feed character in header value", &value);
    }
    // What nginx cannot put on the wire ends the value, as it does in mod_wsgi.
    let end = value.iter().position(|byte| *byte == 0).unwrap_or(value.len());
    headers.push(&name, &value[..end]);
    Ok(())
}
