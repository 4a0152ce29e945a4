//! What happens once for each configuration: sockets, shared memory, the supervisor.

mod executable;
mod generation;
mod sockets;
mod spawn;

pub use executable::HostExecutable;
pub use generation::{server_version, Address, Daemons, Generation};
pub use sockets::SocketNames;
