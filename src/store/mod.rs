//! Where images lie.
//!
//! [`Store`] is the second seam of the program: a directory that nginx serves is behind it today. An upload is written to a
//! [`Spool`], sealed, and published under its name; nothing is ever visible in part.

pub mod docroot;
mod spool;

use std::fmt;
use std::io::{self, Read};

use crate::plan::Expiry;

use crate::image_path::ImagePath;
pub use spool::Spool;

/// Why an upload was not published.
#[derive(Debug)]
pub enum PublishError {
    /// There is an image of that name.
    NameTaken,
    /// A directory could not be made or synced.
    Directory(io::Error),
    /// The image could not be moved.
    Image(io::Error),
}

/// What a store says of an image that lies in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// Bytes.
    pub size: u64,
    /// When its life ends by its own mark, in Unix seconds, whatever its class: a lifetime image carries no mark, so this means
    /// nothing for it.
    pub expires_at: i64,
    /// When it came to its place, in Unix seconds.
    pub placed_at: i64,
}

/// An upload and the place that it is to get.
#[derive(Debug)]
pub struct Publication<'a> {
    /// Its bytes.
    pub spool: &'a mut Spool,
    /// Its name.
    pub path: &'a ImagePath,
    /// The end of its life; `None` for a lifetime image.
    pub expiry: Option<Expiry>,
}

/// Images by their paths. Every verb may be called from any thread.
pub trait Store: fmt::Debug + Send + Sync {
    /// A new file for the bytes of an upload. It is deleted when it is dropped before it was published.
    fn spool(&self) -> io::Result<Spool>;

    /// Puts an upload in its place, whole or not at all, never over an image that is there, marked with the end of its life, which is
    /// `None` for a lifetime image. It is on disk, name included, when this returns.
    fn publish(
        &self,
        spool: &mut Spool,
        path: &ImagePath,
        expiry: Option<Expiry>,
    ) -> Result<(), PublishError>;

    /// Whether [`Self::seals_together`] will ever say yes.
    fn can_seal_together(&self) -> bool;

    /// Whether many uploads at once are now better put on disk by [`Self::seal_together`] than by a thread for each.
    fn seals_together(&self) -> bool;

    /// Does for many uploads what [`Spool::seal`] does for one. An error is that of all of them: which ones it hit is not known.
    fn seal_together(&self, uploads: &mut [(&mut Spool, Option<Expiry>)]) -> io::Result<()>;

    /// Does for many uploads what [`Self::publish`] does for one; gives what became of each, in their order.
    fn publish_together(&self, uploads: &mut [Publication<'_>]) -> Vec<Result<(), PublishError>>;

    /// Deletes images; one that is gone already is no error. That they are gone is on disk when this returns. Gives the bytes
    /// that each took, 0 for one that was gone, in the order of `paths`.
    fn delete(&self, paths: &[ImagePath]) -> Vec<io::Result<u64>>;

    /// Bytes that may still be written.
    fn free_bytes(&self) -> io::Result<u64>;

    /// Files that may still be made; `None` where their number is not limited.
    fn free_files(&self) -> io::Result<Option<u64>>;

    /// The images that lie in the directory of a class and a day, such as `d/ap5`, in no order; none if there is no such
    /// directory.
    fn list(&self, directory: &str) -> io::Result<Vec<ImagePath>>;

    /// When an image came to its place, in Unix seconds; `None` if it is not there.
    fn placed_at(&self, path: &ImagePath) -> io::Result<Option<i64>>;

    /// What lies at `path`; `None` if nothing does. Anything but a file is an error of kind `InvalidData`.
    fn stat(&self, path: &ImagePath) -> io::Result<Option<Stored>>;

    /// The bytes of an image.
    fn read(&self, path: &ImagePath) -> io::Result<Box<dyn Read>>;

    /// Marks an image again with the end of its life. Not synced: a power cut may undo it, and whoever compares it with the ledger
    /// finds that.
    fn mark(&self, path: &ImagePath, expiry: Expiry) -> io::Result<()>;

    /// Deletes uploads that were begun before `before`, in Unix seconds, and never published; with `dry_run` only counts them.
    fn delete_abandoned(&self, before: i64, dry_run: bool) -> io::Result<u64>;

    /// Deletes the directories that hold no image, except `kept`. Gives how many there were.
    fn delete_empty_directories(&self, kept: &[String]) -> io::Result<u64>;
}

/// The error for another of those that it hit: its kind and its words.
pub(crate) fn copy_of(error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), error.to_string())
}

#[cfg(test)]
mod conformance;
