//! Starting a process: by a fork of the supervisor, or of a group's template.

use std::convert::Infallible;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::process::exit;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{fcntl, FcntlArg, OFlag};
use nix::sys::signal::SigSet;
use nix::unistd::{fork, pipe2, ForkResult, Pid};

use super::child::Child;
use super::lines::LogPipe;
use crate::process::{self, Common, Start, TemplateLine, TemplateOrder};
use crate::succession::{Control, Succession, Wish};

/// Starts a process of a group for `seat`. `delegate` has it forked by somebody else, with the
/// process's ends of its line and of its log pipe; `None`: the supervisor forks. Returns in the
/// supervisor only.
pub fn start(
    common: Common<'_>,
    seat: usize,
    wish: Option<Wish>,
    delegate: impl FnOnce(&TemplateOrder, &[RawFd]) -> Option<Pid>,
) -> Result<Child, Errno> {
    let (ours, theirs) = Control::pair()?;
    let (pipe, log) = log_pipe()?;
    let order = TemplateOrder { seat, wish };
    let pid = match delegate(&order, &[theirs.as_raw_fd(), log.as_raw_fd()]) {
        Some(pid) => pid,
        None => fork_and(|| {
            let patience = Duration::from_secs_f64(common.group.reload_wait);
            let succession = Arc::new(Succession::new(theirs, patience));
            let start = Start { common, seat, succession, wish: order.wish.as_ref(), log };
            // Before its descriptors, which have been closed underneath it, are dropped.
            exit(process::run(&start))
        })?,
    };
    Ok(Child {
        pid,
        seat,
        control: Some(ours),
        pipe,
        wish: order.wish,
        started: Instant::now(),
        ready_since: None,
        draining: false,
        kill_at: None,
    })
}

/// Starts a group's template; its line and its log.
pub fn start_template(common: Common<'_>) -> Result<(Pid, TemplateLine, LogPipe), Errno> {
    let (ours, theirs) = TemplateLine::pair()?;
    let (pipe, log) = log_pipe()?;
    let pid = fork_and(|| exit(process::run_template(common, log, theirs)))?;
    Ok((pid, ours, pipe))
}

/// Forks a process that runs `life`, which exits.
fn fork_and(life: impl FnOnce() -> Infallible) -> Result<Pid, Errno> {
    // A signal between fork and the child's own set-up must not be read by handlers it inherits.
    let before = SigSet::all().thread_swap_mask(nix::sys::signal::SigmaskHow::SIG_SETMASK)?;
    // SAFETY: this process has one thread, so the child inherits no lock that another thread holds.
    let forked = unsafe { fork() };
    if let Ok(ForkResult::Child) = forked {
        life();
    }
    before.thread_set_mask()?;
    match forked? {
        ForkResult::Parent { child } => Ok(child),
        ForkResult::Child => exit(1),
    }
}

fn log_pipe() -> Result<(LogPipe, OwnedFd), Errno> {
    let (log, end) = pipe2(OFlag::O_CLOEXEC)?;
    set_nonblocking(&log)?;
    Ok((LogPipe::new(log), end))
}

fn set_nonblocking(fd: &OwnedFd) -> Result<(), Errno> {
    fcntl(fd.as_fd(), FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map(drop)
}
