//! The supervisor of one generation's daemon processes: starts, watches, replaces and ends them.
//!
//! A single thread without Python. Its life is tied to the lifeline: EOF means that master and
//! workers of the generation have gone, so nobody can send another request.

mod backoff;
mod child;
mod death;
mod fork;
mod lines;
mod processes;
mod replacement;
mod run;
mod setup;
mod templates;

use std::fs::{self, File};
use std::io::{self, Read, Seek};
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;

use nix::errno::Errno;
use thiserror::Error;

use crate::config::SupervisorConfig;
use crate::log::{FileSink, LogFile};
use crate::memory::MappingError;
use crate::process::Title;
use crate::scoreboard::seats;

pub use lines::LogPipe;

/// The supervisor cannot start.
#[derive(Debug, Error)]
pub enum SupervisorError {
    /// The configuration's descriptor cannot be read.
    #[error("cannot read the configuration: {0}")]
    Read(#[from] io::Error),
    /// The configuration is not what this executable understands.
    #[error("cannot read the configuration: {0}")]
    Json(#[from] serde_json::Error),
    /// The configuration contradicts itself.
    #[error("group \"{0}\" has {1} listeners for {2} seats")]
    Listeners(String, usize, u16),
    /// The lease table.
    #[error(transparent)]
    Leases(#[from] MappingError),
    /// A system call.
    #[error("cannot set up the supervisor: {}", .0.desc())]
    System(#[from] Errno),
}

/// Supervises the groups configured in the JSON behind descriptor `config` until the generation is
/// over or a signal ends it.
///
/// # Errors
///
/// [`SupervisorError`] when it cannot even start; later trouble goes to the error log.
pub fn run(config: RawFd) -> Result<(), SupervisorError> {
    let config = read_config(config)?;
    let log = Arc::new(LogFile::adopt(&config.error_log)?);
    crate::log::install(Box::new(FileSink(Arc::clone(&log))), log.threshold());
    let title = Title::claim();
    title.set("ngx-wsgi-host: supervisor");
    let started = setup::supervisor(config, log, title);
    let mut supervisor = started.inspect_err(|error| tracing::error!(level = 2u64, "{error}"))?;
    supervisor.run();
    Ok(())
}

fn read_config(fd: RawFd) -> Result<SupervisorConfig, SupervisorError> {
    let handed = fs::metadata(format!("/proc/self/fd/{fd}")).map(drop);
    handed.map_err(|_| SupervisorError::System(Errno::EBADF))?;
    // SAFETY: open; whoever started this process made it for this purpose, and nothing else in this
    // process knows the number.
    let mut file = File::from(unsafe { OwnedFd::from_raw_fd(fd) });
    let mut json = String::new();
    file.rewind()?;
    file.read_to_string(&mut json)?;
    let config: SupervisorConfig = serde_json::from_str(&json)?;
    for group in &config.groups {
        let seats = if group.is_service() { 0 } else { seats(group.processes) };
        if group.listeners.len() != usize::from(seats) {
            let (name, listeners) = (group.name.clone(), group.listeners.len());
            return Err(SupervisorError::Listeners(name, listeners, seats));
        }
    }
    Ok(config)
}
