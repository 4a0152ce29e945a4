//! What happened between two calls of `request_metrics()`.

use std::time::{Duration, Instant};

use super::{Cpu, Finished, Phase};
use crate::clock::now_us;

/// The phases of a request, by the names they have in Python: in nginx, on its way to the process,
/// in the process before the application is called, in the application, all of it; and of the
/// application's time what it waited for the GIL, for input and for output.
pub const PHASES: [&str; 8] = [
    "server_time",
    "queue_time",
    "daemon_time",
    "application_time",
    "request_time",
    "gil_wait_time",
    "input_read_time",
    "output_write_time",
];

/// A stretch of time.
#[derive(Clone, Debug)]
pub struct Sample {
    began: Instant,
    /// Its end, microseconds since the epoch.
    pub stop_us: u64,
    /// Its length.
    pub period: Duration,
    /// At its beginning; what was used when it has ended.
    pub cpu: Cpu,
    pub requests: u64,
    /// 1xx to 5xx.
    pub statuses: [u64; 5],
    pub input_bytes: u64,
    pub input_reads: u64,
    pub output_bytes: u64,
    pub output_writes: u64,
    pub gil_waits: u64,
    pub phases: [Phase; PHASES.len()],
    pub threads: Vec<ThreadSample>,
}

/// One thread's part.
#[derive(Clone, Debug, Default)]
pub struct ThreadSample {
    pub completed: u64,
    /// Within the stretch of time.
    pub busy: Duration,
    /// Of the requests that ended.
    pub cpu: Duration,
    /// For how long it has run what it runs at the end.
    pub elapsed: Duration,
    /// Of the longest request that ended.
    pub longest: Duration,
}

impl Sample {
    pub(super) fn new(threads: usize) -> Self {
        let (requests, statuses, input_bytes, input_reads) = Default::default();
        let (output_bytes, output_writes, gil_waits) = Default::default();
        Sample {
            began: Instant::now(),
            stop_us: 0,
            period: Duration::ZERO,
            cpu: Cpu::of_process(),
            requests,
            statuses,
            input_bytes,
            input_reads,
            output_bytes,
            output_writes,
            gil_waits,
            phases: Default::default(),
            threads: vec![ThreadSample::default(); threads],
        }
    }

    /// A request has ended on a thread.
    pub(super) fn add(
        &mut self,
        thread: usize,
        since: Instant,
        took: Duration,
        cpu: Duration,
        finished: Option<&Finished>,
    ) {
        if let Some(thread) = self.threads.get_mut(thread) {
            thread.busy += since.max(self.began).elapsed();
            thread.cpu += cpu;
            thread.completed += u64::from(finished.is_some());
            thread.longest = thread.longest.max(took);
        }
        let Some(finished) = finished else { return };
        self.requests += 1;
        let class = usize::from(finished.status / 100);
        if let Some(count) = class.checked_sub(1).and_then(|class| self.statuses.get_mut(class)) {
            *count += 1;
        }
        self.input_bytes += finished.input_bytes;
        self.input_reads += finished.input_reads;
        self.output_bytes += finished.output_bytes;
        self.output_writes += finished.output_writes;
        self.gil_waits += finished.gil_waits;
        for (phase, time) in self.phases.iter_mut().zip(finished.phases) {
            time.into_iter().for_each(|time| phase.add(time));
        }
    }

    /// The time is over; `running` says for each thread since when it runs a request.
    pub(super) fn end(&mut self, running: impl Iterator<Item = Option<Instant>>) {
        self.period = self.began.elapsed();
        self.stop_us = now_us();
        self.cpu = Cpu::of_process().since(self.cpu);
        for (thread, since) in self.threads.iter_mut().zip(running) {
            let Some(since) = since else { continue };
            thread.elapsed = since.elapsed();
            thread.busy += since.max(self.began).elapsed();
        }
    }

    /// Threads that ran anything.
    pub fn active(&self) -> usize {
        self.threads.iter().filter(|thread| thread.busy > Duration::ZERO).count()
    }

    /// The part of the threads' time that requests took up, 0 to 1.
    pub fn utilization(&self) -> f64 {
        let busy: f64 = self.threads.iter().map(|thread| thread.busy.as_secs_f64()).sum();
        self.per_second(busy) / self.threads.len().max(1) as f64
    }

    /// An amount by the length of the time.
    pub fn per_second(&self, amount: f64) -> f64 {
        let period = self.period.as_secs_f64();
        if period > 0.0 {
            amount / period
        } else {
            0.0
        }
    }
}
