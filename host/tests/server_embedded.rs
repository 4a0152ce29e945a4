//! The embedded host, with Python in this process: one test, because there is one Python.

mod server_client;

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use ngx_wsgi_host::config::RuntimeConfig;
use ngx_wsgi_host::scoreboard::Reports;
use ngx_wsgi_host::server::Embedded;
use ngx_wsgi_host::wire::{Outcome, NO_BODY};

use server_client::{request, Client, LIMIT};

const SCRIPT: &str = "
import threading
def application(environ, start_response):
    body = environ['PATH_INFO'].encode()
    start_response('200 OK', [('Content-Length', str(len(body)))])
    return [body]
";

#[test]
fn an_embedded_host_serves_and_stops() {
    let name = format!("ngx-wsgi-embedded-{}.wsgi", std::process::id());
    let script = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&script, SCRIPT).unwrap();
    let config = RuntimeConfig { threads: 2, processes: 1, ..RuntimeConfig::default() };
    let reports = Arc::new(Reports::inherited(2).unwrap());
    let embedded = Embedded::start(config, 2, reports).unwrap();
    // Before Python can be up: the requests wait for it.
    let mut clients: Vec<_> = (0..4).map(|_| Client::from(embedded.connect().unwrap())).collect();
    for round in 0..3 {
        for (index, client) in clients.iter_mut().enumerate() {
            client.write(&request(&script, NO_BODY, &format!("/{round}/{index}")));
        }
        for (index, client) in clients.iter_mut().enumerate() {
            let answer = client.answer();
            assert_eq!(answer.outcome, Outcome::Complete, "{:?}", answer.log);
            assert_eq!(answer.body, format!("/{round}/{index}").into_bytes());
        }
    }
    assert_eq!(embedded.reports().requests(0), 12);
    assert!(embedded.stop(LIMIT));
    assert!(clients.iter_mut().all(|client| client.is_closed()));
    assert!(embedded.connect().is_err());
    assert!(embedded.stop(Duration::ZERO));
    fs::remove_file(script).unwrap();
}
