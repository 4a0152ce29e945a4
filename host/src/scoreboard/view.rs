//! What an application may see of the server's processes.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Reports;

/// Which configuration of nginx the processes belong to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GenerationFacts {
    /// From 1.
    pub number: u32,
    /// Since when, microseconds since the epoch.
    pub started_us: u64,
}

/// The groups that are shown to the applications of a process.
#[derive(Clone, Debug)]
pub struct ServerView {
    /// The configuration they belong to.
    pub generation: GenerationFacts,
    /// All groups, and the embedded hosts of all workers, in an nginx worker; the own group in a
    /// daemon process, which sees no other's report.
    pub groups: Vec<ServerGroup>,
}

/// A group, or the embedded host of a worker, whose name is empty.
#[derive(Clone)]
pub struct ServerGroup {
    /// Name of the group.
    pub name: String,
    /// Processes that are configured.
    pub size: u16,
    /// What they report.
    pub reports: Arc<Reports>,
}

impl fmt::Debug for ServerGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerGroup").field("name", &self.name).finish_non_exhaustive()
    }
}
