//! A supervisor process with everything that nginx would give it.
#![allow(dead_code)]

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use ngx_wsgi_host::config::{
    ConnectionConfig, ErrorLog, GroupConfig, Limits, Listener, PythonConfig, SupervisorConfig,
    Timers,
};
use ngx_wsgi_host::scoreboard::{
    seats, GenerationFacts, GroupShape, Leases, ProcessState, Reports, Shape,
};
use nix::fcntl::{fcntl, FcntlArg, FdFlag};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::memfd::{memfd_create, MFdFlags};
use nix::sys::signal::{kill, Signal};
use nix::sys::socket::{socketpair, AddressFamily, SockFlag, SockType};
use nix::unistd::Pid;

/// Longest time that anything in a test takes.
pub const LIMIT: Duration = Duration::from_secs(30);

static NEXT: AtomicU32 = AtomicU32::new(0);

pub struct Supervised {
    pub dir: PathBuf,
    pub leases: Leases,
    pub reports: Vec<Reports>,
    pub wakeup: EventFd,
    pub lifeline: Option<OwnedFd>,
    pub sockets: Vec<Vec<PathBuf>>,
    pub child: Child,
}

/// A group with one process and two threads.
pub fn group(name: &str) -> GroupConfig {
    GroupConfig {
        name: name.into(),
        processes: 1,
        multiprocess: false,
        threads: 2,
        credentials: None,
        user_home: None,
        user_name: None,
        umask: None,
        home: None,
        python_path: Vec::new(),
        python_home: None,
        python_eggs: None,
        switch_interval: None,
        lang: None,
        locale: None,
        display_name: None,
        shutdown_timeout: 5,
        timers: Timers::default(),
        reload_wait: 0.0,
        error_log: None,
        listeners: Vec::new(),
        report: -1,
        imports: Vec::new(),
        stack_size: None,
        cpu_priority: None,
        limits: Limits::default(),
        chroot: None,
        socket_uid: None,
        connections: ConnectionConfig::default(),
        server_metrics: false,
    }
}

pub fn temporary() -> PathBuf {
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("ngx-wsgi-supervisor-{}-{number}", std::process::id());
    let dir = std::env::temp_dir().join(name);
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir(&dir).unwrap();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
    dir
}

impl Supervised {
    pub fn start(groups: Vec<GroupConfig>) -> Self {
        Self::start_in(temporary(), groups)
    }

    pub fn start_in(dir: PathBuf, mut groups: Vec<GroupConfig>) -> Self {
        let mut passed: Vec<OwnedFd> = Vec::new();
        let mut pass = |fd: OwnedFd| -> RawFd {
            passed.push(fd);
            passed[passed.len() - 1].as_raw_fd()
        };
        let shape =
            groups.iter().map(|g| GroupShape { processes: seats(g.processes), threads: g.threads });
        let (leases, leases_fd) = Leases::create(Shape::new(shape.collect(), 1)).unwrap();
        let (mut reports, mut sockets) = (Vec::new(), Vec::new());
        for group in &mut groups {
            let (report, fd) = Reports::create(seats(group.processes), group.threads).unwrap();
            reports.push(report);
            group.report = pass(fd);
            let paths =
                (0..seats(group.processes)).map(|i| dir.join(format!("{}.{i}.sock", group.name)));
            let paths: Vec<PathBuf> = paths.collect();
            for path in paths.iter().cloned() {
                let listener = UnixListener::bind(&path).unwrap();
                group.listeners.push(Listener { fd: pass(listener.into()), path });
            }
            sockets.push(paths);
        }
        let flags = SockFlag::SOCK_CLOEXEC;
        let (ours, theirs) =
            socketpair(AddressFamily::Unix, SockType::Stream, None, flags).unwrap();
        let wakeup = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK).unwrap();
        let log = File::options().append(true).create(true).open(dir.join("error.log")).unwrap();
        let config = SupervisorConfig {
            lifeline: pass(theirs),
            leases: pass(leases_fd),
            wakeups: vec![pass(wakeup.as_fd().try_clone_to_owned().unwrap())],
            error_log: ErrorLog {
                fd: pass(log.into()),
                path: Some(dir.join("error.log")),
                level: 7,
            },
            python: PythonConfig { server_version: (1, 22, 1), ..PythonConfig::default() },
            worker_uid: None,
            generation: GenerationFacts::default(),
            groups,
        };
        let child = spawn(&config, &passed);
        Supervised { dir, leases, reports, wakeup, lifeline: Some(ours), sockets, child }
    }

    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id() as i32)
    }

    pub fn daemon(&self, group: usize) -> Pid {
        Pid::from_raw(self.reports[group].pid(0) as i32)
    }

    pub fn is_ready(&self, group: usize) -> bool {
        self.leases.state(group, 0) == ProcessState::Ready
    }

    pub fn wait_ready(&self, group: usize) {
        self.until("the process is ready", || self.is_ready(group));
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.join("error.log")).unwrap_or_default()
    }

    pub fn wait_log(&self, text: &str) {
        self.until(text, || self.log().contains(text));
    }

    pub fn until(&self, text: &str, mut what: impl FnMut() -> bool) {
        let limit = Instant::now() + LIMIT;
        while !what() {
            assert!(Instant::now() < limit, "not within {LIMIT:?}: {text}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn wait_exit(&mut self) -> ExitStatus {
        let limit = Instant::now() + LIMIT;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < limit, "the supervisor does not exit\n{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            // The daemon processes follow it by themselves.
            let _ = kill(self.pid(), Signal::SIGKILL);
            let _ = self.child.wait();
        }
        if !std::thread::panicking() {
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

fn spawn(config: &SupervisorConfig, passed: &[OwnedFd]) -> Child {
    let json = memfd_create(c"config", MFdFlags::MFD_CLOEXEC).unwrap();
    let mut file = File::from(json);
    file.write_all(serde_json::to_string(config).unwrap().as_bytes()).unwrap();
    let mut open: Vec<RawFd> = passed.iter().map(AsRawFd::as_raw_fd).collect();
    open.push(file.as_raw_fd());
    let mut command = Command::new(env!("CARGO_BIN_EXE_ngx-wsgi-host"));
    command.arg(file.as_raw_fd().to_string()).stdin(Stdio::null());
    let inherit = move || {
        for fd in &open {
            // SAFETY: the descriptors are open in the parent until spawn() has returned.
            let fd = unsafe { std::os::fd::BorrowedFd::borrow_raw(*fd) };
            fcntl(fd, FcntlArg::F_SETFD(FdFlag::empty()))?;
        }
        Ok(())
    };
    // SAFETY: the closure only calls fcntl, which is async-signal-safe.
    unsafe { command.pre_exec(inherit) };
    command.spawn().unwrap()
}

/// A field of /proc/PID/status.
pub fn status(pid: Pid, field: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{field}:")));
    line.unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What `ps` shows.
pub fn title(pid: Pid) -> String {
    let text = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&text).trim_end_matches('\0').to_owned()
}

pub fn is_alive(pid: Pid) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}
