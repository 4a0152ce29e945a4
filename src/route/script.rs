//! From an alias's target and the rest of the URL to the script file.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::io::ErrorKind;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use ngx_wsgi_host::clock::file_us;
use thiserror::Error;

/// A script and how the URL divides at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script<'a> {
    /// The file.
    pub path: Cow<'a, [u8]>,
    /// How much of the rest of the URL belongs to SCRIPT_NAME: 0 for a file target.
    pub taken: usize,
    /// When the file was modified, microseconds since the epoch.
    pub modified: Option<i64>,
}

/// There is no script to run (mod_wsgi semantics a.8).
#[derive(Debug, Error)]
pub enum NoScript {
    /// 404.
    #[error("Target WSGI script not found or unable to stat: {0}")]
    Missing(String),
    /// 403.
    #[error("Target WSGI script is a directory: {0}")]
    Directory(String),
    /// 403.
    #[error("Target WSGI script cannot be reached: {path}: {source}")]
    Denied { path: String, source: std::io::Error },
    /// 500.
    #[error("no memory for the name of a file")]
    Memory,
}

/// Finds the script: the target itself when it is a file, else the first file met when walking
/// from the target along the segments of `rest`, as Apache's directory walk does.
///
/// # Errors
///
/// [`NoScript`], whose variants name the HTTP status.
pub fn find<'a>(target: &'a [u8], rest: &[u8]) -> Result<Script<'a>, NoScript> {
    let mut path = Cow::Borrowed(Path::new(OsStr::from_bytes(target)));
    let mut taken = 0;
    loop {
        let shown = || path.display().to_string();
        match std::fs::metadata(&path) {
            Ok(found) if !found.is_dir() => {
                let path = match path {
                    Cow::Borrowed(_) => Cow::Borrowed(target),
                    Cow::Owned(path) => Cow::Owned(path.into_os_string().into_vec()),
                };
                let modified = found.modified().ok().map(file_us);
                return Ok(Script { path, taken, modified });
            }
            Ok(_) => {}
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                return Err(NoScript::Missing(shown()))
            }
            Err(source) => return Err(NoScript::Denied { path: shown(), source }),
        }
        let Some((segment, end)) = next_segment(rest, taken) else {
            return Err(NoScript::Directory(shown()));
        };
        path.to_mut().push(OsStr::from_bytes(segment));
        // A substitution may have made one of the URL's text: it must not lead out of the target.
        if segment == b".." {
            return Err(NoScript::Missing(path.display().to_string()));
        }
        taken = end;
    }
}

/// The segment after `from`, and where it ends.
fn next_segment(rest: &[u8], from: usize) -> Option<(&[u8], usize)> {
    let start = from + rest[from..].iter().position(|byte| *byte != b'/')?;
    let end = rest[start..].iter().position(|byte| *byte == b'/').map_or(rest.len(), |n| start + n);
    Some((&rest[start..end], end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn tree(name: &str) -> PathBuf {
        let root = std::env::temp_dir().join(format!("ngx-wsgi-{name}-{}", std::process::id()));
        std::fs::create_dir_all(root.join("sub")).unwrap();
        std::fs::write(root.join("a.wsgi"), "").unwrap();
        std::fs::write(root.join("sub/b.wsgi"), "").unwrap();
        root
    }

    #[test]
    fn segments_lead_to_the_script() {
        let root = tree("walk");
        let target = root.as_os_str().as_bytes();
        let found = |rest: &[u8]| find(target, rest).map(|s| (s.path.into_owned(), s.taken));
        let file = |name: &str| root.join(name).into_os_string().into_vec();
        assert_eq!(found(b"/a.wsgi/x/y").unwrap(), (file("a.wsgi"), 7));
        assert_eq!(found(b"/sub/b.wsgi").unwrap(), (file("sub/b.wsgi"), 11));
        assert!(matches!(found(b"/none/x"), Err(NoScript::Missing(_))));
        assert!(matches!(found(b"/sub/"), Err(NoScript::Directory(_))));
        assert!(matches!(found(b""), Err(NoScript::Directory(_))));
        assert!(matches!(found(b"/sub/../a.wsgi"), Err(NoScript::Missing(_))));
        let script = file("a.wsgi");
        assert_eq!(find(&script, b"/x").unwrap().taken, 0);
        std::fs::remove_dir_all(root).unwrap();
    }
}
