//! A daemon process that takes no requests: its scripts run on Python's main thread, one after the
//! other, and the process ends with them (`threads=0`, mod_wsgi semantics b.6).

use std::io;
use std::os::fd::AsFd;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{poll, PollFd, PollFlags, PollTimeout};

use super::signals::Signals;
use super::SetupError;
use crate::config::GroupConfig;
use crate::python::{Imported, Runtime};
use crate::succession::{Succession, Word};

/// Runs the scripts until the last has returned, one raises SystemExit, or a signal has come. Returns
/// the exit code.
pub fn live(
    group: &GroupConfig,
    succession: &Succession,
    signals: &Signals,
    runtime: &Runtime,
) -> Result<i32, SetupError> {
    Signals::precede_python().map_err(SetupError::step("install signal handlers"))?;
    if group.shutdown_timeout > 0 {
        limit_end(group, succession, signals).map_err(SetupError::Host)?;
    }
    // How long the process has been at work is what the pause before the next start follows from.
    succession.tell(&Word::Ready);
    tracing::info!("service process of group \"{}\" runs its scripts", group.name);
    for script in &group.imports {
        if signals.have_come() || runtime.import(script) == Imported::Exited {
            break;
        }
    }
    Signals::ignore();
    signals.wake();
    runtime.wind_up();
    tracing::info!("Exiting daemon process '{}'.", group.name);
    Ok(0)
}

/// Ends the process when it takes longer than shutdown-timeout from a signal, from the supervisor's
/// end, or from the last script's.
fn limit_end(group: &GroupConfig, succession: &Succession, signals: &Signals) -> io::Result<()> {
    let control = succession.control().as_fd().try_clone_to_owned()?;
    let signals = signals.as_fd().try_clone_to_owned()?;
    let timeout = Duration::from_secs(group.shutdown_timeout.into());
    let name = group.name.clone();
    let wait = move || {
        let mut ends = [&control, &signals].map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN));
        while poll(&mut ends, PollTimeout::NONE) == Err(Errno::EINTR) {}
        tracing::info!("Shutdown requested for daemon process '{name}'.");
        thread::sleep(timeout);
        tracing::warn!("Shutdown timeout expired; aborting daemon process '{name}'.");
        super::leave_at_once()
    };
    thread::Builder::new().name("wsgi-reaper".into()).spawn(wait).map(drop)
}
