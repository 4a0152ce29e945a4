//! `ngx-wsgi-host`: started by nginx to supervise and run daemon processes.

use std::env;
use std::ffi::CStr;
use std::process::ExitCode;

use ngx_wsgi_host::supervisor;

fn main() -> ExitCode {
    let argument = env::args().nth(1).unwrap_or_default();
    if argument == "--version" {
        println!("ngx-wsgi-host {} (Python {})", env!("CARGO_PKG_VERSION"), python_version());
        return ExitCode::SUCCESS;
    }
    let Ok(config) = argument.parse() else {
        eprintln!("usage: ngx-wsgi-host --version (nginx starts it with a descriptor's number)");
        return ExitCode::from(2);
    };
    match supervisor::run(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ngx-wsgi-host: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Version of the Python library that this executable is linked with.
fn python_version() -> String {
    // SAFETY: may be called before Python is initialised; returns a static string.
    let version = unsafe { CStr::from_ptr(pyo3::ffi::Py_GetVersion()) }.to_string_lossy();
    version.split_whitespace().next().unwrap_or("unknown").to_owned()
}
