//! What a verification finds: one difference after the other, and their counts.

use std::fmt;

use crate::image_path::ImagePath;
use crate::ledger::StorageUse;
use crate::timestamp::Timestamp;

/// What a difference is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Subject {
    /// An image.
    Image(ImagePath),
    /// A client, by its id.
    Client(String),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Image(path) => path.fmt(f),
            Self::Client(id) => id.fmt(f),
        }
    }
}

/// How ledger and store differ in one image, or the ledger in one client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Difference {
    /// A row without a file.
    Missing,
    /// A file without a row.
    Unknown,
    /// A file whose size differs from its row: it was damaged or replaced.
    Size {
        /// Bytes by the ledger.
        recorded: u64,
        /// Bytes in the docroot.
        found: u64,
    },
    /// An image that is shown with another width and height than its row says, in pixels.
    Dimensions {
        /// In the ledger.
        recorded: (u32, u32),
        /// As browsers show the file.
        found: (u32, u32),
    },
    /// A file whose modification time differs from the expiry of its row, so that nginx sends a wrong `Expires`.
    Time {
        /// Expiry in the ledger.
        recorded: Timestamp,
        /// Expiry of the file.
        found: Timestamp,
    },
    /// A row and a file of which only one is in quarantine.
    Quarantine {
        /// Whether that is the row, while the file is served.
        is_served: bool,
    },
    /// A file that cannot be read.
    Unreadable,
    /// A client whose count of what it has stored differs from the rows of its images.
    Storage {
        /// What is counted.
        recorded: StorageUse,
        /// What the rows amount to.
        found: StorageUse,
    },
}

impl Difference {
    /// One word for it, as `verify` prints it.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Unknown => "unknown",
            Self::Size { .. } => "size",
            Self::Dimensions { .. } => "dimensions",
            Self::Time { .. } => "time",
            Self::Quarantine { .. } => "quarantine",
            Self::Unreadable => "unreadable",
            Self::Storage { .. } => "storage",
        }
    }
}

/// A difference, and whether it was repaired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// The image or the client.
    pub subject: Subject,
    /// How it differs.
    pub difference: Difference,
    /// Whether it was repaired.
    pub repaired: bool,
    /// Why it could not be read or repaired, if that was tried.
    pub cause: Option<String>,
}

/// What a verification has found so far.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Report {
    /// Rows compared.
    pub images: u64,
    /// Bytes of their files.
    pub bytes: u64,
    /// Directories compared, of [`Directory::COUNT`].
    pub directories: u64,
    /// Rows without files that are too young to count as missing: uploads that are being committed.
    pub pending: u64,
    /// Rows without files.
    pub missing: u64,
    /// Files without rows.
    pub unknown: u64,
    /// Files whose size differs from their rows.
    pub sizes: u64,
    /// Images whose width and height differ from their rows.
    pub dimensions: u64,
    /// Files whose modification time differs from the expiry of their rows.
    pub times: u64,
    /// Images of which row or file is in quarantine, and not the other.
    pub quarantine: u64,
    /// Files that could not be read.
    pub unreadable: u64,
    /// Clients whose count of what they have stored differs from the rows of their images.
    pub storage: u64,
    /// How many of these differences were repaired.
    pub repaired: u64,
}

impl Report {
    /// Differences that were not repaired.
    pub(crate) const fn remaining(&self) -> u64 {
        let found = self.missing
            + self.unknown
            + self.sizes
            + self.dimensions
            + self.times
            + self.quarantine
            + self.unreadable
            + self.storage;
        found - self.repaired
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.difference.name(), self.subject)?;
        match &self.difference {
            Difference::Size { recorded, found } => {
                write!(f, ": {found} bytes, {recorded} by the ledger")?;
            }
            Difference::Dimensions { recorded, found } => {
                write!(
                    f,
                    ": {} × {} pixels, {} × {} by the ledger",
                    found.0, found.1, recorded.0, recorded.1
                )?;
            }
            Difference::Time { recorded, found } => {
                write!(f, ": expires {:+} s off its row", found.minus(recorded.0).0)?;
            }
            Difference::Storage { recorded, found } => {
                write!(
                    f,
                    ": {} images of {} bytes, {} of {} bytes by the count",
                    found.images, found.bytes, recorded.images, recorded.bytes
                )?;
            }
            Difference::Quarantine { is_served: true } => {
                f.write_str(": it is served, and its row is in quarantine")?;
            }
            Difference::Quarantine { is_served: false } => {
                f.write_str(": its file is in quarantine, and its row is not")?;
            }
            Difference::Missing | Difference::Unknown | Difference::Unreadable => {}
        }
        match (&self.cause, self.repaired) {
            (Some(cause), _) => write!(f, ": {cause}"),
            (None, true) => f.write_str(" (repaired)"),
            (None, false) => Ok(()),
        }
    }
}
