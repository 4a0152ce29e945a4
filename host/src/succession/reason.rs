//! Why a process is replaced, and what its successor has to load.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::scoreboard::Restart;

/// A script and the interpreter it runs in.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ScriptIn {
    /// Application group; empty for the main interpreter.
    pub application_group: String,
    /// Path of the script.
    pub script: Vec<u8>,
}

impl ScriptIn {
    /// Whether there is such a file.
    pub fn exists(&self) -> bool {
        Path::new(OsStr::from_bytes(&self.script)).exists()
    }

    /// The path for messages.
    pub fn shown(&self) -> String {
        String::from_utf8_lossy(&self.script).into_owned()
    }
}

/// What a process has found changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// What has changed.
    pub of: ScriptIn,
    /// Its modification time now, microseconds since the epoch; `None` when it is not the file but
    /// the application that asks.
    pub modified: Option<i64>,
}

impl Change {
    /// Whether `other` is another version of the same script.
    pub fn is_older_than(&self, other: &Change) -> bool {
        self.of == other.of && other.modified.is_some() && self.modified != other.modified
    }
}

/// Why a process is to be replaced (mod_wsgi semantics b.3, b.5, e.4).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reason {
    /// A script is another than the one it has loaded.
    Script(Change),
    /// `maximum-requests=`.
    MaximumRequests,
    /// `restart-interval=`.
    RestartInterval,
    /// `inactivity-timeout=`.
    InactivityTimeout,
    /// `request-timeout=`: a request does not end.
    RequestTimeout,
    /// `cpu-time-limit=`.
    CpuTimeLimit,
    /// SIGUSR1.
    GracefulSignal,
    /// SIGUSR1 where there is an `eviction-timeout=`.
    EvictionSignal,
}

impl Reason {
    /// The `shutdown_reason` of the event `process_stopping` (mod_wsgi semantics i.2).
    pub fn name(&self) -> &'static str {
        Restart::from(self).name()
    }

    /// The script that has changed.
    pub fn change(&self) -> Option<&Change> {
        match self {
            Reason::Script(change) => Some(change),
            _ => None,
        }
    }

    /// Whether `other` is about a newer version of the same script.
    pub fn is_older_than(&self, other: &Reason) -> bool {
        matches!((self, other), (Reason::Script(old), Reason::Script(new)) if old.is_older_than(new))
    }
}

/// What a process asks its supervisor for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wish {
    /// Why.
    pub reason: Reason,
    /// What the process has loaded. A successor that cannot load it does not take over.
    pub loaded: Vec<ScriptIn>,
}
