//! How much of the machine a daemon process may use.

use nix::errno::Errno;
use nix::sys::resource::{setrlimit, Resource};

use crate::config::GroupConfig;

/// `cpu-priority=`; raising it takes the privileges that the process is about to give up. A refusal
/// is a warning.
pub fn set_priority(group: &GroupConfig) {
    let Some(priority) = group.cpu_priority else { return };
    // SAFETY: a system call without pointers.
    let result = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, priority) };
    if let Err(errno) = Errno::result(result) {
        refused(group, &format!("CPU priority to {priority}"), errno);
    }
}

/// The resource limits, which programs that the application starts inherit. A refusal is a warning.
pub fn apply(group: &GroupConfig) {
    let limits = &group.limits;
    let set = |resource, what: &str, soft: Option<u64>, extra: u64| {
        let Some(soft) = soft else { return };
        if let Err(errno) = setrlimit(resource, soft, soft.saturating_add(extra)) {
            refused(group, &format!("{what} to {soft}"), errno);
        }
    };
    set(Resource::RLIMIT_DATA, "memory limit", limits.memory, 0);
    set(Resource::RLIMIT_AS, "virtual memory limit", limits.virtual_memory, 0);
    // The hard limit kills: it leaves a process that ends because of the soft one time to do so.
    let grace = 1 + u64::from(group.shutdown_timeout);
    set(Resource::RLIMIT_CPU, "CPU time limit", limits.cpu_time.map(u64::from), grace);
}

fn refused(group: &GroupConfig, what: &str, errno: Errno) {
    tracing::warn!(
        "daemon process group \"{}\": cannot set the {what}: {}",
        group.name,
        errno.desc()
    );
}
