//! A Python runtime in the test's process, and requests to it without a server.

// Each test binary uses its own part.
#![allow(dead_code)]

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{mpsc, Arc, Mutex, OnceLock};
use std::{fs, thread};

use ngx_wsgi_host::config::{PythonConfig, RuntimeConfig};
use ngx_wsgi_host::exchange::{BodyError, Disconnected, Exchange};
use ngx_wsgi_host::log::{self, Level, Sink};
use ngx_wsgi_host::python::{RequestThread, Runtime};
use ngx_wsgi_host::wire::{
    Headers, Outcome, Request, RequestEncoder, Target, HEADER_LEN, NO_BODY, RELOADING,
};

/// The name that the runtime's process group has in tests.
pub const PROCESS_GROUP: &str = "workers";

/// Status, status line and headers.
pub type Head = (u16, String, Vec<(String, String)>);

/// What is logged outside of requests.
#[derive(Default)]
pub struct ProcessLog(Mutex<Vec<(Level, String)>>);

impl Sink for &'static ProcessLog {
    fn line(&self, level: Level, text: &str) {
        self.0.lock().unwrap().push((level, text.to_owned()));
    }
}

pub fn process_log() -> &'static ProcessLog {
    static LOG: OnceLock<ProcessLog> = OnceLock::new();
    LOG.get_or_init(ProcessLog::default)
}

impl ProcessLog {
    pub fn has(&self, level: Level, text: &str) -> bool {
        self.0.lock().unwrap().iter().any(|line| line.0 == level && line.1.contains(text))
    }

    pub fn text(&self) -> String {
        self.0.lock().unwrap().iter().map(|line| format!("{}\n", line.1)).collect()
    }
}

/// The directory of this process's scripts: below target/, one for each test binary. What an earlier
/// run has left goes.
pub fn directory() -> PathBuf {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    let make = || {
        let binary = std::env::current_exe().unwrap();
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(binary.file_stem().unwrap());
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        path
    };
    DIRECTORY.get_or_init(make).clone()
}

pub fn config() -> RuntimeConfig {
    RuntimeConfig {
        process_group: PROCESS_GROUP.to_owned(),
        threads: 5,
        processes: 2,
        multiprocess: true,
        python: PythonConfig { server_version: (1, 22, 1), ..PythonConfig::default() },
        ..RuntimeConfig::default()
    }
}

/// The process's runtime; the first caller's configuration counts. Python's main thread lives as
/// long as the process.
pub fn runtime_with(config: impl FnOnce() -> RuntimeConfig + Send + 'static) -> Arc<Runtime> {
    static RUNTIME: OnceLock<Arc<Runtime>> = OnceLock::new();
    let start = move || {
        log::install(Box::new(process_log()), Level::Debug);
        let (send, receive) = mpsc::channel();
        thread::spawn(move || {
            send.send(Runtime::start(config()).unwrap()).unwrap();
            loop {
                thread::park();
            }
        });
        receive.recv().unwrap()
    };
    Arc::clone(RUNTIME.get_or_init(start))
}

pub fn runtime() -> Arc<Runtime> {
    runtime_with(config)
}

/// Writes a script under a name that no other test uses.
pub fn script(source: &str) -> PathBuf {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let name = format!("app{}.wsgi", COUNT.fetch_add(1, Ordering::Relaxed));
    let path = directory().join(name);
    fs::write(&path, source).unwrap();
    path
}

/// An exchange in memory.
#[derive(Default)]
pub struct Recorder {
    body: Mutex<Vec<u8>>,
    /// Most bytes that one read returns.
    piece: usize,
    body_error: Option<BodyError>,
    head: Mutex<Option<Head>>,
    blocks: Mutex<Vec<Vec<u8>>>,
    log: Mutex<Vec<(Level, String)>>,
    /// Blocks until the client goes away.
    blocks_left: Option<AtomicUsize>,
    refuses_head: bool,
    gone: AtomicBool,
}

impl Exchange for Recorder {
    fn read(&self, buf: &mut [u8]) -> Result<usize, BodyError> {
        let mut body = self.body.lock().unwrap();
        if body.is_empty() {
            return self.body_error.clone().map_or(Ok(0), Err);
        }
        let len = buf.len().min(body.len()).min(self.piece);
        buf[..len].copy_from_slice(&body[..len]);
        body.drain(..len);
        Ok(len)
    }

    fn respond(
        &self,
        status: u16,
        status_line: &[u8],
        headers: &Headers,
    ) -> Result<(), Disconnected> {
        if self.refuses_head {
            return Err(Disconnected);
        }
        let text = |bytes: &[u8]| bytes.iter().map(|byte| *byte as char).collect::<String>();
        let headers = headers.iter().map(|(name, value)| (text(name), text(value))).collect();
        let before = self.head.lock().unwrap().replace((status, text(status_line), headers));
        assert!(before.is_none(), "headers went out twice");
        Ok(())
    }

    fn send(&self, block: &[u8]) -> Result<(), Disconnected> {
        assert!(self.head.lock().unwrap().is_some(), "data went out before headers");
        if let Some(left) = &self.blocks_left {
            if left.load(Ordering::Relaxed) == 0 {
                self.gone.store(true, Ordering::Relaxed);
                return Err(Disconnected);
            }
            left.fetch_sub(1, Ordering::Relaxed);
        }
        self.blocks.lock().unwrap().push(block.to_vec());
        Ok(())
    }

    fn log(&self, level: Level, line: &[u8]) {
        self.log.lock().unwrap().push((level, String::from_utf8_lossy(line).into_owned()));
    }

    fn is_disconnected(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }
}

/// A request to be made.
pub struct Visit {
    script: PathBuf,
    group: String,
    callable: String,
    flags: u8,
    start_us: u64,
    script_modified: Option<i64>,
    environ: Vec<(Vec<u8>, Vec<u8>)>,
    recorder: Recorder,
}

/// What came of it.
#[derive(Debug)]
pub struct Answer {
    pub outcome: Outcome,
    pub head: Option<Head>,
    pub blocks: Vec<Vec<u8>>,
    pub log: Vec<(Level, String)>,
}

impl Visit {
    pub fn to(script: &Path) -> Self {
        Visit {
            script: script.to_owned(),
            group: String::new(),
            callable: "application".to_owned(),
            flags: NO_BODY,
            start_us: 1_000_000_500_000,
            script_modified: None,
            environ: vec![
                (b"REQUEST_METHOD".to_vec(), b"GET".to_vec()),
                (b"SCRIPT_NAME".to_vec(), b"/app".to_vec()),
                (b"PATH_INFO".to_vec(), b"/".to_vec()),
            ],
            recorder: Recorder { piece: usize::MAX, ..Recorder::default() },
        }
    }

    pub fn group(mut self, group: &str) -> Self {
        self.group = group.to_owned();
        self
    }

    pub fn callable(mut self, name: &str) -> Self {
        self.callable = name.to_owned();
        self
    }

    pub fn flag(mut self, flag: u8) -> Self {
        self.flags |= flag;
        self
    }

    /// nginx has looked at the script `age_us` microseconds ago, and seen that it was modified then.
    pub fn seen(mut self, modified: i64, age_us: u64) -> Self {
        self.start_us = ngx_wsgi_host::clock::now_us() - age_us;
        self.script_modified = Some(modified);
        self
    }

    pub fn reloading(self) -> Self {
        self.flag(RELOADING)
    }

    pub fn set(mut self, name: &str, value: &[u8]) -> Self {
        self.environ.push((name.as_bytes().to_vec(), value.to_vec()));
        self
    }

    /// A body that arrives in pieces of at most `piece` bytes.
    pub fn body(mut self, body: &[u8], piece: usize) -> Self {
        self.flags &= !NO_BODY;
        self.recorder.body = Mutex::new(body.to_vec());
        self.recorder.piece = piece;
        self
    }

    pub fn body_error(mut self, error: BodyError) -> Self {
        self.recorder.body_error = Some(error);
        self
    }

    pub fn gone_after(mut self, blocks: usize) -> Self {
        self.recorder.blocks_left = Some(AtomicUsize::new(blocks));
        self
    }

    pub fn refusing_head(mut self) -> Self {
        self.recorder.refuses_head = true;
        self
    }

    /// Makes the request on a thread that has served others.
    pub fn make_on(self, thread: &mut RequestThread) -> Answer {
        let script = self.script.to_str().unwrap().as_bytes();
        let target = Target {
            flags: self.flags,
            id: 1,
            start_us: self.start_us,
            script_modified: self.script_modified,
            queue_us: 1_000_001_500_000,
            process_group: PROCESS_GROUP.as_bytes(),
            application_group: self.group.as_bytes(),
            script,
            callable: self.callable.as_bytes(),
        };
        let mut encoder = RequestEncoder::new(&target);
        self.environ.iter().for_each(|(name, value)| encoder.entry(name, value));
        let frame = encoder.finish().unwrap();
        let request = Request::decode(&frame[HEADER_LEN..]).unwrap();
        let recorder = Arc::new(self.recorder);
        let exchange: Arc<dyn Exchange> = recorder.clone();
        let outcome = thread.serve(&request, &exchange);
        let head = recorder.head.lock().unwrap().take();
        let blocks = std::mem::take(&mut *recorder.blocks.lock().unwrap());
        let log = std::mem::take(&mut *recorder.log.lock().unwrap());
        Answer { outcome, head, blocks, log }
    }

    /// Makes the request on a thread of its own.
    pub fn make(self) -> Answer {
        let runtime = runtime();
        thread::spawn(move || self.make_on(&mut runtime.thread(1))).join().unwrap()
    }
}

/// Runs the body of `application` (indented by four spaces or not at all is up to the caller).
pub fn run(source: &str) -> Answer {
    Visit::to(&script(source)).make()
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.blocks.concat()).into_owned()
    }

    pub fn status(&self) -> Option<u16> {
        self.head.as_ref().map(|head| head.0)
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let headers = &self.head.as_ref()?.2;
        headers.iter().find(|header| header.0 == name).map(|header| header.1.as_str())
    }

    pub fn logged(&self, level: Level, text: &str) -> bool {
        self.log.iter().any(|line| line.0 == level && line.1.contains(text))
    }

    pub fn log_text(&self) -> String {
        self.log.iter().map(|line| format!("{}\n", line.1)).collect()
    }

    /// The request has gone well, with this body.
    #[track_caller]
    pub fn expect(&self, body: &str) {
        assert_eq!(self.outcome, Outcome::Complete, "{}", self.log_text());
        assert_eq!(self.text(), body, "{}", self.log_text());
    }

    /// The request has failed before anything was sent, with this in the log.
    #[track_caller]
    pub fn expect_failure(&self, text: &str) {
        assert_eq!(self.outcome, Outcome::Failed, "{}", self.log_text());
        assert!(self.logged(Level::Error, text), "no {text:?} in\n{}", self.log_text());
        assert_eq!(self.head, None);
    }
}
