//! A daemon process between ready and exit.

use std::os::fd::{AsFd, BorrowedFd};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
use nix::unistd::write;

use super::signals::Signals;
use super::{DRAINING, READY};
use crate::config::GroupConfig;
use crate::python::Runtime;
use crate::server::Host;

/// Longest time that idle threads take to leave once nothing holds them.
const LAST_THREADS: Duration = Duration::from_secs(10);

/// Serves until a signal or the supervisor's end, then finishes. Returns the exit code.
pub fn live(
    group: &GroupConfig,
    control: BorrowedFd<'_>,
    signals: &Signals,
    host: &Host,
    runtime: &Runtime,
) -> i32 {
    tell(control, READY);
    tracing::info!("daemon process of group \"{}\" is ready", group.name);
    wait_for_end(control, signals);
    tracing::info!("shutdown requested for daemon process of group \"{}\"", group.name);
    tell(control, DRAINING);
    if group.shutdown_timeout > 0 {
        arm_reaper(group.name.clone(), Duration::from_secs(group.shutdown_timeout.into()));
    }
    // Without a limit of its own: the reaper has one, for this and for what follows.
    host.drain(None);
    host.stop(LAST_THREADS);
    runtime.stop();
    tracing::info!("exiting daemon process of group \"{}\"", group.name);
    0
}

/// Ends the process when the shutdown takes too long, wherever it hangs: in a request, or in an
/// application's own threads and exit handlers.
fn arm_reaper(group: String, timeout: Duration) {
    let reaper = thread::Builder::new().name("wsgi-reaper".into());
    // Without the thread the supervisor kills the process a little later.
    let _ = reaper.spawn(move || {
        thread::sleep(timeout);
        expire(&group)
    });
}

fn expire(group: &str) -> ! {
    tracing::warn!("shutdown timeout of daemon process group \"{group}\" expired, aborting");
    // SAFETY: leaves at once without running exit handlers, which other threads may be inside of.
    unsafe { libc::_exit(1) }
}

fn wait_for_end(control: BorrowedFd<'_>, signals: &Signals) {
    loop {
        let mut ends = [
            PollFd::new(control, PollFlags::POLLIN),
            PollFd::new(signals.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut ends, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINVAL | Errno::ENOMEM) => return,
            Err(_) => {}
        }
    }
}

fn tell(control: BorrowedFd<'_>, byte: u8) {
    // Fails when the supervisor has gone, which ends this process anyway.
    let _ = write(control, &[byte]);
}
