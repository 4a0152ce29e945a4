//! A question to a hook, on its way to the embedded host and back. The event loop never waits for it:
//! whoever asked is called again when there is an answer.

use std::os::fd::RawFd;
use std::ptr::NonNull;

use nginx_sys::{
    ngx_connection_t, ngx_event_t, ngx_handle_read_event, ngx_handle_write_event,
    ngx_http_run_posted_requests, ngx_http_test_reading, ngx_http_upstream_conf_t, ngx_post_event,
    ngx_posted_events,
};
use ngx::ngx_log_error;
use ngx_wsgi_host::log::Level;
use ngx_wsgi_host::scoreboard::Lease;
use ngx_wsgi_host::wire::{BadFrame, Head, Kind, LogRecord, Outcome};

use crate::dispatch::{Connection, Dispatcher, Place, Slot};
use crate::exchange::{next_id, FrameReader, Piece};
use crate::ffi::{close_connection, code, guard, text, write_text, Request, Timer};

/// Most reads for the last lines of a question that nobody waits for any more.
const LAST_READS: usize = 16;

/// What a hook has answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// One of [`ngx_wsgi_host::wire::hook`]'s.
    pub verdict: u16,
    /// What came with it, by name.
    pub values: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Answer {
    /// The first of the values.
    pub fn into_value(self) -> Option<Vec<u8>> {
        self.values.into_iter().next().map(|(_, value)| value)
    }
}

/// How a question came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Conclusion {
    Answered(Answer),
    /// The hook could not answer; why was logged.
    Failed,
    /// It took too long.
    TimedOut,
}

/// What a request does next when its question has an outcome.
pub type GoOn = fn(Request);

/// One question. Boxed and not moved while it is under way; dropping it calls it off.
pub struct Question {
    request: Request,
    go_on: GoOn,
    dispatcher: NonNull<Dispatcher>,
    id: u64,
    frame: Vec<u8>,
    sent: usize,
    /// Milliseconds that a hook has for its answer.
    timeout: usize,
    timer: Timer,
    /// The place in the waiting line.
    pub ticket: Option<i64>,
    lease: Option<Lease>,
    connection: Option<NonNull<ngx_connection_t>>,
    /// The connection's, which answers of hooks do not use.
    slot: Option<Slot>,
    frames: FrameReader,
    going_away: bool,
    answer: Option<Answer>,
    outcome: Option<Conclusion>,
}

impl Question {
    /// Asks what `encode` writes, given the question's number, under the location's time limit. Check
    /// [`Self::outcome`] afterwards: it may have failed at once. Otherwise `go_on` is called when there
    /// is an outcome; a client that goes away before ends the request, unless `conf` says otherwise.
    pub fn ask(
        r: Request,
        dispatcher: &Dispatcher,
        conf: &ngx_http_upstream_conf_t,
        go_on: GoOn,
        encode: impl FnOnce(u64) -> Result<Vec<u8>, BadFrame>,
    ) -> Box<Self> {
        let id = next_id();
        let frame = encode(id);
        let mut question = Box::new(Question {
            request: r,
            go_on,
            dispatcher: NonNull::from(dispatcher),
            id,
            frame: Vec::new(),
            sent: 0,
            timeout: conf.read_timeout,
            timer: Timer::default(),
            ticket: None,
            lease: None,
            connection: None,
            slot: None,
            frames: FrameReader::default(),
            going_away: false,
            answer: None,
            outcome: None,
        });
        match frame {
            Ok(frame) => {
                question.frame = frame;
                dispatcher.begin_question(&mut question);
            }
            Err(error) => question.fail(&format!("it cannot be asked: {error}")),
        }
        if question.outcome.is_none() && conf.ignore_client_abort == 0 {
            watch_client(r);
        }
        question
    }

    /// How it came out, `None` while it is under way.
    pub fn outcome(&self) -> Option<&Conclusion> {
        self.outcome.as_ref()
    }

    /// Sends the question to the thread that the lease is for. A failure shows in the outcome.
    pub fn send(&mut self, lease: Lease) {
        let log = self.request.log();
        let dispatcher = self.dispatcher();
        let kept = dispatcher.idle(Place::Embedded, lease.process).take(lease.incarnation, log);
        let fresh = || dispatcher.embedded_host().and_then(|host| host.connect(log));
        self.lease = Some(lease);
        let connection = kept.or_else(|| fresh().map(|c| Connection { c, slot: None }));
        let Some(Connection { c, slot }) = connection else {
            return self.fail("the embedded host cannot be reached");
        };
        self.connection = NonNull::new(c);
        self.slot = slot;
        let address: *mut Question = self;
        // SAFETY: a connection that is ours alone, with both its events; its handlers know the
        // question's address, and go when it does.
        unsafe {
            (*c).data = address.cast();
            (*(*c).read).handler = Some(on_read);
            (*(*c).write).handler = Some(on_write);
        }
        self.timer.set(self.timeout, on_timer, address, log);
        self.write();
    }

    /// Its turn has come.
    ///
    /// # Safety
    ///
    /// The question is alive, and nothing else refers to it during the call.
    pub unsafe fn start(question: NonNull<Question>, lease: Lease) {
        // SAFETY: as the caller guarantees.
        unsafe {
            change(question, |question| {
                question.ticket = None;
                question.send(lease);
            });
        }
    }

    /// There is no answer, and there will be none.
    pub fn fail(&mut self, cause: &str) {
        ngx_log_error!(nginx_sys::NGX_LOG_ERR, self.request.log(), "no answer of a hook: {cause}");
        self.finish(Conclusion::Failed, false);
    }

    fn time_out(&mut self) {
        ngx_log_error!(
            nginx_sys::NGX_LOG_ERR,
            self.request.log(),
            "no answer of a hook within {} ms (wsgi_read_timeout)",
            self.timeout
        );
        self.read_last_lines();
        self.finish(Conclusion::TimedOut, false);
    }

    fn dispatcher<'a>(&self) -> &'a Dispatcher {
        // SAFETY: owned by the cycle that the request belongs to.
        unsafe { self.dispatcher.as_ref() }
    }

    fn write(&mut self) {
        while self.sent < self.frame.len() {
            let Some(c) = self.connection.map(NonNull::as_ptr) else { return };
            let rest = &self.frame[self.sent..];
            // SAFETY: an open connection; nginx reads the bytes and no more.
            let sent =
                unsafe { (*c).send.map(|send| send(c, rest.as_ptr().cast_mut(), rest.len())) };
            match sent {
                Some(count @ 1..) => self.sent += count as usize,
                // SAFETY: an open connection.
                Some(n) if n == code::AGAIN && unsafe { watch_write(c) } => return,
                _ => return self.fail("the embedded host has closed the connection"),
            }
        }
        let watched = self.connection.is_none_or(|c| {
            // SAFETY: an open connection.
            unsafe { watch_read(c.as_ptr()) }
        });
        if !watched {
            self.fail("its connection cannot be watched");
        }
    }

    fn read(&mut self) {
        let mut input = [0; 8 << 10];
        while let (Some(c), None) = (self.connection.map(NonNull::as_ptr), &self.outcome) {
            // SAFETY: an open connection, and a buffer of that size.
            let received = unsafe {
                if (*c).error() != 0 {
                    return self.fail("nginx ends");
                }
                (*c).recv.map(|recv| recv(c, input.as_mut_ptr(), input.len()))
            };
            match received {
                Some(count @ 1..) => self.take_in(&input[..count as usize]),
                // SAFETY: an open connection.
                Some(n) if n == code::AGAIN && unsafe { watch_read(c) } => return,
                _ => self.fail("the embedded host has closed the connection"),
            }
        }
    }

    fn take_in(&mut self, input: &[u8]) {
        match self.step(input) {
            Ok(None) => {}
            Ok(Some((outcome, clean))) => {
                let outcome = match (outcome, self.answer.take()) {
                    (Outcome::Complete, Some(answer)) => Conclusion::Answered(answer),
                    _ => Conclusion::Failed,
                };
                self.finish(outcome, clean && !self.going_away);
            }
            Err(error) => self.fail(&error.to_string()),
        }
    }

    /// Reads frames; at the end, how it came, and whether nothing follows.
    fn step(&mut self, input: &[u8]) -> Result<Option<(Outcome, bool)>, BadFrame> {
        let (mut at, mut end) = (0, None);
        while let Some(piece) = self.frames.next(input, &mut at)? {
            let Piece::Frame(kind) = piece else { return Err(BadFrame::Unexpected(Kind::Data)) };
            let payload = self.frames.payload(input);
            match kind {
                Kind::Log => {
                    let record = LogRecord::decode(payload)?;
                    let level = Level::from_number(record.level);
                    write_text(level, self.request.log(), &text(record.text));
                }
                Kind::Response => {
                    let head = Head::decode(payload)?;
                    let values = head
                        .headers()
                        .map(|(name, value)| (name.to_vec(), value.to_vec()))
                        .collect();
                    self.answer = Some(Answer { verdict: head.status, values });
                }
                Kind::End => end = Some(Outcome::decode(payload)?),
                Kind::GoAway => self.going_away = true,
                _ => return Err(BadFrame::Unexpected(kind)),
            }
        }
        Ok(end.map(|end| (end, at == input.len())))
    }

    fn finish(&mut self, outcome: Conclusion, clean: bool) {
        self.let_go(clean);
        self.outcome = Some(outcome);
    }

    /// Gives back what the question holds; `clean` when its exchange has come to its end.
    fn let_go(&mut self, clean: bool) {
        self.timer.clear();
        let dispatcher = self.dispatcher();
        if let Some(ticket) = self.ticket.take() {
            dispatcher.dequeue_question(ticket);
        }
        let connection = self.connection.take().map(NonNull::as_ptr);
        let slot = self.slot.take();
        let Some(lease) = self.lease.take() else { return };
        if let Some(c) = connection {
            let pool = dispatcher.idle(Place::Embedded, lease.process);
            if !(clean && pool.keep(lease.incarnation, Connection { c, slot })) {
                // SAFETY: ours alone; the pool has not taken it.
                unsafe { close_connection(c) };
            }
        }
        if clean || connection.is_none() {
            dispatcher.release(Place::Embedded, lease);
        } else {
            dispatcher.release_later(Place::Embedded, lease, self.id);
        }
    }

    /// Writes the lines that have arrived and nobody will read any more.
    pub fn read_last_lines(&mut self) {
        let Some(fd) = self.connection.map(|c| {
            // SAFETY: an open connection.
            let fd: RawFd = unsafe { (*c.as_ptr()).fd };
            fd
        }) else {
            return;
        };
        let (mut input, flags) = ([0; 8 << 10], nix::sys::socket::MsgFlags::MSG_DONTWAIT);
        for _ in 0..LAST_READS {
            let Ok(received @ 1..) = nix::sys::socket::recv(fd, &mut input, flags) else { return };
            if !matches!(self.step(&input[..received]), Ok(None)) {
                return;
            }
        }
    }
}

/// Has a request go on whose question has an outcome. The question may be gone afterwards.
fn resume(r: Request, go_on: GoOn) {
    let connection = r.connection();
    r.set_log_request();
    r.stop_watching_client();
    go_on(r);
    // SAFETY: a connection outlives its requests, and nginx allows this call after a request's end.
    unsafe { ngx_http_run_posted_requests(connection) };
}

/// Ends a request whose client goes away while a hook is asked.
fn watch_client(r: Request) {
    // SAFETY: a live request whose header has been read; the handler only looks whether the client is
    // still there.
    unsafe {
        let read = (*r.connection()).read;
        (*r.as_ptr()).read_event_handler = Some(ngx_http_test_reading);
        if (*read).ready() != 0 {
            ngx_post_event(read, std::ptr::addr_of_mut!(ngx_posted_events));
        } else {
            ngx_handle_read_event(read, 0);
        }
    }
}

/// Changes a question, and has its request go on when it has an outcome then.
///
/// # Safety
///
/// The question is alive, and nothing else refers to it during the call.
unsafe fn change(question: NonNull<Question>, act: impl FnOnce(&mut Question)) {
    let over = {
        // SAFETY: as the caller guarantees; the reference ends before the request goes on, which may
        // drop the question.
        let question = unsafe { &mut *question.as_ptr() };
        question.request.set_log_request();
        act(question);
        question.outcome.is_some().then_some((question.request, question.go_on))
    };
    if let Some((r, go_on)) = over {
        resume(r, go_on);
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        self.let_go(false);
    }
}

/// # Safety
///
/// An open connection.
unsafe fn watch_read(c: *mut ngx_connection_t) -> bool {
    // SAFETY: as the caller guarantees.
    unsafe { ngx_handle_read_event((*c).read, 0) == code::OK }
}

/// # Safety
///
/// An open connection.
unsafe fn watch_write(c: *mut ngx_connection_t) -> bool {
    // SAFETY: as the caller guarantees.
    unsafe { ngx_handle_write_event((*c).write, 0) == code::OK }
}

/// Runs an event of a question and lets its request go on.
///
/// # Safety
///
/// The event's data is a connection of a live question, which nothing else refers to.
unsafe fn on_event(event: *mut ngx_event_t, act: fn(&mut Question)) {
    guard("a question to a hook", (), || {
        // SAFETY: as the caller guarantees.
        unsafe {
            let c = (*event).data.cast::<ngx_connection_t>();
            if let Some(question) = NonNull::new((*c).data.cast::<Question>()) {
                change(question, act);
            }
        }
    });
}

unsafe extern "C" fn on_read(event: *mut ngx_event_t) {
    // SAFETY: set up in send; the connection is closed or given away before its question goes.
    unsafe { on_event(event, Question::read) };
}

unsafe extern "C" fn on_write(event: *mut ngx_event_t) {
    // SAFETY: as in on_read.
    unsafe { on_event(event, Question::write) };
}

unsafe extern "C" fn on_timer(event: *mut ngx_event_t) {
    guard("a question to a hook", (), || {
        // SAFETY: the timer is the question's own, and is cleared before the question goes.
        unsafe {
            if let Some(question) = NonNull::new((*event).data.cast::<Question>()) {
                change(question, Question::time_out);
            }
        }
    });
}
