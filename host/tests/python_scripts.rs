//! Loading, reloading and looking up; application groups and threads.

mod python_harness;

use std::path::Path;
use std::sync::{Arc, Barrier};
use std::time::{Duration, SystemTime};
use std::{fs, thread};

use ngx_wsgi_host::clock;
use ngx_wsgi_host::config::RuntimeConfig;
use ngx_wsgi_host::log::Level;
use ngx_wsgi_host::wire::Outcome;
use python_harness::{directory, process_log, run, runtime_with, script, Answer, Visit};

const SAY: &str = r#"
def application(environ, start_response):
    start_response('200 OK', [])
    return [say(environ).encode()]
"#;

fn saying(expression: &str) -> String {
    format!("{SAY}\ndef say(environ):\n    import sys\n    return str({expression})\n")
}

/// Writes a script anew, with a modification time that no earlier version had.
fn rewrite(path: &Path, source: &str, age: u64) {
    fs::write(path, source).unwrap();
    let time = SystemTime::now() - Duration::from_secs(age);
    fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
}

fn start() {
    runtime_with(|| {
        for name in ["first", "second", "third", "home"] {
            fs::create_dir_all(directory().join("path").join(name)).unwrap();
        }
        let path = directory().join("path");
        fs::write(path.join("first/more.pth"), path.join("third").to_str().unwrap()).unwrap();
        RuntimeConfig {
            python_path: ["first", "second", "missing"].map(|name| path.join(name)).to_vec(),
            home: Some(path.join("home")),
            ..python_harness::config()
        }
    });
}

fn visit(path: &Path) -> Visit {
    start();
    Visit::to(path)
}

fn ask(expression: &str) -> String {
    let answer = visit(&script(&saying(expression))).make();
    assert_eq!(answer.outcome, Outcome::Complete, "{}", answer.log_text());
    answer.text()
}

#[test]
fn modules_are_named_after_the_digest_of_the_path() {
    let path = script(&saying("[__name__, __file__, __mtime__, sys.modules[__name__].__file__]"));
    let answer = visit(&path).make();
    let time = fs::metadata(&path).unwrap().modified().unwrap();
    let time = time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_micros();
    let digest = {
        use md5::Digest;
        let digest = md5::Md5::digest(path.to_str().unwrap());
        digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    let path = path.display();
    answer.expect(&format!("['_mod_wsgi_{digest}', '{path}', {time}, '{path}']"));
}

#[test]
fn the_search_path_begins_with_home_and_added_directories_in_order() {
    let path = directory().join("path");
    let ours = path.display();
    let shown = ask(&format!("[entry for entry in sys.path if entry.startswith('{ours}')]"));
    let at = |name: &str| {
        let quoted = format!("'{}'", path.join(name).display());
        shown.find(&quoted).unwrap_or_else(|| panic!("no {name} in {shown}"))
    };
    assert!(at("home") < at("first"), "{shown}");
    assert!(at("first") < at("third"), "{shown}");
    assert!(at("third") < at("second"), "{shown}");
    assert_eq!(ask("sys.path[0]"), path.join("home").to_str().unwrap());
    // The script's own directory is none of them.
    assert!(!shown.contains(&format!("'{}'", directory().display())));
}

#[test]
fn an_application_group_is_an_interpreter() {
    let path = script(&format!(
        "{SAY}\nimport sys\nfrom _thread import get_ident\n\
         def say(environ):\n\
         \x20   sys.modules.setdefault('marker', environ['mod_wsgi.application_group'])\n\
         \x20   return sys.modules['marker']\n"
    ));
    visit(&path).group("one").make().expect("one");
    visit(&path).group("two").make().expect("two");
    visit(&path).make().expect("");
    visit(&path).group("one").make().expect("one");
}

#[test]
fn the_empty_group_is_the_main_interpreter() {
    let path = script(&format!(
        "{SAY}\ntry:\n\
         \x20   import _interpreters as interpreters\n\
         except ImportError:  # before Python 3.13\n\
         \x20   import _xxsubinterpreters as interpreters\n\
         def say(environ):\n\
         \x20   return str(interpreters.get_current() == interpreters.get_main())\n"
    ));
    visit(&path).make().expect("True");
    visit(&path).group("sub").make().expect("False");
}

#[test]
fn thread_locals_survive_between_requests_of_a_thread() {
    let path = script(&format!(
        "{SAY}\nimport threading\nlocal = threading.local()\n\
         def say(environ):\n\
         \x20   local.count = getattr(local, 'count', 0) + 1\n\
         \x20   return str(local.count)\n"
    ));
    start();
    let runtime = python_harness::runtime();
    thread::spawn(move || {
        let mut thread = runtime.thread(7);
        for count in ["1", "2", "3"] {
            for group in ["local", ""] {
                Visit::to(&path).group(group).make_on(&mut thread).expect(count);
            }
        }
        let mut other = runtime.thread(8);
        Visit::to(&path).group("local").make_on(&mut other).expect("1");
    })
    .join()
    .unwrap();
}

/// Extensions that use the simplified GIL API work in the main interpreter only, and have to,
/// whatever the thread has served before.
#[test]
fn the_simplified_gil_api_finds_the_main_interpreter() {
    let path = script(&saying(
        "(lambda c: [setattr(c.PyGILState_GetThisThreadState, 'restype', c_void_p), \
         setattr(c.PyThreadState_Get, 'restype', c_void_p), \
         c.PyGILState_GetThisThreadState() == c.PyThreadState_Get()][2])(pythonapi)",
    ));
    let source =
        format!("from ctypes import c_void_p, pythonapi\n{}", fs::read_to_string(&path).unwrap());
    fs::write(&path, source).unwrap();
    let plain = script(&saying("1"));
    start();
    let runtime = python_harness::runtime();
    thread::spawn(move || {
        let mut thread = runtime.thread(1);
        Visit::to(&plain).group("before").make_on(&mut thread).expect("1");
        Visit::to(&path).make_on(&mut thread).expect("True");
    })
    .join()
    .unwrap();
}

#[test]
fn arguments_and_modules_are_prepared() {
    assert_eq!(ask("sys.argv"), "['mod_wsgi']");
    assert_eq!(ask("__import__('mod_wsgi').version"), "(6, 0, 5)");
    assert_eq!(ask("__import__('mod_wsgi').process_group"), "workers");
    assert_eq!(ask("__import__('mod_wsgi').application_group"), "");
    assert_eq!(ask("__import__('mod_wsgi').threads_per_process"), "5");
    assert_eq!(ask("__import__('mod_wsgi').maximum_processes"), "2");
    assert_eq!(ask("__import__('apache').version"), "(1, 22, 1)");
    assert_eq!(ask("__import__('apache').description"), "nginx/1.22.1");
    assert_eq!(ask("__import__('mod_wsgi').RequestTimeout.__mro__[1].__name__"), "BaseException");
}

#[test]
fn a_changed_script_is_loaded_again() {
    let path = script(&saying("1"));
    visit(&path).reloading().make().expect("1");
    rewrite(&path, &saying("2"), 100);
    visit(&path).make().expect("1");
    let answer = visit(&path).reloading().make();
    answer.expect("2");
    assert!(answer.logged(Level::Info, "Reloading"), "{}", answer.log_text());
    visit(&path).reloading().make().expect("2");
}

/// nginx has looked at the script for the request: who gets that at once need not look again.
#[test]
fn what_nginx_has_seen_counts_for_a_moment() {
    let path = script(&saying("1"));
    let modified = || clock::file_us(fs::metadata(&path).unwrap().modified().unwrap());
    let first = modified();
    visit(&path).reloading().make().expect("1");
    rewrite(&path, &saying("2"), 100);
    visit(&path).seen(first, 0).reloading().make().expect("1");
    visit(&path).seen(modified(), 0).reloading().make().expect("2");
    rewrite(&path, &saying("3"), 50);
    visit(&path).seen(first, 10_000_000).reloading().make().expect("3");
}

#[test]
fn an_application_can_ask_to_be_loaded_again() {
    let source = format!(
        "import builtins\nbuiltins.loads = getattr(builtins, 'loads', 0) + 1\n\
         asked = []\n\
         def reload_required(path):\n\
         \x20   assert path == __file__, path\n\
         \x20   asked.append(1)\n\
         \x20   return builtins.loads == 1 and len(asked) == 2\n{}",
        saying("__import__('builtins').loads")
    );
    let path = script(&source);
    visit(&path).group("asks").reloading().make().expect("1");
    visit(&path).group("asks").reloading().make().expect("1");
    visit(&path).group("asks").reloading().make().expect("2");
}

#[test]
fn a_deleted_mtime_forces_a_reload() {
    let source = saying("globals().pop('__mtime__') and __import__('time').sleep(0) or id(say)");
    let path = script(&source);
    let first = visit(&path).group("mtime").reloading().make().text();
    let second = visit(&path).group("mtime").reloading().make().text();
    assert!(!first.is_empty() && first != second);
}

#[test]
fn an_exception_in_reload_required_means_no() {
    let path = script(&format!("def reload_required(path): 1 / 0\n{}", saying("id(say)")));
    let first = visit(&path).reloading().make().text();
    let answer = visit(&path).reloading().make();
    answer.expect(&first);
    assert!(answer.logged(Level::Error, "ZeroDivisionError"));
}

#[track_caller]
fn fails_again_and_again(path: &Path, text: &str) {
    for _ in 0..2 {
        let answer = visit(path).make();
        answer.expect_failure(text);
        assert!(answer.log[1..].iter().all(|line| !line.1.contains('\n')), "one record a line");
    }
}

#[test]
fn a_failed_load_leaves_no_module() {
    let path = script("def application(:\n");
    fails_again_and_again(&path, "SyntaxError");
    let path = script("import sys\nfirst = 1 / 0\n");
    fails_again_and_again(&path, "ZeroDivisionError");
    let answer = visit(&path).make();
    assert!(answer.logged(Level::Error, "Traceback (most recent call last):"));
    assert!(answer.logged(Level::Error, "first = 1 / 0"), "{}", answer.log_text());
    fs::write(&path, saying("'cured'")).unwrap();
    visit(&path).make().expect("cured");
}

#[test]
fn other_ways_to_fail_loading() {
    fails_again_and_again(&script("raise SystemExit(3)\n"), "SystemExit");
    fails_again_and_again(&directory().join("nowhere.wsgi"), "nowhere.wsgi");
    fails_again_and_again(&script("a = '\0'\n"), "null bytes");
    let undecodable = script("");
    fs::write(&undecodable, b"# coding: utf-8\nname = '\xff'\n").unwrap();
    fails_again_and_again(&undecodable, "SyntaxError");
}

#[test]
fn the_coding_line_counts() {
    let path = script("");
    let mut source = b"# coding: latin-1\nword = '\xe9'\n".to_vec();
    source.extend_from_slice(saying("len(word)").as_bytes());
    fs::write(&path, source).unwrap();
    visit(&path).make().expect("1");
}

#[test]
fn the_callable_is_looked_up_at_each_request() {
    let path = script(&format!("{}\nother = application\nnumber = 5\n", saying("'here'")));
    visit(&path).callable("other").make().expect("here");
    visit(&path).make().expect("here");
    let missing = visit(&path).callable("absent").make();
    missing.expect_failure("does not contain WSGI application 'absent'");
    visit(&path).callable("number").make().expect_failure("TypeError");
}

#[test]
fn a_script_is_loaded_once_by_many_threads() {
    let source = format!(
        "import builtins, time\nbuiltins.slow = getattr(builtins, 'slow', 0) + 1\n\
         time.sleep(0.3)\n{}",
        saying("__import__('builtins').slow")
    );
    let path = script(&source);
    start();
    let barrier = Arc::new(Barrier::new(4));
    let threads: Vec<_> = (0..4)
        .map(|id| {
            let (path, barrier) = (path.clone(), Arc::clone(&barrier));
            thread::spawn(move || -> Answer {
                let mut thread = python_harness::runtime().thread(id + 1);
                barrier.wait();
                // Some arrive when the module is half done.
                thread::sleep(Duration::from_millis(50 * u64::from(id)));
                Visit::to(&path).group("slow").make_on(&mut thread)
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap().expect("1");
    }
}

#[test]
fn many_threads_share_several_interpreters() {
    let path = script(&format!(
        "{SAY}\nimport mod_wsgi, json\n\
         def say(environ):\n\
         \x20   assert mod_wsgi.application_group == environ['mod_wsgi.application_group']\n\
         \x20   assert mod_wsgi.request_data() is mod_wsgi.active_requests[environ['mod_wsgi.request_id']]\n\
         \x20   json.dumps(list(range(50)))\n\
         \x20   return environ['mod_wsgi.request_id']\n"
    ));
    start();
    let threads: Vec<_> = (0..8)
        .map(|id| {
            let path = path.clone();
            thread::spawn(move || {
                let mut thread = python_harness::runtime().thread(id + 1);
                for turn in 0..200 {
                    let group = ["", "many1", "many2", "many3"][(turn + id as usize) % 4];
                    let name = format!("{id}-{turn}");
                    let visit = Visit::to(&path).group(group);
                    let visit = visit.set("mod_wsgi.request_id", name.as_bytes());
                    visit.make_on(&mut thread).expect(&name);
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn signal_handlers_are_not_registered() {
    let path = script(&saying(
        "(lambda s: [s.signal(s.SIGUSR1, s.SIG_IGN), s.getsignal(s.SIGUSR1)])(__import__('signal'))",
    ));
    let answer = visit(&path).make();
    answer.expect("[<Handlers.SIG_IGN: 1>, <Handlers.SIG_DFL: 0>]");
    assert!(answer.logged(Level::Info, "Ignoring Python signal handler registration"));
}

#[test]
fn output_goes_to_the_log_of_the_request() {
    start();
    let answer = run("import sys, threading\n\
        print('while loading')\n\
        def application(environ, start_response):\n\
        \x20   print('one\\ntwo'); print('half', end=''); sys.stderr.write('rest \\ud800\\0')\n\
        \x20   thread = threading.Thread(target=print, args=('from elsewhere',))\n\
        \x20   thread.start(); thread.join()\n\
        \x20   start_response('200 OK', [])\n\
        \x20   try: sys.stdout.fileno()\n\
        \x20   except OSError: return [repr([sys.stdout.isatty(), sys.stderr.encoding]).encode()]\n");
    answer.expect("[False, 'utf-8']");
    for line in ["while loading", "one", "two", "half", "rest ?"] {
        assert!(answer.log.contains(&(Level::Error, line.to_owned())), "{}", answer.log_text());
    }
    assert!(!answer.log_text().contains("from elsewhere"));
    assert!(process_log().has(Level::Error, "from elsewhere"), "{}", process_log().text());
}

#[test]
fn the_log_handler_maps_levels() {
    start();
    let answer = run("import logging, mod_wsgi\n\
        log = logging.Logger('test', 1)\n\
        log.addHandler(mod_wsgi.LogHandler())\n\
        def application(environ, start_response):\n\
        \x20   for level in (50, 40, 30, 20, 10, 5): log.log(level, 'at %d', level)\n\
        \x20   start_response('200 OK', [])\n\
        \x20   return []\n");
    let levels = [Level::Crit, Level::Error, Level::Warn, Level::Info, Level::Debug, Level::Debug];
    for (number, level) in [50, 40, 30, 20, 10, 5].into_iter().zip(levels) {
        assert!(answer.log.contains(&(level, format!("at {number}"))), "{}", answer.log_text());
    }
}
