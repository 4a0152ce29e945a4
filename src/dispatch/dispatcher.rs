//! Leases, waiting requests and wake-ups of one worker.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsRawFd, OwnedFd};

use nginx_sys::{ngx_event_t, ngx_post_event, ngx_posted_events};
use ngx::ngx_log_error;
use ngx_wsgi_host::scoreboard::{Lease, Leases};

use super::embedded::{self, EmbeddedHost};
use super::idle::IdlePool;
use super::lingering::{Lingering, ThreadIs};
use super::waiting::{Station, LOOK_AGAIN_MS};
use crate::conf::MainConf;
use crate::ffi::{fork, guard, now_msec, pid, worker_index, Timer, Watched};
use crate::master::{Daemons, Generation};

/// Where a request runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// On the threads inside this worker.
    Embedded,
    /// In the daemon process group of this index.
    Daemon(usize),
}

/// One worker's side of a generation. Boxed and never moved: event handlers know its address.
pub struct Dispatcher {
    generation: *const Generation,
    conf: *const MainConf,
    pub(super) worker: usize,
    pub(super) stations: Vec<Station>,
    embedded: Station,
    /// Places with waiting requests.
    pub(super) waited_for: RefCell<BTreeSet<Place>>,
    /// Those of them that there may be a slot for.
    due: RefCell<Vec<Place>>,
    serve_event: RefCell<Box<ngx_event_t>>,
    /// Runs from time to time while requests wait.
    look_timer: RefCell<Timer>,
    /// Slots whose requests nginx has left, by when to look after them and their requests.
    lingering: RefCell<BTreeMap<(usize, u64), Lingering>>,
    linger_timer: RefCell<Timer>,
    pub(super) supervisor_lost: Cell<bool>,
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
            embedded: Station::embedded(),
            waited_for: RefCell::default(),
            due: RefCell::default(),
            look_timer: RefCell::default(),
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
        if let Some(board) = &generation.embedded {
            // A predecessor that died had a host.
            board.vacate(dispatcher.worker);
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
    pub(super) fn daemons(&self) -> Option<&Daemons> {
        // SAFETY: the generation owns this dispatcher.
        unsafe { (*self.generation).daemons.as_ref() }
    }

    /// The embedded host of this process.
    pub fn embedded_host(&self) -> Option<&'static EmbeddedHost> {
        // SAFETY: the configuration owns the generation, which owns this dispatcher.
        embedded::host(unsafe { &*self.conf })
    }

    /// The lease table of a place and the group's index in it.
    pub(super) fn leases(&self, place: Place) -> Option<(&Leases, usize)> {
        match place {
            Place::Embedded => self.embedded_host().map(|host| (&*host.leases, host.group)),
            Place::Daemon(group) => self.daemons().map(|daemons| (&daemons.leases, group)),
        }
    }

    pub(super) fn station(&self, place: Place) -> &Station {
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

    /// The pid of a process, as far as it is known.
    pub fn pid(&self, place: Place, process: usize) -> Option<u32> {
        match place {
            Place::Embedded => Some(pid()),
            Place::Daemon(group) => {
                Some(self.daemons()?.reports[group].pid(process)).filter(|pid| *pid != 0)
            }
        }
    }

    /// A lease for a request that does not wait for one.
    pub fn lease_at_once(&self, place: Place) -> Option<Lease> {
        let (leases, group) = self.leases(place)?;
        leases.lease(group, self.worker)
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
        self.look_at(Lingering::new(place, lease, request));
        self.set_linger_timer();
    }

    /// Looks after those whose time has come.
    fn look_at_lingering(&self) {
        let later = self.lingering.borrow_mut().split_off(&(now_msec() + 1, 0));
        for lingering in self.lingering.replace(later).into_values() {
            self.look_at(lingering);
        }
        self.set_linger_timer();
    }

    /// Releases a slot that has come to its end, or looks again soon, less and less often.
    fn look_at(&self, mut lingering: Lingering) {
        if lingering.is_done(|it| self.is_running(it)) {
            self.release(lingering.place, lingering.lease);
        } else {
            let next = (now_msec() + lingering.next_look(), lingering.request);
            self.lingering.borrow_mut().insert(next, lingering);
        }
    }

    fn set_linger_timer(&self) {
        let next = self.lingering.borrow().keys().next().map(|(when, _)| *when);
        let Some(next) = next else { return };
        let delay = next.saturating_sub(now_msec());
        // A worker that ends does not wait for an application that no client waits for.
        self.set_timer(&self.linger_timer, delay, on_lingering);
    }

    /// Sets a timer that does not keep a worker from its end.
    fn set_timer(
        &self,
        timer: &RefCell<Timer>,
        delay: usize,
        handler: unsafe extern "C" fn(*mut ngx_event_t),
    ) {
        let owner = std::ptr::from_ref(self).cast_mut();
        let mut timer = timer.borrow_mut();
        timer.set(delay, handler, owner, ngx::log::ngx_cycle_log().as_ptr());
        timer.set_cancelable();
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

    pub(super) fn wake_next(&self, place: Place) {
        let Some((leases, group)) = self.leases(place) else { return };
        if let Some(worker) = leases.next_waiting(group) {
            if place == Place::Embedded || worker == self.worker {
                self.serve_soon(place);
            } else {
                self.wake(group, worker);
            }
        }
    }

    fn wake(&self, group: usize, worker: usize) {
        let Some(daemons) = self.daemons() else { return };
        let Some(wakeup) = daemons.wakeups.get(worker) else { return };
        daemons.leases.call(group, worker);
        // A full counter means that the worker has been woken already.
        let _ = nix::unistd::write(wakeup, &1u64.to_ne_bytes());
    }

    /// Serves a place's waiting requests when the current event has been dealt with.
    pub(super) fn serve_soon(&self, place: Place) {
        if !self.station(place).is_due.replace(true) {
            self.due.borrow_mut().push(place);
        }
        let mut event = self.serve_event.borrow_mut();
        if event.posted() == 0 {
            // SAFETY: the event lives as long as the dispatcher, which takes it out when dropped.
            unsafe { ngx_post_event(&mut **event, std::ptr::addr_of_mut!(ngx_posted_events)) };
        }
    }

    fn serve_due(&self) {
        for place in self.due.take() {
            self.station(place).is_due.set(false);
            self.serve(place);
        }
    }

    /// Serves what other processes have woken this worker for.
    fn serve_calls(&self) {
        let Some(daemons) = self.daemons() else { return };
        let groups: Vec<usize> = daemons.leases.take_calls(self.worker).collect();
        for group in groups {
            self.serve(Place::Daemon(group));
        }
    }

    /// Sees to it that what waits is looked after even if nobody says that a slot is free: a worker that
    /// died with a wake-up in hand has passed it to nobody.
    pub(super) fn look_again_later(&self) {
        if !self.look_timer.borrow().is_set() {
            self.set_timer(&self.look_timer, LOOK_AGAIN_MS, on_look);
        }
    }

    fn look_again(&self) {
        let places: Vec<Place> = self.waited_for.borrow().iter().copied().collect();
        for place in places {
            // Whoever waits has to know since when, should none be ready.
            self.without_process(place);
            self.serve(place);
        }
        if !self.waited_for.borrow().is_empty() {
            self.look_again_later();
        }
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
        dispatcher.serve_calls();
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
        dispatcher.serve_due();
    });
}

unsafe extern "C" fn on_lingering(event: *mut ngx_event_t) {
    guard("a slot", (), || {
        // SAFETY: the timer's owner is the dispatcher, which clears it when it goes.
        let dispatcher = unsafe { &*(*event).data.cast::<Dispatcher>() };
        dispatcher.look_at_lingering();
    });
}

unsafe extern "C" fn on_look(event: *mut ngx_event_t) {
    guard("waiting requests", (), || {
        // SAFETY: as in on_lingering.
        let dispatcher = unsafe { &*(*event).data.cast::<Dispatcher>() };
        dispatcher.look_again();
    });
}
