//! Connections for reading, shared by the threads of requests.

use std::sync::{Condvar, Mutex, PoisonError};

use rusqlite::Connection;

use super::lock;

/// A pool of connections that only read.
#[derive(Debug)]
pub(super) struct Readers {
    pool: Mutex<Pool>,
    returned: Condvar,
}

#[derive(Debug)]
struct Pool {
    idle: Vec<Connection>,
    /// Threads that wait for a connection. With none, the notify is skipped: it is a system call even when no thread waits.
    waiting: usize,
}

impl Readers {
    pub(super) const fn new(connections: Vec<Connection>) -> Self {
        Self {
            pool: Mutex::new(Pool {
                idle: connections,
                waiting: 0,
            }),
            returned: Condvar::new(),
        }
    }

    /// How many threads wait for a connection.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        lock(&self.pool).waiting
    }

    /// Calls `read` with a connection; waits while all are in use.
    pub(super) fn with<T>(&self, read: impl FnOnce(&Connection) -> T) -> T {
        let mut pool = lock(&self.pool);
        let connection = loop {
            if let Some(connection) = pool.idle.pop() {
                break connection;
            }
            pool.waiting += 1;
            pool = self
                .returned
                .wait(pool)
                .unwrap_or_else(PoisonError::into_inner);
            pool.waiting -= 1;
        };
        drop(pool);
        let in_use = InUse {
            readers: self,
            connection: Some(connection),
        };
        read(
            in_use
                .connection
                .as_ref()
                .expect("it is returned on drop only"),
        )
    }
}

/// A connection in use, which returns to the pool on drop, also when a panic unwinds.
struct InUse<'a> {
    readers: &'a Readers,
    connection: Option<Connection>,
}

impl Drop for InUse<'_> {
    fn drop(&mut self) {
        let mut pool = lock(&self.readers.pool);
        pool.idle.extend(self.connection.take());
        let has_waiters = pool.waiting > 0;
        drop(pool);
        if has_waiters {
            self.readers.returned.notify_one();
        }
    }
}
