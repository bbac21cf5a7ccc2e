//! The images of source and target, beside each other.

use std::cmp::Ordering;
use std::io::{self, Read};
use std::iter::Peekable;

use crate::expiry::StoreDuration;
use crate::image_path::ImagePath;
use crate::store::{Listed, Part, Store, Stored};
use crate::timestamp::Timestamp;

/// Where an image lies in a store.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place {
    Served,
    Quarantine,
}

impl Place {
    pub(super) fn stat(self, store: &dyn Store, path: &ImagePath) -> io::Result<Option<Stored>> {
        let stored = match self {
            Self::Served => store.stat(path),
            Self::Quarantine => store.stat_quarantined(path),
        };
        stored.map_err(unread(path, store))
    }

    pub(super) fn open<'a>(
        self,
        store: &'a dyn Store,
        path: &'a ImagePath,
    ) -> io::Result<Option<(Stored, Original<'a>)>> {
        let opened = match self {
            Self::Served => store.open(path, Part::Whole).map_err(unread(path, store))?,
            Self::Quarantine => match self.stat(store, path)? {
                Some(stored) => {
                    let reader = store.read_quarantined(path);
                    Some((stored, reader.map_err(unread(path, store))?))
                }
                None => None,
            },
        };
        let named = |reader| Original {
            reader,
            store,
            path,
        };
        Ok(opened.map(|(stored, reader)| (stored, named(reader))))
    }

    pub(super) fn read<'a>(
        self,
        store: &'a dyn Store,
        path: &'a ImagePath,
    ) -> io::Result<Original<'a>> {
        let reader = match self {
            Self::Served => store.read(path),
            Self::Quarantine => store.read_quarantined(path),
        };
        Ok(Original {
            reader: reader.map_err(unread(path, store))?,
            store,
            path,
        })
    }

    pub(super) fn delete(self, store: &dyn Store, path: &ImagePath) -> io::Result<()> {
        let deleted = match self {
            Self::Served => store
                .delete(std::slice::from_ref(path))
                .into_iter()
                .collect(),
            Self::Quarantine => store.delete_quarantined(path),
        };
        deleted.map_err(failed(format!("{path} could not be deleted in"), store))
    }

    /// What is known of a listed image without a request, or by one; `None` if it is not there any more.
    pub(super) fn facts(self, store: &dyn Store, listed: &Listed) -> io::Result<Option<Facts>> {
        if let Some(object) = &listed.object {
            return Ok(Some(Facts {
                size: object.size,
                etag: Some(object.etag.clone()),
                modified_at: object.modified_at,
                expires_at: None,
            }));
        }
        let stored = self.stat(store, &listed.path)?;
        let is_marked = listed.path.duration() != StoreDuration::Lifetime;
        Ok(stored.map(|stored| Facts {
            size: stored.size,
            etag: None,
            modified_at: stored.published_at,
            expires_at: is_marked.then_some(stored.expires_at),
        }))
    }
}

/// The bytes of an image. An error of reading them names the image and the store.
pub(super) struct Original<'a> {
    reader: Box<dyn Read>,
    store: &'a dyn Store,
    path: &'a ImagePath,
}

impl Read for Original<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(out);
        read.map_err(unread(self.path, self.store))
    }
}

/// Makes an error say that the images of `store` could not be listed.
pub(super) fn unlisted(store: &dyn Store) -> impl Fn(io::Error) -> io::Error {
    failed("the images could not be listed in".to_owned(), store)
}

/// Makes an error say that the image at `path` could not be written to `store`.
pub(super) fn unwritten(path: &ImagePath, store: &dyn Store) -> impl Fn(io::Error) -> io::Error {
    failed(format!("{path} could not be written to"), store)
}

fn unread(path: &ImagePath, store: &dyn Store) -> impl Fn(io::Error) -> io::Error {
    failed(format!("{path} could not be read from"), store)
}

fn failed(what: String, store: &dyn Store) -> impl Fn(io::Error) -> io::Error {
    move |error| {
        let place = store.place();
        io::Error::new(error.kind(), format!("{what} the {place}: {error}"))
    }
}

/// One side of a comparison.
pub(super) struct Facts {
    pub(super) size: u64,
    pub(super) etag: Option<String>,
    /// When bytes or expiry were last changed.
    pub(super) modified_at: Timestamp,
    /// The expiry of a file; `None` for a lifetime image, and for an object, whose list does not have it.
    pub(super) expires_at: Option<Timestamp>,
}

impl Facts {
    /// Whether the sizes are equal, and the expiries where both are known.
    pub(super) fn may_equal(&self, other: &Self) -> bool {
        let expiries = self.expires_at.zip(other.expires_at);
        self.size == other.size && expiries.is_none_or(|(own, other)| own == other)
    }
}

/// An image in the list of the source, in that of the target, or in both.
pub(super) enum Pair {
    Source(Listed),
    Target(Listed),
    Both(Listed, Listed),
}

impl Pair {
    pub(super) const fn path(&self) -> &ImagePath {
        let (Self::Source(listed) | Self::Target(listed) | Self::Both(listed, _)) = self;
        &listed.path
    }
}

/// Both sides in the order of their paths.
pub(super) struct Pairs<I: Iterator> {
    pub(super) from: Peekable<I>,
    pub(super) to: Peekable<I>,
}

impl<I: Iterator<Item = io::Result<Listed>>> Iterator for Pairs<I> {
    type Item = io::Result<Pair>;

    fn next(&mut self) -> Option<Self::Item> {
        let order = match (self.from.peek(), self.to.peek()) {
            (None, None) => return None,
            (Some(Ok(original)), Some(Ok(copy))) => original.path.cmp(&copy.path),
            // A failure is taken first.
            (Some(Err(_)), _) | (Some(_), None) => Ordering::Less,
            (_, Some(Err(_))) | (None, Some(_)) => Ordering::Greater,
        };
        Some(match order {
            Ordering::Less => self.from.next()?.map(Pair::Source),
            Ordering::Greater => self.to.next()?.map(Pair::Target),
            Ordering::Equal => {
                let (original, copy) = (self.from.next()?, self.to.next()?);
                original.and_then(|original| Ok(Pair::Both(original, copy?)))
            }
        })
    }
}
