//! Requests through daemon processes, with Python in them.

mod server_client;
mod supervisor_harness;

use std::fs;
use std::path::{Path, PathBuf};

use ngx_wsgi_host::wire::{Kind, Outcome, NO_BODY};
use nix::sys::signal::{kill, Signal};

use server_client::{request, Answer, Client};
use supervisor_harness::{group, is_alive, temporary, Supervised};

const SCRIPT: &str = r#"
import os, subprocess, sys, time

def application(environ, start_response):
    path = environ['PATH_INFO']
    if path == '/sleep':
        time.sleep(600)
    if path == '/moment':
        time.sleep(0.5)
    if path == '/stderr':
        os.write(2, b'raw output\n')
    if path == '/child':
        child = subprocess.Popen(['sleep', '600'])
        child.terminate()
        body = str(child.wait()).encode()
    else:
        body = str(os.getpid()).encode()
    start_response('200 OK', [('Content-Length', str(len(body)))])
    return [body]
"#;

fn start(shutdown_timeout: u32) -> (Supervised, PathBuf) {
    let dir = temporary();
    let script = dir.join("app.wsgi");
    fs::write(&script, SCRIPT).unwrap();
    let mut group = group("app");
    group.shutdown_timeout = shutdown_timeout;
    let supervised = Supervised::start_in(dir, vec![group]);
    supervised.wait_ready(0);
    (supervised, script)
}

fn ask(supervised: &Supervised, script: &Path, path: &str) -> Client {
    let mut client = Client::connect(&supervised.sockets[0][0]);
    client.write(&request(script, NO_BODY, path));
    client
}

fn text(answer: &Answer) -> String {
    String::from_utf8_lossy(&answer.body).into_owned()
}

#[test]
fn a_request_is_served_by_the_daemon_process() {
    let (supervised, script) = start(5);
    let mut client = ask(&supervised, &script, "/");
    let answer = client.answer();
    assert_eq!(
        (text(&answer), answer.outcome),
        (supervised.daemon(0).to_string(), Outcome::Complete)
    );
}

#[test]
fn raw_output_of_a_process_is_logged() {
    let (supervised, script) = start(5);
    ask(&supervised, &script, "/stderr").answer();
    let pid = supervised.daemon(0);
    supervised.wait_log(&format!("[error] {pid}#{pid}: daemon process \"app\" stderr: raw output"));
}

#[test]
fn programs_that_an_application_starts_can_be_terminated() {
    let (supervised, script) = start(5);
    assert_eq!(text(&ask(&supervised, &script, "/child").answer()), "-15");
}

#[test]
fn a_crash_names_the_request_that_was_running() {
    let (supervised, script) = start(5);
    let mut client = ask(&supervised, &script, "/sleep");
    supervised.until("the request runs", || supervised.reports[0].running(0).len() == 1);
    kill(supervised.daemon(0), Signal::SIGSEGV).unwrap();
    supervised.wait_log("terminated by signal 11 (SIGSEGV");
    assert!(supervised.log().contains(" while running \"GET /sleep\" ("), "{}", supervised.log());
    // The line about the script's loading came before.
    assert_eq!(client.frame().kind, Kind::Log);
    assert!(client.is_closed());
}

#[test]
fn a_running_request_is_finished_before_the_end() {
    let (mut supervised, script) = start(20);
    let mut client = ask(&supervised, &script, "/moment");
    supervised.until("the request runs", || supervised.reports[0].running(0).len() == 1);
    kill(supervised.pid(), Signal::SIGTERM).unwrap();
    assert_eq!(client.answer().outcome, Outcome::Complete);
    drop(client);
    assert!(supervised.wait_exit().success());
    assert!(!supervised.log().contains("aborting"), "{}", supervised.log());
}

#[test]
fn the_shutdown_timeout_ends_a_request_that_hangs() {
    let (mut supervised, script) = start(1);
    let _client = ask(&supervised, &script, "/sleep");
    supervised.until("the request runs", || supervised.reports[0].running(0).len() == 1);
    let daemon = supervised.daemon(0);
    drop(supervised.lifeline.take());
    assert!(supervised.wait_exit().success());
    assert!(!is_alive(daemon));
    let log = supervised.log();
    assert!(log.contains("Shutdown timeout expired; aborting daemon process 'app'"), "{log}");
}
