//! What every store must do, whatever is behind it. A back end calls [`check`] with a way to open an empty one.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use time::macros::{date, utc_datetime};
use time::{Date, UtcDateTime};

use super::{Publication, PublishError, Spool, Store};
use crate::image::ImageType;
use crate::image_path::ImagePath;
use crate::plan::StoreDuration;

const NOW: UtcDateTime = utc_datetime!(2026-04-05 12:00);

/// Runs the whole suite, each part over a store of its own.
pub(crate) fn check<S: Store>(open: impl Fn() -> S) {
    a_spool_reads_back(&open());
    many_are_published_at_once(&open());
    many_are_published_together(&open());
    nothing_is_replaced(&open());
    deleting_is_idempotent(&open());
    an_image_says_what_it_is(&open());
    abandoned_uploads_are_deleted(&open());
    empty_directories_are_deleted(&open());
    directories_may_vanish_at_any_time(&open());
    assert!(open().free_bytes().expect("known") > 0);
    assert_ne!(open().free_files().expect("known"), Some(0));
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
    store.publish(spool, path, path.duration().expiry(NOW))
}

fn a_spool_reads_back(store: &dyn Store) {
    let mut spool = spool(store, b"some ");
    spool.write_all(b"bytes").expect("written");
    assert_eq!(spool.size(), 10);
    for _ in 0..2 {
        let mut bytes = Vec::new();
        spool
            .rewound()
            .expect("readable")
            .read_to_end(&mut bytes)
            .expect("read");
        assert_eq!(bytes, b"some bytes");
    }
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
        assert!(store.placed_at(path).expect("known").is_some());
    }
    assert_eq!(store.list("d/ap6").expect("listed"), []);
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
    let mut sealed: Vec<_> = spools.iter_mut().zip(expiries).collect();
    store.seal_together(&mut sealed).expect("sealed");
    let mut publications: Vec<_> = sealed
        .into_iter()
        .zip(&paths)
        .map(|((spool, expiry), path)| Publication {
            spool,
            path,
            expiry,
        })
        .collect();
    let outcomes = store.publish_together(&mut publications);
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
    assert_eq!(store.delete_abandoned(i64::MAX, true).expect("counted"), 0);
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
    assert_eq!(
        store.delete(&[path]).remove(0).expect("deleted"),
        5,
        "the first was kept"
    );
    assert_eq!(store.delete(&[another]).remove(0).expect("deleted"), 18);
}

fn deleting_is_idempotent(store: &dyn Store) {
    let path = path(StoreDuration::Lifetime, date!(2026 - 04 - 05));
    publish(store, &mut spool(store, b"12345"), &path).expect("published");
    let sizes: Vec<_> = store
        .delete(&[path.clone(), path.clone()])
        .into_iter()
        .map(|size| size.expect("deleted"))
        .collect();
    assert_eq!(sizes, [5, 0]);
    assert_eq!(store.placed_at(&path).expect("known"), None);
}

fn an_image_says_what_it_is(store: &dyn Store) {
    let path = path(StoreDuration::Month1, date!(2026 - 04 - 05));
    assert_eq!(store.stat(&path).expect("known"), None);
    assert!(store.read(&path).is_err());
    publish(store, &mut spool(store, b"12345"), &path).expect("published");
    let stored = store.stat(&path).expect("known").expect("there");
    let expiry = path.duration().expiry(NOW).expect("expires");
    assert_eq!((stored.size, stored.expires_at), (5, expiry.instant()));
    assert_eq!(
        store.placed_at(&path).expect("known"),
        Some(stored.placed_at)
    );
    let mut bytes = Vec::new();
    store
        .read(&path)
        .expect("readable")
        .read_to_end(&mut bytes)
        .expect("read");
    assert_eq!(bytes, b"12345");
    let later = StoreDuration::Months3.expiry(NOW).expect("expires");
    store.mark(&path, later).expect("marked");
    let stored = store.stat(&path).expect("known").expect("there");
    assert_eq!((stored.size, stored.expires_at), (5, later.instant()));
}

fn abandoned_uploads_are_deleted(store: &dyn Store) {
    let abandoned = spool(store, b"half an ima");
    let now = UtcDateTime::now().unix_timestamp();
    assert_eq!(
        store.delete_abandoned(now - 3_600, false).expect("swept"),
        0,
        "it is young"
    );
    assert_eq!(store.delete_abandoned(now + 60, true).expect("counted"), 1);
    assert_eq!(store.delete_abandoned(now + 60, false).expect("swept"), 1);
    assert_eq!(store.delete_abandoned(now + 60, false).expect("swept"), 0);
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
    assert_eq!(
        store
            .delete_empty_directories(&["m/ap7".to_owned()])
            .expect("swept"),
        1
    );
    assert_eq!(store.delete_empty_directories(&[]).expect("swept"), 1);
    assert!(store.placed_at(&paths[0]).expect("known").is_some());
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
                store.delete_empty_directories(&[]).expect("swept");
            }
        }
    });
}
