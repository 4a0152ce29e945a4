//! A host's connections, its listener and its threads.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};

use super::activity::Activity;
use super::connection::Connection;
use super::mail::Mail;
use super::outbox::Outbox;
use super::registry::Registry;
use super::serve::Serve;
use super::turn::Turn;
use super::worker;
use crate::config::ConnectionConfig;
use crate::lock::lock;
use crate::scoreboard::{Progress, Reports};

/// Stack of a request thread where none is configured: what Python expects of a main thread.
const STACK: usize = 8 << 20;

/// That of the thread that sends what has waited: it calls little.
const SENDER_STACK: usize = 256 << 10;

/// Pause of the accepting thread when the process is out of descriptors or memory.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// Events that the leader takes from the kernel at once.
const EVENTS: usize = 32;

/// What epoll tells of a connection.
const HEEDED: EpollFlags =
    EpollFlags::EPOLLIN.union(EpollFlags::EPOLLRDHUP).union(EpollFlags::EPOLLET);

const END: u64 = 0;
const LISTENER: u64 = 1;
const LOOK: u64 = 2;
const FIRST_CONNECTION: u64 = 3;

/// What a host is made of.
pub struct HostConfig {
    /// Request threads, 1 or more.
    pub threads: u16,
    /// Where nginx connects to; `None` when connections are only given by [`Host::adopt`].
    pub listener: Option<OwnedFd>,
    /// Who may connect apart from root. Empty: anybody who can reach the socket.
    pub allowed_uids: Vec<u32>,
    /// Where the threads report what they are at.
    pub reports: Arc<Reports>,
    /// Number of the process in the report.
    pub process: usize,
    /// Where they say since when, for as many threads.
    pub activity: Arc<Activity>,
    /// Whether reading and writing counts as activity.
    pub stirs: bool,
    /// Stack of each request thread in bytes.
    pub stack_size: usize,
    /// What holds for each connection.
    pub connections: ConnectionConfig,
}

impl HostConfig {
    /// A host without a listener and with the defaults.
    pub fn new(threads: u16, reports: Arc<Reports>) -> Self {
        HostConfig {
            threads,
            listener: None,
            allowed_uids: Vec::new(),
            reports,
            process: 0,
            activity: Arc::new(Activity::new(threads, 0, None)),
            stirs: false,
            stack_size: STACK,
            connections: ConnectionConfig::default(),
        }
    }
}

/// Threads that serve exchanges. Dropping it lets the threads end by themselves.
pub struct Host {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// What the threads of a host share.
pub(super) struct Shared {
    epoll: Epoll,
    /// Events that have been taken from the kernel and not been seen to yet.
    events: Mutex<VecDeque<u64>>,
    /// Requests that are in memory.
    pub mail: Mail,
    /// Who waits for more.
    pub turn: Turn,
    pub outbox: Arc<Outbox>,
    ended: EventFd,
    /// Something may have been left that nobody looks at.
    look: EventFd,
    listener: Option<UnixListener>,
    allowed_uids: Vec<u32>,
    registry: Registry,
    draining: AtomicBool,
    over: AtomicBool,
    alive: Mutex<usize>,
    left: Condvar,
    pub reports: Arc<Reports>,
    pub process: usize,
    pub activity: Arc<Activity>,
    pub stirs: bool,
    count: u16,
    stack_size: usize,
}

/// What an idle thread is woken for.
pub(super) enum Wake {
    End,
    Accept,
    Connection(Arc<Connection>),
}

impl Host {
    /// A host without threads; connections wait until [`Self::spawn`].
    ///
    /// # Errors
    ///
    /// When the kernel gives no descriptors.
    pub fn new(config: HostConfig) -> io::Result<Self> {
        let listener = config.listener.map(UnixListener::from);
        let shared = Shared {
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            events: Mutex::default(),
            mail: Mail::default(),
            turn: Turn::new()?,
            outbox: Arc::new(Outbox::new()?),
            ended: EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?,
            look: EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?,
            listener,
            allowed_uids: config.allowed_uids,
            registry: Registry::new(FIRST_CONNECTION, config.connections),
            draining: AtomicBool::new(false),
            over: AtomicBool::new(false),
            alive: Mutex::new(0),
            left: Condvar::new(),
            reports: config.reports,
            process: config.process,
            activity: config.activity,
            stirs: config.stirs,
            count: config.threads.max(1),
            stack_size: config.stack_size,
        };
        shared.epoll.add(&shared.ended, EpollEvent::new(EpollFlags::EPOLLIN, END))?;
        let edges = EpollFlags::EPOLLIN | EpollFlags::EPOLLET;
        shared.epoll.add(&shared.look, EpollEvent::new(edges, LOOK))?;
        if let Some(listener) = &shared.listener {
            listener.set_nonblocking(true)?;
            shared.epoll.add(listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER))?;
        }
        Ok(Host { shared: Arc::new(shared), threads: Mutex::new(Vec::new()) })
    }

    /// Starts the request threads. Each calls `serve` once, with its number from 1, for what it
    /// serves with. They inherit the caller's signal mask.
    ///
    /// # Errors
    ///
    /// When a thread cannot be started; those that have been go on.
    pub fn spawn<F>(&self, serve: F) -> io::Result<()>
    where
        F: Fn(u32) -> Box<dyn Serve> + Send + Sync + 'static,
    {
        let outbox = Arc::clone(&self.shared.outbox);
        let sender = thread::Builder::new().name("wsgi-send".into()).stack_size(SENDER_STACK);
        // Nobody waits for its end: it has no request.
        sender.spawn(move || outbox.run())?;
        let serve = Arc::new(serve);
        for index in 0..self.shared.count {
            let (shared, serve) = (Arc::clone(&self.shared), Arc::clone(&serve));
            let ticket = Ticket::new(&self.shared);
            let id = u32::from(index) + 1;
            let run = move || {
                let _ticket = ticket;
                worker::run(&shared, usize::from(index), serve(id));
            };
            let builder = thread::Builder::new().name(format!("wsgi-{id}"));
            let builder = builder.stack_size(self.shared.stack_size);
            lock(&self.threads).push(builder.spawn(run)?);
        }
        Ok(())
    }

    /// Takes over a connected socket. Does not block.
    ///
    /// # Errors
    ///
    /// When the host has ended or the kernel refuses.
    pub fn adopt(&self, socket: OwnedFd) -> io::Result<()> {
        if self.shared.is_over() {
            return Err(io::ErrorKind::NotConnected.into());
        }
        let connection = self.shared.registry.add(socket);
        self.shared.register(&connection).inspect_err(|_| self.shared.close(&connection))?;
        Ok(())
    }

    /// What the threads report.
    pub fn reports(&self) -> &Arc<Reports> {
        &self.shared.reports
    }

    /// Number of the process in the report.
    pub fn process(&self) -> usize {
        self.shared.process
    }

    /// Request threads.
    pub fn threads(&self) -> u16 {
        self.shared.count
    }

    /// A planned end: asks nginx to close its connections and serves what comes until then. Returns
    /// whether all threads have ended within `timeout`; `None` waits for ever.
    pub fn drain(&self, timeout: Option<Duration>) -> bool {
        self.shared.drain();
        self.shared.wait_for_threads(timeout)
    }

    /// An end at once: closes idle connections, lets running requests finish. Returns whether all
    /// threads have ended within `timeout`.
    pub fn stop(&self, timeout: Duration) -> bool {
        self.shared.stop();
        if !self.shared.wait_for_threads(Some(timeout)) {
            return false;
        }
        self.shared.outbox.send_all();
        for thread in lock(&self.threads).drain(..) {
            // A thread that panicked has ended as well.
            let _ = thread.join();
        }
        self.shared.registry.all().iter().for_each(|connection| self.shared.close(connection));
        true
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.shared.stop();
    }
}

impl Shared {
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    /// Waits for something to do, as the leader does. A connection is the caller's.
    pub fn wait(&self) -> Wake {
        loop {
            let event = lock(&self.events).pop_front();
            let mail = if event.is_none() { self.mail.next() } else { None };
            match event.or(mail) {
                _ if self.is_over() => return Wake::End,
                None => {
                    if let Err(errno) = self.wait_for_events() {
                        tracing::error!(level = 2u64, "epoll_wait() failed: {}", errno.desc());
                        return Wake::End;
                    }
                }
                Some(END) => return Wake::End,
                Some(LISTENER) => return Wake::Accept,
                Some(LOOK) => self.mail.wake_all(),
                Some(token) => match self.registry.get(token) {
                    Some(connection) => {
                        match mail {
                            Some(_) => connection.deliver(),
                            None => connection.slot().into_iter().for_each(|it| self.mail.wake(it)),
                        }
                        if connection.claim() {
                            return Wake::Connection(connection);
                        }
                    }
                    None => tracing::debug!("event for a closed connection"),
                },
            }
        }
    }

    /// Whether the thread will look at another request as soon as it is done with this one.
    pub fn goes_on(&self, thread: usize) -> bool {
        let has_more = || !lock(&self.events).is_empty() || self.mail.is_there();
        !self.is_draining() && has_more() && self.turn.is_led_by(thread)
    }

    /// Takes events from the kernel. Sleeps until there are any, unless there is mail.
    fn wait_for_events(&self) -> Result<(), Errno> {
        let mut events = [EpollEvent::empty(); EVENTS];
        let sleeps = !self.mail.is_there() && {
            self.outbox.send_all();
            self.mail.rest()
        };
        let timeout = if sleeps { EpollTimeout::NONE } else { EpollTimeout::ZERO };
        match self.epoll.wait(&mut events, timeout) {
            Ok(count) => lock(&self.events).extend(events[..count].iter().map(EpollEvent::data)),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
        Ok(())
    }

    /// Accepts one connection, which is the caller's then.
    pub fn accept(&self) -> Option<Arc<Connection>> {
        let listener = self.listener.as_ref()?;
        let accepted = listener.accept();
        if let Err(error) = &accepted {
            let again = [io::ErrorKind::WouldBlock, io::ErrorKind::ConnectionAborted];
            if !again.contains(&error.kind()) {
                tracing::error!("accept() failed: {error}");
                thread::sleep(EXHAUSTED_PAUSE);
            }
        }
        // Also while draining: nginx may have been on its way.
        let socket = OwnedFd::from(accepted.ok()?.0);
        let connection = self.is_welcome(&socket).then(|| self.registry.add(socket))?;
        connection.claim();
        Some(connection)
    }

    fn is_welcome(&self, socket: &OwnedFd) -> bool {
        if self.allowed_uids.is_empty() {
            return true;
        }
        match getsockopt(socket, PeerCredentials) {
            Ok(peer) if peer.uid() == 0 || self.allowed_uids.contains(&peer.uid()) => true,
            Ok(peer) => {
                tracing::error!(
                    "connection of process {} refused: its user {} is neither root nor one of {:?}",
                    peer.pid(),
                    peer.uid(),
                    self.allowed_uids
                );
                false
            }
            Err(errno) => {
                tracing::error!("connection refused: its user is unknown: {}", errno.desc());
                false
            }
        }
    }

    /// Has epoll tell of a connection, from the first time on.
    pub fn register(&self, connection: &Connection) -> Result<(), Errno> {
        if !connection.register() {
            return Ok(());
        }
        self.epoll.add(connection, EpollEvent::new(HEEDED, connection.token))
    }

    /// Has epoll say nothing of a connection whose owner waits for a body: each piece of it would wake the
    /// leader for nothing. Whether it does.
    pub fn hush(&self, connection: &Connection) -> bool {
        let mut hushed = EpollEvent::new(EpollFlags::EPOLLET, connection.token);
        connection.is_registered() && self.epoll.modify(connection, &mut hushed).is_ok()
    }

    /// Has epoll tell of it again, also of what has arrived meanwhile.
    pub fn heed(&self, connection: &Connection) -> Result<(), Errno> {
        self.epoll.modify(connection, &mut EpollEvent::new(HEEDED, connection.token))
    }

    /// The caller has read a request that the connection's socket had.
    pub fn answer_for_leader(&self, connection: &Connection) {
        if connection.slot().is_some_and(|slot| self.mail.uncall(slot)) {
            self.wake_leader();
        }
    }

    /// Has the leader look at all that workers have left.
    fn wake_leader(&self) {
        // Cannot fail: the counter is far from its limit.
        let _ = self.look.write(1);
    }

    /// Ends a connection that the caller owns.
    pub fn close(&self, connection: &Connection) {
        if connection.is_registered() {
            // The descriptor may live on in an application's handle, so epoll has to be told.
            let _ = self.epoll.delete(connection);
        }
        // What ends an exchange may wait in it still.
        let _ = connection.writer().send_gathered(&connection.socket, connection.slot());
        connection.socket.close();
        if connection.slot().is_some() {
            // Whoever sleeps may have been called on it, and has to look at what came after that.
            self.wake_leader();
        }
        if self.registry.remove(connection.token) && self.is_draining() {
            self.end();
        }
    }

    fn drain(&self) {
        self.reports.set_progress(self.process, Progress::Draining);
        self.draining.store(true, Ordering::SeqCst);
        self.registry.all().iter().for_each(|connection| connection.go_away());
        if self.registry.is_empty() {
            self.end();
        }
    }

    fn stop(&self) {
        self.draining.store(true, Ordering::SeqCst);
        self.end();
        for connection in self.registry.all() {
            if !connection.writer_is_open() {
                connection.socket.close();
            }
        }
    }

    fn end(&self) {
        self.over.store(true, Ordering::SeqCst);
        // Cannot fail: the counter is far from its limit. It stays set and wakes every thread.
        let _ = self.ended.write(1);
        self.turn.end();
        self.outbox.end();
    }

    fn wait_for_threads(&self, timeout: Option<Duration>) -> bool {
        let alive = lock(&self.alive);
        let Some(timeout) = timeout else {
            let done = self.left.wait_while(alive, |alive| *alive > 0);
            return *done.unwrap_or_else(PoisonError::into_inner) == 0;
        };
        let waited = self.left.wait_timeout_while(alive, timeout, |alive| *alive > 0);
        *waited.unwrap_or_else(PoisonError::into_inner).0 == 0
    }
}

/// Counts a thread as alive until it is dropped.
struct Ticket(Arc<Shared>);

impl Ticket {
    fn new(shared: &Arc<Shared>) -> Self {
        *lock(&shared.alive) += 1;
        Ticket(Arc::clone(shared))
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        *lock(&self.0.alive) -= 1;
        self.0.left.notify_all();
        self.0.activity.wake();
    }
}
