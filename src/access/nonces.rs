//! Nonces of Digest authentication: whose they are is in them, how often they were used is in memory
//! that all workers share.

use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest as _, Sha256};

use super::digest::{hex, is_same};

/// How many nonces are remembered. One that has been overtaken by as many others is stale.
pub const SLOTS: usize = 1 << 16;

/// Counts below the highest one that may still come, because requests of one client overtake each
/// other.
const WINDOW: u32 = u32::BITS;

const MAC: usize = 16;
const NONCE: usize = 8 + 8 + MAC;

/// One remembered nonce: its number; and the highest count seen in the upper half of a word whose
/// lower half has a bit for each of the [`WINDOW`] counts up to it. All zero: none.
pub type Slot = [AtomicU64; 2];

/// Why a nonce is refused: it was not made here, or is too old, or has been forgotten. A client may
/// try again with a new one without asking its user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stale;

/// A nonce that is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nonce(u64);

/// The nonces of one configuration.
pub struct Nonces<S> {
    key: [u8; 32],
    /// The first one's number is the last number that was given.
    slots: S,
}

impl<S: Deref<Target = [Slot]>> Nonces<S> {
    /// `slots` are at least two, all zero, and shared by whoever shares the key.
    pub fn new(key: [u8; 32], slots: S) -> Self {
        Nonces { key, slots }
    }

    /// A new nonce; `now` in seconds of any clock that goes on.
    pub fn make(&self, now: u64) -> Vec<u8> {
        let number = self.slots[0][0].fetch_add(1, Ordering::Relaxed) + 1;
        let [kept, seen] = self.slot(number);
        seen.store(0, Ordering::Relaxed);
        kept.store(number, Ordering::Release);
        hex(&self.sealed(number, now))
    }

    /// Whether a nonce is one of ours and, `lifetime` seconds after it was made, still good.
    ///
    /// # Errors
    ///
    /// [`Stale`] when it is not.
    pub fn check(&self, text: &[u8], now: u64, lifetime: u64) -> Result<Nonce, Stale> {
        let bytes = unhex(text).ok_or(Stale)?;
        let (number, made) = (word(&bytes[..8]), word(&bytes[8..16]));
        if !is_same(&self.sealed(number, made), &bytes) || now.wrapping_sub(made) > lifetime {
            return Err(Stale);
        }
        if self.slot(number)[0].load(Ordering::Acquire) != number {
            return Err(Stale);
        }
        Ok(Nonce(number))
    }

    /// Takes note of a nonce's use. `false`: this count has been used, or is too far behind.
    pub fn count(&self, nonce: Nonce, count: u32) -> bool {
        let note = |seen| note(seen, count);
        self.slot(nonce.0)[1].fetch_update(Ordering::Relaxed, Ordering::Relaxed, note).is_ok()
    }

    /// A text that clients return unchanged.
    pub fn opaque(&self) -> Vec<u8> {
        let mut hash = Sha256::new_with_prefix(self.key);
        hash.update(b"opaque");
        hex(&hash.finalize()[..MAC])
    }

    fn slot(&self, number: u64) -> &Slot {
        let others = self.slots.len() as u64 - 1;
        &self.slots[(number % others) as usize + 1]
    }

    /// Number, time and their seal. What is hashed behind the key has a fixed length, so nobody can
    /// lengthen it.
    fn sealed(&self, number: u64, made: u64) -> [u8; NONCE] {
        let mut nonce = [0; NONCE];
        nonce[..8].copy_from_slice(&number.to_le_bytes());
        nonce[8..16].copy_from_slice(&made.to_le_bytes());
        let mut hash = Sha256::new_with_prefix(self.key);
        hash.update(&nonce[..16]);
        nonce[16..].copy_from_slice(&hash.finalize()[..MAC]);
        nonce
    }
}

/// The state of a slot after a count, `None` when it must not be used.
fn note(seen: u64, count: u32) -> Option<u64> {
    let (highest, bits) = ((seen >> 32) as u32, seen as u32);
    let bits = match count.checked_sub(highest) {
        Some(0) => return None,
        Some(ahead) if ahead < WINDOW => bits << ahead | 1,
        Some(_) => 1,
        None if count == 0 || highest - count >= WINDOW => return None,
        None => {
            let bit = 1 << (highest - count);
            let unused = bits & bit == 0;
            return unused.then_some(seen | u64::from(bit));
        }
    };
    Some(u64::from(count) << 32 | u64::from(bits))
}

fn word(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

fn unhex(text: &[u8]) -> Option<[u8; NONCE]> {
    let mut bytes = [0; NONCE];
    if text.len() != 2 * NONCE {
        return None;
    }
    for (byte, digits) in bytes.iter_mut().zip(text.chunks(2)) {
        let digit = |at: usize| char::from(digits[at]).to_digit(16);
        *byte = (digit(0)? * 16 + digit(1)?) as u8;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFETIME: u64 = 300;

    fn nonces(slots: usize) -> Nonces<Vec<Slot>> {
        Nonces::new([7; 32], (0..=slots).map(|_| Slot::default()).collect())
    }

    #[test]
    fn a_nonce_is_good_for_its_lifetime() {
        let nonces = nonces(4);
        let nonce = nonces.make(1000);
        assert!(nonces.check(&nonce, 1000, LIFETIME).is_ok());
        assert!(nonces.check(&nonce, 1000 + LIFETIME, LIFETIME).is_ok());
        assert_eq!(nonces.check(&nonce, 1001 + LIFETIME, LIFETIME), Err(Stale));
        assert_eq!(nonces.check(&nonce, 999, LIFETIME), Err(Stale));
    }

    #[test]
    fn a_nonce_of_somebody_else_is_stale() {
        let nonces = nonces(4);
        let nonce = nonces.make(1000);
        for at in 0..nonce.len() {
            let mut forged = nonce.clone();
            forged[at] = if forged[at] == b'0' { b'1' } else { b'0' };
            assert_eq!(nonces.check(&forged, 1000, LIFETIME), Err(Stale), "changed at {at}");
        }
        assert_eq!(nonces.check(&nonce[..2], 1000, LIFETIME), Err(Stale));
        assert_eq!(nonces.check(b"", 1000, LIFETIME), Err(Stale));
        let other = Nonces::new([8; 32], vec![Slot::default(), Slot::default()]);
        assert_eq!(other.check(&nonce, 1000, LIFETIME), Err(Stale));
    }

    #[test]
    fn an_overtaken_nonce_is_stale() {
        let nonces = nonces(3);
        let first = nonces.make(1);
        nonces.make(1);
        nonces.make(1);
        assert!(nonces.check(&first, 1, LIFETIME).is_ok());
        nonces.make(1);
        assert_eq!(nonces.check(&first, 1, LIFETIME), Err(Stale));
    }

    #[test]
    fn every_count_is_good_once() {
        let nonces = nonces(4);
        let text = nonces.make(1);
        let nonce = nonces.check(&text, 1, LIFETIME).unwrap();
        let used = |count| nonces.count(nonce, count);
        assert!(!used(0));
        assert!(used(1) && !used(1));
        assert!(used(3) && used(2) && !used(2) && !used(3) && !used(1));
        assert!(used(3 + WINDOW) && !used(3) && used(4) && !used(4));
        assert!(used(1000) && !used(1000 - WINDOW) && used(1001 - WINDOW));
        assert!(used(u32::MAX) && !used(u32::MAX) && !used(1));
    }

    #[test]
    fn nonces_differ() {
        let nonces = nonces(4);
        assert_ne!(nonces.make(1), nonces.make(1));
        assert_eq!(nonces.opaque(), nonces.opaque());
    }
}
