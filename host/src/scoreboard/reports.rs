//! What the processes of a group say of themselves.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicU8, Ordering};

use crate::memory::{Mapping, MappingError};

/// A text that is written and read at the same time, as far as it fits.
#[repr(C)]
struct Text<const N: usize> {
    len: AtomicU32,
    bytes: [AtomicU8; N],
}

impl<const N: usize> Text<N> {
    fn set(&self, text: &[u8]) {
        for (cell, byte) in self.bytes.iter().zip(text) {
            cell.store(*byte, Ordering::Relaxed);
        }
        self.len.store(text.len().min(N) as u32, Ordering::Relaxed);
    }

    /// What is there, as printable ASCII: it may come from a hostile process.
    fn get(&self) -> String {
        let len = (self.len.load(Ordering::Relaxed) as usize).min(N);
        let text = self.bytes[..len].iter().map(|cell| cell.load(Ordering::Relaxed));
        text.map(|b| if b.is_ascii_graphic() || b == b' ' { b as char } else { '?' }).collect()
    }
}

/// How many requests a process names beside those that its slots name: those whose end waits to leave
/// with others, while their thread is at its next request or further.
const ENDED: usize = 32;

/// A process's part of the report.
#[repr(C)]
struct ProcessReport {
    pid: AtomicU32,
    progress: AtomicU32,
    requests: AtomicU64,
    /// The last ones whose end was left to wait, and how many there have been.
    ended: [AtomicU64; ENDED],
    ended_count: AtomicU64,
}

/// How far a process has come, as it says itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Progress {
    /// It does not serve yet.
    Starting = 0,
    Serving = 1,
    /// It finishes what it has.
    Draining = 2,
}

/// What one request thread is at; written by that thread, read by anybody at any time.
#[repr(C)]
struct Slot {
    /// Request that the slot runs or ran last.
    request: AtomicU64,
    started_us: AtomicU64,
    /// When the last one was over.
    finished_us: AtomicU64,
    /// Requests of this process.
    requests: AtomicU64,
    /// Bytes of their responses.
    sent: AtomicU64,
    active: AtomicU32,
    line: Text<228>,
    script: Text<236>,
    client: Text<46>,
    host: Text<66>,
}

/// A request as it is taken up.
#[derive(Clone, Copy, Debug)]
pub struct Taken<'a> {
    /// Its id on the wire.
    pub request: u64,
    /// Now, microseconds since the epoch.
    pub now_us: u64,
    /// Method and URI.
    pub line: &'a [u8],
    /// The script that runs it.
    pub script: &'a [u8],
    /// The client's address.
    pub client: &'a [u8],
    /// The server's name.
    pub host: &'a [u8],
}

/// A request that a slot was running. Its texts come from the process itself, so they are not to be
/// trusted: shortened, printable ASCII.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// The slot.
    pub thread: usize,
    /// Its id on the wire.
    pub request: u64,
    /// When the slot took it up, microseconds since the epoch.
    pub started_us: u64,
    /// Method and URI.
    pub line: String,
    /// The script that runs it.
    pub script: String,
}

/// What a slot has done in the life of its process. Not to be trusted either.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    /// Whether it runs a request; the texts are of this one, or of the last.
    pub active: bool,
    /// Requests so far.
    pub requests: u64,
    /// Bytes of their responses.
    pub sent: u64,
    /// Start of the last, microseconds since the epoch; 0 without any.
    pub started_us: u64,
    /// End of the last that is over.
    pub finished_us: u64,
    /// Method and URI.
    pub line: String,
    /// The client's address.
    pub client: String,
    /// The server's name.
    pub host: String,
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

    /// A report of one process, which this process and those it forks can see.
    ///
    /// # Errors
    ///
    /// [`MappingError`] when the memory cannot be had.
    pub fn inherited(threads: u16) -> Result<Self, MappingError> {
        let threads = usize::from(threads);
        Ok(Reports { memory: Mapping::inherited(Self::bytes(1, threads))?, processes: 1, threads })
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
        for slot in (0..self.threads).map(|thread| self.slot(process, thread)) {
            for number in [&slot.started_us, &slot.finished_us, &slot.requests, &slot.sent] {
                number.store(0, Ordering::Relaxed);
            }
            slot.line.set(b"");
            slot.client.set(b"");
            slot.host.set(b"");
        }
        self.set_progress(process, Progress::Starting);
        self.head(process).pid.store(pid, Ordering::Release);
    }

    /// Slots of each process.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Places for processes.
    pub fn processes(&self) -> usize {
        self.processes
    }

    /// A process says how far it is.
    pub fn set_progress(&self, process: usize, progress: Progress) {
        self.head(process).progress.store(progress as u32, Ordering::Relaxed);
    }

    /// How far a process says it is.
    pub fn progress(&self, process: usize) -> Progress {
        match self.head(process).progress.load(Ordering::Relaxed) {
            0 => Progress::Starting,
            1 => Progress::Serving,
            _ => Progress::Draining,
        }
    }

    /// Pid of the process, 0 where there is none.
    pub fn pid(&self, process: usize) -> u32 {
        self.head(process).pid.load(Ordering::Acquire)
    }

    /// Requests the process slot has taken up, over all its lives.
    pub fn requests(&self, process: usize) -> u64 {
        self.head(process).requests.load(Ordering::Relaxed)
    }

    /// A thread takes a request up.
    pub fn take_up(&self, process: usize, thread: usize, taken: &Taken<'_>) {
        let slot = self.slot(process, thread);
        slot.line.set(taken.line);
        slot.script.set(taken.script);
        slot.client.set(taken.client);
        slot.host.set(taken.host);
        slot.requests.fetch_add(1, Ordering::Relaxed);
        slot.started_us.store(taken.now_us, Ordering::Relaxed);
        slot.request.store(taken.request, Ordering::Relaxed);
        slot.active.store(1, Ordering::Release);
        self.head(process).requests.fetch_add(1, Ordering::Relaxed);
    }

    /// The end of a request waits to leave with others: the process goes on naming it when its thread
    /// takes up another one.
    pub fn keep(&self, process: usize, request: u64) {
        let head = self.head(process);
        let before = head.ended_count.fetch_add(1, Ordering::Relaxed);
        head.ended[before as usize % ENDED].store(request, Ordering::Release);
    }

    /// The thread's request is over, with a response of `sent` bytes.
    pub fn lay_down(&self, process: usize, thread: usize, now_us: u64, sent: u64) {
        let slot = self.slot(process, thread);
        slot.sent.fetch_add(sent, Ordering::Relaxed);
        slot.finished_us.store(now_us, Ordering::Relaxed);
        slot.active.store(0, Ordering::Release);
    }

    /// Forgets a dead process and what it was running; its slots still name their last requests.
    pub fn clear(&self, process: usize) {
        self.head(process).pid.store(0, Ordering::Release);
        for thread in 0..self.threads {
            self.slot(process, thread).active.store(0, Ordering::Release);
        }
    }

    /// What one of its threads has done.
    pub fn history(&self, process: usize, thread: usize) -> History {
        let slot = self.slot(process, thread);
        History {
            active: slot.active.load(Ordering::Acquire) != 0,
            requests: slot.requests.load(Ordering::Relaxed),
            sent: slot.sent.load(Ordering::Relaxed),
            started_us: slot.started_us.load(Ordering::Relaxed),
            finished_us: slot.finished_us.load(Ordering::Relaxed),
            line: slot.line.get(),
            client: slot.client.get(),
            host: slot.host.get(),
        }
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
        Some(Running {
            thread,
            request: slot.request.load(Ordering::Relaxed),
            started_us: slot.started_us.load(Ordering::Relaxed),
            line: slot.line.get(),
            script: slot.script.get(),
        })
    }

    /// Whether a thread of the process runs this request now.
    pub fn is_running(&self, process: usize, request: u64) -> bool {
        (0..self.threads).map(|thread| self.slot(process, thread)).any(|slot| {
            slot.active.load(Ordering::Acquire) != 0
                && slot.request.load(Ordering::Acquire) == request
        })
    }

    /// Whether the process has taken up this request, as the last one of any of its slots or as one whose
    /// end was left to wait.
    pub fn has_taken_up(&self, process: usize, request: u64) -> bool {
        let last = (0..self.threads).map(|thread| &self.slot(process, thread).request);
        let mut named = last.chain(&self.head(process).ended);
        named.any(|named| named.load(Ordering::Acquire) == request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(request: u64, line: &[u8]) -> Taken<'_> {
        let (script, client, host) = (b"/srv/a.wsgi", b"::1", b"example.com");
        Taken { request, now_us: 1_000, line, script, client, host }
    }

    #[test]
    fn a_slot_tells_what_it_runs_and_what_it_ran_last() {
        let reports = Reports::inherited(2).unwrap();
        reports.enter(0, 42);
        reports.take_up(0, 1, &taken(9, b"GET /a\x1b[0m"));
        let running = reports.running(0);
        assert_eq!(running.len(), 1);
        assert_eq!((running[0].request, running[0].line.as_str()), (9, "GET /a?[0m"));
        assert_eq!((running[0].thread, running[0].script.as_str()), (1, "/srv/a.wsgi"));
        reports.lay_down(0, 1, 3_000, 12);
        assert!(reports.running(0).is_empty() && !reports.is_running(0, 9));
        assert!(reports.has_taken_up(0, 9) && !reports.has_taken_up(0, 8));
        assert_eq!((reports.pid(0), reports.requests(0)), (42, 1));
    }

    #[test]
    fn requests_whose_end_waits_are_still_named() {
        let reports = Reports::inherited(1).unwrap();
        reports.enter(0, 42);
        for request in 1..=100 {
            reports.take_up(0, 0, &taken(request, b"GET /"));
            if request % 2 == 0 && request <= 2 * ENDED as u64 {
                reports.keep(0, request);
            }
            reports.lay_down(0, 0, 3_000, 12);
        }
        let named = (1..=100).filter(|request| reports.has_taken_up(0, *request));
        let kept = (1..=ENDED as u64).map(|number| 2 * number);
        assert!(named.eq(kept.chain([100])));
    }

    #[test]
    fn the_next_process_has_done_nothing() {
        let reports = Reports::inherited(1).unwrap();
        reports.enter(0, 42);
        assert_eq!(reports.progress(0), Progress::Starting);
        reports.set_progress(0, Progress::Serving);
        reports.take_up(0, 0, &taken(9, b"GET /a"));
        assert!(reports.history(0, 0).active);
        reports.lay_down(0, 0, 3_000, 12);
        let history = reports.history(0, 0);
        assert_eq!((history.requests, history.sent, history.active), (1, 12, false));
        assert_eq!((history.started_us, history.finished_us), (1_000, 3_000));
        assert_eq!(
            (&*history.line, &*history.client, &*history.host),
            ("GET /a", "::1", "example.com")
        );
        reports.clear(0);
        assert!(reports.pid(0) == 0 && reports.has_taken_up(0, 9));
        reports.enter(0, 43);
        let history = reports.history(0, 0);
        assert_eq!((history.requests, history.sent, history.started_us), (0, 0, 0));
        assert_eq!((reports.progress(0), history.line.as_str()), (Progress::Starting, ""));
    }

    #[test]
    fn a_long_line_is_kept_as_far_as_it_fits() {
        let reports = Reports::inherited(1).unwrap();
        reports.take_up(0, 0, &taken(1, &[b'a'; 1000]));
        assert_eq!(reports.running(0)[0].line, "a".repeat(228));
    }

    #[test]
    fn a_length_is_not_believed() {
        let reports = Reports::inherited(1).unwrap();
        reports.take_up(0, 0, &taken(1, b"GET /"));
        reports.slot(0, 0).line.len.store(u32::MAX, Ordering::Relaxed);
        assert_eq!(reports.running(0)[0].line.len(), 228);
    }
}
