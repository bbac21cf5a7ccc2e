//! The ledger: who may upload, how much of today's quota is used, and which images there are.
//!
//! [`Ledger`] is one of the two seams of the program: SQLite is behind it today. Its verbs take `now`, never read a clock, and speak
//! of no driver. The committer in [`committer`] is the only one that records uploads.

pub mod committer;
pub mod sqlite;

use std::fmt;

use time::{Date, UtcDateTime};

use crate::auth::TokenDigest;
use crate::image_path::ImagePath;
use crate::plan::DAY_SECONDS;

/// A client inside the ledger. Ids can be given again after a client was removed, keys never are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientKey(pub i64);

/// What is needed to judge a request of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its key.
    pub key: ClientKey,
    /// The name of its plan.
    pub plan: String,
    /// Whether it was disabled.
    pub disabled: bool,
    /// The digests of the tokens that are valid now.
    pub tokens: Vec<TokenDigest>,
    /// Images it stored on the UTC day asked for.
    pub used: u32,
}

/// An image that is to be recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewImage {
    /// Its name, with the class and day of now.
    pub path: ImagePath,
    /// Who uploads it.
    pub client: ClientKey,
    /// The uploads a UTC day that the client's plan allows.
    pub daily_limit: u32,
    /// Bytes.
    pub size: u64,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
}

/// What became of a [`NewImage`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Its row is on disk; the client has stored `used` images today, this one included.
    Recorded {
        /// Images stored today.
        used: u32,
    },
    /// The client had stored as many images as its plan allows; nothing was recorded.
    Exhausted {
        /// Images stored today.
        used: u32,
    },
    /// Another image has that name; nothing was recorded.
    NameTaken,
}

/// An image in the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageRow {
    /// Its name.
    pub path: ImagePath,
    /// The id of the client that uploaded it.
    pub client: String,
    /// The key of that client: whose image it is, even after another client was given the id.
    pub owner: ClientKey,
    /// Bytes.
    pub size: u64,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Unix seconds.
    pub uploaded_at: i64,
    /// Unix seconds; `None` for a lifetime image.
    pub expires_at: Option<i64>,
}

/// An image that was found in the store and that no row knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundImage {
    /// Its name.
    pub path: ImagePath,
    /// Bytes.
    pub size: u64,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Unix seconds.
    pub uploaded_at: i64,
    /// Unix seconds; `None` for a lifetime image.
    pub expires_at: Option<i64>,
}

/// An image whose life has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expired {
    /// When it ended, in Unix seconds.
    pub at: i64,
    /// Its name.
    pub path: ImagePath,
}

/// A client in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientRow {
    /// Its id.
    pub id: String,
    /// The name of its plan.
    pub plan: String,
    /// Unix seconds.
    pub created_at: i64,
    /// Unix seconds.
    pub disabled_at: Option<i64>,
    /// Tokens that are valid now; 2 while a rotation overlaps.
    pub tokens: u32,
    /// Images stored on the UTC day asked for.
    pub used: u32,
    /// Images stored since the client was added.
    pub uploads: u64,
    /// Bytes stored since the client was added.
    pub bytes: u64,
}

/// One client's uploads of one UTC day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageRow {
    /// The client's id.
    pub client: String,
    /// The day.
    pub day: Date,
    /// Images stored.
    pub uploads: u32,
    /// Bytes stored.
    pub bytes: u64,
}

/// Which images a listing shows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageFilter {
    /// Only those of this client id.
    pub client: Option<String>,
    /// Only those of this client, and of no other that had its id.
    pub owner: Option<ClientKey>,
    /// Only those of this class and day, such as `d/ap5`.
    pub directory: Option<String>,
    /// Only those after this path, in the order of paths: where the page before ended.
    pub after: Option<ImagePath>,
    /// At most so many.
    pub limit: u32,
}

/// Why the ledger could not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// Another process held the write lock for longer than the busy timeout.
    #[error("the ledger is locked by another process: {0}")]
    Busy(String),
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

/// Clients, quotas and images. Every verb is atomic: it happened on disk when it returns `Ok`, or it did not happen.
pub trait Ledger: fmt::Debug + Send + Sync {
    /// The client of that id, with its uploads of the day of `now`; `None` if there is none.
    fn account(&self, id: &str, now: UtcDateTime) -> Result<Option<Account>, LedgerError>;

    /// Decides the quota for each image in turn and records those that fit, all in one transaction. The verdicts are in the order
    /// of `batch`.
    fn record(&self, batch: &[NewImage], now: UtcDateTime) -> Result<Vec<Verdict>, LedgerError>;

    /// Takes back images that were recorded and never came to be: their rows go, their quota is given back. Returns how many
    /// rows there were.
    fn withdraw(&self, paths: &[ImagePath]) -> Result<usize, LedgerError>;

    /// Removes the rows of images that were deleted. Quota is not given back. Returns how many rows there were.
    fn forget(&self, paths: &[ImagePath]) -> Result<usize, LedgerError>;

    /// At most `limit` images whose life has ended at `now`, those that ended first in front, behind `after`.
    fn expired(
        &self,
        now: UtcDateTime,
        after: Option<&Expired>,
        limit: u32,
    ) -> Result<Vec<Expired>, LedgerError>;

    /// How many images there are whose life has ended at `now`.
    fn expired_count(&self, now: UtcDateTime) -> Result<u64, LedgerError>;

    /// One image; `None` if it is not in the ledger.
    fn image(&self, path: &ImagePath) -> Result<Option<ImageRow>, LedgerError>;

    /// Images in the order of their paths.
    fn images(&self, filter: &ImageFilter) -> Result<Vec<ImageRow>, LedgerError>;

    /// Records images that are in the store already, as those of the client `id`, and counts none of them against a quota. A client
    /// that is not there is made: of `plan`, disabled, without a token. What has a row keeps it. Returns how many rows are new.
    fn adopt(
        &self,
        images: &[FoundImage],
        id: &str,
        plan: &str,
        now: UtcDateTime,
    ) -> Result<usize, LedgerError>;

    /// Adds a client with its first token; `false` if a client has that id.
    fn add_client(
        &self,
        id: &str,
        plan: &str,
        token: TokenDigest,
        now: UtcDateTime,
    ) -> Result<bool, LedgerError>;

    /// Gives a client a new token. The old ones end at `old_tokens_end`, in Unix seconds. `false` if there is no such client.
    fn rotate_token(
        &self,
        id: &str,
        token: TokenDigest,
        old_tokens_end: i64,
        now: UtcDateTime,
    ) -> Result<bool, LedgerError>;

    /// Disables or enables a client; `false` if there is no such client.
    fn set_disabled(&self, id: &str, disabled: bool, now: UtcDateTime)
    -> Result<bool, LedgerError>;

    /// Removes a client and its tokens; its images live on until they expire. `false` if there is no such client.
    fn remove_client(&self, id: &str, now: UtcDateTime) -> Result<bool, LedgerError>;

    /// The clients in the order of their ids, with their uploads of the day of `now`.
    fn clients(&self, now: UtcDateTime) -> Result<Vec<ClientRow>, LedgerError>;

    /// Uploads by day and client, since the day `since`, of one client or of all.
    fn usage(
        &self,
        client: Option<&str>,
        since: Option<Date>,
    ) -> Result<Vec<UsageRow>, LedgerError>;

    /// Uploads of one client by day, since the day `since`.
    fn usage_of(&self, client: ClientKey, since: Date) -> Result<Vec<UsageRow>, LedgerError>;

    /// Notes when something was done last, in Unix seconds.
    fn note_time(&self, event: Event, at: UtcDateTime) -> Result<(), LedgerError>;

    /// When it was done last, in Unix seconds; `None` if never.
    fn noted_time(&self, event: Event) -> Result<Option<i64>, LedgerError>;

    /// Adds to what sweeps have deleted.
    fn add_swept(&self, swept: Swept) -> Result<(), LedgerError>;

    /// What sweeps have deleted since the ledger was made.
    fn swept(&self) -> Result<Swept, LedgerError>;
}

/// What sweeps deleted. Each is a process of its own, so the ledger adds up what they did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Images whose life had ended.
    pub expired: u64,
    /// Bytes that they took.
    pub bytes: u64,
    /// Uploads that were begun and never finished.
    pub abandoned: u64,
    /// Rows that never got their files.
    pub withdrawn: u64,
    /// Files that no row knew.
    pub orphaned: u64,
}

/// Something whose last time the ledger keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The ledger was made. Files that are older may belong to an earlier ledger.
    Created,
    /// A sweep ran to its end.
    Swept,
}

/// The number of a UTC day: days since 1 January 1970.
pub(crate) fn day_number(day: Date) -> i64 {
    crate::plan::unix_midnight(day) / DAY_SECONDS
}

#[cfg(test)]
mod conformance;
