//! Tracks open connections: the connection cap, idle connections, graceful shutdown.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::listener::Stream;

/// How long a new connection over the cap waits for an idle one to close.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(50);

/// A connection idle for less may be in use again, since nginx reuses the one that became idle last; a request sent while its
/// connection is closed is lost.
const MIN_IDLE: Duration = Duration::from_millis(100);

/// The connections that have a thread.
#[derive(Debug)]
pub(super) struct Connections {
    cap: usize,
    draining: AtomicBool,
    table: Mutex<Table>,
    ended: Condvar,
}

#[derive(Debug, Default)]
struct Table {
    registered: u64,
    open: HashMap<u64, Entry>,
}

#[derive(Debug)]
struct Entry {
    stream: Stream,
    /// When its last reply was sent, while it waits for the next request. A new connection is not idle: its request is on the way.
    idle_since: Option<Instant>,
}

impl Table {
    /// Closes the connection that has been idle for longest; `false` if none has been idle for [`MIN_IDLE`].
    fn close_idle(&self) -> bool {
        let idle = self
            .open
            .values()
            .filter_map(|entry| Some((entry.idle_since?, entry)));
        match idle.min_by_key(|(since, _)| *since) {
            Some((since, entry)) if since.elapsed() >= MIN_IDLE => {
                entry.stream.shut_down_reading();
                true
            }
            _ => false,
        }
    }
}

impl Connections {
    pub(super) fn new(cap: usize) -> Self {
        Self {
            cap,
            draining: AtomicBool::new(false),
            table: Mutex::default(),
            ended: Condvar::new(),
        }
    }

    pub(super) const fn cap(&self) -> usize {
        self.cap
    }

    pub(super) fn count(&self) -> usize {
        self.table().open.len()
    }

    /// Adds a connection; `None` if as many as the cap are open and busy. Over the cap an idle one is closed: each nginx worker keeps
    /// some, and those of one worker must not lock out another worker.
    pub(super) fn register(connections: &Arc<Self>, stream: Stream) -> Option<Registered> {
        let mut table = connections.table();
        if table.open.len() >= connections.cap && table.close_idle() {
            let waited = connections
                .ended
                .wait_timeout_while(table, CLOSE_TIMEOUT, |table| {
                    table.open.len() >= connections.cap
                });
            table = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        if table.open.len() >= connections.cap {
            return None;
        }
        table.registered += 1;
        let id = table.registered;
        table.open.insert(
            id,
            Entry {
                stream,
                idle_since: None,
            },
        );
        drop(table);
        Some(Registered {
            connections: Arc::clone(connections),
            id,
        })
    }

    /// Shuts down gracefully: waits for busy connections to send their reply, closes idle ones after `idle_grace`; returns at `deadline`
    /// at the latest.
    pub(super) fn drain(&self, deadline: Instant, idle_grace: Duration) {
        self.draining.store(true, Ordering::SeqCst);
        let table = self.wait_until_none(Instant::now() + idle_grace);
        for entry in table
            .open
            .values()
            .filter(|entry| entry.idle_since.is_some())
        {
            // Only the reading side: a request that has just arrived is still read and answered.
            entry.stream.shut_down_reading();
        }
        drop(table);
        drop(self.wait_until_none(deadline));
    }

    fn wait_until_none(&self, deadline: Instant) -> MutexGuard<'_, Table> {
        let left = deadline.saturating_duration_since(Instant::now());
        let waited = self
            .ended
            .wait_timeout_while(self.table(), left, |table| !table.open.is_empty());
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_idle(&self, id: u64, idle: bool) {
        if let Some(entry) = self.table().open.get_mut(&id) {
            entry.idle_since = idle.then(Instant::now);
        }
    }
}

/// A connection counted against the cap until it is dropped.
#[derive(Debug)]
pub(super) struct Registered {
    connections: Arc<Connections>,
    id: u64,
}

impl Registered {
    /// Sets whether the connection waits for a request.
    pub(super) fn set_idle(&self, idle: bool) {
        self.connections.set_idle(self.id, idle);
    }

    pub(super) fn is_draining(&self) -> bool {
        self.connections.draining.load(Ordering::SeqCst)
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.connections.table().open.remove(&self.id);
        self.connections.ended.notify_all();
    }
}
