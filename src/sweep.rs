//! The sweep: deletes expired images, images whose quarantine has ended, abandoned spool files, rows without files, and expired files
//! without rows.
//!
//! It runs beside uploads and may be killed at any instant; the next sweep continues. Files are deleted before rows, so that no file is
//! left without a row. A file without a row is deleted no sooner than its path says: it may be an acknowledged image whose row was lost, as
//! after a database was restored, or a replica promoted, that lacks the last minutes.

mod quarantine;

use std::collections::HashSet;
use std::{io, iter};

use time::{Date, UtcDateTime};

use crate::expiry::{StoreDuration, unix_midnight};
use crate::idempotency::REMEMBERED;
use crate::image_path::{Directory, ImagePath};
use crate::ledger::{Expired, ImageFilter, Ledger, LedgerError, Swept};
use crate::store::Store;
use crate::takedown::Images;
use crate::timestamp::Timestamp;

/// Expired images deleted between two syncs of a directory. Names are random and inode numbers are not, so each unlink dirties another
/// block of the inode table; syncs after each thousand wrote most of that table again, which took as long as the unlinks.
const FILES: u32 = 50_000;

/// Rows deleted in one transaction. An upload waits for one such transaction at most.
const ROWS: usize = 2_000;

/// Rows of recent days that are read at a time.
const PAGE: u32 = 1_000;

/// Seconds after which a spool file is abandoned. An upload takes seconds.
const ABANDONED_AFTER: i64 = 3_600;

/// Seconds after which a row without a file is taken for one that will not get it. A file follows its row within milliseconds.
pub(crate) const MISSING_AFTER: i64 = 600;

/// What a sweep did, or would do.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Report {
    /// Expired images.
    pub expired: u64,
    /// Bytes of the expired images.
    pub bytes: u64,
    /// Images whose quarantine has ended.
    pub quarantine_ended: u64,
    /// Images whose file or row was in quarantine, and now both are.
    pub quarantined: u64,
    /// Spool files older than an hour.
    pub abandoned: u64,
    /// Rows of recent days without files; their quota is refunded.
    pub refunded: u64,
    /// Expired files without rows.
    pub orphaned: u64,
    /// Empty day directories.
    pub directories: u64,
    /// Images that could not be deleted; the next sweep tries again.
    pub failed: u64,
    /// Rows without files that were left alone because nearly all rows of recent days have none.
    pub doubtful_rows: u64,
    /// Addresses of uploaders that were forgotten.
    pub addresses: u64,
}

/// Whether so many of a whole are missing that a wrong disk or ledger is likelier than lost images: at least three, and nine of ten.
const fn is_doubtful(missing: usize, whole: usize) -> bool {
    missing >= 3 && missing * 10 >= whole * 9
}

impl Report {
    /// The part that the ledger adds to its totals.
    const fn swept(&self) -> Swept {
        Swept {
            expired: self.expired,
            bytes: self.bytes,
            abandoned: self.abandoned,
            refunded: self.refunded,
            orphaned: self.orphaned,
        }
    }
}

/// Why a sweep could not go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SweepError {
    /// The ledger failed.
    #[error("{0}")]
    Ledger(#[from] LedgerError),
    /// The store failed.
    #[error("the store failed: {0}")]
    Store(#[from] io::Error),
}

/// One sweep.
#[expect(clippy::struct_excessive_bools, reason = "each is a choice of its own")]
pub(crate) struct Sweep<'a> {
    /// The rows.
    pub ledger: &'a dyn Ledger,
    /// The files.
    pub store: &'a dyn Store,
    /// The instant that decides what has expired.
    pub now: UtcDateTime,
    /// Only count.
    pub dry_run: bool,
    /// Also delete rows without files if they are nearly all of a day.
    pub even_doubtful: bool,
    /// Addresses of images that were uploaded before this instant are forgotten.
    pub addresses_before: Timestamp,
    /// Compare rows and files of recent days: not before the write-ahead log is recovered, which may hold files that are missing.
    pub reconciles: bool,
    /// Whether deleted images are purged from a CDN in front; expired ones need no purge.
    pub purges: bool,
    /// Called after each batch with what was done so far.
    pub progress: &'a dyn Fn(&Report),
}

impl Sweep<'_> {
    /// Runs the sweep.
    pub(crate) fn run(&self) -> Result<Report, SweepError> {
        let mut report = Report::default();
        let outcome = self.sweep(&mut report);
        // What a failed sweep deleted counts, too.
        let completed_at = outcome.is_ok().then_some(self.now);
        let finished = if self.dry_run {
            Ok(())
        } else {
            self.ledger.finish_sweep(report.swept(), completed_at)
        };
        outcome?;
        finished?;
        Ok(report)
    }

    fn sweep(&self, report: &mut Report) -> Result<(), SweepError> {
        self.settle_quarantine(report)?;
        self.delete_expired(report)?;
        if self.reconciles {
            self.reconcile(report)?;
        }
        let recent = self.recent_directories();
        let before = Timestamp::from(self.now).minus(ABANDONED_AFTER);
        let cleaned = self.store.clean(before, &recent, self.dry_run)?;
        report.abandoned = cleaned.abandoned;
        report.directories = cleaned.directories;
        self.forget(report)
    }

    /// Forgets addresses that are no longer to be kept, and keys of uploads that are no longer repeated.
    fn forget(&self, report: &mut Report) -> Result<(), SweepError> {
        if self.dry_run {
            return Ok(());
        }
        let keys_before = Timestamp::from(self.now).minus(REMEMBERED);
        let limit = u32::try_from(ROWS).unwrap_or(u32::MAX);
        loop {
            let (addresses, keys) =
                self.ledger
                    .forget(self.addresses_before, keys_before, limit)?;
            report.addresses += addresses as u64;
            if addresses.max(keys) < ROWS {
                return Ok(());
            }
        }
    }

    fn takedown(&self) -> Images<'_> {
        Images {
            ledger: self.ledger,
            store: self.store,
            purges: self.purges,
            now: self.now,
        }
    }

    fn delete_expired(&self, report: &mut Report) -> Result<(), SweepError> {
        let mut after: Option<Expired> = None;
        loop {
            let batch = self.ledger.expired(self.now, after.as_ref(), FILES)?;
            let Some(last) = batch.last() else {
                return Ok(());
            };
            after = Some(last.clone());
            let paths: Vec<_> = batch.into_iter().map(|expired| expired.path).collect();
            if self.dry_run {
                report.expired += paths.len() as u64;
            } else {
                self.delete(&paths, report)?;
            }
            (self.progress)(report);
        }
    }

    fn delete(&self, paths: &[ImagePath], report: &mut Report) -> Result<(), SweepError> {
        let outcomes = paths.iter().zip(self.store.delete(paths));
        let gone: Vec<_> = outcomes
            .filter_map(|(path, outcome)| outcome.ok().map(|()| path.clone()))
            .collect();
        report.failed += (paths.len() - gone.len()) as u64;
        // An image that two hosts delete at once counts where its row was.
        for rows in gone.chunks(ROWS) {
            let deleted = self.ledger.delete_rows(rows)?;
            report.expired += deleted.rows as u64;
            report.bytes += deleted.bytes;
        }
        Ok(())
    }

    fn recent_directories(&self) -> Vec<Directory> {
        self.recent_days().map(Directory::all_of).concat()
    }

    /// Yesterday and today, UTC: the days whose rows and files are compared.
    fn recent_days(&self) -> [Date; 2] {
        let today = self.now.date();
        [today.previous_day().unwrap_or(today), today]
    }

    /// Deletes rows of recent days without files, and expired files without rows.
    fn reconcile(&self, report: &mut Report) -> Result<(), SweepError> {
        for day in self.recent_days() {
            let mut files = HashSet::new();
            for directory in Directory::all_of(day) {
                files.extend(self.store.list(directory)?);
            }
            self.refund_missing(day, &files, report)?;
        }
        self.delete_orphans(report)
    }

    /// Deletes the rows of a day that have no files.
    fn refund_missing(
        &self,
        day: Date,
        files: &HashSet<ImagePath>,
        report: &mut Report,
    ) -> Result<(), SweepError> {
        let mut filter = ImageFilter {
            days: Some((day, day)),
            ..ImageFilter::all(PAGE)
        };
        let oldest = Timestamp::from(self.now).minus(MISSING_AFTER);
        let mut settled = 0;
        let mut missing = Vec::new();
        loop {
            let rows = self.ledger.images(&filter)?;
            for row in &rows {
                let is_settled = row.uploaded_at < oldest;
                settled += usize::from(is_settled);
                // Looked up again, because the file may be newer than the list.
                let is_listed = files.contains(&row.path) || row.quarantine.is_some();
                if !is_listed && is_settled && self.is_missing(&row.path)? {
                    missing.push(row.path.clone());
                }
            }
            match rows.into_iter().last() {
                Some(last) => filter.after = Some(last.path),
                None => break,
            }
        }
        if !self.even_doubtful && is_doubtful(missing.len(), settled) {
            report.doubtful_rows += missing.len() as u64;
            return Ok(());
        }
        report.refunded += missing.len() as u64;
        for rows in missing.chunks(ROWS) {
            if !self.dry_run {
                self.takedown().queue_purges(rows)?;
                self.ledger.refund(rows)?;
            }
        }
        Ok(())
    }

    fn is_missing(&self, path: &ImagePath) -> Result<bool, SweepError> {
        match self.store.stat(path) {
            // A quarantine that runs meanwhile moves the file before it marks the row.
            Ok(None) => Ok(self.store.stat_quarantined(path)?.is_none()),
            Ok(Some(_)) => Ok(false),
            // Something else has the path; `verify` reports it.
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Deletes files without rows that have expired by their paths. Expired files with rows are gone by now, except in a dry run.
    fn delete_orphans(&self, report: &mut Report) -> Result<(), SweepError> {
        let mut orphans = Vec::new();
        for directory in expired_directories(self.now) {
            for path in self.store.list(directory)? {
                // In this order: another sweep deletes the file before the row.
                if self.ledger.image(&path)?.is_none() && self.is_served(&path)? {
                    orphans.push(path);
                }
            }
        }
        report.orphaned += orphans.len() as u64;
        if !self.dry_run {
            let outcomes = self.store.delete(&orphans);
            let failed = outcomes.iter().filter(|outcome| outcome.is_err()).count() as u64;
            report.orphaned -= failed;
            report.failed += failed;
        }
        Ok(())
    }

    fn is_served(&self, path: &ImagePath) -> Result<bool, SweepError> {
        match self.store.stat(path) {
            Ok(stored) => Ok(stored.is_some()),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

/// The directories whose images have all expired, the last of them today or yesterday, UTC. Months whose names begin alike share
/// directories: `mm/ma5` has images of 5 March and of 5 May.
fn expired_directories(now: UtcDateTime) -> Vec<Directory> {
    let today = now.date();
    let since = Timestamp(unix_midnight(today.previous_day().unwrap_or(today)));
    let mut expired = Vec::new();
    for duration in StoreDuration::ALL {
        let mut living = Vec::new();
        for day in iter::successors(Some(today), |day| day.previous_day()) {
            let directory = Directory::of(duration, day);
            match duration.expiry(day.midnight().as_utc()) {
                Some(expiry) if expiry.instant() > now.into() => living.push(directory),
                Some(expiry) if expiry.instant() >= since => expired.push(directory),
                // Those of earlier days expired before; lifetime images do not.
                _ => break,
            }
        }
        expired.retain(|directory| !living.contains(directory));
    }
    expired
}

#[cfg(test)]
mod tests;
