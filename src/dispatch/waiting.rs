//! Requests that wait for a slot: their beginning, their turn, and what ends them before it.

use std::cell::{Cell, RefCell};

use nginx_sys::{
    ngx_event_t, ngx_http_finalize_request, ngx_http_run_posted_requests, ngx_http_test_reading,
    ngx_http_upstream_conf_t, ngx_http_upstream_init, ngx_int_t, ngx_post_event, ngx_posted_events,
    NGX_HTTP_GATEWAY_TIME_OUT, NGX_HTTP_SERVICE_UNAVAILABLE, NGX_HTTP_UPSTREAM_FT_ERROR,
};
use ngx::ngx_log_error;
use ngx_wsgi_host::scoreboard::Lease;

use super::dispatcher::{Dispatcher, Place};
use super::idle::IdlePool;
use super::parked;
use super::patience::{Readiness, Waited};
use super::peer::ATTEMPTS;
use super::queue::{Queue, Waiting};
use crate::exchange::Exchange;
use crate::ffi::{guard, now_msec, Request};
use crate::hook::Question;

/// How often a worker looks whether there is a slot for requests that wait, although nobody has said so.
pub(super) const LOOK_AGAIN_MS: usize = 1000;
/// How seldom a request that has waited for long looks whether its group is still alive.
const SELDOM_MS: usize = 5000;
/// mod_wsgi's connect-timeout, seconds.
const CONNECT_TIMEOUT: u32 = 15;

type Handler = unsafe extern "C" fn(*mut ngx_event_t);

/// The waiting requests and idle connections of one place.
#[derive(Default)]
pub struct Station {
    queue: RefCell<Queue>,
    /// Whether it is about to be served.
    pub(super) is_due: Cell<bool>,
    /// For each process.
    pub idle: Vec<IdlePool>,
    readiness: Readiness,
    queue_timeout_ms: usize,
    connect_timeout_ms: usize,
}

impl Station {
    /// The embedded host's: one process, and no time limits.
    pub fn embedded() -> Self {
        Station { idle: vec![IdlePool::default()], ..Station::default() }
    }

    pub fn of(group: &crate::conf::GroupDefinition) -> Self {
        let ms = |seconds: u32| seconds as usize * 1000;
        Station {
            idle: (0..group.seats()).map(|_| IdlePool::default()).collect(),
            queue_timeout_ms: ms(group.options.queue_timeout.unwrap_or(0)),
            connect_timeout_ms: ms(group.options.connect_timeout.unwrap_or(CONNECT_TIMEOUT)),
            ..Station::default()
        }
    }

    /// Milliseconds until a request that has waited so long is looked after next: when it is too long, and
    /// from then on whether its group is still alive, less and less often.
    fn next_look(&self, waited: Waited) -> usize {
        let until = |limit: usize, passed| match limit.checked_sub(passed) {
            Some(left) if left > 0 => left,
            _ => (waited.total / 4).clamp(LOOK_AGAIN_MS, SELDOM_MS),
        };
        let connect = until(self.connect_timeout_ms, waited.without_process);
        if self.queue_timeout_ms > 0 {
            connect.min(until(self.queue_timeout_ms, waited.total))
        } else {
            connect
        }
    }
}

/// What becomes of a request at the door.
#[derive(Debug, PartialEq, Eq)]
pub enum Admission {
    /// It has its lease.
    Leased,
    /// It waits for one.
    Waits,
    /// It is answered with this status.
    Refused(u32),
}

impl Dispatcher {
    /// Begins a request whose body has been read: at once with a lease, or later in its turn.
    pub fn begin(&self, r: Request) {
        let Some(exchange) = Exchange::of(r) else { return };
        exchange.clock.begun = Some(now_msec());
        // SAFETY: the content handler made the upstream of this request, with its configuration.
        let cached = unsafe { has_cache(&*(*r.upstream()).conf) };
        match if cached { Admission::Leased } else { self.admit(exchange) } {
            // SAFETY: as above. What asks the cache comes for its slot later.
            Admission::Leased => unsafe { ngx_http_upstream_init(r.as_ptr()) },
            Admission::Waits => watch_client(r),
            Admission::Refused(status) => finalize(r, status),
        }
    }

    /// A lease for a request, or a place in the waiting line.
    pub(super) fn admit(&self, exchange: &mut Exchange) -> Admission {
        let (r, place) = (exchange.request, exchange.place);
        if let Some(cause) = self.out_of_service(place) {
            ngx_log_error!(
                nginx_sys::NGX_LOG_ERR,
                r.log(),
                "daemon process group \"{}\" is not available: {cause}",
                exchange.group_name()
            );
            return Admission::Refused(NGX_HTTP_SERVICE_UNAVAILABLE);
        }
        let Some((leases, group)) = self.leases(place) else {
            return Admission::Refused(nginx_sys::NGX_HTTP_INTERNAL_SERVER_ERROR);
        };
        if self.station(place).queue.borrow().is_empty() {
            if let Some(lease) = leases.lease(group, self.worker) {
                exchange.lease = Some(lease);
                return Admission::Leased;
            }
        }
        self.enqueue(r, exchange);
        leases.wait(group, self.worker);
        // A slot may have been freed between the look and the mark.
        self.serve_soon(place);
        Admission::Waits
    }

    /// The same for a request that is sent again. It has had its turn, so it waits ahead of the others.
    pub(super) fn admit_again(&self, exchange: &mut Exchange) -> Admission {
        // Where the process is still there, the next that becomes free might be the same one.
        let surplus = exchange.failure & !NGX_HTTP_UPSTREAM_FT_ERROR != 0;
        let again = self.leases(exchange.place).and_then(|(leases, group)| {
            leases.lease_again(group, exchange.process, self.worker, surplus)
        });
        match again {
            None => self.admit(exchange),
            Some(lease) => {
                exchange.lease = Some(lease);
                Admission::Leased
            }
        }
    }

    fn out_of_service(&self, place: Place) -> Option<&'static str> {
        match place {
            Place::Embedded => None,
            Place::Daemon(_) if self.daemons().is_none() => {
                Some("its processes could not be started")
            }
            Place::Daemon(_) if self.supervisor_lost.get() => {
                Some("its supervisor has died, reload nginx to start a new one")
            }
            Place::Daemon(_) => None,
        }
    }

    fn enqueue(&self, r: Request, exchange: &mut Exchange) {
        let station = self.station(exchange.place);
        let waiting = Waiting::Request(r);
        let ticket = match exchange.attempts {
            0 => station.queue.borrow_mut().push(waiting),
            _ => station.queue.borrow_mut().push_returned(waiting),
        };
        exchange.ticket = Some(ticket);
        self.count_waiting(exchange.place);
        self.waited_for.borrow_mut().insert(exchange.place);
        self.look_again_later();
        let delay = station.next_look(self.waited(exchange));
        let address: *mut Exchange = exchange;
        exchange.timer.set(delay, on_waiting_timer, address, r.log());
    }

    /// Takes a waiting request out: its client has gone, or its time is up.
    pub fn dequeue(&self, exchange: &mut Exchange) {
        exchange.timer.clear();
        if let Some(ticket) = exchange.ticket.take() {
            let queue = &self.station(exchange.place).queue;
            queue.borrow_mut().remove(ticket);
            self.count_waiting(exchange.place);
            if queue.borrow().is_empty() {
                self.stop_waiting(exchange.place);
            }
        }
    }

    /// Takes back what nginx has in place of a connection.
    pub fn unpark(&self, exchange: &mut Exchange) {
        // SAFETY: null, or the upstream of the request, which is not gone yet.
        if let Some(u) = unsafe { exchange.request.upstream().as_mut() } {
            parked::unpark(&mut u.peer, exchange);
        }
    }

    /// Says in the shared table how many wait for the place here.
    fn count_waiting(&self, place: Place) {
        if let Some((leases, group)) = self.leases(place) {
            leases.set_queue(group, self.worker, self.station(place).queue.borrow().len());
        }
    }

    /// Nothing waits for the place any more. A wake-up that is on its way here is passed on: the
    /// slot it announces is another worker's then.
    fn stop_waiting(&self, place: Place) {
        self.waited_for.borrow_mut().remove(&place);
        let Some((leases, group)) = self.leases(place) else { return };
        if !leases.stop_waiting(group, self.worker) && leases.has_free(group) {
            self.wake_next(place);
        }
    }

    /// Sends waiting requests of a place as long as there are slots.
    pub fn serve(&self, place: Place) {
        let Some((leases, group)) = self.leases(place) else { return };
        while !self.station(place).queue.borrow().is_empty() {
            let lease = leases.lease(group, self.worker).or_else(|| {
                leases.wait(group, self.worker);
                leases.lease(group, self.worker)
            });
            match lease {
                Some(lease) => self.start_next(place, lease),
                None => return,
            }
        }
        self.stop_waiting(place);
    }

    /// Begins a question to the embedded host: at once with a lease, or later in its turn.
    pub fn begin_question(&self, question: &mut Question) {
        let place = Place::Embedded;
        let Some((leases, group)) = self.leases(place) else {
            return question.fail("the embedded host does not run");
        };
        if self.station(place).queue.borrow().is_empty() {
            if let Some(lease) = leases.lease(group, self.worker) {
                return question.send(lease);
            }
        }
        let waiting = Waiting::Question(std::ptr::NonNull::from(&mut *question));
        question.ticket = Some(self.station(place).queue.borrow_mut().push(waiting));
        self.count_waiting(place);
        self.waited_for.borrow_mut().insert(place);
        self.look_again_later();
        leases.wait(group, self.worker);
        // A slot may have been freed between the look and the mark.
        self.serve_soon(place);
    }

    /// Takes a question out of the queue.
    pub fn dequeue_question(&self, ticket: i64) {
        let queue = &self.station(Place::Embedded).queue;
        queue.borrow_mut().remove(ticket);
        self.count_waiting(Place::Embedded);
        if queue.borrow().is_empty() {
            self.stop_waiting(Place::Embedded);
        }
    }

    fn start_next(&self, place: Place, lease: Lease) {
        let next = self.station(place).queue.borrow_mut().pop();
        self.count_waiting(place);
        let r = match next {
            Some(Waiting::Request(r)) => r,
            Some(Waiting::Question(question)) => {
                // SAFETY: a question takes itself out of the queue before it goes.
                return unsafe { Question::start(question, lease) };
            }
            None => return self.release(place, lease),
        };
        let Some(exchange) = Exchange::of(r) else { return self.release(place, lease) };
        exchange.ticket = None;
        exchange.timer.clear();
        exchange.lease = Some(lease);
        let connection = r.connection();
        // SAFETY: a live request whose upstream was made before it was queued; the connection
        // outlives the request.
        unsafe {
            r.set_log_request();
            if exchange.parked.is_some() {
                parked::resume(r, exchange);
            } else {
                ngx_http_upstream_init(r.as_ptr());
            }
            ngx_http_run_posted_requests(connection);
        }
    }

    /// The supervisor has died: nobody will start another process.
    pub fn lose_supervisor(&self) {
        if self.supervisor_lost.replace(true) {
            return;
        }
        ngx_log_error!(
            nginx_sys::NGX_LOG_ERR,
            ngx::log::ngx_cycle_log().as_ptr(),
            "the supervisor of the WSGI daemon processes has died, reload nginx to start a new one"
        );
        for group in 0..self.stations.len() {
            while let Some(Waiting::Request(r)) = { self.stations[group].queue.borrow_mut().pop() }
            {
                if let Some(exchange) = Exchange::of(r) {
                    exchange.ticket = None;
                    exchange.timer.clear();
                }
                end_waiting(r, NGX_HTTP_SERVICE_UNAVAILABLE);
            }
            self.count_waiting(Place::Daemon(group));
        }
    }

    fn look_after(&self, r: Request) {
        let Some(exchange) = Exchange::of(r) else { return };
        let waited = self.waited(exchange);
        let Some(status) = self.time_is_up(exchange, waited, on_waiting_timer) else { return };
        self.dequeue(exchange);
        end_waiting(r, status);
    }

    /// Watches over a request on a new connection: in the socket of a process that died before it
    /// accepted it, or of one that never comes, it waits no longer than in the queue.
    pub(super) fn watch_sent(&self, exchange: &mut Exchange) {
        let delay = self.station(exchange.place).next_look(self.waited(exchange));
        let log = exchange.request.log();
        let address: *mut Exchange = exchange;
        exchange.timer.set(delay, on_sent_timer, address, log);
    }

    /// How long a request that has been sent has waited to be taken up. Its process counts, whatever the
    /// others are.
    fn waited_sent(&self, exchange: &mut Exchange) -> Waited {
        let waited = self.waited(exchange);
        let ready = self
            .leases(exchange.place)
            .is_none_or(|(leases, group)| leases.state(group, exchange.process).takes_leases());
        let without_process = if ready { waited.without_process } else { waited.total };
        Waited { without_process, ..waited }
    }

    fn look_after_sent(&self, exchange: &mut Exchange) {
        let Place::Daemon(group) = exchange.place else { return };
        if exchange.answered() || self.has_taken_up(group, exchange.process, exchange.id) {
            return;
        }
        let waited = self.waited_sent(exchange);
        if self.time_is_up(exchange, waited, on_sent_timer).is_some() {
            exchange.attempts = ATTEMPTS;
            exchange.request.time_out_upstream();
        }
    }

    /// The status of a request that has waited for too long, which is logged; otherwise it is looked
    /// after again later.
    fn time_is_up(&self, exchange: &mut Exchange, waited: Waited, handler: Handler) -> Option<u32> {
        let (station, log) = (self.station(exchange.place), exchange.request.log());
        let Some((status, cause, msec)) = verdict(exchange.place, station, waited) else {
            let address: *mut Exchange = exchange;
            exchange.timer.set(station.next_look(waited), handler, address, log);
            return None;
        };
        ngx_log_error!(
            nginx_sys::NGX_LOG_ERR,
            log,
            "daemon process group \"{}\": {cause} within {} s",
            exchange.group_name(),
            msec / 1000
        );
        Some(status)
    }

    /// How long a request has waited for a process; it begins to wait if it does not yet.
    fn waited(&self, exchange: &mut Exchange) -> Waited {
        let now = now_msec();
        let total = now.wrapping_sub(*exchange.waits_since.get_or_insert(now));
        Waited { total, without_process: self.without_process(exchange.place).min(total) }
    }

    /// Milliseconds since a place has had no process that is ready.
    pub(super) fn without_process(&self, place: Place) -> usize {
        let ready = self.leases(place).is_none_or(|(leases, group)| leases.any_ready(group));
        self.station(place).readiness.look(now_msec(), ready)
    }
}

/// What becomes of a request that has waited this long: status, cause, and the milliseconds that it
/// took. `None`: it goes on waiting.
fn verdict(place: Place, station: &Station, waited: Waited) -> Option<(u32, &'static str, usize)> {
    let Waited { total, without_process } = waited;
    if station.queue_timeout_ms > 0 && total >= station.queue_timeout_ms {
        return Some((NGX_HTTP_GATEWAY_TIME_OUT, "no thread became free for the request", total));
    }
    let dead = without_process > 0 && without_process >= station.connect_timeout_ms;
    (place != Place::Embedded && dead).then_some((
        NGX_HTTP_SERVICE_UNAVAILABLE,
        "no process became ready",
        without_process,
    ))
}

#[cfg(ngx_feature = "http_cache")]
fn has_cache(conf: &ngx_http_upstream_conf_t) -> bool {
    conf.cache() != 0
}

#[cfg(not(ngx_feature = "http_cache"))]
fn has_cache(_: &ngx_http_upstream_conf_t) -> bool {
    false
}

/// Ends a waiting request whose client goes away, unless wsgi_ignore_client_abort says otherwise. Its
/// body has been read, so no timer for that may be left.
fn watch_client(r: Request) {
    // SAFETY: a live request with its upstream; the handlers are nginx's own.
    unsafe {
        let read = (*r.connection()).read;
        if (*read).timer_set() != 0 {
            nginx_sys::ngx_del_timer(read);
        }
        if (*(*r.upstream()).conf).ignore_client_abort != 0 {
            return r.stop_watching_client();
        }
        (*r.as_ptr()).read_event_handler = Some(ngx_http_test_reading);
        if (*read).ready() != 0 {
            ngx_post_event(read, std::ptr::addr_of_mut!(ngx_posted_events));
        } else {
            nginx_sys::ngx_handle_read_event(read, 0);
        }
    }
}

pub(super) fn finalize(r: Request, status: u32) {
    // SAFETY: a live request, not used afterwards.
    unsafe { ngx_http_finalize_request(r.as_ptr(), status as ngx_int_t) };
}

/// Answers a request from outside its own events.
pub(super) fn end_waiting(r: Request, status: u32) {
    let connection = r.connection();
    r.set_log_request();
    match Exchange::of(r) {
        Some(exchange) if exchange.parked.is_some() => parked::dismiss(r, exchange, status),
        _ => finalize(r, status),
    }
    // SAFETY: the connection was read before the request went; nginx allows this call after its end.
    unsafe { ngx_http_run_posted_requests(connection) };
}

unsafe extern "C" fn on_waiting_timer(event: *mut ngx_event_t) {
    guard("a waiting request", (), || {
        // SAFETY: the timer lives in the exchange and is cleared before the exchange goes.
        let exchange = unsafe { &*(*event).data.cast::<Exchange>() };
        exchange.dispatcher().look_after(exchange.request);
    });
}

unsafe extern "C" fn on_sent_timer(event: *mut ngx_event_t) {
    guard("a request that was sent", (), || {
        // SAFETY: as in on_waiting_timer.
        let exchange = unsafe { &mut *(*event).data.cast::<Exchange>() };
        exchange.dispatcher().look_after_sent(exchange);
    });
}
