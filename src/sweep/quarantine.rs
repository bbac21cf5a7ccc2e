//! The sweep's part for quarantine: makes rows and files agree, and deletes images whose quarantine has ended.
//!
//! Quarantine wins: a file in quarantine marks its row, and a marked row takes its file out of reach, as after a docroot was copied back
//! from a backup.

use super::{PAGE, Report, Sweep, SweepError};
use crate::image_path::ImagePath;
use crate::ledger::{ImageRow, Quarantined};
use crate::takedown::{BATCH, Deletion, QuarantineOutcome};
use crate::timestamp::Timestamp;

impl Sweep<'_> {
    pub(super) fn settle_quarantine(&self, report: &mut Report) -> Result<(), SweepError> {
        self.mark_rows(report)?;
        let mut after: Option<ImagePath> = None;
        loop {
            let rows = self.ledger.quarantined(after.as_ref(), PAGE)?;
            let Some(last) = rows.last() else {
                return Ok(());
            };
            after = Some(last.path.clone());
            self.delete_ended(&rows, report)?;
            self.move_served(&rows, report)?;
            (self.progress)(report);
        }
    }

    /// Marks the rows of files that a quarantine moved before it was killed.
    fn mark_rows(&self, report: &mut Report) -> Result<(), SweepError> {
        let mut unmarked = Vec::new();
        for path in self.store.quarantined()? {
            let row = self.ledger.image(&path)?;
            if row.is_some_and(|row| row.quarantine.is_none()) {
                unmarked.push(path);
            }
        }
        self.quarantine(&unmarked, report)
    }

    /// Moves the files of marked rows that are served.
    fn move_served(&self, rows: &[ImageRow], report: &mut Report) -> Result<(), SweepError> {
        let mut served = Vec::new();
        for row in rows {
            if !self.has_ended(row) && self.store.stat(&row.path)?.is_some() {
                served.push(row.path.clone());
            }
        }
        self.quarantine(&served, report)
    }

    fn quarantine(&self, paths: &[ImagePath], report: &mut Report) -> Result<(), SweepError> {
        report.quarantined += paths.len() as u64;
        if self.dry_run {
            return Ok(());
        }
        let now = Quarantined {
            at: self.now.into(),
            until: None,
            reason: None,
            with_client: false,
        };
        for paths in paths.chunks(BATCH) {
            for outcome in self.takedown().quarantine(paths, &now, false)? {
                if matches!(outcome, QuarantineOutcome::Failed(_)) {
                    report.quarantined -= 1;
                    report.failed += 1;
                }
            }
        }
        Ok(())
    }

    fn has_ended(&self, row: &ImageRow) -> bool {
        let until = row
            .quarantine
            .as_ref()
            .and_then(|quarantine| quarantine.until);
        until.is_some_and(|until| until <= Timestamp::from(self.now))
    }

    fn delete_ended(&self, rows: &[ImageRow], report: &mut Report) -> Result<(), SweepError> {
        let ended: Vec<_> = rows
            .iter()
            .filter(|row| self.has_ended(row))
            .map(|row| row.path.clone())
            .collect();
        report.quarantine_ended += ended.len() as u64;
        if self.dry_run || ended.is_empty() {
            return Ok(());
        }
        let Deletion { failed, .. } = self.takedown().delete(&ended)?;
        report.quarantine_ended -= failed.len() as u64;
        report.failed += failed.len() as u64;
        Ok(())
    }
}
