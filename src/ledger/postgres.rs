//! The ledger in PostgreSQL, which several hosts can share.
//!
//! Every verb is one statement, atomic by itself and sent in one round trip; those that decide something are functions of the schema. A
//! statement whose reply was lost is sent again, so each does no harm the second time. Nothing belongs to a session: a pooler in
//! transaction mode may stand in between.

mod clients;
mod connection;
mod failure;
mod images;
mod inspection;
mod listing;
mod meta;
mod pool;
mod record;
mod schema;
mod server;
mod statement;
mod sweep_lock;
mod takedown;
mod tokens;
mod transfer;

use std::time::Duration;

use time::{Date, UtcDateTime};

use super::{
    Account, ClientKey, ClientRow, Deleted, Expired, FoundImage, ImageFilter, ImageRow,
    KeyedUpload, Ledger, LedgerError, Listing, LockMode, LogMarks, LoggedImage, NewImage, Owner,
    Status, StorageDifference, Swept, UsageRow, Verdict,
};
use crate::auth::TokenDigest;
use crate::config::{Durability, Postgres};
use crate::delete_key::SECRET_BYTES;
use crate::idempotency::Fingerprint;
use crate::identity::Identity;
use crate::image_path::ImagePath;
use crate::timestamp::Timestamp;
pub(crate) use inspection::Database;
pub(super) use inspection::{inspect, require_unused, state};
use pool::Pool;
pub(crate) use schema::newest as newest_schema;
use server::Server;
use sweep_lock::SweepLock;

/// How long a verb may take: as long as SQLite's waits for a lock. nginx waits much longer for a reply.
const DEADLINE: Duration = Duration::from_secs(5);

/// How long a verb that reads every row may take.
const LONG_DEADLINE: Duration = Duration::from_hours(1);

/// A ledger in a PostgreSQL database.
#[derive(Debug)]
pub(crate) struct PostgresLedger {
    pool: Pool,
    durability: Durability,
    /// Released when the ledger is dropped.
    _sweep_lock: Option<SweepLock>,
}

impl PostgresLedger {
    /// Opens the ledger, creates it if there is none, and migrates it to this program's schema version. Fails if the clock of this host
    /// differs from the server's.
    pub(crate) fn open(
        place: &Postgres,
        durability: Durability,
        now: UtcDateTime,
    ) -> Result<Self, LedgerError> {
        Self::open_within(place, durability, now, DEADLINE)
    }

    /// Opens the ledger as [`Self::open`] does; `deadline` is how long a verb may take.
    fn open_within(
        place: &Postgres,
        durability: Durability,
        now: UtcDateTime,
        deadline: Duration,
    ) -> Result<Self, LedgerError> {
        let pool = Pool::new(Server::new(place)?, place.connections, deadline);
        inspection::require_clock(&pool)?;
        schema::migrate(&pool, now)?;
        Ok(Self {
            pool,
            durability,
            _sweep_lock: None,
        })
    }

    /// Opens the ledger as [`Self::open`] does, and holds the lock between sweeps and releases until it is dropped.
    pub(super) fn open_locked(
        place: &Postgres,
        durability: Durability,
        now: UtcDateTime,
        mode: LockMode,
    ) -> Result<Self, LedgerError> {
        let ledger = Self::open(place, durability, now)?;
        let lock = SweepLock::take(&ledger.pool, mode)?;
        Ok(Self {
            _sweep_lock: Some(lock),
            ..ledger
        })
    }
}

impl Ledger for PostgresLedger {
    fn update_identity(
        &self,
        update: &mut dyn FnMut(Option<Identity>) -> Result<Identity, LedgerError>,
    ) -> Result<(), LedgerError> {
        meta::update_identity(&self.pool, update)
    }

    fn delete_secret(&self) -> Result<[u8; SECRET_BYTES], LedgerError> {
        meta::delete_secret(&self.pool)
    }

    fn set_created_at(&self, at: UtcDateTime) -> Result<(), LedgerError> {
        meta::set_created_at(&self.pool, at)
    }

    fn account(&self, id: &str, now: UtcDateTime) -> Result<Option<Account>, LedgerError> {
        clients::account(&self.pool, id, now)
    }

    fn keyed_upload(
        &self,
        client: ClientKey,
        key: Fingerprint,
        since: Timestamp,
    ) -> Result<Option<KeyedUpload>, LedgerError> {
        images::keyed_upload(&self.pool, client, key, since)
    }

    fn forget(
        &self,
        addresses: Timestamp,
        keys: Timestamp,
        limit: u32,
    ) -> Result<(usize, usize), LedgerError> {
        images::forget(&self.pool, addresses, keys, limit)
    }

    fn storage_differences(&self, repair: bool) -> Result<Vec<StorageDifference>, LedgerError> {
        clients::storage_differences(&self.pool, repair)
    }

    fn record(&self, batch: &[NewImage], now: UtcDateTime) -> Result<Vec<Verdict>, LedgerError> {
        let is_durable = self.durability == Durability::Full;
        record::record(&self.pool, batch, now, is_durable)
    }

    /// There is no write-ahead log of ours beside this one: it records as [`Self::record`] does.
    fn record_unsynced(
        &self,
        batch: &[NewImage],
        now: UtcDateTime,
        _last_lsn: u64,
    ) -> Result<Vec<Verdict>, LedgerError> {
        self.record(batch, now)
    }

    fn log_marks(&self) -> Result<Option<LogMarks>, LedgerError> {
        Ok(None)
    }

    fn replay(&self, images: &[LoggedImage], _last_lsn: u64) -> Result<usize, LedgerError> {
        record::replay(&self.pool, images)
    }

    /// Does nothing: what [`Self::record`] returned is durable already.
    fn checkpoint(&self, _lsn: u64) -> Result<(), LedgerError> {
        Ok(())
    }

    fn refund(&self, paths: &[ImagePath]) -> Result<usize, LedgerError> {
        images::refund(&self.pool, paths)
    }

    fn set_dimensions(&self, images: &[(&ImagePath, (u32, u32))]) -> Result<(), LedgerError> {
        images::set_dimensions(&self.pool, images)
    }

    fn delete_rows(&self, paths: &[ImagePath]) -> Result<Deleted, LedgerError> {
        images::delete_rows(&self.pool, paths)
    }

    fn expired(
        &self,
        now: UtcDateTime,
        after: Option<&Expired>,
        limit: u32,
    ) -> Result<Vec<Expired>, LedgerError> {
        images::expired(&self.pool, now, after, limit)
    }

    fn expired_count(&self, now: UtcDateTime) -> Result<u64, LedgerError> {
        images::expired_count(&self.pool, now)
    }

    fn image(&self, path: &ImagePath) -> Result<Option<ImageRow>, LedgerError> {
        images::image(&self.pool, path)
    }

    fn list(&self, listing: &Listing) -> Result<Vec<ImageRow>, LedgerError> {
        listing::list(&self.pool, listing)
    }

    fn images(&self, filter: &ImageFilter) -> Result<Vec<ImageRow>, LedgerError> {
        images::images(&self.pool, filter)
    }

    fn adopt(
        &self,
        images: &[FoundImage],
        id: &str,
        plan: &str,
        now: UtcDateTime,
    ) -> Result<usize, LedgerError> {
        images::adopt(&self.pool, images, id, plan, now)
    }

    fn add_client(
        &self,
        id: &str,
        plan: &str,
        token: TokenDigest,
        now: UtcDateTime,
    ) -> Result<bool, LedgerError> {
        clients::add(&self.pool, id, plan, token, now)
    }

    fn set_plan(&self, id: &str, plan: &str) -> Result<bool, LedgerError> {
        clients::set_plan(&self.pool, id, plan)
    }

    fn set_disabled(
        &self,
        id: &str,
        disabled: bool,
        now: UtcDateTime,
    ) -> Result<bool, LedgerError> {
        clients::set_disabled(&self.pool, id, disabled, now)
    }

    fn remove_client(&self, id: &str, now: UtcDateTime) -> Result<bool, LedgerError> {
        clients::remove(&self.pool, id, now)
    }

    fn clients_named(&self, id: &str) -> Result<Vec<(ClientKey, Option<Timestamp>)>, LedgerError> {
        clients::named(&self.pool, id)
    }

    fn clients(&self, now: UtcDateTime) -> Result<Vec<ClientRow>, LedgerError> {
        clients::list(&self.pool, now)
    }

    fn usage(
        &self,
        owner: Option<&Owner>,
        since: Option<Date>,
    ) -> Result<Vec<UsageRow>, LedgerError> {
        clients::usage(&self.pool, owner, since)
    }

    /// Fails if the clocks of host and server differ: no upload is recorded then.
    fn status(&self) -> Result<Status, LedgerError> {
        inspection::require_clock(&self.pool)?;
        meta::status(&self.pool)
    }

    fn finish_sweep(
        &self,
        swept: Swept,
        completed_at: Option<UtcDateTime>,
    ) -> Result<(), LedgerError> {
        meta::finish_sweep(&self.pool, swept, completed_at)
    }
}

#[cfg(test)]
mod tests;
