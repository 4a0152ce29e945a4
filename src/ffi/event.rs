//! Timers, and a look before the event loop waits.

use std::sync::OnceLock;

use nginx_sys::{
    ngx_add_timer, ngx_cycle_t, ngx_del_timer, ngx_delete_posted_event, ngx_event_actions,
    ngx_event_process_posted, ngx_event_t, ngx_int_t, ngx_log_t, ngx_msec_t, ngx_posted_events,
    ngx_uint_t, NGX_POST_EVENTS,
};

use super::{code, guard};

/// The event thread's clock: milliseconds that never go back, as of the current event.
pub fn now_msec() -> ngx_msec_t {
    // SAFETY: only the event thread reads and writes it.
    unsafe { nginx_sys::ngx_current_msec }
}

/// nginx's clock at the present moment, for what is begun after something that took long. When dropped,
/// the clock of the timers is back at the current event: nginx looks at its sockets before it sees which
/// timers have expired meanwhile (`ngx_process_events_and_timers`), or one would expire although what it
/// waits for has arrived.
pub struct ClockAhead {
    event: ngx_msec_t,
}

impl ClockAhead {
    pub fn set() -> Self {
        let event = now_msec();
        // SAFETY: on the event thread.
        unsafe { nginx_sys::ngx_time_update() };
        ClockAhead { event }
    }
}

impl Drop for ClockAhead {
    fn drop(&mut self) {
        // SAFETY: only the event thread reads and writes it.
        unsafe { nginx_sys::ngx_current_msec = self.event };
    }
}

/// A one-shot timer that calls a handler with the owner's address. The owner must not move while
/// the timer is set.
#[repr(transparent)]
pub struct Timer(ngx_event_t);

impl Default for Timer {
    fn default() -> Self {
        // SAFETY: all-zero is nginx's own initial state of an event (ngx_pcalloc).
        Timer(unsafe { std::mem::zeroed() })
    }
}

impl Timer {
    /// Sets the timer anew, in milliseconds from now.
    pub fn set<T>(
        &mut self,
        delay: ngx_msec_t,
        handler: unsafe extern "C" fn(*mut ngx_event_t),
        owner: *mut T,
        log: *mut ngx_log_t,
    ) {
        self.clear();
        self.0.handler = Some(handler);
        self.0.data = owner.cast();
        self.0.log = log;
        // SAFETY: the event is ours, not in the timer tree, and is removed before it is dropped.
        unsafe { ngx_add_timer(&mut self.0, delay) };
    }

    /// Lets a process end gracefully although the timer is set.
    pub fn set_cancelable(&mut self) {
        self.0.set_cancelable(1);
    }

    /// Whether it has been set and has not gone off.
    pub fn is_set(&self) -> bool {
        self.0.timer_set() != 0
    }

    /// Stops the timer.
    pub fn clear(&mut self) {
        if self.0.timer_set() != 0 {
            // SAFETY: timer_set says that the event is in the tree.
            unsafe { ngx_del_timer(&mut self.0) };
        }
        if self.0.posted() != 0 {
            // SAFETY: posted says that the event is in a posted queue.
            unsafe { ngx_delete_posted_event(&mut self.0) };
        }
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.clear();
    }
}

/// nginx's own way to wait for events, once [`look_before_waiting`] has taken its place.
static WAIT: OnceLock<ProcessEvents> = OnceLock::new();
/// What is asked before.
static LOOK: OnceLock<fn() -> bool> = OnceLock::new();

type ProcessEvents = unsafe extern "C" fn(*mut ngx_cycle_t, ngx_msec_t, ngx_uint_t) -> ngx_int_t;

/// Has `look` called each time before the event loop of this process waits. When it says that there is
/// something to do, having posted events, the loop only takes what events there are.
pub fn look_before_waiting(look: fn() -> bool) {
    // SAFETY: written once, on the only thread of a process that has not begun to wait; nginx has chosen its
    // way before any http module is started (ngx_event_process_init).
    unsafe {
        let Some(wait) = ngx_event_actions.process_events else { return };
        if LOOK.set(look).is_ok() && WAIT.set(wait).is_ok() {
            ngx_event_actions.process_events = Some(process_events);
        }
    }
}

unsafe extern "C" fn process_events(
    cycle: *mut ngx_cycle_t,
    timer: ngx_msec_t,
    flags: ngx_uint_t,
) -> ngx_int_t {
    let has_more = guard("the event loop", false, || LOOK.get().is_some_and(|look| look()));
    let Some(wait) = WAIT.get() else { return code::ERROR };
    // SAFETY: nginx's own functions, called as nginx does.
    unsafe {
        let rc = wait(cycle, if has_more { 0 } else { timer }, flags);
        if has_more && flags & NGX_POST_EVENTS as ngx_uint_t == 0 {
            // As if they had come from the kernel: before nginx sees which timers have expired.
            ngx_event_process_posted(cycle, std::ptr::addr_of_mut!(ngx_posted_events));
        }
        rc
    }
}
