//! Starting Python.

use std::ffi::{CStr, CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use pyo3::ffi;

use super::StartError;
use crate::config::RuntimeConfig;

/// The interpreter this crate was built for: Python finds its library from there.
const BUILT_FOR: &str = env!("NGX_WSGI_PYTHON");

/// `major.minor.micro` of the Python that is linked.
pub fn version() -> String {
    // SAFETY: returns a static string.
    let text = unsafe { CStr::from_ptr(ffi::Py_GetVersion()) }.to_string_lossy().into_owned();
    text.split(' ').next().unwrap_or_default().to_owned()
}

/// Initialises Python; the thread holds the GIL afterwards.
pub fn initialize(config: &RuntimeConfig) -> Result<(), StartError> {
    let place = Place::find(config.python_home.as_deref())?;
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
        let started = configure(&mut python, &place)
            .and_then(|()| check(ffi::Py_InitializeFromConfig(&python)));
        ffi::PyConfig_Clear(&mut python);
        started
    }
}

/// # Safety
///
/// `python` was initialised by Python.
unsafe fn configure(python: &mut ffi::PyConfig, place: &Place) -> Result<(), StartError> {
    let name: Vec<i32> = "mod_wsgi\0".chars().map(|c| c as i32).collect();
    let config = std::ptr::from_mut(python);
    // SAFETY: fields of the same struct, as the API asks for; strings are copied.
    unsafe {
        check(ffi::PyWideStringList_Append(&mut (*config).argv, name.as_ptr().cast()))?;
        if let Some(home) = &place.home {
            let home = c_string(home.as_os_str())?;
            check(ffi::PyConfig_SetBytesString(config, &mut (*config).home, home.as_ptr()))?;
        }
        if let Some(program) = &place.program {
            let program = c_string(program.as_os_str())?;
            let field = &mut (*config).program_name;
            check(ffi::PyConfig_SetBytesString(config, field, program.as_ptr()))?;
        }
    }
    Ok(())
}

fn c_string(text: &OsStr) -> Result<CString, StartError> {
    CString::new(text.as_bytes()).map_err(|_| StartError("a path contains NUL".to_owned()))
}

fn check(status: ffi::PyStatus) -> Result<(), StartError> {
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

/// Where Python is told to look for itself.
struct Place {
    home: Option<PathBuf>,
    program: Option<PathBuf>,
}

impl Place {
    /// A virtual environment is named by its executable, an installation by its prefix.
    fn find(home: Option<&Path>) -> Result<Self, StartError> {
        let Some(home) = home else {
            let built_for = PathBuf::from(BUILT_FOR);
            return Ok(Place { home: None, program: built_for.is_file().then_some(built_for) });
        };
        let fail =
            |cause: String| StartError(format!("Python home \"{}\" {cause}", home.display()));
        let found =
            std::fs::metadata(home).map_err(|error| fail(format!("cannot be read: {error}")))?;
        if !found.is_dir() {
            return Err(fail("is not a directory".to_owned()));
        }
        let config = home.join("pyvenv.cfg");
        if config.is_file() {
            check_environment(&config).map_err(fail)?;
            return Ok(Place { home: None, program: Some(home.join("bin/python")) });
        }
        let library = format!("lib/python{}", short_version());
        if !home.join(&library).is_dir() {
            return Err(fail(format!(
                "is no installation of Python {}: it has no {library}",
                short_version()
            )));
        }
        Ok(Place { home: Some(home.to_owned()), program: None })
    }
}

/// A virtual environment of another Python cannot be used.
fn check_environment(config: &Path) -> Result<(), String> {
    let text =
        std::fs::read_to_string(config).map_err(|error| format!("cannot be read: {error}"))?;
    let version = text.lines().find_map(|line| {
        let (key, value) = line.split_once('=')?;
        key.trim().starts_with("version").then(|| value.trim().to_owned())
    });
    let own = short_version();
    match version {
        Some(version) if version != own && !version.starts_with(&format!("{own}.")) => {
            Err(format!("is a virtual environment of Python {version}, not of {own}"))
        }
        _ => Ok(()),
    }
}

/// `major.minor`.
fn short_version() -> String {
    version().split('.').take(2).collect::<Vec<_>>().join(".")
}
