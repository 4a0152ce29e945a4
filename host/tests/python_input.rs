//! `wsgi.input` and `wsgi.file_wrapper`.

mod python_harness;

use std::sync::atomic::{AtomicUsize, Ordering};

use ngx_wsgi_host::exchange::BodyError;
use ngx_wsgi_host::log::Level;
use ngx_wsgi_host::wire::{Outcome, HEAD_ONLY};
use python_harness::{directory, script, Answer, Visit};

/// What expressions over `body`, evaluated one after another, show.
fn read(body: &[u8], piece: usize, expressions: &[&str]) -> Vec<String> {
    expect_lines(Visit::to(&reader(expressions)).body(body, piece).make())
}

fn reader(expressions: &[&str]) -> std::path::PathBuf {
    let list: String =
        expressions.iter().map(|text| format!("        lambda: {text},\n")).collect();
    script(&format!(
        "def show(ask):\n\
         \x20   try: return repr(ask())\n\
         \x20   except Exception as error: return '%s: %s' % (type(error).__name__, error)\n\
         def application(environ, start_response):\n\
         \x20   body = environ['wsgi.input']\n\
         \x20   start_response('200 OK', [])\n\
         \x20   return ['\\n'.join(map(show, [\n{list}    ])).encode()]\n"
    ))
}

#[track_caller]
fn expect_lines(answer: Answer) -> Vec<String> {
    assert_eq!(answer.outcome, Outcome::Complete, "{}", answer.log_text());
    answer.text().lines().map(str::to_owned).collect()
}

#[test]
fn read_returns_what_was_asked_for() {
    for piece in [1, 2, 3, 100] {
        let seen = read(
            b"0123456789",
            piece,
            &["body.read(0)", "body.read(4)", "body.read(100)", "body.read()"],
        );
        assert_eq!(seen, ["b''", "b'0123'", "b'456789'", "b''"], "in pieces of {piece}");
        let seen = read(b"0123456789", piece, &["body.read(-1)", "body.read(-1)", "body.read(5)"]);
        assert_eq!(seen, ["b'0123456789'", "b''", "b''"]);
    }
}

#[test]
fn lines_end_with_a_newline() {
    for piece in [1, 2, 100] {
        let seen = read(
            b"one\ntwo\n\nthree",
            piece,
            &[
                "body.readline(0)",
                "body.readline(2)",
                "body.readline()",
                "body.readline(100)",
                "body.read(1)",
                "body.readline()",
                "body.readline()",
            ],
        );
        assert_eq!(seen, ["b''", "b'on'", "b'e\\n'", "b'two\\n'", "b'\\n'", "b'three'", "b''"]);
        let seen = read(b"one\ntwo\nthree", piece, &["body.readlines(4)", "body.readlines()"]);
        assert_eq!(seen, ["[b'one\\n']", "[b'two\\n', b'three']"]);
        let seen = read(b"a\nb", piece, &["iter(body) is body", "list(body)", "body.readlines()"]);
        assert_eq!(seen, ["True", "[b'a\\n', b'b']", "[]"]);
    }
}

#[test]
fn arguments_are_checked() {
    let seen = read(
        b"abc",
        3,
        &[
            "body.read(None)",
            "body.readline(None)",
            "body.read('1')",
            "body.read(1, 2)",
            "body.read(size=1)",
            "body.close()",
            "hasattr(body, 'seek')",
            "body.read()",
        ],
    );
    assert!(seen[..5].iter().all(|line| line.starts_with("TypeError")), "{seen:?}");
    assert_eq!(seen[5..], ["None", "False", "b'abc'"]);
}

#[test]
fn a_request_without_body_reads_empty() {
    let seen = expect_lines(Visit::to(&reader(&["body.read()", "body.readline()"])).make());
    assert_eq!(seen, ["b''", "b''"]);
}

#[test]
fn a_broken_body_raises_and_stays_broken() {
    let path = reader(&["body.read(2)", "body.read()", "body.read()", "body.readline()"]);
    let seen = expect_lines(Visit::to(&path).body(b"abc", 1).body_error(BodyError::Closed).make());
    assert_eq!(
        seen,
        [
            "b'ab'",
            "OSError: mod_wsgi request data read error: client connection closed",
            "OSError: mod_wsgi request data read error: input is already in error state",
            "OSError: mod_wsgi request data read error: input is already in error state",
        ]
    );
    let error = BodyError::Io("Connection reset".to_owned());
    let path = reader(&["body.readlines()"]);
    let seen = expect_lines(Visit::to(&path).body(b"abc", 1).body_error(error).make());
    assert_eq!(seen, ["OSError: mod_wsgi request data read error: Connection reset"]);
}

#[test]
fn a_large_body_arrives_whole() {
    let body: Vec<u8> = (0..3_000_000_u32).map(|at| (at % 251) as u8).collect();
    let digest = {
        use md5::Digest;
        md5::Md5::digest(&body).iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    let seen = read(&body, 65_537, &["__import__('hashlib').md5(body.read()).hexdigest()"]);
    assert_eq!(seen, [format!("'{digest}'")]);
    let joined =
        "__import__('hashlib').md5(b''.join(iter(lambda: body.read(8191), b''))).hexdigest()";
    assert_eq!(read(&body, 10_000, &[joined]), [format!("'{digest}'")]);
}

#[test]
fn threads_of_the_application_may_read() {
    let path = script(
        "import threading\n\
         def application(environ, start_response):\n\
         \x20   pieces = []\n\
         \x20   def take():\n\
         \x20       while True:\n\
         \x20           piece = environ['wsgi.input'].read(7)\n\
         \x20           if not piece: return\n\
         \x20           pieces.append(piece)\n\
         \x20   threads = [threading.Thread(target=take) for _ in range(8)]\n\
         \x20   for thread in threads: thread.start()\n\
         \x20   for thread in threads: thread.join()\n\
         \x20   start_response('200 OK', [])\n\
         \x20   return [str(sum(map(len, pieces))).encode()]\n",
    );
    Visit::to(&path).body(&[b'x'; 50_000], 13).make().expect("50000");
}

/// Answers with a wrapper around what `file` makes of the path of a file with ten digits.
fn wrapped(headers: &str, file: &str, wrapper: &str) -> Visit {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let data = directory().join(format!("digits{count}.txt"));
    std::fs::write(&data, "0123456789").unwrap();
    Visit::to(&script(&format!(
        "import io, mod_wsgi\n\
         class Own(mod_wsgi.FileWrapper):\n\
         \x20   def __init__(self, name, file): super().__init__(file); self.name = name\n\
         class NoTell:\n\
         \x20   def __init__(self, path): self.file = open(path, 'rb')\n\
         \x20   def fileno(self): return self.file.fileno()\n\
         \x20   def read(self, size): return self.file.read(size)\n\
         \x20   def close(self): print('file closed')\n\
         def at(path, offset):\n\
         \x20   file = open(path, 'rb'); file.seek(offset); return file\n\
         def application(environ, start_response):\n\
         \x20   path = {data:?}\n\
         \x20   start_response('200 OK', {headers})\n\
         \x20   FileWrapper = environ['wsgi.file_wrapper']\n\
         \x20   file = {file}\n\
         \x20   return {wrapper}\n"
    )))
}

#[test]
fn a_file_is_sent_from_where_it_stands() {
    for (file, wrapper, body, length) in [
        ("open(path, 'rb')", "FileWrapper(file)", "0123456789", Some("10")),
        ("at(path, 4)", "FileWrapper(file, 3)", "456789", Some("6")),
        ("at(path, 10)", "FileWrapper(file)", "", Some("0")),
        ("at(path, 100)", "FileWrapper(file)", "", Some("0")),
        ("open(path, 'rb')", "Own('x', file)", "0123456789", Some("10")),
        ("open(path, 'rb')", "FileWrapper(filelike=file, blksize=2)", "0123456789", Some("10")),
        ("io.BytesIO(b'memory')", "FileWrapper(file, 4)", "memory", None),
        ("NoTell(path)", "FileWrapper(file)", "0123456789", None),
    ] {
        let answer = wrapped("[]", file, wrapper).make();
        answer.expect(body);
        assert_eq!(answer.header("Content-Length"), length, "{file} {wrapper}");
    }
    let answer = wrapped("[]", "NoTell(path)", "FileWrapper(file)").make();
    assert!(answer.logged(Level::Error, "file closed"));
}

#[test]
fn a_files_announced_length_is_kept() {
    let answer = wrapped("[('Content-Length', '3')]", "at(path, 2)", "FileWrapper(file)").make();
    answer.expect("234");
    assert_eq!(answer.head.as_ref().unwrap().2.len(), 1);
    let answer = wrapped("[('Content-Length', '30')]", "at(path, 2)", "FileWrapper(file)").make();
    assert_eq!((answer.outcome, answer.text()), (Outcome::Aborted, "23456789".to_owned()));
}

#[test]
fn a_file_needs_start_response_and_heads_need_no_file() {
    let visit = wrapped("[]", "open(path, 'rb')", "FileWrapper(file)").flag(HEAD_ONLY);
    let answer = visit.make();
    assert_eq!(answer.outcome, Outcome::Complete);
    assert_eq!(answer.header("Content-Length"), Some("10"));
    let path = script(
        "def application(environ, start_response):\n\
         \x20   return environ['wsgi.file_wrapper'](open(__file__, 'rb'))\n",
    );
    Visit::to(&path).make().expect_failure("start_response() must be called");
}

#[test]
fn wrappers_behave_as_documented() {
    let path = script(
        "import io\n\
         def attempt(call):\n\
         \x20   try: return repr(call())\n\
         \x20   except Exception as error: return '%s: %s' % (type(error).__name__, error)\n\
         def application(environ, start_response):\n\
         \x20   FileWrapper = environ['wsgi.file_wrapper']\n\
         \x20   wrapper = FileWrapper(io.BytesIO(b'abcde'), blksize=2)\n\
         \x20   seen = [attempt(lambda: FileWrapper(io.BytesIO(), -1)), attempt(lambda: wrapper.blksize),\n\
         \x20           attempt(lambda: setattr(wrapper, 'blksize', 3)), attempt(lambda: list(wrapper)),\n\
         \x20           attempt(lambda: list(FileWrapper(io.StringIO('x')))),\n\
         \x20           attempt(wrapper.close), attempt(wrapper.close), attempt(lambda: wrapper.filelike),\n\
         \x20           attempt(lambda: next(wrapper))]\n\
         \x20   start_response('200 OK', [])\n\
         \x20   return ['\\n'.join(seen).encode()]\n",
    );
    let seen = expect_lines(Visit::to(&path).make());
    assert!(seen[0].starts_with("ValueError"), "{seen:?}");
    assert_eq!(seen[1], "2");
    assert!(seen[2].starts_with("AttributeError"), "{seen:?}");
    assert_eq!(seen[3], "[b'ab', b'cd', b'e']");
    assert_eq!(seen[4], "TypeError: file wrapper read() must return bytes, not str");
    assert_eq!(seen[5..7], ["None", "None"]);
    assert_eq!(seen[7], "ValueError: I/O operation on closed file");
    assert_eq!(seen[8], "ValueError: I/O operation on closed file");
}

#[test]
fn a_large_file_is_sent_whole() {
    let data = directory().join("large");
    std::fs::write(&data, vec![b'z'; 2_500_000]).unwrap();
    let path = script(&format!(
        "def application(environ, start_response):\n\
         \x20   start_response('200 OK', [])\n\
         \x20   return environ['wsgi.file_wrapper'](open({data:?}, 'rb'))\n"
    ));
    let answer = Visit::to(&path).make();
    assert_eq!((answer.outcome, answer.text().len()), (Outcome::Complete, 2_500_000));
    assert!(answer.blocks.len() < 50);
    let gone = Visit::to(&path).gone_after(1).make();
    assert_eq!(gone.outcome, Outcome::Complete);
}
