//! The response as the application makes it, until it leaves.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard};

use super::scope::Scope;
use crate::exchange::Disconnected;
use crate::lock::lock;
use crate::log::Level;
use crate::python::lent::{Lent, Returned};
use crate::python::object::{Kind, Object, Py, PyResult};
use crate::wire::{Headers, Span};

/// A last block below this size certainly does not wait for nginx.
const QUEUED_BELOW: usize = 8 << 10;

/// A block below this size is cheaper to copy than to lend.
const LENT_FROM: usize = 16 << 10;

/// Status and headers as start_response was given them.
pub struct Head {
    pub status: u16,
    pub line: Vec<u8>,
    pub headers: Headers,
}

/// One request's response.
pub struct Output {
    scope: Arc<Scope>,
    state: Mutex<State>,
    /// Held while status and headers are handed over, so that no other thread of the application
    /// sends data before them. Whoever holds it needs no GIL to go on.
    committing: Mutex<()>,
}

#[derive(Default)]
struct State {
    head: Option<Head>,
    committed: bool,
    /// Whether the status is one that has no body, so that no length of one can be missed.
    bodiless: bool,
    length: Option<u64>,
    sent: u64,
    lost: bool,
    /// What has been handed over.
    status: Option<u16>,
}

/// Why status and headers cannot be handed over.
enum Uncommitted {
    NotStarted,
    Refused,
}

/// What has become of a block.
#[derive(Debug, PartialEq, Eq)]
pub enum Sent {
    Yes,
    /// Nobody receives it.
    ClientGone,
}

impl Output {
    pub fn new(scope: &Arc<Scope>) -> Arc<Self> {
        let scope = Arc::clone(scope);
        Arc::new(Output { scope, state: Mutex::default(), committing: Mutex::default() })
    }

    /// Never held while Python runs or anything waits.
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    pub fn is_over(&self) -> bool {
        self.scope.is_over()
    }

    /// Whether status and headers have left the application.
    pub fn is_committed(&self) -> bool {
        self.state().committed
    }

    /// The status that has left the application.
    pub fn status(&self) -> Option<u16> {
        self.state().status
    }

    /// Takes status and headers; earlier ones are replaced.
    pub fn start(&self, head: Head) {
        self.state().head = Some(head);
    }

    /// The Content-Length that the application has announced.
    pub fn length(&self, py: Py) -> PyResult<Option<u64>> {
        let state = self.state();
        let headers = state.head.iter().flat_map(|head| head.headers.iter());
        let Some((_, value)) = headers.filter(|(name, _)| is_length(name)).last() else {
            return Ok(None);
        };
        let digits = std::str::from_utf8(without_sign(value)).ok();
        let digits = digits.filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        if let Some(length) = digits.and_then(|text| text.parse().ok()) {
            return Ok(Some(length));
        }
        let value = value.to_vec();
        drop(state);
        let shown = py.latin1(&value)?.repr()?;
        Err(py.raise(Kind::Value, &format!("invalid Content-Length header value: {shown}")))
    }

    /// Announces a Content-Length where the application has not.
    pub fn announce(&self, length: u64) {
        if let Some(head) = &mut self.state().head {
            head.headers.push(b"Content-Length", length.to_string().as_bytes());
        }
    }

    /// Hands status and headers over, once. They are only queued, so the GIL is kept: releasing it
    /// costs more than that.
    pub fn commit(&self, py: Py) -> PyResult<Sent> {
        if self.is_committed() {
            return Ok(self.sent());
        }
        let length = self.length(py)?;
        match self.respond(length) {
            Ok(()) => Ok(self.sent()),
            Err(Uncommitted::NotStarted) => {
                let message = "start_response() must be called before response content is produced";
                Err(py.raise(Kind::Runtime, message))
            }
            Err(Uncommitted::Refused) => {
                Err(py.raise(Kind::Runtime, "response headers are too large to be sent"))
            }
        }
    }

    /// The part of [`Self::commit`] without Python.
    fn respond(&self, length: Option<u64>) -> Result<(), Uncommitted> {
        let _turn = lock(&self.committing);
        if self.is_committed() {
            return Ok(());
        }
        let mut head = self.state().head.take().ok_or(Uncommitted::NotStarted)?;
        normalize_lengths(&mut head.headers);
        let exchange = self.scope.exchange();
        let failed = exchange.respond(head.status, &head.line, &head.headers).is_err();
        if failed && !exchange.is_disconnected() {
            return Err(Uncommitted::Refused);
        }
        let mut state = self.state();
        state.committed = true;
        state.status = Some(head.status);
        state.bodiless = matches!(head.status, 204 | 304);
        state.length = length;
        state.lost |= failed;
        Ok(())
    }

    /// Sends a block: at most what the announced Content-Length leaves. `last`: no Python runs any
    /// more before the exchange ends.
    pub fn send(&self, py: Py, block: &[u8], last: bool) -> PyResult<Sent> {
        if self.commit(py)? == Sent::ClientGone {
            return Ok(Sent::ClientGone);
        }
        let admitted = self.admit(block.len());
        if admitted > 0 {
            let (exchange, meter) = (self.scope.exchange(), &self.scope.output);
            meter.add_bytes(admitted);
            let block = &block[..admitted];
            let gone = match last {
                // Queued, to leave with the end of the exchange.
                true if admitted < QUEUED_BELOW => {
                    meter.call(|| exchange.send_last(block).is_err())
                }
                true => py.detach(|| meter.call(|| exchange.send_last(block).is_err())),
                false => match exchange.gather(block) {
                    Ok(true) => meter.call(|| false),
                    Ok(false) => py.detach(|| meter.call(|| exchange.send(block).is_err())),
                    Err(Disconnected) => true,
                },
            };
            self.state().lost |= gone;
        }
        Ok(self.sent())
    }

    /// Has nginx read the only block of a body where it is, if it can; `None`: it is to be sent. The end
    /// follows at once: without it, nginx's pipe does not go on with what a client's socket had no room
    /// for. `home` is the interpreter's.
    pub fn lend(&self, py: Py, item: &Object, home: &Arc<Returned>) -> PyResult<Option<Sent>> {
        let len = item.as_bytes().map_or(0, <[u8]>::len);
        let exchange = self.scope.exchange();
        if len < LENT_FROM || self.is_committed() || !exchange.takes_memory() {
            return Ok(None);
        }
        let len = match self.length(py)? {
            Some(length) if length <= len as u64 => length as usize,
            Some(_) => return Ok(None),
            None => len,
        };
        if len < LENT_FROM || self.commit(py)? == Sent::ClientGone || self.state().bodiless {
            return Ok(None);
        }
        let Some(block) = Lent::new(py, item, len, home) else { return Ok(None) };
        let lent = self.admit(block.bytes().len());
        let meter = &self.scope.output;
        meter.add_bytes(lent);
        let gone = meter.call(|| exchange.lend(block).is_err());
        self.state().lost |= gone;
        Ok(Some(self.sent()))
    }

    /// Whether nginx can send a file by itself.
    pub fn takes_files(&self) -> bool {
        self.scope.exchange().takes_files()
    }

    /// Hands status and headers over, and a part of a file as the whole body.
    pub fn send_file(&self, py: Py, fd: OwnedFd, span: Span) -> PyResult<Sent> {
        if self.commit(py)? == Sent::ClientGone {
            return Ok(Sent::ClientGone);
        }
        let (exchange, meter) = (self.scope.exchange(), &self.scope.output);
        let len = usize::try_from(span.len).unwrap_or(usize::MAX);
        meter.add_bytes(len);
        let gone = meter.call(|| exchange.send_file(fd, span).is_err());
        let mut state = self.state();
        state.sent += span.len;
        state.lost |= gone;
        drop(state);
        Ok(self.sent())
    }

    fn admit(&self, len: usize) -> usize {
        let mut state = self.state();
        let rest = state.length.map_or(u64::MAX, |length| length.saturating_sub(state.sent));
        let admitted = rest.min(len as u64);
        state.sent += admitted;
        admitted as usize
    }

    fn sent(&self) -> Sent {
        if self.state().lost {
            Sent::ClientGone
        } else {
            Sent::Yes
        }
    }

    /// Whether as much has been sent as was announced. Less is told to the log, at debug level.
    pub fn is_whole(&self, py: Py, without_body: bool) -> bool {
        let state = self.state();
        let (length, sent) = (state.length, state.sent);
        let excused = state.lost || state.bodiless || without_body;
        drop(state);
        let Some(length) = length.filter(|length| *length > sent) else { return true };
        if excused {
            return true;
        }
        let line = format!("Content length mismatch: {sent} of {length} bytes were produced.");
        let exchange = self.scope.exchange();
        py.detach(|| exchange.log(Level::Debug, line.as_bytes()));
        false
    }
}

fn is_length(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"content-length")
}

/// mod_wsgi takes a length with a sign, and an empty one for zero, which HTTP does not know.
fn without_sign(value: &[u8]) -> &[u8] {
    match value {
        b"" => b"0",
        value => value.strip_prefix(b"+").unwrap_or(value),
    }
}

fn normalize_lengths(headers: &mut Headers) {
    let plain = |(name, value)| match is_length(name) {
        true => (name, without_sign(value)),
        false => (name, value),
    };
    if headers.iter().any(|header| plain(header).1.len() != header.1.len()) {
        *headers = headers.iter().map(plain).collect();
    }
}
