//! `mod_wsgi.server_metrics()`: the scoreboard, as far as this process may see it.

use std::sync::OnceLock;

use super::metrics::{list, Dict};
use crate::clock::now_us;
use crate::config::RuntimeConfig;
use crate::python::object::{Object, Py, PyResult};
use crate::scoreboard::{Progress, ServerGroup, ServerView};

/// What there is to see: nothing where it is not allowed. There is one runtime in a process.
static SERVER: OnceLock<(bool, Option<ServerView>)> = OnceLock::new();

/// Says what this process may see.
pub fn set_up(config: &RuntimeConfig) {
    // The process's one runtime has one configuration.
    let _ = SERVER.set((config.process_group.is_empty(), config.server.clone()));
}

/// Whether the process is an nginx worker.
pub fn is_embedded() -> bool {
    SERVER.get().is_some_and(|(embedded, _)| *embedded)
}

/// The dictionary, or `None`.
pub fn metrics(py: Py) -> PyResult<Object> {
    let Some((_, Some(view))) = SERVER.get() else { return Ok(py.none()) };
    let dict = Dict::new(py)?;
    let now = now_us();
    let size = |group: &ServerGroup| group.size as u64;
    dict.count("server_limit", view.groups.iter().map(size).sum())?;
    let threads = view.groups.iter().map(|group| group.reports.threads()).max();
    dict.count("thread_limit", threads.unwrap_or(0) as u64)?;
    dict.count("running_generation", view.generation.number.into())?;
    dict.moment("restart_time", view.generation.started_us)?;
    dict.moment("current_time", now)?;
    let running = now.saturating_sub(view.generation.started_us);
    dict.count("running_time", running / 1_000_000)?;
    let processes = py.list()?;
    let mut number = 0;
    for group in &view.groups {
        for seat in 0..group.reports.processes() {
            if group.reports.pid(seat) != 0 {
                processes.append(&process(py, view, group, seat, number)?)?;
            }
            number += 1;
        }
    }
    dict.set("processes", Ok(processes))?;
    Ok(dict.1)
}

fn process(
    py: Py,
    view: &ServerView,
    group: &ServerGroup,
    seat: usize,
    number: u64,
) -> PyResult<Object> {
    let dict = Dict::new(py)?;
    let (reports, generation) = (&group.reports, u64::from(view.generation.number));
    dict.count("process_num", number)?;
    dict.count("pid", reports.pid(seat).into())?;
    dict.count("generation", generation)?;
    let progress = reports.progress(seat);
    dict.set("quiescing", Ok(py.bool(progress == Progress::Draining)))?;
    dict.text("process_group", &group.name)?;
    let worker = |thread| {
        let dict = Dict::new(py)?;
        let slot = reports.history(seat, thread);
        let status = match (progress, slot.active) {
            (Progress::Starting, _) => "S",
            (Progress::Draining, true) => "G",
            (_, true) => "W",
            (_, false) => "_",
        };
        dict.count("thread_num", thread as u64)?;
        dict.count("generation", generation)?;
        dict.text("status", status)?;
        dict.count("access_count", slot.requests)?;
        dict.count("bytes_served", slot.sent)?;
        dict.moment("start_time", slot.started_us)?;
        dict.moment("stop_time", slot.finished_us)?;
        dict.moment("last_used", slot.finished_us.max(slot.started_us))?;
        dict.text("client", &slot.client)?;
        dict.text("request", &slot.line)?;
        dict.text("vhost", &slot.host)?;
        Ok(dict.1)
    };
    dict.set("workers", list(py, 0..reports.threads(), worker))?;
    Ok(dict.1)
}
