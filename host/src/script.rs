//! Loading and reloading WSGI scripts (mod_wsgi semantics e).

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::time::UNIX_EPOCH;

use md5::{Digest, Md5};
use pyo3::ffi;

use crate::log::Level;
use crate::python::exception::Exception;
use crate::python::interpreter::Interpreter;
use crate::python::object::{Object, Py, PyResult};
use crate::python::{record, Runtime};
use crate::wire::{Request, RELOADING};

/// What is to be done about a script before a request runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Decision {
    /// Its module is there and good.
    Use,
    /// It has never been loaded, or the last attempt failed.
    Load,
    /// Its module bears no time: another thread is loading it, or the application wants it anew.
    Unmarked,
    /// It has changed.
    Reload,
}

/// The namespace of a request's script, loaded when it has to be; `None` was logged.
pub fn load(
    py: Py,
    runtime: &Runtime,
    interpreter: &Interpreter,
    request: &Request<'_>,
) -> Option<Object> {
    let script = Script { py, interpreter, path: request.script };
    let loaded = script.current(runtime, request.flags & RELOADING != 0);
    match loaded {
        Ok(namespace) => namespace,
        Err(raised) => {
            script.log_failure(Exception::take(py, raised), "exec");
            None
        }
    }
}

struct Script<'a> {
    py: Py,
    interpreter: &'a Interpreter,
    path: &'a [u8],
}

impl Script<'_> {
    /// The module's namespace. Only one thread of the process loads at a time; the lock is waited
    /// for without the GIL, and a thread that finds the module loaded does not take it at all.
    fn current(&self, runtime: &Runtime, reloading: bool) -> PyResult<Option<Object>> {
        let name = self.py.interned(&self.module_name())?;
        let seen = self.namespace(&name)?;
        let first = self.decide(seen.as_ref(), reloading)?;
        if first == Decision::Use {
            return Ok(seen);
        }
        let _loading = self.py.detach(|| runtime.loading());
        let now = self.namespace(&name)?;
        // An application that has asked to be reloaded is not asked twice.
        let decision = match first {
            Decision::Reload if is_same(seen.as_ref(), now.as_ref()) => first,
            _ => self.decide(now.as_ref(), reloading)?,
        };
        match decision {
            Decision::Use => Ok(now),
            Decision::Unmarked if !reloading => Ok(now),
            Decision::Load => self.execute(&name, "Loading"),
            Decision::Reload | Decision::Unmarked => {
                self.interpreter.objects(self.py).modules.remove_item(&name)?;
                self.execute(&name, "Reloading")
            }
        }
    }

    /// `_mod_wsgi_` and the digest of the path.
    fn module_name(&self) -> String {
        let digest = Md5::digest(self.path);
        digest.iter().fold("_mod_wsgi_".to_owned(), |mut name, byte| {
            // Writing to a String cannot fail.
            let _ = write!(name, "{byte:02x}");
            name
        })
    }

    fn shown(&self) -> String {
        String::from_utf8_lossy(self.path).into_owned()
    }

    fn module(&self, name: &Object) -> PyResult<Option<Object>> {
        self.interpreter.objects(self.py).modules.get_item(name)
    }

    fn namespace(&self, name: &Object) -> PyResult<Option<Object>> {
        self.module(name)?.map(|module| module.attr(c"__dict__")).transpose()
    }

    fn decide(&self, namespace: Option<&Object>, reloading: bool) -> PyResult<Decision> {
        let Some(namespace) = namespace else { return Ok(Decision::Load) };
        let loaded = namespace.get_item(&self.py.interned("__mtime__")?)?;
        let Some(loaded) = loaded.and_then(|time| time.as_int()) else {
            return Ok(Decision::Unmarked);
        };
        if !reloading {
            return Ok(Decision::Use);
        }
        let unchanged = modified(self.path).is_ok_and(|modified| modified == loaded);
        if !unchanged || self.wants_reload(namespace)? {
            return Ok(Decision::Reload);
        }
        Ok(Decision::Use)
    }

    /// Asks the script's `reload_required`, if it has one. What it raises means no.
    fn wants_reload(&self, namespace: &Object) -> PyResult<bool> {
        let Some(ask) = namespace.get_item(&self.py.interned("reload_required")?)? else {
            return Ok(false);
        };
        let answer = ask.call(&[&self.py.path(self.path)?]).and_then(|answer| answer.is_true());
        answer.or_else(|raised| {
            self.log_failure(Exception::take(self.py, raised), "call reload_required() of");
            Ok(false)
        })
    }

    /// Compiles and runs the file as a new module; a failure leaves none.
    fn execute(&self, name: &Object, what: &str) -> PyResult<Option<Object>> {
        let py = self.py;
        let shown = self.shown();
        record::line(py, Level::Info, format!("{what} Python script file '{shown}'.").as_bytes());
        let path = self.path;
        let read = py.detach(|| {
            // The time first: a change while the file is read is seen at the next request.
            let modified = modified(path)?;
            std::fs::read(OsStr::from_bytes(path)).map(|source| (modified, source))
        });
        let (modified, source) = match read {
            Ok(read) => read,
            Err(error) => {
                let line = format!("Could not read/compile source file '{shown}': {error}.");
                record::line(py, Level::Error, line.as_bytes());
                return Ok(None);
            }
        };
        let code = match self.compile(&source) {
            Ok(code) => code,
            Err(raised) => {
                self.log_failure(Exception::take(py, raised), "read/compile source");
                return Ok(None);
            }
        };
        match self.execute_module(name, &code) {
            Ok(module) => {
                module.set_attr(c"__mtime__", &py.int(modified)?)?;
                module.attr(c"__dict__").map(Some)
            }
            Err(raised) => {
                let exception = Exception::take(py, raised);
                self.interpreter.objects(py).modules.remove_item(name)?;
                let what = if exception.is_system_exit() { "exit in" } else { "exec" };
                self.log_failure(exception, what);
                Ok(None)
            }
        }
    }

    fn compile(&self, source: &[u8]) -> PyResult<Object> {
        let py = self.py;
        let builtins = py.import(c"builtins")?;
        let mode = py.str("exec")?;
        let yes = py.bool(true);
        let flags = py.int(0)?;
        let file = py.path(self.path)?;
        // dont_inherit: no __future__ of whatever frame is on the stack.
        builtins.call_method(c"compile", &[&py.bytes(source)?, &file, &mode, &flags, &yes])
    }

    fn execute_module(&self, name: &Object, code: &Object) -> PyResult<Object> {
        let file = self.py.path(self.path)?;
        // SAFETY: attached; live objects; a new reference is returned.
        unsafe {
            Object::from_owned(ffi::PyImport_ExecCodeModuleObject(
                name.as_ptr(),
                code.as_ptr(),
                file.as_ptr(),
                std::ptr::null_mut(),
            ))
        }
    }

    fn log_failure(&self, exception: Exception, what: &str) {
        let line = match what {
            "exit in" => format!("SystemExit exception raised when doing exec of Python script file '{}'.", self.shown()),
            "exec" => format!("Exception occurred processing Python script file '{}': Failed to exec Python script file.", self.shown()),
            what => format!("Failed to {what} file '{}'.", self.shown()),
        };
        exception.log(self.py, line.as_bytes());
    }
}

fn is_same(one: Option<&Object>, other: Option<&Object>) -> bool {
    one.map(Object::as_ptr) == other.map(Object::as_ptr)
}

/// Modification time in microseconds since the epoch.
fn modified(path: &[u8]) -> std::io::Result<i64> {
    let modified = std::fs::metadata(OsStr::from_bytes(path))?.modified()?;
    Ok(modified.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as i64))
}
