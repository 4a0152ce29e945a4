//! A host: threads that serve exchanges over unix stream sockets.
//!
//! One epoll instance tells of all connections, edge-triggered. The request thread whose turn it is
//! waits in it itself, so a thread that has finished takes up the next request without another thread
//! in between. A thread owns a connection from the event that it claims until it releases it.

mod activity;
mod alarm;
mod body;
mod connection;
mod deposit;
mod embedded;
mod exchange;
mod host;
mod mail;
mod outbox;
mod registry;
mod request;
mod scheduling;
mod serve;
mod socket;
mod turn;
mod worker;
mod writer;

pub use activity::{Activity, Busy};
pub use deposit::fetch;
pub use embedded::Embedded;
pub use host::{Host, HostConfig};
pub use serve::{with_python, Serve};
