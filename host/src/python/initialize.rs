//! Starting Python.

use std::ffi::{CStr, CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use pyo3::ffi;

use super::home::Home;
use super::StartError;
use crate::config::{HashSeed, PythonConfig};

/// The interpreter this crate was built for: Python finds its library from there.
const BUILT_FOR: &str = env!("NGX_WSGI_PYTHON");

/// `major.minor.micro` of the Python that is linked.
pub fn version() -> String {
    // SAFETY: returns a static string.
    let text = unsafe { CStr::from_ptr(ffi::Py_GetVersion()) }.to_string_lossy().into_owned();
    text.split(' ').next().unwrap_or_default().to_owned()
}

/// Initialises Python; the thread holds the GIL afterwards.
pub fn initialize(config: &PythonConfig, free_threading: bool) -> Result<(), StartError> {
    let home = find_home(config)?;
    // SAFETY: plain structs that Python's own functions initialise before anything reads them.
    unsafe {
        let mut pre: ffi::PyPreConfig = std::mem::zeroed();
        ffi::PyPreConfig_InitPythonConfig(&mut pre);
        pre.parse_argv = 0;
        check(ffi::Py_PreInitialize(&pre))?;

        let mut python: ffi::PyConfig = std::mem::zeroed();
        ffi::PyConfig_InitPythonConfig(&mut python);
        python.parse_argv = 0;
        python.install_signal_handlers = 0;
        set_switches(&mut python, config);
        set_free_threading(&mut python, free_threading);
        let started = set_strings(&mut python, config, home.as_ref())
            .and_then(|()| check(ffi::Py_InitializeFromConfig(&python)));
        ffi::PyConfig_Clear(&mut python);
        started
    }
}

/// The configured home, which counts before the environment variable PYTHONHOME; `None` leaves it
/// to that, or to where the Python is that this crate was built for.
fn find_home(config: &PythonConfig) -> Result<Option<Home>, StartError> {
    const VARIABLE: &str = "PYTHONHOME";
    let variable = std::env::var_os(VARIABLE).filter(|value| !value.is_empty());
    if let Some(home) = &config.home {
        // Python would look there for the library of a virtual environment.
        if variable.is_some() {
            std::env::remove_var(VARIABLE);
        }
        return Home::find(home).map(Some).map_err(|e| StartError(format!("Python home {e}")));
    }
    let Some(variable) = variable else { return Ok(None) };
    let fail = |cause: String| StartError(format!("environment variable {VARIABLE}: {cause}"));
    match Home::find(Path::new(&variable)) {
        Ok(Home::Installation { .. }) => Ok(None),
        Ok(Home::Environment { .. }) => Err(fail(format!(
            "{variable:?} is a virtual environment, which only the configuration can name"
        ))),
        Err(error) => Err(fail(error.to_string())),
    }
}

/// What is not set here Python takes from its own environment variables.
fn set_switches(python: &mut ffi::PyConfig, config: &PythonConfig) {
    if config.optimize > 0 {
        python.optimization_level = config.optimize.into();
    }
    if config.dont_write_bytecode {
        python.write_bytecode = 0;
    }
    match config.hash_seed {
        None => {}
        Some(HashSeed::Random) => python.use_hash_seed = 0,
        Some(HashSeed::Fixed(seed)) => {
            python.use_hash_seed = 1;
            python.hash_seed = seed.into();
        }
    }
}

/// Without a GIL only where that was asked for; then Python decides, which takes one nevertheless for
/// an extension module that needs it.
#[cfg(Py_GIL_DISABLED)]
fn set_free_threading(python: &mut ffi::PyConfig, on: bool) {
    const DEFAULT: std::ffi::c_int = -1;
    const ENABLED: std::ffi::c_int = 1;
    python.enable_gil = if on { DEFAULT } else { ENABLED };
}

#[cfg(not(Py_GIL_DISABLED))]
fn set_free_threading(_: &mut ffi::PyConfig, _: bool) {}

/// # Safety
///
/// `python` was initialised by Python.
unsafe fn set_strings(
    python: &mut ffi::PyConfig,
    config: &PythonConfig,
    home: Option<&Home>,
) -> Result<(), StartError> {
    let python = std::ptr::from_mut(python);
    let wide = |text: &str| text.chars().chain(['\0']).map(|c| c as i32).collect::<Vec<i32>>();
    let built_for = Path::new(BUILT_FOR);
    let (prefix, program) = match home {
        Some(Home::Installation { prefix, program }) => (Some(prefix), program.as_deref()),
        Some(Home::Environment { program }) => (None, Some(program.as_path())),
        None => (None, Some(built_for).filter(|built_for| built_for.is_file())),
    };
    // SAFETY: fields of the same struct, as the API asks for; strings are copied.
    unsafe {
        let name = wide("mod_wsgi");
        check(ffi::PyWideStringList_Append(&mut (*python).argv, name.as_ptr().cast()))?;
        for filter in &config.warnings {
            let list = &mut (*python).warnoptions;
            check(ffi::PyWideStringList_Append(list, wide(filter).as_ptr().cast()))?;
        }
        if let Some(prefix) = prefix {
            let prefix = c_string(prefix)?;
            check(ffi::PyConfig_SetBytesString(python, &mut (*python).home, prefix.as_ptr()))?;
        }
        if let Some(program) = program {
            let program = c_string(program.as_os_str())?;
            let field = &mut (*python).program_name;
            check(ffi::PyConfig_SetBytesString(python, field, program.as_ptr()))?;
        }
    }
    Ok(())
}

fn c_string(text: &OsStr) -> Result<CString, StartError> {
    CString::new(text.as_bytes()).map_err(|_| StartError("a path contains NUL".to_owned()))
}

/// An error, if Python says that there is one.
pub fn check(status: ffi::PyStatus) -> Result<(), StartError> {
    // SAFETY: a status that Python returned; its message is static.
    unsafe {
        if ffi::PyStatus_Exception(status) == 0 {
            return Ok(());
        }
        let message = if status.err_msg.is_null() {
            "unknown cause".to_owned()
        } else {
            CStr::from_ptr(status.err_msg).to_string_lossy().into_owned()
        };
        Err(StartError(message))
    }
}
