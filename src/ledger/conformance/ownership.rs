//! An id can be given again after its client was removed: images and usage stay those of the first client.

use super::{NOW, add, day_image};
use crate::image_path::ImagePath;
use crate::ledger::{ImageFilter, Ledger, Owner};

pub(super) fn images_and_usage_belong_to_a_key(ledger: &dyn Ledger) {
    let first = add(ledger, "shop");
    let old = day_image(first);
    ledger
        .record(std::slice::from_ref(&old), NOW)
        .expect("recorded");
    assert_eq!(ledger.remove_client("shop", NOW), Ok(true));
    let second = add(ledger, "shop");
    assert_ne!(first, second);
    let new = day_image(second);
    ledger
        .record(&[new.clone(), day_image(second)], NOW)
        .expect("recorded");

    let owned = |owner, limit| -> Vec<ImagePath> {
        let filter = ImageFilter {
            owner: Some(Owner::Key(owner)),
            ..ImageFilter::all(limit)
        };
        let rows = ledger.images(&filter).expect("readable");
        assert!(rows.iter().all(|row| row.owner == owner));
        rows.into_iter().map(|row| row.path).collect()
    };
    assert_eq!(owned(first, 9), [old.path]);
    assert_eq!(owned(second, 9).len(), 2);
    assert_eq!(owned(second, 1).len(), 1);
    let row = ledger.image(&new.path).expect("readable").expect("there");
    assert_eq!(row.owner, second);

    let uploads = |key, since| -> Vec<(u32, u64)> {
        let rows = ledger
            .usage(Some(&Owner::Key(key)), Some(since))
            .expect("readable");
        rows.iter().map(|row| (row.uploads, row.bytes)).collect()
    };
    assert_eq!(uploads(first, NOW.date()), [(1, 100)]);
    assert_eq!(uploads(second, NOW.date()), [(2, 200)]);
    let tomorrow = NOW.date().next_day().expect("a day");
    assert_eq!(uploads(second, tomorrow), []);
}
