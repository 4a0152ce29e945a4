//! Ids of requests, for environs that need not agree with `$request_id`.

/// A worker's ids. No two of them are equal, and those of different workers are as random as their seeds;
/// they are no secret.
#[derive(Clone, Copy)]
pub struct RequestIds([u64; 2]);

/// The steps of the two halves: odd, so that neither repeats before 2^64 requests.
const STEPS: [u64; 2] = [0x9e37_79b9_7f4a_7c15, 0xd1b5_4a32_d192_ed03];

impl RequestIds {
    /// The ids that follow from a seed.
    pub fn from_seed(seed: [u64; 2]) -> Self {
        RequestIds(seed)
    }

    /// The next id, in hexadecimal digits.
    pub fn next(&mut self) -> [u8; 32] {
        for (half, step) in self.0.iter_mut().zip(STEPS) {
            *half = half.wrapping_add(step);
        }
        digits(self.0.map(mix))
    }
}

/// Makes neighbours of a sequence look unlike each other: the finalizer of SplitMix64 (Steele, Lea,
/// Flood: Fast splittable pseudorandom number generators, 2014), which maps no two numbers to one.
fn mix(mut x: u64) -> u64 {
    x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ x >> 31
}

fn digits(halves: [u64; 2]) -> [u8; 32] {
    let mut digits = [0; 32];
    for (half, digits) in halves.iter().zip(digits.chunks_exact_mut(16)) {
        for (place, digit) in digits.iter_mut().enumerate() {
            *digit = b"0123456789abcdef"[(half >> (60 - 4 * place) & 15) as usize];
        }
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn ids_are_unique_and_do_not_look_alike() {
        let mut ids = RequestIds::from_seed([1, 2]);
        let ids: HashSet<_> = (0..10_000).map(|_| ids.next()).collect();
        assert_eq!(ids.len(), 10_000);
        assert!(ids.iter().map(|id| &id[..8]).collect::<HashSet<_>>().len() > 9_990);
    }

    #[test]
    fn seeds_make_a_difference() {
        let first = |seed| RequestIds::from_seed(seed).next();
        assert_ne!(first([1, 2]), first([1, 3]));
        assert_ne!(first([1, 2]), first([0, 2]));
    }

    #[test]
    fn digits_are_hexadecimal() {
        let halves = [0x0123_4567_89ab_cdef, u64::MAX];
        let expected = format!("{:016x}{:016x}", halves[0], halves[1]);
        assert_eq!(digits(halves), expected.as_bytes());
    }
}
