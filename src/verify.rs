//! Verification: compares ledger and store, in both directions.
//!
//! It runs beside uploads, sweeps and other verifications. Rows and files are read in the order of their paths, a page at a time, so that
//! memory is constant; the files of a page are looked up several at once. No file is ever deleted: a damaged image is reported, and a file
//! without a row may be all that is left of an earlier ledger.

mod finding;
mod look;
mod quarantine;

use std::cmp::Ordering::{Greater, Less};
use std::io;
use std::iter::Peekable;
use std::sync::atomic::{AtomicU64, Ordering};

use time::UtcDateTime;

use self::look::{Look, Looked, Stray};
use crate::expiry::Expiry;
use crate::image_path::{Directory, ImagePath};
use crate::ledger::{ImageFilter, ImageRow, Ledger, LedgerError};
use crate::store::{Images, Store, Stored};
use crate::sweep::MISSING_AFTER;
use crate::timestamp::Timestamp;
pub(crate) use finding::{Difference, Finding, Report, Subject};

/// The client that owns images whose client is unknown.
pub(crate) const RECOVERED: &str = "recovered";

/// Rows of one page, and images of one transaction.
const BATCH: u32 = 1_000;

/// Why a verification could not go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VerifyError {
    /// The ledger failed.
    #[error("{0}")]
    Ledger(#[from] LedgerError),
    /// The store failed.
    #[error("the store failed: {0}")]
    Store(#[source] io::Error),
    /// A finding could not be written.
    #[error("the findings could not be written: {0}")]
    Told(#[source] io::Error),
}

/// One verification.
pub(crate) struct Verification<'a> {
    /// The rows.
    pub ledger: &'a dyn Ledger,
    /// The files.
    pub store: &'a dyn Store,
    /// The instant that decides which rows are too young.
    pub now: UtcDateTime,
    /// Refund rows without files, set the expiry of files to that of their rows, and the width and height of rows to those of files.
    pub repair: bool,
    /// Add rows for files without rows, as images of the client [`RECOVERED`] with this plan.
    pub rebuild: Option<&'a str>,
    /// Called for each difference.
    pub tell: &'a mut dyn FnMut(&Finding) -> io::Result<()>,
    /// Called after each batch with what was found so far.
    pub progress: &'a dyn Fn(&Report),
}

impl Verification<'_> {
    /// Compares everything.
    pub(crate) fn run(&mut self) -> Result<Report, VerifyError> {
        let mut report = Report::default();
        self.compare_quarantine(&mut report)?;
        let passed = AtomicU64::new(0);
        let files = Images::of(self.store, Directory::all(), &passed);
        let mut files = files.map_err(VerifyError::Store)?.peekable();
        let mut rows = Rows::new(self.ledger).peekable();
        loop {
            let batch = Batch::next(&mut rows, &mut files)?;
            if batch.rows.is_empty() && batch.strays.is_empty() {
                break;
            }
            self.compare_batch(&batch, &mut report)?;
            report.directories = passed.load(Ordering::Relaxed);
            (self.progress)(&report);
        }
        report.directories = passed.load(Ordering::Relaxed);
        self.compare_storage(&mut report)?;
        Ok(report)
    }

    const fn look(&self) -> Look<'_> {
        Look {
            ledger: self.ledger,
            store: self.store,
            now: self.now,
        }
    }

    /// Compares what each client has stored by the ledger's count with the rows of its images.
    fn compare_storage(&mut self, report: &mut Report) -> Result<(), VerifyError> {
        for client in self.ledger.storage_differences(self.repair)? {
            let difference = Difference::Storage {
                recorded: client.counted,
                found: client.found,
            };
            let outcome = if self.repair { Ok(()) } else { Err(None) };
            self.tell(Subject::Client(client.client), difference, outcome, report)?;
        }
        Ok(())
    }

    /// Compares rows and files that follow each other.
    fn compare_batch(&mut self, batch: &Batch, report: &mut Report) -> Result<(), VerifyError> {
        let (mut missing, mut resized) = (Vec::new(), Vec::new());
        let look = self.look();
        let looked = look::each(&batch.rows, |row| look.of_row(row));
        for (row, looked) in batch.rows.iter().zip(looked) {
            match self.compare(row, looked?, report)? {
                Presence::Missing => missing.push(&row.path),
                Presence::Resized(found) => resized.push((row, found)),
                Presence::There | Presence::Transient => {}
            }
        }
        self.handle_missing(&missing, report)?;
        self.handle_resized(&resized, report)?;
        self.handle_strays(&batch.strays, report)
    }

    /// Compares a row with what the store has for it.
    fn compare(
        &mut self,
        row: &ImageRow,
        looked: Looked,
        report: &mut Report,
    ) -> Result<Presence, VerifyError> {
        report.images += 1;
        let (stored, dimensions) = match looked {
            Looked::Served { stored, dimensions } => (stored, dimensions),
            Looked::Absent {
                is_in_quarantine: true,
            } => return Ok(Presence::There),
            Looked::Absent { .. } => return Ok(self.absence(row, report)),
            Looked::Quarantined { is_served, kept } => {
                self.compare_quarantined(row, is_served, kept, report)?;
                return Ok(Presence::There);
            }
            Looked::Unreadable(error) => {
                self.tell_unreadable(&row.path, error, report)?;
                return Ok(Presence::There);
            }
        };
        self.compare_size(row, stored, report)?;
        if let Some(recorded) = row.expires_at
            && recorded != stored.expires_at
        {
            let difference = Difference::Time {
                recorded,
                found: stored.expires_at,
            };
            let outcome = self.set_expiry(&row.path, recorded);
            self.tell(
                Subject::Image(row.path.clone()),
                difference,
                outcome,
                report,
            )?;
        }
        Ok(match dimensions {
            Some(found) if found != (row.width, row.height) => Presence::Resized(found),
            _ => Presence::There,
        })
    }

    /// What a row without a file means.
    fn absence(&self, row: &ImageRow, report: &mut Report) -> Presence {
        let now = Timestamp::from(self.now);
        if row.expires_at.is_some_and(|end| end <= now) {
            // A sweep deletes the file, then the row.
            Presence::Transient
        } else if row.uploaded_at >= now.minus(MISSING_AFTER) {
            report.pending += 1;
            Presence::Transient
        } else {
            Presence::Missing
        }
    }

    fn set_expiry(&self, path: &ImagePath, recorded: Timestamp) -> Outcome {
        if !self.repair {
            return Err(None);
        }
        let expiry = Expiry::from_instant(recorded).ok_or_else(|| {
            let text = format!("the ledger's expiry {recorded} is not a midnight (UTC)");
            Some(io::Error::new(io::ErrorKind::InvalidData, text))
        })?;
        self.store.set_expiry(path, expiry).map_err(Some)
    }

    fn handle_missing(
        &mut self,
        missing: &[&ImagePath],
        report: &mut Report,
    ) -> Result<(), VerifyError> {
        let mut lost = Vec::with_capacity(missing.len());
        for path in missing {
            // A deletion removes the file first; by now the row may be gone too.
            if self.ledger.image(path)?.is_some() {
                lost.push((*path).clone());
            }
        }
        if self.repair && !lost.is_empty() {
            self.ledger.refund(&lost)?;
        }
        for path in lost {
            let outcome = if self.repair { Ok(()) } else { Err(None) };
            self.tell(Subject::Image(path), Difference::Missing, outcome, report)?;
        }
        Ok(())
    }

    fn handle_resized(
        &mut self,
        resized: &[(&ImageRow, (u32, u32))],
        report: &mut Report,
    ) -> Result<(), VerifyError> {
        if self.repair && !resized.is_empty() {
            let dimensions: Vec<_> = resized
                .iter()
                .map(|(row, found)| (&row.path, *found))
                .collect();
            self.ledger.set_dimensions(&dimensions)?;
        }
        for (row, found) in resized {
            let difference = Difference::Dimensions {
                recorded: (row.width, row.height),
                found: *found,
            };
            let outcome = if self.repair { Ok(()) } else { Err(None) };
            self.tell(
                Subject::Image(row.path.clone()),
                difference,
                outcome,
                report,
            )?;
        }
        Ok(())
    }

    fn handle_strays(
        &mut self,
        paths: &[ImagePath],
        report: &mut Report,
    ) -> Result<(), VerifyError> {
        let examines = self.rebuild.is_some();
        let look = self.look();
        let strays = look::each(paths, |path| look.of_stray(path, examines));
        let mut found = Vec::new();
        for (path, stray) in paths.iter().zip(strays) {
            let cause = match stray? {
                Stray::None => continue,
                Stray::Unreadable(error) => {
                    self.tell_unreadable(path, error, report)?;
                    continue;
                }
                Stray::Unknown(Some(Ok(image))) => {
                    found.push(image);
                    continue;
                }
                Stray::Unknown(Some(Err(error))) => Some(error),
                Stray::Unknown(None) => None,
            };
            let subject = Subject::Image(path.clone());
            self.tell(subject, Difference::Unknown, Err(cause), report)?;
        }
        if let Some(plan) = self.rebuild.filter(|_| !found.is_empty()) {
            self.ledger.adopt(&found, RECOVERED, plan, self.now)?;
            for image in found {
                self.tell(
                    Subject::Image(image.path),
                    Difference::Unknown,
                    Ok(()),
                    report,
                )?;
            }
        }
        Ok(())
    }

    fn compare_size(
        &mut self,
        row: &ImageRow,
        stored: Stored,
        report: &mut Report,
    ) -> Result<(), VerifyError> {
        report.bytes += stored.size;
        if stored.size == row.size {
            return Ok(());
        }
        let difference = Difference::Size {
            recorded: row.size,
            found: stored.size,
        };
        self.tell(
            Subject::Image(row.path.clone()),
            difference,
            Err(None),
            report,
        )
    }

    fn tell_unreadable(
        &mut self,
        path: &ImagePath,
        error: io::Error,
        report: &mut Report,
    ) -> Result<(), VerifyError> {
        self.tell(
            Subject::Image(path.clone()),
            Difference::Unreadable,
            Err(Some(error)),
            report,
        )
    }

    fn tell(
        &mut self,
        subject: Subject,
        difference: Difference,
        outcome: Outcome,
        report: &mut Report,
    ) -> Result<(), VerifyError> {
        let count = match difference {
            Difference::Missing => &mut report.missing,
            Difference::Unknown => &mut report.unknown,
            Difference::Size { .. } => &mut report.sizes,
            Difference::Dimensions { .. } => &mut report.dimensions,
            Difference::Time { .. } => &mut report.times,
            Difference::Quarantine { .. } => &mut report.quarantine,
            Difference::Unreadable => &mut report.unreadable,
            Difference::Storage { .. } => &mut report.storage,
        };
        *count += 1;
        report.repaired += u64::from(outcome.is_ok());
        let finding = Finding {
            subject,
            difference,
            repaired: outcome.is_ok(),
            cause: outcome.err().flatten().map(|error| error.to_string()),
        };
        (self.tell)(&finding).map_err(VerifyError::Told)
    }
}

/// All rows in the order of their paths, read in pages.
struct Rows<'a> {
    ledger: &'a dyn Ledger,
    page: std::vec::IntoIter<ImageRow>,
    filter: ImageFilter,
}

impl<'a> Rows<'a> {
    fn new(ledger: &'a dyn Ledger) -> Self {
        Self {
            ledger,
            page: Vec::new().into_iter(),
            filter: ImageFilter::all(BATCH),
        }
    }
}

impl Iterator for Rows<'_> {
    type Item = Result<ImageRow, LedgerError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.page.as_slice().is_empty() {
            match self.ledger.images(&self.filter) {
                Ok(page) => self.page = page.into_iter(),
                Err(error) => return Some(Err(error)),
            }
            let last = self.page.as_slice().last()?;
            self.filter.after = Some(last.path.clone());
        }
        self.page.next().map(Ok)
    }
}

/// Rows and files without rows that follow each other in the order of their paths.
#[derive(Default)]
struct Batch {
    rows: Vec<ImageRow>,
    strays: Vec<ImagePath>,
}

impl Batch {
    /// The next of both; empty at the end.
    fn next(
        rows: &mut Peekable<Rows<'_>>,
        files: &mut Peekable<Images<'_>>,
    ) -> Result<Self, VerifyError> {
        let mut batch = Self::default();
        while batch.rows.len().max(batch.strays.len()) < BATCH as usize {
            let order = match (rows.peek(), files.peek()) {
                (None, None) => break,
                (Some(Ok(row)), Some(Ok(file))) => row.path.cmp(&file.path),
                // A failure is taken first.
                (Some(Err(_)), _) | (Some(_), None) => Less,
                (_, Some(Err(_))) | (None, Some(_)) => Greater,
            };
            if order.is_le() {
                batch.rows.extend(rows.next().transpose()?);
            }
            if order.is_ge() {
                let file = files.next().transpose().map_err(VerifyError::Store)?;
                let stray = file.filter(|_| order.is_gt());
                batch.strays.extend(stray.map(|file| file.path));
            }
        }
        Ok(batch)
    }
}

/// Repaired; or not, with the cause if that was tried.
type Outcome = Result<(), Option<io::Error>>;

/// Whether a row has a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Presence {
    There,
    /// With another width and height.
    Resized((u32, u32)),
    /// Not yet, or no longer.
    Transient,
    Missing,
}

#[cfg(test)]
mod tests;
