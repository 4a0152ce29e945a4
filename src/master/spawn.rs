//! Starting the supervisor.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use ngx_wsgi_host::config::SupervisorConfig;
use nix::sys::memfd::{memfd_create, MFdFlags};
use thiserror::Error;

use super::executable::HostExecutable;

/// The supervisor could not be started.
#[derive(Debug, Error)]
pub enum SpawnError {
    #[error("cannot hand the configuration over: {0}")]
    Config(#[source] io::Error),
    #[error("cannot execute \"{path}\": {source}")]
    Execute { path: String, source: io::Error },
}

/// Forks and executes the supervisor. It inherits exactly the descriptors in `keep` and the
/// configuration's. It is nobody's child, so nobody has to reap it: the lifeline ends it.
///
/// # Errors
///
/// [`SpawnError`].
pub fn supervisor(
    executable: &HostExecutable,
    config: &SupervisorConfig,
    keep: &[RawFd],
) -> Result<(), SpawnError> {
    let handed = hand_over(config).map_err(SpawnError::Config)?;
    let mut keep = keep.to_vec();
    keep.push(handed.as_raw_fd());

    let log = || duplicate(config.error_log.fd).map_or_else(|_| Stdio::null(), Stdio::from);
    let mut command = Command::new(&executable.0);
    command
        .arg(handed.as_raw_fd().to_string())
        .current_dir("/")
        .env_remove("NGINX")
        .stdin(Stdio::null())
        .stdout(log())
        .stderr(log());
    // SAFETY: inherit makes system calls only, on memory allocated before the fork.
    unsafe { command.pre_exec(move || inherit(&keep)) };
    let mut between = command.spawn().map_err(|source| SpawnError::Execute {
        path: executable.0.display().to_string(),
        source,
    })?;
    // nginx's own SIGCHLD handler may have been faster.
    let _ = between.wait();
    Ok(())
}

fn hand_over(config: &SupervisorConfig) -> io::Result<OwnedFd> {
    let fd = memfd_create(c"ngx-wsgi-config", MFdFlags::MFD_CLOEXEC)?;
    let mut file = File::from(fd);
    file.write_all(&serde_json::to_vec(config)?)?;
    io::Seek::rewind(&mut file)?;
    Ok(file.into())
}

fn duplicate(fd: RawFd) -> nix::Result<OwnedFd> {
    // SAFETY: the fd is nginx's open error log, borrowed for the call.
    nix::unistd::dup(unsafe { std::os::fd::BorrowedFd::borrow_raw(fd) })
}

/// In the child: becomes an orphan in a session of its own, so that a terminal's signals reach nginx
/// alone, and lets no descriptor but the chosen ones across exec. Not TLS keys, nor the lifeline of another
/// generation, nor nginx's listening sockets.
fn inherit(keep: &[RawFd]) -> io::Result<()> {
    // SAFETY: plain system calls without pointers to shared state.
    unsafe {
        libc::setsid();
        match libc::fork() {
            -1 => return Err(io::Error::last_os_error()),
            0 => {}
            _ => libc::_exit(0),
        }
        if libc::syscall(libc::SYS_close_range, 3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) != 0 {
            return Err(io::Error::last_os_error());
        }
        for fd in keep {
            if libc::fcntl(*fd, libc::F_SETFD, 0) != 0 {
                return Err(io::Error::last_os_error());
            }
        }
    }
    Ok(())
}
