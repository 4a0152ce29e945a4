//! Loading and reloading WSGI scripts (mod_wsgi semantics e).

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::sync::Mutex;

use md5::{Digest, Md5};
use pyo3::ffi;
use rustc_hash::FxHashMap;

use crate::clock::{file_us, now_us};
use crate::config::RuntimeConfig;
use crate::lock::lock;
use crate::log::Level;
use crate::python::exception::Exception;
use crate::python::interpreter::Interpreter;
use crate::python::object::{Object, Py, PyResult};
use crate::python::{record, Runtime};
use crate::succession::{Change, ScriptIn, Succession, Verdict};
use crate::wire::{key, Request, AGAIN, ONCE, RELOADING};

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

/// What looking for a script has led to.
pub enum Loaded {
    /// Its namespace.
    Namespace(Object),
    /// It cannot be loaded; why was logged.
    Failed,
    /// Loading it took longer than a request may.
    TimedOut,
    /// It has changed, and another process has it.
    Elsewhere,
    /// It has raised SystemExit where that is how a script ends, in a service.
    Exited,
}

/// What loading a script ahead of requests has led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Imported {
    /// It has run to its end.
    Loaded,
    /// It cannot be loaded; why was logged.
    Failed,
    /// Loading it took longer than a request may.
    TimedOut,
    /// The script of a service has ended the process's work with SystemExit.
    Exited,
}

/// What nginx has seen of the script counts for so long: a request may have waited, and its script have
/// been changed since.
const FRESH_US: u64 = 100_000;

/// The namespace of a request's script, loaded when it has to be.
pub fn load(py: Py, runtime: &Runtime, interpreter: &Interpreter, request: &Request<'_>) -> Loaded {
    let has = |flag: u8| request.flags & flag != 0;
    // A handler script is asked about what it is to handle.
    let resource = request.known(key::SCRIPT_FILENAME).unwrap_or(request.script);
    let age_us = now_us().saturating_sub(request.start_us);
    let found = request.script_modified.filter(|_| age_us < FRESH_US);
    let script = Script { py, runtime, interpreter, path: request.script, resource, found };
    let look = Look { changes: has(RELOADING), asks: !has(AGAIN), holds: !has(ONCE) };
    script.logged(script.current(look))
}

/// Loads a script that no request has asked for yet.
pub fn import(py: Py, runtime: &Runtime, interpreter: &Interpreter, path: &[u8]) -> Imported {
    let script = Script { py, runtime, interpreter, path, resource: path, found: None };
    let look = Look { changes: false, asks: false, holds: false };
    match script.logged(script.current(look)) {
        Loaded::Namespace(_) => Imported::Loaded,
        Loaded::Exited => Imported::Exited,
        Loaded::Failed | Loaded::TimedOut | Loaded::Elsewhere => Imported::Failed,
    }
}

/// Names kept of each kind: `wsgi_callable_object` may have a variable that clients choose.
const MOST_NAMES: usize = 1000;

/// Strings for loading scripts in one interpreter.
pub struct ScriptNames {
    mtime: Object,
    reload_required: Object,
    /// Names of modules, by path. No Python runs while it is held.
    modules: Mutex<FxHashMap<Box<[u8]>, Object>>,
    /// Names of callables, likewise.
    callables: Mutex<FxHashMap<Box<[u8]>, Object>>,
}

impl ScriptNames {
    pub fn new(py: Py) -> PyResult<Self> {
        Ok(ScriptNames {
            mtime: py.interned("__mtime__")?,
            reload_required: py.interned("reload_required")?,
            modules: Mutex::default(),
            callables: Mutex::default(),
        })
    }

    /// The name of a script's module.
    fn module(&self, py: Py, path: &[u8], config: &RuntimeConfig) -> PyResult<Object> {
        let case_sensitive = config.python.case_sensitive;
        kept(&self.modules, path, || py.interned(&module_name(path, case_sensitive)))
    }

    /// The name of a callable.
    pub fn callable(&self, py: Py, name: &[u8]) -> PyResult<Object> {
        kept(&self.callables, name, || py.interned(&String::from_utf8_lossy(name)))
    }
}

/// What `names` has for a key, or what `make` makes.
fn kept<T: Clone>(
    names: &Mutex<FxHashMap<Box<[u8]>, T>>,
    key: &[u8],
    make: impl FnOnce() -> PyResult<T>,
) -> PyResult<T> {
    if let Some(name) = lock(names).get(key) {
        return Ok(name.clone());
    }
    let name = make()?;
    let mut names = lock(names);
    if names.len() < MOST_NAMES {
        names.insert(key.into(), name.clone());
    }
    Ok(name)
}

/// `_mod_wsgi_` and the digest of the path.
fn module_name(path: &[u8], case_sensitive: bool) -> String {
    let digest = match case_sensitive {
        true => Md5::digest(path),
        false => Md5::digest(path.to_ascii_lowercase()),
    };
    digest.iter().fold("_mod_wsgi_".to_owned(), |mut name, byte| {
        // Writing to a String cannot fail.
        let _ = write!(name, "{byte:02x}");
        name
    })
}

/// How closely to look at a script that has been loaded before.
#[derive(Clone, Copy)]
struct Look {
    /// Whether it has changed (`wsgi_script_reloading`).
    changes: bool,
    /// Whether its `reload_required` says so.
    asks: bool,
    /// The request can wait for another process and go there.
    holds: bool,
}

struct Script<'a> {
    py: Py,
    runtime: &'a Runtime,
    interpreter: &'a Interpreter,
    path: &'a [u8],
    /// What `reload_required` is asked about.
    resource: &'a [u8],
    /// When the file was modified, where somebody has just looked.
    found: Option<i64>,
}

impl Script<'_> {
    /// The module's namespace. Only one thread of the process loads at a time; the lock is waited
    /// for without the GIL, and a thread that finds the module loaded does not take it at all.
    fn current(&self, look: Look) -> PyResult<Loaded> {
        let names = &self.interpreter.objects(self.py).scripts;
        let name = names.module(self.py, self.path, self.runtime.config())?;
        let seen = self.namespace(&name)?;
        let first = self.decide(seen.as_ref(), look, self.found)?;
        if let (Decision::Use, Some(namespace)) = (first, &seen) {
            return Ok(Loaded::Namespace(namespace.clone()));
        }
        let loading = self.py.detach(|| self.runtime.loading());
        let now = self.namespace(&name)?;
        // An application that has asked to be reloaded is not asked twice.
        let decision = match first {
            Decision::Reload if is_same(seen.as_ref(), now.as_ref()) => first,
            _ => self.decide(now.as_ref(), look, None)?,
        };
        let Some(namespace) = now else { return self.execute(&name, "Loading") };
        match decision {
            Decision::Use | Decision::Load => Ok(Loaded::Namespace(namespace)),
            Decision::Unmarked if !look.changes => Ok(Loaded::Namespace(namespace)),
            Decision::Reload | Decision::Unmarked => match self.runtime.succession() {
                Some(succession) => {
                    drop(loading);
                    Ok(self.replace_process(succession, &namespace, look)?)
                }
                None => {
                    self.interpreter.objects(self.py).modules.remove_item(&name)?;
                    self.execute(&name, "Reloading")
                }
            },
        }
    }

    /// Has another process load the script; what it has loaded serves until then.
    fn replace_process(
        &self,
        succession: &Succession,
        namespace: &Object,
        look: Look,
    ) -> PyResult<Loaded> {
        let marked = self.loaded_time(namespace)?;
        let found = modified(self.path).ok();
        let change = Change { of: self.named(), modified: found.filter(|_| found != marked) };
        let (runtime, holds) = (self.runtime, look.holds);
        let verdict = self.py.detach(|| succession.ask(&change, || runtime.scripts(), holds));
        Ok(match verdict {
            Verdict::TakenOver if holds => Loaded::Elsewhere,
            _ => Loaded::Namespace(namespace.clone()),
        })
    }

    fn named(&self) -> ScriptIn {
        let application_group = self.interpreter.name.clone();
        ScriptIn { application_group, script: self.path.to_vec() }
    }

    fn logged(&self, loaded: PyResult<Loaded>) -> Loaded {
        loaded.unwrap_or_else(|raised| {
            self.log_failure(Exception::take(self.py, raised), "exec");
            Loaded::Failed
        })
    }

    fn shown(&self) -> String {
        String::from_utf8_lossy(self.path).into_owned()
    }

    fn module(&self, name: &Object) -> PyResult<Option<Object>> {
        self.interpreter.objects(self.py).modules.get_item(name)
    }

    fn namespace(&self, name: &Object) -> PyResult<Option<Object>> {
        self.module(name)?.map(|module| module.namespace()).transpose()
    }

    fn decide(
        &self,
        namespace: Option<&Object>,
        look: Look,
        found: Option<i64>,
    ) -> PyResult<Decision> {
        let Some(namespace) = namespace else { return Ok(Decision::Load) };
        let Some(loaded) = self.loaded_time(namespace)? else { return Ok(Decision::Unmarked) };
        if !look.changes {
            return Ok(Decision::Use);
        }
        // nginx may have looked before somebody else loaded a newer one.
        let unchanged =
            found == Some(loaded) || modified(self.path).is_ok_and(|modified| modified == loaded);
        if !unchanged || look.asks && self.wants_reload(namespace)? {
            return Ok(Decision::Reload);
        }
        Ok(Decision::Use)
    }

    /// `__mtime__`, unless the application has made something else of it.
    fn loaded_time(&self, namespace: &Object) -> PyResult<Option<i64>> {
        let time = namespace.get_item(&self.interpreter.objects(self.py).scripts.mtime)?;
        Ok(time.and_then(|time| time.as_int()))
    }

    /// Asks the script's `reload_required`, if it has one. What it raises means no.
    fn wants_reload(&self, namespace: &Object) -> PyResult<bool> {
        let name = &self.interpreter.objects(self.py).scripts.reload_required;
        let Some(ask) = namespace.get_item(name)? else { return Ok(false) };
        let answer = ask.call(&[&self.py.path(self.resource)?]).and_then(|answer| answer.is_true());
        answer.or_else(|raised| {
            self.log_failure(Exception::take(self.py, raised), "call reload_required() of");
            Ok(false)
        })
    }

    /// Compiles and runs the file as a new module; a failure leaves none.
    fn execute(&self, name: &Object, what: &str) -> PyResult<Loaded> {
        let py = self.py;
        let shown = self.shown();
        let place = &self.interpreter.label;
        let line = format!("{what} WSGI script '{shown}' into {place}.");
        record::line(py, Level::Info, line.as_bytes());
        let path = self.path;
        let read = py.detach(|| {
            // The time first: a change while the file is read is seen at the next request.
            let modified = modified(path)?;
            std::fs::read(OsStr::from_bytes(path)).map(|source| (modified, source))
        });
        let (modified, source) = match read {
            Ok(read) => read,
            Err(error) => {
                let line = format!("Could not read or compile WSGI script '{shown}': {error}.");
                record::line(py, Level::Error, line.as_bytes());
                return Ok(Loaded::Failed);
            }
        };
        let code = match self.compile(&source) {
            Ok(code) => code,
            Err(raised) => {
                self.log_failure(Exception::take(py, raised), "compile");
                return Ok(Loaded::Failed);
            }
        };
        match self.execute_module(name, &code) {
            Ok(module) => {
                module.set_attr(c"__mtime__", &py.int(modified)?)?;
                self.runtime.note_script(self.named());
                module.attr(c"__dict__").map(Loaded::Namespace)
            }
            Err(raised) => {
                let exception = Exception::take(py, raised);
                self.interpreter.objects(py).modules.remove_item(name)?;
                if exception.is_system_exit() && self.runtime.config().service {
                    return Ok(Loaded::Exited);
                }
                let what = if exception.is_system_exit() { "exit in" } else { "exec" };
                let timed_out = exception.is_a(&self.interpreter.objects(py).api.request_timeout);
                self.log_failure(exception, what);
                Ok(if timed_out { Loaded::TimedOut } else { Loaded::Failed })
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
        let shown = self.shown();
        let line = match what {
            "compile" => format!("Could not read or compile WSGI script '{shown}'."),
            "exit in" => {
                format!(
                    "SystemExit exception raised when doing exec of Python script file '{shown}'."
                )
            }
            "exec" => format!("Unable to execute Python script file '{shown}'."),
            what => format!("Failed to {what} file '{shown}'."),
        };
        exception.log(self.py, line.as_bytes());
    }
}

fn is_same(one: Option<&Object>, other: Option<&Object>) -> bool {
    one.map(Object::as_ptr) == other.map(Object::as_ptr)
}

/// Modification time in microseconds since the epoch.
fn modified(path: &[u8]) -> std::io::Result<i64> {
    Ok(file_us(std::fs::metadata(OsStr::from_bytes(path))?.modified()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_clients_choose_do_not_pile_up() {
        let names = Mutex::default();
        for number in 0..2 * MOST_NAMES {
            assert_eq!(kept(&names, &number.to_le_bytes(), || Ok(number)).ok(), Some(number));
        }
        assert_eq!(lock(&names).len(), MOST_NAMES);
        assert_eq!(kept(&names, &7usize.to_le_bytes(), || Ok(0)).ok(), Some(7));
    }
}
