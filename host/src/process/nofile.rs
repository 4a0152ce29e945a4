//! How many descriptors a process may have.

use nix::sys::resource::{getrlimit, setrlimit, Resource};

/// The limit that nginx was started with.
#[derive(Clone, Copy, Debug)]
pub struct Descriptors {
    soft: u64,
    hard: u64,
}

impl Descriptors {
    /// Lets the supervisor have as many as it may: it keeps some for each of its processes.
    pub fn raise() -> Option<Self> {
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard).ok()?;
        Some(Descriptors { soft, hard })
    }

    /// Gives a daemon process back what nginx has: programs that use select() need few.
    pub fn restore(self) {
        // Cannot fail: lowers a limit.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, self.soft, self.hard);
    }
}
