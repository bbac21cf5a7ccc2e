//! Group commit: one thread takes every upload that waits, records them in one transaction, publishes them, syncs each directory
//! once, and only then wakes those who wait.
//!
//! A lone upload never waits for company: a batch is whatever has come while the batch before was being written.
//!
//! Rows come before files. A crash between the two leaves rows without files, which the sweep withdraws; the other way round it
//! would leave files that nobody counted.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{self, JoinHandle};

use time::UtcDateTime;

use super::{ClientKey, Ledger, LedgerError, NewImage, Verdict};
use crate::error::Fault;
use crate::image::Inspected;
use crate::log::Line;
use crate::plan::{Expiry, StoreDuration};
use crate::store::path::ImagePath;
use crate::store::{Publication, PublishError, Spool, Store};

/// The most uploads of one transaction; a limit on how long one of them can wait for the others.
const LARGEST_BATCH: usize = 256;

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

/// The committer thread. Dropped, it finishes what it was given.
#[derive(Debug)]
pub struct Committer {
    queue: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Job {
    upload: Upload,
    tries: u32,
    done: SyncSender<Result<Outcome, Fault>>,
}

/// What the thread works with.
struct Writer {
    ledger: Arc<dyn Ledger>,
    store: Arc<dyn Store>,
    name_length: usize,
    clock: fn() -> UtcDateTime,
    batch_seen: Box<dyn Fn(usize) + Send>,
}

impl Committer {
    /// Starts the thread. Random names get `name_length` characters; `clock` gives the instant of each batch; `batch_seen` is called
    /// with the size of each.
    pub fn start(
        ledger: Arc<dyn Ledger>,
        store: Arc<dyn Store>,
        name_length: usize,
        clock: fn() -> UtcDateTime,
        batch_seen: Box<dyn Fn(usize) + Send>,
    ) -> std::io::Result<Self> {
        let writer = Writer {
            ledger,
            store,
            name_length,
            clock,
            batch_seen,
        };
        let (queue, jobs) = channel();
        let thread = thread::Builder::new()
            .name("committer".to_owned())
            .spawn(move || writer.run(&jobs))?;
        Ok(Self {
            queue: Some(queue),
            thread: Some(thread),
        })
    }

    /// Stores an upload and waits until it is on disk.
    pub fn commit(&self, upload: Upload) -> Result<Outcome, Fault> {
        let (done, outcome) = sync_channel(1);
        let gone = || Fault::Internal("the committer has stopped".to_owned());
        let job = Job {
            upload,
            tries: 0,
            done,
        };
        self.queue
            .as_ref()
            .ok_or_else(gone)?
            .send(job)
            .map_err(|_| gone())?;
        outcome.recv().map_err(|_| gone())?
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Writer {
    fn run(&self, jobs: &Receiver<Job>) {
        while let Ok(first) = jobs.recv() {
            let mut batch = vec![first];
            batch.extend(jobs.try_iter().take(LARGEST_BATCH - 1));
            (self.batch_seen)(batch.len());
            // A panic here would end uploads for good. The jobs it drops wake their requests with an error.
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| self.commit(batch))) {
                let cause = panic_text(&*panic);
                Line::new((self.clock)(), "panic")
                    .field("thread", "committer")
                    .field("cause", cause)
                    .write();
            }
        }
    }

    /// Commits a batch. Uploads whose name was taken go round again with another.
    fn commit(&self, mut batch: Vec<Job>) {
        while !batch.is_empty() {
            batch = self.commit_once(batch);
        }
    }

    /// One transaction and one publication; gives back the uploads whose name was taken.
    fn commit_once(&self, batch: Vec<Job>) -> Vec<Job> {
        let now = (self.clock)();
        let mut named = Vec::with_capacity(batch.len());
        let mut images = Vec::with_capacity(batch.len());
        for job in batch {
            match self.image_of(&job.upload, now) {
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
        let mut recorded = Vec::with_capacity(named.len());
        for ((job, image), verdict) in named.into_iter().zip(images).zip(verdicts) {
            match verdict {
                Verdict::Recorded { used } => recorded.push((job, image.path, used)),
                Verdict::Exhausted { used } => job.finish(Ok(Outcome::Exhausted { used, at: now })),
                Verdict::NameTaken => job.rename(&mut again),
            }
        }
        self.publish(recorded, now, &mut again);
        again
    }

    fn image_of(&self, upload: &Upload, now: UtcDateTime) -> Result<NewImage, Fault> {
        let Inspected {
            image_type,
            width,
            height,
        } = upload.inspected;
        let path = ImagePath::random(upload.duration, now.date(), self.name_length, image_type)
            .map_err(|error| Fault::Internal(error.to_string()))?;
        Ok(NewImage {
            path,
            client: upload.client,
            daily_limit: upload.daily_limit,
            size: upload.spool.size(),
            width,
            height,
        })
    }

    fn publish(
        &self,
        mut recorded: Vec<(Job, ImagePath, u32)>,
        now: UtcDateTime,
        again: &mut Vec<Job>,
    ) {
        let mut publications: Vec<_> = recorded
            .iter_mut()
            .map(|(job, path, _)| Publication {
                expiry: job.upload.duration.expiry(now),
                spool: &mut job.upload.spool,
                path,
            })
            .collect();
        let outcomes = self.store.publish(&mut publications);
        drop(publications);
        let failed: Vec<_> = recorded
            .iter()
            .zip(&outcomes)
            .filter(|(_, outcome)| outcome.is_err())
            .map(|((_, path, _), _)| path.clone())
            .collect();
        if !failed.is_empty()
            && let Err(error) = self.ledger.withdraw(&failed)
        {
            // The rows stay without files and count against the quota until a sweep withdraws them.
            let images = failed.len();
            Line::new(now, "withdrawal_failed")
                .field("images", images)
                .field("cause", error)
                .write();
        }
        for ((job, path, used), outcome) in recorded.into_iter().zip(outcomes) {
            match outcome {
                Ok(()) => {
                    let expiry = job.upload.duration.expiry(now);
                    job.finish(Ok(Outcome::Stored {
                        path,
                        expiry,
                        used,
                        at: now,
                    }));
                }
                Err(PublishError::NameTaken) => job.rename(again),
                Err(PublishError::Directory(error)) => job.finish(Err(Fault::directory(error))),
                Err(PublishError::Image(error)) => job.finish(Err(Fault::saving(error))),
            }
        }
    }
}

impl Job {
    fn finish(self, outcome: Result<Outcome, Fault>) {
        let Self { upload, done, .. } = self;
        // Deletes the spool file of an upload that was not published before its request hears of it.
        drop(upload);
        // A request that no longer waits has lost its connection; the image stays, as it would had the reply been lost.
        let _ = done.send(outcome);
    }

    fn rename(mut self, again: &mut Vec<Self>) {
        self.tries += 1;
        if self.tries < NAME_TRIES {
            again.push(self);
        } else {
            self.finish(Err(Fault::Internal(format!(
                "{NAME_TRIES} random names were taken"
            ))));
        }
    }
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
