//! The connection that writes.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use rusqlite::hooks::Wal;
use rusqlite::{Connection, TransactionBehavior};
use rustix::fs::statvfs;

use super::connection::{FULL, synchronous};
use crate::config::Durability;
use crate::ledger::LedgerError;

/// Pages of SQLite's WAL from which on they are copied into the ledger's file (<https://www.sqlite.org/wal.html#ckpt>): 64 MiB. At
/// SQLite's own 1000 pages that would happen up to fifteen times a second, each with two syncs, for which uploads wait.
const CHECKPOINT_PAGES: i32 = 16_000;

/// The bytes of a page, by SQLite's default (<https://www.sqlite.org/pragma.html#pragma_page_size>).
const PAGE_BYTES: u64 = 4_096;

/// Pages of SQLite's WAL, 4 MiB, after which the free space of the ledger's file system is looked at each time.
const LOOK_EVERY_PAGES: i32 = 1_000;

/// The one connection that writes, which syncs each commit or leaves that to a later one.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) connection: Connection,
    /// Its `PRAGMA synchronous`.
    synchronous: i64,
    /// Pages in SQLite's WAL after the last commit.
    pages: Arc<AtomicI32>,
    /// The same after the commit before.
    pages_before: i32,
    /// Whether a sync of SQLite's WAL failed. The kernel then reports later ones as successful, though pages of commits that were not
    /// synced yet may be lost.
    has_failed: bool,
}

impl Writer {
    pub(super) fn new(
        mut connection: Connection,
        durability: Durability,
    ) -> Result<Self, LedgerError> {
        let pages = Arc::new(AtomicI32::new(0));
        let seen = Arc::clone(&pages);
        // Replaces SQLite's own checkpoint after a commit, which hides a sync that fails.
        connection.wal_hook(Some(move |_: &mut Wal, count| {
            seen.store(count, Ordering::Relaxed);
            Ok(())
        }))?;
        Ok(Self {
            connection,
            synchronous: synchronous(durability),
            pages,
            pages_before: 0,
            has_failed: false,
        })
    }

    /// Writes in one transaction, which is committed with that `PRAGMA synchronous`.
    pub(super) fn write<T, E: From<rusqlite::Error>>(
        &mut self,
        synchronous: i64,
        write: impl FnOnce(&Connection) -> Result<T, E>,
    ) -> Result<T, E> {
        if synchronous == FULL {
            self.rewrite_after_failure()?;
        }
        if self.synchronous != synchronous {
            self.connection
                .pragma_update(None, "synchronous", synchronous)?;
            self.synchronous = synchronous;
        }
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let outcome = write(&transaction)?;
        let committed = transaction.commit();
        self.has_failed |= committed.as_ref().is_err_and(is_io_error);
        committed?;
        if self.is_checkpoint_due() {
            let copied = self.checkpoint("PASSIVE");
            self.has_failed |= copied.as_ref().is_err_and(is_io_error);
        }
        Ok(outcome)
    }

    /// Whether SQLite's WAL is large, or by the next look could be larger than the space left beside it. Copying its pages makes the ledger's
    /// file larger by its size at most; without that space they could never be copied, and every later commit would fail.
    fn is_checkpoint_due(&mut self) -> bool {
        let pages = self.pages.load(Ordering::Relaxed);
        let before = std::mem::replace(&mut self.pages_before, pages);
        if pages < LOOK_EVERY_PAGES || pages / LOOK_EVERY_PAGES == before / LOOK_EVERY_PAGES {
            return false;
        }
        let needed = u64::from((pages + 2 * LOOK_EVERY_PAGES).unsigned_abs()) * PAGE_BYTES;
        pages >= CHECKPOINT_PAGES || self.free_bytes().is_some_and(|free| free < needed)
    }

    /// The bytes left in the ledger's file system.
    fn free_bytes(&self) -> Option<u64> {
        let usage = statvfs(self.connection.path()?).ok()?;
        Some(usage.f_bavail.saturating_mul(usage.f_frsize))
    }

    /// After a sync that failed, copies every page of SQLite's WAL into the ledger's file, and syncs that.
    fn rewrite_after_failure(&mut self) -> rusqlite::Result<()> {
        if self.has_failed {
            self.checkpoint("TRUNCATE")?;
            self.has_failed = false;
        }
        Ok(())
    }

    fn checkpoint(&self, mode: &str) -> rusqlite::Result<()> {
        let busy =
            self.connection
                .query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| {
                    row.get::<_, bool>(0)
                })?;
        if busy && mode == "TRUNCATE" {
            let busy = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
            return Err(rusqlite::Error::SqliteFailure(busy, None));
        }
        Ok(())
    }
}

fn is_io_error(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(rusqlite::ErrorCode::SystemIoFailure)
}
