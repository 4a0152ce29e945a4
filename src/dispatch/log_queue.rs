//! Lines that other threads log outside requests, on their way to nginx's log: only the event thread
//! may write to that.

use std::cell::OnceCell;
use std::collections::VecDeque;
use std::os::fd::AsFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};

use nginx_sys::ngx_event_t;
use ngx::log::ngx_cycle_log;
use ngx_wsgi_host::lock::lock;
use ngx_wsgi_host::log::{Level, Sink};
use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::ffi::{log_level, write_text, Watched};

/// Lines that wait to be written before whoever logs more has to wait.
const LINES_AHEAD: usize = 1000;
/// Lines that are written before nginx turns to its other events.
const LINES_AT_ONCE: usize = 100;

/// The event thread's end.
pub struct LogQueue {
    shared: Arc<Shared>,
    watched: OnceCell<Watched>,
}

/// While it lives, the event thread is held up by Python: nobody who logs waits for it, because it may
/// be waiting for them.
pub struct HeldUp(Arc<Shared>);

struct Shared {
    waiting: Mutex<Waiting>,
    room: Condvar,
    wakeup: EventFd,
    event_thread: ThreadId,
}

#[derive(Default)]
struct Waiting {
    lines: VecDeque<(Level, String)>,
    held_up: bool,
    /// Threads that wait for room.
    crowd: usize,
}

impl Shared {
    /// Never held while anything waits, but for the condition.
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        lock(&self.waiting)
    }

    /// Nobody is woken when nobody waits: that is a system call.
    fn hold_up(&self, held_up: bool) {
        let mut waiting = self.waiting();
        waiting.held_up = held_up;
        if held_up && waiting.crowd > 0 {
            self.room.notify_all();
        }
    }
}

struct QueueSink(Arc<Shared>);

impl Sink for QueueSink {
    fn line(&self, level: Level, text: &str) {
        let shared = &self.0;
        if thread::current().id() == shared.event_thread {
            return write_text(level, ngx_cycle_log().as_ptr(), text);
        }
        // An application that floods the log slows down, not nginx.
        let full = |it: &mut Waiting| it.lines.len() >= LINES_AHEAD && !it.held_up;
        let mut waiting = shared.waiting();
        waiting.crowd += 1;
        let waiting = shared.room.wait_while(waiting, full);
        let mut waiting = waiting.unwrap_or_else(PoisonError::into_inner);
        waiting.crowd -= 1;
        waiting.lines.push_back((level, text.to_owned()));
        drop(waiting);
        // A full counter has woken the event thread already.
        let _ = shared.wakeup.write(1);
    }
}

impl LogQueue {
    /// Makes nginx's log that of the process, on the event thread. `handler` is called there when there
    /// are lines to be drained. `None` when there are no descriptors left, or no connections.
    pub fn install(handler: unsafe extern "C" fn(*mut ngx_event_t)) -> Option<LogQueue> {
        let wakeup = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK).ok()?;
        let watched_fd = wakeup.as_fd().try_clone_to_owned().ok()?;
        let shared = Arc::new(Shared {
            waiting: Mutex::default(),
            room: Condvar::new(),
            wakeup,
            event_thread: thread::current().id(),
        });
        let log = ngx_cycle_log().as_ptr();
        let level = Level::from_number(log_level(log));
        ngx_wsgi_host::log::install(Box::new(QueueSink(Arc::clone(&shared))), level);
        let queue = LogQueue { shared, watched: OnceCell::new() };
        let watched = Watched::new(watched_fd, handler, std::ptr::null_mut::<()>(), log)?;
        // A fresh cell is empty.
        let _ = queue.watched.set(watched);
        Some(queue)
    }

    /// Marks the event thread as held up until the result is dropped.
    pub fn hold_up(&self) -> HeldUp {
        self.shared.hold_up(true);
        HeldUp(Arc::clone(&self.shared))
    }

    /// Writes some of the lines that are there.
    pub fn drain(&self) {
        let _ = self.shared.wakeup.read();
        let log = ngx_cycle_log().as_ptr();
        let lines: Vec<_> = {
            let mut waiting = self.shared.waiting();
            let count = waiting.lines.len().min(LINES_AT_ONCE);
            waiting.lines.drain(..count).collect()
        };
        self.shared.room.notify_all();
        let more = lines.len() == LINES_AT_ONCE;
        for (level, text) in lines {
            write_text(level, log, &text);
        }
        if more {
            // There may be more; other events come first.
            let _ = self.shared.wakeup.write(1);
        }
    }

    /// Writes all that is there, up to as much as may wait.
    pub fn drain_all(&self) {
        for _ in 0..=LINES_AHEAD / LINES_AT_ONCE {
            self.drain();
        }
    }
}

impl Drop for HeldUp {
    fn drop(&mut self) {
        self.0.hold_up(false);
    }
}
