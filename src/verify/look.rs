//! Looks images up in the store, several at once: a bucket answers each after a round trip.

use std::io::{self, BufReader, Read};
use std::thread;

use time::UtcDateTime;

use super::VerifyError;
use crate::expiry::{Expiry, StoreDuration};
use crate::image;
use crate::image_path::ImagePath;
use crate::ledger::{FoundImage, ImageRow, Ledger};
use crate::store::{CONNECTIONS, Part, Store, Stored};

/// Beginnings of files whose width and height are looked up, in bytes. Metadata with a preview is in front of the image data of a
/// photograph, so the first is not enough for every one.
const HEADS: [u64; 2] = [16 * 1024, 256 * 1024];

/// Bytes that the image check reads at once.
const INSPECTION_BUFFER: usize = 64 * 1024;

/// Ledger and store, as threads share them.
#[derive(Clone, Copy)]
pub(super) struct Look<'a> {
    pub(super) ledger: &'a dyn Ledger,
    pub(super) store: &'a dyn Store,
    pub(super) now: UtcDateTime,
}

/// What the store has for a row.
pub(super) enum Looked {
    /// The image is served.
    Served {
        stored: Stored,
        /// As browsers show it; `None` where the beginning of its file does not say it.
        dimensions: Option<(u32, u32)>,
    },
    /// It is not served.
    Absent { is_in_quarantine: bool },
    /// The row is in quarantine.
    Quarantined {
        is_served: bool,
        kept: io::Result<Option<Stored>>,
    },
    /// It cannot be read.
    Unreadable(io::Error),
}

/// What a file without a row is.
pub(super) enum Stray {
    /// It was deleted since it was listed, or has a row now.
    None,
    /// It has no row; with what its row would be, if that was asked for.
    Unknown(Option<io::Result<FoundImage>>),
    /// It cannot be read.
    Unreadable(io::Error),
}

/// Calls `look` for each item, on several threads, and keeps the order.
pub(super) fn each<T: Sync, R: Send>(items: &[T], look: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let part = items.len().div_ceil(CONNECTIONS).max(1);
    if items.len() <= 1 {
        return items.iter().map(look).collect();
    }
    let look = &look;
    thread::scope(|scope| {
        let threads: Vec<_> = items
            .chunks(part)
            .map(|items| scope.spawn(move || items.iter().map(look).collect::<Vec<_>>()))
            .collect();
        let looked = threads.into_iter().map(|thread| {
            let ended = thread.join();
            ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        looked.flatten().collect()
    })
}

/// A store that is out of reach ends the verification: it would be asked in vain for every image that is left.
fn unless_unreachable(error: io::Error) -> Result<io::Error, VerifyError> {
    match error.kind() {
        io::ErrorKind::ResourceBusy => Err(VerifyError::Store(error)),
        _ => Ok(error),
    }
}

impl Look<'_> {
    /// Looks up the image of a row, whether it was listed or not: it may be newer than the list.
    pub(super) fn of_row(&self, row: &ImageRow) -> Result<Looked, VerifyError> {
        if row.quarantine.is_some() {
            let served = self.store.stat(&row.path).map_err(VerifyError::Store)?;
            return Ok(Looked::Quarantined {
                is_served: served.is_some(),
                kept: self.store.stat_quarantined(&row.path),
            });
        }
        let looked = self.store.open(&row.path, Part::First(HEADS[0]));
        let looked = looked.and_then(|found| match found {
            Some((stored, mut reader)) => {
                dimensions(&mut *reader).map(|dimensions| Some((stored, dimensions)))
            }
            None => Ok(None),
        });
        match looked {
            Ok(Some((stored, dimensions))) => Ok(Looked::Served { stored, dimensions }),
            // A quarantine may have been cut off between file and row; the comparison of quarantine reports it.
            Ok(None) => {
                let kept = self.store.stat_quarantined(&row.path);
                let is_in_quarantine = kept.map_err(VerifyError::Store)?.is_some();
                Ok(Looked::Absent { is_in_quarantine })
            }
            Err(error) => unless_unreachable(error).map(Looked::Unreadable),
        }
    }

    /// Looks up a file that was listed and had no row. With `examines`, its row is made from what it says.
    pub(super) fn of_stray(&self, path: &ImagePath, examines: bool) -> Result<Stray, VerifyError> {
        let stored = match self.store.stat(path) {
            Ok(None) => return Ok(Stray::None),
            Ok(Some(stored)) => stored,
            Err(error) => return unless_unreachable(error).map(Stray::Unreadable),
        };
        // It may have been recorded since the rows were read.
        if self.ledger.image(path)?.is_some() {
            return Ok(Stray::None);
        }
        if !examines {
            return Ok(Stray::Unknown(None));
        }
        match self.examine(path, stored, || self.store.read(path)) {
            Ok(image) => Ok(Stray::Unknown(Some(Ok(image)))),
            Err(error) => unless_unreachable(error).map(|error| Stray::Unknown(Some(Err(error)))),
        }
    }

    /// Makes the row of a file from what the file says.
    pub(super) fn examine(
        &self,
        path: &ImagePath,
        stored: Stored,
        read: impl Fn() -> io::Result<Box<dyn Read>>,
    ) -> io::Result<FoundImage> {
        let wrong = |text: String| io::Error::new(io::ErrorKind::InvalidData, text);
        let expires_at = if path.duration() == StoreDuration::Lifetime {
            None
        } else {
            let expiry = Expiry::from_instant(stored.expires_at).ok_or_else(|| {
                wrong("its modification time is no expiry; was it copied without times?".to_owned())
            })?;
            Some(expiry.instant())
        };
        let bytes = read()?;
        // An image that was accepted once stays one, whatever the limits are now.
        let inspected = image::inspect(
            &mut BufReader::with_capacity(INSPECTION_BUFFER, bytes),
            image::Limits::NONE,
        )
        .and_then(|inspection| inspection.resolve(&read))
        .map_err(|rejected| wrong(rejected.to_string()))?;
        if inspected.image_type != path.image_type() {
            return Err(wrong("its bytes are of another type".to_owned()));
        }
        Ok(FoundImage {
            path: path.clone(),
            size: stored.size,
            width: inspected.width,
            height: inspected.height,
            uploaded_at: stored.published_at.min(self.now.into()),
            expires_at,
        })
    }
}

/// Width and height of an image as browsers show it; `None` where the beginning of its file does not say them.
fn dimensions(reader: &mut dyn Read) -> io::Result<Option<(u32, u32)>> {
    let mut head = Vec::new();
    for length in HEADS {
        let missing = length - head.len() as u64;
        let read = reader.take(missing).read_to_end(&mut head)?;
        if let Some(found) = image::size_of(&mut &*head) {
            return Ok(Some(found));
        }
        if (read as u64) < missing {
            break;
        }
    }
    Ok(None)
}
