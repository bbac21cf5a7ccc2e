//! What a site holds, which tests compare before and after an upload.

use std::fs;

use crate::machine::list_files;
use crate::site::Site;

/// Everything an upload may change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holdings {
    /// Rows of images.
    pub rows: usize,
    /// Uploads that count against a quota.
    pub counted: usize,
    /// Files below `/p/`, by path.
    pub files: Vec<String>,
    /// Spool files.
    pub spooled: usize,
}

/// The holdings of a new site.
pub const NOTHING: Holdings = Holdings {
    rows: 0,
    counted: 0,
    files: Vec::new(),
    spooled: 0,
};

impl Site {
    /// Rows, files and counted uploads of the site.
    pub fn holdings(&self) -> Holdings {
        let mut files = Vec::new();
        let images = self.docroot().join("p");
        list_files(&images, &images, &mut files);
        files.sort();
        let spool = fs::read_dir(self.docroot().join(".spool"));
        Holdings {
            rows: self.count("SELECT count(*) FROM image"),
            counted: self.count("SELECT coalesce(sum(uploads), 0) FROM usage"),
            files,
            spooled: spool.map_or(0, Iterator::count),
        }
    }
}
