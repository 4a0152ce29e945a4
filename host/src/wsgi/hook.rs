//! Functions of scripts that decide about access (mod_wsgi semantics g), or about where a request runs
//! (e.7).

mod dispatch;

use std::sync::Arc;

use super::scope::{Current, Scope};
use super::{environ, stream};
use crate::exchange::Exchange;
use crate::log::Level;
use crate::python::exception::Exception;
use crate::python::interpreter::Interpreter;
use crate::python::object::{Object, Py, PyResult, Raised};
use crate::python::{record, Runtime};
use crate::script::{self, Loaded};
use crate::wire::{hook, Outcome, Request};

/// Hexadecimal digits of MD5 and of SHA-256.
const HASH_LENGTHS: [usize; 2] = [32, 64];

/// What a function has answered: a verdict of [`hook`], and the values that came with it.
struct Answer {
    verdict: u16,
    values: Vec<(&'static [u8], Vec<u8>)>,
}

/// Why there is no answer.
enum Failure {
    Raised(Raised),
    /// The script has done something wrong.
    Cause(String),
    /// It was logged before.
    Logged,
}

impl From<Raised> for Failure {
    fn from(raised: Raised) -> Self {
        Failure::Raised(raised)
    }
}

struct Question<'a> {
    py: Py,
    runtime: &'a Runtime,
    interpreter: &'a Interpreter,
    request: &'a Request<'a>,
    function: String,
}

/// Asks the function that the request names, on an attached thread.
pub fn ask(
    py: Py,
    runtime: &Runtime,
    interpreter: &Interpreter,
    request: &Request<'_>,
    exchange: &Arc<dyn Exchange>,
) -> Outcome {
    let function = String::from_utf8_lossy(request.callable).into_owned();
    let question = Question { py, runtime, interpreter, request, function };
    let answer = question.ask(&Scope::new(exchange)).unwrap_or_else(|raised| {
        question.log(Failure::Raised(raised));
        None
    });
    let Some(answer) = answer else { return Outcome::Failed };
    let line = format!("{} {}", answer.verdict, question.function);
    let values = answer.values.into_iter().collect();
    match exchange.respond(answer.verdict, line.as_bytes(), &values) {
        Ok(()) => Outcome::Complete,
        Err(_) => Outcome::Failed,
    }
}

impl Question<'_> {
    /// The answer; `None` when there is none, and why was logged.
    fn ask(&self, scope: &Arc<Scope>) -> PyResult<Option<Answer>> {
        let py = self.py;
        let current = Current::enter(scope, py.dict()?);
        let errors = stream::errors(self.interpreter.objects(py).types.errors(), scope)?;
        let answer = self.call(&errors).map_err(|failure| self.log(failure)).ok();
        stream::finish(py, &errors);
        drop(current);
        Ok(answer)
    }

    fn call(&self, errors: &Object) -> Result<Answer, Failure> {
        let py = self.py;
        let is_dispatch = self.function == hook::DISPATCH;
        let namespace = match script::load(py, self.runtime, self.interpreter, self.request) {
            Loaded::Namespace(namespace) => namespace,
            // Where requests go is configured without it.
            _ if is_dispatch => return Ok(Answer { verdict: hook::UNKNOWN, values: Vec::new() }),
            Loaded::Failed | Loaded::TimedOut | Loaded::Elsewhere | Loaded::Exited => {
                return Err(Failure::Logged)
            }
        };
        if is_dispatch {
            return self.dispatch(&namespace, errors);
        }
        let Some(function) = namespace.get_item(&py.interned(&self.function)?)? else {
            let cause = format!("The script has no function {}().", self.function);
            return Err(Failure::Cause(cause));
        };
        let config = self.runtime.config();
        let environ = environ::build_for_hook(py, self.interpreter, config, self.request, errors)?;
        let mut arguments = vec![environ];
        for name in self.arguments() {
            arguments.push(py.latin1(self.request.get(name.as_bytes()).unwrap_or_default())?);
        }
        let result = function.call(&arguments.iter().collect::<Vec<_>>())?;
        match &*self.function {
            hook::CHECK_PASSWORD => self.password(&result),
            hook::GET_REALM_HASH => self.realm_hash(&result),
            hook::GROUPS_FOR_USER => self.groups(&result),
            _ => {
                self.verdict(&result).ok_or_else(|| self.bad_result(&result, "True, False or None"))
            }
        }
    }

    /// Names of the arguments behind environ.
    fn arguments(&self) -> &'static [&'static str] {
        match &*self.function {
            hook::CHECK_PASSWORD => &[hook::USER, hook::PASSWORD],
            hook::GET_REALM_HASH => &[hook::USER, hook::REALM],
            hook::GROUPS_FOR_USER => &[hook::USER],
            _ => &[hook::HOST],
        }
    }

    /// True, False or None, and nothing that only compares equal to them.
    fn verdict(&self, result: &Object) -> Option<Answer> {
        let is = |value: bool| result.as_ptr() == self.py.bool(value).as_ptr();
        let verdict = match () {
            () if result.is_none() => hook::UNKNOWN,
            () if is(true) => hook::YES,
            () if is(false) => hook::NO,
            () => return None,
        };
        Some(Answer { verdict, values: Vec::new() })
    }

    fn password(&self, result: &Object) -> Result<Answer, Failure> {
        if let Some(answer) = self.verdict(result) {
            return Ok(answer);
        }
        if !result.is_str() {
            return Err(self.bad_result(result, "True, False, None or a user name"));
        }
        let name = result.encode_utf8(c"strict")?;
        let name = name.as_bytes().unwrap_or_default();
        if name.is_empty() {
            return Err(self.bad("returned an empty user name"));
        }
        if name.iter().any(u8::is_ascii_control) {
            return Err(self.bad("returned a user name with control characters"));
        }
        Ok(Answer { verdict: hook::YES, values: vec![(hook::VALUE, name.to_vec())] })
    }

    fn realm_hash(&self, result: &Object) -> Result<Answer, Failure> {
        if result.is_none() {
            return Ok(Answer { verdict: hook::UNKNOWN, values: Vec::new() });
        }
        let Some(hash) = text_or_bytes(result)? else {
            return Err(self.bad_result(result, "a hash or None"));
        };
        let hash = hash.as_bytes().unwrap_or_default().to_ascii_lowercase();
        if !HASH_LENGTHS.contains(&hash.len()) || !hash.iter().all(u8::is_ascii_hexdigit) {
            // The value is a secret.
            let what = "returned a hash that is neither MD5 nor SHA-256 in hexadecimal digits";
            return Err(self.bad(what));
        }
        Ok(Answer { verdict: hook::YES, values: vec![(hook::VALUE, hash)] })
    }

    fn groups(&self, result: &Object) -> Result<Answer, Failure> {
        const EXPECTED: &str = "an iterable of group names";
        if result.is_none() || text_or_bytes(result)?.is_some() {
            return Err(self.bad_result(result, EXPECTED));
        }
        let (iterator, mut values) = (result.iter()?, Vec::new());
        while let Some(item) = iterator.next()? {
            let Some(name) = text_or_bytes(&item)? else {
                return Err(self.bad_result(&item, "group names that are str or bytes"));
            };
            let name = name.as_bytes().unwrap_or_default();
            // No configured name has any, and the wire takes none.
            if !name.iter().any(u8::is_ascii_control) {
                values.push((hook::VALUE, name.to_vec()));
            }
        }
        Ok(Answer { verdict: hook::YES, values })
    }

    fn bad_result(&self, result: &Object, expected: &str) -> Failure {
        let described = result.described();
        self.bad(&format!("has to return {expected}, not {described}"))
    }

    fn bad(&self, what: &str) -> Failure {
        Failure::Cause(format!("{}() {what}.", self.function))
    }

    fn log(&self, failure: Failure) {
        let script = String::from_utf8_lossy(self.request.script);
        match failure {
            Failure::Raised(raised) => {
                let line =
                    format!("Exception occurred in {}() of WSGI script '{script}'.", self.function);
                Exception::take(self.py, raised).log(self.py, line.as_bytes());
            }
            Failure::Cause(cause) => {
                let line = format!("WSGI script '{script}': {cause}");
                record::line(self.py, Level::Error, line.as_bytes());
            }
            Failure::Logged => {}
        }
    }
}

/// The bytes of a bytes object, or of a str in latin-1.
fn text_or_bytes(value: &Object) -> PyResult<Option<Object>> {
    if value.is_str() {
        return value.encode_latin1().map(Some);
    }
    Ok(value.as_bytes().is_some().then(|| value.clone()))
}
