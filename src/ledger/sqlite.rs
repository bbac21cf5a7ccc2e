//! The ledger in SQLite, in WAL mode with `synchronous=FULL`: a commit is durable when it returns
//! (<https://www.sqlite.org/wal.html>, <https://www.sqlite.org/pragma.html#pragma_synchronous>).
//!
//! One connection writes. A few others read; they are opened at the start, so that a full descriptor table cannot fail a request later.

pub(super) mod backup;
mod clients;
mod connection;
mod failure;
mod images;
pub(super) mod inspection;
mod listing;
mod log;
mod meta;
mod readers;
mod schema;
mod secret;
mod storage;
mod sweep_lock;
mod takedown;
mod tokens;
mod transfer;
mod upload_keys;
mod writer;

use std::fs::File;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::Connection;
use time::{Date, UtcDateTime};

use super::{
    Account, ClientKey, ClientRow, Deleted, Expired, FoundImage, ImageFilter, ImageRow,
    KeyedUpload, Ledger, LedgerError, Listing, LockMode, LogMarks, LoggedImage, NewImage, Owner,
    Status, StorageDifference, Swept, UsageRow, Verdict,
};
use crate::auth::TokenDigest;
use crate::config::Durability;
use crate::delete_key::SECRET_BYTES;
use crate::idempotency::Fingerprint;
use crate::identity::Identity;
use crate::image_path::ImagePath;
use crate::random;
use crate::timestamp::Timestamp;
use connection::{NORMAL, connect, make_file, refuse_network_file_system, synchronous};
use readers::Readers;
use sweep_lock::SweepLock;
use writer::Writer;

/// SQLite 3.7.0 to 3.51.2 can corrupt a WAL database that two processes write, as responder and sweep do.
const OLDEST_SQLITE: i32 = 3_051_003;

/// A ledger in an SQLite file.
#[derive(Debug)]
pub(crate) struct SqliteLedger {
    writer: Mutex<Writer>,
    durability: Durability,
    readers: Readers,
    /// Excludes a restore; released after the connections are closed.
    _held: File,
    sweep_lock: Option<SweepLock>,
    /// Released when the ledger is dropped.
    _release_lock: Option<File>,
}

impl SqliteLedger {
    /// Opens the ledger at `path`, creates it if there is none, and migrates it to this program's schema version after a backup.
    ///
    /// `readers` requests may read at once; more wait.
    pub(crate) fn open(
        path: &Path,
        durability: Durability,
        readers: usize,
        now: UtcDateTime,
    ) -> Result<Self, LedgerError> {
        Self::open_locked(path, durability, readers, now, None)
    }

    /// Opens the ledger as [`Self::open`] does, under a lock that the caller took, if there is one.
    pub(super) fn open_locked(
        path: &Path,
        durability: Durability,
        readers: usize,
        now: UtcDateTime,
        lock: Option<File>,
    ) -> Result<Self, LedgerError> {
        if rusqlite::version_number() < OLDEST_SQLITE {
            let found = rusqlite::version();
            return Err(LedgerError::Failed(format!(
                "SQLite {found} is older than 3.51.3 and can corrupt the ledger: build with the bundled one"
            )));
        }
        refuse_network_file_system(path)?;
        let held = match lock {
            Some(lock) => lock,
            None => backup::lock_shared(path)?,
        };
        make_file(path)?;
        let mut writer = connect(path, durability)?;
        schema::migrate(&mut writer, path, now)?;
        let writer = Writer::new(writer, durability)?;
        let readers = (0..readers.max(1))
            .map(|_| connect(path, durability))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            writer: Mutex::new(writer),
            durability,
            readers: Readers::new(readers),
            _held: held,
            sweep_lock: None,
            _release_lock: None,
        })
    }

    /// Opens the ledger beside quarantines as [`Self::open_for_takedown`] does, with the sweep lock. On a full disk the lock's reserve is given
    /// back first.
    pub(super) fn open_for_sweep(
        path: &Path,
        durability: Durability,
        now: UtcDateTime,
    ) -> Result<Self, LedgerError> {
        let lock = SweepLock::take(path)?;
        let open = || Self::open_for_takedown(path, durability, LockMode::Shared, now);
        let opened = match open() {
            Err(error) if error != LedgerError::SweepRuns && lock.release_reserve() => open(),
            opened => opened,
        };
        Ok(Self {
            sweep_lock: Some(lock),
            ..opened?
        })
    }

    /// Opens the ledger as [`Self::open`] does, and holds the lock between sweeps and releases until it is dropped.
    pub(super) fn open_for_takedown(
        path: &Path,
        durability: Durability,
        mode: LockMode,
        now: UtcDateTime,
    ) -> Result<Self, LedgerError> {
        let lock = sweep_lock::lock_releases(path, mode)?;
        Ok(Self {
            _release_lock: Some(lock),
            ..Self::open(path, durability, 1, now)?
        })
    }

    fn read<T>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, LedgerError> {
        self.readers.with(read).map_err(LedgerError::from)
    }

    fn write<T>(
        &self,
        write: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, LedgerError> {
        Ok(lock(&self.writer).write(synchronous(self.durability), write)?)
    }
}

impl Ledger for SqliteLedger {
    fn update_identity(
        &self,
        update: &mut dyn FnMut(Option<Identity>) -> Result<Identity, LedgerError>,
    ) -> Result<(), LedgerError> {
        lock(&self.writer).write(synchronous(self.durability), |connection| {
            let identity = update(meta::identity(connection)?)?;
            Ok(meta::set_identity(connection, identity)?)
        })
    }

    fn delete_secret(&self) -> Result<[u8; SECRET_BYTES], LedgerError> {
        if let Some(secret) = self.read(secret::delete_images)? {
            return Ok(secret);
        }
        let mut new = [0; SECRET_BYTES];
        random::fill(&mut new).map_err(|error| LedgerError::Failed(error.to_string()))?;
        self.write(|connection| secret::add_delete_images(connection, new))
    }

    fn set_created_at(&self, at: UtcDateTime) -> Result<(), LedgerError> {
        self.write(|connection| meta::set_time(connection, meta::CREATED_AT, at))
    }

    fn account(&self, id: &str, now: UtcDateTime) -> Result<Option<Account>, LedgerError> {
        self.read(|connection| clients::account(connection, id, now))
    }

    fn keyed_upload(
        &self,
        client: ClientKey,
        key: Fingerprint,
        since: Timestamp,
    ) -> Result<Option<KeyedUpload>, LedgerError> {
        self.read(|connection| upload_keys::find(connection, client, key, since))
    }

    fn forget(
        &self,
        addresses: Timestamp,
        keys: Timestamp,
        limit: u32,
    ) -> Result<(usize, usize), LedgerError> {
        self.write(|connection| {
            Ok((
                images::forget_addresses(connection, addresses, limit)?,
                upload_keys::forget(connection, keys, limit)?,
            ))
        })
    }

    fn storage_differences(&self, repair: bool) -> Result<Vec<StorageDifference>, LedgerError> {
        let found = self.read(storage::differences)?;
        if repair && !found.is_empty() {
            // Again, in the transaction that repairs: uploads may have ended meanwhile.
            return self.write(storage::repair);
        }
        Ok(found)
    }

    fn record(&self, batch: &[NewImage], now: UtcDateTime) -> Result<Vec<Verdict>, LedgerError> {
        self.write(|connection| images::record(connection, batch, now))
    }

    fn record_unsynced(
        &self,
        batch: &[NewImage],
        now: UtcDateTime,
        last_lsn: u64,
    ) -> Result<Vec<Verdict>, LedgerError> {
        lock(&self.writer).write(NORMAL, |connection| {
            log::set_recorded(connection, last_lsn)?;
            Ok(images::record(connection, batch, now)?)
        })
    }

    fn log_marks(&self) -> Result<Option<LogMarks>, LedgerError> {
        if let Some(marks) = self.read(log::marks)? {
            return Ok(Some(marks));
        }
        let mut id = [0; 8];
        random::fill(&mut id).map_err(|error| LedgerError::Failed(error.to_string()))?;
        self.write(|connection| log::set_id(connection, u64::from_le_bytes(id)))?;
        self.read(log::marks)
    }

    fn replay(&self, images: &[LoggedImage], last_lsn: u64) -> Result<usize, LedgerError> {
        self.write(|connection| {
            log::set_recorded(connection, last_lsn)?;
            images::replay(connection, images)
        })
    }

    fn checkpoint(&self, lsn: u64) -> Result<(), LedgerError> {
        self.write(|connection| log::set_checkpointed(connection, lsn))
    }

    fn refund(&self, paths: &[ImagePath]) -> Result<usize, LedgerError> {
        self.write(|connection| images::refund(connection, paths))
    }

    fn set_dimensions(&self, images: &[(&ImagePath, (u32, u32))]) -> Result<(), LedgerError> {
        self.write(|connection| images::set_dimensions(connection, images))
    }

    fn delete_rows(&self, paths: &[ImagePath]) -> Result<Deleted, LedgerError> {
        self.write(|connection| images::delete_rows(connection, paths))
    }

    fn expired(
        &self,
        now: UtcDateTime,
        after: Option<&Expired>,
        limit: u32,
    ) -> Result<Vec<Expired>, LedgerError> {
        self.read(|connection| images::expired(connection, now, after, limit))
    }

    fn expired_count(&self, now: UtcDateTime) -> Result<u64, LedgerError> {
        self.read(|connection| images::expired_count(connection, now))
    }

    fn image(&self, path: &ImagePath) -> Result<Option<ImageRow>, LedgerError> {
        self.read(|connection| images::image(connection, path))
    }

    fn list(&self, listing: &Listing) -> Result<Vec<ImageRow>, LedgerError> {
        self.read(|connection| listing::list(connection, listing))
    }

    fn images(&self, filter: &ImageFilter) -> Result<Vec<ImageRow>, LedgerError> {
        self.read(|connection| images::images(connection, filter))
    }

    fn adopt(
        &self,
        images: &[FoundImage],
        id: &str,
        plan: &str,
        now: UtcDateTime,
    ) -> Result<usize, LedgerError> {
        self.write(|connection| {
            let client = clients::get_or_add_disabled(connection, id, plan, now)?;
            images::adopt(connection, images, client)
        })
    }

    fn add_client(
        &self,
        id: &str,
        plan: &str,
        token: TokenDigest,
        now: UtcDateTime,
    ) -> Result<bool, LedgerError> {
        self.write(|connection| clients::add(connection, id, plan, token, now))
    }

    fn set_plan(&self, id: &str, plan: &str) -> Result<bool, LedgerError> {
        self.write(|connection| clients::set_plan(connection, id, plan))
    }

    fn set_disabled(
        &self,
        id: &str,
        disabled: bool,
        now: UtcDateTime,
    ) -> Result<bool, LedgerError> {
        self.write(|connection| clients::set_disabled(connection, id, disabled, now))
    }

    fn remove_client(&self, id: &str, now: UtcDateTime) -> Result<bool, LedgerError> {
        self.write(|connection| clients::remove(connection, id, now))
    }

    fn clients_named(&self, id: &str) -> Result<Vec<(ClientKey, Option<Timestamp>)>, LedgerError> {
        self.read(|connection| clients::named(connection, id))
    }

    fn clients(&self, now: UtcDateTime) -> Result<Vec<ClientRow>, LedgerError> {
        self.read(|connection| clients::list(connection, now))
    }

    fn usage(
        &self,
        owner: Option<&Owner>,
        since: Option<Date>,
    ) -> Result<Vec<UsageRow>, LedgerError> {
        self.read(|connection| clients::usage(connection, owner, since))
    }

    fn status(&self) -> Result<Status, LedgerError> {
        self.read(meta::status)
    }

    fn finish_sweep(
        &self,
        swept: Swept,
        completed_at: Option<UtcDateTime>,
    ) -> Result<(), LedgerError> {
        self.write(|connection| meta::finish_sweep(connection, swept, completed_at))?;
        if let (Some(lock), Some(_)) = (&self.sweep_lock, completed_at) {
            lock.keep_reserve();
        }
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
