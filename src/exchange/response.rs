//! A host's answer, as nginx's upstream code reads it.

mod file;
mod filter;
mod head;

use std::ops::Range;
use std::os::fd::RawFd;

use nginx_sys::ngx_log_t;
use ngx::ngx_log_error;
use ngx_wsgi_host::log::Level;
use ngx_wsgi_host::python::Lent;
use ngx_wsgi_host::server;
use ngx_wsgi_host::wire::{BadFrame, Kind, LogRecord, Outcome};
use nix::sys::socket::{recv, MsgFlags};

use super::frames::Piece;
use super::Exchange;
use crate::dispatch::Place;
use crate::ffi::{contents, now_msec, text, write_text, Request};

pub use file::{pass as pass_file, prepare as prepare_file, PassedFile};
pub use filter::{direct_filter, filter_init, pipe_filter};
pub use head::{process_header, read as read_head, take_over, Treatment};

/// Most reads for the last lines of an exchange that is broken off.
const LAST_READS: usize = 16;

/// What a piece of input means for the response.
enum Step {
    /// All input is used.
    Starved,
    /// RESPONSE was read; the payload is with the frame reader.
    Head,
    /// Body bytes.
    Data(Range<usize>),
    /// The body, in memory of this process.
    Lent(Lent),
    /// END was read.
    End(Outcome),
}

impl Exchange {
    /// Advances through `input`. LOG frames are logged on the way.
    fn step(
        &mut self,
        input: &[u8],
        at: &mut usize,
        log: *mut ngx_log_t,
    ) -> Result<Step, BadFrame> {
        while let Some(piece) = self.frames.next(input, at)? {
            let kind = match piece {
                Piece::Data(range) if self.head_seen && self.file.is_none() && !self.lent => {
                    return Ok(Step::Data(range))
                }
                Piece::Data(_) => return Err(BadFrame::Unexpected(Kind::Data)),
                Piece::Frame(kind) => kind,
            };
            match kind {
                Kind::Log => write_log(log, LogRecord::decode(self.frames.payload(input))?),
                Kind::File if !self.head_seen && self.file.is_none() => {
                    let (payload, flags) = (self.frames.payload(input), self.frames.flags());
                    let file = PassedFile::new(payload, flags, self.descriptor.take())?;
                    self.file = Some(file);
                }
                Kind::Lent if self.head_seen && !self.lent && self.place == Place::Embedded => {
                    self.lent = true;
                    let key = self.frames.payload(input).try_into().map(u64::from_le_bytes);
                    let block = key.ok().and_then(server::fetch);
                    return block.map(Step::Lent).ok_or(BadFrame::Invalid("number"));
                }
                Kind::Response | Kind::End if self.descriptor.is_some() => {
                    return Err(BadFrame::StrayDescriptor);
                }
                Kind::Response if !self.head_seen => {
                    self.head_seen = true;
                    return Ok(Step::Head);
                }
                Kind::Reject if !self.head_seen => {
                    self.rejected = true;
                    // It has had its process; from now on it waits for another.
                    self.waits_since = None;
                    return Err(BadFrame::Unexpected(kind));
                }
                // The process began to drain while the request was on its way; it still answers.
                Kind::GoAway => self.going_away = true,
                Kind::End => {
                    let outcome = Outcome::decode(self.frames.payload(input))?;
                    self.outcome = Some(outcome);
                    self.clock.ended = Some(now_msec());
                    return Ok(Step::End(outcome));
                }
                _ => return Err(BadFrame::Unexpected(kind)),
            }
        }
        Ok(Step::Starved)
    }

    /// Writes the LOG frames that have arrived and nobody will read any more.
    pub(super) fn read_last_lines(&mut self, r: Request, fd: RawFd) {
        let mut input = [0; 16 << 10];
        for _ in 0..LAST_READS {
            let Ok(received @ 1..) = recv(fd, &mut input, MsgFlags::MSG_DONTWAIT) else { return };
            let mut at = 0;
            while !matches!(
                self.step(&input[..received], &mut at, r.log()),
                Ok(Step::Starved) | Err(_)
            ) {}
        }
    }

    /// Writes the LOG frames behind a response header whose body nobody will read: what nginx has
    /// received already, and what is there.
    pub(super) fn read_rest(&mut self, r: Request) {
        if !self.head_seen || self.outcome.is_some() || r.cached() {
            return;
        }
        // SAFETY: the upstream of a live request; its buffer holds what was received.
        let (input, connection) = unsafe {
            let u = &*r.upstream();
            (contents(&u.buffer), u.peer.connection.as_ref())
        };
        let mut at = 0;
        while let Ok(Step::Data(_) | Step::Lent(_) | Step::Head) =
            self.step(input, &mut at, r.log())
        {}
        if let (Some(connection), None) = (connection, self.outcome) {
            self.read_last_lines(r, connection.fd);
        }
    }

    /// How many bytes of a piece belong to the response: the announced Content-Length is never
    /// exceeded, nor is a body sent where HTTP has none.
    fn admit(&mut self, len: usize) -> usize {
        if self.bodyless {
            return 0;
        }
        let Some(rest) = &mut self.rest else { return len };
        let admitted = (*rest).min(len as u64);
        *rest -= admitted;
        if *rest == 0 {
            self.request.stop_watching_client();
        }
        admitted as usize
    }

    /// Whether the client has been sent what was announced to it.
    fn is_whole(&self, outcome: Outcome) -> bool {
        outcome == Outcome::Complete && (self.bodyless || self.rest.unwrap_or(0) == 0)
    }
}

fn write_log(log: *mut ngx_log_t, record: LogRecord<'_>) {
    write_text(Level::from_number(record.level), log, &text(record.text));
}

fn bad_frame(log: *mut ngx_log_t, error: BadFrame) {
    ngx_log_error!(nginx_sys::NGX_LOG_ERR, log, "upstream sent an invalid response: {error}");
}

/// The exchange is over: the connection may carry another one.
fn keep_alive(r: Request) {
    // SAFETY: the upstream of a live request.
    unsafe { (*r.upstream()).set_keepalive(1) };
}
