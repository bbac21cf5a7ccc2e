//! [`Takedown`]: the part of a ledger for images in quarantine, the block list, and the queue of purges.

use time::UtcDateTime;

use super::{ImageRow, LedgerError};
use crate::image_digest::ImageDigest;
use crate::image_path::ImagePath;
use crate::timestamp::Timestamp;

/// The quarantine of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Quarantined {
    /// Since when.
    pub at: Timestamp,
    /// When a sweep deletes the image; `None`: it is kept until it is released or deleted.
    pub until: Option<Timestamp>,
    /// Why, in the operator's words.
    pub reason: Option<String>,
    /// Whether all served images of its client were quarantined with it, when the client was suspended.
    pub with_client: bool,
}

/// A digest on the block list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Blocked {
    /// The digest.
    pub digest: ImageDigest,
    /// Since when.
    pub at: Timestamp,
    /// Why, in the operator's words.
    pub reason: Option<String>,
}

/// An image in the queue of purges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Purge {
    /// Its path.
    pub path: ImagePath,
    /// Since when it waits.
    pub since: Timestamp,
    /// Attempts that failed.
    pub attempts: u32,
}

/// How many takedowns there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct TakedownCounts {
    /// Images in quarantine.
    pub quarantined: u64,
    /// Digests on the block list.
    pub blocked: u64,
    /// Images in the queue of purges.
    pub purges: u64,
}

/// The part of a ledger for takedowns. Its verbs are as atomic and durable as those of [`super::Ledger`].
pub(crate) trait Takedown {
    /// Marks the rows of images as in quarantine. A row that is marked keeps its `at`; the rest is replaced only if `replace`. Returns
    /// how many of the images have a row.
    fn set_quarantine(
        &self,
        paths: &[ImagePath],
        quarantine: &Quarantined,
        replace: bool,
    ) -> Result<usize, LedgerError>;

    /// Takes the mark from rows. Returns how many were marked.
    fn end_quarantine(&self, paths: &[ImagePath]) -> Result<usize, LedgerError>;

    /// At most `limit` images in quarantine, in the order of their paths, behind `after`.
    fn quarantined(
        &self,
        after: Option<&ImagePath>,
        limit: u32,
    ) -> Result<Vec<ImageRow>, LedgerError>;

    /// Blocks images by their digests. One that is blocked keeps its time, and its reason unless there is a new one. Returns how many are
    /// new.
    fn block(
        &self,
        digests: &[ImageDigest],
        reason: Option<&str>,
        now: UtcDateTime,
    ) -> Result<usize, LedgerError>;

    /// Takes digests from the block list. Returns how many were on it.
    fn unblock(&self, digests: &[ImageDigest]) -> Result<usize, LedgerError>;

    /// Whether any image is blocked.
    fn has_blocked(&self) -> Result<bool, LedgerError>;

    /// Whether one of these digests is blocked.
    fn is_blocked(&self, digests: &[ImageDigest]) -> Result<bool, LedgerError>;

    /// The block list, newest first.
    fn blocked(&self) -> Result<Vec<Blocked>, LedgerError>;

    /// Queues images for [`Self::claim_purges`]; those that wait begin anew.
    fn queue_purges(&self, paths: &[ImagePath], now: UtcDateTime) -> Result<(), LedgerError>;

    /// At most `limit` images that are due at `now`, the longest waiting first. They are due again at `until` unless they are
    /// [finished](Self::finish_purges), so that two processes do not purge the same ones at once and one that dies loses none.
    fn claim_purges(
        &self,
        now: UtcDateTime,
        until: UtcDateTime,
        limit: u32,
    ) -> Result<Vec<Purge>, LedgerError>;

    /// Counts a failed attempt for each image, which is due again at the given instant.
    fn defer_purges(&self, purges: &[(ImagePath, UtcDateTime)]) -> Result<(), LedgerError>;

    /// Takes images from the queue, except those that were queued again since `since`.
    fn finish_purges(&self, purges: &[Purge]) -> Result<(), LedgerError>;

    /// How many images are in quarantine, blocked, and wait for a purge.
    fn takedown_counts(&self) -> Result<TakedownCounts, LedgerError>;

    /// How many images wait, and since when the oldest.
    fn waiting_purges(&self) -> Result<(u64, Option<Timestamp>), LedgerError>;
}
