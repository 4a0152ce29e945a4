//! The process that the processes of a group are forked from where Python is initialised before
//! (`wsgi_lazy_initialization off`).
//!
//! It is what they are: it has given up root before Python starts. It runs nothing of an application,
//! has one thread, and sleeps until the supervisor wants a process.

use std::fs::{File, Metadata};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use nix::errno::Errno;
use nix::sys::signal::Signal;

use super::adoption::{fork_for_subreaper, Forked};
use super::template_line::{Order, TemplateLine, Word};
use super::{descriptors, identity, runtime_config, Common, SetupError, Start};
use crate::python::Initialized;
use crate::succession::Succession;

/// Runs a template, and every process that is forked from it, to its end; called right after fork.
/// Returns the exit code, with which the caller must exit.
pub fn run(common: Common<'_>, log: OwnedFd, line: TemplateLine) -> i32 {
    let group = common.group;
    if let Err(error) = common.redirect(log.as_fd()) {
        return common.alert(&error);
    }
    drop(log);
    let title = format!("ngx-wsgi-host: template of daemon process {}", group.name);
    let python = match set_up(common, &title, &line) {
        Ok(python) => python,
        Err(error) => return common.alert(&error),
    };
    loop {
        let Ok(Some((order, descriptors))) = line.hear::<Order>() else { return 0 };
        // SAFETY: no other thread, see `set_up`.
        let fork = || unsafe { fork_for_subreaper() };
        let is_child = |forked: &Forked| matches!(forked, Forked::Child);
        let word = match python.around_fork(fork, is_child) {
            Ok(Forked::Child) => {
                drop(line);
                return become_process(common, order, descriptors, python);
            }
            Ok(Forked::Parent(pid)) => Word::Forked(pid.as_raw()),
            Err(errno) => Word::Failed(errno as i32),
        };
        drop(descriptors);
        if line.say(&word, &[]).is_err() {
            return 0;
        }
    }
}

fn set_up(common: Common<'_>, title: &str, line: &TemplateLine) -> Result<Initialized, SetupError> {
    // Opened before the root directory changes.
    let threads = Threads::look();
    common.title.set(title);
    common.assume_identity()?;
    // All signals stay blocked: those that end a group's processes are theirs.
    identity::tie_to(common.supervisor, Signal::SIGKILL)?;
    let group = common.group;
    let mut keep = vec![group.report, line.as_raw_fd()];
    keep.extend(group.listeners.iter().map(|listener| listener.fd));
    keep.extend(threads.as_ref().map(|threads| threads.tasks.as_raw_fd()));
    descriptors::close_all_but(&mut keep)?;
    let context = format!("the template of daemon process '{}'", group.name);
    let config = runtime_config(&common);
    let python = Initialized::new(&config, &context).map_err(SetupError::Template)?;
    python.make_shareable();
    // A fork copies only the thread that calls it: what others hold would stay locked for ever.
    if threads.is_none_or(|threads| threads.have_changed()) {
        return Err(SetupError::Threads);
    }
    line.say(&Word::Ready, &[]).map_err(SetupError::step("reach the supervisor"))?;
    Ok(python)
}

/// From a template to a daemon process. It ends with that process's exit code.
fn become_process(
    common: Common<'_>,
    order: Order,
    descriptors: Vec<OwnedFd>,
    python: Initialized,
) -> i32 {
    let Ok([control, log]) = <[OwnedFd; 2]>::try_from(descriptors) else {
        let step = SetupError::step("take the supervisor's descriptors");
        return common.alert(&step(Errno::EBADMSG));
    };
    if let Err(error) = common.redirect(log.as_fd()) {
        return common.alert(&error);
    }
    let patience = std::time::Duration::from_secs_f64(common.group.reload_wait);
    let start = Start {
        common,
        seat: order.seat,
        succession: Arc::new(Succession::new(control.into(), patience)),
        wish: order.wish.as_ref(),
        log,
    };
    // Before its descriptors, which have been closed underneath it, are dropped.
    std::process::exit(super::live(&start, Some(python)))
}

/// Tells whether threads have been started.
struct Threads {
    tasks: File,
    count: u64,
}

impl Threads {
    /// `None` where the kernel does not tell.
    fn look() -> Option<Self> {
        let tasks = File::open("/proc/self/task").ok()?;
        let count = count(&tasks.metadata().ok()?);
        Some(Threads { tasks, count })
    }

    fn have_changed(&self) -> bool {
        self.tasks.metadata().map_or(true, |now| count(&now) != self.count)
    }
}

/// proc_pid_task(5): the directory has a link for each thread, besides those of every directory.
fn count(tasks: &Metadata) -> u64 {
    tasks.nlink()
}
