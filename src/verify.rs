//! Verification: does the docroot hold what the ledger says, and does the ledger know what the docroot holds?
//!
//! It can run beside uploads, sweeps and other verifications. One directory is compared at a time, so memory follows the images of
//! one class and day, not those of the site. Nothing is ever deleted from the docroot: a damaged image is reported, and what nobody
//! knows may be all that is left of an earlier ledger.

use std::fmt;
use std::io::{self, BufReader};

use time::UtcDateTime;

use crate::image;
use crate::image_path::{ImagePath, directories};
use crate::ledger::{FoundImage, ImageFilter, ImageRow, Ledger, LedgerError};
use crate::plan::{Expiry, StoreDuration};
use crate::store::{Store, Stored};
use crate::sweep::MISSING_AFTER;

/// The client that images get whose client is not known any more.
pub const RECOVERED: &str = "recovered";

/// Rows of one page, and images of one transaction.
const BATCH: u32 = 1_000;

/// Bytes that the image check reads at once.
const INSPECTION_BUFFER: usize = 64 * 1024;

/// What was accepted once is an image still, whatever the limits are now.
const NO_LIMITS: image::Limits = image::Limits {
    max_side: u32::MAX,
    max_megapixels: u32::MAX,
};

/// How ledger and docroot differ in one image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// A row whose file is not there.
    Missing,
    /// A file that no row knows.
    Unknown,
    /// A file that is not as long as its row says: it was damaged or replaced.
    Size {
        /// Bytes by the ledger.
        recorded: u64,
        /// Bytes in the docroot.
        found: u64,
    },
    /// A file whose modification time does not say when its row expires, so that nginx sends a wrong `Expires`.
    Time {
        /// The end of its life by the ledger, in Unix seconds.
        recorded: i64,
        /// The end of its life by the file, in Unix seconds.
        found: i64,
    },
    /// A file that cannot be looked at.
    Unreadable,
}

impl Difference {
    /// One word for it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Unknown => "unknown",
            Self::Size { .. } => "size",
            Self::Time { .. } => "time",
            Self::Unreadable => "unreadable",
        }
    }
}

/// A difference, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The image.
    pub path: ImagePath,
    /// How it differs.
    pub difference: Difference,
    /// Whether ledger and docroot agree about it now.
    pub mended: bool,
    /// Why it could not be looked at or mended, where that was tried.
    pub cause: Option<String>,
}

/// What a verification found so far.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// Rows that were compared.
    pub images: u64,
    /// Bytes of the files that were there.
    pub bytes: u64,
    /// Directories that were compared, of [`directories`].
    pub directories: u64,
    /// Rows that are too young to miss their files: uploads on their way.
    pub pending: u64,
    /// Rows whose files are not there.
    pub missing: u64,
    /// Files that no row knows.
    pub unknown: u64,
    /// Files of another size than their rows say.
    pub sizes: u64,
    /// Files whose modification times do not say when they expire.
    pub times: u64,
    /// Files that could not be looked at.
    pub unreadable: u64,
    /// How many of these differences are gone again.
    pub mended: u64,
}

impl Report {
    /// Differences that are still there.
    pub const fn remaining(&self) -> u64 {
        let found = self.missing + self.unknown + self.sizes + self.times + self.unreadable;
        found - self.mended
    }
}

/// Why a verification could not go on.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The ledger failed.
    #[error("{0}")]
    Ledger(#[from] LedgerError),
    /// The docroot failed.
    #[error("the docroot failed: {0}")]
    Store(#[source] io::Error),
    /// A finding could not be told.
    #[error("the findings could not be written: {0}")]
    Told(#[source] io::Error),
}

/// One verification.
pub struct Verification<'a> {
    /// The rows.
    pub ledger: &'a dyn Ledger,
    /// The files.
    pub store: &'a dyn Store,
    /// The instant that decides which rows are too young.
    pub now: UtcDateTime,
    /// Withdraw rows without files, and mark files with the expiry of their rows.
    pub repair: bool,
    /// Give files without rows new ones, as images of [`RECOVERED`], a client of this plan.
    pub rebuild: Option<&'a str>,
    /// Called for each difference.
    pub tell: &'a mut dyn FnMut(&Finding) -> io::Result<()>,
    /// Called after each batch with what was found so far.
    pub progress: &'a dyn Fn(&Report),
}

impl Verification<'_> {
    /// Compares everything.
    pub fn run(&mut self) -> Result<Report, VerifyError> {
        let mut report = Report::default();
        for directory in directories() {
            self.compare_directory(&directory, &mut report)?;
            report.directories += 1;
            (self.progress)(&report);
        }
        Ok(report)
    }

    /// Goes through the rows and the files of one directory in the order of their paths, like a merge of two sorted lists.
    fn compare_directory(
        &mut self,
        directory: &str,
        report: &mut Report,
    ) -> Result<(), VerifyError> {
        let mut files = self.store.list(directory).map_err(VerifyError::Store)?;
        files.sort_unstable();
        let mut files = files.into_iter().peekable();
        let mut filter = ImageFilter {
            directory: Some(directory.to_owned()),
            limit: BATCH,
            ..ImageFilter::default()
        };
        loop {
            let rows = self.ledger.images(&filter)?;
            let mut missing = Vec::new();
            let mut unknown = Vec::new();
            for row in &rows {
                while let Some(file) = files.next_if(|file| *file < row.path) {
                    unknown.push(file);
                }
                // Looked up whether it was listed or not: it may have come since.
                let _ = files.next_if_eq(&row.path);
                if self.compare(row, report)? == Presence::Missing {
                    missing.push(row.path.clone());
                }
            }
            let Some(last) = rows.into_iter().last() else {
                break;
            };
            filter.after = Some(last.path);
            self.handle_missing(missing, report)?;
            self.handle_unknown(&unknown, report)?;
            (self.progress)(report);
        }
        let rest: Vec<_> = files.collect();
        for unknown in rest.chunks(BATCH as usize) {
            self.handle_unknown(unknown, report)?;
            (self.progress)(report);
        }
        Ok(())
    }

    /// Compares a row with its file, if that is there.
    fn compare(&mut self, row: &ImageRow, report: &mut Report) -> Result<Presence, VerifyError> {
        report.images += 1;
        let stored = match self.store.stat(&row.path) {
            Ok(Some(stored)) => stored,
            Ok(None) => return Ok(self.absence(row, report)),
            Err(error) => {
                self.tell(&row.path, Difference::Unreadable, Err(Some(error)), report)?;
                return Ok(Presence::There);
            }
        };
        report.bytes += stored.size;
        if stored.size != row.size {
            let difference = Difference::Size {
                recorded: row.size,
                found: stored.size,
            };
            self.tell(&row.path, difference, Err(None), report)?;
        }
        if let Some(recorded) = row.expires_at
            && recorded != stored.expires_at
        {
            let difference = Difference::Time {
                recorded,
                found: stored.expires_at,
            };
            let outcome = self.mark(&row.path, recorded);
            self.tell(&row.path, difference, outcome, report)?;
        }
        Ok(Presence::There)
    }

    /// What it means that the file of a row is not there.
    fn absence(&self, row: &ImageRow, report: &mut Report) -> Presence {
        let now = self.now.unix_timestamp();
        if row.expires_at.is_some_and(|end| end <= now) {
            // A sweep deletes the file, then the row.
            Presence::Elsewhere
        } else if row.uploaded_at >= now - MISSING_AFTER {
            report.pending += 1;
            Presence::Elsewhere
        } else {
            Presence::Missing
        }
    }

    fn mark(&self, path: &ImagePath, recorded: i64) -> Outcome {
        if !self.repair {
            return Err(None);
        }
        let expiry = Expiry::from_instant(recorded).ok_or_else(|| {
            let text = format!("the ledger's expiry {recorded} is no midnight");
            Some(io::Error::new(io::ErrorKind::InvalidData, text))
        })?;
        self.store.mark(path, expiry).map_err(Some)
    }

    fn handle_missing(
        &mut self,
        missing: Vec<ImagePath>,
        report: &mut Report,
    ) -> Result<(), VerifyError> {
        let mut lost = Vec::with_capacity(missing.len());
        for path in missing {
            // Whoever deletes an image takes its file first; by now its row may be gone too.
            if self.ledger.image(&path)?.is_some() {
                lost.push(path);
            }
        }
        if self.repair && !lost.is_empty() {
            self.ledger.withdraw(&lost)?;
        }
        for path in lost {
            let outcome = if self.repair { Ok(()) } else { Err(None) };
            self.tell(&path, Difference::Missing, outcome, report)?;
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
            // Listed before the rows were read: it may have been deleted since, never recorded, for rows come before files.
            let stored = match self.store.stat(path) {
                Ok(Some(stored)) => stored,
                Ok(None) => continue,
                Err(error) => {
                    self.tell(path, Difference::Unreadable, Err(Some(error)), report)?;
                    continue;
                }
            };
            if self.rebuild.is_none() {
                self.tell(path, Difference::Unknown, Err(None), report)?;
                continue;
            }
            match self.examine(path, stored) {
                Ok(image) => found.push(image),
                Err(error) => self.tell(path, Difference::Unknown, Err(Some(error)), report)?,
            }
        }
        if let Some(plan) = self.rebuild.filter(|_| !found.is_empty()) {
            self.ledger.adopt(&found, RECOVERED, plan, self.now)?;
            for image in found {
                self.tell(&image.path, Difference::Unknown, Ok(()), report)?;
            }
        }
        Ok(())
    }

    /// Makes the row of a file from what the file says.
    fn examine(&self, path: &ImagePath, stored: Stored) -> io::Result<FoundImage> {
        let wrong = |text: String| io::Error::new(io::ErrorKind::InvalidData, text);
        let expires_at = if path.duration() == StoreDuration::Lifetime {
            None
        } else {
            let expiry = Expiry::from_instant(stored.expires_at).ok_or_else(|| {
                wrong("its modification time is no expiry; was it copied without times?".to_owned())
            })?;
            Some(expiry.instant())
        };
        let bytes = self.store.read(path)?;
        let inspected = image::inspect(
            &mut BufReader::with_capacity(INSPECTION_BUFFER, bytes),
            NO_LIMITS,
        )
        .map_err(|rejected| wrong(rejected.to_string()))?;
        if inspected.image_type != path.image_type() {
            return Err(wrong("its bytes are of another type".to_owned()));
        }
        Ok(FoundImage {
            path: path.clone(),
            size: stored.size,
            width: inspected.width,
            height: inspected.height,
            uploaded_at: stored.placed_at.min(self.now.unix_timestamp()),
            expires_at,
        })
    }

    fn tell(
        &mut self,
        path: &ImagePath,
        difference: Difference,
        outcome: Outcome,
        report: &mut Report,
    ) -> Result<(), VerifyError> {
        let count = match difference {
            Difference::Missing => &mut report.missing,
            Difference::Unknown => &mut report.unknown,
            Difference::Size { .. } => &mut report.sizes,
            Difference::Time { .. } => &mut report.times,
            Difference::Unreadable => &mut report.unreadable,
        };
        *count += 1;
        report.mended += u64::from(outcome.is_ok());
        let finding = Finding {
            path: path.clone(),
            difference,
            mended: outcome.is_ok(),
            cause: outcome.err().flatten().map(|error| error.to_string()),
        };
        (self.tell)(&finding).map_err(VerifyError::Told)
    }
}

/// Mended; or not, with the cause where it was tried.
type Outcome = Result<(), Option<io::Error>>;

/// Whether a row has its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Presence {
    There,
    /// On its way here or to its end.
    Elsewhere,
    Missing,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.difference.name(), self.path)?;
        match &self.difference {
            Difference::Size { recorded, found } => {
                write!(f, ": {found} bytes, {recorded} by the ledger")?;
            }
            Difference::Time { recorded, found } => {
                write!(
                    f,
                    ": expires {:+} s off its row",
                    found.saturating_sub(*recorded)
                )?;
            }
            Difference::Missing | Difference::Unknown | Difference::Unreadable => {}
        }
        match (&self.cause, self.mended) {
            (Some(cause), _) => write!(f, ": {cause}"),
            (None, true) => f.write_str(" (mended)"),
            (None, false) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
