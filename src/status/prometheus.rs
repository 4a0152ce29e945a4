//! The status in Prometheus's text format, version 0.0.4.

use std::fmt::{Display, Write};

use super::snapshot::{GroupStatus, Snapshot, STATES};
use super::words::label;

/// A text of metrics under construction.
struct Page(String);

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        for (index, (name, text)) in labels.iter().enumerate() {
            let before = if index == 0 { '{' } else { ',' };
            let _ = write!(self.0, "{before}{name}=\"{}\"", label(text));
        }
        let end = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.0, "{end} {value}");
    }

    /// A family with one sample for each group.
    fn groups<T: Display>(
        &mut self,
        groups: &[&GroupStatus],
        (name, kind, help): (&str, &str, &str),
        value: impl Fn(&GroupStatus) -> T,
    ) {
        self.family(name, kind, help);
        for group in groups {
            self.sample(name, &labels(group), value(group));
        }
    }
}

/// The embedded hosts have no name.
fn labels(group: &GroupStatus) -> [(&'static str, &str); 2] {
    let mode = if group.name.is_empty() { "embedded" } else { "daemon" };
    [("mode", mode), ("group", &group.name)]
}

/// The page for a scraper.
pub fn page(status: &Snapshot) -> String {
    let mut page = Page(String::new());
    let generation = &status.generation;
    page.family("wsgi_info", "gauge", "Versions of the module and of nginx.");
    let versions = [("version", status.version), ("nginx_version", &status.nginx_version)];
    page.sample("wsgi_info", &versions, 1);
    page.family("wsgi_generation", "gauge", "Number of the configuration, from 1.");
    page.sample("wsgi_generation", &[], generation.number);
    let name = "wsgi_generation_start_time_seconds";
    page.family(name, "gauge", "When the configuration was put into service.");
    page.sample(name, &[], generation.started);
    if let Some(runs) = generation.supervisor {
        let name = "wsgi_supervisor_up";
        page.family(name, "gauge", "Whether the supervisor of the daemon processes runs.");
        page.sample(name, &[], u8::from(runs));
    }
    let groups: Vec<&GroupStatus> = status.groups.iter().chain([&status.embedded]).collect();
    let slots = ("wsgi_slots", "gauge", "Threads of the processes that take requests.");
    page.groups(&groups, slots, |group| group.slots);
    let busy = ("wsgi_slots_busy", "gauge", "Threads that are taken, of any process.");
    page.groups(&groups, busy, |group| group.busy);
    let waiting = ("wsgi_requests_waiting", "gauge", "Requests that wait for a thread.");
    page.groups(&groups, waiting, |group| group.waiting);
    let requests = ("wsgi_requests_total", "counter", "Requests that were sent to a thread.");
    page.groups(&groups, requests, |group| group.requests);
    let longest = "Time that the oldest of the running requests has run.";
    let longest = ("wsgi_longest_request_seconds", "gauge", longest);
    page.groups(&groups, longest, GroupStatus::longest);
    page.family("wsgi_processes", "gauge", "Processes by state.");
    for group in &groups {
        let [mode, name] = labels(group);
        for (_, state) in STATES {
            page.sample("wsgi_processes", &[mode, name, ("state", state)], group.count(state));
        }
    }
    if !status.groups.is_empty() {
        let name = "wsgi_process_restarts_total";
        page.family(name, "counter", "Processes that another one had to follow, by reason.");
        for group in &status.groups {
            let [mode, group_name] = labels(group);
            for (restart, count) in &group.restarts {
                page.sample(name, &[mode, group_name, ("reason", restart.name())], count);
            }
        }
    }
    page.0
}
