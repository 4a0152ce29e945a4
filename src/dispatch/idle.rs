//! Connections that are kept between exchanges.

use std::cell::RefCell;
use std::ptr::NonNull;
use std::rc::Rc;

use nginx_sys::{
    ngx_connection_t, ngx_del_timer, ngx_event_actions, ngx_event_flags, ngx_event_t,
    ngx_handle_read_event, ngx_log_t, NGX_USE_EPOLL_EVENT,
};
use ngx::log::ngx_cycle_log;
use ngx::ngx_log_error;

use super::mail::{Boxes, Slot};
use crate::ffi::{close_connection, code, guard, Role};

/// The idle connections to one process. Those to an earlier life of it are never handed out.
#[derive(Default)]
pub struct IdlePool {
    connections: RefCell<Vec<Kept>>,
    /// What new connections get their slots from, and the life of the process that it is shared with.
    boxes: RefCell<Option<(u32, Rc<Boxes>)>>,
}

struct Kept {
    incarnation: u32,
    connection: Connection,
}

/// A connection that nobody else uses.
pub struct Connection {
    pub c: *mut ngx_connection_t,
    /// Where small messages are left for either side.
    pub slot: Option<Slot>,
}

impl IdlePool {
    /// The connection that was used last, with its logs turned to `log`.
    pub fn take(&self, incarnation: u32, log: *mut ngx_log_t) -> Option<Connection> {
        loop {
            let Kept { incarnation: life, connection } = self.connections.borrow_mut().pop()?;
            let c = connection.c;
            if life != incarnation {
                // SAFETY: the connection was ours alone while it was idle.
                unsafe { close_connection(c) };
                continue;
            }
            // SAFETY: an open connection with both events and its own pool, as the upstream code
            // left it; what is set here is what ngx_http_upstream_keepalive sets.
            unsafe {
                (*c).set_idle(0);
                (*c).sent = 0;
                (*c).data = std::ptr::null_mut();
                set_logs(c, log);
                if (*(*c).read).timer_set() != 0 {
                    ngx_del_timer((*c).read);
                }
            }
            return Some(connection);
        }
    }

    /// A slot for a new connection to this life of the process. `None`: small messages are sent like all
    /// others.
    pub fn settle(&self, incarnation: u32, c: NonNull<ngx_connection_t>) -> Option<Slot> {
        let mut boxes = self.boxes.borrow_mut();
        let usable = |(life, boxes): &(u32, Rc<Boxes>)| *life == incarnation && !boxes.is_full();
        if !boxes.as_ref().is_some_and(usable) {
            match Boxes::new() {
                Ok(new) => *boxes = Some((incarnation, new)),
                Err(error) => {
                    let log = ngx_cycle_log().as_ptr();
                    ngx_log_error!(nginx_sys::NGX_LOG_WARN, log, "wsgi: {error}");
                    return None;
                }
            }
        }
        // SAFETY: an open connection of the caller's, which is new.
        boxes.as_ref().and_then(|(_, boxes)| unsafe { boxes.settle(c.as_ptr()) })
    }

    /// Keeps a connection whose exchange has ended cleanly. `false`: the caller closes it.
    pub fn keep(&self, incarnation: u32, connection: Connection) -> bool {
        let c = connection.c;
        if connection.slot.as_ref().is_some_and(Slot::is_unread) {
            // A GOAWAY frame, for one.
            return false;
        }
        connection.slot.iter().for_each(Slot::close);
        // SAFETY: the upstream code hands its connection over to us; see above.
        unsafe {
            let (read, write) = ((*c).read, (*c).write);
            let unfit = (*read).eof() != 0
                || (*read).error() != 0
                || (*read).timedout() != 0
                || (*write).error() != 0
                || (*write).timedout() != 0
                || Role::ending().is_some();
            if unfit || ngx_handle_read_event(read, 0) != code::OK {
                return false;
            }
            leave_write_event(write);
            for event in [read, write] {
                if (*event).timer_set() != 0 {
                    ngx_del_timer(event);
                }
            }
            // Whoever takes it next may not know what to do with descriptors.
            (*c).recv = nginx_sys::ngx_io.recv;
            (*c).recv_chain = nginx_sys::ngx_io.recv_chain;
            (*c).send_chain = nginx_sys::ngx_io.send_chain;
            (*write).handler = Some(ignore);
            (*read).handler = Some(on_idle_event);
            (*c).data = std::ptr::from_ref(self).cast_mut().cast();
            (*c).set_idle(1);
            (*read).set_delayed(0);
            set_logs(c, ngx_cycle_log().as_ptr());
            self.connections.borrow_mut().push(Kept { incarnation, connection });
            if (*read).ready() != 0 {
                on_idle_event(read);
            }
        }
        true
    }

    /// Closes them all: the process behind them has failed a request, and may be dead.
    pub fn clear(&self) {
        for kept in self.connections.take() {
            // SAFETY: as in take.
            unsafe { close_connection(kept.connection.c) };
        }
        self.boxes.take();
    }

    fn forget(&self, c: *mut ngx_connection_t) {
        self.connections.borrow_mut().retain(|kept| kept.connection.c != c);
        if self.connections.borrow().is_empty() {
            // The process is likely to be gone. What is still in use lives on with its slots.
            self.boxes.take();
        }
    }
}

impl Drop for IdlePool {
    fn drop(&mut self) {
        self.clear();
    }
}

/// # Safety
///
/// `c` is a live connection.
unsafe fn set_logs(c: *mut ngx_connection_t, log: *mut ngx_log_t) {
    // SAFETY: as the caller guarantees.
    unsafe {
        (*c).log = log;
        (*(*c).read).log = log;
        (*(*c).write).log = log;
        if !(*c).pool.is_null() {
            (*(*c).pool).log = log;
        }
    }
}

/// Has epoll tell of the connection only what can be read, until nginx waits to write on it: otherwise
/// the worker is woken up once more for each request, when the other end has read it.
///
/// # Safety
///
/// `write` is the write event of an open connection.
unsafe fn leave_write_event(write: *mut ngx_event_t) {
    // SAFETY: as the caller guarantees. With epoll these are nginx's NGX_WRITE_EVENT and
    // NGX_CLEAR_EVENT: what stays registered of the connection stays edge-triggered.
    unsafe {
        if (*write).active() != 0 && ngx_event_flags & NGX_USE_EPOLL_EVENT as usize != 0 {
            if let Some(del) = ngx_event_actions.del {
                del(write, libc::EPOLLOUT as isize, libc::EPOLLET as u32 as usize);
            }
        }
    }
}

unsafe extern "C" fn ignore(_: *mut ngx_event_t) {}

/// An idle connection became readable: a GOAWAY frame, or its end. Either way it is closed; no
/// request is on it.
unsafe extern "C" fn on_idle_event(event: *mut ngx_event_t) {
    guard("an idle connection", (), || {
        // SAFETY: the event's data is its connection, whose data is the pool that keeps it; pools
        // close their connections before they go.
        unsafe {
            let c = (*event).data.cast::<ngx_connection_t>();
            if (*c).close() == 0 && (*event).timedout() == 0 {
                let mut byte = 0u8;
                let flags = libc::MSG_PEEK | libc::MSG_DONTWAIT;
                let n = libc::recv((*c).fd, std::ptr::from_mut(&mut byte).cast(), 1, flags);
                if n == -1 && nginx_sys::ngx_errno() == libc::EAGAIN {
                    (*event).set_ready(0);
                    if ngx_handle_read_event(event, 0) == code::OK {
                        return;
                    }
                }
            }
            (*(*c).data.cast::<IdlePool>()).forget(c);
            close_connection(c);
        }
    });
}
