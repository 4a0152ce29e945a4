//! Templates: what the processes of a group are forked from where Python is initialised before.
//!
//! A template that cannot be had keeps no process from being started: the supervisor forks it then,
//! and it starts a Python of its own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{poll, PollFd, PollFlags};
use nix::sys::signal::{kill, Signal};
use nix::sys::wait::{waitid, Id, WaitPidFlag};
use nix::unistd::Pid;
use std::os::fd::{AsFd, RawFd};

use super::backoff::Backoff;
use super::child::write;
use super::death::Death;
use super::fork;
use super::lines::LogPipe;
use super::run::Supervisor;
use crate::clock::poll_timeout;
use crate::config::SupervisorConfig;
use crate::log::LogFile;
use crate::process::{TemplateLine, TemplateOrder, TemplateWord};

/// Longest time that a template takes until it is ready.
const START: Duration = Duration::from_secs(60);

/// Longest time that it takes for an order; the supervisor does nothing else meanwhile.
const ANSWER: Duration = Duration::from_secs(5);

/// A group's template, its last one's successor included.
#[derive(Default)]
pub struct Place {
    pub template: Option<Template>,
    /// When the next one is started; `None`: there is one, or there will be none.
    due: Option<Instant>,
    backoff: Backoff,
}

/// A running template.
pub struct Template {
    pub pid: Pid,
    pub line: TemplateLine,
    pub pipe: LogPipe,
    log: Arc<LogFile>,
    started: Instant,
    ready_since: Option<Instant>,
    /// It has been killed.
    pub over: bool,
}

impl Place {
    /// The place of a group's template, if it is to have one.
    pub fn of(config: &SupervisorConfig, group: usize) -> Self {
        let wanted = config.uses_template(&config.groups[group]);
        Place { due: wanted.then(Instant::now), ..Place::default() }
    }

    /// Whether a template is about to be ready: processes are worth waiting for it.
    fn is_starting(&self) -> bool {
        self.template.as_ref().is_some_and(|t| t.ready_since.is_none() && !t.over)
    }

    fn ready(&mut self) -> Option<&mut Template> {
        self.template.as_mut().filter(|template| template.ready_since.is_some() && !template.over)
    }
}

impl Template {
    /// Ends it: it has nothing to lose.
    fn kill(&mut self) {
        self.over = true;
        // Not reaped yet, so the pid is still this template's.
        let _ = kill(self.pid, Signal::SIGKILL);
    }

    fn fork(&self, order: &TemplateOrder, descriptors: &[RawFd]) -> Result<Pid, Errno> {
        self.line.say(order, descriptors)?;
        let until = Instant::now() + ANSWER;
        let mut answer = [PollFd::new(self.line.as_fd(), PollFlags::POLLIN)];
        loop {
            match poll(&mut answer, poll_timeout(Some(until))) {
                Ok(0) if Instant::now() >= until => return Err(Errno::ETIMEDOUT),
                Ok(0) | Err(Errno::EINTR) => {}
                Ok(_) => break,
                Err(errno) => return Err(errno),
            }
        }
        match self.line.hear()? {
            Some((TemplateWord::Forked(pid), _)) if is_child(pid) => Ok(Pid::from_raw(pid)),
            Some((TemplateWord::Failed(errno), _)) => Err(Errno::from_raw(errno)),
            Some(_) => Err(Errno::EBADMSG),
            None => Err(Errno::EPIPE),
        }
    }
}

/// Templates may say anything; what is no child of the supervisor is not sent signals.
fn is_child(pid: i32) -> bool {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    pid > 0 && waitid(Id::Pid(Pid::from_raw(pid)), flags) != Err(Errno::ECHILD)
}

impl Supervisor {
    /// Starts the templates whose time has come.
    pub(super) fn start_templates(&mut self) {
        let now = Instant::now();
        for group in 0..self.templates.len() {
            if self.templates[group].due.is_none_or(|due| due > now) {
                continue;
            }
            let log = self.log_of(group);
            let common = self.common(&self.config, group, log.threshold());
            let started = fork::start_template(common);
            let place = &mut self.templates[group];
            match started {
                Ok((pid, line, pipe)) => {
                    let started = Instant::now();
                    let (ready_since, over) = (None, false);
                    place.due = None;
                    place.template =
                        Some(Template { pid, line, pipe, log, started, ready_since, over });
                }
                Err(errno) => {
                    place.due = Some(now + place.backoff.pause(Duration::ZERO));
                    let name = &self.config.groups[group].name;
                    tracing::error!(
                        level = 2u64,
                        "cannot start the template of daemon process group \"{name}\": {}",
                        errno.desc()
                    );
                }
            }
        }
    }

    fn log_of(&self, group: usize) -> Arc<LogFile> {
        let slot = self.slots.iter().find(|slot| slot.group == group);
        Arc::clone(slot.map_or(&self.log, |slot| &slot.log))
    }

    /// Whether processes of the group are to wait for its template.
    pub(super) fn awaits_template(&self, group: usize) -> bool {
        self.templates[group].is_starting()
    }

    /// The templates that run, and their groups.
    pub(super) fn running_templates(&self) -> impl Iterator<Item = (usize, &Template)> {
        let places = self.templates.iter().enumerate();
        places.filter_map(|(group, place)| Some((group, place.template.as_ref()?)))
    }

    /// When the next template is to be started, or has taken too long.
    pub(super) fn next_template(&self) -> Option<Instant> {
        let starting = self.templates.iter().filter(|place| place.is_starting());
        let limits = starting.filter_map(|place| Some(place.template.as_ref()?.started + START));
        let due = self.templates.iter().filter_map(|place| place.due);
        limits.chain(due.filter(|_| !self.stopping)).min()
    }

    /// Has the template of a group fork a process; `None` where there is none that can.
    pub(super) fn order(
        &mut self,
        group: usize,
        order: &TemplateOrder,
        descriptors: &[RawFd],
    ) -> Option<Pid> {
        let name = &self.config.groups[group].name;
        let template = self.templates[group].ready()?;
        let forked = template.fork(order, descriptors);
        let known = |pid: &Pid| self.slots.iter().any(|s| s.children().any(|c| c.pid == *pid));
        match forked {
            Ok(pid) if !known(&pid) && pid != template.pid => Some(pid),
            Ok(_) | Err(Errno::EBADMSG) => {
                tracing::error!("the template of group \"{name}\" talks nonsense: killed");
                template.kill();
                None
            }
            Err(errno) => {
                let cause = errno.desc();
                tracing::error!("the template of group \"{name}\" cannot fork: {cause}: killed");
                template.kill();
                None
            }
        }
    }

    pub(super) fn read_template(&mut self, group: usize) {
        let Some(template) = &mut self.templates[group].template else { return };
        match template.line.hear() {
            Ok(Some((TemplateWord::Ready, _))) if template.ready_since.is_none() => {
                template.ready_since = Some(Instant::now());
            }
            // It is about to be buried, or is no template any more.
            _ => template.kill(),
        }
    }

    pub(super) fn read_template_log(&mut self, group: usize) {
        let Some(template) = &mut self.templates[group].template else { return };
        let (log, pid) = (&template.log, template.pid.as_raw());
        let name = &self.config.groups[group].name;
        template.pipe.read(|line| write(log, pid, name, line));
    }

    /// Ends the templates that are not ready in time.
    pub(super) fn end_overdue_templates(&mut self) {
        for (group, place) in self.templates.iter_mut().enumerate() {
            let Some(template) = &mut place.template else { continue };
            let late = template.ready_since.is_none() && template.started.elapsed() >= START;
            if late && !template.over {
                let name = &self.config.groups[group].name;
                tracing::error!("the template of group \"{name}\" is not ready in time: killed");
                template.kill();
            }
        }
    }

    /// The generation is ending.
    pub(super) fn end_templates(&mut self) {
        self.templates
            .iter_mut()
            .filter_map(|place| place.template.as_mut())
            .for_each(|t| t.kill());
    }

    /// Buries a group's template.
    pub(super) fn bury_template(&mut self, group: usize, death: Death) {
        let place = &mut self.templates[group];
        let Some(mut template) = place.template.take() else { return };
        let (pid, name) = (template.pid, &self.config.groups[group].name);
        let log = template.log;
        template.pipe.drain(|line| write(&log, pid.as_raw(), name, line));
        let manner = death.manner();
        if self.stopping {
            tracing::info!("Template of '{name}' (pid {pid}) {manner}");
            return;
        }
        let Some(ready) = template.ready_since else {
            tracing::warn!(
                "the processes of group \"{name}\" initialize Python themselves: their template \
                 (pid {pid}) {manner}"
            );
            return;
        };
        tracing::error!("Template of '{name}' (pid {pid}) has died, {manner}");
        place.due = Some(Instant::now() + place.backoff.pause(ready.elapsed()));
    }
}
