//! The environ dictionary (mod_wsgi semantics c).

use std::sync::Mutex;

use super::template::{self, Templates};
use crate::api;
use crate::config::RuntimeConfig;
use crate::python::interpreter::Interpreter;
use crate::python::object::{Object, Py, PyResult};
use crate::wire::{hook, key, Request};

/// What of the environ does not come from nginx.
pub struct Own<'a> {
    pub input: &'a Object,
    pub errors: &'a Object,
    pub thread_id: u32,
    pub times: &'a Times,
}

/// The phases of a request, in seconds since the epoch; 0 for what there is only in daemon mode.
pub struct Times {
    pub request_start: f64,
    pub queue_start: f64,
    /// When this process took the request up.
    pub daemon_start: f64,
    /// When the application is called.
    pub application_start: f64,
}

impl Times {
    pub fn new(
        config: &RuntimeConfig,
        request: &Request<'_>,
        daemon_start: f64,
        application_start: f64,
    ) -> Self {
        let in_daemon = |time: f64| if config.is_daemon() { time } else { 0.0 };
        Times {
            request_start: seconds(request.start_us),
            queue_start: in_daemon(seconds(request.queue_us)),
            daemon_start: in_daemon(daemon_start),
            application_start,
        }
    }

    fn in_daemon(&self) -> [f64; 2] {
        [self.queue_start, self.daemon_start]
    }
}

/// Names of the entries that each request has its own objects for; the last two only in daemon mode, and
/// they are 0 in embedded mode.
const OWN: [&str; 7] = [
    "wsgi.input",
    "wsgi.errors",
    "mod_wsgi.thread_id",
    "mod_wsgi.request_start",
    "mod_wsgi.application_start",
    "mod_wsgi.queue_start",
    "mod_wsgi.daemon_start",
];

/// What an interpreter keeps to build environs.
pub struct Environs {
    own: Vec<Object>,
    /// Nobody waits for it: a finalizer may run while it is held, or another thread in a free-threaded
    /// Python.
    templates: Mutex<Templates>,
}

impl Environs {
    pub fn new(py: Py) -> PyResult<Self> {
        let own = OWN.iter().map(|name| py.interned(name)).collect::<PyResult<_>>()?;
        Ok(Environs { own, templates: Mutex::new(Templates::new()) })
    }
}

/// Builds the environ of a request.
pub fn build(
    py: Py,
    interpreter: &Interpreter,
    config: &RuntimeConfig,
    request: &Request<'_>,
    own: &Own<'_>,
) -> PyResult<Object> {
    let objects = interpreter.objects(py);
    let whole = || whole(py, interpreter, config, request);
    let environ = match objects.environs.templates.try_lock() {
        Ok(mut templates) => templates.environ(py, request, |name| objects.key(py, name), whole)?,
        Err(_) => whole()?,
    };
    let names = &objects.environs.own;
    let values = [
        own.input,
        own.errors,
        &py.int(i64::from(own.thread_id))?,
        &py.float(own.times.request_start)?,
        &py.float(own.times.application_start)?,
    ];
    for (name, value) in names.iter().zip(values) {
        environ.set_item(name, value)?;
    }
    if config.is_daemon() {
        for (name, time) in names[values.len()..].iter().zip(own.times.in_daemon()) {
            environ.set_item(name, &py.float(time)?)?;
        }
    }
    Ok(environ)
}

/// The environ of a request with places for what is its own.
fn whole(
    py: Py,
    interpreter: &Interpreter,
    config: &RuntimeConfig,
    request: &Request<'_>,
) -> PyResult<Object> {
    let environ = py.dict()?;
    let objects = interpreter.objects(py);
    for entry in request.environ().filter(|entry| entry.code != key::HTTPS) {
        environ.set_item(&objects.key(py, entry.name)?, &template::decode(py, &entry)?)?;
    }
    for name in &objects.environs.own {
        environ.set_item(name, &py.float(0.0)?)?;
    }
    let https = request.known(key::HTTPS).unwrap_or_default();
    let https = https.eq_ignore_ascii_case(b"on") || https == b"1";
    let set = |name: &str, value: PyResult<Object>| environ.set_item(&py.interned(name)?, &value?);
    set("wsgi.version", py.tuple(&[&py.int(1)?, &py.int(1)?]))?;
    set("wsgi.url_scheme", py.interned(if https { "https" } else { "http" }))?;
    set("wsgi.multithread", Ok(py.bool(config.threads != 1)))?;
    set("wsgi.multiprocess", Ok(py.bool(config.multiprocess)))?;
    set("wsgi.run_once", Ok(py.bool(config.run_once)))?;
    set("wsgi.input_terminated", Ok(py.bool(true)))?;
    set("wsgi.file_wrapper", Ok(objects.types.file_wrapper.clone()))?;
    set_place(py, &environ, interpreter, config)?;
    set("mod_wsgi.callable_object", py.latin1(request.callable))?;
    set_mapping(py, &environ, request)?;
    Ok(environ)
}

/// Builds the environ of a dispatch script: the application's, without what depends on where it runs.
pub fn build_for_dispatch(
    py: Py,
    interpreter: &Interpreter,
    config: &RuntimeConfig,
    request: &Request<'_>,
    errors: &Object,
) -> PyResult<Object> {
    let environ = build_for_hook(py, interpreter, config, request, errors)?;
    set_mapping(py, &environ, request)?;
    Ok(environ)
}

/// Builds the environ of a hook: what nginx knows of the request, and a stream for errors.
pub fn build_for_hook(
    py: Py,
    interpreter: &Interpreter,
    config: &RuntimeConfig,
    request: &Request<'_>,
    errors: &Object,
) -> PyResult<Object> {
    let environ = py.dict()?;
    let objects = interpreter.objects(py);
    for entry in request.environ() {
        if !entry.name.starts_with(hook::ARGUMENT.as_bytes()) {
            environ.set_item(&objects.key(py, entry.name)?, &template::decode(py, &entry)?)?;
        }
    }
    environ.set_item(&py.interned("wsgi.errors")?, errors)?;
    set_place(py, &environ, interpreter, config)?;
    Ok(environ)
}

/// Who runs it, and where.
fn set_place(
    py: Py,
    environ: &Object,
    interpreter: &Interpreter,
    config: &RuntimeConfig,
) -> PyResult<()> {
    let set = |name: &str, value: PyResult<Object>| environ.set_item(&py.interned(name)?, &value?);
    set("apache.version", api::server_version(py, config))?;
    set("mod_wsgi.version", api::version(py))?;
    set("mod_wsgi.process_group", py.str(&config.process_group))?;
    set("mod_wsgi.application_group", py.str(&interpreter.name))
}

/// What the URL was mapped to.
fn set_mapping(py: Py, environ: &Object, request: &Request<'_>) -> PyResult<()> {
    let set = |name: &str, value: PyResult<Object>| environ.set_item(&py.interned(name)?, &value?);
    let handler = request.known(key::REQUEST_HANDLER).unwrap_or(b"wsgi-script");
    set("mod_wsgi.request_handler", py.latin1(handler))?;
    let script = request.known(key::HANDLER_SCRIPT).unwrap_or_default();
    set("mod_wsgi.handler_script", py.path(script))?;
    // nginx sends it when a proxy's SCRIPT_NAME stands in for its own.
    let script_name = request.known(key::FRONT_SCRIPT_NAME);
    let script_name = script_name.or_else(|| request.known(key::SCRIPT_NAME));
    set("mod_wsgi.script_name", py.latin1(script_name.unwrap_or_default()))?;
    let path_info = request.known(key::PATH_INFO).unwrap_or_default();
    set("mod_wsgi.path_info", py.latin1(path_info))
}

fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}
