//! How a process has ended, and what the error log says about it.

use nix::sys::signal::Signal;
use nix::unistd::Pid;

use crate::scoreboard::Running;

/// Most requests that are named.
const NAMED: usize = 3;

/// How a process has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// With this exit code.
    Exited(i32),
    /// Of this signal, which may be one of the real-time signals.
    Signaled { signal: i32, core: bool },
}

impl Death {
    /// Takes a child that has ended from the system; `None`: it runs, or is no child. (nix fails for
    /// one that died of a signal without a name, after the system has let go of it.)
    pub fn reap(pid: Pid) -> Option<Self> {
        let mut status = 0;
        // SAFETY: waits for nothing, and writes to the integer only.
        let reaped = unsafe { libc::waitpid(pid.as_raw(), &mut status, libc::WNOHANG) };
        if reaped != pid.as_raw() {
            return None;
        }
        if libc::WIFSIGNALED(status) {
            let (signal, core) = (libc::WTERMSIG(status), libc::WCOREDUMP(status));
            return Some(Death::Signaled { signal, core });
        }
        libc::WIFEXITED(status).then(|| Death::Exited(libc::WEXITSTATUS(status)))
    }

    /// Whether the process has ended well.
    pub fn is_success(self) -> bool {
        self == Death::Exited(0)
    }

    /// "terminated by signal 9 (SIGKILL)" or "terminated normally, exit code 3": mod_wsgi's words,
    /// which log scrapers know.
    pub fn manner(self) -> String {
        match self {
            Death::Exited(code) => format!("terminated normally, exit code {code}"),
            Death::Signaled { signal, core } => {
                let core = if core { ", core dumped" } else { "" };
                format!("terminated by signal {signal} ({}{core})", signal_name(signal))
            }
        }
    }
}

/// What a shell calls a signal.
fn signal_name(number: i32) -> String {
    match Signal::try_from(number) {
        Ok(signal) => signal.as_str().to_owned(),
        Err(_) => match number - libc::SIGRTMIN() {
            0 => "SIGRTMIN".to_owned(),
            above @ 1.. => format!("SIGRTMIN+{above}"),
            // What libc keeps for itself.
            _ => "a real-time signal".to_owned(),
        },
    }
}

/// " while running ..." for the requests that end with the process; nothing when there are none.
pub fn requests(running: &[Running], now_us: u64) -> String {
    let named: Vec<String> = running
        .iter()
        .take(NAMED)
        .map(|request| {
            let seconds = request.seconds(now_us);
            format!("\"{}\" ({seconds:.1} s)", request.line)
        })
        .collect();
    match running.len().saturating_sub(NAMED) {
        0 if named.is_empty() => String::new(),
        0 => format!(" while running {}", named.join(", ")),
        more => format!(" while running {} and {more} more", named.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(line: &str) -> Running {
        let script = "/srv/a.wsgi".into();
        Running { thread: 0, request: 1, started_us: 1_000_000, line: line.into(), script }
    }

    #[test]
    fn the_manner_of_death_is_named() {
        let killed = |signal, core| Death::Signaled { signal, core }.manner();
        assert_eq!(killed(9, false), "terminated by signal 9 (SIGKILL)");
        assert_eq!(killed(11, true), "terminated by signal 11 (SIGSEGV, core dumped)");
        assert_eq!(killed(34, false), "terminated by signal 34 (SIGRTMIN)");
        assert_eq!(killed(36, false), "terminated by signal 36 (SIGRTMIN+2)");
        assert_eq!(killed(32, false), "terminated by signal 32 (a real-time signal)");
        assert_eq!(Death::Exited(3).manner(), "terminated normally, exit code 3");
    }

    #[test]
    fn the_first_requests_are_named() {
        assert_eq!(requests(&[], 0), "");
        let one = [request("GET /a")];
        assert_eq!(requests(&one, 1_300_000), " while running \"GET /a\" (0.3 s)");
        assert_eq!(requests(&one, 0), " while running \"GET /a\" (0.0 s)");
        let five = vec![request("GET /a"); 5];
        assert!(requests(&five, 1_000_000).ends_with("\"GET /a\" (0.0 s) and 2 more"));
    }
}
