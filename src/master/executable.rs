//! Where the host executable is.

use std::ffi::{CStr, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use thiserror::Error;

const NAME: &str = "ngx-wsgi-host";
/// Where distributions install it.
const LIBEXEC: &str = "/usr/libexec/ngx-wsgi";

/// The executable was not found.
#[derive(Debug, Error)]
#[error(
    "cannot find {NAME} beside the module ({beside}) nor in {LIBEXEC}: \
     install it there, or name it with \"wsgi_daemon_executable\""
)]
pub struct NotFound {
    beside: String,
}

/// The executable that runs daemon processes.
#[derive(Clone, Debug)]
pub struct HostExecutable(pub PathBuf);

impl HostExecutable {
    /// The configured one, else the one beside the module's shared object, else the installed one.
    ///
    /// # Errors
    ///
    /// [`NotFound`] when there is none.
    pub fn find(configured: Option<&Path>) -> Result<Self, NotFound> {
        if let Some(path) = configured {
            return Ok(HostExecutable(path.to_owned()));
        }
        let beside = module_dir().unwrap_or_default().join(NAME);
        [beside.clone(), Path::new(LIBEXEC).join(NAME)]
            .into_iter()
            .find(|path| path.is_file())
            .map(HostExecutable)
            .ok_or_else(|| NotFound { beside: beside.display().to_string() })
    }
}

/// The directory of the shared object that this code is in.
fn module_dir() -> Option<PathBuf> {
    let here = HostExecutable::find as *const ();
    // SAFETY: dladdr only looks the address up; the name it returns lives as long as the object,
    // which is never unloaded (-z nodelete).
    let name = unsafe {
        let mut info: libc::Dl_info = std::mem::zeroed();
        if libc::dladdr(here.cast(), &mut info) == 0 || info.dli_fname.is_null() {
            return None;
        }
        CStr::from_ptr(info.dli_fname)
    };
    let path = std::fs::canonicalize(OsStr::from_bytes(name.to_bytes())).ok()?;
    path.parent().map(Path::to_owned)
}
