//! Forking for somebody else: the new process is a child of the nearest subreaper.

use std::fs::File;
use std::io::{Read, Write};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::wait::waitpid;
use nix::unistd::{fork, pipe2, ForkResult, Pid};

/// Where a fork has returned.
#[derive(Clone, Copy, Debug)]
pub enum Forked {
    /// In the process that was forked from; the new one has this id.
    Parent(Pid),
    /// In the new process, whose parent is the subreaper already.
    Child,
}

/// Forks by way of a process that ends at once, which is what hands its child on.
///
/// # Errors
///
/// When the kernel has no room for processes or pipes.
///
/// # Safety
///
/// The process has one thread.
pub unsafe fn fork_for_subreaper() -> Result<Forked, Errno> {
    let (pid_out, pid_in) = pipe2(OFlag::O_CLOEXEC)?;
    // Closed when the new process has its new parent.
    let (handed_over, hold) = pipe2(OFlag::O_CLOEXEC)?;
    // SAFETY: the caller's promise: no lock is held by a thread that is not copied.
    let between = match unsafe { fork() }? {
        ForkResult::Child => {
            drop((hold, pid_out));
            // SAFETY: as above; this process has one thread, too.
            return match unsafe { fork() } {
                Ok(ForkResult::Child) => {
                    drop(pid_in);
                    let _ = File::from(handed_over).read(&mut [0]);
                    Ok(Forked::Child)
                }
                Ok(ForkResult::Parent { child }) => {
                    let written = File::from(pid_in).write_all(&child.as_raw().to_ne_bytes());
                    leave(if written.is_ok() { 0 } else { Errno::EPIPE as i32 })
                }
                Err(errno) => leave(errno as i32),
            };
        }
        ForkResult::Parent { child } => child,
    };
    drop((pid_in, handed_over));
    let mut pid = [0; 4];
    let read = File::from(pid_out).read_exact(&mut pid);
    let ended = loop {
        match waitpid(between, None) {
            Err(Errno::EINTR) => {}
            ended => break ended?,
        }
    };
    drop(hold);
    match (read, ended) {
        (Ok(()), _) => Ok(Forked::Parent(Pid::from_raw(i32::from_ne_bytes(pid)))),
        (_, nix::sys::wait::WaitStatus::Exited(_, errno)) => Err(Errno::from_raw(errno)),
        _ => Err(Errno::ECHILD),
    }
}

fn leave(code: i32) -> ! {
    // SAFETY: does not return; exit handlers are the other processes'.
    unsafe { libc::_exit(code) }
}
