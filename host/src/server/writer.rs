//! The response: RESPONSE, DATA, LOG, END and GOAWAY frames onto the connection.

use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;

use super::deposit::Deposit;
use super::mail::Slot;
use super::socket::Socket;
use crate::log::Level;
use crate::mailbox::Sleep;
use crate::python::Lent;
use crate::wire::{
    encode_head, limit, BadFrame, Header, Headers, Kind, LogRecord, Outcome, Span, HEADER_LEN,
    LOG_MAX, STATIC,
};

/// Blocks below this size are copied behind their header: cheaper than a second piece to gather.
const COPY_BELOW: usize = 16 << 10;

/// So much is gathered before it is sent.
const GATHERED: usize = 32 << 10;

/// The write half of a connection.
pub struct Writer {
    /// Frames that leave with the next block, with END, or when the outbox sees to them.
    queued: Vec<u8>,
    /// Leaves with them.
    descriptor: Option<OwnedFd>,
    /// What nginx may fetch: not in vain as long as it has the connection.
    deposit: Option<Deposit>,
    /// An exchange is between its REQUEST and its END.
    open: bool,
    responded: bool,
    /// Some of the response has been sent, or waits to be.
    sent: bool,
    /// The response may be left in the mailbox: nothing of it has left on the socket.
    by_mail: bool,
    /// What is queued begins inside a frame.
    cut: bool,
    /// The outbox knows of the connection.
    pub posted: bool,
    goaway: bool,
}

impl Writer {
    pub fn new() -> Self {
        Writer {
            queued: Vec::new(),
            descriptor: None,
            deposit: None,
            open: false,
            responded: false,
            sent: false,
            by_mail: false,
            cut: false,
            posted: false,
            goaway: false,
        }
    }

    /// Starts the response of a new exchange, which may be left in the mailbox or not.
    pub fn begin(&mut self, by_mail: bool) {
        self.by_mail = by_mail;
        self.queued.clear();
        self.queued.shrink_to(GATHERED);
        self.cut = false;
        self.descriptor = None;
        self.deposit = None;
        self.open = true;
        self.responded = false;
        self.sent = false;
    }

    /// Whether an exchange is between its REQUEST and its END, or its END has not left yet.
    pub fn is_open(&self) -> bool {
        self.open || !self.queued.is_empty()
    }

    /// Whether an exchange is between its REQUEST and its END.
    pub fn is_exchanging(&self) -> bool {
        self.open
    }

    /// Queues the RESPONSE frame.
    pub fn respond(&mut self, status: u16, line: &[u8], headers: &Headers) -> Result<(), BadFrame> {
        encode_head(&mut self.queued, status, line, headers)?;
        self.responded = true;
        Ok(())
    }

    /// Queues a part of a file as the response's body. Nothing of the response has left yet.
    pub fn file(&mut self, fd: OwnedFd, span: Span) {
        self.queued.splice(..0, span.encode(Kind::File, STATIC));
        self.descriptor = Some(fd);
    }

    /// Queues the block that is the response's body; END follows at once, with which nginx sends all of it.
    pub fn lend(&mut self, block: Lent) {
        let deposit = Deposit::new(block);
        self.queued.extend_from_slice(&Header::new(Kind::Lent, 0, 8).encode());
        self.queued.extend_from_slice(&deposit.key().to_le_bytes());
        self.deposit = Some(deposit);
    }

    /// Whether a block can wait for others.
    pub fn has_room(&self, block: &[u8]) -> bool {
        let len = HEADER_LEN + block.len();
        self.descriptor.is_none() && block.len() < COPY_BELOW && self.queued.len() + len <= GATHERED
    }

    /// Queues a block that others may follow.
    pub fn gather(&mut self, block: &[u8]) {
        self.queue(block);
        self.sent = true;
    }

    /// Sends as much of what has been gathered as goes without waiting. Whether that was all.
    pub fn send_gathered(&mut self, socket: &Socket, slot: Option<&Slot>) -> Result<bool, Errno> {
        let may_leave = self.sent || !self.open;
        if !may_leave || self.queued.is_empty() {
            return Ok(true);
        }
        let left = if self.open { Err(Sleep::NONE) } else { self.leave(slot) };
        let Err(sleep) = left else { return Ok(true) };
        match socket.send_some(&self.queued, &[]) {
            Ok(sent) => drop(self.queued.drain(..sent)),
            Err(Errno::EAGAIN | Errno::EINTR) => return Ok(false),
            Err(errno) => return Err(errno),
        }
        self.by_mail = false;
        self.cut = !self.queued.is_empty();
        if !self.cut {
            call(slot, sleep);
        }
        Ok(!self.cut)
    }

    /// Sends what is queued and `block` as DATA.
    pub fn data(&mut self, socket: &Socket, block: &[u8]) -> Result<(), Errno> {
        if block.is_empty() && !self.queued.is_empty() {
            return self.flush(socket, &[]);
        }
        for piece in block.chunks(limit(Kind::Data) as usize) {
            if piece.len() < COPY_BELOW {
                self.queue(piece);
                self.flush(socket, &[])?;
            } else {
                let header = Header::new(Kind::Data, 0, piece.len() as u32);
                self.queued.extend_from_slice(&header.encode());
                self.flush(socket, piece)?;
            }
        }
        Ok(())
    }

    /// Queues a block that END follows at once; a large one is sent.
    pub fn last(&mut self, socket: &Socket, block: &[u8]) -> Result<(), Errno> {
        if block.len() >= COPY_BELOW {
            return self.data(socket, block);
        }
        self.queue(block);
        Ok(())
    }

    fn queue(&mut self, block: &[u8]) {
        let header = Header::new(Kind::Data, 0, block.len() as u32);
        self.queued.extend_from_slice(&header.encode());
        self.queued.extend_from_slice(block);
    }

    /// Sends a log line at once, ahead of a response that waits for its first data: the request
    /// may run for long, or take the process with it.
    pub fn log(&mut self, socket: &Socket, level: Level, line: &[u8]) -> Result<(), Errno> {
        let mut frames = Vec::with_capacity(line.len().min(8 * LOG_MAX) + 64);
        let mut rest = line;
        loop {
            let (text, tail) = rest.split_at(log_piece(rest));
            LogRecord { level: level as u8, text }.encode(&mut frames);
            rest = tail;
            if rest.is_empty() {
                if self.cut {
                    self.flush(socket, &[])?;
                }
                self.by_mail = false;
                return socket.send_all(&frames, &[]);
            }
        }
    }

    /// Ends the exchange; with `goaway`, the connection's last one.
    pub fn end(
        &mut self,
        socket: &Socket,
        slot: Option<&Slot>,
        outcome: Outcome,
        goaway: bool,
    ) -> Result<(), Errno> {
        self.queue_end(outcome, goaway);
        let Err(sleep) = self.leave(slot) else { return Ok(()) };
        self.flush(socket, &[])?;
        call(slot, sleep);
        Ok(())
    }

    /// Leaves the whole response in the mailbox, if it may be there and is looked for.
    fn leave(&mut self, slot: Option<&Slot>) -> Result<(), Sleep> {
        let slot = slot.filter(|_| self.by_mail && self.descriptor.is_none());
        slot.ok_or(Sleep::NONE)?.answer(&self.queued)?;
        self.queued.clear();
        Ok(())
    }

    /// Ends the exchange with what others may leave together with, if there is room for it. Whether there
    /// was.
    pub fn end_gathered(&mut self) -> bool {
        let gathers = self.has_room(&[]) && self.responded;
        if gathers {
            self.queue_end(Outcome::Complete, false);
        }
        gathers
    }

    fn queue_end(&mut self, outcome: Outcome, goaway: bool) {
        self.open = false;
        let outcome = match outcome {
            Outcome::Rejected => {
                self.queued.extend_from_slice(&Header::new(Kind::Reject, 0, 0).encode());
                return;
            }
            Outcome::Complete if !self.responded => Outcome::Failed,
            Outcome::Failed if self.sent => Outcome::Aborted,
            outcome => outcome,
        };
        if outcome == Outcome::Failed {
            self.queued.clear();
            self.descriptor = None;
            self.deposit = None;
        }
        self.queued.extend_from_slice(&Header::new(Kind::End, 0, 1).encode());
        self.queued.push(outcome as u8);
        if goaway && !self.goaway {
            self.goaway = true;
            self.queued.extend_from_slice(&Header::new(Kind::GoAway, 0, 0).encode());
        }
    }

    /// Sends GOAWAY between exchanges, once. Does not wait: an idle connection has room.
    pub fn go_away(&mut self, socket: &Socket) -> Result<(), Errno> {
        if self.goaway {
            return Ok(());
        }
        self.goaway = true;
        let frame = Header::new(Kind::GoAway, 0, 0).encode();
        if !self.queued.is_empty() {
            // Behind the END that waits.
            self.queued.extend_from_slice(&frame);
            return Ok(());
        }
        match socket.send_some(&frame, &[])? {
            sent if sent == frame.len() => Ok(()),
            _ => Err(Errno::EAGAIN),
        }
    }

    fn flush(&mut self, socket: &Socket, block: &[u8]) -> Result<(), Errno> {
        let sent = match self.descriptor.take() {
            // Nothing but END follows a file.
            Some(fd) => socket.send_with(&self.queued, fd.as_fd()),
            None => socket.send_all(&self.queued, block),
        };
        self.queued.clear();
        self.by_mail = false;
        self.cut = false;
        self.sent |= self.responded;
        sent
    }
}

/// A whole response has been sent to a worker that slept.
fn call(slot: Option<&Slot>, sleep: Sleep) {
    slot.into_iter().for_each(|slot| slot.call(sleep));
}

/// Length of the first piece of a line that goes into one LOG frame, cut between characters.
fn log_piece(line: &[u8]) -> usize {
    if line.len() <= LOG_MAX {
        return line.len();
    }
    let is_start = |at: &usize| line[*at] & 0xc0 != 0x80;
    // Text that is no UTF-8 may have no start nearby; then any place is as good.
    (LOG_MAX - 3..=LOG_MAX).rev().find(is_start).unwrap_or(LOG_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_lines_are_cut_between_characters() {
        let line = "a".repeat(LOG_MAX - 1) + "\u{20ac}\u{20ac}";
        assert_eq!(log_piece(line.as_bytes()), LOG_MAX - 1);
        assert_eq!(log_piece(&[0x80; LOG_MAX + 9]), LOG_MAX);
        assert_eq!(log_piece(&[b'a'; LOG_MAX]), LOG_MAX);
        assert_eq!(log_piece(&[b'a'; LOG_MAX + 1]), LOG_MAX);
    }
}
