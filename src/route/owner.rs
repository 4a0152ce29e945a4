//! Whose a script has to be: `script-user=` and `script-group=`.

use std::ffi::OsStr;
use std::fs::Metadata;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::unistd::{Gid, Uid};
use thiserror::Error;

const GROUP_WRITABLE: u32 = 0o020;
const WORLD_WRITABLE: u32 = 0o002;

/// Who has to own a script and its directory.
#[derive(Clone, Copy, Debug)]
pub enum Owner {
    /// And nobody else may write to them.
    User(Uid),
    /// And nobody outside the group may.
    Group(Gid),
}

/// A script is somebody else's, or somebody else may change it.
#[derive(Debug, Error)]
#[error("\"{option}\" refuses the WSGI script {script}: {path} {cause}")]
pub struct Foreign {
    option: &'static str,
    script: String,
    path: String,
    cause: String,
}

/// Checks the script and the directory that it is in.
///
/// # Errors
///
/// [`Foreign`] naming the file or directory, and the cause.
pub fn check(script: &[u8], owner: Owner) -> Result<(), Foreign> {
    let script = Path::new(OsStr::from_bytes(script));
    for path in [Some(script), script.parent()].into_iter().flatten() {
        let found = match std::fs::metadata(path) {
            Ok(found) => objection(&found, owner),
            Err(error) => Some(format!("cannot be looked at: {error}")),
        };
        if let Some(cause) = found {
            let option = match owner {
                Owner::User(_) => "script-user",
                Owner::Group(_) => "script-group",
            };
            let (script, path) = (script.display().to_string(), path.display().to_string());
            return Err(Foreign { option, script, path, cause });
        }
    }
    Ok(())
}

fn objection(found: &Metadata, owner: Owner) -> Option<String> {
    let mode = found.mode();
    match owner {
        Owner::User(user) if found.uid() != user.as_raw() => {
            Some(format!("belongs to user {}, not to {user}", found.uid()))
        }
        Owner::Group(group) if found.gid() != group.as_raw() => {
            Some(format!("belongs to group {}, not to {group}", found.gid()))
        }
        Owner::User(_) if mode & GROUP_WRITABLE != 0 => Some("is writable by its group".into()),
        _ if mode & WORLD_WRITABLE != 0 => Some("is writable by everybody".into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn file_and_directory_are_looked_at() {
        let dir = std::env::temp_dir().join(format!("ngx-wsgi-owner-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let script = dir.join("a.wsgi");
        std::fs::write(&script, "").unwrap();
        let found = std::fs::metadata(&script).unwrap();
        let user = Owner::User(Uid::from_raw(found.uid()));
        let group = Owner::Group(Gid::from_raw(found.gid()));
        let verdict = |file: u32, directory: u32, owner| {
            let mode = |path: &Path, mode| {
                std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
            };
            mode(&script, file);
            mode(&dir, directory);
            check(script.as_os_str().as_bytes(), owner).map_err(|error| error.to_string())
        };
        assert_eq!(verdict(0o644, 0o755, user), Ok(()));
        assert_eq!(verdict(0o664, 0o775, group), Ok(()));
        assert!(verdict(0o664, 0o755, user)
            .unwrap_err()
            .ends_with("a.wsgi is writable by its group"));
        assert!(verdict(0o644, 0o775, user).unwrap_err().contains("is writable by its group"));
        assert!(verdict(0o646, 0o755, group).unwrap_err().contains("by everybody"));
        assert!(verdict(0o644, 0o757, user).unwrap_err().contains("by everybody"));
        let other = Owner::User(Uid::from_raw(found.uid() + 1));
        assert!(verdict(0o644, 0o755, other).unwrap_err().contains("belongs to user"));
        let other = Owner::Group(Gid::from_raw(found.gid() + 1));
        assert!(verdict(0o644, 0o755, other).unwrap_err().contains("belongs to group"));
        std::fs::remove_dir_all(dir).unwrap();
        assert!(check(script.as_os_str().as_bytes(), user).is_err());
    }
}
