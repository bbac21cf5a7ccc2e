//! The log: segments that are filled with batches of records, checkpointed, and filled again.
//!
//! ```text
//! free ──► filling ──► sealed ──► free
//!     first batch   full, or    checkpointed
//!                   a second old
//! ```

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit};

use super::segment::{SEGMENT, Segment, SegmentError};
use crate::error::Fault;
use crate::image_path::ImagePath;
use crate::ledger::LedgerError;

/// How old the first record of a segment gets before the segment is checkpointed, full or not.
const CHECKPOINT_AFTER: Duration = Duration::from_secs(1);

/// Segments of a new log.
const FIRST_SEGMENTS: usize = 2;

/// The most segments of a log. It grows to four times its size whenever a batch had to wait for a checkpoint.
const MAX_SEGMENTS: usize = 32;

/// Limit on file descriptors below which the log does not grow: each segment keeps one, which a connection may need.
const FEW_DESCRIPTORS: u64 = 512;

/// So many times the space of new segments must be free, so that the log does not fill the ledger's disk.
const SPARE: u64 = 4;

/// A write-ahead log that this process holds the lock of.
#[derive(Debug)]
pub(super) struct Log {
    directory: PathBuf,
    ledger: u64,
    segment_size: u64,
    state: Mutex<State>,
    /// There may be something to checkpoint.
    due: Condvar,
    /// A segment is free again, or a checkpoint failed.
    checkpointed: Condvar,
    /// Holds the lock; the kernel releases it when the process ends.
    _lock: File,
}

#[derive(Debug)]
struct State {
    free: Vec<Segment>,
    filling: Option<Filled>,
    sealed: Vec<Filled>,
    /// When the oldest record of the checkpoint that runs was written.
    checkpointing: Option<Instant>,
    /// Segments in all.
    segments: usize,
    /// Whether a batch had to wait for a free segment.
    has_waited: bool,
    /// Why the last checkpoint failed; `None` after one that succeeded.
    failure: Option<String>,
    is_closing: bool,
}

/// A segment with records that are not checkpointed.
#[derive(Debug)]
pub(super) struct Filled {
    pub(super) segment: Segment,
    /// Bytes behind the head.
    end: u64,
    pub(super) last_lsn: u64,
    pub(super) images: Vec<ImagePath>,
    began: Instant,
    /// Disconnected when the last [`Unpublished`] is dropped.
    published: Receiver<()>,
    unpublished: Option<Sender<()>>,
}

/// Held by an upload from its record to its rename. The checkpoint of its segment waits until the last clone is dropped.
#[derive(Debug, Clone)]
pub(crate) struct Unpublished {
    _sender: Sender<()>,
}

/// Why a log cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unavailable {
    /// Another process holds its lock.
    #[error("another process holds it")]
    Held,
    /// It cannot be read or made.
    #[error("{0}")]
    Failed(#[from] io::Error),
    /// Its marks in the ledger cannot be read.
    #[error("{0}")]
    Ledger(#[from] LedgerError),
    /// Its records could not be recovered.
    #[error("its records could not be recovered: {0}")]
    Unrecovered(Fault),
}

impl From<Fault> for Unavailable {
    fn from(fault: Fault) -> Self {
        Self::Unrecovered(fault)
    }
}

impl Log {
    /// Locks the log in `directory` and opens its segments, which must be those of the ledger `ledger`; makes what is missing with
    /// `create`. `None` if there is no log of this ledger, and none is to be made; with `create`, that of another ledger is renamed.
    pub(super) fn open(
        directory: &Path,
        ledger: u64,
        create: bool,
    ) -> Result<Option<Self>, Unavailable> {
        Self::open_with(directory, ledger, create, SEGMENT)
    }

    pub(super) fn open_with(
        directory: &Path,
        ledger: u64,
        create: bool,
        segment_size: u64,
    ) -> Result<Option<Self>, Unavailable> {
        if create {
            make_directory(directory)?;
        }
        let lock = match File::open(directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Unavailable::Held),
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
        let mut segments = match open_segments(directory, ledger) {
            Ok(segments) => segments,
            // The ledger was lost and made again. The log is kept in case the lost one is found.
            Err(SegmentError::OtherLedger(other)) if create => {
                let mut aside = directory.as_os_str().to_owned();
                aside.push(format!(".{other:016x}"));
                fs::rename(directory, aside)?;
                return Self::open_with(directory, ledger, create, segment_size);
            }
            Err(SegmentError::OtherLedger(_)) => return Ok(None),
            Err(SegmentError::Io(error)) => return Err(error.into()),
        };
        if create && segments.len() < FIRST_SEGMENTS {
            let missing = FIRST_SEGMENTS - segments.len();
            require_space(directory, missing as u64 * segment_size)?;
            while segments.len() < FIRST_SEGMENTS {
                let path = segment_path(directory, segments.len());
                segments.push(Segment::create(&path, ledger, segment_size)?);
            }
        }
        if segments.is_empty() {
            return Ok(None);
        }
        Ok(Some(Self {
            directory: directory.to_owned(),
            ledger,
            segment_size,
            state: Mutex::new(State {
                segments: segments.len(),
                free: segments,
                filling: None,
                sealed: Vec::new(),
                checkpointing: None,
                has_waited: false,
                failure: None,
                is_closing: false,
            }),
            due: Condvar::new(),
            checkpointed: Condvar::new(),
            _lock: lock,
        }))
    }

    /// The segments of a log to which nothing was appended yet.
    pub(super) fn segments(&mut self) -> &[Segment] {
        let state = self.state.get_mut();
        &state.unwrap_or_else(PoisonError::into_inner).free
    }

    /// Makes all segments, whose records are checkpointed, ones of the present version.
    pub(super) fn upgrade(&mut self) -> io::Result<()> {
        let state = self.state.get_mut();
        let state = state.unwrap_or_else(PoisonError::into_inner);
        state.free.iter_mut().try_for_each(Segment::upgrade)
    }

    /// Appends a batch of encoded records, which fits one segment, and syncs it. Waits while every segment is full, and
    /// fails then if the last checkpoint failed.
    ///
    /// A batch that fails is in the log in part or whole: its rows must be deleted, and its LSNs not be used again.
    pub(super) fn append(
        &self,
        batch: &[u8],
        last_lsn: u64,
        images: impl IntoIterator<Item = ImagePath>,
    ) -> io::Result<Unpublished> {
        let mut state = self.lock();
        let length = batch.len() as u64;
        if state
            .filling
            .as_ref()
            .is_some_and(|filling| filling.end + length > filling.segment.capacity())
        {
            self.seal(&mut state);
        }
        while state.filling.is_none() {
            if let Some(segment) = state.free.pop() {
                state.filling = Some(Filled::new(segment));
                self.due.notify_one();
            } else if let Some(cause) = &state.failure {
                return Err(io::Error::other(format!(
                    "the write-ahead log is full, and its checkpoint fails: {cause}"
                )));
            } else {
                state.has_waited = true;
                state = self
                    .checkpointed
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
            }
        }
        let filling = state.filling.as_mut().expect("it was set above");
        let written = filling.segment.write(filling.end, batch);
        if let Err(error) = written {
            // What the end of the segment holds is unknown, so nothing is appended to it.
            self.seal(&mut state);
            return Err(error);
        }
        filling.end += length;
        filling.last_lsn = last_lsn;
        filling.images.extend(images);
        Ok(filling.unpublished())
    }

    /// Whether [`Self::append`] would wait for a checkpoint.
    #[cfg(test)]
    pub(super) fn would_wait(&self, length: usize) -> bool {
        let state = self.lock();
        let fits = state
            .filling
            .as_ref()
            .is_some_and(|filling| filling.end + length as u64 <= filling.segment.capacity());
        !fits && state.free.is_empty()
    }

    fn seal(&self, state: &mut State) {
        if let Some(mut filled) = state.filling.take() {
            filled.unpublished = None;
            state.sealed.push(filled);
            self.due.notify_one();
        }
    }

    /// Waits until a checkpoint is due, and takes what it covers, in the order of LSNs: all sealed segments and the one being filled.
    /// `None` when the log closes and is empty.
    pub(super) fn take_due(&self) -> Option<Vec<Filled>> {
        let mut state = self.lock();
        loop {
            let age = state.oldest_filled().map(|began| began.elapsed());
            let is_old = age.is_some_and(|age| age >= CHECKPOINT_AFTER);
            let is_full = 2 * state.sealed.len() >= state.segments;
            if is_old || is_full || state.is_closing {
                // The rest of the segment is not used: the next checkpoint would have to know where this one ended.
                self.seal(&mut state);
                state.checkpointing = state.oldest_filled();
                let due = std::mem::take(&mut state.sealed);
                return (!due.is_empty()).then_some(due);
            }
            state = match age {
                Some(age) => {
                    let timeout = CHECKPOINT_AFTER.saturating_sub(age);
                    let waited = self.due.wait_timeout(state, timeout);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.due.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// Frees segments whose records are checkpointed, and makes more if a batch had to wait for this.
    pub(super) fn release(&self, filled: Vec<Filled>) {
        let mut state = self.lock();
        state
            .free
            .extend(filled.into_iter().map(|filled| filled.segment));
        state.failure = None;
        state.checkpointing = None;
        let segments = state.segments;
        let grows = std::mem::take(&mut state.has_waited) && segments < MAX_SEGMENTS;
        drop(state);
        self.checkpointed.notify_all();
        if grows {
            self.grow(segments, (3 * segments).min(MAX_SEGMENTS - segments));
        }
    }

    /// Adds segments. Where space or file descriptors are scarce the log stays as it is.
    fn grow(&self, segments: usize, more: usize) {
        let space = require_space(&self.directory, more as u64 * self.segment_size);
        let descriptors = getrlimit(Resource::Nofile).current;
        if space.is_err() || descriptors.is_some_and(|limit| limit < FEW_DESCRIPTORS) {
            return;
        }
        for number in segments..segments + more {
            let path = segment_path(&self.directory, number);
            let Ok(segment) = Segment::create(&path, self.ledger, self.segment_size) else {
                return;
            };
            let mut state = self.lock();
            state.free.push(segment);
            state.segments += 1;
            drop(state);
            self.checkpointed.notify_all();
        }
    }

    /// Notes that a checkpoint failed, and waits before the next try; `false` if the log closes.
    pub(super) fn wait_after(&self, failure: String) -> bool {
        let mut state = self.lock();
        state.failure = Some(failure);
        self.checkpointed.notify_all();
        let began = Instant::now();
        while !state.is_closing {
            let Some(left) = CHECKPOINT_AFTER.checked_sub(began.elapsed()) else {
                return true;
            };
            let waited = self.due.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        false
    }

    /// Lets [`Self::take_due`] return what is left at once.
    pub(super) fn close(&self) {
        self.lock().is_closing = true;
        self.due.notify_all();
    }

    /// Bytes of all segments.
    pub(super) fn bytes(&self) -> u64 {
        self.lock().segments as u64 * self.segment_size
    }

    /// The age of the oldest record that is not checkpointed.
    pub(super) fn oldest(&self) -> Option<Duration> {
        let state = self.lock();
        let oldest = state.checkpointing.or(state.oldest_filled());
        oldest.map(|began| began.elapsed())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// When the oldest record was written that no checkpoint has taken up.
    fn oldest_filled(&self) -> Option<Instant> {
        let filled = self.sealed.first().or(self.filling.as_ref());
        filled.map(|filled| filled.began)
    }
}

impl Filled {
    fn new(segment: Segment) -> Self {
        let (unpublished, published) = channel();
        Self {
            segment,
            end: 0,
            last_lsn: 0,
            images: Vec::new(),
            began: Instant::now(),
            published,
            unpublished: Some(unpublished),
        }
    }

    fn unpublished(&self) -> Unpublished {
        let sender = self.unpublished.clone();
        Unpublished {
            _sender: sender.expect("a segment is sealed after its last batch"),
        }
    }

    /// Waits until every upload of the segment is renamed, or refused.
    pub(super) fn wait_until_published(&self) {
        while self.published.recv().is_ok() {}
    }
}

/// The segments of the log in `directory`, and its lock unless another process holds it. Nothing is changed.
pub(super) fn look(
    directory: &Path,
    ledger: u64,
) -> Result<(Vec<Segment>, Option<File>), SegmentError> {
    let lock = match File::open(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((Vec::new(), None)),
        opened => opened?,
    };
    let is_free = lock.try_lock().is_ok();
    Ok((open_segments(directory, ledger)?, is_free.then_some(lock)))
}

/// Makes the directory durably, with the owner of the ledger's.
fn make_directory(directory: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
        Ok(()) => File::open(directory.parent().unwrap_or(directory))?.sync_all(),
    }
}

fn open_segments(directory: &Path, ledger: u64) -> Result<Vec<Segment>, SegmentError> {
    let mut segments = Vec::new();
    loop {
        let path = segment_path(directory, segments.len());
        if !fs::exists(&path)? {
            return Ok(segments);
        }
        segments.push(Segment::open(&path, ledger)?);
    }
}

fn segment_path(directory: &Path, number: usize) -> PathBuf {
    directory.join(format!("{number:04}.segment"))
}

fn require_space(directory: &Path, bytes: u64) -> io::Result<()> {
    let usage = rustix::fs::statvfs(directory)?;
    if usage.f_bavail.saturating_mul(usage.f_frsize) < SPARE * bytes {
        return Err(io::Error::new(
            io::ErrorKind::StorageFull,
            format!("{bytes} bytes for it would leave too little free space"),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
