//! Working directory, umask and environment variables of a daemon process.

use std::env;
use std::path::Path;

use nix::sys::stat::{umask, Mode};
use nix::unistd::chdir;

use super::SetupError;
use crate::config::GroupConfig;

/// `home=`; otherwise the user's home directory where the process has a user of its own; otherwise
/// the root directory.
pub fn enter_directory(group: &GroupConfig) -> Result<(), SetupError> {
    let enter = |path: &Path| {
        chdir(path).map_err(SetupError::step(format!("change to directory {}", path.display())))
    };
    if let Some(home) = &group.home {
        return enter(home);
    }
    match &group.user_home {
        Some(home) if group.credentials.is_some() && enter(home).is_ok() => Ok(()),
        _ => enter(Path::new("/")),
    }
}

/// `umask=`; otherwise the supervisor's, 022.
pub fn set_umask(group: &GroupConfig) {
    if let Some(mask) = group.umask {
        umask(Mode::from_bits_truncate(mask as libc::mode_t));
    }
}

/// Takes nginx's own variables away and names the user the process runs as.
pub fn set_variables(group: &GroupConfig) {
    for (name, _) in env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"NGINX") {
            env::remove_var(name);
        }
    }
    if let Some(home) = &group.user_home {
        env::set_var("HOME", home);
    }
    if let Some(user) = &group.user_name {
        for name in ["USER", "USERNAME", "LOGNAME"] {
            if env::var_os(name).is_some() {
                env::set_var(name, user);
            }
        }
    }
}
