//! What a process that an embedded application forks must not hold on to.

use std::os::fd::RawFd;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::Once;

const NONE: RawFd = -1;

/// Two descriptors for each generation; more than a few generations never run side by side.
static DESCRIPTORS: [AtomicI32; 32] = [const { AtomicI32::new(NONE) }; 32];

/// Has `fd` closed in every child that this process forks without executing anything: a lifeline
/// that such a child kept would keep the generation's daemons alive.
pub fn withhold(fd: RawFd) {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        // SAFETY: the handler makes only system calls and stays in memory (-z nodelete).
        unsafe { libc::pthread_atfork(None, None, Some(close_withheld)) };
    });
    let free = |cell: &&AtomicI32| {
        cell.compare_exchange(NONE, fd, Ordering::SeqCst, Ordering::Relaxed).is_ok()
    };
    // With no cell left the child keeps the descriptor: daemons may end later than they could.
    let _ = DESCRIPTORS.iter().find(free);
}

/// Forgets a descriptor that is about to be closed.
pub fn release(fd: RawFd) {
    for cell in &DESCRIPTORS {
        let _ = cell.compare_exchange(fd, NONE, Ordering::SeqCst, Ordering::Relaxed);
    }
}

unsafe extern "C" fn close_withheld() {
    // nginx's own forks (a new worker) are from the master, which withholds nothing.
    for cell in &DESCRIPTORS {
        let fd = cell.swap(NONE, Ordering::SeqCst);
        if fd != NONE {
            // SAFETY: closes the child's copy of a descriptor that only this module uses.
            unsafe { libc::close(fd) };
        }
    }
}
