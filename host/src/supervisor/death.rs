//! What the error log says about a process that has ended.

use nix::sys::wait::WaitStatus;

use crate::scoreboard::Running;

/// Most requests that are named.
const NAMED: usize = 3;

/// "terminated by signal 9 (SIGKILL)" or "terminated normally, exit code 3": mod_wsgi's words, which
/// log scrapers know.
pub fn manner(status: &WaitStatus) -> String {
    match status {
        WaitStatus::Exited(_, code) => format!("terminated normally, exit code {code}"),
        WaitStatus::Signaled(_, signal, core) => {
            let core = if *core { ", core dumped" } else { "" };
            format!("terminated by signal {} ({signal}{core})", *signal as i32)
        }
        other => format!("ended: {other:?}"),
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
    use nix::sys::signal::Signal;
    use nix::unistd::Pid;

    fn request(line: &str) -> Running {
        let script = "/srv/a.wsgi".into();
        Running { thread: 0, request: 1, started_us: 1_000_000, line: line.into(), script }
    }

    #[test]
    fn the_manner_of_death_is_named() {
        let pid = Pid::from_raw(7);
        let killed = manner(&WaitStatus::Signaled(pid, Signal::SIGKILL, false));
        assert_eq!(killed, "terminated by signal 9 (SIGKILL)");
        assert_eq!(manner(&WaitStatus::Exited(pid, 3)), "terminated normally, exit code 3");
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
