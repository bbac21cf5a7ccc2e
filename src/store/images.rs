//! All images of a store, in the order of their paths, of which a page at a time is in memory.

use std::collections::HashSet;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::vec;

use super::Store;
use crate::image_path::{Directory, ImagePath};
use crate::timestamp::Timestamp;

/// An image as a list of its store has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listed {
    /// Its path.
    pub path: ImagePath,
    /// What the list of a bucket says of it; `None` for a file, of which [`Store::stat`] needs no request.
    pub object: Option<ListedObject>,
}

/// What the list of a bucket says of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListedObject {
    /// Bytes.
    pub size: u64,
    /// The hash that the store gives it: see [`Store::matches_hash`].
    pub etag: String,
    /// When it was written or copied.
    pub modified_at: Timestamp,
}

/// The images of one directory.
pub(crate) type ImageList<'a> = Box<dyn Iterator<Item = io::Result<Listed>> + Send + 'a>;

/// The images of directories, in the order of their paths.
pub(crate) struct Images<'a> {
    store: &'a dyn Store,
    directories: vec::IntoIter<Directory>,
    /// Those that may have images; the others are not asked for.
    used: HashSet<Directory>,
    list: Option<ImageList<'a>>,
    last: Option<ImagePath>,
    passed: &'a AtomicU64,
}

impl<'a> Images<'a> {
    /// The images of `directories`, which are in the order of their paths. `passed` counts the directories that were read to their end.
    pub(crate) fn of(
        store: &'a dyn Store,
        directories: Vec<Directory>,
        passed: &'a AtomicU64,
    ) -> io::Result<Self> {
        Ok(Self {
            store,
            directories: directories.into_iter(),
            used: store.directories()?.into_iter().collect(),
            list: None,
            last: None,
            passed,
        })
    }

    /// Merges assume the order, so a store that has another one is an error.
    fn check_order(&mut self, listed: &Listed) -> io::Result<()> {
        let last = self.last.replace(listed.path.clone());
        match last.filter(|last| *last >= listed.path) {
            Some(last) => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!(
                    "the store lists {} behind {last}, which is not the order of the keys",
                    listed.path
                ),
            )),
            None => Ok(()),
        }
    }
}

impl Iterator for Images<'_> {
    type Item = io::Result<Listed>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(list) = &mut self.list {
                if let Some(listed) = list.next() {
                    return Some(
                        listed.and_then(|listed| self.check_order(&listed).map(|()| listed)),
                    );
                }
                self.list = None;
                self.passed.fetch_add(1, Ordering::Relaxed);
            }
            let directory = self.directories.next()?;
            if self.used.contains(&directory) {
                self.list = Some(self.store.listing(directory));
            } else {
                self.passed.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}
