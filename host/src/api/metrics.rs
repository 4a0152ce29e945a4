//! The metrics functions of the module `mod_wsgi` (mod_wsgi semantics i.3).

use std::time::Duration;

use super::server;
use crate::clock::now_us;
use crate::metrics::{Cpu, Memory, Process, Sample, METRICS, PHASES};
use crate::python::class::arguments;
use crate::python::object::{Object, Py, PyResult};

/// A dictionary in the making.
pub(super) struct Dict(pub Py, pub Object);

impl Dict {
    pub fn new(py: Py) -> PyResult<Self> {
        Ok(Dict(py, py.dict()?))
    }

    pub fn set(&self, name: &str, value: PyResult<Object>) -> PyResult<()> {
        self.1.set_item(&self.0.interned(name)?, &value?)
    }

    pub fn count(&self, name: &str, value: u64) -> PyResult<()> {
        self.set(name, integer(self.0, value))
    }

    pub fn float(&self, name: &str, value: f64) -> PyResult<()> {
        self.set(name, self.0.float(value))
    }

    pub fn seconds(&self, name: &str, value: Duration) -> PyResult<()> {
        self.float(name, value.as_secs_f64())
    }

    /// A moment in microseconds since the epoch.
    pub fn moment(&self, name: &str, us: u64) -> PyResult<()> {
        self.float(name, us as f64 / 1e6)
    }

    pub fn text(&self, name: &str, value: &str) -> PyResult<()> {
        self.set(name, self.0.str(value))
    }

    fn option<T>(
        &self,
        name: &str,
        value: Option<T>,
        to: fn(Py, T) -> PyResult<Object>,
    ) -> PyResult<()> {
        self.set(name, value.map_or_else(|| Ok(self.0.none()), |value| to(self.0, value)))
    }
}

fn integer(py: Py, value: u64) -> PyResult<Object> {
    py.int(i64::try_from(value).unwrap_or(i64::MAX))
}

/// A list of what `to` makes of each item.
pub(super) fn list<T>(
    py: Py,
    items: impl IntoIterator<Item = T>,
    to: impl Fn(T) -> PyResult<Object>,
) -> PyResult<Object> {
    let list = py.list()?;
    for item in items {
        list.append(&to(item)?)?;
    }
    Ok(list)
}

/// `start_recording_metrics()`
pub fn start_recording(py: Py, tuple: &Object) -> PyResult<Object> {
    arguments(py, "start_recording_metrics", tuple, 0, 0)?;
    METRICS.start();
    Ok(py.none())
}

/// `request_metrics()`
pub fn request_metrics(py: Py, tuple: &Object) -> PyResult<Object> {
    arguments(py, "request_metrics", tuple, 0, 0)?;
    match METRICS.sample() {
        Some(sample) => request_dict(py, &sample),
        None => Ok(py.none()),
    }
}

/// `process_metrics()`
pub fn process_metrics(py: Py, tuple: &Object) -> PyResult<Object> {
    arguments(py, "process_metrics", tuple, 0, 0)?;
    match METRICS.process() {
        Some(process) => process_dict(py, &process),
        None => Ok(py.none()),
    }
}

/// `server_metrics()`
pub fn server_metrics(py: Py, tuple: &Object) -> PyResult<Object> {
    arguments(py, "server_metrics", tuple, 0, 0)?;
    server::metrics(py)
}

fn pid(dict: &Dict) -> PyResult<()> {
    dict.count("pid", std::process::id().into())
}

fn memory(dict: &Dict, memory: Memory) -> PyResult<()> {
    dict.count("memory_max_rss", memory.max_rss)?;
    dict.count("memory_rss", memory.rss)
}

fn cpu(dict: &Dict, cpu: Cpu) -> PyResult<()> {
    dict.seconds("cpu_user_time", cpu.user)?;
    dict.seconds("cpu_system_time", cpu.system)?;
    dict.seconds("cpu_time", cpu.user + cpu.system)
}

fn request_dict(py: Py, sample: &Sample) -> PyResult<Object> {
    let dict = Dict::new(py)?;
    pid(&dict)?;
    let period = u64::try_from(sample.period.as_micros()).unwrap_or(0);
    dict.moment("start_time", sample.stop_us.saturating_sub(period))?;
    dict.moment("stop_time", sample.stop_us)?;
    dict.seconds("sample_period", sample.period)?;
    cpu(&dict, sample.cpu)?;
    let (user, system) = (sample.cpu.user.as_secs_f64(), sample.cpu.system.as_secs_f64());
    dict.float("cpu_user_utilization", sample.per_second(user))?;
    dict.float("cpu_system_utilization", sample.per_second(system))?;
    dict.float("cpu_utilization", sample.per_second(user + system))?;
    memory(&dict, Memory::now())?;
    dict.count("request_threads_maximum", sample.threads.len() as u64)?;
    dict.count("request_threads_started", sample.threads.len() as u64)?;
    dict.count("request_threads_active", sample.active() as u64)?;
    dict.float("capacity_utilization", sample.utilization())?;
    dict.count("request_count", sample.requests)?;
    dict.float("request_throughput", sample.per_second(sample.requests as f64))?;
    let classes = ["status_1xx", "status_2xx", "status_3xx", "status_4xx", "status_5xx"];
    for (name, count) in classes.into_iter().zip(sample.statuses) {
        dict.count(name, count)?;
    }
    dict.count("input_bytes", sample.input_bytes)?;
    dict.count("input_reads", sample.input_reads)?;
    dict.count("output_bytes", sample.output_bytes)?;
    dict.count("output_writes", sample.output_writes)?;
    dict.count("gil_wait_count", sample.gil_waits)?;
    phases(&dict, sample)?;
    threads(&dict, sample)?;
    Ok(dict.1)
}

fn phases(dict: &Dict, sample: &Sample) -> PyResult<()> {
    let py = dict.0;
    let embedded = server::is_embedded();
    for (name, phase) in PHASES.into_iter().zip(&sample.phases) {
        // Without a way to another process there is no time for it; where there is one, no request
        // has taken none.
        let absent = embedded && matches!(name, "queue_time" | "daemon_time");
        let mean = phase.mean().or_else(|| (!absent).then_some(0.0));
        dict.option(name, mean, Py::float)?;
        dict.option(&format!("{name}_min_us"), phase.min_us, integer)?;
        dict.option(&format!("{name}_max_us"), phase.max_us, integer)?;
        let buckets = list(py, phase.buckets, |count| integer(py, count));
        dict.set(&format!("{name}_buckets"), buckets)?;
    }
    Ok(())
}

fn threads(dict: &Dict, sample: &Sample) -> PyResult<()> {
    let py = dict.0;
    // One figure by two names, as in mod_wsgi.
    for name in ["request_threads_completed", "request_threads_buckets"] {
        dict.set(name, list(py, &sample.threads, |thread| integer(py, thread.completed)))?;
    }
    let seconds = |name, time: fn(&crate::metrics::ThreadSample) -> Duration| {
        dict.set(name, list(py, &sample.threads, |thread| py.float(time(thread).as_secs_f64())))
    };
    seconds("request_threads_busy_time", |thread| thread.busy)?;
    seconds("request_threads_cpu_time", |thread| thread.cpu)?;
    seconds("request_threads_current_elapsed", |thread| thread.elapsed)?;
    seconds("request_threads_max_duration", |thread| thread.longest)
}

fn process_dict(py: Py, process: &Process) -> PyResult<Object> {
    let dict = Dict::new(py)?;
    pid(&dict)?;
    dict.count("request_count", process.requests)?;
    dict.seconds("request_busy_time", process.busy)?;
    memory(&dict, process.memory)?;
    cpu(&dict, process.cpu)?;
    let now = now_us();
    dict.moment("restart_time", process.started_us)?;
    dict.moment("current_time", now)?;
    dict.count("running_time", now.saturating_sub(process.started_us) / 1_000_000)?;
    dict.count("request_threads", process.threads.len() as u64)?;
    dict.count("active_requests", process.active as u64)?;
    let thread = |(index, requests): (usize, &u64)| {
        let thread = Dict::new(py)?;
        thread.count("thread_id", index as u64 + 1)?;
        thread.count("request_count", *requests)?;
        Ok(thread.1)
    };
    dict.set("threads", list(py, process.threads.iter().enumerate(), thread))?;
    Ok(dict.1)
}
