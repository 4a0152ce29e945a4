//! Log levels and the log of a process, outside requests.

mod file;
mod pipe;
mod sink;

pub use file::{FileSink, LogFile};
pub use pipe::{PipeLine, PipeSink};
pub use sink::{install, Sink};

/// nginx's levels, with nginx's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Level {
    /// Configuration cannot be used.
    Emerg = 1,
    /// Must be dealt with at once.
    Alert = 2,
    /// A part of the server does not work.
    Crit = 3,
    /// A request failed, or an application complains.
    Error = 4,
    /// Something is odd.
    Warn = 5,
    /// Worth knowing.
    Notice = 6,
    /// Life of processes and scripts.
    Info = 7,
    /// For developers.
    Debug = 8,
}

impl Level {
    /// nginx's name of the level.
    pub const fn name(self) -> &'static str {
        match self {
            Level::Emerg => "emerg",
            Level::Alert => "alert",
            Level::Crit => "crit",
            Level::Error => "error",
            Level::Warn => "warn",
            Level::Notice => "notice",
            Level::Info => "info",
            Level::Debug => "debug",
        }
    }

    /// The level of nginx's number, clamped to the known ones.
    pub const fn from_number(number: u8) -> Self {
        match number {
            0 | 1 => Level::Emerg,
            2 => Level::Alert,
            3 => Level::Crit,
            4 => Level::Error,
            5 => Level::Warn,
            6 => Level::Notice,
            7 => Level::Info,
            _ => Level::Debug,
        }
    }
}
