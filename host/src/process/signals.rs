//! Signals of a daemon process (mod_wsgi semantics b.5).
//!
//! They are noted, and wake whoever waits for the eventfd. They are handled and not blocked: a
//! blocked signal would stay blocked in every program that the application starts.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicI32, AtomicU64, AtomicUsize, Ordering};

use nix::errno::Errno;
use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::signal::{sigaction, SaFlags, SigAction, SigHandler, SigSet, Signal};

static WAKE: AtomicI32 = AtomicI32::new(-1);
static OWNER: AtomicI32 = AtomicI32::new(0);
/// A bit for each signal that has arrived.
static ARRIVED: AtomicU64 = AtomicU64::new(0);
/// Python's own handler, an address; 0 before it is known.
static PYTHON: AtomicUsize = AtomicUsize::new(0);

/// The signals that end the process.
const END: [Signal; 2] = [Signal::SIGTERM, Signal::SIGINT];

/// The signals that are noted.
const NOTED: [Signal; 6] = [
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGUSR1,
    Signal::SIGXCPU,
    Signal::SIGHUP,
    Signal::SIGUSR2,
];

/// The eventfd that becomes readable when a signal has arrived, or something else is to be seen to.
pub struct Signals(EventFd);

impl Signals {
    /// Sets all signals up: SIGPIPE ignored, those above noted, the rest default.
    pub fn install() -> Result<Self, Errno> {
        let wake = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        OWNER.store(std::process::id() as i32, Ordering::Relaxed);
        WAKE.store(wake.as_fd().as_raw_fd(), Ordering::Release);
        for signal in Signal::iterator().filter(|s| ![Signal::SIGKILL, Signal::SIGSTOP].contains(s))
        {
            let handler = match signal {
                Signal::SIGPIPE => SigHandler::SigIgn,
                noted if NOTED.contains(&noted) => SigHandler::Handler(on_signal),
                _ => SigHandler::SigDfl,
            };
            let action = SigAction::new(handler, SaFlags::SA_RESTART, SigSet::empty());
            // SAFETY: the handler only does what is allowed in one: atomics, getpid, write,
            // signal and raise.
            unsafe { sigaction(signal, &action) }?;
        }
        SigSet::empty().thread_set_mask()?;
        Ok(Signals(wake))
    }

    /// The eventfd, for what else is to wake the waiting thread.
    pub fn waker(&self) -> io::Result<OwnedFd> {
        self.0.as_fd().try_clone_to_owned()
    }

    /// The signals that have arrived since the last call.
    pub fn take(&self) -> Vec<Signal> {
        // Nothing to read is fine.
        let _ = self.0.read();
        let arrived = ARRIVED.swap(0, Ordering::AcqRel);
        NOTED.into_iter().filter(|signal| arrived & bit(*signal as i32) != 0).collect()
    }

    /// Once Python has handlers for the signals that end the process, hears of them before Python does.
    /// The others are the script's.
    pub fn precede_python() -> Result<(), Errno> {
        for signal in NOTED.into_iter().filter(|signal| !END.contains(signal)) {
            let action = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
            // SAFETY: no handler is involved.
            unsafe { sigaction(signal, &action) }?;
        }
        for signal in END {
            // As Python itself does: system calls of the script are interrupted.
            let first = SigHandler::Handler(on_signal_before_python);
            let action = SigAction::new(first, SaFlags::SA_ONSTACK, SigSet::empty());
            // SAFETY: the handler does what on_signal does, and calls Python's, which is one.
            let before = unsafe { sigaction(signal, &action) }?;
            if let SigHandler::Handler(python) = before.handler() {
                PYTHON.store(python as usize, Ordering::Release);
            }
        }
        Ok(())
    }

    /// Ignores the signals that end the process: it is ending.
    pub fn ignore() {
        let action = SigAction::new(SigHandler::SigIgn, SaFlags::empty(), SigSet::empty());
        for signal in END {
            // SAFETY: no handler is involved. Cannot fail for these signals.
            let _ = unsafe { sigaction(signal, &action) };
        }
    }

    /// Whether one of the signals has come.
    pub fn have_come(&self) -> bool {
        let mut wake = [PollFd::new(self.as_fd(), PollFlags::POLLIN)];
        poll(&mut wake, PollTimeout::ZERO).is_ok() && wake[0].any() == Some(true)
    }

    /// Wakes whoever waits for the signals.
    pub fn wake(&self) {
        // A full counter has woken everybody already.
        let _ = self.0.write(1);
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Signals {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

const fn bit(signal: i32) -> u64 {
    1 << signal
}

extern "C" fn on_signal(signal: libc::c_int) {
    let errno = Errno::last();
    // SAFETY: getpid, signal, raise and write are async-signal-safe; the buffer outlives the call.
    unsafe {
        if libc::getpid() == OWNER.load(Ordering::Relaxed) {
            ARRIVED.fetch_or(bit(signal), Ordering::AcqRel);
            let one = 1u64.to_ne_bytes();
            libc::write(WAKE.load(Ordering::Acquire), one.as_ptr().cast(), one.len());
        } else {
            // The application forked, and its child has inherited the handler: the signal is meant
            // for the child and must not reach this process's eventfd.
            libc::signal(signal, libc::SIG_DFL);
            libc::raise(signal);
        }
    }
    errno.set();
}

/// Python's handlers are meant to run in children that the script forks, too.
extern "C" fn on_signal_before_python(signal: libc::c_int) {
    let errno = Errno::last();
    // SAFETY: as in on_signal. PYTHON is Python's own handler, which the kernel would have called.
    unsafe {
        if libc::getpid() == OWNER.load(Ordering::Relaxed) {
            let one = 1u64.to_ne_bytes();
            libc::write(WAKE.load(Ordering::Acquire), one.as_ptr().cast(), one.len());
        }
        let python = PYTHON.load(Ordering::Acquire);
        if python != 0 {
            let python: extern "C" fn(libc::c_int) = std::mem::transmute(python);
            python(signal);
        }
    }
    errno.set();
}
