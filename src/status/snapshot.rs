//! The state of a generation at one moment.
//!
//! What counts comes from the lease table, which hosts cannot write to. Only the requests that run
//! are taken from their reports; those are shown, and nothing follows from them.

use ngx_wsgi_host::clock::now_us;
use ngx_wsgi_host::scoreboard::{Leases, ProcessState, Reports, Restart};
use serde::Serialize;

use crate::conf::MainConf;
use crate::master::{server_version, EmbeddedBoard, Generation};

/// Everything. Its names are those of the JSON format.
#[derive(Debug, Serialize)]
pub struct Snapshot {
    /// Of this module.
    pub version: &'static str,
    pub nginx_version: String,
    /// Pid of the worker that answers.
    pub worker: u32,
    /// Seconds since the epoch.
    pub time: f64,
    pub generation: GenerationStatus,
    /// Daemon process groups in configuration order.
    pub groups: Vec<GroupStatus>,
    pub embedded: GroupStatus,
}

#[derive(Debug, Serialize)]
pub struct GenerationStatus {
    pub number: u32,
    /// Seconds since the epoch.
    pub started: f64,
    /// Whether the supervisor of the daemon processes runs; `None` where there are no groups.
    pub supervisor: Option<bool>,
}

/// A process group, or all embedded hosts.
#[derive(Debug, Serialize)]
pub struct GroupStatus {
    /// Empty for the embedded hosts.
    pub name: String,
    /// As many as are configured.
    pub size: usize,
    pub threads: u16,
    /// Of the processes that take requests.
    pub slots: u32,
    /// Of all processes.
    pub busy: u32,
    pub waiting: u64,
    /// Sent to processes since the generation began.
    pub requests: u64,
    /// How often for each reason; only for daemon processes.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "as_map")]
    pub restarts: Vec<(Restart, u64)>,
    pub processes: Vec<ProcessStatus>,
}

#[derive(Debug, Serialize)]
pub struct ProcessStatus {
    /// Number of the worker; only for embedded hosts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worker: Option<usize>,
    pub pid: u32,
    pub state: &'static str,
    /// Seconds.
    pub age: f64,
    pub slots: u16,
    pub busy: u32,
    /// Sent to it so far.
    pub requests: u64,
    pub running: Vec<RunningStatus>,
}

/// What a slot runs, as its process says; those that have run longest come first.
#[derive(Debug, Serialize)]
pub struct RunningStatus {
    pub slot: usize,
    /// Since it was taken up.
    pub seconds: f64,
    pub request: String,
    pub script: String,
}

/// The states in which a process is there, with the names that are shown.
pub const STATES: [(ProcessState, &str); 4] = [
    (ProcessState::Starting, "starting"),
    (ProcessState::Ready, "ready"),
    (ProcessState::Overdue, "overdue"),
    (ProcessState::Draining, "draining"),
];

fn as_map<S: serde::Serializer>(restarts: &[(Restart, u64)], to: S) -> Result<S::Ok, S::Error> {
    to.collect_map(restarts.iter().map(|(restart, count)| (restart.name(), count)))
}

/// Seconds with milliseconds.
fn seconds(us: u64) -> f64 {
    (us / 1000) as f64 / 1e3
}

impl Snapshot {
    pub fn take(conf: &MainConf, generation: &Generation) -> Self {
        let now = now_us();
        let (major, minor, patch) = server_version();
        let daemons = generation.daemons.as_ref();
        let supervisor = (!conf.groups.is_empty())
            .then(|| daemons.is_some_and(|daemons| !daemons.supervisor_is_dead()));
        let groups = conf.groups.iter().enumerate().map(|(index, group)| {
            let mut status =
                GroupStatus::new(&group.name, group.processes().into(), group.threads());
            if let Some(daemons) = daemons {
                status.add(&daemons.leases, index, &daemons.reports[index], now);
                let restarts = Restart::ALL.into_iter();
                let count = |restart| (restart, daemons.leases.restarts(index, restart));
                status.restarts = restarts.map(count).collect();
            }
            status
        });
        Snapshot {
            version: env!("CARGO_PKG_VERSION"),
            nginx_version: format!("{major}.{minor}.{patch}"),
            worker: std::process::id(),
            time: seconds(now),
            generation: GenerationStatus {
                number: generation.facts.number,
                started: seconds(generation.facts.started_us),
                supervisor,
            },
            groups: groups.collect(),
            embedded: embedded(conf, generation.embedded.as_ref(), now),
        }
    }
}

fn embedded(conf: &MainConf, board: Option<&EmbeddedBoard>, now: u64) -> GroupStatus {
    let workers = board.map_or(0, |board| board.reports.len());
    let mut status = GroupStatus::new("", workers, conf.embedded_threads());
    for (worker, reports) in board.iter().flat_map(|board| board.reports.iter().enumerate()) {
        let before = status.processes.len();
        if let Some(board) = board {
            status.add(&board.leases, worker, reports, now);
        }
        for process in &mut status.processes[before..] {
            process.worker = Some(worker);
        }
    }
    status
}

impl GroupStatus {
    fn new(name: &str, size: usize, threads: u16) -> Self {
        let (slots, busy, waiting, requests) = Default::default();
        let (restarts, processes) = Default::default();
        let name = name.to_owned();
        GroupStatus { name, size, threads, slots, busy, waiting, requests, restarts, processes }
    }

    /// Adds what a group of a lease table has.
    fn add(&mut self, leases: &Leases, group: usize, reports: &Reports, now: u64) {
        self.waiting += leases.queued(group);
        self.requests += leases.requests_of(group);
        let seats = 0..leases.shape().processes_of(group).len();
        let mut processes: Vec<_> =
            seats.filter_map(|seat| process(leases, group, seat, reports, now)).collect();
        processes.sort_by(|one, other| other.age.total_cmp(&one.age));
        for process in &processes {
            self.busy += process.busy;
            if matches!(process.state, "ready" | "overdue") {
                self.slots += u32::from(process.slots);
            }
        }
        self.processes.extend(processes);
    }

    /// How many processes are in a state of [`STATES`].
    pub fn count(&self, state: &str) -> usize {
        self.processes.iter().filter(|process| process.state == state).count()
    }

    /// Seconds that the oldest of the running requests has run.
    pub fn longest(&self) -> f64 {
        let running = self.processes.iter().flat_map(|process| &process.running);
        running.map(|running| running.seconds).fold(0.0, f64::max)
    }
}

fn process(
    leases: &Leases,
    group: usize,
    seat: usize,
    reports: &Reports,
    now: u64,
) -> Option<ProcessStatus> {
    let state = leases.state(group, seat);
    let (_, state) = STATES.into_iter().find(|(known, _)| *known == state)?;
    let (pid, started) = leases.introduced(group, seat)?;
    // A thread reports its end after nginx has seen it; what has no lease is over.
    let busy = leases.busy(group, seat);
    let mut reported = reports.running(seat);
    reported.sort_by_key(|running| running.started_us);
    reported.truncate(busy as usize);
    let running = reported.into_iter().map(|running| RunningStatus {
        slot: running.thread,
        seconds: seconds(now.saturating_sub(running.started_us)),
        request: running.line,
        script: running.script,
    });
    Some(ProcessStatus {
        worker: None,
        pid,
        state,
        age: seconds(now.saturating_sub(started)),
        slots: leases.shape().groups()[group].threads,
        busy,
        requests: leases.requests(group, seat),
        running: running.collect(),
    })
}
