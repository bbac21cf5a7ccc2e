//! A directory that nginx serves: `<docroot>/p/<class>/<day>/<name>.<ext>`, with `<docroot>/.spool/` for uploads on their way.
//!
//! The modification time of an image that expires is the last second of its life. nginx derives `Expires` and `max-age` from
//! it, and it survives the loss of the ledger.

mod group_sync;

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{
    AtFlags, CWD, Mode, OFlags, RenameFlags, Timespec, Timestamps, UTIME_OMIT, renameat_with,
    statat, unlinkat,
};
use rustix::io::Errno;

use super::{Publication, PublishError, Spool, Store, Stored, copy_of};
use crate::config::Durability;
use crate::image_path::{DayName, IMAGE_ROOT, ImagePath, class_of};
use crate::plan::{Expiry, StoreDuration};
use group_sync::GroupSync;

/// The directory of the docroot for uploads on their way. nginx serves nothing below it.
pub const SPOOL: &str = ".spool";

/// How often a day directory is made again when a sweep removes it between its making and its use.
const DIRECTORY_TRIES: u32 = 3;

/// Images in a docroot.
#[derive(Debug)]
pub struct Docroot {
    root: PathBuf,
    durability: Durability,
    /// `None` where nothing is synced, or where each file has to be on its own.
    group_sync: Option<GroupSync>,
    spooled: AtomicU64,
}

impl Docroot {
    /// The docroot at `root`, which must exist; makes the directories inside it that are missing.
    pub fn open(root: &Path, durability: Durability) -> io::Result<Self> {
        let docroot = Self::at(root, durability);
        for directory in [SPOOL, IMAGE_ROOT] {
            let directory = docroot.root.join(directory);
            // Only the service itself looks into the spool; nginx needs the images.
            let mode = if directory.ends_with(SPOOL) {
                0o700
            } else {
                0o755
            };
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
        Ok(docroot)
    }

    /// The docroot at `root`, as a responder left it. A directory without the ones inside it is rather a disk that is not mounted,
    /// whose images must not be taken for lost.
    pub fn open_existing(root: &Path, durability: Durability) -> io::Result<Self> {
        for directory in [SPOOL, IMAGE_ROOT] {
            let directory = root.join(directory);
            fs::metadata(&directory).map_err(|error| {
                io::Error::new(
                    error.kind(),
                    format!("{}: {error}; is the disk mounted?", directory.display()),
                )
            })?;
        }
        Ok(Self::at(root, durability))
    }

    fn at(root: &Path, durability: Durability) -> Self {
        Self {
            root: root.to_owned(),
            durability,
            group_sync: match durability {
                Durability::Full => GroupSync::of(root),
                Durability::Relaxed => None,
            },
            spooled: AtomicU64::new(0),
        }
    }

    /// The same docroot on a file system that cannot be synced as a whole, though it looked like it.
    #[cfg(test)]
    pub(crate) fn whose_group_sync_fails(self) -> Self {
        let group_sync = Some(GroupSync::that_fails());
        Self { group_sync, ..self }
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        match self.durability {
            Durability::Full => File::open(directory)?.sync_all(),
            Durability::Relaxed => Ok(()),
        }
    }

    /// Makes the directory of a class and a day, and the entry of each on disk.
    fn make_directory(&self, directory: &Path) -> io::Result<()> {
        let parent = directory.parent().unwrap_or(&self.root);
        let make = |directory| match DirBuilder::new().mode(0o755).create(directory) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other,
        };
        match make(directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                make(parent)?;
                self.sync_directory(parent.parent().unwrap_or(&self.root))?;
                make(directory)?;
            }
            other => other?,
        }
        self.sync_directory(parent)
    }

    /// Renames into place, making the directory where it is missing.
    fn place(
        &self,
        spool: &mut Spool,
        path: &ImagePath,
        expiry: Option<Expiry>,
    ) -> Result<(), PublishError> {
        // Nothing is left to do unless midnight came between.
        spool.seal(expiry).map_err(PublishError::Image)?;
        let target = path.below(&self.root);
        let mut tries = 0;
        loop {
            match rename_exclusive(spool.path(), &target) {
                Err(error)
                    if error.kind() == io::ErrorKind::NotFound && tries < DIRECTORY_TRIES =>
                {
                    self.make_directory(&self.directory(path.directory()))
                        .map_err(PublishError::Directory)?;
                    tries += 1;
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    return Err(PublishError::NameTaken);
                }
                Err(error) => return Err(PublishError::Image(error)),
                Ok(()) => {
                    spool.published();
                    return Ok(());
                }
            }
        }
    }

    /// After a failed sync nobody knows what is on disk; the upload is refused, so its file must not stay.
    fn take_back(&self, path: &ImagePath, error: io::Error) -> PublishError {
        let _ = fs::remove_file(path.below(&self.root));
        PublishError::Directory(error)
    }

    /// Where the directory `name` is: one of a class, or of a class and a day.
    fn directory(&self, name: &str) -> PathBuf {
        self.root.join(IMAGE_ROOT).join(name)
    }
}

impl Store for Docroot {
    fn spool(&self) -> io::Result<Spool> {
        let number = self.spooled.fetch_add(1, Ordering::Relaxed);
        // A process id comes back after a restart, so the name of an abandoned file may too: it is passed over.
        (0..1_000_u32)
            .find_map(|attempt| {
                let name = format!("{}-{number}-{attempt}", std::process::id());
                match Spool::create(self.root.join(SPOOL).join(name), self.durability) {
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => None,
                    outcome => Some(outcome),
                }
            })
            .unwrap_or_else(|| Err(io::ErrorKind::AlreadyExists.into()))
    }

    fn publish(
        &self,
        spool: &mut Spool,
        path: &ImagePath,
        expiry: Option<Expiry>,
    ) -> Result<(), PublishError> {
        self.place(spool, path, expiry)?;
        self.sync_directory(&self.directory(path.directory()))
            .map_err(|error| self.take_back(path, error))
    }

    fn can_seal_together(&self) -> bool {
        self.group_sync.is_some()
    }

    fn seals_together(&self) -> bool {
        self.group_sync.as_ref().is_some_and(GroupSync::is_open)
    }

    fn seal_together(&self, uploads: &mut [(&mut Spool, Option<Expiry>)]) -> io::Result<()> {
        let Some(group_sync) = &self.group_sync else {
            return uploads
                .iter_mut()
                .try_for_each(|(spool, expiry)| spool.seal(*expiry));
        };
        for (spool, expiry) in &*uploads {
            spool.mark(*expiry)?;
        }
        group_sync.sync()?;
        for (spool, expiry) in uploads {
            spool.sealed_with(*expiry);
        }
        Ok(())
    }

    fn publish_together(&self, uploads: &mut [Publication<'_>]) -> Vec<Result<(), PublishError>> {
        let mut outcomes: Vec<_> = uploads
            .iter_mut()
            .map(|upload| self.place(upload.spool, upload.path, upload.expiry))
            .collect();
        let mut directories: BTreeMap<&str, io::Result<()>> = BTreeMap::new();
        for (upload, outcome) in uploads.iter().zip(&mut outcomes) {
            if outcome.is_err() {
                continue;
            }
            let synced = directories
                .entry(upload.path.directory())
                .or_insert_with(|| self.sync_directory(&self.directory(upload.path.directory())));
            if let Err(error) = synced {
                *outcome = Err(self.take_back(upload.path, copy_of(error)));
            }
        }
        outcomes
    }

    fn delete(&self, paths: &[ImagePath]) -> Vec<io::Result<u64>> {
        let mut directories: BTreeMap<&str, io::Result<()>> = BTreeMap::new();
        let mut outcomes = Vec::with_capacity(paths.len());
        // Expired images come sorted by directory: each is looked up once, not once for every image.
        for paths in paths.chunk_by(|one, next| one.directory() == next.directory()) {
            let name = paths[0].directory();
            let directory = open_directory(&self.directory(name));
            for path in paths {
                let outcome = match &directory {
                    Ok(directory) => delete_from(directory, path.file_name()),
                    Err(error) => Err(*error),
                };
                outcomes.push(match outcome {
                    Ok(size) => {
                        directories.insert(name, Ok(()));
                        Ok(size)
                    }
                    Err(Errno::NOENT) => Ok(0),
                    Err(error) => Err(error.into()),
                });
            }
        }
        for (directory, synced) in &mut directories {
            let directory = self.directory(directory);
            *synced = match self.sync_directory(&directory) {
                // A sweep removed it, which it only does when it is empty: now it is the parent that has to be on disk.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    self.sync_directory(directory.parent().unwrap_or(&self.root))
                }
                other => other,
            };
        }
        for (path, outcome) in paths.iter().zip(&mut outcomes) {
            if let (Ok(_), Some(Err(error))) = (&*outcome, directories.get(path.directory())) {
                *outcome = Err(copy_of(error));
            }
        }
        outcomes
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let usage = rustix::fs::statvfs(&self.root)?;
        Ok(usage.f_bavail.saturating_mul(usage.f_frsize))
    }

    fn free_files(&self) -> io::Result<Option<u64>> {
        let usage = rustix::fs::statvfs(&self.root)?;
        Ok((usage.f_files > 0).then_some(usage.f_favail))
    }

    fn list(&self, directory: &str) -> io::Result<Vec<ImagePath>> {
        let entries = entries(&self.directory(directory))?;
        // What is not named like an image was not put there by this program, and is left alone.
        entries
            .map(|entry| {
                Ok(format!("{directory}/{}", entry?.file_name().display())
                    .parse()
                    .ok())
            })
            .filter_map(Result::transpose)
            .collect()
    }

    fn placed_at(&self, path: &ImagePath) -> io::Result<Option<i64>> {
        match fs::symlink_metadata(path.below(&self.root)) {
            // A rename sets the change time; the modification time says when the image expires.
            Ok(metadata) => Ok(Some(metadata.ctime())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn stat(&self, path: &ImagePath) -> io::Result<Option<Stored>> {
        let metadata = match fs::symlink_metadata(path.below(&self.root)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        if !metadata.is_file() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "it is not a file",
            ));
        }
        Ok(Some(Stored {
            size: metadata.len(),
            expires_at: metadata.mtime().saturating_add(1),
            placed_at: metadata.ctime(),
        }))
    }

    fn read(&self, path: &ImagePath) -> io::Result<Box<dyn Read>> {
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
            .open(path.below(&self.root))?;
        Ok(Box::new(file))
    }

    fn mark(&self, path: &ImagePath, expiry: Expiry) -> io::Result<()> {
        let times = Timestamps {
            last_access: Timespec {
                tv_sec: 0,
                tv_nsec: UTIME_OMIT,
            },
            last_modification: Timespec {
                tv_sec: expiry.instant() - 1,
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

    fn delete_abandoned(&self, before: i64, dry_run: bool) -> io::Result<u64> {
        let mut abandoned = 0;
        for entry in entries(&self.root.join(SPOOL))? {
            let entry = entry?;
            match entry.metadata() {
                Ok(metadata) if metadata.is_file() && metadata.ctime() < before => {}
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => continue,
            }
            if !dry_run {
                remove_if_there(&entry.path())?;
            }
            abandoned += 1;
        }
        Ok(abandoned)
    }

    fn delete_empty_directories(&self, kept: &[String]) -> io::Result<u64> {
        let mut deleted = 0;
        for class in StoreDuration::ALL.map(class_of) {
            for entry in entries(&self.directory(class))? {
                let entry = entry?;
                let name = entry.file_name();
                let Some(day) = name.to_str().filter(|day| DayName::is_valid(day)) else {
                    continue;
                };
                if !kept.contains(&format!("{class}/{day}")) && fs::remove_dir(entry.path()).is_ok()
                {
                    deleted += 1;
                }
            }
        }
        Ok(deleted)
    }
}

fn open_directory(directory: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(directory, flags, Mode::empty())
}

/// Deletes a file; gives its size.
fn delete_from(directory: &OwnedFd, name: &str) -> Result<u64, Errno> {
    let size = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?.st_size;
    unlinkat(directory, name, AtFlags::empty())?;
    Ok(u64::try_from(size).unwrap_or(0))
}

/// The entries of a directory; none if it is not there.
fn entries(directory: &Path) -> io::Result<impl Iterator<Item = io::Result<fs::DirEntry>> + use<>> {
    match fs::read_dir(directory) {
        Ok(entries) => Ok(Some(entries).into_iter().flatten()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None.into_iter().flatten()),
        Err(error) => Err(error),
    }
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Renames without replacing. File systems that know no such rename get a link and an unlink.
pub(crate) fn rename_exclusive(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
            fs::hard_link(from, to)?;
            fs::remove_file(from)
        }
        other => Ok(other?),
    }
}

#[cfg(test)]
mod tests;
