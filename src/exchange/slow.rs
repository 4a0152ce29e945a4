//! The log line of a request that took longer than `wsgi_slow_requests` says.

use ngx_wsgi_host::log::Level;

use super::variables::seconds;
use super::Exchange;
use crate::conf::MainConf;
use crate::dispatch::Place;
use crate::ffi::{text, write_text};

/// Writes it, if there is anything to write, at the end of a request.
pub fn report(exchange: &Exchange) {
    // SAFETY: this module's configuration of the request, which lives as long as its cycle.
    let main = unsafe { &*exchange.request.main_conf::<MainConf>(crate::module()) };
    let (Some(limit), Some(queued)) = (main.slow_requests_ms.flatten(), exchange.clock.queued())
    else {
        return;
    };
    let ran = exchange.clock.ran();
    let took = queued + ran.unwrap_or(0);
    if took <= limit {
        return;
    }
    let place = match exchange.place {
        Place::Embedded => "embedded mode".to_owned(),
        Place::Daemon(_) => format!("daemon process group \"{}\"", exchange.group_name()),
    };
    let show = |msec| text(&seconds(msec)).into_owned();
    let how = match (ran, exchange.clock.pid) {
        (Some(ran), Some(pid)) => format!(
            "{} s in the queue, {} s in the application in process {pid}",
            show(queued),
            show(ran)
        ),
        _ => format!("{} s in the queue, it was sent to no process", show(queued)),
    };
    let script = text(&exchange.target.route.script);
    let line = format!("slow request: script \"{script}\" in {place} took {} s: {how}", show(took));
    write_text(Level::Warn, exchange.request.log(), &line);
}
