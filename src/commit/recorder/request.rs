//! Requests to record an upload, their replies, and how they form batches.

use std::collections::VecDeque;
use std::net::Ipv6Addr;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use time::UtcDateTime;

use super::Unpublished;
use crate::commit::Upload;
use crate::error::Fault;
use crate::expiry::StoreDuration;
use crate::idempotency::UploadKey;
use crate::image::Inspected;
use crate::image_path::ImagePath;
use crate::ledger::{ClientKey, LedgerError, LoggedImage, NewImage};

/// The most rows of one transaction, which bounds how long one upload waits for the others.
const MAX_BATCH: usize = 256;

/// The most bytes of a batch before its last image, which make it fit a segment of the log.
const MAX_BATCH_BYTES: u64 = 2 << 20;

/// The result of recording an upload.
#[derive(Debug)]
pub(in crate::commit) enum Recorded {
    /// It has a row under this path.
    Row {
        path: ImagePath,
        used: u32,
        at: UtcDateTime,
        /// Row and bytes are durable in the log; `None` if only the row is durable.
        unpublished: Option<Unpublished>,
    },
    /// The client's quota is used up; nothing is recorded.
    QuotaExceeded { used: u32, at: UtcDateTime },
    /// The client would have more stored than it may; nothing is recorded.
    StorageExceeded { used: u32, at: UtcDateTime },
    /// An upload with its key is recorded already; nothing is recorded.
    Repeated,
}

/// An upload that waits for its row.
#[derive(Debug)]
pub(super) struct Request {
    inspected: Inspected,
    size: u64,
    client: ClientKey,
    daily_limit: u32,
    max_storage: Option<u64>,
    duration: StoreDuration,
    address: Option<Ipv6Addr>,
    key: Option<UploadKey>,
    /// The bytes for the log; `None` if the upload is synced by itself.
    pub(super) image: Option<Vec<u8>>,
    reply: SyncSender<Result<Recorded, Fault>>,
}

/// A request that has a row.
pub(super) struct Row {
    pub(super) request: Request,
    pub(super) image: NewImage,
    pub(super) lsn: u64,
    pub(super) used: u32,
    pub(super) at: UtcDateTime,
}

/// The reply to a [`Request`], which has not come yet.
#[derive(Debug)]
pub(in crate::commit) struct Pending(Receiver<Result<Recorded, Fault>>);

impl Pending {
    pub(in crate::commit) fn wait(self) -> Result<Recorded, Fault> {
        self.0.recv().map_err(|_| stopped())?
    }
}

/// Takes what waits, up to the limits of a batch.
pub(super) fn batch(waiting: &mut VecDeque<Request>) -> Vec<Request> {
    let mut bytes = 0;
    let within = |request: &&Request| {
        let fits = bytes < MAX_BATCH_BYTES;
        bytes += request.logged_bytes();
        fits
    };
    let count = waiting.iter().take(MAX_BATCH).take_while(within).count();
    waiting.drain(..count).collect()
}

impl Row {
    pub(super) fn logged(&self) -> (u64, LoggedImage, &[u8]) {
        let row = LoggedImage::of(&self.image, self.at.into());
        let bytes = self.request.image.as_deref();
        (self.lsn, row, bytes.unwrap_or_default())
    }

    pub(super) fn answer(self, unpublished: Option<Unpublished>) {
        self.request.answer(Ok(Recorded::Row {
            path: self.image.path,
            used: self.used,
            at: self.at,
            unpublished,
        }));
    }
}

impl Request {
    /// Asks to record `upload`, and to log `image`, its bytes.
    pub(super) fn new(upload: &Upload, image: Option<Vec<u8>>) -> (Self, Pending) {
        let (reply, pending) = sync_channel(1);
        let request = Self {
            inspected: upload.inspected,
            size: upload.spool.size(),
            client: upload.client,
            daily_limit: upload.daily_limit,
            max_storage: upload.max_storage,
            duration: upload.duration,
            address: upload.address,
            key: upload.key,
            image,
            reply,
        };
        (request, Pending(pending))
    }

    /// Its row, under a new random path.
    pub(super) fn image(
        &self,
        name_length: usize,
        now: UtcDateTime,
    ) -> Result<NewImage, LedgerError> {
        let Inspected {
            image_type,
            width,
            height,
        } = self.inspected;
        let path = ImagePath::random(self.duration, now.date(), name_length, image_type)
            .map_err(|error| LedgerError::Failed(error.to_string()))?;
        Ok(NewImage {
            path,
            client: self.client,
            daily_limit: self.daily_limit,
            max_storage: self.max_storage,
            size: self.size,
            width,
            height,
            address: self.address,
            key: self.key,
        })
    }

    pub(super) fn logged_bytes(&self) -> u64 {
        self.image.as_ref().map_or(0, |image| image.len() as u64)
    }

    pub(super) fn answer(self, recorded: Result<Recorded, Fault>) {
        // The receiver is gone only if the request's thread panicked; its row has no file then, and the sweep refunds it.
        let _ = self.reply.send(recorded);
    }
}

fn stopped() -> Fault {
    Fault::Internal("the recorder has stopped".to_owned())
}
