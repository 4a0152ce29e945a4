//! One request's exchange over its connection.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Arc;

use nix::errno::Errno;
use nix::poll::PollFlags;

use super::activity::Activity;
use super::connection::Connection;
use super::outbox::Outbox;
use super::writer::Writer;
use crate::exchange::{BodyError, Disconnected, Exchange};
use crate::log::Level;
use crate::python::Lent;
use crate::wire::{Headers, Outcome, Request, Span, HEAD_ONLY, NO_BODY, NO_FILE};

/// The handle that the application's side gets. It outlives the exchange when an application keeps
/// `wsgi.input` or `wsgi.errors`; from END on it is dead.
pub struct Served {
    connection: Arc<Connection>,
    head_only: bool,
    takes_files: bool,
    /// Who sends what has waited for long enough.
    outbox: Arc<Outbox>,
    /// Method and URI, for lines that nginx does not take any more.
    line: Box<[u8]>,
    over: AtomicBool,
    /// Bytes of the response's body that have been handed over.
    sent: AtomicU64,
    /// Who is to know of reading and writing.
    stirs: Option<Arc<Activity>>,
}

impl Served {
    /// Begins an exchange, whose response may be left in memory or not (`by_mail`); `line` is method and
    /// URI, `rest` what was read behind the REQUEST frame, with the descriptor that has come with it.
    pub fn begin(
        connection: &Arc<Connection>,
        request: &Request<'_>,
        line: &[u8],
        rest: (&[u8], Option<OwnedFd>),
        by_mail: bool,
        outbox: &Arc<Outbox>,
        stirs: Option<Arc<Activity>>,
    ) -> Arc<Self> {
        connection.writer().begin(by_mail);
        connection.body().begin(request.flags & NO_BODY == 0, rest.0, rest.1);
        Arc::new(Served {
            connection: Arc::clone(connection),
            head_only: request.flags & HEAD_ONLY != 0,
            takes_files: request.flags & NO_FILE == 0,
            outbox: Arc::clone(outbox),
            line: line.into(),
            over: AtomicBool::new(false),
            sent: AtomicU64::new(0),
            stirs,
        })
    }

    /// Ends the exchange; nothing goes out through this handle afterwards.
    pub fn finish(&self, outcome: Outcome, goaway: bool) {
        let mut writer = self.connection.writer();
        self.over.store(true, Ordering::Relaxed);
        if self.connection.is_lost() {
            return;
        }
        if let Err(errno) =
            writer.end(&self.connection.socket, self.connection.slot(), outcome, goaway)
        {
            self.lose(errno);
        }
        drop(writer);
        // Not with the connection's next request: a file takes room on a disk.
        self.connection.body().forget_file();
    }

    /// Ends the exchange as a whole one, with an END that the outbox sends. Whether it has done so.
    pub fn finish_gathered(&self) -> bool {
        let Some(mut writer) = self.connection.try_writer() else { return false };
        let gathers =
            !self.connection.is_lost() && self.is_posted(&mut writer) && writer.end_gathered();
        if gathers {
            self.over.store(true, Ordering::Relaxed);
            drop(writer);
            self.connection.body().forget_file();
        }
        gathers
    }

    /// Whether the outbox sees to what the writer gathers.
    fn is_posted(&self, writer: &mut Writer) -> bool {
        writer.posted = writer.posted || self.outbox.post(&self.connection);
        writer.posted
    }

    /// Bytes of the response's body so far.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    fn stir(&self) {
        if let Some(activity) = &self.stirs {
            activity.stir();
        }
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed) || self.connection.is_lost()
    }

    fn write<E>(
        &self,
        write: impl FnOnce(&mut Writer) -> Result<(), E>,
    ) -> Result<Result<(), E>, Disconnected> {
        let mut writer = self.connection.writer();
        // Only under the lock: the exchange may have ended while this thread waited for it.
        if self.is_over() {
            return Err(Disconnected);
        }
        Ok(write(&mut writer))
    }

    fn send_frames(
        &self,
        write: impl FnOnce(&mut Writer) -> Result<(), Errno>,
    ) -> Result<(), Disconnected> {
        self.write(write)?.map_err(|errno| {
            self.lose(errno);
            Disconnected
        })
    }

    /// Nothing can be sent any more. A client that has gone is no error; one that is there and takes
    /// nothing is.
    fn lose(&self, errno: Errno) {
        self.connection.lose();
        if errno == Errno::ETIMEDOUT {
            let seconds = self.connection.socket.timeout().unwrap_or_default().as_secs();
            let request = self.line.escape_ascii();
            tracing::error!(
                "response broken off: nothing of it was taken for {seconds} s (socket-timeout), \
                 request: \"{request}\""
            );
        } else if !matches!(errno, Errno::EPIPE | Errno::ECONNRESET) {
            let request = self.line.escape_ascii();
            tracing::error!("cannot answer: {}, request: \"{request}\"", errno.desc());
        }
    }

    /// The name of a header whose line is longer than it may be, and the line's length.
    fn too_long<'a>(&self, headers: &'a Headers) -> Option<(&'a [u8], usize)> {
        let mut lines = headers.iter().map(|(name, value)| (name, name.len() + 2 + value.len()));
        lines.find(|(_, len)| *len > self.connection.header_line_max)
    }
}

impl Exchange for Served {
    fn read(&self, buf: &mut [u8]) -> Result<usize, BodyError> {
        let connection = &self.connection;
        self.stir();
        loop {
            let mut body = connection.body();
            if self.over.load(Ordering::Relaxed) {
                return Err(BodyError::Closed);
            }
            let read = body.read(&connection.socket, buf);
            drop(body);
            match read {
                Ok(Some(n)) => return Ok(n),
                Ok(None) => {
                    let until = connection.socket.deadline();
                    let waited = connection.socket.wait(PollFlags::POLLIN, until);
                    if !waited.map_err(|errno| BodyError::Io(errno.desc().to_owned()))? {
                        let mut body = connection.body();
                        // The body may be the next request's by now.
                        if self.over.load(Ordering::Relaxed) {
                            return Err(BodyError::Closed);
                        }
                        return Err(body.time_out());
                    }
                }
                Err(error) => {
                    if error == BodyError::Closed {
                        connection.lose();
                    }
                    return Err(error);
                }
            }
        }
    }

    fn read_now(&self, buf: &mut [u8]) -> Result<Option<usize>, BodyError> {
        let Some(mut body) = self.connection.try_body() else { return Ok(None) };
        if self.over.load(Ordering::Relaxed) {
            return Err(BodyError::Closed);
        }
        let read = body.read_now(&self.connection.socket, buf);
        drop(body);
        match &read {
            Ok(Some(_)) => self.stir(),
            Err(BodyError::Closed) => self.connection.lose(),
            _ => {}
        }
        read
    }

    fn remaining(&self) -> Option<u64> {
        self.connection.try_body()?.remaining(&self.connection.socket)
    }

    fn respond(
        &self,
        status: u16,
        status_line: &[u8],
        headers: &Headers,
    ) -> Result<(), Disconnected> {
        if let Some((name, len)) = self.too_long(headers) {
            let (name, max) = (name.escape_ascii(), self.connection.header_line_max);
            let line = format!(
                "response cannot be sent: the line of header \"{name}\" has {len} bytes, \
                 header-buffer-size is {max}"
            );
            self.log(Level::Error, line.as_bytes());
            return Err(Disconnected);
        }
        let queued = self.write(|writer| writer.respond(status, status_line, headers))?;
        queued.map_err(|bad| {
            self.log(Level::Error, format!("response cannot be sent: {bad}").as_bytes());
            Disconnected
        })
    }

    fn gather(&self, block: &[u8]) -> Result<bool, Disconnected> {
        let Some(mut writer) = self.connection.try_writer() else { return Ok(false) };
        // Only under the lock: the exchange may have ended meanwhile.
        if self.is_over() {
            return Err(Disconnected);
        }
        if self.head_only || !writer.has_room(block) || !self.is_posted(&mut writer) {
            return Ok(false);
        }
        writer.gather(block);
        drop(writer);
        self.stir();
        self.sent.fetch_add(block.len() as u64, Ordering::Relaxed);
        Ok(true)
    }

    fn send(&self, block: &[u8]) -> Result<(), Disconnected> {
        self.stir();
        let block = if self.head_only { &[] } else { block };
        self.sent.fetch_add(block.len() as u64, Ordering::Relaxed);
        self.send_frames(|writer| writer.data(&self.connection.socket, block))
    }

    fn send_last(&self, block: &[u8]) -> Result<(), Disconnected> {
        self.stir();
        let block = if self.head_only { &[] } else { block };
        self.sent.fetch_add(block.len() as u64, Ordering::Relaxed);
        self.send_frames(|writer| writer.last(&self.connection.socket, block))
    }

    fn takes_files(&self) -> bool {
        self.takes_files
    }

    fn send_file(&self, fd: OwnedFd, span: Span) -> Result<(), Disconnected> {
        self.stir();
        // Also to HEAD: nginx knows what it would answer then.
        self.write(|writer| {
            writer.file(fd, span);
            Ok(())
        })?
    }

    fn takes_memory(&self) -> bool {
        self.connection.lends && self.takes_files && !self.head_only
    }

    fn lend(&self, block: Lent) -> Result<(), Disconnected> {
        self.stir();
        self.sent.fetch_add(block.bytes().len() as u64, Ordering::Relaxed);
        self.write(|writer| {
            writer.lend(block);
            Ok(())
        })?
    }

    fn log(&self, level: Level, line: &[u8]) {
        let sent = self.send_frames(|writer| writer.log(&self.connection.socket, level, line));
        if sent.is_err() {
            let (level, text) = (u64::from(level as u8), String::from_utf8_lossy(line));
            // As nginx would end the line, which does not take it any more.
            let request = self.line.escape_ascii();
            tracing::error!(level, "{text}, request: \"{request}\"");
        }
    }

    fn is_disconnected(&self) -> bool {
        if !self.is_over() && self.connection.socket.is_hung_up() {
            self.connection.lose();
        }
        self.is_over()
    }
}
