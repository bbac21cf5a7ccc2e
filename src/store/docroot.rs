//! A directory that nginx serves: `<docroot>/p/<class>/<day>/<name>.<ext>`, with spool files in `<docroot>/.spool/`.
//!
//! The modification time of an image that expires is the last second before its expiry. nginx derives `Expires` and `max-age` from it,
//! and it survives the loss of the ledger.

mod identity_file;
mod listing;
mod quarantine;
mod sync;

use std::collections::HashMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, Mode, OFlags, RenameFlags, Timespec, Timestamps, UTIME_OMIT, renameat_with,
    unlinkat,
};
use rustix::io::Errno;

use self::listing::SortedImages;
use self::sync::FileSystem;
use super::spool::SpoolDirectory;
use super::{Cleaned, ImageList, Part, Publication, PublishError, Space, Spool, Store, Stored};
use crate::config::Durability;
use crate::expiry::{Expiry, StoreDuration};
use crate::identity::Identity;
use crate::image_path::{Directory, IMAGE_ROOT, ImagePath, class_of};
use crate::timestamp::Timestamp;

/// The directory of spool files inside the docroot. nginx serves nothing below it.
pub(crate) const SPOOL: &str = ".spool";

/// How often a day directory is made again when a sweep removes it before it is used.
const DIRECTORY_TRIES: u32 = 3;

/// Images in a docroot.
#[derive(Debug)]
pub(crate) struct Docroot {
    root: PathBuf,
    durability: Durability,
    spool: SpoolDirectory,
    /// `None` if files are synced one by one.
    file_system: Option<FileSystem>,
}

impl Docroot {
    /// The docroot at `root`, which must exist; makes the directories inside it that are missing.
    pub(crate) fn open(root: &Path, durability: Durability) -> io::Result<Self> {
        // nginx reads the images; only the service reads the spool.
        for (directory, mode) in [(SPOOL, 0o700), (IMAGE_ROOT, 0o755)] {
            let directory = root.join(directory);
            match DirBuilder::new().mode(mode).create(&directory) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(io::Error::new(
                        error.kind(),
                        format!("{}: {error}", directory.display()),
                    ));
                }
                _ => {}
            }
        }
        Ok(Self::at(root, durability))
    }

    /// The docroot at `root`, of which nothing is checked or made.
    pub(super) fn at(root: &Path, durability: Durability) -> Self {
        Self {
            root: root.to_owned(),
            durability,
            spool: SpoolDirectory::new(root.join(SPOOL), durability),
            file_system: FileSystem::of(root),
        }
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        match self.durability {
            Durability::Full => File::open(directory)?.sync_all(),
            Durability::Relaxed => Ok(()),
        }
    }

    /// Makes a day directory and its class directory, and syncs the parent of each.
    fn make_directory(&self, directory: Directory) -> io::Result<()> {
        let day = directory.below(&self.root);
        let class = day.parent().unwrap_or(&self.root);
        let make = |directory: &Path| match DirBuilder::new().mode(0o755).create(directory) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other,
        };
        match make(&day) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                make(class)?;
                self.sync_directory(class.parent().unwrap_or(&self.root))?;
                make(&day)?;
            }
            other => other?,
        }
        self.sync_directory(class)
    }

    /// Renames into place, making the directory if it is missing.
    fn rename(&self, upload: &mut Publication<'_>) -> Result<(), PublishError> {
        let target = upload.path.below(&self.root);
        let mut tries = 0;
        loop {
            match rename_exclusive(upload.spool.path(), &target) {
                Err(error)
                    if error.kind() == io::ErrorKind::NotFound && tries < DIRECTORY_TRIES =>
                {
                    self.make_directory(upload.path.directory())
                        .map_err(PublishError::Directory)?;
                    tries += 1;
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    return Err(PublishError::NameTaken);
                }
                Err(error) => return Err(PublishError::Image(error)),
                Ok(()) => {
                    upload.spool.set_published();
                    return Ok(());
                }
            }
        }
    }

    fn delete_empty_directories(&self, kept: &[Directory]) -> io::Result<u64> {
        let mut deleted = 0;
        for duration in StoreDuration::ALL {
            for entry in entries(&self.root.join(IMAGE_ROOT).join(class_of(duration)))? {
                let entry = entry?;
                let name = entry.file_name();
                let directory = name
                    .to_str()
                    .and_then(|name| Directory::named(duration, name));
                if directory.is_some_and(|directory| !kept.contains(&directory))
                    && fs::remove_dir(entry.path()).is_ok()
                {
                    deleted += 1;
                }
            }
        }
        Ok(deleted)
    }
}

impl Store for Docroot {
    fn place(&self) -> String {
        format!("docroot {}", self.root.display())
    }

    fn identity(&self) -> io::Result<Option<Identity>> {
        identity_file::read(&self.root.join(IMAGE_ROOT))
    }

    fn set_identity(&self, identity: Identity) -> io::Result<()> {
        identity_file::write(&self.root.join(IMAGE_ROOT), identity)
    }

    fn spool(&self) -> io::Result<Spool> {
        self.spool.create()
    }

    fn prepare(&self, uploads: &mut [(&mut Spool, Option<Expiry>)]) -> io::Result<()> {
        uploads
            .iter_mut()
            .try_for_each(|(spool, expiry)| spool.prepare(*expiry))
    }

    fn publish(&self, uploads: &mut [Publication<'_>]) -> Vec<Result<(), PublishError>> {
        let mut outcomes: Vec<_> = uploads
            .iter_mut()
            .map(|upload| {
                let prepared = upload.spool.prepare(upload.expiry);
                prepared.map_err(PublishError::Image)?;
                self.rename(upload)
            })
            .collect();
        let renamed = uploads.iter().zip(&outcomes);
        let mut synced: HashMap<_, _> = renamed
            .filter(|(_, outcome)| outcome.is_ok())
            .map(|(upload, _)| (upload.path.directory(), Ok(())))
            .collect();
        for (directory, outcome) in &mut synced {
            *outcome = self.sync_directory(&directory.below(&self.root));
        }
        for (upload, outcome) in uploads.iter().zip(&mut outcomes) {
            if let (Ok(()), Some(Err(error))) = (&*outcome, synced.get(&upload.path.directory())) {
                // After a failed sync it is unknown what is durable. The upload is refused, so its file must not stay.
                let _ = fs::remove_file(upload.path.below(&self.root));
                *outcome = Err(PublishError::Directory(copy_of(error)));
            }
        }
        outcomes
    }

    fn publish_unsynced(&self, mut upload: Publication<'_>) -> Result<(), PublishError> {
        let marked = upload.spool.set_expiry(upload.expiry);
        marked.map_err(PublishError::Image)?;
        self.rename(&mut upload)
    }

    fn sync(&self, paths: &[ImagePath]) -> io::Result<()> {
        let files: Vec<_> = paths.iter().map(|path| path.below(&self.root)).collect();
        sync::sync(self.file_system.as_ref(), &files)
    }

    fn delete(&self, paths: &[ImagePath]) -> Vec<io::Result<()>> {
        let mut outcomes = Vec::with_capacity(paths.len());
        // Expired images come sorted by directory, so each directory is opened and synced once.
        for paths in paths.chunk_by(|one, next| one.directory() == next.directory()) {
            let path = paths[0].directory().below(&self.root);
            let directory = open_directory(&path);
            let mut deleted: Vec<io::Result<()>> = paths
                .iter()
                .map(|path| match &directory {
                    Ok(directory) => Ok(unlinkat(directory, path.file_name(), AtFlags::empty())?),
                    Err(error) => Err((*error).into()),
                })
                .collect();
            let synced = if deleted.iter().any(Result::is_ok) {
                match self.sync_directory(&path) {
                    // A sweep removed the directory, which was empty; the entry to be made durable is now its parent's.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {
                        self.sync_directory(path.parent().unwrap_or(&self.root))
                    }
                    other => other,
                }
            } else {
                Ok(())
            };
            for outcome in &mut deleted {
                match (&*outcome, &synced) {
                    (Ok(()), Err(error)) => *outcome = Err(copy_of(error)),
                    (Err(error), _) if error.kind() == io::ErrorKind::NotFound => *outcome = Ok(()),
                    _ => {}
                }
            }
            outcomes.append(&mut deleted);
        }
        outcomes
    }

    fn list(&self, directory: Directory) -> io::Result<Vec<ImagePath>> {
        listing::images(&self.root, directory)?.collect()
    }

    fn listing(&self, directory: Directory) -> ImageList<'_> {
        Box::new(SortedImages::of(&self.root, directory))
    }

    fn stat(&self, path: &ImagePath) -> io::Result<Option<Stored>> {
        stat_image(&path.below(&self.root))
    }

    fn open(&self, path: &ImagePath, _: Part) -> io::Result<Option<(Stored, Box<dyn Read>)>> {
        let file = match open_image(&path.below(&self.root)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let stored = stored_of(&file.metadata()?)?;
        Ok(Some((stored, Box::new(file))))
    }

    fn set_expiry(&self, path: &ImagePath, expiry: Expiry) -> io::Result<()> {
        let times = Timestamps {
            last_access: Timespec {
                tv_sec: 0,
                tv_nsec: UTIME_OMIT,
            },
            last_modification: Timespec {
                tv_sec: expiry.instant().0 - 1,
                tv_nsec: 0,
            },
        };
        let target = path.below(&self.root);
        Ok(rustix::fs::utimensat(
            CWD,
            &target,
            &times,
            AtFlags::SYMLINK_NOFOLLOW,
        )?)
    }

    fn space(&self) -> io::Result<Space> {
        self.spool.space()
    }

    fn clean(&self, before: Timestamp, kept: &[Directory], dry_run: bool) -> io::Result<Cleaned> {
        Ok(Cleaned {
            abandoned: self.spool.clean(before, dry_run)?,
            directories: if dry_run {
                0
            } else {
                self.delete_empty_directories(kept)?
            },
        })
    }
}

fn stat_image(file: &Path) -> io::Result<Option<Stored>> {
    let metadata = match fs::symlink_metadata(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    stored_of(&metadata).map(Some)
}

fn stored_of(metadata: &fs::Metadata) -> io::Result<Stored> {
    if !metadata.is_file() {
        return Err(no_file());
    }
    Ok(Stored {
        size: metadata.len(),
        expires_at: Timestamp(metadata.mtime().saturating_add(1)),
        // The rename set the change time; the modification time is the expiry.
        published_at: Timestamp(metadata.ctime()),
    })
}

fn open_image(file: &Path) -> io::Result<File> {
    // A FIFO is not waited for.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(file);
    opened.map_err(|error| match error.raw_os_error() {
        Some(code) if code == Errno::LOOP.raw_os_error() => no_file(),
        _ => error,
    })
}

fn no_file() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "it is not a regular file")
}

fn open_directory(directory: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(directory, flags, Mode::empty())
}

/// The entries of a directory; none if it does not exist.
fn entries(directory: &Path) -> io::Result<impl Iterator<Item = io::Result<fs::DirEntry>> + use<>> {
    match fs::read_dir(directory) {
        Ok(entries) => Ok(Some(entries).into_iter().flatten()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None.into_iter().flatten()),
        Err(error) => Err(error),
    }
}

fn remove_if_exists(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Renames without replacing (renameat2(2), RENAME_NOREPLACE). File systems without that get a link and an unlink.
fn rename_exclusive(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
            fs::hard_link(from, to)?;
            fs::remove_file(from)
        }
        other => Ok(other?),
    }
}

/// The error again, for another image that it affects.
fn copy_of(error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), error.to_string())
}

#[cfg(test)]
mod tests;
