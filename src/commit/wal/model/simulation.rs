//! Ledger and store in memory, with what is durable of each.

mod ledger;
mod store;

use std::collections::BTreeMap;
use std::fs;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::config::Durability;
use crate::expiry::Expiry;
use crate::image_path::ImagePath;
use crate::ledger::{LoggedImage, Quarantined};
use crate::store::{Docroot, Publication, PublishError};

/// Unwinds a thread whose power is cut; holds the call that was about to happen.
#[derive(Debug)]
pub(super) struct Cut(pub(super) &'static str);

/// Marsaglia's xorshift64.
#[derive(Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(super) fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from((self.0 >> 11) % end as u64).expect("below a usize")
    }

    pub(super) fn chance(&mut self, one_in: usize) -> bool {
        self.below(one_in) == 0
    }
}

/// Rows, quota and marks: what one transaction leads to another.
#[derive(Debug, Clone, Default)]
struct Rows {
    images: BTreeMap<ImagePath, LoggedImage>,
    quarantine: BTreeMap<ImagePath, Quarantined>,
    /// Uploads that count against the quota.
    used: usize,
    /// Rows that were deleted without a refund.
    deleted: usize,
    recorded: u64,
    checkpointed: u64,
}

#[derive(Debug, Clone)]
struct SimulatedFile {
    bytes: Vec<u8>,
    expiry: Option<Expiry>,
    is_durable: bool,
}

#[derive(Debug)]
struct State {
    /// The states after the last durable transaction and after each later one.
    rows: Vec<Rows>,
    files: BTreeMap<ImagePath, SimulatedFile>,
    /// Bytes by path; moved there durably, with the bytes synced before.
    quarantine: BTreeMap<ImagePath, Vec<u8>>,
    /// Calls until the power is cut.
    left: usize,
}

/// The disks of a host. Clones share them.
#[derive(Debug, Clone)]
pub(super) struct World {
    state: Arc<Mutex<State>>,
    directory: Arc<tempfile::TempDir>,
    docroot: Arc<Docroot>,
}

impl World {
    pub(super) fn new() -> Self {
        // In memory where that is possible: what is durable is simulated.
        let memory = Path::new("/dev/shm");
        let directory = if memory.is_dir() {
            tempfile::tempdir_in(memory)
        } else {
            tempfile::tempdir()
        };
        let directory = directory.expect("a directory");
        let docroot = Docroot::open(directory.path(), Durability::Relaxed).expect("open");
        Self {
            state: Arc::new(Mutex::new(State {
                rows: vec![Rows::default()],
                files: BTreeMap::new(),
                quarantine: BTreeMap::new(),
                left: usize::MAX,
            })),
            directory: Arc::new(directory),
            docroot: Arc::new(docroot),
        }
    }

    /// The directory of the log, whose files are real.
    pub(super) fn log(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    /// Cuts the power after so many more calls.
    pub(super) fn cut_after(&self, calls: usize) {
        self.state().left = calls;
    }

    /// Whether the power is cut at this call; counts it.
    pub(super) fn is_cut(&self) -> bool {
        let mut state = self.state();
        let is_cut = state.left == 0;
        state.left = state.left.saturating_sub(1);
        is_cut
    }

    /// Comes before the call `step`.
    pub(super) fn before(&self, step: &'static str) {
        if self.is_cut() {
            resume_unwind(Box::new(Cut(step)));
        }
    }

    /// Does to ledger and store what a power cut may do.
    pub(super) fn lose(&self, random: &mut Random) {
        let mut state = self.state();
        state.left = usize::MAX;
        let kept = random.below(state.rows.len());
        state.rows = vec![state.rows.swap_remove(kept)];
        state.files.retain(|_, file| {
            let size = file.bytes.len();
            if file.is_durable {
                return true;
            }
            file.is_durable = true;
            match random.below(6) {
                0 => return false,
                1 => file.bytes.clear(),
                2 => file.bytes.truncate(random.below(size)),
                3 => file.bytes = vec![0; size],
                4 => file.expiry = None,
                _ => {}
            }
            true
        });
    }

    /// The log's files.
    pub(super) fn segments(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let entries = fs::read_dir(self.log()).expect("the log");
        let paths = entries.map(|entry| entry.expect("an entry").path());
        paths
            .map(|path| (path.clone(), fs::read(&path).expect("readable")))
            .collect()
    }

    /// Paths with rows.
    pub(super) fn rows(&self) -> Vec<LoggedImage> {
        self.state().last().images.values().cloned().collect()
    }

    /// Paths with files.
    pub(super) fn files(&self) -> Vec<ImagePath> {
        self.state().files.keys().cloned().collect()
    }

    pub(super) fn bytes(&self, path: &ImagePath) -> Option<Vec<u8>> {
        self.state().files.get(path).map(|file| file.bytes.clone())
    }

    pub(super) fn quarantined_bytes(&self, path: &ImagePath) -> Option<Vec<u8>> {
        self.state().quarantine.get(path).cloned()
    }

    /// Uploads counted against the quota, and those that should be.
    pub(super) fn quota(&self) -> (usize, usize) {
        let state = self.state();
        let rows = state.last();
        (rows.used, rows.images.len() + rows.deleted)
    }

    /// Files that a power cut would take.
    pub(super) fn unsynced(&self) -> usize {
        let state = self.state();
        state.files.values().filter(|file| !file.is_durable).count() + state.rows.len() - 1
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One transaction, durable with all before it or not.
    fn commit<T>(&self, is_durable: bool, change: impl FnOnce(&mut Rows) -> T) -> T {
        let mut state = self.state();
        let mut rows = state.last().clone();
        let outcome = change(&mut rows);
        if is_durable {
            state.rows.clear();
        }
        state.rows.push(rows);
        outcome
    }

    fn put(&self, upload: &Publication<'_>, is_durable: bool) -> Result<(), PublishError> {
        let mut state = self.state();
        if state.files.contains_key(upload.path) {
            return Err(PublishError::NameTaken);
        }
        let file = SimulatedFile {
            bytes: upload.spool.bytes().expect("readable"),
            expiry: upload.expiry,
            is_durable,
        };
        state.files.insert(upload.path.clone(), file);
        Ok(())
    }
}

impl State {
    fn last(&self) -> &Rows {
        self.rows.last().expect("there is always one")
    }
}

/// Replaces random sectors of the log's files by those of `before`: what a power cut may leave of a batch being written. Gives
/// whether there were records of an earlier use.
pub(super) fn tear(before: &BTreeMap<PathBuf, Vec<u8>>, random: &mut Random) -> bool {
    let mut is_reused = false;
    for (path, old) in before {
        let mut new = fs::read(path).expect("readable");
        for (sector, old) in new.chunks_mut(512).zip(old.chunks(512)) {
            if sector != old {
                is_reused |= old.iter().any(|&byte| byte != 0);
                if random.chance(2) {
                    sector.copy_from_slice(old);
                }
            }
        }
        fs::write(path, new).expect("written");
    }
    is_reused
}
