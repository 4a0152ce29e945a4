//! When to start a process again that has died.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(10);
/// A process that was ready for longer than this did not die of its start.
const STARTED: Duration = Duration::from_secs(1);
/// A process that was ready for so long clears the record.
const WELL: Duration = Duration::from_secs(10);

/// Exponential back-off of one process slot.
#[derive(Clone, Copy, Debug, Default)]
pub struct Backoff {
    deaths: u32,
}

impl Backoff {
    /// The pause before the next start, after a process that had been ready for `ready`.
    pub fn pause(&mut self, ready: Duration) -> Duration {
        if ready >= WELL {
            self.deaths = 0;
        }
        let deaths = self.deaths;
        self.deaths = deaths.saturating_add(1);
        if deaths == 0 && ready > STARTED {
            return Duration::ZERO;
        }
        FIRST.saturating_mul(1 << deaths.min(16)).min(LONGEST)
    }

    /// The same after a process that was told to end: that is no sign of trouble, unless it had hardly
    /// been ready.
    pub fn pause_as_told(&mut self, ready: Duration) -> Duration {
        if ready > STARTED {
            Duration::ZERO
        } else {
            self.pause(ready)
        }
    }

    /// A process has done all that it was there for.
    pub fn clear(&mut self) {
        self.deaths = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let mut backoff = Backoff::default();
        let pauses: Vec<_> = (0..9).map(|_| backoff.pause(Duration::ZERO).as_millis()).collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
    }

    #[test]
    fn a_process_that_ran_is_replaced_at_once_the_first_time() {
        let mut backoff = Backoff::default();
        let two = Duration::from_secs(2);
        assert_eq!(backoff.pause(two), Duration::ZERO);
        assert_eq!(backoff.pause(two), Duration::from_millis(200));
        assert_eq!(backoff.pause(WELL), Duration::ZERO);
    }

    #[test]
    fn who_is_told_to_end_is_followed_at_once() {
        let mut backoff = Backoff::default();
        let pauses = |backoff: &mut Backoff, ready| {
            [(); 3].map(|()| backoff.pause_as_told(ready).as_millis())
        };
        assert_eq!(pauses(&mut backoff, Duration::from_secs(2)), [0, 0, 0]);
        assert_eq!(pauses(&mut backoff, Duration::ZERO), [100, 200, 400]);
        backoff.clear();
        assert_eq!(backoff.pause(Duration::ZERO), FIRST);
    }
}
