//! An id can be given again after its client was removed: images and usage stay those of the first client.

use super::{NOW, add, day_image};
use crate::image_path::ImagePath;
use crate::ledger::{Ledger, Listing, Owner};

pub(super) fn images_and_usage_belong_to_a_key(ledger: &dyn Ledger) {
    let first = add(ledger, "shop");
    let old = day_image(first);
    ledger
        .record(std::slice::from_ref(&old), NOW)
        .expect("recorded");
    let old_path = old.path.clone();
    assert_eq!(ledger.remove_client("shop", NOW), Ok(true));
    let second = add(ledger, "shop");
    assert_ne!(first, second);
    let third = add(ledger, "shopping");
    assert_eq!(
        ledger.clients_named("shop"),
        Ok(vec![(second, None), (first, Some(NOW.into()))])
    );
    assert_eq!(ledger.clients_named("shopping"), Ok(vec![(third, None)]));
    assert_eq!(ledger.clients_named("sho"), Ok(Vec::new()));
    let new = day_image(second);
    ledger
        .record(&[new.clone(), day_image(second)], NOW)
        .expect("recorded");

    let owned = |owner, limit| -> Vec<ImagePath> {
        let listing = Listing {
            owner: Some(Owner::Key(owner)),
            ..Listing::newest(limit)
        };
        let rows = ledger.list(&listing).expect("readable");
        assert!(rows.iter().all(|row| row.owner == owner));
        rows.into_iter().map(|row| row.path).collect()
    };
    assert_eq!(owned(first, 9), [old.path]);
    assert_eq!(owned(second, 9).len(), 2);
    assert_eq!(owned(second, 1).len(), 1);
    let row = ledger.image(&new.path).expect("readable").expect("there");
    assert_eq!((row.owner, row.client_removed_at), (second, None));
    let row = ledger.image(&old_path).expect("readable").expect("there");
    assert_eq!(
        (row.owner, row.client_removed_at),
        (first, Some(NOW.into()))
    );

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
    let of_id = ledger
        .usage(Some(&Owner::Id("shop".to_owned())), None)
        .expect("readable");
    let of_id = of_id.iter().map(|row| (row.client_removed_at, row.uploads));
    assert_eq!(
        of_id.collect::<Vec<_>>(),
        [(None, 2), (Some(NOW.into()), 1)]
    );
}
