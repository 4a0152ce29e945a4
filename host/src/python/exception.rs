//! Python exceptions on their way into a log.

use std::ffi::CStr;
use std::ptr;

use pyo3::ffi;

use super::object::{Object, Py, PyResult, Raised};
use super::record;
use crate::log::Level;

/// An exception that has been caught.
pub struct Exception {
    class: Object,
    value: Object,
    traceback: Object,
}

impl Exception {
    /// Takes the exception that is set.
    #[allow(deprecated)]
    pub fn take(py: Py, _: Raised) -> Self {
        let (mut class, mut value, mut traceback) =
            (ptr::null_mut(), ptr::null_mut(), ptr::null_mut());
        // SAFETY: attached; the three references become ours, missing ones None.
        unsafe {
            ffi::PyErr_Fetch(&mut class, &mut value, &mut traceback);
            ffi::PyErr_NormalizeException(&mut class, &mut value, &mut traceback);
            if !value.is_null() && !traceback.is_null() {
                ffi::PyException_SetTraceback(value, traceback);
            }
            let owned = |object| Object::from_owned(object).unwrap_or_else(|_| py.none());
            Exception { class: owned(class), value: owned(value), traceback: owned(traceback) }
        }
    }

    /// Whether it is a `SystemExit`.
    pub fn is_system_exit(&self) -> bool {
        // SAFETY: live objects; the type is immortal.
        unsafe { ffi::PyErr_GivenExceptionMatches(self.class.as_ptr(), ffi::PyExc_SystemExit) != 0 }
    }

    /// Whether it is of a class.
    pub fn is_a(&self, class: &Object) -> bool {
        // SAFETY: live objects.
        unsafe { ffi::PyErr_GivenExceptionMatches(self.class.as_ptr(), class.as_ptr()) != 0 }
    }

    /// Its `sys.exc_info()`.
    pub fn info(&self, py: Py) -> PyResult<Object> {
        py.tuple(&[&self.class, &self.value, &self.traceback])
    }

    /// Logs a header line and the traceback, one record a line.
    pub fn log(&self, py: Py, header: &[u8]) {
        record::line(py, Level::Error, header);
        match self.format(py) {
            Ok(text) => {
                let text = text.as_bytes().unwrap_or_default();
                for line in text.strip_suffix(b"\n").unwrap_or(text).split(|byte| *byte == b'\n') {
                    record::line(py, Level::Error, line);
                }
            }
            Err(raised) => {
                // Without descriptors, for one, the module `traceback` cannot be imported.
                py.clear(raised);
                let what = self.value.repr().unwrap_or_else(|raised| {
                    py.clear(raised);
                    self.name()
                });
                let line = format!("{what}, whose traceback cannot be formatted");
                record::line(py, Level::Error, line.as_bytes());
            }
        }
    }

    fn format(&self, py: Py) -> PyResult<Object> {
        let format = py.import(c"traceback")?.attr(c"format_exception")?;
        let parts = format.call(&[&self.class, &self.value, &self.traceback])?;
        py.str("")?.call_method(c"join", &[&parts])?.encode_utf8(c"backslashreplace")
    }

    /// Name of its class.
    pub fn name(&self) -> String {
        // SAFETY: an exception's class is a type object, whose name lives as long as it.
        unsafe {
            if ffi::PyType_Check(self.class.as_ptr()) == 0 {
                return String::from("unknown");
            }
            let class = self.class.as_ptr().cast::<ffi::PyTypeObject>();
            let name = CStr::from_ptr((*class).tp_name).to_string_lossy();
            name.rsplit('.').next().unwrap_or_default().to_owned()
        }
    }
}

/// Logs the exception that is set under a header line.
pub fn log(py: Py, raised: Raised, header: &[u8]) {
    Exception::take(py, raised).log(py, header);
}

/// Whether an object is a class of exceptions.
pub fn is_class(object: &Object) -> bool {
    // SAFETY: a live object.
    unsafe { ffi::PyExceptionClass_Check(object.as_ptr()) != 0 }
}

/// Sets an exception from its `sys.exc_info()` parts.
#[allow(deprecated)]
pub fn restore(py: Py, class: Object, value: Object, traceback: Object) -> Raised {
    let pointer =
        |object: Object| if object.is_none() { ptr::null_mut() } else { object.into_ptr() };
    // SAFETY: attached; the references are given away, which is what the call wants.
    unsafe { ffi::PyErr_Restore(pointer(class), pointer(value), pointer(traceback)) };
    py.raised()
}
