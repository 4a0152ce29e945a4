//! The listening sockets of daemon processes.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::errno::Errno;
use nix::sys::socket::{bind, socket, AddressFamily, SockFlag, SockType, UnixAddr};
use nix::unistd::{chown, Gid, Uid};
use thiserror::Error;

/// Longest path of a unix socket: sun_path without its final NUL.
const PATH_MAX: usize = 107;
/// Leases keep nginx from connecting more often than there are threads; this is beyond them.
pub const BACKLOG: i32 = 511;

static GENERATIONS: AtomicU32 = AtomicU32::new(0);

/// The names of a generation's sockets: `PREFIX.PID.GENERATION.GROUP.PROCESS.sock`.
#[derive(Clone, Debug)]
pub struct SocketNames {
    prefix: PathBuf,
    generation: u32,
}

/// The sockets cannot have the configured names.
#[derive(Debug, Error)]
#[error("\"{prefix}\" makes socket paths longer than the {PATH_MAX} bytes a unix socket may have")]
pub struct TooLong {
    prefix: String,
}

/// A socket could not be made.
#[derive(Debug, Error)]
#[error("cannot {step} \"{path}\": {source}")]
pub struct SocketError {
    step: &'static str,
    path: String,
    source: io::Error,
}

impl SocketNames {
    /// Names for the next generation of this process. The default prefix lies beside the pid file.
    pub fn next(prefix: Option<&Path>, pid_file: &Path) -> Self {
        let beside = || pid_file.parent().unwrap_or(Path::new("/run")).join("wsgi");
        SocketNames {
            prefix: prefix.map_or_else(beside, Path::to_owned),
            generation: GENERATIONS.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// The path of one socket.
    pub fn path(&self, group: usize, process: usize) -> PathBuf {
        self.numbered(std::process::id(), self.generation, group, process)
    }

    fn numbered(&self, pid: u32, generation: u32, group: usize, process: usize) -> PathBuf {
        let mut path = self.prefix.clone().into_os_string();
        path.push(format!(".{pid}.{generation}.{group}.{process}.sock"));
        PathBuf::from(path)
    }

    /// Checks the path's length for the largest numbers that can come up.
    ///
    /// # Errors
    ///
    /// [`TooLong`].
    pub fn check(&self) -> Result<(), TooLong> {
        let longest = self.numbered(4_194_304, 999_999, 999, 999);
        if longest.as_os_str().len() > PATH_MAX {
            return Err(TooLong { prefix: self.prefix.display().to_string() });
        }
        Ok(())
    }
}

/// Who may connect to a socket, apart from root, and how many that nobody has accepted yet.
#[derive(Clone, Copy, Debug)]
pub struct Access {
    /// `None` for who made it.
    pub owner: Option<Uid>,
    /// `None`: the owner alone.
    pub group: Option<Gid>,
    /// As listen() takes it.
    pub backlog: i32,
}

/// Makes a listening socket. A file that is in the way
/// is the remnant of a killed generation: names hold the pid of a process that is this one.
///
/// # Errors
///
/// [`SocketError`] naming the step that failed.
pub fn open(path: &Path, access: &Access) -> Result<OwnedFd, SocketError> {
    let fail = |step| {
        let path = path.display().to_string();
        move |error: nix::Error| SocketError { step, path, source: error.into() }
    };
    let _ = std::fs::remove_file(path);
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(AddressFamily::Unix, SockType::Stream, flags, None).map_err(fail("create"))?;
    let address = UnixAddr::new(path).map_err(fail("name"))?;
    bind(fd.as_raw_fd(), &address).map_err(fail("bind"))?;
    let mode = if access.group.is_some() { 0o660 } else { 0o600 };
    let closed = std::fs::Permissions::from_mode(mode);
    std::fs::set_permissions(path, closed).map_err(|source| SocketError {
        step: "protect",
        path: path.display().to_string(),
        source,
    })?;
    if access.owner.is_some() || access.group.is_some() {
        chown(path, access.owner, access.group).map_err(fail("chown"))?;
    }
    // Not nix's, which refuses a backlog that the system may have been configured to allow.
    // SAFETY: an open socket.
    let listening = unsafe { libc::listen(fd.as_raw_fd(), access.backlog) };
    Errno::result(listening).map_err(fail("listen on"))?;
    Ok(fd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lie_beside_the_pid_file() {
        let names = SocketNames::next(None, Path::new("/run/nginx.pid"));
        let path = names.path(1, 2).display().to_string();
        assert!(path.starts_with("/run/wsgi.") && path.ends_with(".1.2.sock"), "{path}");
    }

    #[test]
    fn too_long_a_prefix_is_noticed() {
        let prefix = format!("/{}", "a".repeat(90));
        let names = SocketNames::next(Some(Path::new(&prefix)), Path::new("/run/nginx.pid"));
        assert!(names.check().is_err());
        let names = SocketNames::next(Some(Path::new("/run/x")), Path::new("/run/nginx.pid"));
        assert!(names.check().is_ok());
    }
}
