//! Shared memory of a generation.
//!
//! [`Leases`] is nginx's: which process is ready and how many of its slots are taken. Workers and
//! the supervisor map it, daemon processes never do. [`Reports`] is a group's own: what its
//! processes say of themselves. Nothing in a report is trusted.

mod leases;
mod memory;
mod reports;

pub use leases::{GroupShape, Lease, Leases, ProcessState, Shape};
pub use memory::{Mapping, MappingError};
pub use reports::{Reports, Running};
