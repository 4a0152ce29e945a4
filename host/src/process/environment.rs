//! Working directory, umask, environment variables and locale of a daemon process.

use std::env;
use std::ffi::CString;
use std::path::Path;

use nix::sys::stat::{umask, Mode};
use nix::unistd::chdir;

use super::SetupError;
use crate::config::GroupConfig;

/// `home=`; otherwise the user's home directory, or the root directory where there is none.
pub fn enter_directory(group: &GroupConfig) -> Result<(), SetupError> {
    let enter = |path: &Path| {
        chdir(path).map_err(SetupError::step(format!("change to directory {}", path.display())))
    };
    if let Some(home) = &group.home {
        return enter(home);
    }
    match &group.user_home {
        Some(home) if enter(home).is_ok() => Ok(()),
        _ => enter(Path::new("/")),
    }
}

/// `umask=`; otherwise the supervisor's, 022.
pub fn set_umask(group: &GroupConfig) {
    if let Some(mask) = group.umask {
        umask(Mode::from_bits_truncate(mask as libc::mode_t));
    }
}

/// Takes nginx's own variables away, names the user the process runs as, and chooses the language.
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
    if let Some(lang) = &group.lang {
        env::set_var("LANG", lang);
    }
    if let Some(locale) = &group.locale {
        env::set_var("LC_ALL", locale);
        set_locale(&group.name, locale);
    }
}

/// Python would set the part for characters only.
fn set_locale(group: &str, locale: &str) {
    let known = CString::new(locale).is_ok_and(|name| {
        // SAFETY: a C string; the process has one thread yet, so nobody uses the old locale.
        unsafe { !libc::setlocale(libc::LC_ALL, name.as_ptr()).is_null() }
    });
    if !known {
        tracing::warn!("daemon process group \"{group}\": no locale \"{locale}\" here");
    }
}
