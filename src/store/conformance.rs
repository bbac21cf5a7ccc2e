//! The conformance suite of [`Store`]. An implementation calls [`check`] with a function that opens an empty store.

mod quarantine;

use std::io::{Read, Write};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::thread;

use time::macros::{date, utc_datetime};
use time::{Date, UtcDateTime};

use super::{Cleaned, Images, Part, Publication, PublishError, Spool, Store};
use crate::expiry::{Expiry, StoreDuration};
use crate::identity::Identity;
use crate::image::ImageType;
use crate::image_path::{Directory, ImagePath};
use crate::timestamp::Timestamp;

const NOW: UtcDateTime = utc_datetime!(2026-04-05 12:00);

/// Runs the whole suite, each part over a store of its own.
pub(crate) fn check<S: Store>(open: impl Fn() -> S) {
    images_are_found(&open());
    a_spool_counts_its_bytes(&open());
    many_are_published_at_once(&open());
    many_are_published_together(&open());
    nothing_is_replaced(&open());
    deleting_is_idempotent(&open());
    an_image_says_what_it_is(&open());
    images_are_listed_in_the_order_of_their_paths(&open());
    abandoned_uploads_are_deleted(&open());
    quarantine::an_image_in_quarantine_is_not_served_and_keeps_its_bytes(&open());
    quarantine::a_served_copy_of_an_image_in_quarantine_goes(&open());
    quarantine::an_image_can_be_published_into_quarantine(&open());
    let space = open().space().expect("writable");
    assert!(space.free_bytes != Some(0) && space.free_files != Some(0));
}

/// Runs the part of the suite for stores that have directories.
pub(crate) fn check_directories<S: Store>(open: impl Fn() -> S) {
    empty_directories_are_deleted(&open());
    directories_may_vanish_at_any_time(&open());
}

fn images_are_found(store: &dyn Store) {
    store.check_writable().expect("writable");
    assert!(!store.has_images().expect("listed"));
    assert_eq!(store.identity().expect("known"), None);
    for mark in [0, 7] {
        let identity = Identity { id: 0xfe, mark };
        store.set_identity(identity).expect("written");
        assert_eq!(store.identity().expect("known"), Some(identity));
    }
    assert!(
        !store.has_images().expect("listed"),
        "an identity is no image"
    );
    let image = path(StoreDuration::Months3, date!(2026 - 12 - 31));
    publish(store, &mut spool(store, b"12345"), &image).expect("published");
    assert!(store.has_images().expect("listed"));
}

fn path(duration: StoreDuration, day: Date) -> ImagePath {
    ImagePath::random(duration, day, 10, ImageType::Png).expect("random")
}

fn spool(store: &dyn Store, bytes: &[u8]) -> Spool {
    let mut spool = store.spool().expect("a spool");
    spool.write_all(bytes).expect("written");
    spool
}

fn publish(store: &dyn Store, spool: &mut Spool, path: &ImagePath) -> Result<(), PublishError> {
    publish_with(store, spool, path, path.duration().expiry(NOW))
}

/// Publishes one upload.
pub(crate) fn publish_with(
    store: &dyn Store,
    spool: &mut Spool,
    path: &ImagePath,
    expiry: Option<Expiry>,
) -> Result<(), PublishError> {
    let mut publication = [Publication {
        spool,
        path,
        expiry,
    }];
    store.publish(&mut publication).remove(0)
}

/// Publishes an image with these bytes that was uploaded at this instant.
pub(crate) fn place(store: &dyn Store, path: &ImagePath, bytes: &[u8], at: UtcDateTime) {
    let mut spool = store.spool().expect("a spool");
    spool.write_all(bytes).expect("written");
    publish_with(store, &mut spool, path, path.duration().expiry(at)).expect("published");
}

fn a_spool_counts_its_bytes(store: &dyn Store) {
    let mut spool = spool(store, b"some ");
    spool.write_all(b"bytes").expect("written");
    assert_eq!(spool.size(), 10);
}

fn exists(store: &dyn Store, path: &ImagePath) -> bool {
    store.stat(path).expect("known").is_some()
}

fn many_are_published_at_once(store: &dyn Store) {
    let paths: Vec<_> = StoreDuration::ALL
        .iter()
        .cycle()
        .take(36)
        .map(|&d| path(d, date!(2026 - 04 - 05)))
        .collect();
    thread::scope(|scope| {
        for path in &paths {
            scope.spawn(move || {
                let mut spool = spool(store, path.as_str().as_bytes());
                publish(store, &mut spool, path).expect("published");
            });
        }
    });
    for path in &paths {
        assert!(store.list(path.directory()).expect("listed").contains(path));
        assert!(exists(store, path));
    }
    assert_eq!(
        store
            .list(Directory::of(StoreDuration::Days7, date!(2026 - 04 - 06)))
            .expect("listed"),
        []
    );
}

fn many_are_published_together(store: &dyn Store) {
    let days = [date!(2026 - 04 - 05), date!(2026 - 04 - 06)];
    let paths: Vec<_> = days
        .into_iter()
        .flat_map(|day| StoreDuration::ALL.map(|duration| path(duration, day)))
        .collect();
    let taken = &paths[3];
    publish(store, &mut spool(store, b"first"), taken).expect("published");
    let mut spools: Vec<_> = paths
        .iter()
        .map(|path| spool(store, path.as_str().as_bytes()))
        .collect();
    let expiries = paths.iter().map(|path| path.duration().expiry(NOW));
    let mut prepared: Vec<_> = spools.iter_mut().zip(expiries).collect();
    store.prepare(&mut prepared).expect("prepared");
    let mut publications: Vec<_> = prepared
        .into_iter()
        .zip(&paths)
        .map(|((spool, expiry), path)| Publication {
            spool,
            path,
            expiry,
        })
        .collect();
    let outcomes = store.publish(&mut publications);
    for (path, outcome) in paths.iter().zip(outcomes) {
        let kept = if path == taken {
            assert!(
                matches!(outcome, Err(PublishError::NameTaken)),
                "{outcome:?}"
            );
            &b"first"[..]
        } else {
            outcome.expect("published");
            path.as_str().as_bytes()
        };
        let mut bytes = Vec::new();
        let mut image = store.read(path).expect("open");
        image.read_to_end(&mut bytes).expect("readable");
        assert_eq!(bytes, kept);
        let stored = store.stat(path).expect("known").expect("there");
        if let Some(expiry) = path.duration().expiry(NOW) {
            assert_eq!(stored.expires_at, expiry.instant(), "{path}");
        }
    }
    drop(spools);
    assert_eq!(clean(store, i64::MAX, true).abandoned, 0);
}

fn nothing_is_replaced(store: &dyn Store) {
    let path = path(StoreDuration::Days7, date!(2026 - 04 - 05));
    publish(store, &mut spool(store, b"first"), &path).expect("published");
    let mut second = spool(store, b"second, and longer");
    assert!(matches!(
        publish(store, &mut second, &path),
        Err(PublishError::NameTaken)
    ));
    let another = self::path(StoreDuration::Days7, date!(2026 - 04 - 05));
    publish(store, &mut second, &another).expect("published under another name");
    for (path, size) in [(path, 5), (another, 18)] {
        let stored = store.stat(&path).expect("known").expect("there");
        assert_eq!(stored.size, size, "the first image is kept");
        store.delete(&[path]).remove(0).expect("deleted");
    }
}

fn deleting_is_idempotent(store: &dyn Store) {
    let path = path(StoreDuration::Lifetime, date!(2026 - 04 - 05));
    publish(store, &mut spool(store, b"12345"), &path).expect("published");
    let outcomes = store.delete(&[path.clone(), path.clone()]);
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    assert!(!exists(store, &path));
}

fn an_image_says_what_it_is(store: &dyn Store) {
    let path = path(StoreDuration::Month1, date!(2026 - 04 - 05));
    assert_eq!(store.stat(&path).expect("known"), None);
    assert!(store.open(&path, Part::Whole).expect("known").is_none());
    assert!(store.read(&path).is_err());
    publish(store, &mut spool(store, b"12345"), &path).expect("published");
    let stored = store.stat(&path).expect("known").expect("there");
    let expiry = path.duration().expiry(NOW).expect("expires");
    assert_eq!((stored.size, stored.expires_at), (5, expiry.instant()));
    let age = UtcDateTime::now().unix_timestamp() - stored.published_at.0;
    assert!((-1..3_600).contains(&age), "{age}");
    let mut bytes = Vec::new();
    store
        .read(&path)
        .expect("readable")
        .read_to_end(&mut bytes)
        .expect("read");
    assert_eq!(bytes, b"12345");
    for part in [Part::First(2), Part::First(9), Part::Whole] {
        let opened = store.open(&path, part).expect("readable");
        let (opened, mut reader) = opened.expect("there");
        assert_eq!(opened, stored, "{part:?}");
        bytes.clear();
        reader.read_to_end(&mut bytes).expect("read");
        assert_eq!(bytes, b"12345", "{part:?}");
    }
    let later = StoreDuration::Months3.expiry(NOW).expect("expires");
    store.set_expiry(&path, later).expect("marked");
    let stored = store.stat(&path).expect("known").expect("there");
    assert_eq!((stored.size, stored.expires_at), (5, later.instant()));
    let empty = self::path(StoreDuration::Month1, date!(2026 - 04 - 05));
    publish(store, &mut spool(store, b""), &empty).expect("published");
    let opened = store.open(&empty, Part::First(2)).expect("readable");
    let (opened, mut reader) = opened.expect("there");
    assert_eq!(opened.size, 0);
    assert_eq!(reader.read_to_end(&mut bytes).expect("read"), 0);
}

fn images_are_listed_in_the_order_of_their_paths(store: &dyn Store) {
    let days = [date!(2026 - 04 - 05), date!(2026 - 04 - 15)];
    let durations = StoreDuration::ALL.into_iter().cycle().take(12);
    let mut paths: Vec<_> = durations
        .flat_map(|duration| days.map(|day| path(duration, day)))
        .collect();
    for path in &paths {
        publish(store, &mut spool(store, b"12345"), path).expect("published");
    }
    paths.sort();
    let passed = AtomicU64::new(0);
    let images = Images::of(store, Directory::all(), &passed).expect("listed");
    let images: Vec<_> = images.collect::<Result<_, _>>().expect("listed");
    assert!(images.iter().map(|listed| &listed.path).eq(&paths));
    let objects = images.iter().filter_map(|listed| listed.object.as_ref());
    assert!(objects.into_iter().all(|object| object.size == 5));
    assert_eq!(passed.into_inner(), Directory::COUNT);
}

fn clean(store: &dyn Store, before: i64, dry_run: bool) -> Cleaned {
    let cleaned = store.clean(Timestamp(before), &[], dry_run);
    cleaned.expect("cleaned")
}

fn abandoned_uploads_are_deleted(store: &dyn Store) {
    let abandoned = spool(store, b"half an ima");
    let now = UtcDateTime::now().unix_timestamp();
    assert_eq!(clean(store, now - 3_600, false).abandoned, 0, "it is young");
    assert_eq!(clean(store, now + 60, true).abandoned, 1);
    assert_eq!(clean(store, now + 60, false).abandoned, 1);
    assert_eq!(clean(store, now + 60, false).abandoned, 0);
    drop(abandoned);
}

fn empty_directories_are_deleted(store: &dyn Store) {
    let days = [
        date!(2026 - 04 - 05),
        date!(2026 - 04 - 06),
        date!(2026 - 04 - 07),
    ];
    let paths = days.map(|day| path(StoreDuration::Month1, day));
    for path in &paths {
        publish(store, &mut spool(store, b"x"), path).expect("published");
    }
    store.delete(&paths[1..]);
    let kept = [paths[2].directory()];
    let cleaned = store.clean(Timestamp(0), &kept, false).expect("cleaned");
    assert_eq!(cleaned.directories, 1);
    assert_eq!(clean(store, 0, true).directories, 0);
    assert_eq!(clean(store, 0, false).directories, 1);
    assert!(exists(store, &paths[0]));
}

/// An uploader makes a directory again that a sweep removes between its making and its use. One sweep for each upload is more than
/// any host will see.
fn directories_may_vanish_at_any_time(store: &dyn Store) {
    let begun = AtomicU32::new(0);
    let uploads = || {
        for _ in 0..200 {
            begun.fetch_add(1, Ordering::SeqCst);
            let path = path(StoreDuration::Days7, date!(2026 - 04 - 05));
            publish(store, &mut spool(store, b"x"), &path).expect("published");
            store.delete(&[path]).remove(0).expect("deleted");
        }
    };
    thread::scope(|scope| {
        let uploader = scope.spawn(uploads);
        let mut swept = 0;
        while !uploader.is_finished() {
            // Sweeps that came too late are left out: several during one upload would be more than it tries again for.
            let uploading = begun.load(Ordering::SeqCst);
            if uploading > swept {
                swept = uploading;
                clean(store, 0, false);
            }
        }
    });
}
