//! The lock that excludes a second sweep, with a reserve of disk space, and the one between sweeps and releases.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

use super::backup::with_suffix;
use crate::ledger::{LedgerError, LockMode};

/// Bytes that the lock's file keeps allocated, and that are released on a full disk. SQLite's shared-memory file is created when a
/// ledger is opened, so without a reserve the sweep, which frees the disk, could not open it.
const RESERVE: usize = 128 * 1024;

/// An flock(2) on `<ledger>.sweep-lock`. The kernel releases it when the process ends.
#[derive(Debug)]
pub(super) struct SweepLock(File);

impl SweepLock {
    pub(super) fn take(ledger: &Path) -> Result<Self, LedgerError> {
        lock(ledger, ".sweep-lock", LockMode::Exclusive).map(Self)
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

/// Takes the lock between sweeps and quarantines, which share it, and releases: an flock(2) on `<ledger>.release-lock`.
pub(super) fn lock_releases(ledger: &Path, mode: LockMode) -> Result<File, LedgerError> {
    lock(ledger, ".release-lock", mode)
}

/// Locks the file beside the ledger; fails with [`LedgerError::SweepRuns`] while a process holds it that excludes this mode.
fn lock(ledger: &Path, suffix: &str, mode: LockMode) -> Result<File, LedgerError> {
    let path = with_suffix(ledger, suffix);
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
    let locked = match mode {
        LockMode::Shared => file.try_lock_shared(),
        LockMode::Exclusive => file.try_lock(),
    };
    match locked {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(LedgerError::SweepRuns),
        Err(TryLockError::Error(error)) => Err(unusable(error)),
    }
}
