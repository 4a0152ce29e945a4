//! What nginx's workers know of each other's embedded hosts.

use std::sync::Arc;

use ngx_wsgi_host::memory::MappingError;
use ngx_wsgi_host::scoreboard::{GroupShape, Leases, ProcessState, Reports, Shape};

/// The scoreboard of the embedded hosts, in memory that all workers share. Each worker leases from its
/// own group only, whose one process it is.
pub struct EmbeddedBoard {
    pub leases: Arc<Leases>,
    /// For each worker.
    pub reports: Vec<Arc<Reports>>,
}

/// One worker's part of it.
pub struct Seat {
    pub leases: Arc<Leases>,
    /// The worker's group in the table.
    pub group: usize,
    pub reports: Arc<Reports>,
}

impl EmbeddedBoard {
    /// A scoreboard for so many workers with so many threads each.
    ///
    /// # Errors
    ///
    /// [`MappingError`] when the memory cannot be had.
    pub fn create(workers: usize, threads: u16) -> Result<Self, MappingError> {
        let shape = Shape::new(vec![GroupShape { processes: 1, threads }; workers], 1);
        let reports = (0..workers).map(|_| Reports::inherited(threads).map(Arc::new));
        let reports = reports.collect::<Result<_, _>>()?;
        Ok(EmbeddedBoard { leases: Arc::new(Leases::inherited(shape)?), reports })
    }

    /// A worker's part.
    pub fn seat(&self, worker: usize) -> Option<Seat> {
        let reports = Arc::clone(self.reports.get(worker)?);
        Some(Seat { leases: Arc::clone(&self.leases), group: worker, reports })
    }

    /// A worker begins, without a host so far.
    pub fn vacate(&self, worker: usize) {
        if let Some(reports) = self.reports.get(worker) {
            self.leases.set_state(worker, 0, ProcessState::Gone);
            self.leases.set_queue(worker, 0, 0);
            reports.clear(0);
        }
    }
}

impl Seat {
    /// A part of nothing, where the shared memory could not be had.
    ///
    /// # Errors
    ///
    /// [`MappingError`] when the memory cannot be had.
    pub fn alone(threads: u16) -> Result<Self, MappingError> {
        let board = EmbeddedBoard::create(1, threads)?;
        let reports = Arc::clone(&board.reports[0]);
        Ok(Seat { leases: board.leases, group: 0, reports })
    }
}
