//! Shared memory of a generation.
//!
//! [`Leases`] is nginx's: which process is ready and how many of its slots are taken. Workers and
//! the supervisor map it, daemon processes never do. [`Reports`] is a group's own: what its
//! processes say of themselves. Nothing in a report is trusted.

mod history;
mod leases;
mod offers;
mod reports;
mod view;

pub use history::Restart;
pub use leases::{GroupShape, Lease, Leases, ProcessState, Shape};
pub use reports::{History, Progress, Reports, Running, Taken};
pub use view::{GenerationFacts, ServerGroup, ServerView};

/// Places in both tables for a group of `processes`: one each, and some for successors that start
/// while the processes they replace are still at work. A process has its *seat* from start to end.
pub fn seats(processes: u16) -> u16 {
    processes.saturating_add(processes.clamp(2, 32))
}
