//! How long a request waits for a process, and how long there is none.

use std::cell::Cell;

/// Milliseconds of a request's wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waited {
    /// Since it began.
    pub total: usize,
    /// Of these, the last ones without a process that is ready.
    pub without_process: usize,
}

/// Since when a group has had no process that is ready, as far as somebody looks. While requests wait
/// that is once a second.
#[derive(Debug, Default)]
pub struct Readiness(Cell<Option<usize>>);

impl Readiness {
    /// Looks at it, at a time of nginx's clock in milliseconds. Milliseconds without a process.
    pub fn look(&self, now: usize, ready: bool) -> usize {
        let unready_since = if ready { None } else { self.0.get().or(Some(now)) };
        self.0.set(unready_since);
        unready_since.map_or(0, |since| now.wrapping_sub(since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_is_ready_ends_the_time_without_one() {
        let readiness = Readiness::default();
        let looks = [
            (1000, true, 0),
            (2000, false, 0),
            (3000, false, 1000),
            (3500, true, 0),
            (4000, false, 0),
            (4200, false, 200),
        ];
        for (now, ready, expected) in looks {
            assert_eq!(readiness.look(now, ready), expected, "at {now}");
        }
    }
}
