//! The store: where the bytes of images lie.
//!
//! [`Store`] is the second seam of the program; a directory that nginx serves or a bucket is behind it. An upload is written to a
//! [`Spool`], then prepared, then published under its path, so that an image is never visible in part.

mod docroot;
mod identity_document;
mod images;
mod quarantine;
#[cfg(feature = "s3")]
pub(crate) mod s3;
mod spool;

use std::fmt;
use std::io::{self, Read};

use time::UtcDateTime;

use crate::config::{Config, Durability};
use crate::error::Fault;
use crate::expiry::Expiry;
use crate::identity::Identity;
use crate::image_path::{Directory, ImagePath};
use crate::timestamp::Timestamp;
pub(crate) use docroot::{Docroot, SPOOL};
#[cfg(feature = "s3")]
pub(crate) use images::ListedObject;
pub(crate) use images::{ImageList, Images, Listed};
pub(crate) use quarantine::Quarantine;
pub(crate) use spool::Spool;

/// Why an upload was not published.
#[derive(Debug)]
pub(crate) enum PublishError {
    /// An image with that path exists.
    NameTaken,
    /// A directory could not be made or synced.
    Directory(io::Error),
    /// The image could not be synced or renamed.
    Image(io::Error),
}

impl From<PublishError> for Fault {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::NameTaken => Self::Internal("the image's path is taken".to_owned()),
            PublishError::Directory(error) => Self::directory(error),
            PublishError::Image(error) => Self::saving(error),
        }
    }
}

/// An image in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stored {
    /// Bytes.
    pub size: u64,
    /// When it expires by the store's own mark, which for a file is the second after its modification time, that of a lifetime image, too;
    /// [`NO_EXPIRY`] for an object without one.
    pub expires_at: Timestamp,
    /// When it was published.
    pub published_at: Timestamp,
}

/// Stands for a missing expiry. It is no midnight, so that `verify` reports it.
pub(crate) const NO_EXPIRY: Timestamp = Timestamp(1);

/// Requests that a command which goes through all images has under way at once. Where the store is a bucket, it is far away.
pub(crate) const CONNECTIONS: usize = 16;

/// How much of an image is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// So many bytes, of which no more is transferred unless more is read.
    First(u64),
    /// All of it.
    Whole,
}

/// The headers of a signed GET request for an object. They hold for some minutes.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct SignedRead {
    /// `X-Amz-Date`.
    pub date: String,
    /// `Authorization`. It has no `Debug`, so that no log can contain it.
    pub authorization: String,
}

/// An upload and its path.
#[derive(Debug)]
pub(crate) struct Publication<'a> {
    /// Its bytes.
    pub spool: &'a mut Spool,
    /// Its path.
    pub path: &'a ImagePath,
    /// When it expires; `None` for a lifetime image.
    pub expiry: Option<Expiry>,
}

/// What can still be written; `None` where there is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Space {
    /// Bytes.
    pub free_bytes: Option<u64>,
    /// Files.
    pub free_files: Option<u64>,
}

/// What [`Store::clean`] deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Cleaned {
    /// Spool files of uploads that were never published.
    pub abandoned: u64,
    /// Empty day directories.
    pub directories: u64,
}

/// Images by their paths, those that are served and those in [`Quarantine`]. Every verb may be called from any thread.
pub(crate) trait Store: Quarantine + fmt::Debug + Send + Sync {
    /// Names the store in messages, as [`place`] does.
    fn place(&self) -> String;

    /// The identity that the store shares with its ledger; `None` if it has none yet.
    fn identity(&self) -> io::Result<Option<Identity>>;

    /// Replaces the identity; durable when this returns.
    fn set_identity(&self, identity: Identity) -> io::Result<()>;

    /// Fails if the store cannot be written, and leaves nothing behind. Called before a new site is made.
    fn check_writable(&self) -> io::Result<()> {
        Ok(())
    }

    /// Fails if the store cannot be reached now; takes two seconds at most.
    fn check_reachable(&self) -> io::Result<()> {
        Ok(())
    }

    /// Whether there is an image.
    fn has_images(&self) -> io::Result<bool> {
        for directory in self.directories()? {
            if let Some(first) = self.listing(directory).next() {
                return first.map(|_| true);
            }
        }
        Ok(false)
    }

    /// A new file for the bytes of an upload. It is deleted when it is dropped without having been published.
    fn spool(&self) -> io::Result<Spool>;

    /// Marks uploads with their expiry, `None` for a lifetime image, and syncs their bytes.
    fn prepare(&self, uploads: &mut [(&mut Spool, Option<Expiry>)]) -> io::Result<()>;

    /// Publishes uploads, each whole or not at all, and never over an existing image. Bytes and names are durable when this returns. The
    /// results are in the order of `uploads`.
    fn publish(&self, uploads: &mut [Publication<'_>]) -> Vec<Result<(), PublishError>>;

    /// Publishes one upload like [`Self::publish`], but bytes and name are durable only after [`Self::sync`].
    fn publish_unsynced(&self, upload: Publication<'_>) -> Result<(), PublishError>;

    /// Makes images durable that were published without a sync. Images that do not exist any more are left out.
    fn sync(&self, paths: &[ImagePath]) -> io::Result<()>;

    /// Deletes images durably; one that does not exist is no error. The results are in the order of `paths`.
    fn delete(&self, paths: &[ImagePath]) -> Vec<io::Result<()>>;

    /// The directories that may have images now.
    fn directories(&self) -> io::Result<Vec<Directory>> {
        Ok(Directory::all())
    }

    /// The images in a directory, unsorted; none if the directory does not exist.
    fn list(&self, directory: Directory) -> io::Result<Vec<ImagePath>>;

    /// The images in a directory in the order of their paths, of which a page at a time is in memory.
    fn listing(&self, directory: Directory) -> ImageList<'_>;

    /// The image at `path`; `None` if there is none. Anything but a regular file is an error of kind `InvalidData`.
    fn stat(&self, path: &ImagePath) -> io::Result<Option<Stored>>;

    /// The image at `path` like [`Self::stat`], and its bytes, by one request for `part`.
    fn open(&self, path: &ImagePath, part: Part) -> io::Result<Option<(Stored, Box<dyn Read>)>>;

    /// The bytes of an image.
    fn read(&self, path: &ImagePath) -> io::Result<Box<dyn Read>> {
        let opened = self.open(path, Part::Whole)?;
        let (_, reader) = opened.ok_or(io::ErrorKind::NotFound)?;
        Ok(reader)
    }

    /// The headers of a GET request for an image at `now`, if nginx needs a signature to read it; `None` if it does not.
    fn sign_read(&self, _path: &ImagePath, _now: UtcDateTime) -> Option<SignedRead> {
        None
    }

    /// Whether `etag`, which the store has in its list, proves that the image has the bytes of `reader`.
    fn matches_hash(&self, _etag: &str, _reader: &mut dyn Read) -> io::Result<bool> {
        Ok(false)
    }

    /// Marks an image with another expiry. Not synced: after a power cut, `verify` finds the old mark again.
    fn set_expiry(&self, path: &ImagePath, expiry: Expiry) -> io::Result<()>;

    /// The space that is left. An error if nothing can be written, for example on a read-only file system.
    fn space(&self) -> io::Result<Space>;

    /// Deletes spool files older than `before`, and empty directories except `kept`; with `dry_run` only counts the spool files.
    fn clean(&self, before: Timestamp, kept: &[Directory], dry_run: bool) -> io::Result<Cleaned>;
}

/// Opens the store; makes the directories that are missing: those inside the docroot, or that of a bucket's spool.
pub(crate) fn open(config: &Config) -> io::Result<Box<dyn Store>> {
    let storage = &config.storage;
    #[cfg(feature = "s3")]
    if let Some(bucket) = &storage.s3 {
        return Ok(Box::new(s3::S3Store::open(bucket)?));
    }
    Ok(Box::new(Docroot::open(
        &storage.docroot,
        storage.durability,
    )?))
}

/// Opens the store for a copy into it: what is published is durable whatever `[storage] durability` says, and an image may take minutes to
/// be transferred.
pub(crate) fn open_target(config: &Config) -> io::Result<Box<dyn Store>> {
    let storage = &config.storage;
    #[cfg(feature = "s3")]
    if let Some(bucket) = &storage.s3 {
        return Ok(Box::new(s3::S3Store::open_target(bucket)?));
    }
    Ok(Box::new(Docroot::open(&storage.docroot, Durability::Full)?))
}

/// The store as it is, for reading: nothing is made, and a docroot that does not exist is empty. Fails if the key of a bucket cannot be
/// read.
pub(crate) fn view(config: &Config) -> io::Result<Box<dyn Store>> {
    let storage = &config.storage;
    #[cfg(feature = "s3")]
    if let Some(bucket) = &storage.s3 {
        return Ok(Box::new(s3::S3Store::at(bucket)?));
    }
    #[cfg(not(feature = "s3"))]
    if storage.s3.is_some() {
        return Err(io::ErrorKind::Unsupported.into());
    }
    Ok(Box::new(Docroot::at(&storage.docroot, storage.durability)))
}

/// Names the store in messages: `docroot /var/www/corenexis-cdn`, or `bucket images at https://s3.example.net`.
pub(crate) fn place(config: &Config) -> String {
    match &config.storage.s3 {
        Some(bucket) => bucket.place().to_string(),
        None => format!("docroot {}", config.storage.docroot.display()),
    }
}

#[cfg(test)]
pub(crate) mod conformance;
