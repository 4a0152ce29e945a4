//! How Python starts and ends.

mod python_harness;

use std::fs;
use std::path::PathBuf;
use std::thread;

use ngx_wsgi_host::config::{PythonConfig, RuntimeConfig};
use ngx_wsgi_host::log::{self, Level};
use ngx_wsgi_host::python::Runtime;
use python_harness::{directory, process_log, script, Visit};

const SCRIPT: &str = r#"
import atexit, mod_wsgi, sys, threading, time

@mod_wsgi.subscribe_shutdown
def stopping(name, **payload):
    print('<%s>' % mod_wsgi.application_group, name, payload)

@mod_wsgi.subscribe_shutdown
def failing(name, **payload):
    1 / 0

@atexit.register
def at_exit():
    print('<%s>' % mod_wsgi.application_group, 'at exit')

def work():
    time.sleep(0.2)
    print('<%s>' % mod_wsgi.application_group, 'thread done')

def application(environ, start_response):
    # A thread of a thread that threading didn't make is a daemon unless it says so.
    threading.Thread(target=work, daemon=False).start()
    threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
    start_response('200 OK', [])
    return [b'ok']
"#;

fn home(path: PathBuf) -> String {
    let config = RuntimeConfig {
        python: PythonConfig { home: Some(path), ..PythonConfig::default() },
        ..RuntimeConfig::default()
    };
    Runtime::start(config).err().expect("Python starts").to_string()
}

/// One test, because a process starts Python once.
#[test]
fn python_starts_and_ends() {
    log::install(Box::new(process_log()), Level::Debug);
    a_wrong_home_is_one_clear_line();
    let runtime = Runtime::start(python_harness::config()).unwrap();
    let path = script(SCRIPT);
    let served = runtime.clone();
    thread::spawn(move || {
        let mut thread = served.thread(1);
        for group in ["", "group"] {
            Visit::to(&path).group(group).make_on(&mut thread).expect("ok");
        }
    })
    .join()
    .unwrap();
    runtime.publish_stopping("maximum_requests");
    runtime.stop("shutdown_signal");
    for group in ["", "group"] {
        for line in
            ["process_stopping {'shutdown_reason': 'maximum_requests'}", "at exit", "thread done"]
        {
            let text = format!("<{group}> {line}");
            assert!(process_log().has(Level::Error, &text), "{text}:\n{}", process_log().text());
        }
    }
    let error = "ZeroDivisionError exception raised by event callback for 'process_stopping'.";
    assert!(process_log().has(Level::Error, error));
    assert!(process_log().has(Level::Error, "in failing"));
    let log = process_log().text();
    let order = |text: &str| log.find(text).unwrap_or_else(|| panic!("{text}:\n{log}"));
    let ended = ["<group> thread done", "<group> at exit", "<> thread done", "<> at exit"];
    assert!(order("process_stopping") < order(ended[0]) && order(ended[0]) < order(ended[1]));
    assert!(order(ended[1]) < order(ended[3]) && order(ended[2]) < order(ended[3]), "{log}");
    assert_eq!(log.matches("process_stopping {").count(), 2);
    runtime.stop("shutdown_signal");
    assert_eq!(process_log().text().matches("at exit").count(), 2);
    drop(runtime);
}

fn a_wrong_home_is_one_clear_line() {
    let error = home(PathBuf::from("/does/not/exist"));
    assert!(error.contains("/does/not/exist"), "{error}");
    let file = directory().join("file");
    fs::write(&file, "").unwrap();
    assert!(home(file).contains("is not a directory"));
    let empty = directory().join("empty");
    fs::create_dir_all(&empty).unwrap();
    assert!(home(empty).contains("python3"));
    let other = directory().join("other");
    fs::create_dir_all(&other).unwrap();
    fs::write(other.join("pyvenv.cfg"), "home = /usr/bin\nversion = 2.7.1\n").unwrap();
    assert!(home(other).contains("2.7.1"));
}
