//! Standard error of a worker that runs applications.
//!
//! What C code and child processes write there would lie between the records of nginx's log. A pipe
//! takes it to the event loop, which makes records of it. What a process writes just before it dies
//! of a signal, such as the traceback of Python's `faulthandler`, still has to get into the log.

use std::ffi::OsStr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use nginx_sys::{ngx_cycle, ngx_cycle_t, ngx_open_file_t};
use nix::errno::Errno;
use nix::fcntl::{fcntl, FcntlArg, OFlag};
use nix::sys::signal::Signal;
use nix::sys::stat::{fstat, stat};
use nix::unistd::{dup2_stderr, pipe2};

use super::{bytes, fork::withhold};

/// Enough that the event loop's own thread does not wait for itself.
const CAPACITY: i32 = 1 << 20;

/// What a dying process needs: nginx's standard error, the pipe, and whose they are.
static ORIGINAL: AtomicI32 = AtomicI32::new(-1);
static PIPE: AtomicI32 = AtomicI32::new(-1);
static OWNER: AtomicI32 = AtomicI32::new(0);
/// Whether the event loop holds what it has read and not written yet.
static READING: AtomicBool = AtomicBool::new(false);

/// How often, and with what pauses, a dying thread looks whether the event loop has written all.
const LOOKS: u32 = 200;
const PAUSE: libc::timespec = libc::timespec { tv_sec: 0, tv_nsec: 2_000_000 };

/// The reading end of the pipe that standard error is until this is dropped.
pub struct Redirected {
    pub pipe: OwnedFd,
    original: OwnedFd,
}

impl Redirected {
    /// Puts a pipe in the place of standard error. `None` when that is itself a log of nginx's, or
    /// when there are no descriptors left: then it stays what it is.
    pub fn install() -> Option<Self> {
        // SAFETY: the running cycle of a worker, whose only other user is nginx on this thread.
        let cycle = unsafe { ngx_cycle.as_mut() }?;
        if cycle.log_use_stderr != 0 {
            return None;
        }
        let original = std::io::stderr();
        let original = nix::unistd::dup(&original).ok()?;
        let (pipe, end) = pipe2(OFlag::O_CLOEXEC).ok()?;
        fcntl(&original, FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC)).ok()?;
        fcntl(&pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).ok()?;
        // The default is enough where the limit of the user forbids more.
        let _ = fcntl(&pipe, FcntlArg::F_SETPIPE_SZ(CAPACITY));
        dup2_stderr(&end).ok()?;
        if is_a_log(cycle, &end) {
            let _ = dup2_stderr(&original);
            return None;
        }
        // When logs are reopened, nginx would make standard error its log again.
        cycle.log_use_stderr = 1;
        withhold(pipe.as_raw_fd());
        PIPE.store(pipe.as_raw_fd(), Ordering::Relaxed);
        OWNER.store(std::process::id() as i32, Ordering::Relaxed);
        ORIGINAL.store(original.as_raw_fd(), Ordering::Release);
        catch_fatal_signals();
        Some(Redirected { pipe, original })
    }
}

/// Whether the name of one of nginx's files, such as `/dev/stderr`, leads to `pipe` now: reopened, it
/// would have the event loop write to itself.
fn is_a_log(cycle: &ngx_cycle_t, pipe: &OwnedFd) -> bool {
    let Ok(pipe) = fstat(pipe) else { return true };
    let leads_there = |file: &ngx_open_file_t| {
        // SAFETY: names live as long as the cycle.
        let name = OsStr::from_bytes(unsafe { bytes(&file.name) });
        let found = stat(name);
        found.is_ok_and(|found| (found.st_dev, found.st_ino) == (pipe.st_dev, pipe.st_ino))
    };
    let mut part = std::ptr::addr_of!(cycle.open_files.part);
    // SAFETY: nginx's list of open files: parts with their elements.
    while let Some(here) = unsafe { part.as_ref() } {
        let (first, count) = (here.elts.cast::<ngx_open_file_t>(), here.nelts);
        // SAFETY: as above; count elements lie behind one another.
        if (0..count).any(|index| leads_there(unsafe { &*first.add(index) })) {
            return true;
        }
        part = here.next;
    }
    false
}

impl Redirected {
    /// Runs `read`, which reads from the pipe and writes records: a thread that dies meanwhile
    /// waits for them.
    pub fn reading<T>(read: impl FnOnce() -> T) -> T {
        READING.store(true, Ordering::SeqCst);
        let result = read();
        READING.store(false, Ordering::SeqCst);
        result
    }
}

impl Drop for Redirected {
    fn drop(&mut self) {
        ORIGINAL.store(-1, Ordering::Release);
        super::fork::release(self.pipe.as_raw_fd());
        // Fails only if the descriptor were closed, which nobody does.
        let _ = dup2_stderr(&self.original);
        // SAFETY: as in install.
        if let Some(cycle) = unsafe { ngx_cycle.as_mut() } {
            cycle.log_use_stderr = 0;
        }
    }
}

/// Has what is left in the pipe written before the process dies.
fn catch_fatal_signals() {
    let fatal = [Signal::SIGSEGV, Signal::SIGBUS, Signal::SIGFPE, Signal::SIGILL, Signal::SIGABRT];
    for signal in fatal {
        // SAFETY: the handler makes only calls that are allowed in one, and stays in memory
        // (-z nodelete). Who has a handler already keeps it.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            libc::sigaction(signal as i32, std::ptr::null(), &mut action);
            if action.sa_sigaction == libc::SIG_DFL {
                action.sa_sigaction = on_fatal_signal as *const () as usize;
                action.sa_flags = libc::SA_SIGINFO | libc::SA_RESETHAND | libc::SA_NODEFER;
                libc::sigaction(signal as i32, &action, std::ptr::null_mut());
            }
        }
    }
}

extern "C" fn on_fatal_signal(signal: i32, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    let errno = Errno::last();
    // SAFETY: getpid, read, write and raise are async-signal-safe, as is what wait_for_reader calls;
    // the buffer is on the stack and the kernel passes a valid siginfo.
    unsafe {
        let (pipe, original) = (PIPE.load(Ordering::Relaxed), ORIGINAL.load(Ordering::Acquire));
        if original >= 0 && libc::getpid() == OWNER.load(Ordering::Relaxed) {
            wait_for_reader(pipe);
            let mut buffer = [0u8; 4096];
            loop {
                let got = libc::read(pipe, buffer.as_mut_ptr().cast(), buffer.len());
                if got <= 0 || libc::write(original, buffer.as_ptr().cast(), got as usize) < 0 {
                    break;
                }
            }
        }
        // The disposition is the default again. An instruction that failed is repeated on return; a
        // signal that was sent has to be sent anew.
        if (*info).si_code <= 0 {
            libc::raise(signal);
        }
    }
    errno.set();
}

/// Lets the event loop, on its own thread, make records of what is in the pipe; within a limit, as it
/// may be what hangs.
///
/// # Safety
///
/// Called from a signal handler: makes system calls only.
unsafe fn wait_for_reader(pipe: i32) {
    // SAFETY: system calls with pointers to the stack and to a constant.
    unsafe {
        if libc::syscall(libc::SYS_gettid) == i64::from(libc::getpid()) {
            return;
        }
        for _ in 0..LOOKS {
            let mut left = 0;
            let asked = libc::ioctl(pipe, libc::FIONREAD, &mut left);
            if asked != 0 || (left == 0 && !READING.load(Ordering::SeqCst)) {
                return;
            }
            libc::nanosleep(&PAUSE, std::ptr::null_mut());
        }
    }
}
