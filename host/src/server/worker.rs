//! A request thread.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::poll::PollFlags;

use super::connection::Connection;
use super::exchange::Served;
use super::host::{Shared, Wake};
use super::mail::Slot;
use super::request::{Next, ReadError, RequestBuffer};
use super::scheduling::prefer_throughput;
use super::serve::Serve;
use crate::clock;
use crate::exchange::Exchange;
use crate::scoreboard::Taken;
use crate::wire::{key, Outcome, Request, QUIET};

/// How long a thread waits for the rest of a request body that the application did not read.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(30);

/// Responses leave together with those of the next requests that are there already when they have taken
/// so many microseconds: nginx is woken once for them. With shorter ones it has hardly gone to sleep, and
/// longer ones would wait for too long.
const WORTH_GATHERING: RangeInclusive<u64> = 40..=500;

/// Serves until the host is over.
pub fn run(shared: &Shared, index: usize, serve: Box<dyn Serve>) {
    prefer_throughput();
    let (buffer, line) = (RequestBuffer::new(), Vec::new());
    let mut worker = Worker { shared, index, serve, buffer, line, served: 0 };
    shared.activity.enter(index);
    while let Some(lead) = shared.turn.lead(index) {
        let wake = shared.wait();
        let learns = lead.is_prompt();
        shared.turn.take_up(index);
        let connection = match wake {
            Wake::End => return,
            Wake::Connection(connection) => Some(connection),
            // nginx connects when it has a request, which is likely to be there already.
            Wake::Accept => shared.accept(),
        };
        let requests = connection.map_or(0, |connection| worker.attend(&connection));
        if learns && requests == 1 {
            shared.turn.learn(worker.serve.waited());
        }
    }
}

struct Worker<'a> {
    shared: &'a Shared,
    index: usize,
    serve: Box<dyn Serve>,
    buffer: RequestBuffer,
    line: Vec<u8>,
    /// Requests so far.
    served: usize,
}

impl Worker<'_> {
    /// Serves the connection's requests that are there, and gives the connection back. How many there
    /// were.
    fn attend(&mut self, connection: &Arc<Connection>) -> usize {
        let before = self.served;
        while self.serve_next(connection) {
            if let Err(errno) = self.shared.register(connection) {
                tracing::error!("epoll_ctl() failed: {}", errno.desc());
                break;
            }
            connection.slot().into_iter().for_each(Slot::announce);
            if connection.release() {
                return self.served - before;
            }
        }
        self.shared.close(connection);
        self.served - before
    }

    /// Serves the next request if it is there; whether the connection stays.
    fn serve_next(&mut self, connection: &Arc<Connection>) -> bool {
        let keep = match self.next(connection) {
            Ok(Next::Request) => self.exchange(connection),
            Ok(Next::Closed) => Ok(false),
            Ok(_) => Ok(true),
            Err(error) => Err(error),
        };
        let keep = keep.unwrap_or_else(|error| {
            tracing::error!("connection from nginx closed: {error}");
            false
        });
        if !keep || self.shared.is_over() {
            return false;
        }
        if self.shared.is_draining() {
            // Whoever began to drain may have passed by while an exchange was being written.
            connection.go_away();
        }
        true
    }

    /// Reads the connection's next request, from where it is.
    fn next(&mut self, connection: &Connection) -> Result<Next, ReadError> {
        if let Some(slot) = connection.take_mail() {
            return self.buffer.read_mail(slot);
        }
        let next = self.buffer.read(&connection.socket)?;
        if next == Next::Request {
            self.shared.answer_for_leader(connection);
        }
        let Next::Mailbox(number) = next else { return Ok(next) };
        // Without a descriptor this process has as many open as it may.
        if let Some(memory) = self.buffer.take_descriptor() {
            let slot = self.shared.mail.attach(&memory, number, connection.token);
            slot.into_iter().for_each(|slot| connection.settle(slot));
        }
        self.buffer.read(&connection.socket)
    }

    /// Runs one exchange; whether the connection is good for another.
    fn exchange(&mut self, connection: &Arc<Connection>) -> Result<bool, ReadError> {
        let descriptor = self.buffer.take_descriptor();
        let by_mail = self.buffer.wants_mail();
        let (payload, rest) = self.buffer.split();
        let request = Request::decode(payload)?;
        let (client, host) = describe(&request, &mut self.line);
        let shared = self.shared;
        let quiet = request.flags & QUIET != 0;
        let stirs = (shared.stirs && !quiet).then(|| Arc::clone(&shared.activity));
        let rest = (rest, descriptor);
        let (line, outbox) = (&self.line[..], &shared.outbox);
        let served = Served::begin(connection, &request, line, rest, by_mail, outbox, stirs);
        let hushed = connection.body().is_to_come(&connection.socket) && shared.hush(connection);
        shared.activity.begin(self.index, quiet);
        let (script, request_id, now_us) = (request.script, request.id, clock::now_us());
        let taken = Taken { request: request_id, now_us, line, script, client, host };
        shared.reports.take_up(shared.process, self.index, &taken);
        let exchange: Arc<dyn Exchange> = Arc::clone(&served) as _;
        let outcome = self.serve.serve(&request, &exchange);
        self.served += 1;
        let bad = connection.body().bad_frame();
        let took_us = clock::now_us().saturating_sub(now_us);
        if !(outcome == Outcome::Complete && self.gathers(connection, request_id, took_us, &served))
        {
            served.finish(outcome, shared.is_draining());
        }
        shared.reports.lay_down(shared.process, self.index, clock::now_us(), served.sent());
        shared.activity.end(self.index);
        let keep = match bad {
            Some(bad) => Err(bad.into()),
            None if connection.is_lost() => Ok(false),
            None => self.discard(connection),
        };
        if hushed && matches!(keep, Ok(true)) {
            shared.heed(connection)?;
        }
        keep
    }

    /// Leaves the end of a whole exchange to the outbox if others are likely to join it. Whether it has.
    fn gathers(&self, connection: &Connection, id: u64, took_us: u64, served: &Served) -> bool {
        let shared = self.shared;
        let gathers = WORTH_GATHERING.contains(&took_us)
            && shared.goes_on(self.index)
            && connection.body().is_complete()
            && served.finish_gathered();
        if gathers {
            shared.reports.keep(shared.process, id);
            if shared.outbox.is_full() {
                shared.outbox.send_all();
            }
        }
        gathers
    }

    /// Reads the rest of the body; whether its end was reached.
    fn discard(&mut self, connection: &Connection) -> Result<bool, ReadError> {
        if connection.body().is_complete() {
            return Ok(true);
        }
        let until = Instant::now() + DISCARD_TIMEOUT;
        loop {
            let mut body = connection.body();
            body.forget_file();
            match body.read(&connection.socket, self.buffer.scratch()) {
                Ok(Some(0)) => return body.bad_frame().map_or(Ok(true), |bad| Err(bad.into())),
                Ok(Some(_)) if Instant::now() < until => {}
                Ok(None) => {
                    drop(body);
                    if !connection.socket.wait(PollFlags::POLLIN, Some(until))? {
                        return Ok(false);
                    }
                }
                Ok(Some(_)) => return Ok(false),
                Err(_) => return body.bad_frame().map_or(Ok(false), |bad| Err(bad.into())),
            }
        }
    }
}

/// Writes method and URI to `line`; returns the client's address and the server's name.
fn describe<'a>(request: &Request<'a>, line: &mut Vec<u8>) -> (&'a [u8], &'a [u8]) {
    line.clear();
    line.extend_from_slice(request.known(key::REQUEST_METHOD).unwrap_or(b"-"));
    line.push(b' ');
    line.extend_from_slice(request.known(key::REQUEST_URI).unwrap_or(b"-"));
    let known = |code| request.known(code).unwrap_or_default();
    (known(key::REMOTE_ADDR), known(key::SERVER_NAME))
}
