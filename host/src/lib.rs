//! Runs WSGI applications for ngx-wsgi.
//!
//! A host knows nothing of nginx: it takes requests from unix sockets in the format of [`wire`],
//! runs the application on a thread of its own and answers on the same socket. The executable
//! `ngx-wsgi-host` runs it in daemon processes, the nginx module runs it on threads inside a worker.

pub mod clock;
pub mod config;
pub mod exchange;
pub mod lock;
pub mod log;
pub mod mailbox;
pub mod memory;
pub mod process;
pub mod python;
pub mod scoreboard;
mod script;
pub mod server;
pub mod succession;
pub mod supervisor;
pub mod wire;

mod api;
mod metrics;
mod wsgi;
