//! Requests and responses that are left in memory instead of being sent ([`ngx_wsgi_host::mailbox`]).

use std::cell::{Cell, RefCell};
use std::os::fd::{AsFd, OwnedFd};
use std::ptr::NonNull;
use std::rc::Rc;

use nginx_sys::{ngx_connection_t, ngx_post_event, ngx_posted_events};
use ngx_wsgi_host::mailbox::{Mailboxes, Sleep, To, SLOTS};
use ngx_wsgi_host::memory::MappingError;
use ngx_wsgi_host::wire::{Header, Kind};

use crate::ffi::{look_before_waiting, send_whole};

thread_local! {
    /// What the event loop looks at before it waits.
    static AWAKE: RefCell<Vec<Rc<Boxes>>> = const { RefCell::new(Vec::new()) };
}

/// What this worker shares with one process.
pub struct Boxes {
    shared: Mailboxes,
    memory: OwnedFd,
    /// The connections that wait for a response, by their slots.
    waiting: [Cell<Option<NonNull<ngx_connection_t>>>; SLOTS],
    /// A bit for each slot whose response has been taken.
    arrived: Cell<u32>,
    /// Slots that have been given away.
    given: Cell<usize>,
    is_awake: Cell<bool>,
}

/// A connection's place there.
pub struct Slot {
    boxes: Rc<Boxes>,
    number: usize,
    /// What has been read of the response that has arrived, and its length.
    read: Cell<Option<(usize, usize)>>,
}

impl Boxes {
    /// # Errors
    ///
    /// [`MappingError`] when the kernel refuses.
    pub fn new() -> Result<Rc<Self>, MappingError> {
        let (shared, memory) = Mailboxes::create()?;
        Ok(Rc::new(Boxes {
            shared,
            memory,
            waiting: [const { Cell::new(None) }; SLOTS],
            arrived: Cell::new(0),
            given: Cell::new(0),
            is_awake: Cell::new(false),
        }))
    }

    /// A slot for a new connection, which tells the host of it. `None`: none is left, or the host cannot
    /// be told.
    ///
    /// # Safety
    ///
    /// `c` is an open connection to a host, which no exchange is using.
    pub unsafe fn settle(self: &Rc<Self>, c: *mut ngx_connection_t) -> Option<Slot> {
        let number = self.given.get();
        if number == SLOTS {
            return None;
        }
        self.given.set(number + 1);
        let mut frame = Header::new(Kind::Mailbox, 0, 1).encode().to_vec();
        frame.push(number as u8);
        // SAFETY: as the caller guarantees.
        let told = unsafe { send_whole(c, &frame, self.memory.as_fd()) };
        told.then(|| Slot { boxes: Rc::clone(self), number, read: Cell::new(None) })
    }

    /// Whether no slot is left.
    pub fn is_full(&self) -> bool {
        self.given.get() == SLOTS
    }

    /// From now on the event loop looks here before it waits.
    fn wake(self: &Rc<Self>) {
        if !self.is_awake.replace(true) {
            self.shared.wake(To::Worker);
            // A thread that ends does not wait any more.
            let _ = AWAKE.try_with(|awake| awake.borrow_mut().push(Rc::clone(self)));
        }
    }

    /// Has nginx read what has arrived. Whether there was anything.
    fn look(&self) -> bool {
        let (there, before) = (self.shared.there(To::Worker), self.arrived.get());
        for number in (0..SLOTS).filter(|number| there & bit(*number) != 0) {
            if !self.shared.take(To::Worker, number) {
                continue;
            }
            // Nobody waits: the client has gone. And there is one response to a request.
            let waiting = self.waiting[number].get().filter(|_| before & bit(number) == 0);
            let Some(c) = waiting else { continue };
            self.arrived.set(self.arrived.get() | bit(number));
            // SAFETY: it waits, so it is open; closing it takes the event out again.
            unsafe {
                let read = (*c.as_ptr()).read;
                (*read).set_ready(1);
                if (*read).posted() == 0 {
                    ngx_post_event(read, std::ptr::addr_of_mut!(ngx_posted_events));
                }
            }
        }
        self.arrived.get() != before
    }
}

/// Has the event loop look at what hosts have left here before it waits for anything.
pub fn listen() {
    look_before_waiting(look);
}

/// The event loop is about to wait. Whether it must not, because there is something to do.
fn look() -> bool {
    // In all of them, also when there is something in the first.
    let look_at = |awake: &[Rc<Boxes>]| awake.iter().fold(false, |there, it| it.look() | there);
    AWAKE.with_borrow_mut(|awake| {
        if look_at(awake) {
            return true;
        }
        awake.iter().for_each(|boxes| boxes.shared.rest(To::Worker));
        let there = look_at(awake);
        if there {
            awake.iter().for_each(|boxes| boxes.shared.wake(To::Worker));
        } else {
            awake.drain(..).for_each(|boxes| boxes.is_awake.set(false));
        }
        there
    })
}

impl Slot {
    /// The connection's next exchange begins: its response is expected here as well.
    pub fn expect(&self, c: NonNull<ngx_connection_t>) {
        self.read.set(None);
        self.boxes.arrived.set(self.boxes.arrived.get() & !bit(self.number));
        self.boxes.waiting[self.number].set(Some(c));
        self.boxes.wake();
    }

    /// There has been an event: the event loop is awake, and there may be more.
    pub fn wake(&self) {
        self.boxes.wake();
    }

    /// Leaves a whole request for the host.
    ///
    /// # Errors
    ///
    /// [`Sleep`]: it has to be sent.
    pub fn leave<'a>(&self, parts: impl Iterator<Item = &'a [u8]>) -> Result<(), Sleep> {
        if !self.boxes.shared.is_attached(self.number) {
            return Err(Sleep::NONE);
        }
        self.boxes.shared.put(To::Host, self.number, parts)
    }

    /// A whole request has been sent on the connection, which the host slept through until then.
    pub fn call(&self, sleep: Sleep) {
        self.boxes.shared.call(To::Host, sleep);
    }

    /// Reads from the response if it has been left here. `None`: there is none, or nothing more of it.
    pub fn receive(&self, out: &mut [u8]) -> Option<usize> {
        let (at, len) = match self.read.get() {
            Some(read) => read,
            None if self.has_arrived() => (0, self.boxes.shared.len(To::Worker, self.number)),
            None => return None,
        };
        let count = out.len().min(len - at);
        self.boxes.shared.read(To::Worker, self.number, at, &mut out[..count]);
        self.read.set(Some((at + count, len)));
        (count > 0).then_some(count)
    }

    /// Whether all of the response has been read, which was left here.
    pub fn is_read(&self) -> bool {
        self.read.get().is_some_and(|(at, len)| at == len)
    }

    /// Whether there is more of a response than has been read.
    pub fn is_unread(&self) -> bool {
        match self.read.get() {
            Some((at, len)) => at < len,
            None => self.boxes.arrived.get() & bit(self.number) != 0,
        }
    }

    fn has_arrived(&self) -> bool {
        let arrived = &self.boxes.arrived;
        if self.boxes.shared.take(To::Worker, self.number) {
            arrived.set(arrived.get() | bit(self.number));
        }
        arrived.get() & bit(self.number) != 0
    }

    /// Nothing is expected any more.
    pub fn close(&self) {
        self.boxes.waiting[self.number].set(None);
    }
}

fn bit(number: usize) -> u32 {
    1 << number
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.close();
        // The host may have called on the connection, and left more for others since.
        self.boxes.wake();
    }
}
