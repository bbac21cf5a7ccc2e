//! Commits an upload: its row, its bytes and its name are durable before the reply is sent.
//!
//! A small upload goes through the write-ahead log:
//!
//! ```text
//! recorder   one transaction and one append to the log for all uploads that wait
//! publish    the file is renamed into place, without a sync
//! ```
//!
//! A large one, and every one of a process that does not hold the log, is synced by itself:
//!
//! ```text
//! recorder   one transaction for the rows of all uploads that wait
//! prepare    meanwhile the request's thread sets the file's expiry and syncs its bytes
//! publish    the file is renamed into place, and its directory synced
//! ```
//!
//! Rows come before files. A crash between the two leaves rows without files, which recovery completes from the log or the sweep
//! refunds; the other order would leave files that no quota counts.

mod recorder;
pub mod wal;

use std::io;
use std::net::Ipv6Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use time::UtcDateTime;

use crate::config::Config;
use crate::error::Fault;
use crate::expiry::{Expiry, StoreDuration};
use crate::idempotency::UploadKey;
use crate::image::Inspected;
use crate::image_path::ImagePath;
use crate::ledger::{ClientKey, Ledger};
use crate::log::Line;
use crate::store::{Publication, PublishError, Spool, Store};
use recorder::{Recorded, Recorder};
use wal::record::MAX_IMAGE;

/// How many random names are tried. With ten characters a second one is needed less than once in 10¹⁵ uploads.
const NAME_TRIES: u32 = 3;

/// Seconds after which a row without a file is that of an upload that was cut off. A file follows its row within milliseconds, into a
/// store that is slow within seconds.
pub(crate) const CUT_OFF_AFTER: i64 = 60;

/// Seconds within which a file follows its row, or is deleted again: afterwards another process may take the upload for cut off and delete
/// the row. nginx waits less long for a reply.
const PUBLISHED_WITHIN: i64 = 45;

/// An upload that passed every check.
#[derive(Debug)]
pub(crate) struct Upload {
    /// Its bytes.
    pub spool: Spool,
    /// Its type and dimensions.
    pub inspected: Inspected,
    /// The client that uploads it.
    pub client: ClientKey,
    /// Uploads a UTC day that the client's plan allows.
    pub daily_limit: u32,
    /// Bytes that the client may have stored; `None` for any number.
    pub max_storage: Option<u64>,
    /// The address that it comes from, if it is to be kept.
    pub address: Option<Ipv6Addr>,
    /// What a repetition of it is recognized by.
    pub key: Option<UploadKey>,
    /// How long it is kept.
    pub duration: StoreDuration,
}

/// The result of an upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The image is durable and served.
    Stored {
        /// Its path.
        path: ImagePath,
        /// When it expires; `None` for a lifetime image.
        expiry: Option<Expiry>,
        /// Images that the client stored on the UTC day of `at`, this one included.
        used: u32,
        /// The instant that decided quota day, directory and expiry.
        at: UtcDateTime,
    },
    /// The client's quota of the UTC day of `at` is used up. Nothing is stored.
    QuotaExceeded {
        /// Images that the client stored on that day.
        used: u32,
        /// The instant that decided it.
        at: UtcDateTime,
    },
    /// The client would have more stored than its plan allows. Nothing is stored.
    StorageExceeded {
        /// Images that the client stored on the UTC day of `at`.
        used: u32,
        /// The instant that decided it.
        at: UtcDateTime,
    },
    /// Another process has just recorded an upload with the same key. Nothing is stored.
    Repeated,
}

/// What a [`Committer`] works with.
#[derive(Clone)]
pub(crate) struct Settings {
    /// Where the rows go.
    pub ledger: Arc<dyn Ledger>,
    /// Where the files go.
    pub store: Arc<dyn Store>,
    /// Random characters of a name.
    pub name_length: usize,
    /// The directory of the write-ahead log; `None` to commit without one.
    pub log: Option<PathBuf>,
    /// Gives the instant of each transaction.
    pub clock: fn() -> UtcDateTime,
    /// Called with the number of rows of each transaction.
    pub observe_batch: Arc<dyn Fn(usize) + Send + Sync>,
    /// Called with the time that each checkpoint of the log took.
    pub observe_checkpoint: Arc<dyn Fn(Duration) + Send + Sync>,
}

/// Commits uploads from any number of threads. Dropping it checkpoints the log.
#[derive(Debug)]
pub(crate) struct Committer {
    recorder: Recorder,
    ledger: Arc<dyn Ledger>,
    store: Arc<dyn Store>,
    clock: fn() -> UtcDateTime,
}

impl Committer {
    /// Recovers what the log holds, and starts the recorder's thread.
    pub(crate) fn start(settings: Settings) -> io::Result<Self> {
        Ok(Self {
            ledger: settings.ledger.clone(),
            store: settings.store.clone(),
            clock: settings.clock,
            recorder: Recorder::start(settings)?,
        })
    }

    /// Commits one upload. When this returns [`Outcome::Stored`], a power cut cannot lose it.
    pub(crate) fn commit(&self, mut upload: Upload) -> Result<Outcome, Fault> {
        let is_small = upload.spool.size() <= MAX_IMAGE as u64;
        for _ in 0..NAME_TRIES {
            let image = if is_small && self.recorder.has_log() {
                Some(upload.spool.bytes().map_err(Fault::SaveImage)?)
            } else {
                None
            };
            let (recorded, prepared) = if image.is_some() || !upload.spool.needs_sync() {
                (self.recorder.record(&upload, image), Ok(()))
            } else {
                let pending = self.recorder.queue(&upload);
                // The sync of the bytes runs while the recorder syncs the row. A failed sync is not repeated: the kernel may report a
                // success that it has not achieved.
                let expiry = upload.duration.expiry((self.clock)());
                let prepared = self.store.prepare(&mut [(&mut upload.spool, expiry)]);
                (pending.wait(), prepared)
            };
            let (path, used, at, unpublished) = match recorded? {
                Recorded::Row {
                    path,
                    used,
                    at,
                    unpublished,
                } => (path, used, at, unpublished),
                Recorded::QuotaExceeded { used, at } => {
                    return Ok(Outcome::QuotaExceeded { used, at });
                }
                Recorded::StorageExceeded { used, at } => {
                    return Ok(Outcome::StorageExceeded { used, at });
                }
                Recorded::Repeated => return Ok(Outcome::Repeated),
            };
            // Differs from the first one when midnight came between.
            let expiry = upload.duration.expiry(at);
            let publication = Publication {
                spool: &mut upload.spool,
                path: &path,
                expiry,
            };
            let published = prepared.map_err(PublishError::Image).and_then(|()| {
                if unpublished.is_some() {
                    self.store.publish_unsynced(publication)
                } else {
                    self.store.publish(&mut [publication]).remove(0)
                }
            });
            match published {
                Ok(()) => {
                    self.require_in_time(&path, at)?;
                    return Ok(Outcome::Stored {
                        path,
                        expiry,
                        used,
                        at,
                    });
                }
                Err(error) => {
                    // Before the segment may be checkpointed: a record without a row is never brought back.
                    refund(&*self.ledger, self.clock, std::slice::from_ref(&path));
                    if !matches!(error, PublishError::NameTaken) {
                        return Err(error.into());
                    }
                }
            }
        }
        Err(names_taken())
    }

    /// Deletes an image that was published too long after its row, as after this process or its host stood still, and fails.
    fn require_in_time(&self, path: &ImagePath, at: UtcDateTime) -> Result<(), Fault> {
        let seconds = (self.clock)().unix_timestamp() - at.unix_timestamp();
        if seconds <= PUBLISHED_WITHIN {
            return Ok(());
        }
        let paths = std::slice::from_ref(path);
        // An image that cannot be deleted keeps its row.
        if self.store.delete(paths).iter().all(Result::is_ok) {
            refund(&*self.ledger, self.clock, paths);
        }
        Err(Fault::Unavailable(format!(
            "{path} was published {seconds} s after its row was recorded: did this host stand still, or was its clock set?"
        )))
    }

    /// The figures of the log; `None` while this process does not hold it.
    pub(crate) fn log_status(&self) -> Option<wal::Status> {
        self.recorder.log_status()
    }
}

/// The directory of the write-ahead log, `<ledger>-log`; `None` for a ledger in PostgreSQL, which has a log of its own.
pub(crate) fn log_directory(config: &Config) -> Option<PathBuf> {
    config.ledger.directory()?;
    let mut directory = config.ledger.path.clone().into_os_string();
    directory.push("-log");
    Some(directory.into())
}

/// Recovers what a responder that was killed left in the write-ahead log, unless another one holds the log now.
pub(crate) fn recover(
    config: &Config,
    ledger: &dyn Ledger,
    store: &dyn Store,
) -> Result<wal::Recovered, Fault> {
    let Some(directory) = log_directory(config) else {
        return Ok(wal::Recovered::default());
    };
    wal::recover(&directory, ledger, store).map_err(|error| {
        Fault::Internal(format!(
            "the write-ahead log {}: {error}",
            directory.display()
        ))
    })
}

/// Refunds images that were recorded and not published. If that fails the rows count against the quota until a sweep refunds them.
fn refund(ledger: &dyn Ledger, clock: fn() -> UtcDateTime, paths: &[ImagePath]) {
    if let Err(error) = ledger.refund(paths) {
        Line::new(clock(), "refund_failed")
            .field("images", paths.len())
            .field("cause", error)
            .write();
    }
}

fn names_taken() -> Fault {
    Fault::Internal(format!("{NAME_TRIES} random names were taken"))
}

#[cfg(test)]
mod tests;
