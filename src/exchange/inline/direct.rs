//! The application's side of a request that runs on the event loop's own thread.

use std::cell::Cell;
use std::mem::take;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard};

use ngx::ngx_log_error;
use ngx_wsgi_host::exchange::{BodyError, Disconnected, Exchange as Application};
use ngx_wsgi_host::lock::lock;
use ngx_wsgi_host::log::Level;
use ngx_wsgi_host::wire::{encode_head, Headers, Outcome, Span, HEADER_LEN};

use super::body::Body;
use super::head::{self, Ending};
use super::output::{self, Stream};
use super::spool::{Full, Limits, Spool};
use super::SERVER_ERROR;
use crate::exchange::response::{pass_file, PassedFile};
use crate::exchange::Exchange;
use crate::ffi::{bytes, code, text, write_text, Request};

/// Bytes that most RESPONSE frames need.
const USUAL_HEAD: usize = 512;

thread_local! {
    /// Whether this is the event thread.
    static IS_EVENT_THREAD: Cell<bool> = const { Cell::new(false) };
}

/// What the application is handed. It outlives the request when an application keeps `wsgi.input` or
/// `wsgi.errors`; then it is dead.
///
/// Threads of the application may use it as well: only the event thread turns to nginx, what comes from
/// others waits for that.
pub struct Direct {
    head_only: bool,
    state: Mutex<State>,
}

struct State {
    /// `None`: the request is over.
    live: Option<Live>,
    /// Method and URI, for lines that come later.
    line: Box<[u8]>,
}

/// The request, as long as its application runs.
pub struct Live {
    r: Request,
    body: Body,
    /// A RESPONSE frame.
    head: Vec<u8>,
    way: Way,
    /// The body of the response.
    file: Option<(OwnedFd, Span)>,
    spool: Spool,
    stream: Stream,
    limits: Limits,
    /// A client that goes away ends the response (`wsgi_ignore_client_abort`).
    watches: bool,
    sent: u64,
    /// What other threads have logged.
    lines: Vec<(Level, Vec<u8>)>,
    /// Nobody receives the response any more.
    lost: bool,
    /// It cannot be sent as a whole.
    broken: bool,
}

// SAFETY: other threads than the event loop's use the body, whose bytes nobody changes while the request
// lives, and what is Rust's own; the request and the chains are used on the event thread only. Who has it
// holds the lock, and the request does not end before it has been taken out.
unsafe impl Send for Live {}

/// How far the response is.
enum Way {
    /// There is none.
    Silent,
    /// Status and headers are known.
    Held,
    /// nginx has them, and sends what follows, if anything is to follow.
    Passing { bodyless: bool },
    /// Nothing of it is sent any more.
    Apart(Ending),
}

impl Direct {
    /// On the event thread, where the request lives.
    pub fn new(r: Request, has_body: bool, head_only: bool) -> Arc<Self> {
        IS_EVENT_THREAD.set(true);
        // SAFETY: the upstream of a live request; its configuration and the path in it live as long as the
        // cycle.
        let (conf, directory) = unsafe {
            let conf = &*(*r.upstream()).conf;
            (conf, bytes(&(*conf.temp_path).name))
        };
        let count = conf.bufs.num.max(1) as usize;
        let live = Live {
            r,
            body: if has_body { Body::of(r) } else { Body::default() },
            head: Vec::with_capacity(USUAL_HEAD),
            way: Way::Silent,
            file: None,
            spool: Spool::default(),
            stream: Stream::new(count, conf.bufs.size),
            limits: Limits {
                memory: count * conf.bufs.size,
                file: conf.max_temp_file_size as u64,
                directory,
            },
            watches: conf.ignore_client_abort == 0,
            sent: 0,
            lines: Vec::new(),
            lost: false,
            broken: false,
        };
        let state = Mutex::new(State { live: Some(live), line: Box::default() });
        Arc::new(Direct { head_only, state })
    }

    /// The application is done: from here on nothing goes through this handle.
    pub fn end(self: &Arc<Self>) -> Option<Live> {
        let mut state = self.state();
        let mut live = state.live.take()?;
        if Arc::strong_count(self) > 1 {
            let request = live.r.get();
            // SAFETY: these live as long as the request.
            let parts = unsafe { [bytes(&request.method_name), bytes(&request.unparsed_uri)] };
            state.line = parts.join(&b' ').into();
        }
        drop(state);
        live.write_lines();
        Some(live)
    }

    /// Never held while Python runs.
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn with<T>(&self, what: impl FnOnce(&mut Live) -> T) -> Option<T> {
        self.state().live.as_mut().map(what)
    }

    fn send_with(
        &self,
        block: &[u8],
        send: impl FnOnce(&mut Live, &[u8]) -> Result<(), Disconnected>,
    ) -> Result<(), Disconnected> {
        let sent = self.with(|live| {
            if live.lost || live.broken {
                return Err(Disconnected);
            }
            if self.head_only {
                return Ok(());
            }
            live.sent += block.len() as u64;
            send(live, block)
        });
        sent.unwrap_or(Err(Disconnected))
    }
}

impl Application for Direct {
    fn read(&self, buf: &mut [u8]) -> Result<usize, BodyError> {
        self.with(|live| live.body.read(buf)).unwrap_or(Err(BodyError::Closed))
    }

    fn read_now(&self, buf: &mut [u8]) -> Result<Option<usize>, BodyError> {
        self.read(buf).map(Some)
    }

    fn remaining(&self) -> Option<u64> {
        self.with(|live| live.body.remaining())
    }

    fn respond(
        &self,
        status: u16,
        status_line: &[u8],
        headers: &Headers,
    ) -> Result<(), Disconnected> {
        let queued = self.with(|live| {
            live.way = Way::Held;
            encode_head(&mut live.head, status, status_line, headers)
        });
        queued.ok_or(Disconnected)?.map_err(|bad| {
            self.log(Level::Error, format!("response cannot be sent: {bad}").as_bytes());
            Disconnected
        })
    }

    fn send(&self, block: &[u8]) -> Result<(), Disconnected> {
        self.send_with(block, |live, block| {
            if IS_EVENT_THREAD.get() {
                return live.pass(block);
            }
            let kept = live.spool.push(block, &live.limits);
            live.keep(kept)
        })
    }

    fn send_last(&self, block: &[u8]) -> Result<(), Disconnected> {
        self.send_with(block, |live, block| {
            let kept = live.spool.push_last(block, &live.limits);
            live.keep(kept)
        })
    }

    fn takes_files(&self) -> bool {
        true
    }

    fn send_file(&self, fd: OwnedFd, span: Span) -> Result<(), Disconnected> {
        let sent = self.with(|live| {
            live.sent += span.len;
            live.file = Some((fd, span));
        });
        sent.ok_or(Disconnected)
    }

    fn log(&self, level: Level, line: &[u8]) {
        let mut state = self.state();
        if let Some(live) = &mut state.live {
            live.lines.push((level, line.to_vec()));
            if IS_EVENT_THREAD.get() {
                live.write_lines();
            }
            return;
        }
        let request = state.line.escape_ascii().to_string();
        drop(state);
        let (level, text) = (u64::from(level as u8), text(line));
        // As nginx would end the line.
        tracing::error!(level, "{text}, request: \"{request}\"");
    }

    fn is_disconnected(&self) -> bool {
        self.with(|live| live.lost).unwrap_or(true)
    }
}

/// On the event thread, but for [`Self::keep`].
impl Live {
    /// Bytes of the body that the application has produced.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    fn write_lines(&mut self) {
        for (level, line) in take(&mut self.lines) {
            write_text(level, self.r.log(), &text(&line));
        }
    }

    /// Sends a block at once, as far as the client takes it; what it does not take is kept.
    fn pass(&mut self, block: &[u8]) -> Result<(), Disconnected> {
        self.begin();
        match self.way {
            Way::Passing { bodyless: false } => {}
            _ if self.lost => return Err(Disconnected),
            _ => return Ok(()),
        }
        let mut done = 0;
        if self.spool.is_empty() {
            match self.stream.pass(self.r, block) {
                Ok(passed) => done = passed,
                Err(output::Lost) => {
                    self.lost = true;
                    return Err(Disconnected);
                }
            }
        }
        if done == block.len() {
            return Ok(());
        }
        if self.watches && self.r.client_has_gone() {
            self.lost = true;
            return Err(Disconnected);
        }
        let kept = self.spool.push(&block[done..], &self.limits);
        self.keep(kept)
    }

    /// A block that cannot be kept breaks the response off.
    fn keep(&mut self, kept: Result<(), Full>) -> Result<(), Disconnected> {
        kept.map_err(|full| {
            let line = format!("response broken off: {full}");
            self.lines.push((Level::Error, line.into_bytes()));
            self.broken = true;
            Disconnected
        })
    }

    /// Hands status and headers to nginx, once.
    fn begin(&mut self) {
        if !matches!(self.way, Way::Held) {
            return;
        }
        self.write_lines();
        let Some(exchange) = Exchange::of(self.r) else {
            self.way = Way::Apart(Ending::Finalized(SERVER_ERROR));
            return;
        };
        exchange.file = self.file.take().map(|(fd, span)| PassedFile::of(fd, span));
        self.way = match head::begin(self.r, exchange, &self.head[HEADER_LEN..]) {
            Ok(bodyless) => Way::Passing { bodyless },
            Err(ending) => {
                self.lost = matches!(ending, Ending::Finalized(code::ERROR));
                Way::Apart(ending)
            }
        };
    }

    /// Sends what is left. How nginx is to end the request.
    pub fn finish(mut self, outcome: Outcome) -> Ending {
        let whole = outcome == Outcome::Complete && !self.broken;
        if matches!(self.way, Way::Silent) && outcome == Outcome::Complete {
            let log = self.r.log();
            ngx_log_error!(nginx_sys::NGX_LOG_ERR, log, "the application has sent no response");
        }
        if whole {
            self.begin();
        }
        let r = self.r;
        match self.way {
            Way::Silent | Way::Held => Ending::Finalized(SERVER_ERROR),
            Way::Apart(ending) => ending,
            Way::Passing { .. } if self.lost => Ending::Finalized(code::ERROR),
            Way::Passing { bodyless } => Ending::Finalized(match Exchange::of(r) {
                _ if bodyless => output::send_rest(r, Spool::default(), whole),
                Some(exchange) if exchange.file.is_some() => send_file(r, exchange),
                _ => output::send_rest(r, self.spool, whole),
            }),
        }
    }
}

fn send_file(r: Request, exchange: &mut Exchange) -> nginx_sys::ngx_int_t {
    match pass_file(r, exchange) {
        // SAFETY: the upstream of a live request, which now has the chain.
        Some(()) => output::send(r, unsafe { (*r.upstream()).out_bufs }, true),
        None => code::ERROR,
    }
}
