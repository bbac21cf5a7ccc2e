//! The directory `p/.quarantine` of a docroot. nginx serves only the names of images below `/p/`, its workers cannot enter the
//! directory, and copies of the images take it along.
//!
//! It is flat, with a `-` for each slash of a path: `l-ap5-AbCdEf.png`.

use std::collections::HashSet;
use std::fs::DirBuilder;
use std::io::{self, Read};
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

use super::{
    DIRECTORY_TRIES, Docroot, copy_of, entries, open_image, remove_if_exists, rename_exclusive,
    stat_image,
};
use crate::image_path::{IMAGE_ROOT, ImagePath};
use crate::store::{Publication, PublishError, Quarantine, Store, Stored};

/// The directory below `p`.
const NAME: &str = ".quarantine";

impl Docroot {
    fn quarantine_directory(&self) -> PathBuf {
        self.root.join(IMAGE_ROOT).join(NAME)
    }

    /// The file of an image in quarantine.
    fn quarantined_file(&self, path: &ImagePath) -> PathBuf {
        self.quarantine_directory()
            .join(path.as_str().replace('/', "-"))
    }

    /// Makes the directory, which only the account of the service can enter.
    fn make_quarantine(&self) -> io::Result<()> {
        match DirBuilder::new()
            .mode(0o700)
            .create(self.quarantine_directory())
        {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error),
            Ok(()) => self.sync_directory(&self.root.join(IMAGE_ROOT)),
        }
    }

    fn move_out(&self, path: &ImagePath) -> io::Result<bool> {
        let served = path.below(&self.root);
        match rename_exclusive(&served, &self.quarantined_file(path)) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            // A docroot that was copied back from a backup has it again.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                remove_if_exists(&served).map(|()| true)
            }
            Err(error) => Err(error),
        }
    }

    /// Syncs the directory of quarantine, and each directory that an image was moved out of.
    fn sync_moved<'a>(&self, moved: impl Iterator<Item = &'a ImagePath>) -> io::Result<()> {
        let directories: HashSet<_> = moved.map(ImagePath::directory).collect();
        if directories.is_empty() {
            return Ok(());
        }
        self.sync_directory(&self.quarantine_directory())?;
        for directory in directories {
            match self.sync_directory(&directory.below(&self.root)) {
                // A sweep removed the directory, which was empty.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => other?,
            }
        }
        Ok(())
    }
}

impl Quarantine for Docroot {
    fn quarantine(&self, paths: &[ImagePath]) -> Vec<io::Result<bool>> {
        // The bytes first: until the next checkpoint, those of a small upload may be durable in the write-ahead log only.
        let prepared = self.make_quarantine().and_then(|()| self.sync(paths));
        if let Err(error) = prepared {
            return paths.iter().map(|_| Err(copy_of(&error))).collect();
        }
        let mut outcomes: Vec<_> = paths.iter().map(|path| self.move_out(path)).collect();
        let moved = paths
            .iter()
            .zip(&outcomes)
            .filter(|(_, outcome)| matches!(outcome, Ok(true)))
            .map(|(path, _)| path);
        if let Err(error) = self.sync_moved(moved) {
            for outcome in &mut outcomes {
                if matches!(outcome, Ok(true)) {
                    *outcome = Err(copy_of(&error));
                }
            }
        }
        outcomes
    }

    fn publish_quarantined(&self, upload: Publication<'_>) -> Result<(), PublishError> {
        self.make_quarantine().map_err(PublishError::Directory)?;
        let prepared = upload.spool.prepare(upload.expiry);
        prepared.map_err(PublishError::Image)?;
        match rename_exclusive(upload.spool.path(), &self.quarantined_file(upload.path)) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(PublishError::NameTaken);
            }
            renamed => renamed.map_err(PublishError::Image)?,
        }
        upload.spool.set_published();
        self.sync_directory(&self.quarantine_directory())
            .map_err(PublishError::Directory)
    }

    fn release(&self, path: &ImagePath) -> io::Result<bool> {
        let from = self.quarantined_file(path);
        let to = path.below(&self.root);
        for _ in 0..DIRECTORY_TRIES {
            if self.stat_quarantined(path)?.is_none() {
                return Ok(false);
            }
            self.make_directory(path.directory())?;
            match rename_exclusive(&from, &to) {
                // A sweep removed the directory, which was empty.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                moved => {
                    moved?;
                    self.sync_directory(&path.directory().below(&self.root))?;
                    self.sync_directory(&self.quarantine_directory())?;
                    return Ok(true);
                }
            }
        }
        Err(io::ErrorKind::NotFound.into())
    }

    fn quarantined(&self) -> io::Result<Vec<ImagePath>> {
        entries(&self.quarantine_directory())?
            .map(|entry| {
                let name = entry?.file_name().display().to_string();
                Ok(name.replace('-', "/").parse().ok())
            })
            .filter_map(Result::transpose)
            .collect()
    }

    fn stat_quarantined(&self, path: &ImagePath) -> io::Result<Option<Stored>> {
        stat_image(&self.quarantined_file(path))
    }

    fn read_quarantined(&self, path: &ImagePath) -> io::Result<Box<dyn Read>> {
        Ok(Box::new(open_image(&self.quarantined_file(path))?))
    }

    fn delete_quarantined(&self, path: &ImagePath) -> io::Result<()> {
        remove_if_exists(&self.quarantined_file(path))?;
        match self.sync_directory(&self.quarantine_directory()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }
}
