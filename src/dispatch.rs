//! Which process runs a request, and when.
//!
//! A request is sent only with a lease on a slot. Those without one wait here, in the worker, where
//! they can be counted, timed out, and dropped when the client has gone.

mod dispatcher;
mod embedded;
mod idle;
mod lingering;
mod log_queue;
mod mail;
mod parked;
mod patience;
mod peer;
mod queue;
mod waiting;

pub use dispatcher::{Dispatcher, Place};
pub use embedded::{start_early as start_embedded_early, stop as stop_embedded, EmbeddedHost};
pub use idle::Connection;
pub use mail::{listen as listen_to_mail, Slot};
pub use parked::Parked;
pub use peer::{init_peer, passes_on};
