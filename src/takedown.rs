//! Takedowns: images are deleted, or put into quarantine and released again.
//!
//! The file is moved or deleted first, then a purge is queued, then the row is changed. A process that is killed between two steps leaves
//! an image that is not served:
//!
//! ```text
//! delete       file deleted, purge queued, row deleted        killed before the last: the sweep deletes the row
//! quarantine   file moved, purge queued, row marked           killed before the last: the sweep marks the row
//! release      mark taken from the row, file moved back       killed between: the sweep marks the row again; release it again
//! ```
//!
//! A release excludes sweeps, which would mark the row of a file that is about to be moved back, and quarantines: in a bucket, where a move is
//! a copy and a deletion, each of the two would delete the copy that the other one keeps.

use std::io;

use time::UtcDateTime;

use crate::commit::CUT_OFF_AFTER;
use crate::image_path::ImagePath;
use crate::ledger::{Deleted, ImageRow, Ledger, LedgerError, Quarantined};
use crate::store::Store;
use crate::timestamp::Timestamp;

/// Images that are changed together: each of their directories is synced once.
pub(crate) const BATCH: usize = 500;

/// The images of a site, for takedowns.
#[derive(Clone, Copy)]
pub(crate) struct Images<'a> {
    /// The rows.
    pub ledger: &'a dyn Ledger,
    /// The files.
    pub store: &'a dyn Store,
    /// Whether a CDN in front is told: there is a `[site] purge_command`.
    pub purges: bool,
    /// The instant of the takedown.
    pub now: UtcDateTime,
}

/// What a quarantine did with one image.
#[derive(Debug)]
pub(crate) enum QuarantineOutcome {
    /// It is in quarantine, by this call or an earlier one.
    Quarantined,
    /// There is neither a row nor a file.
    Unknown,
    /// It has a row, and its file is lost.
    Lost,
    /// The file could not be moved; the image may still be served.
    Failed(io::Error),
}

/// What a release did with one image.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ReleaseOutcome {
    /// It is served again.
    Released,
    /// It is not in quarantine.
    NotInQuarantine,
    /// It expired at this instant, while it was in quarantine.
    Expired(Timestamp),
    /// It has no row.
    Unknown,
    /// Its file is lost.
    Lost,
}

/// Why a release could not go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReleaseError {
    /// The ledger failed.
    #[error("{0}")]
    Ledger(#[from] LedgerError),
    /// The file could not be moved; the image is not served.
    #[error("its file could not be moved back: {0}")]
    Store(#[from] io::Error),
}

/// What a deletion did.
#[derive(Debug, Default)]
pub(crate) struct Deletion {
    /// The rows that were deleted, and their bytes.
    pub deleted: Deleted,
    /// Images in quarantine that were kept.
    pub kept: Vec<ImagePath>,
    /// Images that could not be deleted; their rows are kept.
    pub failed: Vec<(ImagePath, io::Error)>,
}

impl Images<'_> {
    /// Deletes images, those in quarantine too. An image that does not exist is no failure. Quota is not refunded.
    pub(crate) fn delete(&self, paths: &[ImagePath]) -> Result<Deletion, LedgerError> {
        self.delete_unless_kept(paths, |path| {
            self.store.delete_quarantined(path).map(|()| false)
        })
    }

    /// Deletes images like [`Self::delete`], but keeps those in quarantine, with their rows.
    pub(crate) fn delete_served(&self, paths: &[ImagePath]) -> Result<Deletion, LedgerError> {
        self.delete_unless_kept(paths, |_| Ok(true))
    }

    /// Whether the upload of an image may be under way: it has a row, and no file yet. Its row must not be deleted, or the file would
    /// come without one.
    pub(crate) fn is_arriving(&self, row: &ImageRow) -> io::Result<bool> {
        Ok(self.is_new(row)
            && self.store.stat(&row.path)?.is_none()
            && self.store.stat_quarantined(&row.path)?.is_none())
    }

    fn is_new(&self, row: &ImageRow) -> bool {
        row.uploaded_at >= Timestamp::from(self.now).minus(CUT_OFF_AFTER)
    }

    /// `handle_quarantined` says whether an image that is in quarantine is kept.
    fn delete_unless_kept(
        &self,
        paths: &[ImagePath],
        handle_quarantined: impl Fn(&ImagePath) -> io::Result<bool>,
    ) -> Result<Deletion, LedgerError> {
        let mut gone = Vec::with_capacity(paths.len());
        let mut deletion = Deletion::default();
        for (path, outcome) in paths.iter().zip(self.store.delete(paths)) {
            // Looked up after the file was deleted: a quarantine that runs meanwhile has moved it, or finds it gone.
            let is_kept = outcome
                .and_then(|()| self.store.stat_quarantined(path))
                .and_then(|stored| stored.map_or(Ok(false), |_| handle_quarantined(path)));
            match is_kept {
                Ok(false) => gone.push(path.clone()),
                Ok(true) => deletion.kept.push(path.clone()),
                Err(error) => deletion.failed.push((path.clone(), error)),
            }
        }
        self.queue_purges(&gone)?;
        deletion.deleted = self.ledger.delete_rows(&gone)?;
        Ok(deletion)
    }

    /// Puts images into quarantine. The end and the reason of an earlier quarantine are replaced only if `replace`. The outcomes are in
    /// the order of `paths`.
    pub(crate) fn quarantine(
        &self,
        paths: &[ImagePath],
        quarantine: &Quarantined,
        replace: bool,
    ) -> Result<Vec<QuarantineOutcome>, LedgerError> {
        let moved = self.store.quarantine(paths);
        let mut outcomes = Vec::with_capacity(paths.len());
        let mut kept = Vec::with_capacity(paths.len());
        for (path, moved) in paths.iter().zip(moved) {
            let is_kept = match moved {
                Ok(false) => self.store.stat_quarantined(path).map(|kept| kept.is_some()),
                moved => moved,
            };
            outcomes.push(match is_kept {
                Ok(true) => {
                    kept.push(path.clone());
                    QuarantineOutcome::Quarantined
                }
                Ok(false) => match self.ledger.image(path)? {
                    Some(row) if self.is_new(&row) => QuarantineOutcome::Failed(arriving()),
                    Some(_) => QuarantineOutcome::Lost,
                    None => QuarantineOutcome::Unknown,
                },
                Err(error) => QuarantineOutcome::Failed(error),
            });
        }
        if !kept.is_empty() {
            self.queue_purges(&kept)?;
            self.ledger.set_quarantine(&kept, quarantine, replace)?;
        }
        Ok(outcomes)
    }

    /// Serves an image again. The caller holds the lock of a release.
    pub(crate) fn release(&self, path: &ImagePath) -> Result<ReleaseOutcome, ReleaseError> {
        let outcome = self.can_release(path)?;
        if outcome == ReleaseOutcome::Released {
            self.ledger.end_quarantine(std::slice::from_ref(path))?;
            self.store.release(path)?;
        }
        Ok(outcome)
    }

    /// What [`Self::release`] would do.
    pub(crate) fn can_release(&self, path: &ImagePath) -> Result<ReleaseOutcome, ReleaseError> {
        let Some(row) = self.ledger.image(path)? else {
            return Ok(ReleaseOutcome::Unknown);
        };
        let kept = self.store.stat_quarantined(path)?;
        if row.quarantine.is_none() && kept.is_none() {
            return Ok(ReleaseOutcome::NotInQuarantine);
        }
        match row.expires_at {
            Some(end) if end <= Timestamp::from(self.now) => {
                return Ok(ReleaseOutcome::Expired(end));
            }
            _ => {}
        }
        if kept.is_none() && self.store.stat(path)?.is_none() {
            return Ok(ReleaseOutcome::Lost);
        }
        Ok(ReleaseOutcome::Released)
    }

    /// Queues purges of images that are not served any more, if there is a `purge_command`.
    pub(crate) fn queue_purges(&self, paths: &[ImagePath]) -> Result<(), LedgerError> {
        if self.purges && !paths.is_empty() {
            self.ledger.queue_purges(paths, self.now)?;
        }
        Ok(())
    }
}

/// Why an image is not taken down whose upload is under way.
pub(crate) fn arriving() -> io::Error {
    io::Error::new(
        io::ErrorKind::ResourceBusy,
        "it is being uploaded: try again in a minute",
    )
}

#[cfg(test)]
mod tests;
