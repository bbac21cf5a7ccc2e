//! Ledger and store in memory, with what is durable of each.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use time::{Date, UtcDateTime};

use crate::auth::TokenDigest;
use crate::config::Durability;
use crate::delete_key::SECRET_BYTES;
use crate::expiry::Expiry;
use crate::idempotency::Fingerprint;
use crate::identity::Identity;
use crate::image_digest::ImageDigest;
use crate::image_path::{Directory, ImagePath};
use crate::ledger::{
    Account, Blocked, ClientKey, ClientRow, Deleted, Expired, FoundImage, ImageFilter, ImageRow,
    KeyedUpload, Ledger, LedgerError, Listing, LogMarks, LoggedImage, NewImage, Owner, Purge,
    Quarantined, Status, StorageDifference, Swept, Takedown, TakedownCounts, TokenAdded,
    TokenRemoved, TokenRow, TokenUse, Tokens, UsageRow, Verdict,
};
use crate::store::{
    Cleaned, Docroot, Publication, PublishError, Quarantine, Space, Spool, Store, Stored,
};
use crate::timestamp::Timestamp;

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

fn record(rows: &mut Rows, batch: &[NewImage], now: UtcDateTime) -> Vec<Verdict> {
    batch
        .iter()
        .map(|image| {
            let row = LoggedImage {
                path: image.path.clone(),
                client: image.client,
                size: image.size,
                width: image.width,
                height: image.height,
                uploaded_at: now.into(),
                address: image.address,
                key: image.key,
            };
            rows.images.insert(image.path.clone(), row);
            rows.used += 1;
            Verdict::Recorded { used: 1 }
        })
        .collect()
}

impl Ledger for World {
    fn record(&self, batch: &[NewImage], now: UtcDateTime) -> Result<Vec<Verdict>, LedgerError> {
        self.before("record");
        Ok(self.commit(true, |rows| record(rows, batch, now)))
    }

    fn record_unsynced(
        &self,
        batch: &[NewImage],
        now: UtcDateTime,
        last_lsn: u64,
    ) -> Result<Vec<Verdict>, LedgerError> {
        self.before("record");
        Ok(self.commit(false, |rows| {
            rows.recorded = rows.recorded.max(last_lsn);
            record(rows, batch, now)
        }))
    }

    fn log_marks(&self) -> Result<Option<LogMarks>, LedgerError> {
        let state = self.state();
        let rows = state.last();
        Ok(Some(LogMarks {
            log_id: 1,
            recorded: rows.recorded,
            checkpointed: rows.checkpointed,
        }))
    }

    fn replay(&self, images: &[LoggedImage], last_lsn: u64) -> Result<usize, LedgerError> {
        self.before("recovery: replay");
        Ok(self.commit(true, |rows| {
            rows.recorded = rows.recorded.max(last_lsn);
            let mut new = 0;
            for image in images {
                let before = rows.images.insert(image.path.clone(), image.clone());
                assert_eq!(before, None, "a row above the mark was not lost");
                new += 1;
            }
            rows.used += new;
            new
        }))
    }

    fn checkpoint(&self, lsn: u64) -> Result<(), LedgerError> {
        self.before("checkpoint");
        self.commit(true, |rows| {
            rows.checkpointed = rows.checkpointed.max(lsn);
        });
        Ok(())
    }

    fn refund(&self, paths: &[ImagePath]) -> Result<usize, LedgerError> {
        self.before("refund");
        Ok(self.commit(true, |rows| {
            let refunded = paths.iter().filter_map(|path| rows.images.remove(path));
            let refunded = refunded.count();
            rows.used -= refunded;
            refunded
        }))
    }

    fn delete_rows(&self, paths: &[ImagePath]) -> Result<Deleted, LedgerError> {
        self.before("delete row");
        self.commit(true, |rows| {
            let deleted = paths.iter().filter_map(|path| rows.images.remove(path));
            rows.deleted += deleted.count();
        });
        Ok(Deleted::default())
    }

    fn image(&self, path: &ImagePath) -> Result<Option<ImageRow>, LedgerError> {
        let state = self.state();
        let rows = state.last();
        Ok(rows.images.get(path).map(|row| ImageRow {
            path: row.path.clone(),
            client: "a".to_owned(),
            owner: row.client,
            client_removed_at: None,
            size: row.size,
            width: row.width,
            height: row.height,
            uploaded_at: row.uploaded_at,
            expires_at: row.expiry().map(Expiry::instant),
            address: row.address,
            quarantine: rows.quarantine.get(path).cloned(),
        }))
    }

    fn update_identity(
        &self,
        _: &mut dyn FnMut(Option<Identity>) -> Result<Identity, LedgerError>,
    ) -> Result<(), LedgerError> {
        unreachable!()
    }

    fn set_dimensions(&self, _: &[(&ImagePath, (u32, u32))]) -> Result<(), LedgerError> {
        unreachable!()
    }

    fn delete_secret(&self) -> Result<[u8; SECRET_BYTES], LedgerError> {
        unreachable!()
    }

    fn set_created_at(&self, _: UtcDateTime) -> Result<(), LedgerError> {
        unreachable!()
    }

    fn account(&self, _: &str, _: UtcDateTime) -> Result<Option<Account>, LedgerError> {
        unreachable!()
    }

    fn expired(
        &self,
        _: UtcDateTime,
        _: Option<&Expired>,
        _: u32,
    ) -> Result<Vec<Expired>, LedgerError> {
        unreachable!()
    }

    fn expired_count(&self, _: UtcDateTime) -> Result<u64, LedgerError> {
        unreachable!()
    }

    fn keyed_upload(
        &self,
        _: ClientKey,
        _: Fingerprint,
        _: Timestamp,
    ) -> Result<Option<KeyedUpload>, LedgerError> {
        unreachable!()
    }

    fn forget(&self, _: Timestamp, _: Timestamp, _: u32) -> Result<(usize, usize), LedgerError> {
        unreachable!()
    }

    fn storage_differences(&self, _: bool) -> Result<Vec<StorageDifference>, LedgerError> {
        unreachable!()
    }

    fn list(&self, _: &Listing) -> Result<Vec<ImageRow>, LedgerError> {
        unreachable!()
    }

    fn images(&self, _: &ImageFilter) -> Result<Vec<ImageRow>, LedgerError> {
        unreachable!()
    }

    fn adopt(
        &self,
        _: &[FoundImage],
        _: &str,
        _: &str,
        _: UtcDateTime,
    ) -> Result<usize, LedgerError> {
        unreachable!()
    }

    fn add_client(
        &self,
        _: &str,
        _: &str,
        _: TokenDigest,
        _: UtcDateTime,
    ) -> Result<bool, LedgerError> {
        unreachable!()
    }

    fn set_plan(&self, _: &str, _: &str) -> Result<bool, LedgerError> {
        unreachable!()
    }

    fn set_disabled(&self, _: &str, _: bool, _: UtcDateTime) -> Result<bool, LedgerError> {
        unreachable!()
    }

    fn remove_client(&self, _: &str, _: UtcDateTime) -> Result<bool, LedgerError> {
        unreachable!()
    }

    fn clients_named(&self, _: &str) -> Result<Vec<(ClientKey, Option<Timestamp>)>, LedgerError> {
        unreachable!()
    }

    fn clients(&self, _: UtcDateTime) -> Result<Vec<ClientRow>, LedgerError> {
        unreachable!()
    }

    fn usage(&self, _: Option<&Owner>, _: Option<Date>) -> Result<Vec<UsageRow>, LedgerError> {
        unreachable!()
    }

    fn status(&self) -> Result<Status, LedgerError> {
        unreachable!()
    }

    fn finish_sweep(&self, _: Swept, _: Option<UtcDateTime>) -> Result<(), LedgerError> {
        unreachable!()
    }
}

impl Store for World {
    fn spool(&self) -> io::Result<Spool> {
        self.docroot.spool()
    }

    fn prepare(&self, _: &mut [(&mut Spool, Option<Expiry>)]) -> io::Result<()> {
        Ok(())
    }

    fn publish(&self, uploads: &mut [Publication<'_>]) -> Vec<Result<(), PublishError>> {
        self.before("publish durably");
        uploads
            .iter()
            .map(|upload| self.put(upload, true))
            .collect()
    }

    fn publish_unsynced(&self, upload: Publication<'_>) -> Result<(), PublishError> {
        self.before("publish");
        self.put(&upload, false)
    }

    fn sync(&self, paths: &[ImagePath]) -> io::Result<()> {
        self.before("sync");
        let mut state = self.state();
        for path in paths {
            if let Some(file) = state.files.get_mut(path) {
                file.is_durable = true;
            }
        }
        Ok(())
    }

    fn delete(&self, paths: &[ImagePath]) -> Vec<io::Result<()>> {
        self.before("delete file");
        let mut state = self.state();
        let delete = |path| drop(state.files.remove(path));
        paths.iter().map(delete).map(Ok).collect()
    }

    fn stat(&self, path: &ImagePath) -> io::Result<Option<Stored>> {
        let state = self.state();
        Ok(state.files.get(path).map(|file| Stored {
            size: file.bytes.len() as u64,
            expires_at: file.expiry.map_or(Timestamp(0), Expiry::instant),
            published_at: Timestamp(0),
        }))
    }

    fn read(&self, path: &ImagePath) -> io::Result<Box<dyn Read>> {
        let bytes = self.bytes(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(io::Cursor::new(bytes)))
    }

    fn identity(&self) -> io::Result<Option<Identity>> {
        unreachable!()
    }

    fn set_identity(&self, _: Identity) -> io::Result<()> {
        unreachable!()
    }

    fn list(&self, _: Directory) -> io::Result<Vec<ImagePath>> {
        unreachable!()
    }

    fn set_expiry(&self, _: &ImagePath, _: Expiry) -> io::Result<()> {
        unreachable!()
    }

    fn space(&self) -> io::Result<Space> {
        unreachable!()
    }

    fn clean(&self, _: Timestamp, _: &[Directory], _: bool) -> io::Result<Cleaned> {
        unreachable!()
    }
}

impl Quarantine for World {
    fn quarantine(&self, paths: &[ImagePath]) -> Vec<io::Result<bool>> {
        self.before("quarantine file");
        let mut state = self.state();
        let state = &mut *state;
        let mut move_out = |path: &ImagePath| {
            let Some(file) = state.files.remove(path) else {
                return false;
            };
            state.quarantine.entry(path.clone()).or_insert(file.bytes);
            true
        };
        paths.iter().map(|path| Ok(move_out(path))).collect()
    }

    fn stat_quarantined(&self, path: &ImagePath) -> io::Result<Option<Stored>> {
        let state = self.state();
        Ok(state.quarantine.get(path).map(|bytes| Stored {
            size: bytes.len() as u64,
            expires_at: Timestamp(0),
            published_at: Timestamp(0),
        }))
    }

    fn release(&self, _: &ImagePath) -> io::Result<bool> {
        unreachable!()
    }

    fn quarantined(&self) -> io::Result<Vec<ImagePath>> {
        unreachable!()
    }

    fn read_quarantined(&self, _: &ImagePath) -> io::Result<Box<dyn Read>> {
        unreachable!()
    }

    fn delete_quarantined(&self, _: &ImagePath) -> io::Result<()> {
        unreachable!()
    }
}

impl Tokens for World {
    fn add_token(
        &self,
        _: &str,
        _: &str,
        _: TokenDigest,
        _: UtcDateTime,
    ) -> Result<TokenAdded, LedgerError> {
        unreachable!()
    }

    fn rotate_token(
        &self,
        _: &str,
        _: &str,
        _: TokenDigest,
        _: UtcDateTime,
        _: UtcDateTime,
    ) -> Result<TokenAdded, LedgerError> {
        unreachable!()
    }

    fn remove_token(&self, _: &str, _: &str) -> Result<TokenRemoved, LedgerError> {
        unreachable!()
    }

    fn tokens(&self, _: &str, _: UtcDateTime) -> Result<Option<Vec<TokenRow>>, LedgerError> {
        unreachable!()
    }

    fn note_token_uses(&self, _: &[TokenUse]) -> Result<(), LedgerError> {
        unreachable!()
    }
}

impl Takedown for World {
    fn takedown_counts(&self) -> Result<TakedownCounts, LedgerError> {
        unreachable!()
    }

    fn set_quarantine(
        &self,
        paths: &[ImagePath],
        quarantine: &Quarantined,
        _: bool,
    ) -> Result<usize, LedgerError> {
        self.before("quarantine row");
        Ok(self.commit(true, |rows| {
            for path in paths {
                rows.quarantine.insert(path.clone(), quarantine.clone());
            }
            paths.len()
        }))
    }

    fn end_quarantine(&self, _: &[ImagePath]) -> Result<usize, LedgerError> {
        unreachable!()
    }

    fn quarantined(&self, _: Option<&ImagePath>, _: u32) -> Result<Vec<ImageRow>, LedgerError> {
        unreachable!()
    }

    fn block(
        &self,
        _: &[ImageDigest],
        _: Option<&str>,
        _: UtcDateTime,
    ) -> Result<usize, LedgerError> {
        unreachable!()
    }

    fn unblock(&self, _: &[ImageDigest]) -> Result<usize, LedgerError> {
        unreachable!()
    }

    fn has_blocked(&self) -> Result<bool, LedgerError> {
        unreachable!()
    }

    fn is_blocked(&self, _: &[ImageDigest]) -> Result<bool, LedgerError> {
        unreachable!()
    }

    fn blocked(&self) -> Result<Vec<Blocked>, LedgerError> {
        unreachable!()
    }

    fn queue_purges(&self, _: &[ImagePath], _: UtcDateTime) -> Result<(), LedgerError> {
        unreachable!()
    }

    fn claim_purges(
        &self,
        _: UtcDateTime,
        _: UtcDateTime,
        _: u32,
    ) -> Result<Vec<Purge>, LedgerError> {
        unreachable!()
    }

    fn defer_purges(&self, _: &[(ImagePath, UtcDateTime)]) -> Result<(), LedgerError> {
        unreachable!()
    }

    fn finish_purges(&self, _: &[Purge]) -> Result<(), LedgerError> {
        unreachable!()
    }

    fn waiting_purges(&self) -> Result<(u64, Option<Timestamp>), LedgerError> {
        unreachable!()
    }
}
