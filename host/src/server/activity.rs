//! What the request threads of a process are at, for those who watch over them.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nix::unistd::write;

/// Times of a process's request threads. Everything is monotonic; nothing here takes a lock.
pub struct Activity {
    origin: Instant,
    threads: Box<[Thread]>,
    finished: AtomicU64,
    /// Last sign of life, microseconds since the origin; 0 before the first request.
    stirred: AtomicU64,
    /// Requests after which the watcher is to be woken; 0 for never.
    limit: u64,
    /// An eventfd that wakes the watcher.
    notice: Option<OwnedFd>,
}

#[derive(Default)]
struct Thread {
    /// When it took its request up, microseconds since the origin; 0 while it is idle.
    since: AtomicU64,
    /// What pthread_self() says.
    ident: AtomicU64,
}

/// A request that a thread is running. No other one of the same thread has the same `since`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Busy {
    /// Index of the thread.
    pub thread: usize,
    /// When it took the request up.
    pub since: Instant,
}

impl Activity {
    /// Of a process with so many request threads. `notice` is written to when `limit` requests have
    /// finished, and when a thread ends.
    pub fn new(threads: u16, limit: u64, notice: Option<OwnedFd>) -> Self {
        // The first request's time must not be 0.
        let origin = Instant::now() - Duration::from_micros(1);
        let threads = (0..threads).map(|_| Thread::default()).collect();
        let (finished, stirred) = Default::default();
        Activity { origin, threads, finished, stirred, limit, notice }
    }

    fn now(&self) -> u64 {
        self.origin.elapsed().as_micros() as u64
    }

    fn instant(&self, micros: u64) -> Instant {
        self.origin + Duration::from_micros(micros)
    }

    /// The calling thread introduces itself.
    pub fn enter(&self, thread: usize) {
        // SAFETY: always succeeds.
        let ident = unsafe { libc::pthread_self() };
        self.threads[thread].ident.store(ident, Ordering::Relaxed);
    }

    /// Name of a thread for Python and the system.
    pub fn ident(&self, thread: usize) -> u64 {
        self.threads[thread].ident.load(Ordering::Relaxed)
    }

    /// A thread takes a request up, which counts as a sign of life unless it is `quiet`.
    pub fn begin(&self, thread: usize, quiet: bool) {
        let now = self.now();
        self.threads[thread].since.store(now, Ordering::SeqCst);
        if !quiet {
            self.stirred.store(now, Ordering::Relaxed);
        }
    }

    /// A running request reads or writes.
    pub fn stir(&self) {
        self.stirred.store(self.now(), Ordering::Relaxed);
    }

    /// The thread's request is over.
    pub fn end(&self, thread: usize) {
        self.threads[thread].since.store(0, Ordering::SeqCst);
        if self.finished.fetch_add(1, Ordering::Relaxed) + 1 == self.limit {
            self.wake();
        }
    }

    /// Wakes the watcher.
    pub fn wake(&self) {
        if let Some(notice) = &self.notice {
            // Fails only when the counter is full, and then it is awake.
            let _ = write(notice, &1u64.to_ne_bytes());
        }
    }

    /// Requests that have finished.
    pub fn finished(&self) -> u64 {
        self.finished.load(Ordering::Relaxed)
    }

    /// The last sign of life; `None` before the first request.
    pub fn last_stir(&self) -> Option<Instant> {
        match self.stirred.load(Ordering::Relaxed) {
            0 => None,
            micros => Some(self.instant(micros)),
        }
    }

    /// What is running.
    pub fn busy(&self) -> impl Iterator<Item = Busy> + '_ {
        let times = self.threads.iter().map(|thread| thread.since.load(Ordering::SeqCst));
        times
            .enumerate()
            .filter(|(_, since)| *since != 0)
            .map(|(thread, since)| Busy { thread, since: self.instant(since) })
    }

    /// Whether a thread still runs this request.
    pub fn is_running(&self, busy: Busy) -> bool {
        self.busy().any(|now| now == busy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::eventfd::{EfdFlags, EventFd};
    use std::os::fd::AsFd;

    #[test]
    fn a_request_runs_until_its_end() {
        let activity = Activity::new(2, 0, None);
        assert_eq!(activity.last_stir(), None);
        activity.begin(1, true);
        assert_eq!(activity.last_stir(), None);
        let busy = activity.busy().next().unwrap();
        assert!(busy.thread == 1 && activity.is_running(busy));
        activity.end(1);
        assert!(!activity.is_running(busy));
        activity.begin(1, false);
        assert!(activity.last_stir().is_some());
        assert_eq!((activity.busy().count(), activity.finished()), (1, 1));
    }

    #[test]
    fn the_watcher_is_woken_at_the_limit() {
        let notice = EventFd::from_flags(EfdFlags::EFD_NONBLOCK).unwrap();
        let ours = notice.as_fd().try_clone_to_owned().unwrap();
        let activity = Activity::new(1, 2, Some(ours));
        let woken = || notice.read().is_ok();
        for expected in [false, true, false] {
            activity.begin(0, false);
            activity.end(0);
            assert_eq!(woken(), expected);
        }
    }
}
