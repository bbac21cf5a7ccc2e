//! Group commit of rows: one thread records all uploads that wait in one transaction, then answers each.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{self, JoinHandle};

use time::UtcDateTime;

use super::{NAME_TRIES, Upload, names_taken};
use crate::error::Fault;
use crate::image::Inspected;
use crate::image_path::ImagePath;
use crate::ledger::{ClientKey, Ledger, LedgerError, NewImage, Verdict};
use crate::log::{Line, panic_text};
use crate::plan::StoreDuration;

/// The most rows of one transaction, which bounds how long one upload waits for the others.
const MAX_BATCH: usize = 256;

/// The result of recording an upload.
#[derive(Debug)]
pub(super) enum Recorded {
    /// Its row is durable under this path.
    Row {
        path: ImagePath,
        used: u32,
        at: UtcDateTime,
    },
    /// The client's quota is used up; nothing is recorded.
    QuotaExceeded { used: u32, at: UtcDateTime },
}

/// An upload that waits for its row.
#[derive(Debug)]
struct Request {
    inspected: Inspected,
    size: u64,
    client: ClientKey,
    daily_limit: u32,
    duration: StoreDuration,
    reply: SyncSender<Result<Recorded, Fault>>,
}

/// The reply to a [`Request`], which has not come yet.
#[derive(Debug)]
pub(super) struct Pending(Receiver<Result<Recorded, Fault>>);

impl Pending {
    pub(super) fn wait(self) -> Result<Recorded, Fault> {
        self.0.recv().map_err(|_| stopped())?
    }
}

/// The recorder's thread. Dropping it records what is still queued.
#[derive(Debug)]
pub(super) struct Recorder {
    queue: Option<Sender<Request>>,
    thread: Option<JoinHandle<()>>,
}

impl Recorder {
    pub(super) fn start(
        ledger: Arc<dyn Ledger>,
        name_length: usize,
        clock: fn() -> UtcDateTime,
        observe_batch: Box<dyn Fn(usize) + Send + Sync>,
    ) -> io::Result<Self> {
        let (queue, requests) = channel();
        let worker = Worker {
            ledger,
            name_length,
            clock,
            observe_batch,
        };
        let thread = thread::Builder::new()
            .name("recorder".to_owned())
            .spawn(move || worker.run(&requests))?;
        Ok(Self {
            queue: Some(queue),
            thread: Some(thread),
        })
    }

    /// Queues an upload for the next transaction.
    pub(super) fn record(&self, upload: &Upload) -> Result<Pending, Fault> {
        let (reply, pending) = sync_channel(1);
        let request = Request {
            inspected: upload.inspected,
            size: upload.spool.size(),
            client: upload.client,
            daily_limit: upload.daily_limit,
            duration: upload.duration,
            reply,
        };
        let queue = self.queue.as_ref().ok_or_else(stopped)?;
        queue.send(request).map_err(|_| stopped())?;
        Ok(Pending(pending))
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn stopped() -> Fault {
    Fault::Internal("the recorder has stopped".to_owned())
}

struct Worker {
    ledger: Arc<dyn Ledger>,
    name_length: usize,
    clock: fn() -> UtcDateTime,
    observe_batch: Box<dyn Fn(usize) + Send + Sync>,
}

impl Worker {
    fn run(&self, requests: &Receiver<Request>) {
        while let Ok(first) = requests.recv() {
            let mut batch = vec![first];
            batch.extend(requests.try_iter().take(MAX_BATCH - 1));
            (self.observe_batch)(batch.len());
            // A panic must not end the thread, since no upload could be recorded after it. The requests of the batch are dropped, which
            // answers them with an error.
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| self.record(batch))) {
                Line::new((self.clock)(), "panic")
                    .field("thread", "recorder")
                    .field("cause", panic_text(&*panic))
                    .write();
            }
        }
    }

    /// Records a batch. Uploads whose random name is taken get another name in another transaction.
    fn record(&self, mut batch: Vec<Request>) {
        for _ in 0..NAME_TRIES {
            if batch.is_empty() {
                return;
            }
            batch = self.record_once(batch);
        }
        for request in batch {
            request.answer(Err(names_taken()));
        }
    }

    /// Records a batch in one transaction. Gives back the uploads whose names are taken.
    fn record_once(&self, batch: Vec<Request>) -> Vec<Request> {
        let now = (self.clock)();
        let images = batch.iter().map(|request| self.image(request, now));
        let recorded = images.collect::<Result<Vec<_>, _>>().and_then(|images| {
            let verdicts = self.ledger.record(&images, now)?;
            Ok((images, verdicts))
        });
        let (images, verdicts) = match recorded {
            Ok(recorded) => recorded,
            Err(error) => {
                for request in batch {
                    request.answer(Err(error.clone().into()));
                }
                return Vec::new();
            }
        };
        let mut taken = Vec::new();
        for ((request, image), verdict) in batch.into_iter().zip(images).zip(verdicts) {
            match verdict {
                Verdict::Recorded { used } => request.answer(Ok(Recorded::Row {
                    path: image.path,
                    used,
                    at: now,
                })),
                Verdict::QuotaExceeded { used } => {
                    request.answer(Ok(Recorded::QuotaExceeded { used, at: now }));
                }
                Verdict::NameTaken => taken.push(request),
            }
        }
        taken
    }

    fn image(&self, request: &Request, now: UtcDateTime) -> Result<NewImage, LedgerError> {
        let Inspected {
            image_type,
            width,
            height,
        } = request.inspected;
        let path = ImagePath::random(request.duration, now.date(), self.name_length, image_type)
            .map_err(|error| LedgerError::Failed(error.to_string()))?;
        Ok(NewImage {
            path,
            client: request.client,
            daily_limit: request.daily_limit,
            size: request.size,
            width,
            height,
        })
    }
}

impl Request {
    fn answer(self, recorded: Result<Recorded, Fault>) {
        // The receiver is gone only if the request's thread panicked; its row has no file then, and the sweep refunds it.
        let _ = self.reply.send(recorded);
    }
}
