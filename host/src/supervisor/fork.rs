//! Starting a daemon process.

use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{fcntl, FcntlArg, OFlag};
use nix::sys::signal::SigSet;
use nix::sys::socket::{socketpair, AddressFamily, SockFlag, SockType};
use nix::unistd::{fork, getpid, pipe2, ForkResult};

use super::child::{Child, Slot};
use super::lines::LogPipe;
use crate::config::SupervisorConfig;
use crate::process::{self, Start, Title};

/// Forks a process for `slot`. Returns in the supervisor only.
pub fn start(config: &SupervisorConfig, slot: &Slot, title: Title) -> Result<Child, Errno> {
    let stream = SockType::Stream;
    let (ours, theirs) = socketpair(AddressFamily::Unix, stream, None, SockFlag::SOCK_CLOEXEC)?;
    let (log, log_end) = pipe2(OFlag::O_CLOEXEC)?;
    for fd in [&ours, &log] {
        set_nonblocking(fd)?;
    }
    let supervisor = getpid();
    // A signal between fork and the child's own set-up must not be read by handlers it inherits.
    let before = SigSet::all().thread_swap_mask(nix::sys::signal::SigmaskHow::SIG_SETMASK)?;
    // SAFETY: this process has one thread, so the child inherits no lock that another thread holds.
    let forked = unsafe { fork() };
    if let Ok(ForkResult::Child) = forked {
        let start = Start {
            group: &config.groups[slot.group],
            python: &config.python,
            process: slot.process,
            worker_uid: config.worker_uid,
            supervisor,
            level: slot.log.threshold(),
            title,
            control: theirs,
            log: log_end,
        };
        std::process::exit(process::run(&start));
    }
    before.thread_set_mask()?;
    match forked? {
        ForkResult::Parent { child: pid } => {
            let (control, pipe) = (Some(ours), LogPipe::new(log));
            Ok(Child { pid, control, pipe, ready_since: None, draining: false })
        }
        ForkResult::Child => std::process::exit(1),
    }
}

fn set_nonblocking(fd: &OwnedFd) -> Result<(), Errno> {
    fcntl(fd.as_fd(), FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map(drop)
}
