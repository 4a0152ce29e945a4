//! A daemon process between ready and exit.

use std::os::fd::AsFd;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{poll, PollFd, PollFlags, PollTimeout};

use super::signals::Signals;
use crate::config::GroupConfig;
use crate::python::Runtime;
use crate::server::Host;
use crate::succession::{Heard, Order, Succession, Word};

/// Longest time that idle threads take to leave once nothing holds them.
const LAST_THREADS: Duration = Duration::from_secs(10);

/// Why a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// A signal, or the supervisor's own end.
    Requested,
    /// Its successor has taken over.
    Replaced,
}

impl End {
    /// As `process_stopping` says it.
    fn reason(self) -> &'static str {
        match self {
            End::Requested => "shutdown_signal",
            End::Replaced => "script_reload",
        }
    }
}

/// Serves until a signal, a successor or the supervisor's end, then finishes. Returns the exit code.
pub fn live(
    group: &GroupConfig,
    succession: &Succession,
    signals: &Signals,
    host: &Host,
    runtime: Option<&Runtime>,
) -> i32 {
    tell(succession, &Word::Ready);
    tracing::info!("daemon process of group \"{}\" is ready", group.name);
    let end = wait_for_end(succession, signals);
    tracing::info!("Shutdown requested for daemon process '{}'.", group.name);
    tell(succession, &Word::Draining);
    // Whatever ends the process: no application has seen the requests that it holds.
    succession.hand_over();
    if group.shutdown_timeout > 0 {
        arm_reaper(group.name.clone(), Duration::from_secs(group.shutdown_timeout.into()));
    }
    // Subscribers hear of the end while requests still run.
    host.drain(Some(Duration::ZERO));
    if let Some(runtime) = runtime {
        runtime.publish_stopping(end.reason());
    }
    // Without a limit of its own: the reaper has one, for this and for what follows.
    host.drain(None);
    host.stop(LAST_THREADS);
    if let Some(runtime) = runtime {
        runtime.stop(end.reason());
    }
    tracing::info!("Exiting daemon process '{}'.", group.name);
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
    tracing::warn!("Shutdown timeout expired; aborting daemon process '{group}'.");
    // SAFETY: leaves at once without running exit handlers, which other threads may be inside of.
    unsafe { libc::_exit(1) }
}

fn wait_for_end(succession: &Succession, signals: &Signals) -> End {
    loop {
        let mut ends = [
            PollFd::new(succession.control().as_fd(), PollFlags::POLLIN),
            PollFd::new(signals.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut ends, PollTimeout::NONE) {
            Err(Errno::EINVAL | Errno::ENOMEM) => return End::Requested,
            Err(_) => {}
            Ok(_) if ends[1].any() == Some(true) => return End::Requested,
            Ok(_) => match succession.control().hear() {
                Heard::Said(Order::HandOver) => return End::Replaced,
                Heard::Said(Order::Stay(change)) => succession.stay(&change),
                Heard::Nothing => {}
                Heard::Closed | Heard::Nonsense => return End::Requested,
            },
        }
    }
}

fn tell(succession: &Succession, word: &Word) {
    // Fails when the supervisor has gone, which ends this process anyway.
    let _ = succession.control().say(word);
}
