//! Leases, waiting requests and wake-ups of one worker.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::os::fd::{AsRawFd, OwnedFd};

use nginx_sys::{
    ngx_current_msec, ngx_event_t, ngx_http_finalize_request, ngx_http_run_posted_requests,
    ngx_http_test_reading, ngx_http_upstream_init, ngx_int_t, ngx_post_event, ngx_posted_events,
    NGX_HTTP_GATEWAY_TIME_OUT, NGX_HTTP_SERVICE_UNAVAILABLE,
};
use ngx::ngx_log_error;
use ngx_wsgi_host::scoreboard::{Lease, Leases};

use super::embedded::{self, EmbeddedHost};
use super::idle::IdlePool;
use super::lingering::{Lingering, ThreadIs};
use super::queue::Queue;
use crate::conf::MainConf;
use crate::exchange::Exchange;
use crate::ffi::{fork, guard, worker_index, Request, Timer, Watched};
use crate::master::{Daemons, Generation};

/// How often a waiting request looks whether its group has come to life.
const LOOK_AGAIN_MS: usize = 1000;
/// mod_wsgi's connect-timeout, seconds.
const CONNECT_TIMEOUT: u32 = 15;

/// Where a request runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// On the threads inside this worker.
    Embedded,
    /// In the daemon process group of this index.
    Daemon(usize),
}

/// The waiting requests and idle connections of one place.
#[derive(Default)]
struct Station {
    queue: RefCell<Queue>,
    /// For each process.
    idle: Vec<IdlePool>,
    queue_timeout_ms: usize,
    connect_timeout_ms: usize,
}

/// One worker's side of a generation. Boxed and never moved: event handlers know its address.
pub struct Dispatcher {
    generation: *const Generation,
    conf: *const MainConf,
    worker: usize,
    stations: Vec<Station>,
    embedded: Station,
    /// Places with waiting requests.
    waited_for: RefCell<BTreeSet<Place>>,
    serve_event: RefCell<Box<ngx_event_t>>,
    /// Slots whose requests nginx has left.
    lingering: RefCell<Vec<Lingering>>,
    linger_timer: RefCell<Timer>,
    supervisor_lost: Cell<bool>,
    watched: RefCell<Vec<Watched>>,
}

impl Dispatcher {
    /// Begins this process's part in a generation: takes back what a predecessor held, and listens
    /// to wake-ups and to the supervisor's end.
    pub fn enter(conf: &MainConf, generation: &Generation) -> Box<Self> {
        let log = ngx::log::ngx_cycle_log().as_ptr();
        let mut dispatcher = Box::new(Dispatcher {
            generation,
            conf,
            worker: worker_index(),
            stations: conf.groups.iter().map(Station::of).collect(),
            embedded: Station { idle: vec![IdlePool::default()], ..Station::default() },
            waited_for: RefCell::default(),
            // SAFETY: all-zero is an event's initial state.
            serve_event: RefCell::new(Box::new(unsafe { std::mem::zeroed() })),
            lingering: RefCell::default(),
            linger_timer: RefCell::default(),
            supervisor_lost: Cell::new(false),
            watched: RefCell::default(),
        });
        let address: *mut Dispatcher = &mut *dispatcher;
        {
            let mut event = dispatcher.serve_event.borrow_mut();
            event.handler = Some(on_serve);
            event.data = address.cast();
            event.log = log;
        }
        if let Some(daemons) = &generation.daemons {
            daemons.leases.reclaim(dispatcher.worker);
            dispatcher.watch(daemons, address);
            for group in 0..conf.groups.len() {
                if daemons.leases.has_free(group) {
                    dispatcher.wake_next(Place::Daemon(group));
                }
            }
        }
        dispatcher
    }

    fn watch(&self, daemons: &Daemons, address: *mut Dispatcher) {
        let log = ngx::log::ngx_cycle_log().as_ptr();
        let wakeup = daemons.wakeups.get(self.worker).map(OwnedFd::try_clone);
        let lifeline = daemons.lifeline.try_clone();
        fork::withhold(daemons.lifeline.as_raw_fd());
        let mut watched = self.watched.borrow_mut();
        if let Some(Ok(fd)) = wakeup {
            watched.extend(Watched::new(fd, on_wakeup, address, log));
        }
        if let Ok(fd) = lifeline {
            fork::withhold(fd.as_raw_fd());
            watched.extend(Watched::new(fd, on_lifeline, address, log));
        }
        if watched.len() < 2 {
            ngx_log_error!(
                nginx_sys::NGX_LOG_ALERT,
                log,
                "cannot watch for free daemon processes: worker_connections are not enough"
            );
        }
    }

    /// The daemons' shared state.
    fn daemons(&self) -> Option<&Daemons> {
        // SAFETY: the generation owns this dispatcher.
        unsafe { (*self.generation).daemons.as_ref() }
    }

    /// The embedded host of this process.
    pub fn embedded_host(&self) -> Option<&'static EmbeddedHost> {
        // SAFETY: the configuration owns the generation, which owns this dispatcher.
        embedded::host(unsafe { &*self.conf })
    }

    /// The lease table of a place and the group's index in it.
    fn leases(&self, place: Place) -> Option<(&Leases, usize)> {
        match place {
            Place::Embedded => self.embedded_host().map(|host| (&host.leases, 0)),
            Place::Daemon(group) => self.daemons().map(|daemons| (&daemons.leases, group)),
        }
    }

    fn station(&self, place: Place) -> &Station {
        match place {
            Place::Embedded => &self.embedded,
            Place::Daemon(group) => &self.stations[group],
        }
    }

    /// The idle connections to a process.
    pub fn idle(&self, place: Place, process: usize) -> &IdlePool {
        &self.station(place).idle[process]
    }

    /// Address and name of a daemon process.
    pub fn address(&self, group: usize, process: usize) -> Option<&crate::master::Address> {
        self.daemons().map(|daemons| &daemons.addresses[group][process])
    }

    /// Whether the process has taken up this request, as it says itself.
    pub fn has_taken_up(&self, group: usize, process: usize, request: u64) -> bool {
        self.daemons().is_some_and(|daemons| daemons.reports[group].has_taken_up(process, request))
    }

    /// Begins a request whose body has been read: at once with a lease, or later in its turn.
    pub fn begin(&self, r: Request) {
        let Some(exchange) = Exchange::of(r) else { return };
        let place = exchange.place;
        if let Some(cause) = self.out_of_service(place) {
            ngx_log_error!(
                nginx_sys::NGX_LOG_ERR,
                r.log(),
                "daemon process group \"{}\" is not available: {cause}",
                exchange.group_name()
            );
            return finalize(r, NGX_HTTP_SERVICE_UNAVAILABLE);
        }
        let Some((leases, group)) = self.leases(place) else {
            return finalize(r, nginx_sys::NGX_HTTP_INTERNAL_SERVER_ERROR);
        };
        if self.station(place).queue.borrow().is_empty() {
            if let Some(lease) = leases.lease(group, self.worker) {
                exchange.lease = Some(lease);
                // SAFETY: the content handler made the upstream of this request.
                return unsafe { ngx_http_upstream_init(r.as_ptr()) };
            }
        }
        self.enqueue(r, exchange);
        leases.wait(group, self.worker);
        // A slot may have been freed between the look and the mark.
        self.serve_soon();
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
        exchange.ticket = Some(station.queue.borrow_mut().push(r));
        // SAFETY: the event thread's clock.
        exchange.queued_msec = unsafe { ngx_current_msec };
        self.waited_for.borrow_mut().insert(exchange.place);
        watch_client(r);
        let delay = station.next_look(0);
        let address: *mut Exchange = exchange;
        exchange.timer.set(delay, on_waiting_timer, address, r.log());
    }

    /// Takes a waiting request out: its client has gone, or its time is up.
    pub fn dequeue(&self, exchange: &mut Exchange) {
        exchange.timer.clear();
        if let Some(ticket) = exchange.ticket.take() {
            let queue = &self.station(exchange.place).queue;
            queue.borrow_mut().remove(ticket);
            if queue.borrow().is_empty() {
                self.stop_waiting(exchange.place);
            }
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
    fn serve(&self, place: Place) {
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

    fn start_next(&self, place: Place, lease: Lease) {
        let Some(r) = self.station(place).queue.borrow_mut().pop() else {
            return self.release(place, lease);
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
            ngx_http_upstream_init(r.as_ptr());
            ngx_http_run_posted_requests(connection);
        }
    }

    /// A lease for a request that has to be sent again: on any free slot, else in the waiting line
    /// of the process it was meant for, whose successor takes it up.
    pub fn lease_again(&self, place: Place, process: usize) -> Option<Lease> {
        let (leases, group) = self.leases(place)?;
        let free = leases.lease(group, self.worker);
        Some(free.unwrap_or_else(|| leases.insist(group, process, self.worker)))
    }

    /// Gives a slot back, and wakes a worker that waits for one.
    pub fn release(&self, place: Place, lease: Lease) {
        let Some((leases, _)) = self.leases(place) else { return };
        leases.release(lease, self.worker);
        self.wake_next(place);
    }

    /// Gives a slot back as soon as its thread is done with a request that nginx has left: the
    /// client has gone, or has its answer already.
    pub fn release_later(&self, place: Place, lease: Lease, request: u64) {
        let lingering = Lingering::new(place, lease, request);
        self.lingering.borrow_mut().push(lingering);
        self.look_at_lingering();
    }

    /// Releases what has come to its end, and looks again soon, less and less often.
    fn look_at_lingering(&self) {
        let (mut done, mut left) = (Vec::new(), Vec::new());
        for mut lingering in self.lingering.take() {
            let is_done = lingering.is_done(|it| self.is_running(it));
            if is_done { &mut done } else { &mut left }.push(lingering);
        }
        let delay = left.iter().map(Lingering::next_look).min();
        self.lingering.borrow_mut().extend(left);
        for lingering in done {
            self.release(lingering.place, lingering.lease);
        }
        if let Some(delay) = delay {
            let owner = std::ptr::from_ref(self).cast_mut();
            let log = ngx::log::ngx_cycle_log().as_ptr();
            let mut timer = self.linger_timer.borrow_mut();
            timer.set(delay, on_lingering, owner, log);
            // A worker that ends does not wait for an application that no client waits for.
            timer.set_cancelable();
        }
    }

    /// What is known of a request's thread; `None`: the process is another one by now.
    fn is_running(&self, it: &Lingering) -> Option<ThreadIs> {
        let (leases, group) = self.leases(it.place)?;
        if leases.incarnation(group, it.lease.process) != it.lease.incarnation {
            return None;
        }
        let reports = match it.place {
            Place::Embedded => self.embedded_host()?.reports(),
            Place::Daemon(group) => &self.daemons()?.reports[group],
        };
        Some(if reports.is_running(it.lease.process, it.request) {
            ThreadIs::Running
        } else if reports.has_taken_up(it.lease.process, it.request) {
            ThreadIs::Done
        } else {
            ThreadIs::Elsewhere
        })
    }

    fn wake_next(&self, place: Place) {
        let Some((leases, group)) = self.leases(place) else { return };
        if let Some(worker) = leases.next_waiting(group) {
            if place == Place::Embedded || worker == self.worker {
                self.serve_soon();
            } else {
                self.wake(worker);
            }
        }
    }

    fn wake(&self, worker: usize) {
        let Some(wakeup) = self.daemons().and_then(|daemons| daemons.wakeups.get(worker)) else {
            return;
        };
        // A full counter means that the worker has been woken already.
        let _ = nix::unistd::write(wakeup, &1u64.to_ne_bytes());
    }

    /// Serves waiting requests when the current event has been dealt with.
    fn serve_soon(&self) {
        let mut event = self.serve_event.borrow_mut();
        if event.posted() == 0 {
            // SAFETY: the event lives as long as the dispatcher, which takes it out when dropped.
            unsafe { ngx_post_event(&mut **event, std::ptr::addr_of_mut!(ngx_posted_events)) };
        }
    }

    fn serve_all(&self) {
        let places: Vec<Place> = self.waited_for.borrow().iter().copied().collect();
        for place in places {
            self.serve(place);
        }
    }

    /// The supervisor has died: nobody will start another process.
    fn lose_supervisor(&self) {
        if self.supervisor_lost.replace(true) {
            return;
        }
        ngx_log_error!(
            nginx_sys::NGX_LOG_ERR,
            ngx::log::ngx_cycle_log().as_ptr(),
            "the supervisor of the WSGI daemon processes has died, reload nginx to start a new one"
        );
        for group in 0..self.stations.len() {
            while let Some(r) = { self.stations[group].queue.borrow_mut().pop() } {
                if let Some(exchange) = Exchange::of(r) {
                    exchange.ticket = None;
                    exchange.timer.clear();
                }
                end_waiting(r, NGX_HTTP_SERVICE_UNAVAILABLE);
            }
        }
    }

    fn look_after(&self, r: Request) {
        let Some(exchange) = Exchange::of(r) else { return };
        // SAFETY: the event thread's clock.
        let waited = unsafe { ngx_current_msec }.wrapping_sub(exchange.queued_msec);
        let station = self.station(exchange.place);
        let verdict = self.verdict(exchange.place, station, waited);
        let Some((status, cause)) = verdict else {
            let address: *mut Exchange = exchange;
            exchange.timer.set(station.next_look(waited), on_waiting_timer, address, r.log());
            // A worker that died with a wake-up in hand has passed it to nobody.
            return self.serve_soon();
        };
        ngx_log_error!(
            nginx_sys::NGX_LOG_ERR,
            r.log(),
            "daemon process group \"{}\": {cause} within {} s",
            exchange.group_name(),
            waited / 1000
        );
        self.dequeue(exchange);
        end_waiting(r, status);
    }

    /// What becomes of a request that has waited this long, in milliseconds; `None`: it goes on
    /// waiting.
    fn verdict(
        &self,
        place: Place,
        station: &Station,
        waited: usize,
    ) -> Option<(u32, &'static str)> {
        if station.queue_timeout_ms > 0 && waited >= station.queue_timeout_ms {
            return Some((NGX_HTTP_GATEWAY_TIME_OUT, "no thread became free for the request"));
        }
        let (leases, group) = self.leases(place)?;
        let dead = waited >= station.connect_timeout_ms && !leases.any_ready(group);
        (place != Place::Embedded && dead)
            .then_some((NGX_HTTP_SERVICE_UNAVAILABLE, "no process became ready"))
    }
}

impl Drop for Dispatcher {
    fn drop(&mut self) {
        if let Some(daemons) = self.daemons() {
            fork::release(daemons.lifeline.as_raw_fd());
        }
        let mut event = self.serve_event.borrow_mut();
        if event.posted() != 0 {
            // SAFETY: posted says that it is in a queue.
            unsafe { nginx_sys::ngx_delete_posted_event(&mut **event) };
        }
    }
}

impl Station {
    fn of(group: &crate::conf::GroupDefinition) -> Self {
        let ms = |seconds: u32| seconds as usize * 1000;
        Station {
            idle: (0..group.processes()).map(|_| IdlePool::default()).collect(),
            queue_timeout_ms: ms(group.options.queue_timeout.unwrap_or(0)),
            connect_timeout_ms: ms(group.options.connect_timeout.unwrap_or(CONNECT_TIMEOUT)),
            ..Station::default()
        }
    }

    /// Milliseconds until a request that has waited `waited` is looked after next.
    fn next_look(&self, waited: usize) -> usize {
        let until = |limit: usize| match limit.checked_sub(waited) {
            Some(left) if left > 0 => left.min(LOOK_AGAIN_MS),
            _ => LOOK_AGAIN_MS,
        };
        let connect = until(self.connect_timeout_ms);
        if self.queue_timeout_ms > 0 {
            connect.min(until(self.queue_timeout_ms))
        } else {
            connect
        }
    }
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

fn finalize(r: Request, status: u32) {
    // SAFETY: a live request, not used afterwards.
    unsafe { ngx_http_finalize_request(r.as_ptr(), status as ngx_int_t) };
}

/// Answers a request from outside its own events.
fn end_waiting(r: Request, status: u32) {
    let connection = r.connection();
    r.set_log_request();
    finalize(r, status);
    // SAFETY: the connection was read before the request went; nginx allows this call after its end.
    unsafe { ngx_http_run_posted_requests(connection) };
}

/// # Safety
///
/// The event's data is a connection of ours, whose data is a live dispatcher.
unsafe fn dispatcher_of<'a>(event: *mut ngx_event_t) -> (&'a Dispatcher, i32) {
    // SAFETY: as the caller guarantees.
    unsafe {
        let c = (*event).data.cast::<nginx_sys::ngx_connection_t>();
        (&*(*c).data.cast::<Dispatcher>(), (*c).fd)
    }
}

unsafe extern "C" fn on_wakeup(event: *mut ngx_event_t) {
    guard("a wake-up", (), || {
        // SAFETY: set up in watch; dropping the dispatcher removes the event.
        let (dispatcher, fd) = unsafe { dispatcher_of(event) };
        let mut counter = [0u8; 8];
        // SAFETY: an open eventfd; how often it was written to does not matter.
        unsafe { libc::read(fd, counter.as_mut_ptr().cast(), counter.len()) };
        dispatcher.serve_all();
    });
}

unsafe extern "C" fn on_lifeline(event: *mut ngx_event_t) {
    guard("the lifeline", (), || {
        // SAFETY: as in on_wakeup.
        let (dispatcher, fd) = unsafe { dispatcher_of(event) };
        let mut byte = [0u8; 1];
        let flags = libc::MSG_DONTWAIT;
        // SAFETY: an open socket and a buffer of one byte.
        let n = unsafe { libc::recv(fd, byte.as_mut_ptr().cast(), 1, flags) };
        if n == 0 {
            // SAFETY: the event is ours; without this, epoll would report the end for ever.
            unsafe {
                if (*event).active() != 0 {
                    if let Some(del) = nginx_sys::ngx_event_actions.del {
                        del(event, 0, 0);
                    }
                }
            }
            dispatcher.lose_supervisor();
        }
    });
}

unsafe extern "C" fn on_serve(event: *mut ngx_event_t) {
    guard("waiting requests", (), || {
        // SAFETY: the event's data is the dispatcher that owns it.
        let dispatcher = unsafe { &*(*event).data.cast::<Dispatcher>() };
        dispatcher.serve_all();
    });
}

unsafe extern "C" fn on_lingering(event: *mut ngx_event_t) {
    guard("a slot", (), || {
        // SAFETY: the timer's owner is the dispatcher, which clears it when it goes.
        let dispatcher = unsafe { &*(*event).data.cast::<Dispatcher>() };
        dispatcher.look_at_lingering();
    });
}

unsafe extern "C" fn on_waiting_timer(event: *mut ngx_event_t) {
    guard("a waiting request", (), || {
        // SAFETY: the timer lives in the exchange and is cleared before the exchange goes.
        let exchange = unsafe { &*(*event).data.cast::<Exchange>() };
        exchange.dispatcher().look_after(exchange.request);
    });
}
