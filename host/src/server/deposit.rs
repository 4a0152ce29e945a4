//! Memory on its way from the host to nginx, in one process: the wire carries only its number.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex};

use rustc_hash::FxHashMap;

use crate::lock::lock;
use crate::python::Lent;

static DEPOSITS: LazyLock<Mutex<FxHashMap<u64, Lent>>> = LazyLock::new(Mutex::default);

/// A block that waits to be fetched, and is given back when this is dropped before.
pub struct Deposit(u64);

impl Deposit {
    pub fn new(block: Lent) -> Self {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let key = COUNTER.fetch_add(1, Ordering::Relaxed);
        lock(&DEPOSITS).insert(key, block);
        Deposit(key)
    }

    /// What a LENT frame says.
    pub fn key(&self) -> u64 {
        self.0
    }
}

impl Drop for Deposit {
    fn drop(&mut self) {
        drop(fetch(self.0));
    }
}

/// Takes the block of a LENT frame; `None` when there is none of that number.
pub fn fetch(key: u64) -> Option<Lent> {
    lock(&DEPOSITS).remove(&key)
}
