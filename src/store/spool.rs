//! The spool file of an upload, and the directory of spool files.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use rustix::fs::{OFlags, StatVfsMountFlags};

use super::Space;
use crate::config::Durability;
use crate::expiry::Expiry;
use crate::timestamp::Timestamp;

/// A directory of spool files.
#[derive(Debug)]
pub(super) struct SpoolDirectory {
    path: PathBuf,
    durability: Durability,
    created: AtomicU64,
}

impl SpoolDirectory {
    /// The directory at `path`, which is not made.
    pub(super) const fn new(path: PathBuf, durability: Durability) -> Self {
        Self {
            path,
            durability,
            created: AtomicU64::new(0),
        }
    }

    /// A new file, which is deleted when it is dropped without having been published.
    pub(super) fn create(&self) -> io::Result<Spool> {
        let number = self.created.fetch_add(1, Ordering::Relaxed);
        // Process ids are reused after a restart, so an abandoned file may have the name; the next one is tried.
        (0..1_000_u32)
            .find_map(|attempt| {
                let name = format!("{}-{number}-{attempt}", std::process::id());
                let path = self.path.join(name);
                match Spool::create(path.clone(), self.durability) {
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => None,
                    Err(error) => {
                        let text = format!("{}: {error}", path.display());
                        Some(Err(io::Error::new(error.kind(), text)))
                    }
                    outcome => Some(outcome),
                }
            })
            .unwrap_or_else(|| Err(io::ErrorKind::AlreadyExists.into()))
    }

    /// Deletes files older than `before`, or only counts them.
    pub(super) fn clean(&self, before: Timestamp, dry_run: bool) -> io::Result<u64> {
        let entries = match fs::read_dir(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            entries => entries?,
        };
        let mut abandoned = 0;
        for entry in entries {
            let entry = entry?;
            match entry.metadata() {
                Ok(metadata) if metadata.is_file() && metadata.ctime() < before.0 => {}
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => continue,
            }
            if !dry_run {
                match fs::remove_file(entry.path()) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
            abandoned += 1;
        }
        Ok(abandoned)
    }

    /// The space that is left. An error on a read-only file system.
    pub(super) fn space(&self) -> io::Result<Space> {
        let file_system = rustix::fs::statvfs(&self.path)?;
        if file_system.f_flag.contains(StatVfsMountFlags::RDONLY) {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        Ok(Space {
            free_bytes: Some(file_system.f_bavail.saturating_mul(file_system.f_frsize)),
            free_files: (file_system.f_files > 0).then_some(file_system.f_favail),
        })
    }
}

/// Whether the file is synced, and with which expiry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Prepared {
    No,
    With(Option<Expiry>),
}

/// The bytes of an upload. Its file is deleted on drop unless it was published.
#[derive(Debug)]
pub(crate) struct Spool {
    file: File,
    path: PathBuf,
    size: u64,
    durability: Durability,
    prepared: Prepared,
    published: bool,
}

impl Spool {
    fn create(path: PathBuf, durability: Durability) -> io::Result<Self> {
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
            prepared: Prepared::No,
            published: false,
        })
    }

    /// Bytes written.
    pub(crate) const fn size(&self) -> u64 {
        self.size
    }

    /// Whether the bytes have to be synced.
    pub(crate) fn needs_sync(&self) -> bool {
        self.durability == Durability::Full
    }

    /// The file, opened to be read from the beginning.
    pub(crate) fn reader(&self) -> io::Result<File> {
        File::open(&self.path)
    }

    /// All of its bytes.
    pub(crate) fn bytes(&self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(self.size).map_err(io::Error::other)?];
        self.file.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    }

    /// The bytes written so far, from `offset`.
    pub(crate) fn reader_at(&self, offset: u64) -> impl Read + use<'_> {
        ReaderAt {
            file: &self.file,
            offset,
        }
    }

    /// Writes over bytes that were written before.
    pub(crate) fn overwrite(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    /// Drops the bytes behind the first `size`.
    pub(crate) fn truncate(&mut self, size: u64) -> io::Result<()> {
        self.file.set_len(size)?;
        self.size = size;
        Ok(())
    }

    /// Sets the modification time. Publishing replaces it by that of the expiry, except for a lifetime image.
    pub(crate) fn set_modified(&self, at: Timestamp) -> io::Result<()> {
        let seconds = u64::try_from(at.0).unwrap_or(0);
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        self.file.set_modified(time)
    }

    /// Sets the modification time that `expiry` stands for.
    pub(super) fn set_expiry(&self, expiry: Option<Expiry>) -> io::Result<()> {
        match expiry {
            // The last second before the image expires.
            Some(expiry) => self.set_modified(expiry.instant().minus(1)),
            None => Ok(()),
        }
    }

    /// Sets the modification time that `expiry` stands for, and syncs the file. Does nothing if both are done.
    pub(super) fn prepare(&mut self, expiry: Option<Expiry>) -> io::Result<()> {
        if self.prepared == Prepared::With(expiry) {
            return Ok(());
        }
        self.set_expiry(expiry)?;
        if self.durability == Durability::Full {
            self.file.sync_all()?;
        }
        self.prepared = Prepared::With(expiry);
        Ok(())
    }

    /// Where the file is until it is published.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Keeps the file on drop: it was renamed to its path.
    pub(super) const fn set_published(&mut self) {
        self.published = true;
    }
}

struct ReaderAt<'a> {
    file: &'a File,
    offset: u64,
}

impl Read for ReaderAt<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(out, self.offset)?;
        self.offset += read as u64;
        Ok(read)
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
            // The sweep deletes a file that cannot be deleted now.
            let _ = fs::remove_file(&self.path);
        }
    }
}
