//! What a ledger holds: clients, images and their usage, without a driver's types.

use std::net::Ipv6Addr;

use time::{Date, UtcDateTime};

use crate::auth::TokenDigest;
use crate::expiry::Expiry;
use crate::idempotency::{Fingerprint, UploadKey};
use crate::image_path::{Directory, ImagePath};
use crate::ledger::Quarantined;
use crate::timestamp::Timestamp;

/// A client inside the ledger. An id can be given again after its client was removed; a key never is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ClientKey(pub i64);

/// A client, as a request needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    /// Its key.
    pub key: ClientKey,
    /// The name of its plan.
    pub plan: String,
    /// Whether it is disabled.
    pub disabled: bool,
    /// The digests of its valid tokens.
    pub tokens: Vec<TokenDigest>,
    /// Images stored on the UTC day asked for.
    pub used: u32,
    /// What it has stored now.
    pub stored: StorageUse,
}

/// What a client has stored now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct StorageUse {
    /// Images.
    pub images: u64,
    /// Bytes of these images.
    pub bytes: u64,
}

/// An image to be recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NewImage {
    /// Its path, with the class and day of now.
    pub path: ImagePath,
    /// The client that uploads it.
    pub client: ClientKey,
    /// Uploads a UTC day that the client's plan allows.
    pub daily_limit: u32,
    /// Bytes that the client may have stored; `None` for any number.
    pub max_storage: Option<u64>,
    /// Bytes.
    pub size: u64,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// The address that it comes from, if it is to be kept. IPv4 is mapped to IPv6.
    pub address: Option<Ipv6Addr>,
    /// What a repetition of the upload is recognized by.
    pub key: Option<UploadKey>,
}

/// An image as the write-ahead log has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LoggedImage {
    /// Its path.
    pub path: ImagePath,
    /// The client that uploaded it.
    pub client: ClientKey,
    /// Bytes.
    pub size: u64,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// When it was uploaded.
    pub uploaded_at: Timestamp,
    /// The address that it came from, if it is kept.
    pub address: Option<Ipv6Addr>,
    /// What a repetition of the upload is recognized by.
    pub key: Option<UploadKey>,
}

impl LoggedImage {
    /// An upload that is recorded at `at`.
    pub(crate) fn of(image: &NewImage, at: Timestamp) -> Self {
        Self {
            path: image.path.clone(),
            client: image.client,
            size: image.size,
            width: image.width,
            height: image.height,
            uploaded_at: at,
            address: image.address,
            key: image.key,
        }
    }

    /// When it expires; `None` for a lifetime image.
    pub(crate) fn expiry(&self) -> Option<Expiry> {
        let uploaded_at = UtcDateTime::from_unix_timestamp(self.uploaded_at.0).ok()?;
        self.path.duration().expiry(uploaded_at)
    }
}

/// Where ledger and write-ahead log stand. Log sequence numbers (LSNs) ascend and are never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LogMarks {
    /// The id that the log of this ledger carries.
    pub log_id: u64,
    /// The rows of all LSNs up to this one are in the ledger, or were deleted from it.
    pub recorded: u64,
    /// The log is not needed for LSNs up to this one: rows and files are durable without it.
    pub checkpointed: u64,
}

/// The result of recording a [`NewImage`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Its row is durable.
    Recorded {
        /// Images that the client stored on the day, this one included.
        used: u32,
    },
    /// The client's quota is used up; nothing is recorded.
    QuotaExceeded {
        /// Images that the client stored on the day.
        used: u32,
    },
    /// The image would be more than the client may have stored; nothing is recorded.
    StorageExceeded {
        /// Images that the client stored on the day.
        used: u32,
    },
    /// An upload with that key was recorded already; nothing is recorded.
    Repeated,
    /// Another image has that path; nothing is recorded.
    NameTaken,
}

/// A stored upload that had an `Idempotency-Key`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyedUpload {
    /// That of what was uploaded.
    pub request: Fingerprint,
    /// The image that was stored.
    pub image: ImageRow,
}

/// A client whose count of what it has stored differs from its rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StorageDifference {
    /// Its id.
    pub client: String,
    /// Its key.
    pub owner: ClientKey,
    /// What is counted.
    pub counted: StorageUse,
    /// The sums over the rows of its images.
    pub found: StorageUse,
}

/// An image in the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ImageRow {
    /// Its path.
    pub path: ImagePath,
    /// The id of the client that uploaded it.
    pub client: String,
    /// The key of that client, which tells it from a later client of the same id.
    pub owner: ClientKey,
    /// When that client was removed; `None` if it was not.
    pub client_removed_at: Option<Timestamp>,
    /// Bytes.
    pub size: u64,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// When it was uploaded.
    pub uploaded_at: Timestamp,
    /// When it expires; `None` for a lifetime image.
    pub expires_at: Option<Timestamp>,
    /// The address that it came from, if it is kept.
    pub address: Option<Ipv6Addr>,
    /// Its quarantine; `None` if it is served.
    pub quarantine: Option<Quarantined>,
}

/// An image in the store that has no row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FoundImage {
    /// Its path.
    pub path: ImagePath,
    /// Bytes.
    pub size: u64,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// When it was uploaded.
    pub uploaded_at: Timestamp,
    /// When it expires; `None` for a lifetime image.
    pub expires_at: Option<Timestamp>,
}

/// An expired image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Expired {
    /// When it expired.
    pub at: Timestamp,
    /// Its path.
    pub path: ImagePath,
}

/// Rows that were deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Deleted {
    /// How many.
    pub rows: usize,
    /// Bytes of their images.
    pub bytes: u64,
}

/// A client in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClientRow {
    /// Its id.
    pub id: String,
    /// The name of its plan.
    pub plan: String,
    /// When it was added.
    pub created_at: Timestamp,
    /// When it was disabled; `None` if it is not.
    pub disabled_at: Option<Timestamp>,
    /// Valid tokens; 2 while a rotation overlaps.
    pub tokens: u32,
    /// Images stored on the UTC day asked for.
    pub used: u32,
    /// Images stored since the client was added.
    pub uploads: u64,
    /// Bytes stored since the client was added.
    pub bytes: u64,
    /// What it has stored now.
    pub stored: StorageUse,
}

/// One client's uploads of one UTC day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UsageRow {
    /// The client's id.
    pub client: String,
    /// When that client was removed; `None` if it was not. A later client of the same id has rows of its own.
    pub client_removed_at: Option<Timestamp>,
    /// The day.
    pub day: Date,
    /// Images stored.
    pub uploads: u32,
    /// Bytes stored.
    pub bytes: u64,
}

/// Whose images or uploads are listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Owner {
    /// Those of every client, present or removed, that has or had this id.
    Id(String),
    /// Those of one client.
    Key(ClientKey),
}

/// Which images are listed, in the order of their paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ImageFilter {
    /// Only images uploaded from the first day to the last, UTC; of all days if `None`.
    pub days: Option<(Date, Date)>,
    /// Only images behind this path: where the page before ended.
    pub after: Option<ImagePath>,
    /// At most so many.
    pub limit: u32,
}

impl ImageFilter {
    /// The first and the last instant of its days, in Unix seconds.
    pub(crate) fn instants(&self) -> (i64, i64) {
        self.days.map_or((i64::MIN, i64::MAX), |(first, last)| {
            (instants_of(first).0, instants_of(last).1)
        })
    }

    /// The first `limit` images of all.
    pub(crate) const fn all(limit: u32) -> Self {
        Self {
            days: None,
            after: None,
            limit,
        }
    }
}

/// What a ledger says of itself and of the sweeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Status {
    /// When the ledger was made.
    pub created_at: Timestamp,
    /// When a sweep last ran to its end; `None` if none did.
    pub last_sweep: Option<Timestamp>,
    /// What sweeps deleted since the ledger was made.
    pub swept: Swept,
}

/// What sweeps deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Swept {
    /// Expired images.
    pub expired: u64,
    /// Bytes of the expired images.
    pub bytes: u64,
    /// Spool files of uploads that were never committed.
    pub abandoned: u64,
    /// Rows without files, whose quota was refunded.
    pub refunded: u64,
    /// Files without rows.
    pub orphaned: u64,
}

/// The number of a UTC day: days since 1 January 1970.
pub(crate) fn day_number(day: Date) -> i64 {
    crate::expiry::unix_midnight(day) / crate::expiry::DAY_SECONDS
}

/// The UTC day of that number; `None` outside the years that [`Date`] has.
pub(crate) fn day_of_number(day: i64) -> Option<Date> {
    let midnight = day.checked_mul(crate::expiry::DAY_SECONDS)?;
    Timestamp(midnight).date()
}

/// The first and the last instant of a day, in Unix seconds.
pub(crate) fn instants_of(day: Date) -> (i64, i64) {
    let midnight = crate::expiry::unix_midnight(day);
    (midnight, midnight + crate::expiry::DAY_SECONDS - 1)
}

/// The ranges of paths that can hold images of the filter, in their order. The days of a filter name directories, which are ranges of
/// the table's key, so that a listing of a few days does not read the others.
pub(crate) fn path_ranges(filter: &ImageFilter) -> Vec<(String, String)> {
    let all = || vec![(String::new(), "~".to_owned())];
    let Some((first, last)) = filter.days else {
        return all();
    };
    if (last - first).whole_days() >= 31 {
        return all();
    }
    let days = std::iter::successors(Some(first), |day| day.next_day().filter(|day| *day <= last));
    let mut prefixes: Vec<_> = days
        .flat_map(Directory::all_of)
        .map(|directory| directory.prefix())
        .collect();
    prefixes.sort_unstable();
    prefixes.dedup();
    // The paths of a directory are those between `d/ap5/` and `d/ap50`: the character 0 follows the slash.
    let end = |prefix: &str| format!("{}0", prefix.trim_end_matches('/'));
    prefixes
        .into_iter()
        .map(|prefix| (prefix.clone(), end(&prefix)))
        .collect()
}
