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
//! From [`GROUP_FROM`] uploads at once, and where the store knows how, one thread does it for all that wait, a [`Group`]: one sync for
//! their bytes, one transaction for their rows, one sync for each directory.
//!
//! Rows come before files. A crash between the two leaves rows without files, which the sweep withdraws; the other way round it
//! would leave files that nobody counted.

mod batches;
mod group;
mod recorder;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use time::UtcDateTime;

use self::group::{Group, Seat};
use self::recorder::{Entry, Recorded, Recorder, Ticket};
use super::{ClientKey, Ledger, LedgerError};
use crate::error::Fault;
use crate::image::Inspected;
use crate::image_path::ImagePath;
use crate::log::Line;
use crate::plan::{Expiry, StoreDuration};
use crate::store::{PublishError, Spool, Store};

/// How many random names are tried. With ten characters even the second is needed less than once in 10¹⁵ uploads.
const NAME_TRIES: u32 = 3;

/// How many uploads have to be on their way at once before they are committed in groups. On two cores and ext4, groups store 64 uploads
/// at once faster by a fifth to a third than a thread for each does, 32 as fast, 16 slower; and a mixture is slower than either.
const GROUP_FROM: usize = 40;

/// A group with fewer members than this was the last one until [`GROUP_FROM`] are reached again.
const GROUP_UNTIL: usize = 16;

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
    /// Before the steps in this list, because it is dropped before them: its thread works with them.
    group: Group,
    steps: Arc<Steps>,
    under_way: AtomicUsize,
}

impl Committer {
    /// Starts its threads. Random names get `name_length` characters; `clock` gives the instant of each batch; `batch_seen` is called
    /// with the number of rows of each transaction.
    pub fn start(
        ledger: Arc<dyn Ledger>,
        store: Arc<dyn Store>,
        name_length: usize,
        clock: fn() -> UtcDateTime,
        batch_seen: Box<dyn Fn(usize) + Send + Sync>,
    ) -> io::Result<Self> {
        let steps = Arc::new(Steps {
            recorder: Recorder::start(ledger.clone(), name_length, clock, batch_seen)?,
            ledger,
            store,
            clock,
            in_groups: AtomicBool::new(false),
        });
        Ok(Self {
            group: Group::start(steps.clone())?,
            steps,
            under_way: AtomicUsize::new(0),
        })
    }

    /// Sends an upload on its way.
    pub fn begin(&self, upload: Upload) -> Result<Begun<'_>, Fault> {
        let counted = Counted::among(&self.under_way);
        if counted.number >= GROUP_FROM {
            self.steps.in_groups.store(true, Ordering::Relaxed);
        }
        let in_groups = self.steps.in_groups.load(Ordering::Relaxed);
        let way = if in_groups && self.steps.store.seals_together() {
            Way::Group(self.group.join(upload)?)
        } else {
            Way::Alone(Box::new(Alone {
                ticket: self.steps.recorder.record(upload.entry())?,
                sealed: Ok(()),
                upload,
            }))
        };
        Ok(Begun {
            steps: &self.steps,
            way,
            _counted: counted,
        })
    }
}

/// An upload on its way. Dropped, it leaves a row without a file, which the sweep withdraws.
#[derive(Debug)]
#[must_use]
pub struct Begun<'a> {
    steps: &'a Steps,
    way: Way,
    _counted: Counted<'a>,
}

#[derive(Debug)]
enum Way {
    Alone(Box<Alone>),
    Group(Seat),
}

impl Begun<'_> {
    /// Puts the bytes on disk, where a group does not. What goes wrong is told by [`Self::finish`].
    pub fn seal(&mut self) {
        if let Way::Alone(alone) = &mut self.way {
            let expiry = alone.upload.duration.expiry((self.steps.clock)());
            alone.sealed = alone.upload.spool.seal(expiry);
        }
    }

    /// Waits for the row, and puts the file into its place. When this returns `Stored`, all of the upload is on disk.
    pub fn finish(self) -> Result<Outcome, Fault> {
        match self.way {
            Way::Alone(alone) => self.steps.finish(*alone),
            Way::Group(seat) => seat.wait(),
        }
    }
}

/// One of the uploads that are under way.
#[derive(Debug)]
struct Counted<'a> {
    all: &'a AtomicUsize,
    /// How many there were when it came, itself included.
    number: usize,
}

impl<'a> Counted<'a> {
    fn among(all: &'a AtomicUsize) -> Self {
        Self {
            all,
            number: all.fetch_add(1, Ordering::Relaxed) + 1,
        }
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.all.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An upload that a request's own thread commits.
#[derive(Debug)]
struct Alone {
    upload: Upload,
    ticket: Ticket,
    sealed: io::Result<()>,
}

/// What the steps of a commit are made with.
#[derive(Debug)]
struct Steps {
    recorder: Recorder,
    ledger: Arc<dyn Ledger>,
    store: Arc<dyn Store>,
    clock: fn() -> UtcDateTime,
    /// Whether so much is under way that groups pay.
    in_groups: AtomicBool,
}

impl Steps {
    fn finish(&self, alone: Alone) -> Result<Outcome, Fault> {
        let Alone {
            mut upload,
            mut ticket,
            mut sealed,
        } = alone;
        let mut tries = 1;
        loop {
            let (path, used, at) = match ticket.wait()? {
                Recorded::Exhausted { used, at } => return Ok(Outcome::Exhausted { used, at }),
                Recorded::Named { path, used, at } => (path, used, at),
            };
            let expiry = upload.duration.expiry(at);
            let published = std::mem::replace(&mut sealed, Ok(()))
                .map_err(PublishError::Image)
                .and_then(|()| self.store.publish(&mut upload.spool, &path, expiry));
            let Err(error) = published else {
                return Ok(Outcome::Stored {
                    path,
                    expiry,
                    used,
                    at,
                });
            };
            self.withdraw(&[path]);
            match error {
                PublishError::NameTaken if tries < NAME_TRIES => {
                    tries += 1;
                    ticket = self.recorder.record(upload.entry())?;
                }
                error => return Err(error.into()),
            }
        }
    }

    /// Takes back the rows of images that did not come to their places.
    fn withdraw(&self, paths: &[ImagePath]) {
        if paths.is_empty() {
            return;
        }
        if let Err(error) = self.ledger.withdraw(paths) {
            // The rows stay without files and count against the quota until a sweep withdraws them.
            Line::new((self.clock)(), "withdrawal_failed")
                .field("images", paths.len())
                .field("cause", error)
                .write();
        }
    }
}

impl From<PublishError> for Fault {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::NameTaken => no_name(),
            PublishError::Directory(error) => Self::directory(error),
            PublishError::Image(error) => Self::saving(error),
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

#[cfg(test)]
mod tests;
