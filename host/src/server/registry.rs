//! The connections of a host.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard};

use rustc_hash::FxHashMap;

use super::connection::Connection;
use crate::config::ConnectionConfig;
use crate::lock::lock;

/// All open connections by their token.
pub struct Registry {
    connections: Mutex<Connections>,
    config: ConnectionConfig,
}

struct Connections {
    open: FxHashMap<u64, Arc<Connection>>,
    next: u64,
}

impl Registry {
    /// An empty registry that numbers connections from `first`.
    pub fn new(first: u64, config: ConnectionConfig) -> Self {
        let connections = Mutex::new(Connections { open: FxHashMap::default(), next: first });
        Registry { connections, config }
    }

    fn lock(&self) -> MutexGuard<'_, Connections> {
        lock(&self.connections)
    }

    pub fn add(&self, fd: OwnedFd) -> Arc<Connection> {
        let mut connections = self.lock();
        let token = connections.next;
        connections.next += 1;
        let connection = Arc::new(Connection::new(token, fd, &self.config));
        connections.open.insert(token, Arc::clone(&connection));
        connection
    }

    pub fn get(&self, token: u64) -> Option<Arc<Connection>> {
        self.lock().open.get(&token).cloned()
    }

    /// Forgets a connection; whether it was the last one.
    pub fn remove(&self, token: u64) -> bool {
        let mut connections = self.lock();
        connections.open.remove(&token);
        connections.open.is_empty()
    }

    pub fn is_empty(&self) -> bool {
        self.lock().open.is_empty()
    }

    pub fn all(&self) -> Vec<Arc<Connection>> {
        self.lock().open.values().cloned().collect()
    }
}
