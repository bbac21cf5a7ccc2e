//! The ledger: clients, quotas and images.
//!
//! [`Ledger`] is one of the two seams of the program; behind it is SQLite or PostgreSQL. Its verbs take `now` and never read a clock, and no
//! type of a driver is in their signatures. The functions of `open` open, back up, restore and inspect the ledger that the configuration names.

mod listing;
mod open;
#[cfg(feature = "postgres")]
mod postgres;
mod rows;
mod sqlite;
mod takedown;
mod tokens;
mod transfer;

use std::fmt;

use time::{Date, UtcDateTime};

use crate::auth::TokenDigest;
use crate::delete_key::SECRET_BYTES;
use crate::error::Fault;
use crate::idempotency::Fingerprint;
use crate::identity::Identity;
use crate::image_path::ImagePath;
use crate::timestamp::Timestamp;
pub(crate) use listing::{Listing, Page, Position};
pub(crate) use open::*;
#[cfg(feature = "postgres")]
pub(crate) use postgres::{Database, newest_schema as newest_postgres_schema};
pub(crate) use rows::*;
pub(crate) use sqlite::backup::{Contents, Restored};
pub(crate) use sqlite::inspection::{Inspection, QuickCheck, newest_schema};
pub(crate) use takedown::{Blocked, Purge, Quarantined, Takedown, TakedownCounts};
pub(crate) use tokens::{DEFAULT_TOKEN, TokenAdded, TokenRemoved, TokenRow, TokenUse, Tokens};
pub(crate) use transfer::{CLIENTS, IMAGES, Row, TABLES, Table, Transfer, Value};

/// Why the ledger could not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// Another process held the write lock for longer than the busy timeout.
    #[error("the ledger is locked by another process: {0}")]
    Busy(String),
    /// Its server is out of reach, or did not answer in time.
    #[error("{0}")]
    Unreachable(String),
    /// Another process holds the sweep lock, or the lock between sweeps and releases.
    #[error("another sweep runs, or images are released; this one did nothing")]
    SweepRuns,
    /// There is no ledger.
    #[error(
        "there is no ledger {0}: on a new site `corenexis-cdn client add` makes it; `corenexis-cdn restore` brings a backup back, \
         `corenexis-cdn verify --rebuild` makes a ledger from the files of the docroot"
    )]
    Missing(String),
    /// Its file system is full.
    #[error("the ledger's file system is full: {0}")]
    Full(String),
    /// It was written by a newer version of this program.
    #[error(
        "the ledger {path} has schema version {found}; this program knows {known}: use a newer corenexis-cdn"
    )]
    TooNew {
        /// The file.
        path: String,
        /// Its version.
        found: i64,
        /// The newest version that is known here.
        known: i64,
    },
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

impl From<LedgerError> for Fault {
    fn from(error: LedgerError) -> Self {
        match error {
            LedgerError::Full(_) => Self::LedgerFull(error.to_string()),
            LedgerError::Unreachable(_) => Self::Unavailable(error.to_string()),
            _ => Self::Internal(error.to_string()),
        }
    }
}

/// Clients, quotas and images. Every verb is atomic: it is durable when it returns `Ok`, or it did not happen.
pub(crate) trait Ledger: Takedown + Tokens + fmt::Debug + Send + Sync {
    /// Replaces the identity that the ledger shares with its store with what `update` makes of it; `None` if it has none yet. No other
    /// process changes it meanwhile, so that `update` can write the store's.
    fn update_identity(
        &self,
        update: &mut dyn FnMut(Option<Identity>) -> Result<Identity, LedgerError>,
    ) -> Result<(), LedgerError>;

    /// Sets when the ledger was made: that of a copy is the instant of its original.
    fn set_created_at(&self, at: UtcDateTime) -> Result<(), LedgerError>;

    /// The secret of the keys that delete an image: random, made when it is first asked for, and the same ever after.
    fn delete_secret(&self) -> Result<[u8; SECRET_BYTES], LedgerError>;

    /// The client with that id, with its uploads of the day of `now`; `None` if there is none.
    fn account(&self, id: &str, now: UtcDateTime) -> Result<Option<Account>, LedgerError>;

    /// The upload that the client has stored with that key, since `since`, and whose image it still has; `None` if there is none.
    fn keyed_upload(
        &self,
        client: ClientKey,
        key: Fingerprint,
        since: Timestamp,
    ) -> Result<Option<KeyedUpload>, LedgerError>;

    /// Forgets at most `limit` addresses of images that were uploaded before `addresses`, and as many keys of uploads before `keys`.
    /// Returns how many addresses and how many keys were forgotten.
    fn forget(
        &self,
        addresses: Timestamp,
        keys: Timestamp,
        limit: u32,
    ) -> Result<(usize, usize), LedgerError>;

    /// The clients whose count of what they have stored differs from the rows of their images. With `repair`, the counts are set right.
    fn storage_differences(&self, repair: bool) -> Result<Vec<StorageDifference>, LedgerError>;

    /// Checks key, quota and storage limit for each image in turn and records those that fit, in one transaction. The
    /// verdicts are in the order of `batch`.
    fn record(&self, batch: &[NewImage], now: UtcDateTime) -> Result<Vec<Verdict>, LedgerError>;

    /// Records like [`Self::record`] without a sync, and sets [`LogMarks::recorded`] to `last_lsn`, the highest of the batch. Rows and mark
    /// become durable with the next change that is, and not one without the other; before, a power cut may take the latest of them.
    fn record_unsynced(
        &self,
        batch: &[NewImage],
        now: UtcDateTime,
        last_lsn: u64,
    ) -> Result<Vec<Verdict>, LedgerError>;

    /// Where the ledger stands beside its write-ahead log; `None` if this kind of ledger needs none.
    fn log_marks(&self) -> Result<Option<LogMarks>, LedgerError>;

    /// Inserts rows that were lost, counts their quota, and sets [`LogMarks::recorded`] to `last_lsn`. An image that has a row keeps it.
    /// Returns how many rows are new.
    fn replay(&self, images: &[LoggedImage], last_lsn: u64) -> Result<usize, LedgerError>;

    /// Makes all that was recorded so far durable, and sets [`LogMarks::checkpointed`] to `lsn`.
    fn checkpoint(&self, lsn: u64) -> Result<(), LedgerError>;

    /// Deletes the rows of images that have no file, and refunds their quota. Returns how many rows there were.
    fn refund(&self, paths: &[ImagePath]) -> Result<usize, LedgerError>;

    /// Deletes the rows of images whose files are deleted. Quota is not refunded.
    fn delete_rows(&self, paths: &[ImagePath]) -> Result<Deleted, LedgerError>;

    /// Sets width and height of images, in pixels. An image without a row is skipped.
    fn set_dimensions(&self, images: &[(&ImagePath, (u32, u32))]) -> Result<(), LedgerError>;

    /// At most `limit` images that have expired at `now`, in the order of expiry and path, behind `after`. Those in quarantine are kept.
    fn expired(
        &self,
        now: UtcDateTime,
        after: Option<&Expired>,
        limit: u32,
    ) -> Result<Vec<Expired>, LedgerError>;

    /// How many images have expired at `now`.
    fn expired_count(&self, now: UtcDateTime) -> Result<u64, LedgerError>;

    /// One image; `None` if it has no row.
    fn image(&self, path: &ImagePath) -> Result<Option<ImageRow>, LedgerError>;

    /// A page of images, newest first. It costs what its images cost, however many others there are before it or of other clients.
    fn list(&self, listing: &Listing) -> Result<Vec<ImageRow>, LedgerError>;

    /// Images in the order of their paths.
    fn images(&self, filter: &ImageFilter) -> Result<Vec<ImageRow>, LedgerError>;

    /// Records images that are in the store, as those of the client `id`, without counting them against a quota. A client that does
    /// not exist is added: of `plan`, disabled, without a token. An image that has a row keeps it. Returns how many rows are new.
    fn adopt(
        &self,
        images: &[FoundImage],
        id: &str,
        plan: &str,
        now: UtcDateTime,
    ) -> Result<usize, LedgerError>;

    /// Adds a client with its first token, named [`DEFAULT_TOKEN`]; `false` if a client has that id.
    fn add_client(
        &self,
        id: &str,
        plan: &str,
        token: TokenDigest,
        now: UtcDateTime,
    ) -> Result<bool, LedgerError>;

    /// Gives a client another plan; `false` if there is no such client.
    fn set_plan(&self, id: &str, plan: &str) -> Result<bool, LedgerError>;

    /// Disables or enables a client; `false` if there is no such client.
    fn set_disabled(&self, id: &str, disabled: bool, now: UtcDateTime)
    -> Result<bool, LedgerError>;

    /// Removes a client and its tokens; its images stay until they expire. `false` if there is no such client.
    fn remove_client(&self, id: &str, now: UtcDateTime) -> Result<bool, LedgerError>;

    /// The clients that have or had this id, with the time of their removal: the present one first, then the last removed first.
    fn clients_named(&self, id: &str) -> Result<Vec<(ClientKey, Option<Timestamp>)>, LedgerError>;

    /// The clients in the order of their ids, with their uploads of the day of `now`.
    fn clients(&self, now: UtcDateTime) -> Result<Vec<ClientRow>, LedgerError>;

    /// Uploads by day and client since the day `since`.
    fn usage(
        &self,
        owner: Option<&Owner>,
        since: Option<Date>,
    ) -> Result<Vec<UsageRow>, LedgerError>;

    /// When the ledger was made and last swept, and what sweeps deleted.
    fn status(&self) -> Result<Status, LedgerError>;

    /// Adds what a sweep deleted to the totals; `completed_at` is `None` for a sweep that failed.
    fn finish_sweep(
        &self,
        swept: Swept,
        completed_at: Option<UtcDateTime>,
    ) -> Result<(), LedgerError>;
}

#[cfg(test)]
pub(crate) mod conformance;

/// The implementation, for tests of the modules that use the ledger.
#[cfg(test)]
pub(crate) mod testing {
    use time::UtcDateTime;

    use super::{Ledger, NewImage};
    use crate::auth::TokenDigest;
    use crate::expiry::StoreDuration;
    use crate::image_path::ImagePath;

    pub(crate) use super::conformance::image;
    pub(crate) use super::sqlite::backup::restore;
    pub(crate) use crate::ledger::sqlite::SqliteLedger;

    /// Adds the client `a`.
    pub(crate) fn add_client(ledger: &dyn Ledger, now: UtcDateTime) {
        let added = ledger.add_client("a", "free", TokenDigest([1; 32]), now);
        assert_eq!(added, Ok(true));
    }

    /// Records an upload of the client `a` at this instant: a PNG image of `size` bytes, with width and height in pixels.
    pub(crate) fn record(
        ledger: &dyn Ledger,
        duration: StoreDuration,
        at: UtcDateTime,
        size: usize,
        (width, height): (u32, u32),
    ) -> ImagePath {
        let account = ledger.account("a", at).expect("readable");
        let image = NewImage {
            daily_limit: u32::MAX,
            size: size as u64,
            width,
            height,
            ..image(account.expect("there").key, duration, at)
        };
        let path = image.path.clone();
        ledger.record(&[image], at).expect("recorded");
        path
    }
}
