//! The events of a request (mod_wsgi semantics i.2). Nothing here runs without a subscriber.

use std::time::Duration;

use nix::sys::resource::{getrusage, UsageWho};
use nix::sys::time::{TimeVal, TimeValLike};

use super::environ::Times;
use super::scope::Scope;
use crate::api::Publisher;
use crate::python::exception::Exception;
use crate::python::gil;
use crate::python::object::{Object, Py, PyResult};
use crate::wire::{Request, AGAIN};

/// Publishes one request's events.
#[derive(Clone)]
pub struct Events {
    publisher: Publisher,
    /// The request's id, where nginx has given it one.
    id: Option<Object>,
    data: Object,
}

/// What is told at the start of a request and again at its end.
pub struct Facts<'a> {
    pub thread_id: u32,
    pub request: &'a Request<'a>,
    pub times: &'a Times,
    pub scope: &'a Scope,
}

/// CPU time of a thread, in user and in system mode.
#[derive(Clone, Copy)]
pub struct Cpu {
    user: Duration,
    system: Duration,
}

impl Cpu {
    /// What the calling thread has used so far.
    pub fn now() -> Option<Self> {
        let usage = getrusage(UsageWho::RUSAGE_THREAD).ok()?;
        let duration = |time: TimeVal| Duration::from_micros(time.num_microseconds().max(0) as u64);
        Some(Cpu { user: duration(usage.user_time()), system: duration(usage.system_time()) })
    }
}

/// A payload in the making.
struct Payload(Py, Object);

impl Payload {
    fn object(&self, name: &str, value: &Object) -> PyResult<()> {
        self.1.set_item(&self.0.interned(name)?, value)
    }

    fn int(&self, name: &str, value: i64) -> PyResult<()> {
        self.object(name, &self.0.int(value)?)
    }

    fn count(&self, name: &str, value: u64) -> PyResult<()> {
        self.int(name, i64::try_from(value).unwrap_or(i64::MAX))
    }

    fn seconds(&self, name: &str, value: f64) -> PyResult<()> {
        self.object(name, &self.0.float(value)?)
    }
}

impl Events {
    pub fn new(publisher: Publisher, id: Option<&Object>, data: &Object) -> Self {
        Events { publisher, id: id.cloned(), data: data.clone() }
    }

    /// The application is about to be called. Returns what is to be called in its place.
    pub fn request_started(
        &self,
        py: Py,
        facts: &Facts<'_>,
        application: &Object,
        environ: &Object,
    ) -> PyResult<Option<Object>> {
        let payload = self.payload(py)?;
        facts.tell(&payload)?;
        // nginx hands a request over only where a slot is free, so no attempt fails; but a process
        // whose script has changed sends it away.
        let rejected = i64::from(facts.request.flags & AGAIN != 0);
        let sent = i64::from(!facts.request.process_group.is_empty());
        payload.int("daemon_connects", sent + rejected)?;
        payload.int("daemon_restarts", rejected)?;
        payload.object("application_object", application)?;
        payload.object("callable_object", &py.latin1(facts.request.callable)?)?;
        payload.object("request_environ", environ)?;
        self.publish("request_started", &payload)?;
        payload.1.get_item(&py.interned("application_object")?)
    }

    /// start_response was called; its arguments have not been looked at.
    pub fn response_started(
        &self,
        py: Py,
        status: &Object,
        headers: &Object,
        exc_info: Option<&Object>,
    ) -> PyResult<()> {
        let payload = self.payload(py)?;
        payload.object("response_status", status)?;
        payload.object("response_headers", headers)?;
        payload.object("exception_info", exc_info.unwrap_or(&py.none()))?;
        self.publish("response_started", &payload)
    }

    /// An exception that the application has not caught was logged.
    pub fn request_exception(&self, py: Py, exception: &Exception) -> PyResult<()> {
        let payload = self.payload(py)?;
        payload.object("exception_info", &exception.info(py)?)?;
        self.publish("request_exception", &payload)
    }

    /// The application is done. `cpu` is what the thread had used at the start, `waits` how it has
    /// waited for the GIL.
    pub fn request_finished(
        &self,
        py: Py,
        facts: &Facts<'_>,
        finish: f64,
        status: u16,
        cpu: Option<Cpu>,
        waits: gil::Waits,
    ) -> PyResult<()> {
        let payload = self.payload(py)?;
        facts.tell(&payload)?;
        let took = (finish - facts.times.application_start).max(0.0);
        payload.seconds("application_finish", finish)?;
        payload.seconds("application_time", took)?;
        for (direction, calls, meter) in [
            ("input", "input_reads", &facts.scope.input),
            ("output", "output_writes", &facts.scope.output),
        ] {
            payload.count(calls, meter.calls())?;
            payload.count(&format!("{direction}_length"), meter.bytes())?;
            payload.seconds(&format!("{direction}_time"), meter.time().as_secs_f64())?;
        }
        payload.int("status", i64::from(status))?;
        if let (Some(before), Some(after)) = (cpu, Cpu::now()) {
            let user = after.user.saturating_sub(before.user).as_secs_f64();
            let system = after.system.saturating_sub(before.system).as_secs_f64();
            // The kernel's two clocks differ a little.
            let total = user + system;
            let scale = if total > took { took / total } else { 1.0 };
            payload.seconds("cpu_user_time", user * scale)?;
            payload.seconds("cpu_system_time", system * scale)?;
            payload.seconds("cpu_time", total * scale)?;
        }
        payload.seconds("gil_wait_time", waits.time.as_secs_f64())?;
        payload.count("gil_wait_count", waits.count)?;
        self.publish("request_finished", &payload)
    }

    fn payload(&self, py: Py) -> PyResult<Payload> {
        let payload = Payload(py, py.dict()?);
        if let Some(id) = &self.id {
            payload.object("request_id", id)?;
        }
        payload.object("request_data", &self.data)?;
        Ok(payload)
    }

    fn publish(&self, event: &str, payload: &Payload) -> PyResult<()> {
        self.publisher.publish(payload.0, event, &payload.1)
    }
}

impl Facts<'_> {
    /// The nginx worker that accepted the request.
    fn server_pid(&self) -> i64 {
        let pid = self.request.get(b"mod_wsgi.server_pid").unwrap_or_default();
        std::str::from_utf8(pid).ok().and_then(|pid| pid.parse().ok()).unwrap_or(0)
    }

    fn tell(&self, payload: &Payload) -> PyResult<()> {
        payload.int("thread_id", i64::from(self.thread_id))?;
        payload.int("server_pid", self.server_pid())?;
        payload.seconds("request_start", self.times.request_start)?;
        payload.seconds("queue_start", self.times.queue_start)?;
        payload.seconds("daemon_start", self.times.daemon_start)?;
        payload.seconds("application_start", self.times.application_start)
    }
}
