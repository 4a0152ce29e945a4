//! A timer that one thread waits for and any other sets.

use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

/// A timer that is set to nothing would be switched off.
pub const AT_ONCE: Duration = Duration::from_nanos(1);

/// Goes off once for each time that it is set.
pub struct Alarm(TimerFd);

impl Alarm {
    /// # Errors
    ///
    /// When the kernel gives no timer.
    pub fn new() -> Result<Self, Errno> {
        TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_CLOEXEC).map(Alarm)
    }

    /// Goes off after `delay`, whatever it was set to before.
    pub fn set(&self, delay: Duration) {
        let once = Expiration::OneShot(TimeSpec::from_duration(delay.max(AT_ONCE)));
        // Cannot fail: the descriptor and the time are good.
        let _ = self.0.set(once, TimerSetTimeFlags::empty());
    }

    /// Waits until it goes off; for `instead` where it never will, because the application has closed
    /// its descriptor.
    pub fn wait(&self, instead: Duration) {
        if self.0.wait().is_err_and(|errno| errno != Errno::EINTR) {
            thread::sleep(instead);
        }
    }
}
