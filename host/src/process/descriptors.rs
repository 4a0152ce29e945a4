//! What a daemon process keeps open.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::fcntl::{fcntl, FcntlArg, FdFlag};
use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout};

use super::SetupError;

/// Standard input from nowhere.
pub fn empty_stdin() -> Result<(), SetupError> {
    let null = File::open("/dev/null")
        .map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::ENOENT)))
        .map_err(SetupError::step("open /dev/null"))?;
    dup2_stdin(&null).map_err(SetupError::step("redirect standard input"))
}

/// Standard output and error to the log pipe.
pub fn redirect(log: BorrowedFd<'_>) -> Result<(), SetupError> {
    dup2_stdout(log).map_err(SetupError::step("redirect standard output"))?;
    dup2_stderr(log).map_err(SetupError::step("redirect standard error"))
}

/// Closes everything but the standard descriptors and `keep`, and keeps those from programs that
/// the application starts.
pub fn close_all_but(keep: &mut [RawFd]) -> Result<(), SetupError> {
    keep.sort_unstable();
    let mut next = 3;
    for fd in keep.iter().copied().filter(|fd| *fd >= 3) {
        close_range(next, fd - 1).map_err(SetupError::step("close descriptors"))?;
        // SAFETY: the caller names descriptors that are open; the borrow ends with this statement.
        let kept = unsafe { BorrowedFd::borrow_raw(fd) };
        fcntl(kept, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))
            .map_err(SetupError::step(format!("keep descriptor {}", kept.as_raw_fd())))?;
        next = next.max(fd + 1);
    }
    close_range(next, RawFd::MAX).map_err(SetupError::step("close descriptors"))
}

fn close_range(first: RawFd, last: RawFd) -> Result<(), Errno> {
    if first > last {
        return Ok(());
    }
    // SAFETY: the values that own these descriptors belong to the supervisor's code; this process
    // never returns to it and leaves by exit, so nothing uses or closes them later.
    let result = unsafe { libc::close_range(first as u32, last as u32, 0) };
    Errno::result(result).map(drop)
}

/// A descriptor of this process's own for one that was handed over by number.
pub fn own(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: the configuration names an open descriptor; it is only duplicated.
    unsafe { BorrowedFd::borrow_raw(fd) }.try_clone_to_owned()
}
