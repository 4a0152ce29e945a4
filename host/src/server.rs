//! A host: threads that serve exchanges over unix stream sockets.
//!
//! One epoll instance holds every idle connection, armed for one event at a time; an idle request
//! thread waits in it itself, so the thread that has finished takes up the next request without
//! another thread in between. A thread owns a connection from its event until it arms it again.

mod activity;
mod body;
mod connection;
mod embedded;
mod exchange;
mod host;
mod registry;
mod request;
mod serve;
mod socket;
mod worker;
mod writer;

pub use activity::{Activity, Busy};
pub use embedded::{Embedded, EmbeddedError};
pub use host::{Host, HostConfig};
pub use serve::{with_python, Serve};
