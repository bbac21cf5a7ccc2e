//! The commit of an upload: its row, its bytes and its name, on disk before anybody hears of it.
//!
//! ```text
//! begin    the row goes to the recorder, which records every upload that waits in one transaction
//! seal     meanwhile the request's own thread puts the bytes on disk
//! finish   the row is known: the file is renamed into its place, and the directory is put on disk
//! ```
//!
//! The sync of the bytes hides that of the row, and uploads that come together share what all of it costs: the recorder makes one
//! transaction of their rows, and a journaling file system one commit of what their threads sync at the same time. Queueing the syncs
//! of a directory as well was tried and brought nothing. A lone upload never waits for company.
//!
//! Rows come before files. A crash between the two leaves rows without files, which the sweep withdraws; the other way round it
//! would leave files that nobody counted.

mod recorder;

use std::any::Any;
use std::io;
use std::sync::Arc;

use time::UtcDateTime;

use self::recorder::{Entry, Recorded, Recorder, Ticket};
use super::{ClientKey, Ledger, LedgerError};
use crate::error::Fault;
use crate::image::Inspected;
use crate::log::Line;
use crate::plan::{Expiry, StoreDuration};
use crate::store::path::ImagePath;
use crate::store::{PublishError, Spool, Store};

/// How many random names are tried. With ten characters even the second is needed less than once in 10¹⁵ uploads.
const NAME_TRIES: u32 = 3;

/// An upload that passed every check.
#[derive(Debug)]
pub struct Upload {
    /// Its bytes.
    pub spool: Spool,
    /// What they are.
    pub inspected: Inspected,
    /// Who uploads it.
    pub client: ClientKey,
    /// The uploads a UTC day that the client's plan allows.
    pub daily_limit: u32,
    /// How long it is kept.
    pub duration: StoreDuration,
}

impl Upload {
    fn entry(&self) -> Entry {
        Entry {
            inspected: self.inspected,
            size: self.spool.size(),
            client: self.client,
            daily_limit: self.daily_limit,
            duration: self.duration,
        }
    }
}

/// What became of an upload.
#[derive(Debug)]
pub enum Outcome {
    /// It is on disk and served.
    Stored {
        /// Its name.
        path: ImagePath,
        /// The end of its life; `None` for a lifetime image.
        expiry: Option<Expiry>,
        /// Images the client stored on the UTC day of `at`, this one included.
        used: u32,
        /// The instant that decided quota day, directory and expiry.
        at: UtcDateTime,
    },
    /// The client's quota of the UTC day of `at` was used up.
    Exhausted {
        /// Images the client stored on that day.
        used: u32,
        /// The instant that decided it.
        at: UtcDateTime,
    },
}

/// Commits uploads, from any number of threads at once.
#[derive(Debug)]
pub struct Committer {
    recorder: Recorder,
    ledger: Arc<dyn Ledger>,
    store: Arc<dyn Store>,
    clock: fn() -> UtcDateTime,
}

impl Committer {
    /// Starts the recorder's thread. Random names get `name_length` characters; `clock` gives the instant of each batch; `batch_seen` is
    /// called with the size of each.
    pub fn start(
        ledger: Arc<dyn Ledger>,
        store: Arc<dyn Store>,
        name_length: usize,
        clock: fn() -> UtcDateTime,
        batch_seen: Box<dyn Fn(usize) + Send>,
    ) -> io::Result<Self> {
        Ok(Self {
            recorder: Recorder::start(ledger.clone(), name_length, clock, batch_seen)?,
            ledger,
            store,
            clock,
        })
    }

    /// Sends the row of an upload on its way.
    pub fn begin(&self, upload: Upload) -> Result<Begun<'_>, Fault> {
        let ticket = self.recorder.record(upload.entry())?;
        Ok(Begun {
            committer: self,
            ticket,
            sealed: Ok(()),
            upload,
        })
    }

    /// Takes back the row of an image that did not come to its place.
    fn withdraw(&self, path: ImagePath) {
        if let Err(error) = self.ledger.withdraw(&[path]) {
            // The row stays without a file and counts against the quota until a sweep withdraws it.
            Line::new((self.clock)(), "withdrawal_failed")
                .field("images", 1)
                .field("cause", error)
                .write();
        }
    }
}

/// An upload whose row is on its way. Dropped, it leaves a row without a file, which the sweep withdraws.
#[derive(Debug)]
#[must_use]
pub struct Begun<'a> {
    committer: &'a Committer,
    upload: Upload,
    ticket: Ticket,
    sealed: io::Result<()>,
}

impl Begun<'_> {
    /// Puts the bytes on disk. What goes wrong is told by [`Self::finish`].
    pub fn seal(&mut self) {
        let expiry = self.upload.duration.expiry((self.committer.clock)());
        self.sealed = self.upload.spool.seal(expiry);
    }

    /// Waits for the row, and puts the file into its place. When this returns `Stored`, all of the upload is on disk.
    pub fn finish(self) -> Result<Outcome, Fault> {
        let Self {
            committer,
            mut upload,
            mut ticket,
            mut sealed,
        } = self;
        let mut tries = 1;
        loop {
            let (path, used, at) = match ticket.wait()? {
                Recorded::Exhausted { used, at } => return Ok(Outcome::Exhausted { used, at }),
                Recorded::Named { path, used, at } => (path, used, at),
            };
            let expiry = upload.duration.expiry(at);
            let published = std::mem::replace(&mut sealed, Ok(()))
                .map_err(PublishError::Image)
                .and_then(|()| committer.store.publish(&mut upload.spool, &path, expiry));
            let Err(error) = published else {
                return Ok(Outcome::Stored {
                    path,
                    expiry,
                    used,
                    at,
                });
            };
            committer.withdraw(path);
            match error {
                PublishError::NameTaken if tries < NAME_TRIES => {
                    tries += 1;
                    ticket = committer.recorder.record(upload.entry())?;
                }
                PublishError::NameTaken => return Err(no_name()),
                PublishError::Directory(error) => return Err(Fault::directory(error)),
                PublishError::Image(error) => return Err(Fault::saving(error)),
            }
        }
    }
}

fn no_name() -> Fault {
    Fault::Internal(format!("{NAME_TRIES} random names were taken"))
}

impl From<LedgerError> for Fault {
    fn from(error: LedgerError) -> Self {
        match error {
            LedgerError::Full(_) => Self::LedgerFull(error.to_string()),
            _ => Self::Internal(error.to_string()),
        }
    }
}

/// The message that a panic was raised with.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic without a message")
}

#[cfg(test)]
mod tests;
