//! The time of day, and waiting until a moment.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::poll::PollTimeout;

/// Microseconds since the epoch; 0 before it: a wrong clock is no reason to fail anything.
pub fn now_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64)
}

/// A file's time in microseconds since the epoch; 0 before it.
pub fn file_us(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as i64)
}

/// How long poll() may wait; `None` for ever. Rounded up to milliseconds: a wait that ends early
/// would spin until the time has come.
pub fn poll_timeout(until: Option<Instant>) -> PollTimeout {
    until.map_or(PollTimeout::NONE, |until| {
        let left = until.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
        PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
    })
}
