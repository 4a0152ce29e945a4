//! The response as the application makes it, until it leaves.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::scope::Scope;
use crate::log::Level;
use crate::python::object::{Kind, Py, PyResult};

/// Status and headers as start_response was given them.
pub struct Head {
    pub status: u16,
    pub line: Vec<u8>,
    pub headers: Vec<(Vec<u8>, Vec<u8>)>,
}

/// One request's response.
pub struct Output {
    scope: Arc<Scope>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    head: Option<Head>,
    committed: bool,
    length: Option<u64>,
    sent: u64,
    lost: bool,
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
        Arc::new(Output { scope: Arc::clone(scope), state: Mutex::default() })
    }

    /// Never held while Python runs or anything waits.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn is_over(&self) -> bool {
        self.scope.is_over()
    }

    /// Whether status and headers have left the application.
    pub fn is_committed(&self) -> bool {
        self.state().committed
    }

    /// Takes status and headers; earlier ones are replaced.
    pub fn start(&self, head: Head) {
        self.state().head = Some(head);
    }

    /// The Content-Length that the application has announced.
    pub fn length(&self, py: Py) -> PyResult<Option<u64>> {
        let state = self.state();
        let values = state.head.iter().flat_map(|head| &head.headers);
        let value = values
            .filter(|(name, _)| name.eq_ignore_ascii_case(b"content-length"))
            .map(|(_, value)| value.clone())
            .last();
        drop(state);
        let Some(value) = value else { return Ok(None) };
        let number = std::str::from_utf8(&value).ok();
        let digits = number.filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        match digits.and_then(|text| text.parse().ok()) {
            Some(length) => Ok(Some(length)),
            None => Err(py.raise(Kind::Value, "invalid Content-Length header value")),
        }
    }

    /// Announces a Content-Length where the application has not.
    pub fn announce(&self, length: u64) {
        if let Some(head) = &mut self.state().head {
            head.headers.push((b"Content-Length".to_vec(), length.to_string().into_bytes()));
        }
    }

    /// Hands status and headers over, once.
    pub fn commit(&self, py: Py) -> PyResult<Sent> {
        if self.is_committed() {
            return Ok(self.sent());
        }
        let length = self.length(py)?;
        let mut state = self.state();
        let Some(head) = state.head.take() else {
            drop(state);
            let message = "start_response() must be called before response content is produced";
            return Err(py.raise(Kind::Runtime, message));
        };
        state.committed = true;
        state.length = length;
        drop(state);
        let exchange = self.scope.exchange();
        let gone = py.detach(|| exchange.respond(head.status, &head.line, &head.headers).is_err());
        self.state().lost |= gone;
        Ok(self.sent())
    }

    /// Sends a block: at most what the announced Content-Length leaves. `last`: no Python runs any
    /// more before the exchange ends.
    pub fn send(&self, py: Py, block: &[u8], last: bool) -> PyResult<Sent> {
        if self.commit(py)? == Sent::ClientGone {
            return Ok(Sent::ClientGone);
        }
        let admitted = self.admit(block.len());
        if admitted > 0 {
            let exchange = self.scope.exchange();
            let block = &block[..admitted];
            let gone = if last {
                py.detach(|| exchange.send_last(block).is_err())
            } else {
                py.detach(|| exchange.send(block).is_err())
            };
            self.state().lost |= gone;
        }
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
        let (length, sent, lost) = (state.length, state.sent, state.lost);
        drop(state);
        let Some(length) = length.filter(|length| *length > sent) else { return true };
        if lost || without_body {
            return true;
        }
        let line = format!("Content length mismatch: {sent} of {length} bytes were produced.");
        let exchange = self.scope.exchange();
        py.detach(|| exchange.log(Level::Debug, line.as_bytes()));
        false
    }
}
