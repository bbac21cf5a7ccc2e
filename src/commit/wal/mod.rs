//! The write-ahead log: small uploads are durable after one sync that all of a batch share.
//!
//! ```text
//! record       the rows of a batch, in a transaction that syncs nothing but carries their LSNs
//! append       rows and bytes to the log, one sync; now the batch is durable
//! publish      each request renames its file without a sync, and replies
//! checkpoint   within a second: files, directories and ledger are synced, and the segment is free again
//! recovery     after a crash: what the log has and ledger or store have lost is brought back
//! ```
//!
//! The log lies beside the ledger, in `<ledger>-log/`. One process holds its lock; others commit without it.

mod checkpoint;
mod log;
#[cfg(test)]
mod model;
pub mod record;
mod recovery;
mod segment;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use time::UtcDateTime;

use crate::ledger::{Ledger, LogMarks, LoggedImage};
use crate::store::Store;
use checkpoint::{Checkpointer, Checkpoints};
use log::Log;
pub(crate) use log::{Unavailable, Unpublished};
pub(crate) use recovery::Recovered;
use segment::{Segment, SegmentError};

/// The figures of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Status {
    /// Bytes of all segments.
    pub bytes: u64,
    /// The age of the oldest record that is not checkpointed; `None` if all are.
    pub oldest: Option<Duration>,
    /// What was recovered when it was opened.
    pub recovered: Recovered,
}

/// What a log is used with.
#[derive(Clone)]
pub(crate) struct Site {
    pub(crate) ledger: Arc<dyn Ledger>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: fn() -> UtcDateTime,
    /// Called with the time that each checkpoint took.
    pub(crate) observe: Arc<dyn Fn(Duration) + Send + Sync>,
}

/// Reads the figures of a log.
#[derive(Debug)]
pub(crate) struct Gauge {
    log: Arc<Log>,
    recovered: Recovered,
}

impl Gauge {
    pub(crate) fn status(&self) -> Status {
        Status {
            bytes: self.log.bytes(),
            oldest: self.log.oldest(),
            recovered: self.recovered,
        }
    }
}

/// The end of the log, where batches are appended. Dropping it checkpoints what is left.
#[derive(Debug)]
pub(crate) struct Appender {
    next_lsn: u64,
    batch: Vec<u8>,
    log: Arc<Log>,
    _checkpointer: Checkpointer,
}

impl Appender {
    /// Takes the lock of the log in `directory`, recovers what it holds, and starts its checkpoints. A log that is missing is made.
    /// `None` if this kind of ledger needs no log.
    pub(crate) fn open(
        directory: &Path,
        site: &Site,
    ) -> Result<Option<(Self, Gauge)>, Unavailable> {
        let Some((mut log, marks)) = open(directory, &*site.ledger, true)? else {
            return Ok(None);
        };
        let recovered = recovery::recover(&mut log, marks, &*site.ledger, &*site.store)?;
        log.upgrade()?;
        let log = Arc::new(log);
        let checkpointer = Checkpointer::start(Checkpoints {
            log: Arc::clone(&log),
            site: site.clone(),
        });
        let gauge = Gauge {
            log: Arc::clone(&log),
            recovered,
        };
        let appender = Self {
            next_lsn: recovered.last_lsn + 1,
            batch: Vec::new(),
            log,
            _checkpointer: checkpointer.map_err(Unavailable::Failed)?,
        };
        Ok(Some((appender, gauge)))
    }

    /// Gives out so many LSNs, and returns the first of them. LSNs that are not used are skipped: their rows may be in the ledger.
    pub(crate) const fn reserve(&mut self, count: u64) -> u64 {
        let first = self.next_lsn;
        self.next_lsn += count;
        first
    }

    /// Appends images, whose LSNs ascend, as one batch. They are durable when this returns; on an error their rows must be deleted.
    pub(crate) fn append<'a>(
        &mut self,
        images: impl ExactSizeIterator<Item = (u64, LoggedImage, &'a [u8])>,
    ) -> io::Result<Unpublished> {
        self.batch.clear();
        let mut paths = Vec::with_capacity(images.len());
        let mut last_lsn = 0;
        let mut left = images.len();
        for (lsn, row, image) in images {
            left -= 1;
            record::encode(&mut self.batch, lsn, &row, image, left == 0);
            last_lsn = lsn;
            paths.push(row.path);
        }
        self.log.append(&self.batch, last_lsn, paths)
    }
}

/// Recovers the log in `directory`, unless there is none or another process holds it.
pub(crate) fn recover(
    directory: &Path,
    ledger: &dyn Ledger,
    store: &dyn Store,
) -> Result<Recovered, Unavailable> {
    if !directory.exists() {
        return Ok(Recovered::default());
    }
    match open(directory, ledger, false) {
        Ok(Some((mut log, marks))) => Ok(recovery::recover(&mut log, marks, ledger, store)?),
        Ok(None) | Err(Unavailable::Held) => Ok(Recovered::default()),
        Err(error) => Err(error),
    }
}

/// What a look at a log finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// There is no log.
    Nothing,
    /// It is that of another ledger, with this id.
    OtherLedger(u64),
    /// It is the ledger's.
    Log {
        /// Bytes of all segments.
        bytes: u64,
        /// Segments with records that are not checkpointed; `None` while a process holds the log.
        unfinished: Option<usize>,
    },
}

/// Inspects the log in `directory` without changing it.
pub(crate) fn inspect(directory: &Path, marks: LogMarks) -> Result<Found, Unavailable> {
    let (segments, lock) = match log::look(directory, marks.log_id) {
        Ok(found) => found,
        Err(SegmentError::OtherLedger(id)) => return Ok(Found::OtherLedger(id)),
        Err(SegmentError::Io(error)) => return Err(error.into()),
    };
    if segments.is_empty() {
        return Ok(Found::Nothing);
    }
    let unfinished = match lock {
        Some(_) => Some(recovery::unfinished(&segments, marks.checkpointed)?.len()),
        None => None,
    };
    let bytes = segments.iter().map(Segment::size).sum();
    Ok(Found::Log { bytes, unfinished })
}

fn open(
    directory: &Path,
    ledger: &dyn Ledger,
    create: bool,
) -> Result<Option<(Log, LogMarks)>, Unavailable> {
    let Some(marks) = ledger.log_marks()? else {
        return Ok(None);
    };
    let Some(log) = Log::open(directory, marks.log_id, create)? else {
        return Ok(None);
    };
    // Read again: the process that held the lock before may have moved them.
    let marks = ledger.log_marks()?.unwrap_or(marks);
    Ok(Some((log, marks)))
}
