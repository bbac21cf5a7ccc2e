//! The bytes of an upload on their way into a docroot.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::OFlags;

use crate::config::Durability;
use crate::plan::Expiry;

/// Whether a file is on disk, and which expiry its modification time stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seal {
    Open,
    With(Option<Expiry>),
}

/// The bytes of an upload on their way. Dropped before it was published, it deletes its file.
#[derive(Debug)]
pub struct Spool {
    file: File,
    path: PathBuf,
    size: u64,
    durability: Durability,
    sealed: Seal,
    published: bool,
}

impl Spool {
    pub(super) fn create(path: PathBuf, durability: Durability) -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o644)
            .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
            .open(&path)?;
        Ok(Self {
            file,
            path,
            size: 0,
            durability,
            sealed: Seal::Open,
            published: false,
        })
    }

    /// Bytes written.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The file from its beginning.
    pub fn rewound(&mut self) -> io::Result<impl Read + '_> {
        self.file.seek(SeekFrom::Start(0))?;
        Ok(&self.file)
    }

    /// Sets the modification time that `expiry` stands for, and puts the file on disk. Does nothing when it is sealed so already.
    ///
    /// A sync that failed is not tried again, because the kernel may then report a success that it has not achieved.
    pub fn seal(&mut self, expiry: Option<Expiry>) -> io::Result<()> {
        if self.sealed == Seal::With(expiry) {
            return Ok(());
        }
        self.mark(expiry)?;
        if self.durability == Durability::Full {
            self.file.sync_all()?;
        }
        self.sealed_with(expiry);
        Ok(())
    }

    /// Sets the modification time that `expiry` stands for.
    pub(super) fn mark(&self, expiry: Option<Expiry>) -> io::Result<()> {
        match expiry {
            Some(expiry) => self.file.set_modified(modification_time(expiry)),
            None => Ok(()),
        }
    }

    /// Notes that the file is on disk, with the mark of `expiry`.
    pub(super) const fn sealed_with(&mut self, expiry: Option<Expiry>) {
        self.sealed = Seal::With(expiry);
    }

    /// Where the file is until it is published.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Notes that the file has got its name.
    pub(super) const fn published(&mut self) {
        self.published = true;
    }
}

impl Write for Spool {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        if !self.published {
            // What cannot be deleted now is deleted by the sweep.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// The last second of a life that ends with `expiry`.
fn modification_time(expiry: Expiry) -> SystemTime {
    let seconds = u64::try_from(expiry.instant() - 1).unwrap_or(0);
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}
