//! Mutexes whose data is whole even if a thread has panicked with them.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Waits for the mutex, poisoned or not.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
