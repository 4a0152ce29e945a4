//! The environ, `start_response`, bodies, exceptions and `close()`.

mod python_harness;

use ngx_wsgi_host::log::Level;
use ngx_wsgi_host::wire::{Outcome, HEAD_ONLY};
use python_harness::{run, runtime, script, Answer, Visit};

/// The answer of an application whose body is `body`, four spaces in.
fn app(body: &str) -> Answer {
    Visit::to(&script(&source(body))).make()
}

fn source(body: &str) -> String {
    let body: String = body.lines().map(|line| format!("    {line}\n")).collect();
    format!("def application(environ, start_response):\n{body}")
}

/// What an expression over `environ` shows.
fn shown(visit: impl FnOnce(Visit) -> Visit, expression: &str) -> String {
    let body = format!("start_response('200 OK', [])\nreturn [ascii({expression}).encode()]");
    let answer = visit(Visit::to(&script(&source(&body)))).make();
    assert_eq!(answer.outcome, Outcome::Complete, "{}", answer.log_text());
    answer.text()
}

fn environ(key: &str) -> String {
    shown(|visit| visit, &format!("environ[{key:?}]"))
}

#[test]
fn the_environ_is_complete() {
    for (key, value) in [
        ("REQUEST_METHOD", "'GET'"),
        ("wsgi.version", "(1, 1)"),
        ("wsgi.url_scheme", "'http'"),
        ("wsgi.multithread", "True"),
        ("wsgi.multiprocess", "True"),
        ("wsgi.run_once", "False"),
        ("wsgi.input_terminated", "True"),
        ("apache.version", "(1, 22, 1)"),
        ("mod_wsgi.version", "(6, 0, 5)"),
        ("mod_wsgi.process_group", "'workers'"),
        ("mod_wsgi.application_group", "''"),
        ("mod_wsgi.callable_object", "'application'"),
        ("mod_wsgi.request_handler", "'wsgi-script'"),
        ("mod_wsgi.handler_script", "''"),
        ("mod_wsgi.script_name", "'/app'"),
        ("mod_wsgi.path_info", "'/'"),
        ("mod_wsgi.thread_id", "1"),
        ("mod_wsgi.request_start", "1000000.5"),
        ("mod_wsgi.queue_start", "1000001.5"),
    ] {
        assert_eq!(environ(key), value, "{key}");
    }
    assert_eq!(shown(|v| v, "type(environ) is dict"), "True");
    assert_eq!(
        shown(|v| v, "environ['mod_wsgi.daemon_start'] <= environ['mod_wsgi.application_start']"),
        "True"
    );
    let wrapper = "environ['wsgi.file_wrapper'] is __import__('mod_wsgi').FileWrapper";
    assert_eq!(shown(|v| v, wrapper), "True");
}

/// Requests that resemble earlier ones get their environ from a template. One with a name that was never
/// there before does not.
#[test]
fn an_environ_is_the_same_with_and_without_a_template() {
    let own = "'wsgi.input', 'wsgi.errors', 'mod_wsgi.daemon_start', 'mod_wsgi.application_start'";
    let app = script(&source(&format!(
        "start_response('200 OK', [])\n\
         left_out = {{{own}}} | {{key for key in environ if key.startswith('HTTP_X_NEW')}}\n\
         items = sorted((key, value) for key, value in environ.items() if key not in left_out)\n\
         environ['spoilt'] = environ.pop('PATH_INFO')\n\
         environ['HTTP_HOST'] = 'spoilt'\n\
         return [ascii(items).encode()]"
    )));
    let long = vec![b'x'; 600];
    let pool: [(&str, &[&[u8]]); 10] = [
        ("QUERY_STRING", &[b"", b"a=1", b"a=\xe9"]),
        ("SCRIPT_FILENAME", &[b"/srv/a", b"/srv/\xff"]),
        ("HTTPS", &[b"on", b"off"]),
        ("HTTP_HOST", &[b"a.example", b"b.example"]),
        ("HTTP_COOKIE", &[b"session=1", b"session=2"]),
        ("HTTP_X_LONG", &[&long, b"short"]),
        ("HTTP_X_OTHER", &[b"1", b"2", b"3"]),
        ("mod_wsgi.script_name", &[b"/other", b""]),
        ("mod_wsgi.handler_script", &[b"/srv/h.py", b"/srv/i.py"]),
        ("mod_wsgi.request_handler", &[b"pages", b"images"]),
    ];
    let runtime = runtime();
    let mut thread = runtime.thread(1);
    let mut random = 1u64;
    let mut choose = |most: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (random >> 33) as usize % most
    };
    for number in 0..2000 {
        // Few shapes at a time, so that they come again, and later others.
        let shape = (number / 500) * 7 + choose(4);
        let chosen: Vec<_> = pool
            .iter()
            .enumerate()
            .filter(|(at, _)| shape & (1 << (at % 5)) != 0 || at % 5 == shape % 3)
            .map(|(_, (name, values))| (*name, values[choose(values.len())]))
            .collect();
        let visit =
            || chosen.iter().fold(Visit::to(&app), |visit, (name, value)| visit.set(name, value));
        let usual = visit().make_on(&mut thread);
        let unique = visit().set(&format!("HTTP_X_NEW_{number}"), b"").make_on(&mut thread);
        assert_eq!(usual.text(), unique.text(), "{:?}", usual.log);
        assert!(usual.text().contains("'PATH_INFO', '/'"), "{}", usual.log_text());
    }
}

#[test]
fn values_are_latin1_and_paths_are_file_names() {
    let see = |key: &'static str, value: &'static [u8]| {
        shown(move |visit| visit.set(key, value), &format!("environ[{key:?}]"))
    };
    assert_eq!(see("HTTP_X_NAME", b"\xe9\xff"), r"'\xe9\xff'");
    assert_eq!(see("QUERY_STRING", "é".as_bytes()), r"'\xc3\xa9'");
    assert_eq!(see("SCRIPT_FILENAME", b"/a\xff"), r"'/a\udcff'");
    assert_eq!(see("DOCUMENT_ROOT", "/é".as_bytes()), r"'/\xe9'");
    assert_eq!(see("mod_wsgi.request_id", b"abc"), "'abc'");
    assert_eq!(see("wsgi.version", b"forged"), "(1, 1)");
}

#[test]
fn https_becomes_the_scheme() {
    for (value, scheme) in [("on", "https"), ("ON", "https"), ("1", "https"), ("off", "http")] {
        let see = "[environ['wsgi.url_scheme'], 'HTTPS' in environ]";
        let seen = shown(|visit| visit.set("HTTPS", value.as_bytes()), see);
        assert_eq!(seen, format!("['{scheme}', False]"));
    }
}

#[test]
fn a_response_leaves_as_it_was_made() {
    let answer =
        app("start_response('404 Not \\xe9', [('X-A', '1'), ('X-A', '2'), ('Y', 'a\\tb')])\n\
        return [b'one', b'', b'two']");
    answer.expect("onetwo");
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let headers = vec![header("X-A", "1"), header("X-A", "2"), header("Y", "a\tb")];
    assert_eq!(answer.head, Some((404, "404 Not \u{e9}".to_owned(), headers)));
    assert_eq!(answer.blocks, [b"one", b"two"]);
}

#[test]
fn nothing_is_invented_about_a_body() {
    let answer = app("start_response('200', [])\nreturn [b'one']");
    answer.expect("one");
    assert_eq!(answer.head, Some((200, "200".to_owned(), vec![])));
    let answer = app("start_response('204 No Content', [])\nreturn []");
    answer.expect("");
    assert_eq!(answer.status(), Some(204));
}

/// Calls start_response with the arguments and shows what it raises.
#[track_caller]
fn refused(arguments: &str, error: &str) {
    let answer = app(&format!("start_response({arguments})\nreturn []"));
    answer.expect_failure(error);
}

#[test]
fn start_response_validates() {
    for (arguments, error) in [
        ("'200 OK'", "TypeError"),
        ("'200 OK', ()", "TypeError: start_response() argument 2 must be list, not tuple"),
        ("'200 OK', None", "TypeError: start_response() argument 2 must be list, not None"),
        ("status='200 OK', headers=[]", "TypeError"),
        ("b'200 OK', []", "TypeError: must be str, not bytes"),
        ("200, []", "must be str, not int"),
        ("'200 \\u20ac', []", "UnicodeEncodeError"),
        ("'', []", "ValueError: status code must be a 3 digit integer: b''"),
        ("'20 OK', []", "status code must be a 3 digit integer"),
        ("'2000 OK', []", "status code must be a 3 digit integer"),
        ("'OK', []", "status code must be a 3 digit integer"),
        ("'200OK', []", "ValueError: no space following status code: b'200OK'"),
        ("'200 O\\nK', []", "ValueError: control character in status reason phrase"),
        ("'200 O\\x7fK', []", "ValueError"),
        ("'200 OK', [['a', 'b']]", "TypeError: each header must be a 2-tuple"),
        ("'200 OK', [('a',)]", "ValueError"),
        ("'200 OK', [('a', 'b', 'c')]", "got length 3"),
        ("'200 OK', [(b'a', 'b')]", "must be str, not bytes"),
        ("'200 OK', [('a', 5)]", "must be str, not int"),
        ("'200 OK', [('a', '\\u20ac')]", "UnicodeEncodeError"),
        ("'200 OK', [('', 'b')]", "ValueError: header name is empty"),
        ("'200 OK', [('a b', 'b')]", "ValueError: space character in header name: b'a b'"),
        ("'200 OK', [('a\\n', 'b')]", "ValueError: control character in header name"),
        ("'200 OK', [('a', 'b\\r\\nc: d')]", "carriage return/line feed character in header value"),
        (
            "'200 OK', [], 5",
            "RuntimeError: start_response() argument 'exc_info' must be a 3-tuple or None",
        ),
    ] {
        refused(arguments, error);
    }
}

#[test]
fn start_response_accepts() {
    let answer = app("class L(list): pass\n\
        start_response('200 OK', L([('a', 'b')]), None)\n\
        return []");
    assert_eq!(answer.header("a"), Some("b"));
    let answer = app("start_response('200 OK', [('a', 'b\\0c')])\nreturn []");
    assert_eq!(answer.header("a"), Some("b"));
    let answer = app("start_response('200 OK', [('a', 'b')])\n\
        start_response('500 Oh', [])\nreturn [b'x']");
    answer.expect("x");
    assert_eq!(answer.head, Some((500, "500 Oh".to_owned(), vec![])));
}

#[test]
fn after_headers_have_left_start_response_raises() {
    let answer = app("import sys\n\
        start_response('200 OK', [])(b'begun')\n\
        try: start_response('500 Oh', [])\n\
        except RuntimeError: pass\n\
        try: 1 / 0\n\
        except ZeroDivisionError:\n\
        \x20   try: start_response('500 Oh', [], sys.exc_info())\n\
        \x20   except ZeroDivisionError as error:\n\
        \x20       return [str(error.__traceback__ is not None).encode()]");
    answer.expect("begunTrue");
    assert_eq!(answer.status(), Some(200));
}

#[test]
fn write_sends_and_validates() {
    let answer = app("write = start_response('200 OK', [])\n\
        write(b'a'); write(b''); write(b'b')\n\
        try: write('text')\n\
        except TypeError as error: return [str(error).encode()]");
    answer.expect("abwrite() argument must be bytes, not str");
    let answer = app("start_response('200 OK', [])(b'')\n\
        try: start_response('500 Oh', [])\n\
        except RuntimeError: return [b'committed']");
    answer.expect("committed");
}

#[test]
fn iterables_yield_bytes() {
    for item in ["'text'", "bytearray(b'a')", "memoryview(b'a')", "5", "None"] {
        let answer = app(&format!("start_response('200 OK', [])\nreturn [{item}]"));
        answer.expect_failure("TypeError: response iterable must yield bytes, not ");
    }
    app("start_response('200 OK', [])\nreturn 5").expect_failure("TypeError");
    app("start_response('200 OK', [])\nreturn None").expect_failure("TypeError");
    app("return [b'x']").expect_failure("RuntimeError: start_response() must be called before");
    app("return []").expect_failure("RuntimeError: start_response() must be called before");
    app("yield b''\nstart_response('200 OK', [])\nyield b'late'").expect("late");
}

#[test]
fn an_announced_length_is_kept() {
    let answer = app("start_response('200 OK', [('Content-Length', '4')])\n\
        return [b'abc', b'def', b'ghi']");
    answer.expect("abcd");
    let answer = app("start_response('200 OK', [('Content-Length', '4')])\nreturn [b'abc']");
    assert_eq!((answer.outcome, answer.text()), (Outcome::Aborted, "abc".to_owned()));
    assert!(answer.log.iter().any(|line| line.0 == Level::Debug), "{}", answer.log_text());
    for length in [" 4 ", "-1", "x", "4x", "99999999999999999999"] {
        let body = format!("start_response('200 OK', [('Content-Length', '{length}')])\nreturn []");
        app(&body).expect_failure("ValueError: invalid Content-Length header value");
    }
}

#[test]
fn lengths_that_mod_wsgi_accepts_leave_in_a_form_that_http_allows() {
    let answer = app("start_response('200 OK', [('Content-Length', '+3')])\nreturn [b'abc']");
    answer.expect("abc");
    assert_eq!(answer.header("Content-Length"), Some("3"));
    let answer = app("start_response('200 OK', [('Content-Length', '')])\nreturn [b'abc']");
    answer.expect("");
    assert_eq!(answer.header("Content-Length"), Some("0"));
}

#[test]
fn a_response_without_a_body_may_announce_its_length() {
    for status in ["304 Not Modified", "204 No Content"] {
        let body = format!("start_response('{status}', [('Content-Length', '4')])\nreturn []");
        app(&body).expect("");
    }
    let path = script(&source("start_response('200 OK', [('Content-Length', '4')])\nreturn []"));
    Visit::to(&path).flag(HEAD_ONLY).make().expect("");
}

#[test]
fn hop_by_hop_and_status_headers_are_passed_on() {
    let answer = app("start_response('200 OK', [('Transfer-Encoding', 'x'), ('Status', '404')])\n\
        return []");
    assert_eq!(answer.header("Transfer-Encoding"), Some("x"));
    assert_eq!((answer.status(), answer.header("Status")), (Some(200), Some("404")));
}

#[test]
fn headers_that_cannot_be_sent_are_a_failure() {
    let path = script(&source("start_response('200 OK', [])\nreturn [b'x']"));
    let answer = Visit::to(&path).refusing_head().make();
    assert_eq!(answer.outcome, Outcome::Failed);
}

#[test]
fn exceptions_before_the_response_fail() {
    let answer = app("raise KeyError('before')");
    answer.expect_failure("KeyError: 'before'");
    assert!(answer.log[1..]
        .iter()
        .any(|line| line.1.contains(" exception raised processing WSGI script")));
    assert!(answer.logged(Level::Error, "Traceback (most recent call last):"));
    assert!(answer.log.iter().all(|line| !line.1.contains('\n')));
    app("start_response('200 OK', [])\nraise KeyError('after')").expect_failure("after");
    app("start_response('200 OK', [])\nyield b''\nraise KeyError('empty')").expect_failure("empty");
    app("raise SystemExit(1)").expect_failure("SystemExit");
    app("raise KeyboardInterrupt").expect_failure("KeyboardInterrupt");
    app("raise type('Odd', (Exception,), {'__str__': lambda self: 1 / 0})").expect_failure("Odd");
    app("def f(): f()\nf()").expect_failure("RecursionError");
    app("start_response('200 OK', [])\nreturn [b'survived']").expect("survived");
}

#[test]
fn exceptions_in_the_body_abort() {
    let answer = app("start_response('200 OK', [])\nyield b'part'\nraise KeyError('middle')");
    assert_eq!((answer.outcome, answer.text()), (Outcome::Aborted, "part".to_owned()));
    assert!(answer.logged(Level::Error, "KeyError: 'middle'"));
    let answer = app("start_response('200 OK', [])(b'part')\nraise SystemExit");
    assert_eq!(answer.outcome, Outcome::Aborted);
}

const CLOSING: &str = r#"
import mod_wsgi
closed = []

class Body:
    def __init__(self, items): self.items = iter(items)
    def __iter__(self): return self
    def __next__(self):
        item = next(self.items)
        if isinstance(item, Exception): raise item
        return item
    def close(self):
        closed.append(1)
        print('closing')

class Failing(Body):
    def close(self): raise KeyError('in close')

class Odd(Body):
    @property
    def close(self): raise KeyError('no close')

def application(environ, start_response):
    what = environ['QUERY_STRING']
    if what == 'count':
        start_response('200 OK', [])
        return [str(len(closed)).encode()]
    if what != 'unstarted': start_response('200 OK', [])
    if what == 'raise': return Body([b'a', KeyError('raised')])
    if what == 'fail': return Failing([b'a'])
    if what == 'odd': return Odd([b'a'])
    if what == 'plain': return Body([b'a'])
    if what == 'text': return Body(['a'])
    return Body([b'a', b'b', b'c'])
"#;

#[test]
fn close_is_called_once_whatever_happened() {
    let path = script(CLOSING);
    let visit = |query: &str| Visit::to(&path).set("QUERY_STRING", query.as_bytes());
    visit("plain").make().expect("a");
    visit("count").make().expect("1");
    let raised = visit("raise").make();
    assert_eq!(raised.outcome, Outcome::Aborted);
    assert!(raised.logged(Level::Error, "closing"));
    visit("unstarted").make().expect_failure("closing");
    visit("text").make().expect_failure("closing");
    let gone = visit("gone").gone_after(1).make();
    assert_eq!((gone.outcome, gone.text()), (Outcome::Complete, "a".to_owned()));
    assert!(gone.logged(Level::Error, "closing"));
    visit("count").make().expect("5");
    for (query, error) in [("fail", "in close"), ("odd", "no close")] {
        let answer = visit(query).make();
        answer.expect("a");
        assert!(answer.logged(Level::Error, error));
    }
}

#[test]
fn a_client_that_has_gone_ends_the_iteration_quietly() {
    let path = script(&source("start_response('200 OK', [])\nwhile True: yield b'x'"));
    let answer = Visit::to(&path).gone_after(3).make();
    assert_eq!((answer.outcome, answer.text()), (Outcome::Complete, "xxx".to_owned()));
    assert!(!answer.log.iter().any(|line| line.0 <= Level::Error), "{}", answer.log_text());
    assert!(answer.logged(Level::Debug, "Client closed connection"));
    let path = script(&source("write = start_response('200 OK', [])\nwhile True: write(b'x')"));
    let answer = Visit::to(&path).gone_after(3).make();
    assert!(answer.logged(Level::Error, "OSError: mod_wsgi client connection closed"));
}

#[test]
fn what_a_request_was_given_ends_with_it() {
    let path = script(
        "import sys\nkept = {}\n\
         def application(environ, start_response):\n\
         \x20   def attempt(call, *arguments):\n\
         \x20       try: return repr(call(*arguments))\n\
         \x20       except Exception as error: return '%s: %s' % (type(error).__name__, error)\n\
         \x20   found = ''\n\
         \x20   if kept:\n\
         \x20       found = '\\n'.join([attempt(kept['input'].read), attempt(kept['input'].readline),\n\
         \x20           attempt(kept['errors'].write, 'x'), attempt(kept['start'], '200 OK', []),\n\
         \x20           attempt(kept['write'], b'x'), attempt(next, kept['input'])])\n\
         \x20   kept.update(input=environ['wsgi.input'], errors=environ['wsgi.errors'],\n\
         \x20               start=start_response, write=start_response('200 OK', []))\n\
         \x20   return [found.encode()]\n",
    );
    Visit::to(&path).make().expect("");
    Visit::to(&path).make().expect(
        "RuntimeError: read() called on wsgi.input after request completed\n\
         RuntimeError: readline() called on wsgi.input after request completed\n\
         RuntimeError: write() called on wsgi.errors after request completed\n\
         RuntimeError: start_response() called after request completed\n\
         RuntimeError: write() called after request completed\n\
         RuntimeError: iteration of wsgi.input attempted after request completed",
    );
}

#[test]
fn native_objects_cannot_be_made_by_applications() {
    let answer = app("found = []\n\
        write = start_response('200 OK', [])\n\
        for thing in (environ['wsgi.input'], start_response, write):\n\
        \x20   for make in (type(thing), lambda: object.__new__(type(thing))):\n\
        \x20       try: make(); found.append('made')\n\
        \x20       except TypeError: found.append('no')\n\
        return [' '.join(found).encode()]");
    answer.expect("no no no no no no");
}

#[test]
fn errors_are_lines_of_the_log() {
    let answer = app("errors = environ['wsgi.errors']\n\
        assert errors.write('one\\ntwo \\u20ac\\nth') == 12, errors\n\
        errors.writelines(['r', 'ee\\n', 'rest'])\n\
        errors.flush()\n\
        print('printed', file=errors)\n\
        errors.write('last\\0')\n\
        try: errors.write(b'bytes')\n\
        except TypeError: pass\n\
        start_response('200 OK', [])\n\
        return [errors.name.encode()]");
    answer.expect("<wsgi.errors>");
    let lines: Vec<_> = answer.log.iter().filter(|line| line.0 == Level::Error).collect();
    let texts: Vec<_> = lines.iter().map(|line| line.1.as_str()).collect();
    assert_eq!(texts, ["one", "two \u{20ac}", "three", "rest", "printed", "last"]);
}

#[test]
fn threads_of_the_application_may_write() {
    let answer = app("import threading\n\
        write = start_response('200 OK', [])\n\
        threads = [threading.Thread(target=write, args=(b'x',)) for _ in range(20)]\n\
        for thread in threads: thread.start()\n\
        for thread in threads: thread.join()\n\
        return []");
    answer.expect(&"x".repeat(20));
    assert!(!answer.log.iter().any(|line| line.0 <= Level::Error), "{}", answer.log_text());
}

#[test]
fn request_data_belongs_to_the_request() {
    let path = script(
        "import mod_wsgi\n\
         def application(environ, start_response):\n\
         \x20   mod_wsgi.request_data()['mine'] = 1\n\
         \x20   start_response('200 OK', [])\n\
         \x20   return [repr(list(mod_wsgi.active_requests.items())).encode()]\n",
    );
    let visit = || Visit::to(&path).group("data").set("mod_wsgi.request_id", b"r1").make();
    visit().expect("[('r1', {'mine': 1})]");
    let answer = run("import mod_wsgi\n\
        try: mod_wsgi.request_data()\n\
        except RuntimeError: pass\n\
        def application(environ, start_response):\n\
        \x20   start_response('200 OK', [])\n\
        \x20   return [str(len(mod_wsgi.active_requests)).encode()]\n");
    assert_eq!(answer.outcome, Outcome::Complete, "{}", answer.log_text());
}

/// Resident memory of this process in KiB.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap();
    status.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4
}

#[test]
fn requests_leave_no_memory_behind() {
    let path = script(&source(
        "environ['wsgi.errors'].write('line\\n')\n\
         data = environ['wsgi.input'].read()\n\
         print('half', end='')\n\
         start_response('200 OK', [('A', 'b')])(data)\n\
         if environ['QUERY_STRING'] == 'raise': raise KeyError(environ)\n\
         return (item for item in [b'a', b'b'])",
    ));
    let runtime = runtime();
    std::thread::spawn(move || {
        let mut thread = runtime.thread(1);
        let mut serve = |count: usize| {
            for turn in 0..count {
                let query: &[u8] = if turn % 10 == 0 { b"raise" } else { b"" };
                let visit = Visit::to(&path).group("memory").body(&[b'x'; 4096], 4096);
                visit.set("QUERY_STRING", query).make_on(&mut thread);
            }
        };
        serve(2000);
        let before = resident();
        serve(10_000);
        let grown = resident().saturating_sub(before);
        assert!(grown < 4096, "{grown} KiB more after 10,000 requests");
    })
    .join()
    .unwrap();
}
