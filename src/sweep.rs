//! The sweep: deletes images that expired, uploads that were abandoned, and what has lost its other half.
//!
//! It can run beside uploads and be ended at any instant; the next one goes on. Files go before rows, so that nothing is forgotten that
//! is still there.

use std::collections::HashSet;
use std::io;

use time::UtcDateTime;

use crate::image_path::{DayName, ImagePath, class_of};
use crate::ledger::{Event, Expired, ImageFilter, Ledger, LedgerError, Swept};
use crate::plan::{DAY_SECONDS, StoreDuration};
use crate::store::Store;

/// Expired images of one sync of a directory. Names are random and inodes are not, so that each unlink dirties another block of the
/// inode table: with a sync for each thousand, most of that table was written again and again, which took as long as all unlinking.
const FILES: u32 = 50_000;

/// Expired images of one transaction. An upload waits for one of these at the most.
const ROWS: usize = 2_000;

/// Rows of recent days that are compared at a time.
const PAGE: u32 = 1_000;

/// An upload takes seconds; one that is older than an hour has lost its process.
const ABANDONED_AFTER: i64 = 3_600;

/// A row comes before its file by milliseconds. One that still has none after ten minutes will not get one.
pub(crate) const MISSING_AFTER: i64 = 600;

/// How many days back rows and files are compared, today included.
const RECENT_DAYS: i64 = 2;

/// What a sweep did, or would do.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// Images whose life had ended.
    pub expired: u64,
    /// Bytes that they took.
    pub bytes: u64,
    /// Uploads that were begun more than an hour ago and never finished.
    pub abandoned: u64,
    /// Rows of recent days that never got their files; their quota was given back.
    pub withdrawn: u64,
    /// Files of recent days that nothing in the ledger knows.
    pub orphaned: u64,
    /// Day directories that had become empty.
    pub directories: u64,
    /// Images that could not be deleted; they are tried again next time.
    pub failed: u64,
}

impl Report {
    /// What the ledger adds up.
    const fn swept(&self) -> Swept {
        Swept {
            expired: self.expired,
            bytes: self.bytes,
            abandoned: self.abandoned,
            withdrawn: self.withdrawn,
            orphaned: self.orphaned,
        }
    }
}

/// Why a sweep could not go on.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// The ledger failed.
    #[error("{0}")]
    Ledger(#[from] LedgerError),
    /// The docroot failed.
    #[error("the docroot failed: {0}")]
    Store(#[from] io::Error),
}

/// One sweep.
pub struct Sweep<'a> {
    /// The rows.
    pub ledger: &'a dyn Ledger,
    /// The files.
    pub store: &'a dyn Store,
    /// The instant that decides what has expired.
    pub now: UtcDateTime,
    /// Only count.
    pub dry_run: bool,
    /// Called after each batch with what was done so far.
    pub progress: &'a dyn Fn(&Report),
}

impl Sweep<'_> {
    /// Sweeps.
    pub fn run(&self) -> Result<Report, SweepError> {
        let mut report = Report::default();
        let outcome = self.sweep(&mut report);
        // What was deleted before a failure counts, too.
        let counted = if self.dry_run || report.swept() == Swept::default() {
            Ok(())
        } else {
            self.ledger.add_swept(report.swept())
        };
        outcome?;
        counted?;
        Ok(report)
    }

    fn sweep(&self, report: &mut Report) -> Result<(), SweepError> {
        self.delete_expired(report)?;
        report.abandoned = self
            .store
            .delete_abandoned(self.now.unix_timestamp() - ABANDONED_AFTER, self.dry_run)?;
        let recent: Vec<_> = self.recent_directories().collect();
        for directory in &recent {
            self.reconcile(directory, report)?;
        }
        if !self.dry_run {
            report.directories = self.store.delete_empty_directories(&recent)?;
            self.ledger.note_time(Event::Swept, self.now)?;
        }
        Ok(())
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
        let mut gone = Vec::with_capacity(paths.len());
        for (path, outcome) in paths.iter().zip(self.store.delete(paths)) {
            match outcome {
                Ok(bytes) => {
                    report.expired += 1;
                    report.bytes += bytes;
                    gone.push(path.clone());
                }
                Err(_) => report.failed += 1,
            }
        }
        for rows in gone.chunks(ROWS) {
            self.ledger.forget(rows)?;
        }
        Ok(())
    }

    /// The directories of today and yesterday, in every class.
    fn recent_directories(&self) -> impl Iterator<Item = String> {
        let days = (0..RECENT_DAYS).filter_map(|back| {
            let instant = self.now.unix_timestamp() - back * DAY_SECONDS;
            Some(DayName::of(
                UtcDateTime::from_unix_timestamp(instant).ok()?.date(),
            ))
        });
        days.flat_map(|day| {
            StoreDuration::ALL.map(|duration| format!("{}/{day}", class_of(duration)))
        })
    }

    /// Compares the rows and the files of one directory.
    fn reconcile(&self, directory: &str, report: &mut Report) -> Result<(), SweepError> {
        let mut files: HashSet<ImagePath> = self.store.list(directory)?.into_iter().collect();
        let mut filter = ImageFilter {
            directory: Some(directory.to_owned()),
            limit: PAGE,
            ..ImageFilter::default()
        };
        let oldest = self.now.unix_timestamp() - MISSING_AFTER;
        loop {
            let rows = self.ledger.images(&filter)?;
            let mut missing = Vec::new();
            for row in &rows {
                // Asked again, because the file may have come after the directory was read.
                if !files.remove(&row.path)
                    && row.uploaded_at < oldest
                    && self.store.placed_at(&row.path)?.is_none()
                {
                    missing.push(row.path.clone());
                }
            }
            report.withdrawn += missing.len() as u64;
            if !self.dry_run && !missing.is_empty() {
                self.ledger.withdraw(&missing)?;
            }
            match rows.into_iter().last() {
                Some(last) => filter.after = Some(last.path),
                None => break,
            }
        }
        self.delete_orphans(&files, report)
    }

    /// Deletes files without a row that were put there while this ledger was in use. Older ones may be all that is left of an earlier
    /// ledger, and are nothing to be deleted unasked.
    fn delete_orphans(
        &self,
        files: &HashSet<ImagePath>,
        report: &mut Report,
    ) -> Result<(), SweepError> {
        let Some(ledger_made) = self.ledger.noted_time(Event::Created)? else {
            return Ok(());
        };
        let latest = self.now.unix_timestamp() - ABANDONED_AFTER;
        let mut orphans = Vec::new();
        for path in files {
            let placed = self.store.placed_at(path)?;
            if placed.is_some_and(|placed| ledger_made < placed && placed < latest)
                && self.ledger.image(path)?.is_none()
            {
                orphans.push(path.clone());
            }
        }
        report.orphaned += orphans.len() as u64;
        if !self.dry_run {
            let failed = self
                .store
                .delete(&orphans)
                .iter()
                .filter(|outcome| outcome.is_err())
                .count() as u64;
            report.orphaned -= failed;
            report.failed += failed;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
