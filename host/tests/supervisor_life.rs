//! The life of daemon processes under the built executable.

mod supervisor_harness;

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use ngx_wsgi_host::config::Credentials;
use ngx_wsgi_host::scoreboard::{ProcessState, Restart, Taken};
use nix::sys::signal::{kill, Signal};

use supervisor_harness::{group, is_alive, status, title, Supervised};

#[test]
fn a_process_becomes_ready_and_wakes_who_waits() {
    let mut groups = vec![group("first"), group("second")];
    groups[1].processes = 3;
    let supervised = Supervised::start(groups);
    supervised.leases.wait(0, 0);
    supervised.wait_ready(0);
    let second = || (0..3).all(|p| supervised.leases.state(1, p) == ProcessState::Ready);
    supervised.until("all of the second group are ready", second);
    // The worker may have begun to wait after the process was ready, as nginx's looks again.
    if supervised.leases.next_waiting(0).is_none() {
        supervised.until("the worker is woken", || supervised.wakeup.read().is_ok());
    }
}

#[test]
fn a_killed_process_is_reported_and_replaced() {
    let supervised = Supervised::start(vec![group("app")]);
    supervised.wait_ready(0);
    let pid = supervised.daemon(0);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let (now_us, line, script) = (now.as_micros() as u64, &b"GET /foo"[..], &b"/srv/a.wsgi"[..]);
    let (client, host) = (&b"::1"[..], &b"localhost"[..]);
    supervised.reports[0].take_up(0, 1, &Taken { request: 7, now_us, line, script, client, host });
    kill(pid, Signal::SIGKILL).unwrap();
    supervised.wait_log(&format!(
        "Process 'app' (pid {pid}) has died, terminated by signal 9 (SIGKILL) \
         while running \"GET /foo\" ("
    ));
    supervised.until("a successor is ready", || {
        supervised.leases.incarnation(0, 0) == 2 && supervised.is_ready(0)
    });
    assert_ne!(supervised.daemon(0), pid);
    assert_eq!(supervised.leases.restarts(0, Restart::Crashed), 1);
    let (introduced, started_us) = supervised.leases.introduced(0, 0).unwrap();
    assert_eq!(introduced, supervised.daemon(0).as_raw() as u32);
    assert!(started_us >= now_us);
    assert!(supervised.reports[0].running(0).is_empty());
}

#[test]
fn log_lines_look_like_nginxs() {
    let supervised = Supervised::start(vec![group("app")]);
    supervised.wait_log("daemon process of group \"app\" is ready");
    supervised.wait_ready(0);
    let log = supervised.log();
    let line = log.lines().find(|line| line.contains("is ready")).unwrap();
    let pid = supervised.daemon(0);
    let (time, rest) = line.split_at("2026/11/21 09:13:54".len());
    assert_eq!(rest, format!(" [info] {pid}#{pid}: daemon process of group \"app\" is ready"));
    assert_eq!((&time[4..5], &time[10..11], &time[13..14]), ("/", " ", ":"));
}

#[test]
fn a_process_that_cannot_start_is_tried_less_and_less_often() {
    let mut broken = group("broken");
    broken.home = Some("/nonexistent/home".into());
    let supervised = Supervised::start(vec![broken, group("sound")]);
    let began = Instant::now();
    let failed = "daemon process group \"broken\": cannot change to directory /nonexistent/home: \
                  No such file or directory";
    supervised.until("five attempts", || supervised.log().matches(failed).count() >= 5);
    assert!(began.elapsed() >= Duration::from_millis(100 + 200 + 400 + 800));
    assert!(supervised.log().contains("[alert]"));
    assert!(supervised.log().contains("has died, terminated normally, exit code 1"));
    supervised.wait_ready(1);
}

#[test]
fn the_end_of_the_lifeline_ends_everything() {
    let mut groups = vec![group("one"), group("two")];
    groups[1].processes = 2;
    let mut supervised = Supervised::start(groups);
    supervised.wait_ready(0);
    supervised.wait_ready(1);
    let pids = [supervised.daemon(0), supervised.daemon(1)];
    drop(supervised.lifeline.take());
    assert!(supervised.wait_exit().success(), "{}", supervised.log());
    assert!(!pids.iter().any(|pid| is_alive(*pid)));
    assert!(!supervised.sockets.iter().flatten().any(|path| path.exists()));
    assert_eq!(supervised.leases.state(0, 0), ProcessState::Gone);
    assert!(!supervised.log().contains("[error]"), "{}", supervised.log());
}

#[test]
fn only_terminating_signals_end_the_supervisor() {
    let mut supervised = Supervised::start(vec![group("app")]);
    supervised.wait_ready(0);
    let daemon = supervised.daemon(0);
    for signal in [Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGUSR2, Signal::SIGPIPE] {
        kill(supervised.pid(), signal).unwrap();
    }
    kill(supervised.pid(), Signal::SIGTERM).unwrap();
    assert!(supervised.wait_exit().success());
    supervised.wait_log("stopping daemon processes: SIGTERM received");
    assert!(!is_alive(daemon));
}

#[test]
fn daemon_processes_do_not_survive_their_supervisor() {
    let mut supervised = Supervised::start(vec![group("app")]);
    supervised.wait_ready(0);
    let daemon = supervised.daemon(0);
    kill(supervised.pid(), Signal::SIGKILL).unwrap();
    supervised.wait_exit();
    supervised.until("the daemon process has gone", || !is_alive(daemon));
}

#[test]
fn a_terminated_process_leaves_in_order_and_is_replaced() {
    let supervised = Supervised::start(vec![group("app")]);
    supervised.wait_ready(0);
    let pid = supervised.daemon(0);
    kill(pid, Signal::SIGTERM).unwrap();
    supervised.wait_log(&format!("Process 'app' (pid {pid}) terminated normally, exit code 0"));
    supervised.until("a successor is ready", || {
        supervised.leases.incarnation(0, 0) == 2 && supervised.is_ready(0)
    });
    assert!(!supervised.log().contains("[error]"), "{}", supervised.log());
}

#[test]
fn a_rotated_log_is_followed() {
    let supervised = Supervised::start(vec![group("app")]);
    supervised.wait_ready(0);
    supervised.wait_log("is ready");
    let (log, old) = (supervised.dir.join("error.log"), supervised.dir.join("error.log.1"));
    fs::rename(&log, &old).unwrap();
    let first = supervised.daemon(0);
    kill(first, Signal::SIGKILL).unwrap();
    // Until nginx has made the new file, the renamed one is the log.
    supervised.until("the old file tells", || {
        fs::read_to_string(&old).unwrap().contains(&format!("(pid {first}) has died"))
    });
    assert!(!log.exists());
    fs::write(&log, "").unwrap();
    supervised
        .until("a successor is ready", || supervised.is_ready(0) && supervised.daemon(0) != first);
    kill(supervised.daemon(0), Signal::SIGKILL).unwrap();
    supervised.wait_log("terminated by signal 9");
}

#[test]
fn a_process_is_set_up_as_configured() {
    let dir = supervisor_harness::temporary();
    let mut configured = group("app");
    configured.umask = Some(0o027);
    configured.home = Some(dir.clone());
    configured.display_name = Some("(wsgi:app)".into());
    let supervised = Supervised::start_in(dir.clone(), vec![configured, group("other")]);
    supervised.wait_ready(0);
    supervised.wait_ready(1);
    let pid = supervised.daemon(0);
    assert_eq!(status(pid, "Umask"), "0027");
    assert_eq!(status(pid, "NoNewPrivs"), "1");
    assert_eq!(status(pid, "Name"), "(wsgi:app)");
    assert_eq!(fs::read_link(format!("/proc/{pid}/cwd")).unwrap(), dir);
    assert_eq!(title(pid), "(wsgi:app)");
    assert_eq!(title(supervised.daemon(1)), "ngx-wsgi-host: daemon process other");
    assert_eq!(title(supervised.pid()), "ngx-wsgi-host: supervisor");
}

#[test]
fn a_process_holds_nothing_of_others() {
    let supervised = Supervised::start(vec![group("app"), group("other")]);
    supervised.wait_ready(0);
    supervised.wait_ready(1);
    let pid = supervised.daemon(1);
    let open: Vec<String> = fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .filter_map(|entry| fs::read_link(entry.unwrap().path()).ok())
        .map(|link| link.to_string_lossy().into_owned())
        .collect();
    let count = |what: &str| open.iter().filter(|link| link.contains(what)).count();
    assert_eq!((count("leases"), count("error.log"), count("signalfd")), (0, 0, 0), "{open:?}");
    // Its own report, and its own listener (once more as the host's) and control socket.
    assert_eq!((count("report"), count("socket:")), (1, 3), "{open:?}");
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    assert!(!maps.contains("ngx-wsgi-leases"), "{maps}");
    assert_eq!(maps.matches("ngx-wsgi-report").count(), 1, "{maps}");
}

#[test]
fn credentials_are_taken_on_for_good() {
    if !nix::unistd::getuid().is_root() {
        return;
    }
    let mut nobody = group("nobody");
    nobody.credentials = Some(Credentials { uid: 65534, gid: 65534, groups: vec![65534, 33] });
    nobody.user_home = Some("/nonexistent".into());
    let mut root = group("root");
    root.credentials = Some(Credentials { uid: 0, gid: 0, groups: Vec::new() });
    let supervised = Supervised::start(vec![nobody, root]);
    supervised.wait_ready(0);
    let pid = supervised.daemon(0);
    assert_eq!(status(pid, "Umask"), "0022");
    assert_eq!(status(pid, "Uid"), "65534 65534 65534 65534");
    assert_eq!(status(pid, "Gid"), "65534 65534 65534 65534");
    assert_eq!(status(pid, "Groups"), "33 65534");
    assert_eq!(status(pid, "CapEff"), "0000000000000000");
    assert_eq!(fs::read_link(format!("/proc/{pid}/cwd")).unwrap().to_str(), Some("/"));
    supervised.wait_log("group \"root\": cannot set the user: applications do not run as root");
}

#[test]
fn the_command_line_is_explained() {
    let run = |argument: &str| {
        Command::new(env!("CARGO_BIN_EXE_ngx-wsgi-host")).arg(argument).output().unwrap()
    };
    let version = run("--version");
    let text = String::from_utf8(version.stdout).unwrap();
    assert!(version.status.success());
    assert!(text.starts_with("ngx-wsgi-host 0.") && text.contains(" (Python 3."), "{text}");
    let wrong = run("nonsense");
    assert_eq!((wrong.status.code(), wrong.stdout.len()), (Some(2), 0));
    assert!(String::from_utf8(wrong.stderr).unwrap().starts_with("usage: "));
    assert_eq!(run("999").status.code(), Some(1));
}
