//! Quarantine: out of reach, bytes kept, and back again.

use std::io::{self, Read};

use time::macros::date;

use super::{NOW, clean, exists, path, publish, spool};
use crate::expiry::{Expiry, StoreDuration};
use crate::image_path::ImagePath;
use crate::store::{Publication, PublishError, Store};

fn quarantine(store: &dyn Store, paths: &[ImagePath]) -> Vec<bool> {
    let outcomes = store.quarantine(paths).into_iter();
    outcomes
        .map(|outcome| outcome.expect("quarantined"))
        .collect()
}

fn bytes(mut reader: Box<dyn Read>) -> Vec<u8> {
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).expect("readable");
    bytes
}

pub(super) fn an_image_in_quarantine_is_not_served_and_keeps_its_bytes(store: &dyn Store) {
    let [kept, other] = [StoreDuration::Month1, StoreDuration::Lifetime]
        .map(|duration| path(duration, date!(2026 - 04 - 05)));
    assert_eq!(store.quarantined().expect("listed"), []);
    for image in [&kept, &other] {
        publish(store, &mut spool(store, image.as_str().as_bytes()), image).expect("published");
    }
    let absent = path(StoreDuration::Days7, date!(2026 - 04 - 06));
    let asked = [kept.clone(), absent.clone(), other.clone()];
    assert_eq!(quarantine(store, &asked), [true, false, true]);
    assert_eq!(quarantine(store, &asked), [false; 3], "not a second time");
    let mut listed = store.quarantined().expect("listed");
    listed.sort_unstable();
    let mut expected = vec![kept.clone(), other.clone()];
    expected.sort_unstable();
    assert_eq!(listed, expected);
    for image in [&kept, &other] {
        assert!(!exists(store, image), "{image} is served");
        assert_eq!(store.list(image.directory()).expect("listed"), []);
        let read = store.read_quarantined(image).expect("readable");
        assert_eq!(bytes(read), image.as_str().as_bytes());
    }
    clean(store, 0, false);
    assert_eq!(store.stat_quarantined(&absent).expect("known"), None);

    assert!(store.release(&kept).expect("released"));
    assert!(!store.release(&kept).expect("known"), "it is released");
    assert_eq!(
        bytes(store.read(&kept).expect("readable")),
        kept.as_str().as_bytes()
    );
    let expiry = StoreDuration::Month1.expiry(NOW).expect("expires");
    let stored = store.stat(&kept).expect("known").expect("there");
    assert_eq!(stored.expires_at, expiry.instant(), "its expiry is kept");

    for _ in 0..2 {
        store.delete_quarantined(&other).expect("deleted");
    }
    assert_eq!(store.stat_quarantined(&other).expect("known"), None);
    assert_eq!(store.quarantined().expect("listed"), []);
}

pub(super) fn a_served_copy_of_an_image_in_quarantine_goes(store: &dyn Store) {
    let image = path(StoreDuration::Lifetime, date!(2026 - 04 - 05));
    publish(store, &mut spool(store, b"kept"), &image).expect("published");
    assert_eq!(quarantine(store, std::slice::from_ref(&image)), [true]);
    publish(store, &mut spool(store, b"copy"), &image).expect("published");
    let refused = store.release(&image).expect_err("the path is taken");
    assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(quarantine(store, std::slice::from_ref(&image)), [true]);
    assert!(!exists(store, &image));
    assert_eq!(
        bytes(store.read_quarantined(&image).expect("readable")),
        b"kept"
    );
}

pub(super) fn an_image_can_be_published_into_quarantine(store: &dyn Store) {
    let image = path(StoreDuration::Month1, date!(2026 - 04 - 05));
    let expiry = StoreDuration::Month1.expiry(NOW);
    let keep = |bytes: &[u8]| {
        store.publish_quarantined(Publication {
            spool: &mut spool(store, bytes),
            path: &image,
            expiry,
        })
    };
    keep(b"kept").expect("published");
    assert!(!exists(store, &image), "it is not served");
    let taken = keep(b"other").expect_err("it is there");
    assert!(matches!(taken, PublishError::NameTaken), "{taken:?}");
    let stored = store
        .stat_quarantined(&image)
        .expect("known")
        .expect("there");
    assert_eq!(
        (stored.size, Some(stored.expires_at)),
        (4, expiry.map(Expiry::instant))
    );
    assert!(store.release(&image).expect("released"));
    assert_eq!(bytes(store.read(&image).expect("readable")), b"kept");
    let listed = store.listing(image.directory()).next();
    let listed = listed.expect("an image").expect("listed");
    if let Some(object) = listed.object {
        let proves = |mut bytes| store.matches_hash(&object.etag, &mut bytes).expect("read");
        assert!(proves(&b"kept"[..]));
        assert!(!proves(b"other"));
    }
}
