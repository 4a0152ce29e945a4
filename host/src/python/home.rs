//! Where Python looks for its library: an installation, or a virtual environment made with one.
//!
//! Looked at before Python is: it says in one line what is wrong, where Python would print its
//! search paths and fail over a missing codec.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// The Python that this crate is built for, `major.minor`.
pub const VERSION: &str = env!("NGX_WSGI_PYTHON_VERSION");

/// Builds without the GIL have a library of their own.
const ABI: &str = if cfg!(Py_GIL_DISABLED) { "t" } else { "" };
/// Where installations keep libraries, by platform.
const LIBRARIES: [&str; 2] = ["lib", "lib64"];
/// What Python looks for, and what it cannot start without.
const LANDMARKS: [&str; 2] = ["os", "encodings/__init__"];

/// A place that holds a usable Python.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Home {
    /// An installation: its prefix or `prefix:exec_prefix`, and its executable if there is one.
    Installation { prefix: OsString, program: Option<PathBuf> },
    /// A virtual environment, which Python finds by its executable.
    Environment { program: PathBuf },
}

/// No Python can be started from there.
#[derive(Debug, Error)]
pub enum HomeError {
    #[error("\"{0}\" is not a directory")]
    NoDirectory(PathBuf),
    #[error("\"{path}\" cannot be read: {source}")]
    Unreadable { path: PathBuf, source: io::Error },
    #[error(
        "\"{0}\" is neither a virtual environment nor an installation of Python: it has neither \
         pyvenv.cfg nor lib/python{VERSION}{ABI}"
    )]
    NoPython(PathBuf),
    #[error("\"{home}\" is {what} of Python {version}, not of {VERSION}{ABI}")]
    OtherVersion { home: PathBuf, what: &'static str, version: String },
    #[error("\"{0}\" must be a prefix or prefix:exec_prefix")]
    Parts(PathBuf),
}

impl Home {
    /// Looks at a prefix or `prefix:exec_prefix`, with the rights of the calling process.
    ///
    /// # Errors
    ///
    /// [`HomeError`] when Python could not start from there.
    pub fn find(home: &Path) -> Result<Self, HomeError> {
        let parts: Vec<&Path> =
            home.as_os_str().as_bytes().split(|b| *b == b':').map(path).collect();
        for part in &parts {
            check_directory(part)?;
        }
        match parts[..] {
            [prefix] if exists(&prefix.join("pyvenv.cfg"))? => Self::environment(prefix),
            [prefix] => Self::installation(home, prefix),
            [prefix, exec_prefix] => {
                extensions(exec_prefix)?;
                Self::installation(home, prefix)
            }
            _ => Err(HomeError::Parts(home.to_owned())),
        }
    }

    fn installation(home: &Path, prefix: &Path) -> Result<Self, HomeError> {
        if !has_library(prefix)? {
            return Err(foreign(prefix, "an installation"));
        }
        let programs = [format!("bin/python{VERSION}{ABI}"), "bin/python3".to_owned()];
        let program = programs.iter().map(|name| prefix.join(name)).find(|name| name.is_file());
        Ok(Home::Installation { prefix: home.as_os_str().to_owned(), program })
    }

    fn environment(home: &Path) -> Result<Self, HomeError> {
        const WHAT: &str = "a virtual environment";
        let config = home.join("pyvenv.cfg");
        let text = fs::read_to_string(&config).map_err(unreadable(&config))?;
        let version = setting(&text, "version").or_else(|| setting(&text, "version_info"));
        match version {
            Some(version) if short(version) != VERSION => {
                let version = version.to_owned();
                return Err(HomeError::OtherVersion { home: home.to_owned(), what: WHAT, version });
            }
            _ => {}
        }
        let Some(library) = library_directory(home)? else { return Err(foreign(home, WHAT)) };
        let packages = library.join("site-packages");
        if exists(&packages)? {
            fs::read_dir(&packages).map_err(unreadable(&packages))?;
        }
        Ok(Home::Environment { program: home.join("bin/python") })
    }
}

fn path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> HomeError + '_ {
    move |source| HomeError::Unreadable { path: path.to_owned(), source }
}

/// The value of a key in pyvenv.cfg.
fn setting<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once('=')?;
        key.trim().eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// `major.minor` of a version.
fn short(version: &str) -> &str {
    let end = version.match_indices('.').nth(1).map_or(version.len(), |(at, _)| at);
    &version[..end]
}

fn check_directory(path: &Path) -> Result<(), HomeError> {
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => Err(HomeError::NoDirectory(path.to_owned())),
        Err(error) if is_absent(&error) => Err(HomeError::NoDirectory(path.to_owned())),
        Err(error) => Err(unreadable(path)(error)),
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

fn exists(path: &Path) -> Result<bool, HomeError> {
    match fs::metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if is_absent(&error) => Ok(false),
        Err(error) => Err(unreadable(path)(error)),
    }
}

/// The directory that this Python's library would be in.
fn library_directory(prefix: &Path) -> Result<Option<PathBuf>, HomeError> {
    for lib in LIBRARIES {
        let library = prefix.join(lib).join(format!("python{VERSION}{ABI}"));
        if exists(&library)? {
            return Ok(Some(library));
        }
    }
    Ok(None)
}

/// Whether a prefix has the library, which may be a ZIP archive.
fn has_library(prefix: &Path) -> Result<bool, HomeError> {
    let archive = format!("python{}.zip", VERSION.replace('.', ""));
    for lib in LIBRARIES {
        if exists(&prefix.join(lib).join(&archive))? {
            return Ok(true);
        }
    }
    let Some(library) = library_directory(prefix)? else { return Ok(false) };
    fs::read_dir(&library).map_err(unreadable(&library))?;
    for landmark in LANDMARKS {
        if !has_module(&library.join(landmark))? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn has_module(stem: &Path) -> Result<bool, HomeError> {
    for extension in ["py", "pyc"] {
        let file = stem.with_extension(extension);
        match fs::File::open(&file) {
            Ok(_) => return Ok(true),
            Err(error) if is_absent(&error) => {}
            Err(error) => return Err(unreadable(&file)(error)),
        }
    }
    Ok(false)
}

/// Where an exec_prefix has extension modules.
fn extensions(exec_prefix: &Path) -> Result<(), HomeError> {
    match library_directory(exec_prefix)? {
        Some(library) if exists(&library.join("lib-dynload"))? => Ok(()),
        _ => Err(foreign(exec_prefix, "an installation")),
    }
}

/// The error for a place without the library: it may have that of another version.
fn foreign(home: &Path, what: &'static str) -> HomeError {
    let mut versions: Vec<String> = LIBRARIES
        .iter()
        .filter_map(|lib| fs::read_dir(home.join(lib)).ok())
        .flat_map(|entries| entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()))
        .filter_map(|name| name.strip_prefix("python").map(str::to_owned))
        .filter(|version| {
            version.starts_with(|c: char| c.is_ascii_digit()) && version.contains('.')
        })
        .filter(|version| *version != format!("{VERSION}{ABI}") && !version.ends_with(".zip"))
        .collect();
    versions.sort();
    versions.dedup();
    if versions.is_empty() {
        return HomeError::NoPython(home.to_owned());
    }
    HomeError::OtherVersion { home: home.to_owned(), what, version: versions.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(name: &str) -> PathBuf {
        let path =
            std::env::temp_dir().join(format!("ngx-wsgi-home-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        path
    }

    fn write(path: PathBuf, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn error(home: &Path) -> String {
        Home::find(home).unwrap_err().to_string()
    }

    #[test]
    fn installations() {
        let home = directory("installation");
        assert!(error(&home).contains("neither"), "{}", error(&home));
        fs::create_dir_all(home.join("lib/python2.7")).unwrap();
        assert!(error(&home).ends_with(&format!("of Python 2.7, not of {VERSION}{ABI}")));
        let library = home.join("lib").join(format!("python{VERSION}{ABI}"));
        write(library.join("os.py"), "");
        assert!(Home::find(&home).is_err(), "no encodings");
        write(library.join("encodings/__init__.pyc"), "");
        assert!(matches!(Home::find(&home), Ok(Home::Installation { program: None, .. })));
        write(home.join("bin/python3"), "");
        let program = Some(home.join("bin/python3"));
        let prefix = home.clone().into_os_string();
        assert_eq!(Home::find(&home).unwrap(), Home::Installation { prefix, program });

        let mut pair = home.clone().into_os_string();
        pair.push(":");
        pair.push(&home);
        assert!(Home::find(Path::new(&pair)).is_err(), "no lib-dynload");
        fs::create_dir_all(library.join("lib-dynload")).unwrap();
        assert!(
            matches!(Home::find(Path::new(&pair)), Ok(Home::Installation { prefix, .. }) if prefix == pair)
        );
        pair.push(":/");
        assert!(error(Path::new(&pair)).contains("prefix:exec_prefix"));
        fs::remove_dir_all(home).unwrap();
    }

    #[test]
    fn environments() {
        let home = directory("environment");
        let config = |text: &str| write(home.join("pyvenv.cfg"), text);
        config("home = /usr/bin\nversion = 3.3.7\n");
        assert!(error(&home).contains("a virtual environment of Python 3.3.7"));
        config(&format!("home = /usr/bin\nversion_info = {VERSION}.1.final.0\n"));
        assert!(error(&home).contains("neither"));
        fs::create_dir_all(home.join("lib").join(format!("python{VERSION}{ABI}"))).unwrap();
        let program = home.join("bin/python");
        assert_eq!(Home::find(&home).unwrap(), Home::Environment { program });
        fs::remove_dir_all(home).unwrap();
    }

    #[test]
    fn no_directories() {
        assert_eq!(error(Path::new("/does/not/exist")), "\"/does/not/exist\" is not a directory");
        assert_eq!(error(Path::new("/etc/passwd/x")), "\"/etc/passwd/x\" is not a directory");
        assert_eq!(error(Path::new("/etc/passwd")), "\"/etc/passwd\" is not a directory");
    }
}
