//! Commits an upload: its row, its bytes and its name are durable before the reply is sent.
//!
//! ```text
//! recorder   one transaction for the rows of all uploads that wait, on a thread of its own
//! prepare    meanwhile the request's thread sets the file's expiry and syncs its bytes
//! publish    the file is renamed into place, and its directory synced
//! ```
//!
//! Rows come before files. A crash between the two leaves rows without files, which the sweep refunds; the other order would leave
//! files that no quota counts.

mod recorder;

use std::io;
use std::sync::Arc;

use time::UtcDateTime;

use crate::error::Fault;
use crate::image::Inspected;
use crate::image_path::ImagePath;
use crate::ledger::{ClientKey, Ledger};
use crate::log::Line;
use crate::plan::{Expiry, StoreDuration};
use crate::store::{Publication, PublishError, Spool, Store};
use recorder::{Recorded, Recorder};

/// How many random names are tried. With ten characters a second one is needed less than once in 10¹⁵ uploads.
const NAME_TRIES: u32 = 3;

/// An upload that passed every check.
#[derive(Debug)]
pub struct Upload {
    /// Its bytes.
    pub spool: Spool,
    /// Its type and dimensions.
    pub inspected: Inspected,
    /// The client that uploads it.
    pub client: ClientKey,
    /// Uploads a UTC day that the client's plan allows.
    pub daily_limit: u32,
    /// How long it is kept.
    pub duration: StoreDuration,
}

/// The result of an upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
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
}

/// Commits uploads from any number of threads.
#[derive(Debug)]
pub struct Committer {
    recorder: Recorder,
    ledger: Arc<dyn Ledger>,
    store: Arc<dyn Store>,
    clock: fn() -> UtcDateTime,
}

impl Committer {
    /// Starts the recorder's thread. Names get `name_length` random characters; `clock` gives the instant of each transaction;
    /// `observe_batch` is called with the number of rows of each.
    pub fn start(
        ledger: Arc<dyn Ledger>,
        store: Arc<dyn Store>,
        name_length: usize,
        clock: fn() -> UtcDateTime,
        observe_batch: Box<dyn Fn(usize) + Send + Sync>,
    ) -> io::Result<Self> {
        Ok(Self {
            recorder: Recorder::start(ledger.clone(), name_length, clock, observe_batch)?,
            ledger,
            store,
            clock,
        })
    }

    /// Commits one upload. When this returns [`Outcome::Stored`], a power cut cannot lose it.
    pub fn commit(&self, mut upload: Upload) -> Result<Outcome, Fault> {
        for _ in 0..NAME_TRIES {
            let pending = self.recorder.record(&upload)?;
            // The sync of the bytes runs while the recorder syncs the row. A failed sync is not repeated: the kernel may report a
            // success that it has not achieved.
            let expiry = upload.duration.expiry((self.clock)());
            let prepared = self.store.prepare(&mut [(&mut upload.spool, expiry)]);
            let (path, used, at) = match pending.wait()? {
                Recorded::Row { path, used, at } => (path, used, at),
                Recorded::QuotaExceeded { used, at } => {
                    return Ok(Outcome::QuotaExceeded { used, at });
                }
            };
            // Differs from the first one when midnight came between.
            let expiry = upload.duration.expiry(at);
            let published = prepared
                .map_err(PublishError::Image)
                .and_then(|()| self.publish(&mut upload.spool, &path, expiry));
            match published {
                Ok(()) => {
                    return Ok(Outcome::Stored {
                        path,
                        expiry,
                        used,
                        at,
                    });
                }
                Err(error) => {
                    self.refund(&path);
                    if !matches!(error, PublishError::NameTaken) {
                        return Err(error.into());
                    }
                }
            }
        }
        Err(names_taken())
    }

    fn publish(
        &self,
        spool: &mut Spool,
        path: &ImagePath,
        expiry: Option<Expiry>,
    ) -> Result<(), PublishError> {
        let mut publication = [Publication {
            spool,
            path,
            expiry,
        }];
        self.store.publish(&mut publication).remove(0)
    }

    /// Removes the row of an image that was not published. If that fails the row counts against the quota until a sweep refunds it.
    fn refund(&self, path: &ImagePath) {
        if let Err(error) = self.ledger.refund(std::slice::from_ref(path)) {
            Line::new((self.clock)(), "refund_failed")
                .field("path", path)
                .field("cause", error)
                .write();
        }
    }
}

fn names_taken() -> Fault {
    Fault::Internal(format!("{NAME_TRIES} random names were taken"))
}

#[cfg(test)]
mod tests;
