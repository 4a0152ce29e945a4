//! PEP 3333: from a request to the application's callable and back.

mod adapter;
mod environ;
mod events;
mod file;
mod file_wrapper;
mod hook;
mod input;
mod output;
mod scope;
mod start_response;
mod stream;
mod template;

use crate::python::class;
use crate::python::object::{Object, Py, PyResult};

pub use adapter::serve;
pub use environ::Environs;
pub use hook::ask;
pub use scope::Current;

/// The native types of one interpreter.
pub struct Types {
    pub input: Object,
    pub stream: Object,
    pub file_wrapper: Object,
    pub start_response: Object,
    pub write: Object,
    /// The subclass of `stream` that `wsgi.errors` is an instance of.
    errors: std::cell::OnceCell<Object>,
}

impl Types {
    /// Makes the types.
    pub fn new(py: Py) -> PyResult<Self> {
        Ok(Types {
            input: class::new::<input::Input>(py)?,
            stream: class::new::<stream::Stream>(py)?,
            file_wrapper: class::new::<file_wrapper::FileWrapper>(py)?,
            start_response: class::new::<start_response::StartResponse>(py)?,
            write: class::new::<start_response::Write>(py)?,
            errors: std::cell::OnceCell::new(),
        })
    }

    /// Takes over the stream classes that the bootstrap has derived.
    pub fn adopt_streams(&self, _: Py, errors: Object) {
        // Set once, when the interpreter is prepared.
        let _ = self.errors.set(errors);
    }

    /// The class of `wsgi.errors`.
    pub fn errors(&self) -> &Object {
        self.errors.get().unwrap_or(&self.stream)
    }
}
