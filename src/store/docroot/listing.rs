//! The images of a directory in the order of their names, although the kernel gives names in an order of its own.
//!
//! The directory is read once for each page, which is made of the first names behind those of the page before. So memory is constant
//! however many files a directory has.

use std::collections::BinaryHeap;
use std::io;
use std::path::{Path, PathBuf};
use std::vec;

use super::entries;
use crate::image_path::{Directory, ImagePath};
use crate::store::Listed;

/// How many names are read into memory at once: some megabytes.
const PAGE: usize = 50_000;

/// The images in a directory of the docroot, unsorted; none if the directory does not exist.
pub(super) fn images(
    root: &Path,
    directory: Directory,
) -> io::Result<impl Iterator<Item = io::Result<ImagePath>> + use<>> {
    let entries = entries(&directory.below(root))?;
    // Files with other names are not of this program, and are left alone.
    Ok(entries.filter_map(move |entry| match entry {
        Ok(entry) => {
            let path = format!("{directory}/{}", entry.file_name().display());
            path.parse().ok().map(Ok)
        }
        Err(error) => Some(Err(error)),
    }))
}

/// The images in a directory, sorted.
pub(super) struct SortedImages {
    root: PathBuf,
    directory: Directory,
    page: vec::IntoIter<ImagePath>,
    last: Option<ImagePath>,
    has_ended: bool,
    /// How many names are read at once: [`PAGE`], less in tests.
    length: usize,
}

impl SortedImages {
    pub(super) fn of(root: &Path, directory: Directory) -> Self {
        Self {
            root: root.to_owned(),
            directory,
            page: Vec::new().into_iter(),
            last: None,
            has_ended: false,
            length: PAGE,
        }
    }

    fn read_page(&mut self) -> io::Result<()> {
        let mut first = BinaryHeap::new();
        self.has_ended = true;
        for path in images(&self.root, self.directory)? {
            let path = path?;
            if self.last.as_ref().is_some_and(|last| path <= *last) {
                continue;
            }
            first.push(path);
            if first.len() > self.length {
                first.pop();
                self.has_ended = false;
            }
        }
        let page = first.into_sorted_vec();
        self.last = page.last().cloned();
        self.page = page.into_iter();
        Ok(())
    }
}

impl Iterator for SortedImages {
    type Item = io::Result<Listed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.page.as_slice().is_empty()
            && !self.has_ended
            && let Err(error) = self.read_page()
        {
            // The same page is read again, if anything is.
            self.has_ended = false;
            return Some(Err(error));
        }
        let path = self.page.next()?;
        Some(Ok(Listed { path, object: None }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expiry::StoreDuration;
    use crate::image::ImageType;
    use std::fs;
    use time::macros::date;

    #[test]
    fn pages_have_every_name_once_and_in_order() {
        let root = tempfile::tempdir().expect("a directory");
        let day = date!(2026 - 04 - 05);
        let directory = Directory::of(StoreDuration::Days7, day);
        fs::create_dir_all(directory.below(root.path())).expect("made");
        let mut paths: Vec<_> = (0..100)
            .map(|_| ImagePath::random(StoreDuration::Days7, day, 10, ImageType::Png))
            .collect::<Result<_, _>>()
            .expect("random");
        for path in &paths {
            fs::write(path.below(root.path()), b"").expect("written");
        }
        fs::write(directory.below(root.path()).join("index.html"), b"").expect("written");
        paths.sort();
        for length in [1, 7, 50, 99, 100, 101] {
            let sorted = SortedImages {
                length,
                ..SortedImages::of(root.path(), directory)
            };
            let found: Vec<_> = sorted.map(|listed| listed.expect("read").path).collect();
            assert_eq!(found, paths, "pages of {length}");
        }
        let nowhere = SortedImages::of(&root.path().join("nowhere"), directory);
        assert_eq!(nowhere.count(), 0);
    }
}
