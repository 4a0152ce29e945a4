//! The status as a page for people.

use std::fmt::Write;

use super::snapshot::{GroupStatus, ProcessStatus, Snapshot};
use super::words::{counted, escape, span};

const STYLE: &str =
    "body{font:15px/1.4 system-ui,sans-serif;margin:2em;color:#222;background:#fff}\
h1{font-size:1.4em}h2{font-size:1.15em;margin:1.8em 0 .3em}p{margin:.3em 0}\
table{border-collapse:collapse;margin:.6em 0}th,td{padding:.25em .8em;text-align:left;\
border-bottom:1px solid #ddd;vertical-align:top}th{font-weight:600;background:#f4f4f4}\
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}td.w{color:#b00;font-weight:600}\
code{font:13px ui-monospace,monospace;word-break:break-all}.dim{color:#777}\
@media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}th{background:#262626}\
th,td{border-color:#3a3a3a}td.w{color:#f77}}";

/// The page.
pub fn page(status: &Snapshot) -> String {
    let mut page = String::new();
    let generation = &status.generation;
    // Writing to a String cannot fail, here and below.
    let _ = write!(
        page,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <title>WSGI status</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>WSGI status</h1>\n\
         <p>ngx-wsgi {}, nginx {}. Configuration {}, for {}. Answered by worker {}.</p>\n",
        status.version,
        status.nginx_version,
        generation.number,
        span(status.time - generation.started),
        status.worker,
    );
    if generation.supervisor == Some(false) {
        page.push_str(
            "<p><strong>The supervisor of the daemon processes does not run: reload nginx to start a \
             new one.</strong></p>\n",
        );
    }
    for group in &status.groups {
        let size = counted(group.size, "process", "processes");
        let _ = writeln!(page, "<h2>Group <code>{}</code></h2>", escape(&group.name));
        let _ = write!(page, "<p>{size} of {}. ", counted(group.threads, "thread", "threads"));
        body(&mut page, group);
    }
    page.push_str("<h2>Embedded</h2>\n");
    let workers = counted(status.embedded.size, "worker", "workers");
    let _ =
        write!(page, "<p>{workers} of {}. ", counted(status.embedded.threads, "thread", "threads"));
    body(&mut page, &status.embedded);
    page.push_str("</body>\n</html>\n");
    page
}

fn body(page: &mut String, group: &GroupStatus) {
    let GroupStatus { busy, slots, waiting, requests, .. } = group;
    let _ = writeln!(
        page,
        "{busy} of {} busy, {} waiting, {} so far.</p>",
        counted(slots, "slot", "slots"),
        counted(waiting, "request", "requests"),
        counted(requests, "request", "requests"),
    );
    let restarts = group.restarts.iter().filter(|(_, count)| *count > 0);
    let restarts: Vec<_> =
        restarts.map(|(restart, count)| format!("{} {count}", restart.name())).collect();
    if !restarts.is_empty() {
        let _ = writeln!(page, "<p>Restarts: {}.</p>", restarts.join(", "));
    }
    if group.processes.is_empty() {
        page.push_str("<p class=\"dim\">No process.</p>\n");
        return;
    }
    page.push_str(
        "<table>\n<tr><th class=\"n\">Pid</th><th>State</th><th class=\"n\">Age</th>\
         <th class=\"n\">Busy</th><th class=\"n\">Requests</th><th>Running</th></tr>\n",
    );
    group.processes.iter().for_each(|process| row(page, process));
    page.push_str("</table>\n");
}

fn row(page: &mut String, process: &ProcessStatus) {
    let ProcessStatus { pid, state, busy, slots, requests, .. } = process;
    let class = if *state == "overdue" { " class=\"w\"" } else { "" };
    let _ = write!(
        page,
        "<tr><td class=\"n\">{pid}</td><td{class}>{state}</td><td class=\"n\">{}</td>\
         <td class=\"n\">{busy}/{slots}</td><td class=\"n\">{requests}</td><td>",
        span(process.age),
    );
    let running = process.running.iter().map(|running| {
        let (request, script) = (escape(&running.request), escape(&running.script));
        format!(
            "{}: <code>{request}</code> <span class=\"dim\">for {} in</span> <code>{script}</code>",
            running.slot,
            span(running.seconds),
        )
    });
    let _ = writeln!(page, "{}</td></tr>", running.collect::<Vec<_>>().join("<br>"));
}
