//! Verification: compares ledger and store, in both directions.
//!
//! It runs beside uploads, sweeps and other verifications. One directory is compared at a time, so memory grows with the images of one
//! class and day, not with those of the site. No file is ever deleted: a damaged image is reported, and a file without a row may be all
//! that is left of an earlier ledger.

mod finding;
mod quarantine;

use std::collections::HashSet;
use std::io::{self, BufReader, Read};

use time::UtcDateTime;

use crate::expiry::{Expiry, StoreDuration};
use crate::image;
use crate::image_path::{Directory, ImagePath};
use crate::ledger::{FoundImage, ImageFilter, ImageRow, Ledger, LedgerError};
use crate::store::{Store, Stored};
use crate::sweep::MISSING_AFTER;
use crate::timestamp::Timestamp;
pub(crate) use finding::{Difference, Finding, Report, Subject};

/// The client that owns images whose client is unknown.
pub(crate) const RECOVERED: &str = "recovered";

/// Rows of one page, and images of one transaction.
const BATCH: u32 = 1_000;

/// Beginnings of files whose width and height are looked up, in bytes. Metadata with a preview is in front of the image data of a
/// photograph, so the first is not enough for every one.
const HEADS: [u64; 2] = [16 * 1024, 256 * 1024];

/// Bytes that the image check reads at once.
const INSPECTION_BUFFER: usize = 64 * 1024;

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
        let mut rows = Rows::new(self.ledger);
        let used = self.store.directories().map_err(VerifyError::Store)?;
        let used: HashSet<_> = used.into_iter().collect();
        for directory in Directory::all() {
            // The file of a row is looked up whether it is listed or not.
            let files = if used.contains(&directory) {
                self.store.list(directory).map_err(VerifyError::Store)?
            } else {
                Vec::new()
            };
            self.compare_directory(directory, files, &mut rows, &mut report)?;
            report.directories += 1;
            (self.progress)(&report);
        }
        self.compare_storage(&mut report)?;
        Ok(report)
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

    /// Merges the rows and the files of one directory, both in the order of their paths.
    fn compare_directory(
        &mut self,
        directory: Directory,
        mut files: Vec<ImagePath>,
        rows: &mut Rows<'_>,
        report: &mut Report,
    ) -> Result<(), VerifyError> {
        files.sort_unstable();
        let mut files = files.into_iter().peekable();
        let mut missing = Vec::new();
        let mut unknown = Vec::new();
        let mut resized = Vec::new();
        while let Some(row) = rows.next_in(directory)? {
            while let Some(file) = files.next_if(|file| *file < row.path) {
                unknown.push(file);
            }
            // Looked up whether it was listed or not, because the file may be newer than the list.
            let _ = files.next_if_eq(&row.path);
            match self.compare(&row, report)? {
                Presence::Missing => missing.push(row.path),
                Presence::Resized(found) => resized.push((row, found)),
                Presence::There | Presence::Transient => {}
            }
            if report.images.is_multiple_of(u64::from(BATCH)) {
                self.handle_missing(std::mem::take(&mut missing), report)?;
                self.handle_resized(&std::mem::take(&mut resized), report)?;
                self.handle_unknown(&std::mem::take(&mut unknown), report)?;
                (self.progress)(report);
            }
        }
        self.handle_missing(missing, report)?;
        self.handle_resized(&resized, report)?;
        unknown.extend(files);
        for unknown in unknown.chunks(BATCH as usize) {
            self.handle_unknown(unknown, report)?;
            (self.progress)(report);
        }
        Ok(())
    }

    /// Compares a row with its file, if that is there.
    fn compare(&mut self, row: &ImageRow, report: &mut Report) -> Result<Presence, VerifyError> {
        report.images += 1;
        if row.quarantine.is_some() {
            self.compare_quarantined(row, report)?;
            return Ok(Presence::There);
        }
        let stored = match self.store.stat(&row.path) {
            Ok(Some(stored)) => stored,
            // A quarantine was cut off between file and row; the comparison of quarantine reports it.
            Ok(None) if self.is_in_quarantine(&row.path)? => return Ok(Presence::There),
            Ok(None) => return Ok(self.absence(row, report)),
            Err(error) => {
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
        match self.dimensions(&row.path) {
            Ok(Some(found)) if found != (row.width, row.height) => Ok(Presence::Resized(found)),
            Ok(_) => Ok(Presence::There),
            Err(error) => {
                self.tell_unreadable(&row.path, error, report)?;
                Ok(Presence::There)
            }
        }
    }

    /// Width and height of an image as browsers show it; `None` where the beginning of its file does not say them.
    fn dimensions(&self, path: &ImagePath) -> io::Result<Option<(u32, u32)>> {
        for length in HEADS {
            let head = self.store.read(path)?.take(length);
            if let Some(found) = image::size_of(&mut BufReader::new(head)) {
                return Ok(Some(found));
            }
        }
        Ok(None)
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
        missing: Vec<ImagePath>,
        report: &mut Report,
    ) -> Result<(), VerifyError> {
        let mut lost = Vec::with_capacity(missing.len());
        for path in missing {
            // A deletion removes the file first; by now the row may be gone too.
            if self.ledger.image(&path)?.is_some() {
                lost.push(path);
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
        resized: &[(ImageRow, (u32, u32))],
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

    fn handle_unknown(
        &mut self,
        unknown: &[ImagePath],
        report: &mut Report,
    ) -> Result<(), VerifyError> {
        let mut found = Vec::new();
        for path in unknown {
            // It may have been deleted since it was listed, or recorded since the rows were read.
            let stored = match self.store.stat(path) {
                Ok(Some(_)) if self.ledger.image(path)?.is_some() => continue,
                Ok(Some(stored)) => stored,
                Ok(None) => continue,
                Err(error) => {
                    self.tell_unreadable(path, error, report)?;
                    continue;
                }
            };
            if self.rebuild.is_none() {
                self.tell(
                    Subject::Image(path.clone()),
                    Difference::Unknown,
                    Err(None),
                    report,
                )?;
                continue;
            }
            match self.examine(path, stored, || self.store.read(path)) {
                Ok(image) => found.push(image),
                Err(error) => self.tell(
                    Subject::Image(path.clone()),
                    Difference::Unknown,
                    Err(Some(error)),
                    report,
                )?,
            }
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

    /// Makes the row of a file from what the file says.
    fn examine(
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

    /// The next row if it lies in `directory`.
    fn next_in(&mut self, directory: Directory) -> Result<Option<ImageRow>, LedgerError> {
        if self.page.as_slice().is_empty() {
            self.page = self.ledger.images(&self.filter)?.into_iter();
            if let Some(last) = self.page.as_slice().last() {
                self.filter.after = Some(last.path.clone());
            }
        }
        let next = self.page.as_slice().first();
        Ok(match next {
            Some(row) if row.path.directory() == directory => self.page.next(),
            _ => None,
        })
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
