//! What happens once for each configuration: sockets, shared memory, the supervisor.

mod board;
mod executable;
mod generation;
mod identity;
mod readiness;
mod rights;
mod sockets;
mod spawn;

pub use board::{EmbeddedBoard, Seat};
pub use executable::HostExecutable;
pub use generation::{server_version, Address, Daemons, Generation};
pub use identity::{of_group, of_workers};
pub use rights::with_rights_of;
pub use sockets::SocketNames;
