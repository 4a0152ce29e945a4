//! From the configuration to a supervisor that can run.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::{fcntl, FcntlArg, OFlag};
use nix::sys::prctl;
use nix::sys::signal::{sigaction, SaFlags, SigAction, SigHandler, SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::stat::{umask, Mode};
use nix::unistd::{chdir, setsid};

use super::child::Slot;
use super::run::Supervisor;
use super::templates::Place;
use super::SupervisorError;
use crate::config::SupervisorConfig;
use crate::log::LogFile;
use crate::process::{Descriptors, Title};
use crate::scoreboard::{seats, GroupShape, Leases, Shape};

/// The signals the supervisor reads; of all others only SIGPIPE is not left at its default.
const READ: [Signal; 7] = [
    Signal::SIGCHLD,
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGHUP,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
];

pub fn supervisor(
    config: SupervisorConfig,
    log: Arc<LogFile>,
    title: Title,
) -> Result<Supervisor, SupervisorError> {
    // Fails when this process leads a session already; either way the terminal's signals stay away.
    let _ = setsid();
    // nginx's own depend on how it was started, and on whether this is a reload.
    umask(Mode::from_bits_truncate(0o022));
    chdir("/")?;
    let signals = signals()?;
    let shape = config.groups.iter();
    let shape =
        shape.map(|g| GroupShape { processes: seats(g.processes), threads: g.threads }).collect();
    let shape = Shape::new(shape, config.wakeups.len());
    let leases = Leases::open(own(config.leases)?.as_fd(), shape)?;
    let mut slots = Vec::new();
    for (index, group) in config.groups.iter().enumerate() {
        let group_log = match &group.error_log {
            Some(own) => Arc::new(LogFile::adopt(own)?),
            None => Arc::clone(&log),
        };
        slots.extend((0..group.processes).map(|_| Slot::new(index, Arc::clone(&group_log))));
    }
    for listener in config.groups.iter().flat_map(|group| &group.listeners) {
        // The supervisor sends stragglers away, and must not wait for one.
        let fd = own(listener.fd)?;
        fcntl(&fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    }
    let wakeups = config.wakeups.iter().copied().map(own).collect::<Result<_, _>>()?;
    let lifeline = own(config.lifeline)?;
    let descriptors = Descriptors::raise();
    if config.groups.iter().any(|group| config.uses_template(group)) {
        // What templates fork becomes this process's child.
        prctl::set_child_subreaper(true)?;
    }
    let templates = (0..config.groups.len()).map(|group| Place::of(&config, group)).collect();
    Ok(Supervisor {
        config: Arc::new(config),
        leases,
        wakeups,
        lifeline,
        signals,
        slots,
        templates,
        log,
        title,
        descriptors,
        stopping: false,
    })
}

fn signals() -> Result<SignalFd, Errno> {
    for signal in Signal::iterator().filter(|s| ![Signal::SIGKILL, Signal::SIGSTOP].contains(s)) {
        let handler =
            if signal == Signal::SIGPIPE { SigHandler::SigIgn } else { SigHandler::SigDfl };
        let action = SigAction::new(handler, SaFlags::empty(), SigSet::empty());
        // SAFETY: neither action runs code of this program.
        unsafe { sigaction(signal, &action) }?;
    }
    let mask = READ.into_iter().collect::<SigSet>();
    mask.thread_set_mask()?;
    SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
}

/// A descriptor of the supervisor's own for one that was handed over by number.
fn own(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: the configuration names an open descriptor; it is only duplicated.
    unsafe { BorrowedFd::borrow_raw(fd) }.try_clone_to_owned()
}
