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
use crate::ledger::{ClientKey, Ledger, NewImage, Verdict};
use crate::plan::StoreDuration;
use crate::store::path::ImagePath;

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

#[derive(Debug)]
struct Job {
    entry: Entry,
    tries: u32,
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
            move |batch| writer.record(batch)
        })?;
        Ok(Self { batches, writer })
    }

    /// Takes an entry into the next transaction.
    pub(super) fn record(&self, entry: Entry) -> Result<Ticket, Fault> {
        let (job, ticket) = Job::of(entry);
        self.batches.add(job)?;
        Ok(ticket)
    }

    /// Records entries in a transaction of their own, on the thread that calls.
    pub(super) fn record_now(&self, entries: impl Iterator<Item = Entry>) -> Vec<Ticket> {
        let (jobs, tickets): (Vec<_>, Vec<_>) = entries.map(Job::of).unzip();
        self.writer.record(jobs);
        tickets
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
    /// Records a batch. Uploads whose name was taken go round again with another.
    fn record(&self, mut batch: Vec<Job>) {
        (self.batch_seen)(batch.len());
        while !batch.is_empty() {
            batch = self.record_once(batch);
        }
    }

    /// One transaction; gives back the uploads whose name was taken.
    fn record_once(&self, batch: Vec<Job>) -> Vec<Job> {
        let now = (self.clock)();
        let mut named = Vec::with_capacity(batch.len());
        let mut images = Vec::with_capacity(batch.len());
        for job in batch {
            match self.image_of(&job.entry, now) {
                Ok(image) => {
                    images.push(image);
                    named.push(job);
                }
                Err(fault) => job.finish(Err(fault)),
            }
        }
        let verdicts = match self.ledger.record(&images, now) {
            Ok(verdicts) => verdicts,
            Err(error) => {
                for job in named {
                    job.finish(Err(error.clone().into()));
                }
                return Vec::new();
            }
        };
        let mut again = Vec::new();
        for ((job, image), verdict) in named.into_iter().zip(images).zip(verdicts) {
            match verdict {
                Verdict::Recorded { used } => job.finish(Ok(Recorded::Named {
                    path: image.path,
                    used,
                    at: now,
                })),
                Verdict::Exhausted { used } => {
                    job.finish(Ok(Recorded::Exhausted { used, at: now }));
                }
                Verdict::NameTaken => job.rename(&mut again),
            }
        }
        again
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

impl Job {
    fn of(entry: Entry) -> (Self, Ticket) {
        let (done, recorded) = sync_channel(1);
        let job = Self {
            entry,
            tries: 0,
            done,
        };
        (job, Ticket { recorded })
    }

    fn finish(self, recorded: Result<Recorded, Fault>) {
        // A request that no longer waits was given up; its row has no file, and a sweep withdraws it.
        let _ = self.done.send(recorded);
    }

    fn rename(mut self, again: &mut Vec<Self>) {
        self.tries += 1;
        if self.tries < NAME_TRIES {
            again.push(self);
        } else {
            self.finish(Err(no_name()));
        }
    }
}
