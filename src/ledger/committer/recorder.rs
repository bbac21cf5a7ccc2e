//! Group commit of rows: one thread takes every upload that waits, records them in one transaction, and only then wakes those who
//! wait.

use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use time::UtcDateTime;

use super::batches::{Batches, stopped};
use super::{NAME_TRIES, no_name};
use crate::error::Fault;
use crate::image::Inspected;
use crate::image_path::ImagePath;
use crate::ledger::{ClientKey, Ledger, NewImage, Verdict};
use crate::plan::StoreDuration;

/// The name of the recorder's thread.
const NAME: &str = "recorder";

/// What is recorded of an upload.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub(super) inspected: Inspected,
    pub(super) size: u64,
    pub(super) client: ClientKey,
    pub(super) daily_limit: u32,
    pub(super) duration: StoreDuration,
}

/// What became of an [`Entry`].
#[derive(Debug)]
pub(super) enum Recorded {
    /// Its row is on disk under this name.
    Named {
        path: ImagePath,
        used: u32,
        at: UtcDateTime,
    },
    /// The client's quota was used up; nothing was recorded.
    Exhausted { used: u32, at: UtcDateTime },
}

/// The recorder's thread. Dropped, it finishes what it was given.
#[derive(Debug)]
pub(super) struct Recorder {
    batches: Batches<Job>,
    writer: Arc<Writer>,
}

/// An entry, and who waits for what becomes of it.
#[derive(Debug)]
struct Job {
    entry: Entry,
    done: SyncSender<Result<Recorded, Fault>>,
}

/// A row that is being recorded.
#[derive(Debug)]
pub(super) struct Ticket {
    recorded: Receiver<Result<Recorded, Fault>>,
}

impl Ticket {
    /// Waits until it is.
    pub(super) fn wait(&self) -> Result<Recorded, Fault> {
        self.recorded.recv().map_err(|_| stopped(NAME))?
    }
}

impl Recorder {
    pub(super) fn start(
        ledger: Arc<dyn Ledger>,
        name_length: usize,
        clock: fn() -> UtcDateTime,
        batch_seen: Box<dyn Fn(usize) + Send + Sync>,
    ) -> std::io::Result<Self> {
        let writer = Arc::new(Writer {
            ledger,
            name_length,
            clock,
            batch_seen,
        });
        let batches = Batches::start(NAME, clock, {
            let writer = Arc::clone(&writer);
            move |batch: Vec<Job>| {
                let entries: Vec<_> = batch.iter().map(|job| job.entry).collect();
                for (job, outcome) in batch.iter().zip(writer.record(&entries)) {
                    // A request that no longer waits was given up; its row has no file, and a sweep withdraws it.
                    let _ = job.done.send(outcome);
                }
            }
        })?;
        Ok(Self { batches, writer })
    }

    /// Takes an entry into the next transaction.
    pub(super) fn record(&self, entry: Entry) -> Result<Ticket, Fault> {
        let (done, recorded) = sync_channel(1);
        self.batches.add(Job { entry, done })?;
        Ok(Ticket { recorded })
    }

    /// Records entries in a transaction of their own, on the thread that calls; gives what became of each, in their order.
    pub(super) fn record_now(&self, entries: &[Entry]) -> Vec<Result<Recorded, Fault>> {
        self.writer.record(entries)
    }
}

/// What rows are recorded with.
struct Writer {
    ledger: Arc<dyn Ledger>,
    name_length: usize,
    clock: fn() -> UtcDateTime,
    batch_seen: Box<dyn Fn(usize) + Send + Sync>,
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").finish_non_exhaustive()
    }
}

impl Writer {
    /// Records a batch in one transaction. Entries whose name was taken get another in the next.
    fn record(&self, batch: &[Entry]) -> Vec<Result<Recorded, Fault>> {
        (self.batch_seen)(batch.len());
        let mut outcomes: Vec<_> = batch.iter().map(|_| None).collect();
        for _ in 0..NAME_TRIES {
            self.record_once(batch, &mut outcomes);
            if outcomes.iter().all(Option::is_some) {
                break;
            }
        }
        let outcomes = outcomes.into_iter();
        outcomes
            .map(|outcome| outcome.unwrap_or_else(|| Err(no_name())))
            .collect()
    }

    /// One transaction of the entries that have no outcome; it leaves those without one whose name was taken.
    fn record_once(&self, batch: &[Entry], outcomes: &mut [Option<Result<Recorded, Fault>>]) {
        let now = (self.clock)();
        let mut images = Vec::with_capacity(batch.len());
        let mut open = Vec::with_capacity(batch.len());
        for (entry, outcome) in batch.iter().zip(outcomes) {
            if outcome.is_some() {
                continue;
            }
            match self.image_of(entry, now) {
                Ok(image) => {
                    images.push(image);
                    open.push(outcome);
                }
                Err(fault) => *outcome = Some(Err(fault)),
            }
        }
        let verdicts = match self.ledger.record(&images, now) {
            Ok(verdicts) => verdicts,
            Err(error) => {
                for outcome in open {
                    *outcome = Some(Err(error.clone().into()));
                }
                return;
            }
        };
        for ((outcome, image), verdict) in open.into_iter().zip(images).zip(verdicts) {
            *outcome = match verdict {
                Verdict::Recorded { used } => Some(Ok(Recorded::Named {
                    path: image.path,
                    used,
                    at: now,
                })),
                Verdict::Exhausted { used } => Some(Ok(Recorded::Exhausted { used, at: now })),
                Verdict::NameTaken => None,
            };
        }
    }

    fn image_of(&self, entry: &Entry, now: UtcDateTime) -> Result<NewImage, Fault> {
        let Inspected {
            image_type,
            width,
            height,
        } = entry.inspected;
        let path = ImagePath::random(entry.duration, now.date(), self.name_length, image_type)
            .map_err(|error| Fault::Internal(error.to_string()))?;
        Ok(NewImage {
            path,
            client: entry.client,
            daily_limit: entry.daily_limit,
            size: entry.size,
            width,
            height,
        })
    }
}
