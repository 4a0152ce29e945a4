//! One request: loading, calling, iterating, closing.

use std::borrow::Cow;
use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::environ::{self, Own, Times};
use super::events::{Cpu, Events, Facts};
use super::file::Plain;
use super::output::{Output, Sent};
use super::scope::{Current, Scope};
use super::{input, start_response, stream};
use crate::exchange::Exchange;
use crate::log::Level;
use crate::metrics::{Finished, Recorded, METRICS};
use crate::python::exception::Exception;
use crate::python::interpreter::Interpreter;
use crate::python::object::{Kind, Object, Py, PyResult};
use crate::python::{gil, record, Runtime};
use crate::script::{self, Loaded};
use crate::wire::{key, Outcome, Request, HEAD_ONLY};

/// What the request's objects are made of.
struct Call<'a> {
    py: Py,
    runtime: &'a Runtime,
    interpreter: &'a Interpreter,
    request: &'a Request<'a>,
    exchange: &'a Arc<dyn Exchange>,
    output: Arc<Output>,
    /// The request has run for too long, which is its answer.
    timed_out: Cell<bool>,
    /// Where metrics are recorded, until they have been.
    recorded: Cell<Option<Recorded>>,
}

/// Runs the application for one request, on an attached thread.
pub fn serve(
    py: Py,
    runtime: &Runtime,
    interpreter: &Interpreter,
    thread_id: u32,
    request: &Request<'_>,
    exchange: &Arc<dyn Exchange>,
) -> Outcome {
    let daemon_start = if runtime.config().is_daemon() { now() } else { 0.0 };
    let recorded = Cell::new(METRICS.begin(thread_id));
    let scope = Scope::new(exchange);
    let output = Output::new(&scope);
    let timed_out = Cell::new(false);
    let call = Call { py, runtime, interpreter, request, exchange, output, timed_out, recorded };
    let outcome = call.serve(&scope, thread_id, daemon_start).unwrap_or_else(|raised| {
        let exception = Exception::take(py, raised);
        exception.log(py, b"The WSGI request could not be prepared.");
        call.failure(&exception)
    });
    if let Some(recorded) = call.recorded.take() {
        METRICS.finish(&recorded, None);
    }
    outcome
}

impl Call<'_> {
    fn serve(&self, scope: &Arc<Scope>, thread_id: u32, daemon_start: f64) -> PyResult<Outcome> {
        let py = self.py;
        let objects = self.interpreter.objects(py);
        let data = py.dict()?;
        let current = Current::enter(scope, data.clone());
        let input = input::input(&objects.types.input, scope)?;
        let errors = stream::errors(objects.types.errors(), scope)?;
        let outcome = match self.application() {
            Ok(application) => {
                let config = self.runtime.config();
                let times = Times::new(config, self.request, daemon_start, now());
                let own = Own { input: &input, errors: &errors, thread_id, times: &times };
                let environ = environ::build(py, self.interpreter, config, self.request, &own)?;
                let facts = Facts { thread_id, request: self.request, times: &times, scope };
                self.run(application, &environ, &data, &facts)?
            }
            Err(outcome) => outcome,
        };
        stream::finish(py, &errors);
        drop(current);
        Ok(outcome)
    }

    /// The script's path for log lines.
    fn script(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(self.request.script)
    }

    /// The callable, or how the exchange ends without one.
    fn application(&self) -> Result<Object, Outcome> {
        let namespace = match script::load(self.py, self.runtime, self.interpreter, self.request) {
            Loaded::Namespace(namespace) => namespace,
            Loaded::Failed | Loaded::Exited => return Err(Outcome::Failed),
            Loaded::TimedOut => return Err(self.time_out()),
            Loaded::Elsewhere => return Err(Outcome::Rejected),
        };
        let names = &self.interpreter.objects(self.py).scripts;
        let name = names.callable(self.py, self.request.callable);
        let found = name.and_then(|name| namespace.get_item(&name));
        match found {
            Ok(Some(application)) => Ok(application),
            Ok(None) => {
                let (script, name) = (self.script(), self.request.callable);
                let name = String::from_utf8_lossy(name);
                let line = format!(
                    "Target WSGI script '{script}' does not contain WSGI application '{name}'."
                );
                record::line(self.py, Level::Error, line.as_bytes());
                Err(Outcome::Failed)
            }
            Err(raised) => {
                self.log_exception(&Exception::take(self.py, raised));
                Err(Outcome::Failed)
            }
        }
    }

    /// Calls the application with the request noted as active, and ends the response.
    fn run(
        &self,
        application: Object,
        environ: &Object,
        data: &Object,
        facts: &Facts<'_>,
    ) -> PyResult<Outcome> {
        let api = &self.interpreter.objects(self.py).api;
        let id = self.request.known(key::REQUEST_ID).map(|id| self.py.latin1(id)).transpose()?;
        if let Some(id) = &id {
            api.enter_request(id, data)?;
        }
        let recorded = self.recorded.take().or_else(|| {
            // Its own script may have started that; the clock has not run until now.
            METRICS.begin(facts.thread_id).inspect(|_| gil::start())
        });
        let observed = recorded.is_some() || api.has_subscribers();
        self.recorded.set(recorded);
        let ended = if observed {
            let events = || Events::new(api.publisher(), id.as_ref(), data);
            let events = api.has_subscribers().then(events);
            self.run_observed(application, environ, events.as_ref(), facts)
        } else {
            self.call(&application, environ, None)
        };
        if let Some(id) = &id {
            api.leave_request(id)?;
        }
        ended
    }

    /// Runs the application with its events published, its figures recorded, or both.
    fn run_observed(
        &self,
        mut application: Object,
        environ: &Object,
        events: Option<&Events>,
        facts: &Facts<'_>,
    ) -> PyResult<Outcome> {
        let py = self.py;
        if events.is_some() && self.interpreter.observe() {
            // From the next request on the wait for the GIL before this is measured as well.
            gil::start();
        }
        facts.scope.input.take_time();
        facts.scope.output.take_time();
        let cpu = Cpu::now();
        if let Some(events) = events {
            if let Some(replacement) = events.request_started(py, facts, &application, environ)? {
                application = replacement;
            }
        }
        let outcome = self.call(&application, environ, events)?;
        let status = match (self.output.status(), outcome) {
            _ if self.timed_out.get() => 504,
            (Some(status), _) => status,
            (None, Outcome::Failed) => 500,
            (None, _) => 0,
        };
        let (finish, waits) = (now(), gil::stop());
        if let Some(recorded) = self.recorded.take() {
            METRICS.finish(&recorded, Some(&finished(facts, finish, status, waits)));
        }
        let Some(events) = events else { return Ok(outcome) };
        if let Err(raised) = events.request_finished(py, facts, finish, status, cpu, waits) {
            self.log_exception(&Exception::take(py, raised));
        }
        Ok(outcome)
    }

    /// Calls the application and sends what it returns.
    fn call(
        &self,
        application: &Object,
        environ: &Object,
        events: Option<&Events>,
    ) -> PyResult<Outcome> {
        let py = self.py;
        let types = &self.interpreter.objects(py).types;
        let start = start_response::start_response(
            &types.start_response,
            &types.write,
            &self.output,
            events.cloned(),
        )?;
        let logged = |raised| {
            let exception = Exception::take(py, raised);
            let failure = match self.output.is_committed() {
                true => Outcome::Aborted,
                false => self.failure(&exception),
            };
            self.report(exception, events);
            failure
        };
        let called = application.call(&[environ, &start]);
        let outcome = called.map_err(logged).and_then(|result| {
            let sent = self.respond(&result).map_err(logged);
            self.close(&result, events);
            sent
        });
        Ok(match outcome {
            Ok(Sent::ClientGone) => {
                record::line(py, Level::Debug, b"Client closed connection.");
                Outcome::Complete
            }
            Ok(Sent::Yes) if self.output.is_whole(py, self.is_head()) => Outcome::Complete,
            Ok(Sent::Yes) => Outcome::Aborted,
            Err(failure) => failure,
        })
    }

    /// How an exchange without a response ends after an exception. One that was told to stop
    /// (`interrupt-timeout=`) is answered 504.
    fn failure(&self, exception: &Exception) -> Outcome {
        let timeout = &self.interpreter.objects(self.py).api.request_timeout;
        if !exception.is_a(timeout) {
            return Outcome::Failed;
        }
        self.time_out()
    }

    fn time_out(&self) -> Outcome {
        self.timed_out.set(true);
        let nothing = [("Content-Length", "0")].into_iter().collect();
        match self.exchange.respond(504, b"504 Gateway Timeout", &nothing) {
            Ok(()) => Outcome::Complete,
            Err(_) => Outcome::Failed,
        }
    }

    fn is_head(&self) -> bool {
        self.request.flags & HEAD_ONLY != 0
    }

    fn log_exception(&self, exception: &Exception) {
        let (script, name, place) = (self.script(), exception.name(), &self.interpreter.label);
        let line = if exception.is_system_exit() {
            format!("{name} exception raised by WSGI script '{script}' for {place}; ignored.")
        } else {
            format!("{name} exception raised processing WSGI script '{script}' for {place}.")
        };
        exception.log(self.py, line.as_bytes());
    }

    /// Logs an exception of the application and tells the subscribers.
    fn report(&self, exception: Exception, events: Option<&Events>) {
        self.log_exception(&exception);
        let Some(events) = events else { return };
        if let Err(raised) = events.request_exception(self.py, &exception) {
            self.log_exception(&Exception::take(self.py, raised));
        }
    }

    /// Sends what the application returned.
    fn respond(&self, result: &Object) -> PyResult<Sent> {
        let py = self.py;
        let wrapper = &self.interpreter.objects(py).types.file_wrapper;
        if result.is_instance_of(wrapper) && !self.output.is_committed() {
            if let Some(file) = Plain::behind(py, result)? {
                return file.send(py, &self.output);
            }
        }
        if let Some(only) = result.only_item() {
            return self.send(&only, true);
        }
        let iterator = result.iter()?;
        while let Some(item) = iterator.next()? {
            if self.send(&item, false)? == Sent::ClientGone {
                return Ok(Sent::ClientGone);
            }
        }
        self.output.commit(py)
    }

    fn send(&self, item: &Object, last: bool) -> PyResult<Sent> {
        let Some(block) = item.as_bytes() else {
            let message = format!("response iterable must yield bytes, not {}", item.type_name());
            return Err(self.py.raise(Kind::Type, &message));
        };
        match (block.is_empty(), last) {
            (false, true) => {
                let lent = self.output.lend(self.py, item, &self.interpreter.returned)?;
                lent.map_or_else(|| self.output.send(self.py, block, last), Ok)
            }
            (false, false) => self.output.send(self.py, block, last),
            (true, true) => self.output.commit(self.py),
            (true, false) => Ok(Sent::Yes),
        }
    }

    /// PEP 3333: close() is called whatever became of the response.
    fn close(&self, result: &Object, events: Option<&Events>) {
        let py = self.py;
        if result.is_plain_sequence() {
            return;
        }
        let closed = match result.find_attr(c"close") {
            Ok(Some(close)) => close.call(&[]).map(drop),
            Ok(None) => Ok(()),
            Err(raised) => Err(raised),
        };
        if let Err(raised) = closed {
            self.report(Exception::take(py, raised), events);
        }
    }
}

/// The figures of a request that has come to its end.
fn finished(facts: &Facts<'_>, finish: f64, status: u16, waits: gil::Waits) -> Finished {
    let (times, scope) = (facts.times, facts.scope);
    let between = |from: f64, to: f64| Some(Duration::from_secs_f64((to - from).max(0.0)));
    let [server, queue, daemon] = if times.daemon_start > 0.0 {
        [
            between(times.request_start, times.queue_start),
            between(times.queue_start, times.daemon_start),
            between(times.daemon_start, times.application_start),
        ]
    } else {
        [between(times.request_start, times.application_start), None, None]
    };
    let phases = [
        server,
        queue,
        daemon,
        between(times.application_start, finish),
        between(times.request_start, finish),
        Some(waits.time),
        Some(scope.input.time()),
        Some(scope.output.time()),
    ];
    Finished {
        status,
        phases,
        input_bytes: scope.input.bytes(),
        input_reads: scope.input.calls(),
        output_bytes: scope.output.bytes(),
        output_writes: scope.output.calls(),
        gil_waits: waits.count,
    }
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}
