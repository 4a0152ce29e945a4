//! What the processes of a group say of themselves.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicU8, Ordering};

use super::memory::{Mapping, MappingError};

/// Bytes of a request line kept in a slot.
const LINE: usize = 228;

/// A process's part of the report.
#[repr(C)]
struct ProcessReport {
    pid: AtomicU32,
    threads: AtomicU32,
    requests: AtomicU64,
}

/// What one request thread is at; written by that thread, read by anybody at any time.
#[repr(C)]
struct Slot {
    /// Request that the slot runs or ran last.
    request: AtomicU64,
    started_us: AtomicU64,
    active: AtomicU32,
    len: AtomicU32,
    line: [AtomicU8; LINE],
}

/// A request that a slot was running.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// Its id on the wire.
    pub request: u64,
    /// When the slot took it up, microseconds since the epoch.
    pub started_us: u64,
    /// Method and URI, shortened; from the process itself, so not to be trusted. Printable ASCII.
    pub line: String,
}

impl Running {
    /// For how long, in seconds.
    pub fn seconds(&self, now_us: u64) -> f64 {
        now_us.saturating_sub(self.started_us) as f64 / 1e6
    }
}

/// A group's report: for each process a head and `threads` slots.
pub struct Reports {
    memory: Mapping,
    processes: usize,
    threads: usize,
}

impl Reports {
    fn bytes(processes: usize, threads: usize) -> usize {
        processes * (size_of::<ProcessReport>() + threads * size_of::<Slot>())
    }

    /// A new report in a memfd.
    ///
    /// # Errors
    ///
    /// [`MappingError`] when the memory cannot be had.
    pub fn create(processes: u16, threads: u16) -> Result<(Self, OwnedFd), MappingError> {
        let (processes, threads) = (usize::from(processes), usize::from(threads));
        let (memory, fd) = Mapping::create(c"ngx-wsgi-report", Self::bytes(processes, threads))?;
        Ok((Reports { memory, processes, threads }, fd))
    }

    /// The report behind `fd`, made for the same numbers.
    ///
    /// # Errors
    ///
    /// [`MappingError`] when it cannot be mapped.
    pub fn open(fd: BorrowedFd<'_>, processes: u16, threads: u16) -> Result<Self, MappingError> {
        let (processes, threads) = (usize::from(processes), usize::from(threads));
        let memory = Mapping::open(fd, Self::bytes(processes, threads))?;
        Ok(Reports { memory, processes, threads })
    }

    /// A report of this process alone, for the embedded host.
    ///
    /// # Errors
    ///
    /// [`MappingError`] when the memory cannot be had.
    pub fn private(threads: u16) -> Result<Self, MappingError> {
        let threads = usize::from(threads);
        Ok(Reports { memory: Mapping::private(Self::bytes(1, threads))?, processes: 1, threads })
    }

    fn head(&self, process: usize) -> &ProcessReport {
        assert!(process < self.processes);
        self.memory.at(process * (size_of::<ProcessReport>() + self.threads * size_of::<Slot>()))
    }

    fn slot(&self, process: usize, thread: usize) -> &Slot {
        assert!(process < self.processes && thread < self.threads);
        let head = process * (size_of::<ProcessReport>() + self.threads * size_of::<Slot>());
        self.memory.at(head + size_of::<ProcessReport>() + thread * size_of::<Slot>())
    }

    /// A process introduces itself.
    pub fn enter(&self, process: usize, pid: u32) {
        self.head(process).threads.store(self.threads as u32, Ordering::Relaxed);
        self.head(process).pid.store(pid, Ordering::Release);
    }

    /// Pid of the process, 0 before the first.
    pub fn pid(&self, process: usize) -> u32 {
        self.head(process).pid.load(Ordering::Acquire)
    }

    /// Requests the process slot has taken up, over all its lives.
    pub fn requests(&self, process: usize) -> u64 {
        self.head(process).requests.load(Ordering::Relaxed)
    }

    /// A thread takes a request up. `line` is kept as far as it fits.
    pub fn take_up(&self, process: usize, thread: usize, request: u64, now_us: u64, line: &[u8]) {
        let slot = self.slot(process, thread);
        for (cell, byte) in slot.line.iter().zip(line) {
            cell.store(*byte, Ordering::Relaxed);
        }
        slot.len.store(line.len().min(LINE) as u32, Ordering::Relaxed);
        slot.started_us.store(now_us, Ordering::Relaxed);
        slot.request.store(request, Ordering::Relaxed);
        slot.active.store(1, Ordering::Release);
        self.head(process).requests.fetch_add(1, Ordering::Relaxed);
    }

    /// The thread's request is over.
    pub fn lay_down(&self, process: usize, thread: usize) {
        self.slot(process, thread).active.store(0, Ordering::Release);
    }

    /// Forgets what a dead process was running; its slots still name their last requests.
    pub fn clear(&self, process: usize) {
        (0..self.threads).for_each(|thread| self.lay_down(process, thread));
    }

    /// What the process is running, by thread.
    pub fn running(&self, process: usize) -> Vec<Running> {
        (0..self.threads).filter_map(|thread| self.running_on(process, thread)).collect()
    }

    /// What one of its threads is running.
    pub fn running_on(&self, process: usize, thread: usize) -> Option<Running> {
        let slot = self.slot(process, thread);
        if slot.active.load(Ordering::Acquire) == 0 {
            return None;
        }
        let len = (slot.len.load(Ordering::Relaxed) as usize).min(LINE);
        let line = slot.line[..len].iter().map(|cell| cell.load(Ordering::Relaxed));
        let shown = |b: u8| if b.is_ascii_graphic() || b == b' ' { b as char } else { '?' };
        Some(Running {
            request: slot.request.load(Ordering::Relaxed),
            started_us: slot.started_us.load(Ordering::Relaxed),
            line: line.map(shown).collect(),
        })
    }

    /// Whether a thread of the process runs this request now.
    pub fn is_running(&self, process: usize, request: u64) -> bool {
        (0..self.threads).map(|thread| self.slot(process, thread)).any(|slot| {
            slot.active.load(Ordering::Acquire) != 0
                && slot.request.load(Ordering::Acquire) == request
        })
    }

    /// Whether the process has taken up this request, as the last one of any of its slots.
    pub fn has_taken_up(&self, process: usize, request: u64) -> bool {
        (0..self.threads)
            .any(|thread| self.slot(process, thread).request.load(Ordering::Acquire) == request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_tells_what_it_runs_and_what_it_ran_last() {
        let reports = Reports::private(2).unwrap();
        reports.enter(0, 42);
        reports.take_up(0, 1, 9, 1_000, b"GET /a\x1b[0m");
        let running = reports.running(0);
        assert_eq!(running.len(), 1);
        assert_eq!((running[0].request, running[0].line.as_str()), (9, "GET /a?[0m"));
        reports.lay_down(0, 1);
        assert!(reports.running(0).is_empty() && !reports.is_running(0, 9));
        assert!(reports.has_taken_up(0, 9) && !reports.has_taken_up(0, 8));
        assert_eq!((reports.pid(0), reports.requests(0)), (42, 1));
    }

    #[test]
    fn a_long_line_is_kept_as_far_as_it_fits() {
        let reports = Reports::private(1).unwrap();
        reports.take_up(0, 0, 1, 0, &[b'a'; 1000]);
        assert_eq!(reports.running(0)[0].line.len(), LINE);
    }
}
