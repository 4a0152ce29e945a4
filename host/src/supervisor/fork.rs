//! Starting a daemon process.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{fcntl, FcntlArg, OFlag};
use nix::sys::signal::SigSet;
use nix::unistd::{fork, getpid, pipe2, ForkResult};

use super::child::Child;
use super::lines::LogPipe;
use crate::config::{GroupConfig, SupervisorConfig};
use crate::log::Level;
use crate::process::{self, Descriptors, Start, Title};
use crate::succession::{Control, Succession, Wish};

/// Forks a process of `group` for `seat`. Returns in the supervisor only.
pub fn start(
    config: &SupervisorConfig,
    group: &GroupConfig,
    seat: usize,
    wish: Option<Wish>,
    level: Level,
    (title, descriptors): (Title, Option<Descriptors>),
) -> Result<Child, Errno> {
    let (ours, theirs) = Control::pair()?;
    let (log, log_end) = pipe2(OFlag::O_CLOEXEC)?;
    set_nonblocking(&log)?;
    let supervisor = getpid();
    // A signal between fork and the child's own set-up must not be read by handlers it inherits.
    let before = SigSet::all().thread_swap_mask(nix::sys::signal::SigmaskHow::SIG_SETMASK)?;
    // SAFETY: this process has one thread, so the child inherits no lock that another thread holds.
    let forked = unsafe { fork() };
    if let Ok(ForkResult::Child) = forked {
        let start = Start {
            group,
            python: &config.python,
            seat,
            worker_uid: config.worker_uid,
            generation: config.generation,
            supervisor,
            level,
            title,
            descriptors,
            succession: Arc::new(Succession::new(
                theirs,
                Duration::from_secs_f64(group.reload_wait),
            )),
            wish: wish.as_ref(),
            log: log_end,
        };
        std::process::exit(process::run(&start));
    }
    before.thread_set_mask()?;
    match forked? {
        ForkResult::Parent { child: pid } => {
            let (control, pipe) = (Some(ours), LogPipe::new(log));
            Ok(Child {
                pid,
                seat,
                control,
                pipe,
                wish,
                started: Instant::now(),
                ready_since: None,
                draining: false,
                kill_at: None,
            })
        }
        ForkResult::Child => std::process::exit(1),
    }
}

fn set_nonblocking(fd: &OwnedFd) -> Result<(), Errno> {
    fcntl(fd.as_fd(), FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map(drop)
}
