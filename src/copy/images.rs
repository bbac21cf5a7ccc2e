//! Copies the images of a store into another one, those in quarantine too.
//!
//! Directory by directory, both sides in the order of their paths. An image is in the target whole or not at all, so a copy that was
//! interrupted goes on with what is missing.

use std::collections::HashSet;
use std::io::{self, Read};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::Target;
use crate::expiry::{Expiry, StoreDuration};
use crate::image_path::{Directory, ImagePath};
use crate::store::{Publication, PublishError, Store, Stored};

/// Images that are copied at once: a bucket is far away.
const THREADS: usize = 8;

/// Bytes that are compared at once.
const PART: u64 = 64 << 10;

/// What a pass found and did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
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
}

impl Copied {
    const fn add(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Same => {}
            Outcome::New(bytes) => {
                self.new += 1;
                self.bytes += bytes;
            }
            Outcome::Left => self.left += 1,
        }
    }
}

/// The result of copying one image.
#[derive(Clone, Copy)]
enum Outcome {
    /// The target has it, or the source has it no longer.
    Same,
    /// So many bytes were copied.
    New(u64),
    /// The target has another one, which stays.
    Left,
}

/// A copy from one store to another.
#[derive(Debug)]
pub(crate) struct ImageCopy<'a> {
    /// The source, which may be in use.
    pub(crate) from: &'a dyn Store,
    /// The target.
    pub(crate) to: &'a dyn Store,
    /// What may be done to the target.
    pub(crate) target: Target,
}

/// Where an image lies in a store.
#[derive(Debug, Clone, Copy)]
enum Place {
    Served,
    Quarantine,
}

impl Place {
    fn stat(self, store: &dyn Store, path: &ImagePath) -> io::Result<Option<Stored>> {
        match self {
            Self::Served => store.stat(path),
            Self::Quarantine => store.stat_quarantined(path),
        }
    }

    fn read(self, store: &dyn Store, path: &ImagePath) -> io::Result<Box<dyn Read>> {
        match self {
            Self::Served => store.read(path),
            Self::Quarantine => store.read_quarantined(path),
        }
    }

    fn delete(self, store: &dyn Store, path: &ImagePath) -> io::Result<()> {
        match self {
            Self::Served => store
                .delete(std::slice::from_ref(path))
                .into_iter()
                .collect(),
            Self::Quarantine => store.delete_quarantined(path),
        }
    }

    /// Whether the image has the same bytes in both stores. They are read only where the hash of neither store proves it.
    fn has_same_bytes(
        self,
        one: &dyn Store,
        other: &dyn Store,
        path: &ImagePath,
    ) -> io::Result<bool> {
        if let Self::Served = self
            && (other.matches_hash(path, &|| one.read(path))?
                || one.matches_hash(path, &|| other.read(path))?)
        {
            return Ok(true);
        }
        let [mut one, mut other] = [self.read(one, path)?, self.read(other, path)?];
        are_equal(&mut *one, &mut *other)
    }
}

/// The images of a store by directory. Directories that it does not have are not listed.
struct Lists<'a> {
    store: &'a dyn Store,
    used: HashSet<Directory>,
}

impl<'a> Lists<'a> {
    fn of(store: &'a dyn Store) -> io::Result<Self> {
        let used = store.directories()?.into_iter().collect();
        Ok(Self { store, used })
    }

    fn list(&self, directory: Directory) -> io::Result<Vec<ImagePath>> {
        if self.used.contains(&directory) {
            self.store.list(directory)
        } else {
            Ok(Vec::new())
        }
    }
}

impl ImageCopy<'_> {
    /// Makes the target the same as the source. With `compares`, images that both have are compared by size, expiry and hash.
    /// `progress` is called with what was done so far.
    pub(crate) fn run(
        &self,
        compares: bool,
        progress: &(dyn Fn(&Copied) + Sync),
    ) -> io::Result<Copied> {
        let mut copied = Copied::default();
        let sides = (self.from.quarantined()?, self.to.quarantined()?);
        self.make_same(Place::Quarantine, sides, compares, &mut copied, progress)?;
        let lists = (Lists::of(self.from)?, Lists::of(self.to)?);
        for directory in Directory::all() {
            let sides = (lists.0.list(directory)?, lists.1.list(directory)?);
            self.make_same(Place::Served, sides, compares, &mut copied, progress)?;
            copied.directories += 1;
            progress(&copied);
        }
        Ok(copied)
    }

    /// Lists both sides again and counts what only one of them has. Returns images and differences.
    pub(crate) fn prove(&self) -> io::Result<(u64, u64)> {
        let (mut images, mut differences) = (0, 0);
        let mut compare = |(mut one, mut other): (Vec<ImagePath>, Vec<ImagePath>)| {
            one.sort_unstable();
            other.sort_unstable();
            images += one.len() as u64;
            if one != other {
                let [one, other]: [HashSet<_>; 2] = [one, other].map(HashSet::from_iter);
                differences += one.symmetric_difference(&other).count() as u64;
            }
        };
        compare((self.from.quarantined()?, self.to.quarantined()?));
        let lists = (Lists::of(self.from)?, Lists::of(self.to)?);
        for directory in Directory::all() {
            compare((lists.0.list(directory)?, lists.1.list(directory)?));
        }
        Ok((images, differences))
    }

    fn make_same(
        &self,
        place: Place,
        (mut images, found): (Vec<ImagePath>, Vec<ImagePath>),
        compares: bool,
        copied: &mut Copied,
        progress: &(dyn Fn(&Copied) + Sync),
    ) -> io::Result<()> {
        images.sort_unstable();
        let found: HashSet<ImagePath> = found.into_iter().collect();
        let listed: HashSet<&ImagePath> = images.iter().collect();
        for path in found.iter().filter(|path| !listed.contains(path)) {
            let is_known = place.stat(self.from, path);
            // It may be newer than the list of the source, copied by another process.
            if is_known.map_err(|error| named(path, &error))?.is_some() {
                continue;
            }
            if self.target == Target::Complete {
                copied.left += 1;
            } else {
                place
                    .delete(self.to, path)
                    .map_err(|error| named(path, &error))?;
                copied.deleted += 1;
            }
        }
        copied.images += images.len() as u64;
        let next = AtomicUsize::new(0);
        let shared = Mutex::new((&mut *copied, Ok(())));
        let work = || {
            while let Some(path) = images.get(next.fetch_add(1, Ordering::Relaxed)) {
                let outcome = match found.contains(path) {
                    true if !compares => Ok(Outcome::Same),
                    true => self.compare(place, path),
                    false => self.copy_image(place, path),
                };
                let mut shared = shared
                    .lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner);
                match outcome {
                    Ok(outcome) => shared.0.add(outcome),
                    Err(error) => {
                        shared.1 = Err(named(path, &error));
                        // The others stop, too.
                        next.store(images.len(), Ordering::Relaxed);
                    }
                }
                progress(shared.0);
            }
        };
        if images.len() < 2 {
            work();
        } else {
            thread::scope(|scope| {
                for _ in 0..THREADS.min(images.len()) {
                    scope.spawn(work);
                }
            });
        }
        shared
            .into_inner()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .1
    }

    /// Compares an image that both lists have.
    fn compare(&self, place: Place, path: &ImagePath) -> io::Result<Outcome> {
        let (Some(original), Some(found)) =
            (place.stat(self.from, path)?, place.stat(self.to, path)?)
        else {
            return self.copy_image(place, path);
        };
        let is_marked =
            path.duration() == StoreDuration::Lifetime || original.expires_at == found.expires_at;
        if original.size == found.size
            && is_marked
            && place.has_same_bytes(self.from, self.to, path)?
        {
            return Ok(Outcome::Same);
        }
        if self.target == Target::Complete {
            return Ok(Outcome::Left);
        }
        place.delete(self.to, path)?;
        self.copy_image(place, path)
    }

    fn copy_image(&self, place: Place, path: &ImagePath) -> io::Result<Outcome> {
        let Some(stored) = place.stat(self.from, path)? else {
            // Deleted since it was listed.
            return Ok(Outcome::Same);
        };
        let expiry = match path.duration() {
            StoreDuration::Lifetime => None,
            _ => Some(Expiry::from_instant(stored.expires_at).ok_or_else(|| {
                io::Error::other(
                    "it has lost its expiry: run `corenexis-cdn verify --repair` first",
                )
            })?),
        };
        let mut reader = match place.read(self.from, path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Outcome::Same),
            reader => reader?,
        };
        let mut spool = self.to.spool()?;
        let bytes = io::copy(&mut reader, &mut spool)?;
        if bytes != stored.size {
            let text = format!("{bytes} of {} bytes could be read", stored.size);
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
        }
        let upload = Publication {
            spool: &mut spool,
            path,
            expiry,
        };
        let published = match place {
            Place::Served => self.to.publish(&mut [upload]).into_iter().collect(),
            Place::Quarantine => self.to.publish_quarantined(upload),
        };
        match published {
            Ok(()) => Ok(Outcome::New(bytes)),
            Err(PublishError::NameTaken) => Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "it came into the target meanwhile: does another copy run?",
            )),
            Err(PublishError::Directory(error) | PublishError::Image(error)) => Err(error),
        }
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

fn named(path: &ImagePath, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{path}: {error}"))
}
