//! A clock that a test turns while the program runs.

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

use crate::machine::faketime_multithreaded;

/// The clock of the responders that [`SiteBuilder::clock_of`](crate::builder::SiteBuilder::clock_of) gives it to. File times are not faked.
#[derive(Debug)]
pub struct Clock {
    directory: TempDir,
    pub(crate) library: PathBuf,
}

impl Clock {
    /// A clock that is right; without libfaketime, the test is skipped.
    pub fn new() -> Option<Self> {
        let clock = Self {
            library: faketime_multithreaded()?,
            directory: tempfile::tempdir().expect("a directory"),
        };
        clock.turn(0);
        Some(clock)
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.directory.path().join("clock")
    }

    /// Sets it so many milliseconds ahead of the clock of this host, or behind.
    pub fn turn(&self, ahead: i64) {
        let sign = if ahead < 0 { '-' } else { '+' };
        let ahead = ahead.unsigned_abs();
        let text = format!("{sign}{}.{:03}", ahead / 1_000, ahead % 1_000);
        // Renamed, because libfaketime may read the file at any time.
        let next = self.directory.path().join("next");
        fs::write(&next, text).expect("written");
        fs::rename(next, self.file()).expect("renamed");
    }
}
