//! Connections over a listening socket.

mod server_client;

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use ngx_wsgi_host::exchange::Exchange;
use ngx_wsgi_host::scoreboard::Reports;
use ngx_wsgi_host::server::{Host, HostConfig};
use ngx_wsgi_host::wire::{Headers, Outcome, Request};

use server_client::{Client, LIMIT};

fn listening(name: &str, allowed_uid: Option<u32>) -> (Host, PathBuf) {
    let path = std::env::temp_dir().join(format!("ngx-wsgi-{name}-{}.sock", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let listener = Some(UnixListener::bind(&path).unwrap().into());
    let reports = Arc::new(Reports::inherited(2).unwrap());
    let allowed_uids = allowed_uid.into_iter().collect();
    let host = Host::new(HostConfig { listener, allowed_uids, ..HostConfig::new(2, reports) });
    let host = host.unwrap();
    host.spawn(|_| {
        Box::new(|_: &Request<'_>, exchange: &Arc<dyn Exchange>| {
            exchange.respond(204, b"204 No Content", &Headers::default()).unwrap();
            Outcome::Complete
        })
    })
    .unwrap();
    (host, path)
}

#[test]
fn connections_are_accepted_and_kept_until_the_drain() {
    let (host, path) = listening("accept", None);
    let mut clients: Vec<_> = (0..8).map(|_| Client::connect(&path)).collect();
    for _ in 0..3 {
        for client in &mut clients {
            client.ask("/");
            assert_eq!(client.answer().outcome, Outcome::Complete);
        }
    }
    drop(clients);
    assert!(host.drain(Some(LIMIT)));
    // Nobody accepts any more, but the queue is still there for a successor.
    let _queued = Client::connect(&path);
    std::fs::remove_file(path).unwrap();
}

#[test]
fn only_root_and_the_named_user_may_connect() {
    let me = nix::unistd::getuid().as_raw();
    let (_host, path) = listening("mine", Some(me));
    let mut client = Client::connect(&path);
    client.ask("/");
    assert_eq!(client.answer().outcome, Outcome::Complete);
    std::fs::remove_file(path).unwrap();
    let (_host, path) = listening("other", Some(me + 1));
    std::fs::set_permissions(&path, Permissions::from_mode(0o777)).unwrap();
    if me == 0 {
        let connect = "import socket, sys; s = socket.socket(socket.AF_UNIX); \
                       s.connect(sys.argv[1]); sys.exit(len(s.recv(1)))";
        let mut stranger = Command::new("python3");
        stranger.args(["-c", connect]).arg(&path).uid(65534);
        assert!(stranger.status().unwrap().success());
    } else {
        assert!(Client::connect(&path).is_closed());
    }
    std::fs::remove_file(path).unwrap();
}
