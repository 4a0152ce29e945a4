//! The Python modules `mod_wsgi` and `apache`, and the preparation of an interpreter.

mod metrics;
mod server;

use std::ffi::CStr;

use pyo3::ffi;

use crate::config::{InterpreterSettings, RuntimeConfig};
use crate::log::Level;
use crate::python::class::{add_functions, arguments, function};
use crate::python::object::{Kind, Object, Py, PyResult};
use crate::python::record;
use crate::wsgi::{Current, Types};

pub use server::set_up;

/// A file of this crate as a C string.
macro_rules! source {
    ($path:literal) => {
        match CStr::from_bytes_with_nul(concat!(include_str!($path), "\0").as_bytes()) {
            Ok(source) => source,
            Err(_) => panic!("a source with NUL in it"),
        }
    };
}

/// The release of mod_wsgi whose semantics are followed, as `mod_wsgi.version` tells it.
pub const MOD_WSGI_VERSION: (u32, u32, u32) = (6, 0, 5);

/// What can be said well in Python is: run in this order in one namespace of each interpreter,
/// before anything else.
const SOURCES: [&CStr; 5] = [
    source!("api/streams.py"),
    source!("api/events.py"),
    source!("api/stacks.py"),
    source!("api/log_handler.py"),
    source!("api/bootstrap.py"),
];

/// What applications see of the sources' namespace as the module `mod_wsgi`.
const PUBLIC: [&str; 21] = [
    "version",
    "process_group",
    "application_group",
    "maximum_processes",
    "threads_per_process",
    "FileWrapper",
    "RequestTimeout",
    "active_requests",
    "request_data",
    "start_recording_metrics",
    "request_metrics",
    "process_metrics",
    "server_metrics",
    "event_callbacks",
    "shutdown_callbacks",
    "signal_callbacks",
    "subscribe_events",
    "subscribe_shutdown",
    "subscribe_signals",
    "__getattr__",
    "__dir__",
];

/// The module `mod_wsgi` of one interpreter.
pub struct Api {
    publish: Object,
    event_callbacks: Object,
    join_threads: Object,
    active_requests: Object,
    /// The exception of a request that takes too long.
    pub request_timeout: Object,
    /// `_stacks(names, only)`
    pub stacks: Object,
}

impl Api {
    /// Makes the modules, and prepares streams, signals and paths.
    pub fn install(
        py: Py,
        group: &str,
        config: &RuntimeConfig,
        settings: &InterpreterSettings,
        types: &Types,
    ) -> PyResult<Self> {
        let namespace = py.dict()?;
        let set = |name: &str, value: PyResult<Object>| -> PyResult<()> {
            namespace.set_item(&py.interned(name)?, &value?)
        };
        set("__name__", py.str("mod_wsgi"))?;
        set("version", triple(py, MOD_WSGI_VERSION))?;
        set("process_group", py.str(&config.process_group))?;
        set("application_group", py.str(group))?;
        set("maximum_processes", py.int(i64::from(config.processes)))?;
        set("threads_per_process", py.int(i64::from(config.threads)))?;
        set("FileWrapper", Ok(types.file_wrapper.clone()))?;
        set("_Stream", Ok(types.stream.clone()))?;
        set("_apache", apache(py, config))?;
        let bytes = |path: &std::path::PathBuf| {
            use std::os::unix::ffi::OsStrExt;
            path.as_os_str().as_bytes().to_vec()
        };
        let paths: PyResult<Vec<_>> = settings
            .python_path
            .iter()
            .map(|path| {
                let path: Vec<_> = path.iter().map(bytes).collect();
                py.path_list(path.iter().map(Vec::as_slice))
            })
            .collect();
        set("_python_paths", py.tuple(&paths?.iter().collect::<Vec<_>>()))?;
        let home: Vec<_> = config.home.iter().map(bytes).collect();
        set("_home", py.path_list(home.iter().map(Vec::as_slice)))?;
        let eggs: Vec<_> = config.python_eggs.iter().map(bytes).collect();
        set("_python_eggs", py.path_list(eggs.iter().map(Vec::as_slice)))?;
        set("_restrict_stdin", Ok(py.bool(settings.restrict_stdin)))?;
        set("_restrict_stdout", Ok(py.bool(settings.restrict_stdout)))?;
        set("_service", Ok(py.bool(config.service)))?;
        set("_restrict_signal", Ok(py.bool(settings.restrict_signal)))?;
        add_functions(
            py,
            &namespace,
            const {
                &[
                    function!(c"_log", log),
                    function!(c"request_data", request_data),
                    function!(c"start_recording_metrics", metrics::start_recording),
                    function!(c"request_metrics", metrics::request_metrics),
                    function!(c"process_metrics", metrics::process_metrics),
                    function!(c"server_metrics", metrics::server_metrics),
                ]
            },
        )?;
        let builtins = builtins()?;
        namespace.set_item(&py.interned("__builtins__")?, &builtins)?;
        SOURCES.iter().try_for_each(|source| run(py, source, &namespace))?;
        let find = |name: &str| {
            let found = namespace.get_item(&py.interned(name)?)?;
            found.ok_or_else(|| py.raise(Kind::Runtime, name))
        };
        let module = new_module(py, "mod_wsgi")?.attr(c"__dict__")?;
        for name in PUBLIC {
            module.set_item(&py.interned(name)?, &find(name)?)?;
        }
        types.adopt_streams(py, find("_ErrorStream")?);
        Ok(Api {
            publish: find("_publish")?,
            event_callbacks: find("event_callbacks")?,
            join_threads: find("_join_threads")?,
            active_requests: find("active_requests")?,
            request_timeout: find("RequestTimeout")?,
            stacks: find("_stacks")?,
        })
    }

    /// Notes a request as running, under its id.
    pub fn enter_request(&self, id: &Object, data: &Object) -> PyResult<()> {
        self.active_requests.set_item(id, data)
    }

    /// The request is over.
    pub fn leave_request(&self, id: &Object) -> PyResult<()> {
        self.active_requests.remove_item(id)
    }

    /// Whether anybody wants to know of events.
    pub fn has_subscribers(&self) -> bool {
        !self.event_callbacks.is_empty_list()
    }

    /// Tells the subscribers of an event. What they raise is logged; `payload` is a dict, and has
    /// what they returned afterwards.
    pub fn publish(&self, py: Py, event: &str, payload: &Object) -> PyResult<()> {
        self.publisher().publish(py, event, payload)
    }

    /// What publishes this interpreter's events.
    pub fn publisher(&self) -> Publisher {
        Publisher(self.publish.clone())
    }

    /// Waits for the application's threads that are no daemons.
    pub fn join_threads(&self, _: Py) -> PyResult<()> {
        self.join_threads.call(&[]).map(drop)
    }
}

/// Publishes the events of an interpreter.
#[derive(Clone)]
pub struct Publisher(Object);

impl Publisher {
    /// As [`Api::publish`].
    pub fn publish(&self, py: Py, event: &str, payload: &Object) -> PyResult<()> {
        self.0.call(&[&py.interned(event)?, payload]).map(drop)
    }
}

/// A module that is in `sys.modules`.
fn new_module(py: Py, name: &str) -> PyResult<Object> {
    let name = py.interned(name)?;
    // SAFETY: attached; the module is borrowed from sys.modules and gets a reference of its own.
    unsafe { Object::from_borrowed(ffi::PyImport_AddModuleObject(name.as_ptr())) }
}

fn triple(py: Py, version: (u32, u32, u32)) -> PyResult<Object> {
    let number = |n: u32| py.int(i64::from(n));
    py.tuple(&[&number(version.0)?, &number(version.1)?, &number(version.2)?])
}

/// Facts for the module `apache`.
fn apache(py: Py, config: &RuntimeConfig) -> PyResult<Object> {
    let (major, minor, patch) = config.python.server_version;
    let facts = py.dict()?;
    facts.set_item(&py.interned("version")?, &triple(py, config.python.server_version)?)?;
    let description = format!("nginx/{major}.{minor}.{patch}");
    facts.set_item(&py.interned("description")?, &py.str(&description)?)?;
    Ok(facts)
}

/// The version tuple of the server, for the environ.
pub fn server_version(py: Py, config: &RuntimeConfig) -> PyResult<Object> {
    triple(py, config.python.server_version)
}

/// The version tuple of mod_wsgi, for the environ.
pub fn version(py: Py) -> PyResult<Object> {
    triple(py, MOD_WSGI_VERSION)
}

fn builtins() -> PyResult<Object> {
    // SAFETY: attached; borrowed from the interpreter.
    unsafe { Object::from_borrowed(ffi::PyEval_GetBuiltins()) }
}

fn run(_: Py, source: &CStr, namespace: &Object) -> PyResult<()> {
    // SAFETY: attached; the namespace is a live dict.
    unsafe {
        let code = Object::from_owned(ffi::Py_CompileString(
            source.as_ptr(),
            c"<mod_wsgi>".as_ptr(),
            ffi::Py_file_input,
        ))?;
        Object::from_owned(ffi::PyEval_EvalCode(
            code.as_ptr(),
            namespace.as_ptr(),
            namespace.as_ptr(),
        ))
        .map(drop)
    }
}

/// `_log(level, text)`: nginx's number of the level, and text of one or more lines.
fn log(py: Py, tuple: &Object) -> PyResult<Object> {
    let arguments = arguments(py, "_log", tuple, 2, 2)?;
    let level = arguments[0].as_int().and_then(|n| u8::try_from(n).ok()).unwrap_or(4);
    let text = arguments[1].encode_utf8(c"backslashreplace")?;
    let text = text.as_bytes().unwrap_or_default();
    for line in text.strip_suffix(b"\n").unwrap_or(text).split(|byte| *byte == b'\n') {
        record::line(py, Level::from_number(level), line);
    }
    Ok(py.none())
}

/// `request_data()`: the data of the request that the thread serves.
fn request_data(py: Py, tuple: &Object) -> PyResult<Object> {
    arguments(py, "request_data", tuple, 0, 0)?;
    match Current::data() {
        Some(data) => Ok(data),
        None => Err(py.raise(Kind::Runtime, "no active request for thread")),
    }
}
