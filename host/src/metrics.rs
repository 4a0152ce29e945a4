//! What the requests of this process add up to, for `mod_wsgi.request_metrics()` and
//! `mod_wsgi.process_metrics()` (mod_wsgi semantics i.3).
//!
//! There is one Python runtime in a process, so there is one recorder. Until an application asks for
//! it, a request costs one look at a flag.

mod phase;
mod sample;

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use nix::sys::resource::{getrusage, Usage, UsageWho};
use nix::sys::time::{TimeVal, TimeValLike};

use crate::clock::now_us;
use crate::lock::lock;

pub use phase::Phase;
pub use sample::{Sample, ThreadSample, PHASES};

/// The recorder of this process.
pub static METRICS: Metrics = Metrics::new();

/// Figures of all requests since recording was started.
pub struct Metrics {
    recording: AtomicBool,
    threads: AtomicUsize,
    /// When the process began to serve, microseconds since the epoch.
    started_us: AtomicU64,
    state: Mutex<Option<State>>,
}

struct State {
    threads: Vec<Thread>,
    requests: u64,
    busy: Duration,
    sample: Sample,
}

/// A request thread.
#[derive(Clone, Default)]
struct Thread {
    /// Since when it runs its request.
    since: Option<Instant>,
    /// Requests that it has begun.
    requests: u64,
}

/// A request that is being recorded; it has to be given to [`Metrics::finish`].
#[must_use]
pub struct Recorded {
    thread: usize,
    since: Instant,
    cpu: Duration,
}

/// One finished request.
#[derive(Clone, Copy, Debug, Default)]
pub struct Finished {
    /// As sent, 0 for none.
    pub status: u16,
    /// For each of [`PHASES`]; `None` where there is no such phase.
    pub phases: [Option<Duration>; PHASES.len()],
    pub input_bytes: u64,
    pub input_reads: u64,
    pub output_bytes: u64,
    pub output_writes: u64,
    pub gil_waits: u64,
}

/// The process as a whole.
pub struct Process {
    pub requests: u64,
    pub busy: Duration,
    /// When it began to serve, microseconds since the epoch.
    pub started_us: u64,
    pub memory: Memory,
    pub cpu: Cpu,
    /// Requests that each thread has begun.
    pub threads: Vec<u64>,
    /// Threads that run a request.
    pub active: usize,
}

/// Bytes of physical memory.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// The most so far.
    pub max_rss: u64,
    /// Now; 0 where /proc is not there.
    pub rss: u64,
}

/// CPU time of the process.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cpu {
    pub user: Duration,
    pub system: Duration,
}

impl Cpu {
    /// What the process has used so far.
    pub fn of_process() -> Self {
        getrusage(UsageWho::RUSAGE_SELF).map_or(Cpu::default(), |usage| Cpu::of(&usage))
    }

    /// What the calling thread has used so far, in both modes.
    fn of_thread() -> Duration {
        let used = getrusage(UsageWho::RUSAGE_THREAD).map(|usage| Cpu::of(&usage));
        used.map_or(Duration::ZERO, |cpu| cpu.user + cpu.system)
    }

    fn of(usage: &Usage) -> Self {
        let duration = |time: TimeVal| Duration::from_micros(time.num_microseconds().max(0) as u64);
        Cpu { user: duration(usage.user_time()), system: duration(usage.system_time()) }
    }

    /// What was used since `before`.
    pub fn since(self, before: Cpu) -> Self {
        let (user, system) = (self.user, self.system);
        let system = system.saturating_sub(before.system);
        Cpu { user: user.saturating_sub(before.user), system }
    }
}

impl Memory {
    /// Of this process.
    pub fn now() -> Self {
        let max = getrusage(UsageWho::RUSAGE_SELF).map_or(0, |usage| usage.max_rss());
        let pages = std::fs::read_to_string("/proc/self/statm").ok();
        let pages = pages.and_then(|text| text.split(' ').nth(1)?.parse::<u64>().ok());
        // SAFETY: asks for a constant.
        let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        let size = u64::try_from(size).unwrap_or(0);
        Memory { max_rss: u64::try_from(max).unwrap_or(0) << 10, rss: pages.unwrap_or(0) * size }
    }
}

impl Metrics {
    const fn new() -> Self {
        Metrics {
            recording: AtomicBool::new(false),
            threads: AtomicUsize::new(0),
            started_us: AtomicU64::new(0),
            state: Mutex::new(None),
        }
    }

    /// The process has so many request threads, and begins to serve.
    pub fn set_up(&self, threads: u16) {
        self.threads.store(threads.into(), Ordering::Relaxed);
        self.started_us.store(now_us(), Ordering::Relaxed);
    }

    fn state(&self) -> MutexGuard<'_, Option<State>> {
        lock(&self.state)
    }

    /// Starts recording, if that was not done before. Requests that run are left out.
    pub fn start(&self) {
        let threads = self.threads.load(Ordering::Relaxed);
        self.state().get_or_insert_with(|| State {
            threads: vec![Thread::default(); threads],
            requests: 0,
            busy: Duration::ZERO,
            sample: Sample::new(threads),
        });
        self.recording.store(true, Ordering::Release);
    }

    /// Whether requests are recorded.
    pub fn is_recording(&self) -> bool {
        self.recording.load(Ordering::Acquire)
    }

    /// A thread, counted from 1, begins a request. `None` where nothing is recorded.
    pub fn begin(&self, thread: u32) -> Option<Recorded> {
        if !self.is_recording() {
            return None;
        }
        let thread = (thread as usize).checked_sub(1)?;
        let since = Instant::now();
        if let Some(entry) = self.state().as_mut()?.threads.get_mut(thread) {
            entry.since = Some(since);
            entry.requests += 1;
        }
        Some(Recorded { thread, since, cpu: Cpu::of_thread() })
    }

    /// The request is over; `finished` is `None` for one that no application has answered.
    pub fn finish(&self, recorded: &Recorded, finished: Option<&Finished>) {
        let Recorded { thread, since, cpu } = *recorded;
        let cpu = Cpu::of_thread().saturating_sub(cpu);
        let took = since.elapsed();
        let mut state = self.state();
        let Some(State { threads, requests, busy, sample }) = state.as_mut() else { return };
        if let Some(entry) = threads.get_mut(thread) {
            entry.since = None;
        }
        *requests += u64::from(finished.is_some());
        *busy += took;
        sample.add(thread, since, took, cpu, finished);
    }

    /// What has happened since the last call, or since recording began; `None` where nothing is
    /// recorded.
    pub fn sample(&self) -> Option<Sample> {
        let mut state = self.state();
        let State { threads, sample, .. } = state.as_mut()?;
        let mut taken = std::mem::replace(sample, Sample::new(threads.len()));
        let running = threads.iter().map(|thread| thread.since);
        taken.end(running);
        Some(taken)
    }

    /// The process so far; `None` where nothing is recorded.
    pub fn process(&self) -> Option<Process> {
        let state = self.state();
        let State { threads, requests, busy, .. } = state.as_ref()?;
        let running = threads.iter().filter_map(|thread| thread.since);
        Some(Process {
            requests: *requests,
            busy: *busy + running.clone().map(|since| since.elapsed()).sum::<Duration>(),
            started_us: self.started_us.load(Ordering::Relaxed),
            memory: Memory::now(),
            cpu: Cpu::of_process(),
            threads: threads.iter().map(|thread| thread.requests).collect(),
            active: running.count(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_recorded_until_it_is_started() {
        let metrics = Metrics::new();
        metrics.set_up(2);
        assert!(metrics.begin(1).is_none() && metrics.sample().is_none());
        assert!(metrics.process().is_none());
        metrics.start();
        assert!(metrics.begin(1).is_some());
    }

    #[test]
    fn a_sample_ends_where_the_next_begins() {
        let metrics = Metrics::new();
        metrics.set_up(2);
        metrics.start();
        let first = metrics.begin(1).unwrap();
        let second = metrics.begin(2).unwrap();
        let mut finished = Finished { status: 404, input_bytes: 7, ..Finished::default() };
        finished.phases[0] = Some(Duration::from_millis(3));
        metrics.finish(&first, Some(&finished));
        let sample = metrics.sample().unwrap();
        assert_eq!((sample.requests, sample.statuses, sample.input_bytes), (1, [0, 0, 0, 1, 0], 7));
        assert_eq!((sample.phases[0].count, sample.phases[1].count), (1, 0));
        assert_eq!((sample.threads[0].completed, sample.threads[1].completed), (1, 0));
        assert!(sample.threads[1].elapsed > Duration::ZERO && sample.active() == 2);
        let process = metrics.process().unwrap();
        assert_eq!((process.requests, process.active, process.threads), (1, 1, vec![1, 1]));
        metrics.finish(&second, None);
        let sample = metrics.sample().unwrap();
        // It was busy, but nobody has answered.
        assert_eq!((sample.requests, sample.active()), (0, 1));
        assert!(sample.threads[1].busy <= sample.period + Duration::from_millis(1));
    }
}
