//! How long a part of requests took.

use std::time::Duration;

/// Buckets of a histogram: four to each power of two from a millisecond on, and one for what is
/// beyond the last.
const BUCKETS: usize = 65;

/// Times of one phase.
#[derive(Clone, Debug)]
pub struct Phase {
    pub count: u64,
    pub sum: Duration,
    /// Microseconds, `None` before the first.
    pub min_us: Option<u64>,
    pub max_us: Option<u64>,
    pub buckets: [u64; BUCKETS],
}

impl Default for Phase {
    fn default() -> Self {
        let (count, sum) = Default::default();
        Phase { count, sum, min_us: None, max_us: None, buckets: [0; BUCKETS] }
    }
}

impl Phase {
    pub fn add(&mut self, time: Duration) {
        let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.count += 1;
        self.sum += time;
        self.min_us = Some(self.min_us.map_or(us, |min| min.min(us)));
        self.max_us = Some(self.max_us.map_or(us, |max| max.max(us)));
        self.buckets[bucket(us)] += 1;
    }

    /// Seconds; `None` without any.
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum.as_secs_f64() / self.count as f64)
    }
}

fn bucket(us: u64) -> usize {
    let octave = (us / 1000).checked_ilog2().unwrap_or(0);
    let quarter = (us / 250).checked_shr(octave).unwrap_or(0).saturating_sub(4);
    (4 * octave as usize + quarter as usize).min(BUCKETS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_grow_with_the_time() {
        for (us, expected) in [
            (0, 0),
            (1_198, 0),
            (1_299, 1),
            (1_505, 2),
            (1_894, 3),
            (2_061, 4),
            (4_696, 8),
            (10_529, 13),
            (127_402, 27),
            (133_621, 28),
            (162_091, 29),
            (1_054_466, 40),
            (65_535_999, 63),
            (65_536_000, 64),
            (u64::MAX, 64),
        ] {
            assert_eq!(bucket(us), expected, "{us}");
        }
    }

    #[test]
    fn the_mean_is_of_all() {
        let mut phase = Phase::default();
        assert_eq!(phase.mean(), None);
        phase.add(Duration::from_millis(10));
        phase.add(Duration::from_millis(20));
        assert_eq!(phase.mean(), Some(0.015));
        assert_eq!((phase.min_us, phase.max_us), (Some(10_000), Some(20_000)));
    }
}
