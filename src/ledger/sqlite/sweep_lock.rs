//! The lock that excludes a second sweep, with a reserve of disk space.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

use super::backup::with_suffix;
use crate::ledger::LedgerError;

/// Bytes that the lock's file keeps allocated, and that are released on a full disk. SQLite's shared-memory file is created when a
/// ledger is opened, so without a reserve the sweep, which frees the disk, could not open it.
const RESERVE: usize = 128 * 1024;

/// An flock(2) on `<ledger>.sweep-lock`. The kernel releases it when the process ends.
#[derive(Debug)]
pub(super) struct SweepLock(File);

impl SweepLock {
    pub(super) fn take(ledger: &Path) -> Result<Self, LedgerError> {
        let path = with_suffix(ledger, ".sweep-lock");
        let unusable = |error| {
            LedgerError::Failed(format!(
                "the lock {} cannot be used: {error}; run this as the account that owns it",
                path.display()
            ))
        };
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o640)
            // Neither follows a link nor waits for the reader of a FIFO.
            .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed())
            .open(&path)
            .map_err(unusable)?;
        if !file.metadata().map_err(unusable)?.is_file() {
            return Err(unusable(io::Error::other("it is not a regular file")));
        }
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::WouldBlock) => Err(LedgerError::SweepRuns),
            Err(TryLockError::Error(error)) => Err(unusable(error)),
        }
    }

    /// Frees the reserve; `false` if there was none.
    pub(super) fn release_reserve(&self) -> bool {
        self.has_reserve() && self.0.set_len(0).is_ok()
    }

    /// Allocates the reserve if there is none and the disk has room for it.
    pub(super) fn keep_reserve(&self) {
        if !self.has_reserve() && self.0.write_all_at(&vec![0; RESERVE], 0).is_err() {
            let _ = self.0.set_len(0);
        }
    }

    fn has_reserve(&self) -> bool {
        self.0.metadata().is_ok_and(|metadata| metadata.len() > 0)
    }
}
