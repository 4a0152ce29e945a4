//! A reload waits for the new daemon processes, so that no request has to.

use std::thread;
use std::time::{Duration, Instant};

use nginx_sys::ngx_cycle_t;
use ngx::ngx_log_error;
use ngx_wsgi_host::scoreboard::ProcessState;

use super::generation::{Daemons, Generation};
use crate::conf::MainConf;
use crate::ffi::Role;

/// Longest time that the master waits. The old workers go on meanwhile.
const LIMIT: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_millis(5);

impl Generation {
    /// Waits until all processes that take requests are ready. Only for a master whose old workers
    /// are still at work.
    pub fn wait_until_ready(&self, conf: &MainConf, cycle: &ngx_cycle_t) {
        let Some(daemons) = &self.daemons else { return };
        let until = Instant::now() + LIMIT;
        loop {
            let starting = daemons.starting(conf);
            if starting.is_empty() || daemons.supervisor_is_dead() || Role::told_to_end() {
                return;
            }
            if Instant::now() >= until {
                // nginx's clock stands still between events.
                // SAFETY: only reads the time, on the thread of nginx's callbacks.
                unsafe { nginx_sys::ngx_time_update() };
                ngx_log_error!(
                    nginx_sys::NGX_LOG_WARN,
                    cycle.log,
                    "daemon processes are not ready after {} s, nginx goes on without them: group {}",
                    LIMIT.as_secs(),
                    starting.join(", ")
                );
                return;
            }
            thread::sleep(LOOK_AGAIN);
        }
    }
}

impl Daemons {
    /// The groups that take requests and don't have all their processes yet, quoted.
    fn starting(&self, conf: &MainConf) -> Vec<String> {
        let groups = conf.groups.iter().enumerate().filter(|(_, group)| !group.is_service());
        let starting = groups.filter(|(index, group)| {
            let is_ready = |seat| self.leases.state(*index, seat) == ProcessState::Ready;
            let ready = (0..usize::from(group.seats())).filter(|seat| is_ready(*seat)).count();
            // One that has died is tried again; how long that goes on nobody knows.
            let starts =
                (0..usize::from(group.seats())).map(|seat| self.leases.incarnation(*index, seat));
            let none_died = starts.max() <= Some(u32::from(group.processes()));
            ready < usize::from(group.processes()) && none_died
        });
        starting.map(|(_, group)| format!("\"{}\"", group.name)).collect()
    }
}
