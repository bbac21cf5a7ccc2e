//! Copies the images of a store into another one, those in quarantine too.
//!
//! Both sides are read in the order of their paths, a page at a time, so that memory is constant; several images are copied at once. An
//! image is in the target whole or not at all, so a copy that was interrupted goes on with what is missing.

use std::collections::HashSet;
use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::Target;
use super::sides::{Facts, Pair, Pairs, Place, unlisted, unwritten};
use crate::expiry::{Expiry, StoreDuration};
use crate::image_path::{Directory, ImagePath};
use crate::store::{
    CONNECTIONS, Images, Listed, NO_EXPIRY, Publication, PublishError, Spool, Store,
};

/// Bytes that are compared at once.
const PART: u64 = 64 << 10;

/// How far the clocks of this host and a store may be apart, in seconds: stores refuse requests beyond.
const SKEW: i64 = 15 * 60;

/// How long a store may be out of reach until the copy ends. A restart takes less.
const OUTAGE: Duration = Duration::from_mins(1);

/// The pause before a store that is out of reach is asked again; its own retries come first.
const PAUSE: Duration = Duration::from_secs(1);

/// What a pass compares.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Scope {
    /// The images in quarantine.
    pub(crate) quarantine: bool,
    /// Directories of images that are served.
    pub(crate) directories: HashSet<Directory>,
}

impl Scope {
    /// All directories, and the quarantine.
    pub(crate) fn all() -> Self {
        Self {
            quarantine: true,
            directories: Directory::all().into_iter().collect(),
        }
    }

    /// Whether there is nothing to compare.
    pub(crate) fn is_empty(&self) -> bool {
        !self.quarantine && self.directories.is_empty()
    }

    fn add(&mut self, place: Place, path: &ImagePath) {
        match place {
            Place::Served => drop(self.directories.insert(path.directory())),
            Place::Quarantine => self.quarantine = true,
        }
    }
}

/// How images are compared that both sides have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    /// By what is known without a request: their sizes, and the expiries of files.
    Listed,
    /// By their hashes and the expiries of objects, too.
    Contents,
}

/// What a pass found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Copied {
    /// Images in the source, those in quarantine among them.
    pub(crate) images: u64,
    /// Of these, how many were copied in this pass.
    pub(crate) new: u64,
    /// Bytes copied in this pass.
    pub(crate) bytes: u64,
    /// Images deleted in the target because the source no longer has them there.
    pub(crate) deleted: u64,
    /// Differences that were left as they are: see [`Target::Complete`].
    pub(crate) left: u64,
    /// Directories that were compared.
    pub(crate) directories: u64,
    /// Where images were copied or deleted.
    pub(crate) changed: Scope,
}

impl Copied {
    fn add(&mut self, place: Place, pair: &Pair, outcome: Outcome) {
        self.images += u64::from(!matches!(pair, Pair::Target(_)));
        match outcome {
            Outcome::Same => return,
            Outcome::New(bytes) => {
                self.new += 1;
                self.bytes += bytes;
            }
            Outcome::Deleted => self.deleted += 1,
            Outcome::Left => {
                self.left += 1;
                return;
            }
        }
        self.changed.add(place, pair.path());
    }
}

/// What a pass reports.
pub(crate) enum Progress<'a> {
    /// An image is done; the counts up to now.
    Done(&'a Copied),
    /// A store is out of reach, and the copy waits for it. Told once in two minutes, however many threads wait.
    Waits(&'a io::Error),
}

/// The result of copying one image.
#[derive(Clone, Copy)]
enum Outcome {
    /// The target has it, or the source has it no longer.
    Same,
    /// So many bytes were copied.
    New(u64),
    /// It was deleted in the target.
    Deleted,
    /// The target has another one, which stays.
    Left,
}

/// A copy from one store to another.
#[derive(Debug)]
pub(crate) struct ImageCopy {
    /// The source, which may be in use.
    pub(crate) from: Box<dyn Store>,
    /// The target.
    pub(crate) to: Box<dyn Store>,
    /// What may be done to the target.
    pub(crate) target: Target,
}

impl ImageCopy {
    /// Makes the target the same as the source. `progress` is called after each image.
    pub(crate) fn run(
        &self,
        scope: &Scope,
        comparison: Comparison,
        progress: &(dyn Fn(Progress<'_>) + Sync),
    ) -> io::Result<Copied> {
        let mut copied = Copied::default();
        if scope.quarantine {
            let list = |store: &dyn Store| -> io::Result<_> {
                let mut paths = store.quarantined().map_err(unlisted(store))?;
                paths.sort_unstable();
                let listed = paths
                    .into_iter()
                    .map(|path| Ok(Listed { path, object: None }));
                Ok(listed.peekable())
            };
            let pass = Pass::of(self, Place::Quarantine, comparison, progress);
            let from = pass.patiently(|| list(&*self.from))?;
            let to = pass.patiently(|| list(&*self.to))?;
            pass.run(Pairs { from, to }, &mut copied, &AtomicU64::new(0))?;
        }
        let mut directories = Directory::all();
        directories.retain(|directory| scope.directories.contains(directory));
        let (passed, ignored) = (AtomicU64::new(0), AtomicU64::new(0));
        let list = |store, directories, passed| -> io::Result<_> {
            let images = Images::of(store, directories, passed).map_err(unlisted(store))?;
            let listed = images.map(move |listed| listed.map_err(unlisted(store)));
            Ok(listed.peekable())
        };
        let pass = Pass::of(self, Place::Served, comparison, progress);
        let from = pass.patiently(|| list(&*self.from, directories.clone(), &passed))?;
        let to = pass.patiently(|| list(&*self.to, directories.clone(), &ignored))?;
        pass.run(Pairs { from, to }, &mut copied, &passed)?;
        Ok(copied)
    }
}

/// What the threads of a pass share.
struct Pass<'a> {
    copy: &'a ImageCopy,
    place: Place,
    comparison: Comparison,
    progress: &'a (dyn Fn(Progress<'_>) + Sync),
    /// The others stop, too.
    has_failed: AtomicBool,
    /// When it was last told that the copy waits.
    told: Mutex<Option<Instant>>,
}

impl<'a> Pass<'a> {
    const fn of(
        copy: &'a ImageCopy,
        place: Place,
        comparison: Comparison,
        progress: &'a (dyn Fn(Progress<'_>) + Sync),
    ) -> Self {
        Self {
            copy,
            place,
            comparison,
            progress,
            has_failed: AtomicBool::new(false),
            told: Mutex::new(None),
        }
    }

    /// Goes through all pairs, with several at once. `passed` counts directories.
    fn run(
        &self,
        pairs: impl Iterator<Item = io::Result<Pair>> + Send,
        copied: &mut Copied,
        passed: &AtomicU64,
    ) -> io::Result<()> {
        let (pairs, copied) = (Mutex::new(pairs), Mutex::new(copied));
        let work = || -> io::Result<()> {
            while !self.has_failed.load(Relaxed) {
                // The lists are read by one thread at a time; the others are busy with images.
                let mut list = lock(&pairs);
                if self.has_failed.load(Relaxed) {
                    break;
                }
                let Some(pair) = self.patiently(|| list.next().transpose())? else {
                    break;
                };
                drop(list);
                let outcome = self.patiently(|| self.make_same(&pair))?;
                let mut copied = lock(&copied);
                copied.add(self.place, &pair, outcome);
                copied.directories = passed.load(Relaxed);
                (self.progress)(Progress::Done(&copied));
            }
            Ok(())
        };
        let work = || work().inspect_err(|_| self.has_failed.store(true, Relaxed));
        let outcome = thread::scope(|scope| {
            let threads: Vec<_> = (0..CONNECTIONS).map(|_| scope.spawn(work)).collect();
            threads.into_iter().try_for_each(|thread| {
                let ended = thread.join();
                ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
        });
        outcome?;
        let mut copied = lock(&copied);
        copied.directories = passed.load(Relaxed);
        (self.progress)(Progress::Done(&copied));
        Ok(())
    }

    /// Repeats `attempt`, which does no harm the second time, while a store is out of reach: at most for [`OUTAGE`].
    fn patiently<T>(&self, mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        let mut since = None;
        loop {
            let error = match attempt() {
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy => error,
                outcome => return outcome,
            };
            let since = *since.get_or_insert_with(Instant::now);
            if since.elapsed() >= OUTAGE || self.has_failed.load(Relaxed) {
                // Whoever waits for the list does not ask again.
                self.has_failed.store(true, Relaxed);
                return Err(error);
            }
            let mut told = lock(&self.told);
            // The threads do not begin to wait at the same time.
            if told.is_none_or(|told| told.elapsed() >= 2 * OUTAGE) {
                *told = Some(Instant::now());
                (self.progress)(Progress::Waits(&error));
            }
            drop(told);
            thread::sleep(PAUSE);
        }
    }

    fn make_same(&self, pair: &Pair) -> io::Result<Outcome> {
        match pair {
            Pair::Both(original, copy) => self.compare(original, copy),
            Pair::Source(original) => self.copy_image(&original.path),
            Pair::Target(copy) => self.delete_surplus(&copy.path),
        }
    }

    /// Deletes an image that only the list of the target has.
    fn delete_surplus(&self, path: &ImagePath) -> io::Result<Outcome> {
        let (place, copy) = (self.place, self.copy);
        // It may be newer than the list of the source, copied by another process.
        if place.stat(&*copy.from, path)?.is_some() {
            return Ok(Outcome::Same);
        }
        if copy.target == Target::Complete {
            return Ok(Outcome::Left);
        }
        place.delete(&*copy.to, path)?;
        Ok(Outcome::Deleted)
    }

    /// Compares an image that both lists have.
    fn compare(&self, original: &Listed, copy: &Listed) -> io::Result<Outcome> {
        let (place, path, to) = (self.place, &original.path, &*self.copy.to);
        let facts = (
            place.facts(&*self.copy.from, original)?,
            place.facts(to, copy)?,
        );
        let (Some(original), Some(found)) = facts else {
            return self.copy_image(path);
        };
        let has_same_contents = || -> io::Result<bool> {
            Ok(self.comparison == Comparison::Listed
                || self.has_same_expiry(path, &original, &found)?
                    && self.has_same_bytes(path, &original, &found)?)
        };
        if original.may_equal(&found) {
            match has_same_contents() {
                Ok(true) => return Ok(Outcome::Same),
                Ok(false) => {}
                // Deleted since it was listed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return self.copy_image(path);
                }
                Err(error) => return Err(error),
            }
        }
        if self.copy.target == Target::Complete {
            return Ok(Outcome::Left);
        }
        place.delete(to, path)?;
        self.copy_image(path)
    }

    /// Whether the copy has the mark of the original. A copy that is newer than the last change of its original was made with it; a younger
    /// original costs a request for each bucket.
    fn has_same_expiry(
        &self,
        path: &ImagePath,
        original: &Facts,
        found: &Facts,
    ) -> io::Result<bool> {
        if path.duration() == StoreDuration::Lifetime
            || original.modified_at < found.modified_at.minus(SKEW)
        {
            return Ok(true);
        }
        let expiry = |store: &dyn Store, facts: &Facts| match facts.expires_at {
            None => {
                let stored = self.place.stat(store, path)?;
                Ok::<_, io::Error>(stored.map(|stored| stored.expires_at))
            }
            known => Ok(known),
        };
        Ok(expiry(&*self.copy.from, original)? == expiry(&*self.copy.to, found)?)
    }

    /// Whether both sides have the same bytes. They are read only where the hash of neither store proves it.
    fn has_same_bytes(
        &self,
        path: &ImagePath,
        original: &Facts,
        found: &Facts,
    ) -> io::Result<bool> {
        let (place, from, to) = (self.place, &*self.copy.from, &*self.copy.to);
        let is_proved = match (&original.etag, &found.etag) {
            (Some(one), Some(other)) if one == other => true,
            (_, Some(etag)) => to.matches_hash(etag, &mut place.read(from, path)?)?,
            (Some(etag), None) => from.matches_hash(etag, &mut place.read(to, path)?)?,
            (None, None) => false,
        };
        if is_proved {
            return Ok(true);
        }
        are_equal(&mut place.read(from, path)?, &mut place.read(to, path)?)
    }

    fn copy_image(&self, path: &ImagePath) -> io::Result<Outcome> {
        let (place, to) = (self.place, &*self.copy.to);
        let Some((stored, mut reader)) = place.open(&*self.copy.from, path)? else {
            // Deleted since it was listed.
            return Ok(Outcome::Same);
        };
        let expiry = match path.duration() {
            StoreDuration::Lifetime => None,
            _ => Some(Expiry::from_instant(stored.expires_at).ok_or_else(|| {
                io::Error::other(format!(
                    "{path} has lost its expiry: run `corenexis-cdn verify --repair` first"
                ))
            })?),
        };
        let mut spool = to.spool().map_err(unwritten(path, to))?;
        let bytes = spooled(&mut reader, &mut spool)?;
        if bytes != stored.size {
            let text = format!(
                "{bytes} of the {} bytes of {path} could be read",
                stored.size
            );
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
        }
        if expiry.is_none() && stored.expires_at != NO_EXPIRY {
            // nginx makes the ETag of a file from its modification time.
            let marked = spool.set_modified(stored.expires_at.minus(1));
            marked.map_err(unwritten(path, to))?;
        }
        let upload = Publication {
            spool: &mut spool,
            path,
            expiry,
        };
        let published = match place {
            Place::Served => to.publish(&mut [upload]).into_iter().collect(),
            Place::Quarantine => to.publish_quarantined(upload),
        };
        match published {
            Ok(()) => Ok(Outcome::New(bytes)),
            Err(PublishError::NameTaken) => Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                format!("{path} came into the target meanwhile: does another copy run?"),
            )),
            Err(PublishError::Directory(error) | PublishError::Image(error)) => {
                Err(unwritten(path, to)(error))
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes an image into a spool file; the number of its bytes.
fn spooled(reader: &mut dyn Read, spool: &mut Spool) -> io::Result<u64> {
    let mut part = vec![0; 64 << 10];
    loop {
        let length = match reader.read(&mut part) {
            Ok(0) => return Ok(spool.size()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        spool.write_all(&part[..length]).map_err(|error| {
            let spool = spool.path().display();
            io::Error::new(
                error.kind(),
                format!("{spool} could not be written: {error}"),
            )
        })?;
    }
}

fn are_equal(one: &mut dyn Read, other: &mut dyn Read) -> io::Result<bool> {
    let (mut first, mut second) = (Vec::new(), Vec::new());
    loop {
        first.clear();
        second.clear();
        one.take(PART).read_to_end(&mut first)?;
        other.take(PART).read_to_end(&mut second)?;
        if first != second {
            return Ok(false);
        }
        if first.is_empty() {
            return Ok(true);
        }
    }
}

#[cfg(test)]
mod tests;
