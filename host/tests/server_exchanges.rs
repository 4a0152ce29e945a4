//! Exchanges over a host's connections, with closures in the place of Python.

mod server_client;

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use ngx_wsgi_host::exchange::{BodyError, Exchange};
use ngx_wsgi_host::log::{install, Level, Sink};
use ngx_wsgi_host::scoreboard::Reports;
use ngx_wsgi_host::server::{Host, HostConfig, Serve};
use ngx_wsgi_host::wire::{
    Head, Header, Headers, Kind, LogRecord, Outcome, Request, Span, LAST, LOG_MAX, NO_BODY,
    NO_FILE, STATIC,
};

use server_client::{frame, request, until, Client, Frame, LIMIT};

type Handler = dyn Fn(&Request<'_>, &Arc<dyn Exchange>) -> Outcome + Send + Sync;

fn idle_host(threads: u16) -> Host {
    let reports = Arc::new(Reports::inherited(threads).unwrap());
    Host::new(HostConfig::new(threads, reports)).unwrap()
}

fn spawn(
    host: &Host,
    handler: impl Fn(&Request<'_>, &Arc<dyn Exchange>) -> Outcome + Send + Sync + 'static,
) {
    let handler: Arc<Handler> = Arc::new(handler);
    host.spawn(move |_| -> Box<dyn Serve> {
        let handler = Arc::clone(&handler);
        Box::new(move |request: &Request<'_>, exchange: &Arc<dyn Exchange>| {
            handler(request, exchange)
        })
    })
    .unwrap();
}

fn host(
    threads: u16,
    handler: impl Fn(&Request<'_>, &Arc<dyn Exchange>) -> Outcome + Send + Sync + 'static,
) -> Host {
    let host = idle_host(threads);
    spawn(&host, handler);
    host
}

fn client(host: &Host) -> Client {
    let (client, ours) = Client::pair();
    host.adopt(ours).unwrap();
    client
}

fn ok(exchange: &Arc<dyn Exchange>, body: &[u8]) -> Outcome {
    let headers = [("X-Test", "yes")].into_iter().collect();
    match exchange.respond(200, b"200 OK", &headers).and_then(|()| exchange.send(body)) {
        Ok(()) => Outcome::Complete,
        Err(_) => Outcome::Aborted,
    }
}

fn read_all(exchange: &Arc<dyn Exchange>) -> Result<Vec<u8>, BodyError> {
    let (mut body, mut buf) = (Vec::new(), [0; 8192]);
    loop {
        match exchange.read(&mut buf)? {
            0 => return Ok(body),
            n => body.extend_from_slice(&buf[..n]),
        }
    }
}

fn posting() -> Vec<u8> {
    request(Path::new("/app.wsgi"), 0, "/post")
}

#[test]
fn head_and_first_data_arrive_in_one_piece() {
    let (go, gate) = channel::<()>();
    let gate = Mutex::new(gate);
    let host = host(1, move |_, exchange| {
        let outcome = ok(exchange, b"hello");
        let _ = gate.lock().unwrap().recv();
        outcome
    });
    let mut client = client(&host);
    client.ask("/");
    let mut piece = [0; 4096];
    let n = std::io::Read::read(&mut client.0, &mut piece).unwrap();
    assert!(piece[..n].ends_with(b"hello"), "{:?}", &piece[..n]);
    go.send(()).unwrap();
    assert_eq!(client.frame().kind, Kind::End);
}

/// A host with connections on which requests for `paths` wait, and its clients.
fn waiting(
    paths: &[&str],
    handler: impl Fn(&Request<'_>, &Arc<dyn Exchange>) -> Outcome + Send + Sync + 'static,
) -> (Host, Vec<Client>) {
    let host = idle_host(1);
    let clients = paths.iter().map(|path| {
        let mut client = client(&host);
        client.ask(path);
        client
    });
    let clients = clients.collect();
    spawn(&host, handler);
    (host, clients)
}

/// Answers after so long that other answers may join.
fn answer_soon(exchange: &Arc<dyn Exchange>) -> Outcome {
    let since = Instant::now();
    while since.elapsed() < Duration::from_micros(100) {
        std::hint::spin_loop();
    }
    exchange.respond(200, b"200 OK", &Headers::default()).unwrap();
    exchange.send_last(b"done").unwrap();
    Outcome::Complete
}

#[test]
fn responses_do_not_wait_for_a_request_that_takes_long() {
    let (go, gate) = channel::<()>();
    let gate = Mutex::new(gate);
    let (_host, mut clients) = waiting(&["/a", "/b", "/c", "/long"], move |request, exchange| {
        if request.get(b"REQUEST_URI") == Some(b"/long") {
            let _ = gate.lock().unwrap().recv();
        }
        answer_soon(exchange)
    });
    let mut long = clients.pop().unwrap();
    for client in &mut clients {
        let answer = client.answer();
        assert_eq!((&answer.body[..], answer.outcome), (&b"done"[..], Outcome::Complete));
    }
    go.send(()).unwrap();
    assert_eq!(long.answer().body, b"done");
}

#[test]
fn responses_that_leave_together_are_whole_and_their_connections_go_on() {
    let paths = ["/"; 30];
    let (host, mut clients) = waiting(&paths, |_, exchange| answer_soon(exchange));
    for _ in 0..20 {
        for client in &mut clients {
            let answer = client.answer();
            assert_eq!((&answer.body[..], answer.outcome), (&b"done"[..], Outcome::Complete));
        }
        clients.iter_mut().for_each(|client| client.ask("/"));
    }
    let draining = thread::spawn(move || host.drain(Some(LIMIT)));
    for client in &mut clients {
        // A request that has not been looked at yet does not keep GOAWAY back.
        let kinds = std::iter::repeat_with(|| client.frame().kind).take(4);
        let (goaway, answer): (Vec<_>, Vec<_>) = kinds.partition(|kind| *kind == Kind::GoAway);
        assert_eq!(answer, [Kind::Response, Kind::Data, Kind::End]);
        assert_eq!(goaway.len(), 1);
    }
    drop(clients);
    assert!(draining.join().unwrap());
}

/// Hands a block over as one that the application yields.
fn yield_block(exchange: &Arc<dyn Exchange>, block: &[u8]) {
    if exchange.gather(block) != Ok(true) {
        exchange.send(block).unwrap();
    }
}

#[test]
fn small_blocks_leave_together_and_in_order() {
    let size = |n: u32| 1 + n as usize * 97 % 20_000;
    let blocks: Vec<_> = (0..500u32).map(|n| vec![n as u8; size(n)]).collect();
    let expected = blocks.concat();
    let host = host(1, move |_, exchange| {
        exchange.respond(200, b"200 OK", &Headers::default()).unwrap();
        blocks.iter().for_each(|block| yield_block(exchange, block));
        Outcome::Complete
    });
    let mut client = client(&host);
    for _ in 0..3 {
        client.ask("/");
        let answer = client.answer();
        assert_eq!(answer.outcome, Outcome::Complete);
        assert!(answer.body == expected);
    }
}

#[test]
fn a_block_does_not_wait_for_the_next_one() {
    let (go, gate) = channel::<()>();
    let gate = Mutex::new(gate);
    let host = host(1, move |_, exchange| {
        exchange.respond(200, b"200 OK", &Headers::default()).unwrap();
        for block in [&b"first"[..], b"second"] {
            yield_block(exchange, block);
            let _ = gate.lock().unwrap().recv();
        }
        Outcome::Complete
    });
    let mut client = client(&host);
    for _ in 0..20 {
        client.ask("/");
        assert_eq!(client.frame().kind, Kind::Response);
        for block in [&b"first"[..], b"second"] {
            assert_eq!(client.frame(), Frame { kind: Kind::Data, payload: block.to_vec() });
            go.send(()).unwrap();
        }
        assert_eq!(client.frame().kind, Kind::End);
    }
}

#[test]
fn gathered_blocks_wait_for_a_client_that_reads_late() {
    const BLOCK: [u8; 1000] = [b'x'; 1000];
    let (tell, told) = channel();
    let tell = Mutex::new(tell);
    let host = host(1, move |_, exchange| {
        exchange.respond(200, b"200 OK", &Headers::default()).unwrap();
        let (mut taken, mut last) = (0, Instant::now());
        // Until neither the connection nor the writer has room.
        while last.elapsed() < Duration::from_millis(200) {
            if exchange.gather(&BLOCK) == Ok(true) {
                (taken, last) = (taken + 1, Instant::now());
            }
            thread::yield_now();
        }
        tell.lock().unwrap().send(taken).unwrap();
        exchange.log(Level::Error, b"between two frames");
        Outcome::Complete
    });
    let mut client = client(&host);
    client.ask("/");
    let taken: usize = told.recv_timeout(LIMIT).unwrap();
    let answer = client.answer();
    assert_eq!((answer.body.len(), answer.outcome), (taken * BLOCK.len(), Outcome::Complete));
    assert_eq!(answer.log.len(), 1);
}

#[test]
fn what_has_been_gathered_makes_a_failure_one_in_the_middle() {
    let host = host(1, |_, exchange| {
        exchange.respond(200, b"200 OK", &Headers::default()).unwrap();
        yield_block(exchange, b"half");
        Outcome::Failed
    });
    let mut client = client(&host);
    for _ in 0..3 {
        client.ask("/");
        let answer = client.answer();
        assert_eq!((&answer.body[..], answer.outcome), (&b"half"[..], Outcome::Aborted));
    }
}

fn temporary_file(bytes: &[u8]) -> File {
    let name = format!("wsgi-upload-{}-{:?}", std::process::id(), thread::current().id());
    let path = std::env::temp_dir().join(name);
    std::fs::write(&path, bytes).unwrap();
    let file = File::options().read(true).write(true).open(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    file
}

fn posting_file(offset: u64, len: u64) -> Vec<u8> {
    [posting(), Span { offset, len }.encode(Kind::BodyFile, 0).to_vec()].concat()
}

#[test]
fn a_body_in_a_file_is_read_from_there() {
    let host = host(1, |_, exchange| {
        if exchange.remaining() == Some(6) {
            let mut first = [0; 2];
            assert_eq!(exchange.read(&mut first), Ok(2));
            assert_eq!(exchange.remaining(), Some(4));
            return ok(exchange, &[&first, &read_all(exchange).unwrap()[..]].concat());
        }
        ok(exchange, b"not read")
    });
    let mut client = client(&host);
    let file = temporary_file(b"0123456789");
    for (len, expected) in [(6, &b"234567"[..]), (5, b"not read"), (6, b"234567")] {
        client.send_descriptor(&posting_file(2, len), &file);
        let answer = client.answer();
        assert_eq!((&answer.body[..], answer.outcome), (expected, Outcome::Complete));
    }
    client.write(&posting());
    client.body(b"in memory", true);
    assert_eq!(client.answer().body, b"not read");
}

#[test]
fn a_body_file_is_closed_with_its_exchange() {
    let host = host(1, |_, exchange| ok(exchange, &read_all(exchange).unwrap()));
    let mut client = client(&host);
    let file = temporary_file(b"0123456789");
    let name = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap();
    client.send_descriptor(&posting_file(0, 10), &file);
    assert_eq!(client.answer().body, b"0123456789");
    drop(file);
    let is_open = || {
        let found = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
        found.flat_map(|entry| std::fs::read_link(entry.path())).any(|target| target == name)
    };
    until("the file is closed", || !is_open());
}

#[test]
fn a_body_file_that_cannot_be_read_is_an_error() {
    let host = host(1, |_, exchange| {
        let error = read_all(exchange).unwrap_err().to_string();
        assert_eq!(read_all(exchange).unwrap_err().to_string(), error);
        ok(exchange, error.as_bytes())
    });
    let none = posting_file(0, 4);
    let mut broken = none.clone();
    let at = broken.len() - 24;
    broken[at] = 15;
    let cases = [
        (posting_file(8, 4), true, "the file with the request content is shorter than it was"),
        (none, false, "BodyFile frame without its descriptor"),
        (posting_file(u64::MAX, 4), true, "frame field \"length\" is invalid"),
        (broken[..broken.len() - 1].to_vec(), true, "frame field \"length\" is invalid"),
    ];
    for (bytes, attached, expected) in cases {
        let mut client = client(&host);
        match attached {
            true => client.send_descriptor(&bytes, &temporary_file(b"0123456789")),
            false => client.write(&bytes),
        }
        let answer = client.answer();
        assert!(String::from_utf8_lossy(&answer.body).contains(expected), "{answer:?}");
    }
}

#[test]
fn a_file_arrives_ahead_of_its_response_in_one_piece() {
    let host = host(1, |request, exchange| {
        assert_eq!(exchange.takes_files(), request.flags & NO_FILE == 0);
        exchange.respond(200, b"200 OK", &Headers::default()).unwrap();
        let file = File::open(std::env::current_exe().unwrap()).unwrap();
        exchange.send_file(file.into(), Span { offset: 3, len: 4 }).unwrap();
        Outcome::Complete
    });
    let mut client = client(&host);
    for _ in 0..3 {
        client.ask("/");
        let (bytes, descriptors) = client.receive_descriptors();
        assert_eq!(descriptors.len(), 1);
        let mut found = [0; 4];
        nix::sys::uio::pread(&descriptors[0], &mut found, 0).unwrap();
        assert_eq!(&found, b"\x7fELF");
        let file = Span { offset: 3, len: 4 }.encode(Kind::File, STATIC);
        assert_eq!(&bytes[..file.len()], file);
        let response = bytes[file.len()..].first_chunk().unwrap();
        assert_eq!(Header::decode(response).unwrap().kind, Kind::Response);
        assert!(bytes.ends_with(&frame(Kind::End, 0, &[0])));
    }
}

#[test]
fn a_file_of_a_response_that_fails_is_kept_back() {
    let host = host(1, |_, exchange| {
        exchange.respond(200, b"200 OK", &Headers::default()).unwrap();
        let file = File::open(std::env::current_exe().unwrap()).unwrap();
        exchange.send_file(file.into(), Span { offset: 0, len: 4 }).unwrap();
        Outcome::Failed
    });
    let mut client = client(&host);
    client.ask("/");
    let (bytes, descriptors) = client.receive_descriptors();
    assert_eq!((bytes, descriptors.len()), (frame(Kind::End, 0, &[1]), 0));
}

#[test]
fn a_response_without_data_arrives_with_its_end() {
    let host = host(1, |_, exchange| {
        exchange.respond(304, b"304 Not Modified", &Headers::default()).unwrap();
        Outcome::Complete
    });
    let mut client = client(&host);
    client.ask("/");
    let mut piece = [0; 4096];
    let n = std::io::Read::read(&mut client.0, &mut piece).unwrap();
    assert_eq!(piece[n - 9..n], frame(Kind::End, 0, &[0]));
}

#[test]
fn a_connection_serves_one_request_after_another() {
    let host = host(1, |request, exchange| ok(exchange, request.get(b"REQUEST_URI").unwrap()));
    let mut client = client(&host);
    for path in ["/a", "/b", "/c"] {
        client.ask(path);
        let answer = client.answer();
        assert_eq!((answer.body, answer.outcome), (path.as_bytes().to_vec(), Outcome::Complete));
        let head = answer.head.unwrap();
        assert_eq!(Head::decode(&head).unwrap().headers().count(), 1);
    }
    assert_eq!(host.reports().requests(0), 3);
    until("no request is reported as running", || host.reports().running(0).is_empty());
}

#[test]
fn a_body_in_pieces_is_read_whole() {
    let host = host(1, |_, exchange| ok(exchange, &read_all(exchange).unwrap()));
    let mut client = client(&host);
    let bytes = [
        posting(),
        frame(Kind::Body, 0, b"one "),
        frame(Kind::Body, 0, b""),
        frame(Kind::Body, 0, b"two "),
        frame(Kind::Body, LAST, b"three"),
    ]
    .concat();
    for size in [1, 7, bytes.len()] {
        for piece in bytes.chunks(size) {
            client.write(piece);
        }
        assert_eq!(client.answer().body, b"one two three");
    }
    client.write(&[posting(), frame(Kind::Body, LAST, b"")].concat());
    assert_eq!(client.answer().body, b"");
}

#[test]
fn a_request_longer_than_the_buffer_is_taken() {
    let host = host(1, |request, exchange| {
        ok(exchange, format!("{}", request.get(b"REQUEST_URI").unwrap().len()).as_bytes())
    });
    let mut client = client(&host);
    let long = "/".repeat(1 << 20);
    for path in [long.as_str(), "/"] {
        client.ask(path);
        assert_eq!(client.answer().body, path.len().to_string().as_bytes());
    }
}

#[test]
fn an_unread_body_is_discarded() {
    let host = host(1, |_, exchange| ok(exchange, b"done"));
    let mut client = client(&host);
    client.write(&posting());
    assert_eq!(client.answer().body, b"done");
    client.body(&[0; 100_000], false);
    client.body(&[0; 100_000], true);
    client.ask("/next");
    assert_eq!(client.answer().body, b"done");
}

#[test]
fn both_ways_at_once_do_not_block_each_other() {
    const SIZE: usize = 8 << 20;
    let host = host(1, |_, exchange| {
        exchange.respond(200, b"200 OK", &Headers::default()).unwrap();
        let mut buf = vec![0; 64 << 10];
        loop {
            match exchange.read(&mut buf).unwrap() {
                0 => return Outcome::Complete,
                n => exchange.send(&buf[..n]).unwrap(),
            }
        }
    });
    let mut client = client(&host);
    let mut writer = Client(client.0.try_clone().unwrap());
    let sent: Vec<u8> = (0..SIZE).map(|i| (i % 251) as u8).collect();
    let body = sent.clone();
    let writing = thread::spawn(move || {
        writer.write(&posting());
        for piece in body.chunks(300_000) {
            writer.body(piece, false);
        }
        writer.body(b"", true);
    });
    let answer = client.answer();
    writing.join().unwrap();
    assert!(answer.body == sent);
    assert_eq!(answer.outcome, Outcome::Complete);
}

#[test]
fn a_block_of_any_size_arrives_unchanged() {
    let block: Vec<u8> = (0..8 << 20).map(|i: u32| (i % 253) as u8).collect();
    let expected = block.clone();
    let host = host(1, move |_, exchange| ok(exchange, &block));
    let mut client = client(&host);
    client.ask("/");
    assert!(client.answer().body == expected);
}

#[test]
fn a_client_that_leaves_in_the_middle_is_noticed() {
    let (tell, told) = channel();
    let tell = Mutex::new(tell);
    let host = host(1, move |request, exchange| {
        if request.get(b"REQUEST_URI") == Some(b"/next") {
            return ok(exchange, b"fine");
        }
        exchange.respond(200, b"200 OK", &Headers::default()).unwrap();
        while exchange.send(&[0; 64 << 10]).is_ok() {}
        let _ = tell.lock().unwrap().send(exchange.is_disconnected());
        Outcome::Aborted
    });
    let mut leaving = client(&host);
    leaving.ask("/");
    assert_eq!(leaving.frame().kind, Kind::Response);
    drop(leaving);
    assert!(told.recv_timeout(LIMIT).unwrap());
    let mut next = client(&host);
    next.ask("/next");
    assert_eq!(next.answer().body, b"fine");
}

#[test]
fn a_client_that_leaves_while_its_body_is_read_is_noticed() {
    let (tell, told) = channel();
    let tell = Mutex::new(tell);
    let host = host(1, move |_, exchange| {
        let _ = tell.lock().unwrap().send((read_all(exchange), exchange.is_disconnected()));
        Outcome::Failed
    });
    let mut client = client(&host);
    client.write(&posting());
    client.body(b"half", false);
    drop(client);
    assert_eq!(told.recv_timeout(LIMIT).unwrap(), (Err(BodyError::Closed), true));
}

#[test]
fn disconnection_is_seen_without_reading_or_writing() {
    let (tell, told) = channel();
    let tell = Mutex::new(tell);
    let host = host(1, move |_, exchange| {
        let _ = tell.lock().unwrap().send(exchange.is_disconnected());
        until("the client has gone", || exchange.is_disconnected());
        let _ = tell.lock().unwrap().send(true);
        Outcome::Failed
    });
    let mut client = client(&host);
    client.ask("/");
    assert!(!told.recv_timeout(LIMIT).unwrap());
    drop(client);
    assert!(told.recv_timeout(LIMIT).unwrap());
}

struct Lines(Mutex<Vec<String>>);

impl Sink for &'static Lines {
    fn line(&self, _: Level, text: &str) {
        self.0.lock().unwrap().push(text.to_owned());
    }
}

static LINES: Lines = Lines(Mutex::new(Vec::new()));

fn logged(text: &str) -> bool {
    LINES.0.lock().unwrap().iter().any(|line| line.contains(text))
}

#[test]
fn bad_frames_close_the_connection_and_name_the_field() {
    install(Box::new(&LINES), Level::Info);
    let host = host(1, |_, exchange| match read_all(exchange) {
        Ok(_) => ok(exchange, b""),
        Err(_) => Outcome::Failed,
    });
    let mut unknown = posting();
    unknown[4] = 99;
    let mut version = posting();
    version[8] = 77;
    let cases = [
        (unknown, "unknown frame kind 99"),
        (version, "field \"version\" is invalid"),
        (frame(Kind::End, 0, &[0]), "unexpected End frame"),
        (vec![0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0], "Request frame of 4294967295 bytes"),
    ];
    for (bytes, text) in cases {
        let mut client = client(&host);
        client.write(&bytes);
        assert!(client.is_closed());
        until(text, || logged(text));
    }
}

#[test]
fn a_second_request_before_the_end_is_refused() {
    install(Box::new(&LINES), Level::Info);
    let host = host(1, |_, exchange| match read_all(exchange) {
        Ok(_) => ok(exchange, b""),
        Err(_) => Outcome::Failed,
    });
    for bytes in [
        [posting(), posting()].concat(),
        [request(Path::new("/a"), NO_BODY, "/"), posting()].concat(),
    ] {
        let mut client = client(&host);
        client.write(&bytes);
        client.answer();
        assert!(client.is_closed());
    }
    until("one line", || logged("unexpected Request frame"));
}

#[test]
fn long_log_lines_are_split_between_characters() {
    let line = "\u{20ac}".repeat(LOG_MAX);
    let expected = line.clone();
    let host = host(1, move |_, exchange| {
        exchange.respond(200, b"200 OK", &Headers::default()).unwrap();
        exchange.log(Level::Warn, line.as_bytes());
        exchange.log(Level::Info, b"");
        Outcome::Complete
    });
    let mut client = client(&host);
    client.ask("/");
    let answer = client.answer();
    let records: Vec<_> = answer.log.iter().map(|log| LogRecord::decode(log).unwrap()).collect();
    let (last, parts) = records.split_last().unwrap();
    let text: String = parts.iter().map(|part| std::str::from_utf8(part.text).unwrap()).collect();
    assert_eq!(text, expected);
    assert!(parts.len() >= 3 && parts.iter().all(|part| part.level == Level::Warn as u8));
    assert_eq!((last.level, last.text), (Level::Info as u8, &b""[..]));
}

#[test]
fn log_lines_of_a_running_request_do_not_wait() {
    let (go, gate) = channel::<()>();
    let gate = Mutex::new(gate);
    let host = host(1, move |_, exchange| {
        exchange.respond(200, b"200 OK", &Headers::default()).unwrap();
        exchange.log(Level::Error, b"still at it");
        let _ = gate.lock().unwrap().recv();
        Outcome::Complete
    });
    let mut client = client(&host);
    client.ask("/");
    assert_eq!(client.frame().kind, Kind::Log);
    go.send(()).unwrap();
    assert_eq!(client.answer().outcome, Outcome::Complete);
}

#[test]
fn a_handle_that_is_kept_is_dead_after_the_end() {
    install(Box::new(&LINES), Level::Info);
    let kept: Arc<Mutex<Vec<Arc<dyn Exchange>>>> = Arc::default();
    let keep = Arc::clone(&kept);
    let host = host(1, move |_, exchange| {
        keep.lock().unwrap().push(Arc::clone(exchange));
        ok(exchange, b"")
    });
    let mut client = client(&host);
    for path in ["/a", "/b"] {
        client.ask(path);
        client.answer();
    }
    let old = Arc::clone(&kept.lock().unwrap()[0]);
    assert!(old.is_disconnected() && old.send(b"late").is_err());
    assert_eq!(old.read(&mut [0; 8]), Err(BodyError::Closed));
    old.log(Level::Info, b"a line after the end");
    assert!(logged("a line after the end"));
    client.ask("/c");
    assert_eq!(client.answer().outcome, Outcome::Complete);
}

#[test]
fn outcomes_fit_what_has_been_sent() {
    let host = host(1, |request, exchange| {
        let (respond, send, outcome) = match request.get(b"REQUEST_URI").unwrap() {
            b"/failed-after-respond" => (true, false, Outcome::Failed),
            b"/failed-after-send" => (true, true, Outcome::Failed),
            b"/complete-without-response" => (false, false, Outcome::Complete),
            _ => (true, true, Outcome::Aborted),
        };
        if respond {
            exchange.respond(200, b"200 OK", &Headers::default()).unwrap();
        }
        if send {
            exchange.send(b"part").unwrap();
        }
        outcome
    });
    let mut client = client(&host);
    for (path, head, outcome) in [
        ("/failed-after-respond", false, Outcome::Failed),
        ("/failed-after-send", true, Outcome::Aborted),
        ("/complete-without-response", false, Outcome::Failed),
        ("/aborted", true, Outcome::Aborted),
    ] {
        client.ask(path);
        let answer = client.answer();
        assert_eq!((answer.head.is_some(), answer.outcome), (head, outcome), "{path}");
    }
}

#[test]
fn more_connections_than_threads_are_all_served() {
    let most = Arc::new(AtomicU32::new(0));
    let (running, seen) = (AtomicU32::new(0), Arc::clone(&most));
    let host = host(3, move |_, exchange| {
        seen.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        let outcome = ok(exchange, b"x");
        running.fetch_sub(1, Ordering::SeqCst);
        outcome
    });
    let mut clients: Vec<_> = (0..20).map(|_| client(&host)).collect();
    for _ in 0..50 {
        clients.iter_mut().for_each(|client| client.ask("/"));
        for client in &mut clients {
            assert_eq!(client.answer().body, b"x");
        }
    }
    assert!(most.load(Ordering::SeqCst) <= 3);
    assert_eq!(host.reports().requests(0), 1000);
}

#[test]
fn draining_asks_nginx_to_close_and_serves_until_then() {
    let (go, gate) = channel::<()>();
    let gate = Mutex::new(gate);
    let host = Arc::new(host(2, move |request, exchange| {
        if request.get(b"REQUEST_URI") == Some(b"/slow") {
            let _ = gate.lock().unwrap().recv();
        }
        ok(exchange, b"served")
    }));
    let (mut idle, mut busy) = (client(&host), client(&host));
    idle.ask("/");
    idle.answer();
    busy.ask("/slow");
    until("the slow request runs", || {
        host.reports().running(0).iter().any(|running| running.line.ends_with("/slow"))
    });
    let draining = Arc::clone(&host);
    let drained = thread::spawn(move || draining.drain(Some(LIMIT)));
    assert_eq!(idle.frame().kind, Kind::GoAway);
    idle.ask("/late");
    assert_eq!(idle.answer().body, b"served");
    go.send(()).unwrap();
    assert_eq!(busy.answer().body, b"served");
    assert_eq!(busy.frame().kind, Kind::GoAway);
    drop((idle, busy));
    assert!(drained.join().unwrap());
    assert!(host.stop(LIMIT));
    let (_client, ours) = Client::pair();
    assert!(host.adopt(ours).is_err());
}

#[test]
fn a_stuck_thread_does_not_hold_the_stop_beyond_its_deadline() {
    let (go, gate) = channel::<()>();
    let gate = Mutex::new(gate);
    let host = host(2, move |_, exchange| {
        let _ = gate.lock().unwrap().recv();
        ok(exchange, b"at last")
    });
    let (mut stuck, mut idle) = (client(&host), client(&host));
    stuck.ask("/");
    until("the request runs", || host.reports().running(0).len() == 1);
    let began = Instant::now();
    assert!(!host.stop(Duration::from_millis(200)));
    assert!(began.elapsed() < LIMIT);
    assert!(idle.is_closed());
    go.send(()).unwrap();
    assert_eq!(stuck.answer().body, b"at last");
    assert_eq!(stuck.frame().kind, Kind::GoAway);
    assert!(host.stop(LIMIT));
    assert!(stuck.is_closed());
}
