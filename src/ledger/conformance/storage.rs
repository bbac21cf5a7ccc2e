//! What each client has stored, and the limit for it.

use std::sync::Arc;
use std::thread;

use super::{NOW, add, count, day_image};
use crate::ledger::{ClientKey, FoundImage, Ledger, NewImage, StorageUse, Verdict};
use crate::timestamp::Timestamp;

fn stored(ledger: &dyn Ledger, id: &str) -> StorageUse {
    let account = ledger.account(id, NOW).expect("readable").expect("there");
    let clients = ledger.clients(NOW).expect("readable");
    let listed = clients.iter().find(|client| client.id == id);
    assert_eq!(listed.expect("listed").stored, account.stored);
    account.stored
}

/// An image of 100 bytes.
fn limited(client: ClientKey, max_storage: u64) -> NewImage {
    NewImage {
        daily_limit: 1_000,
        max_storage: Some(max_storage),
        ..day_image(client)
    }
}

pub(super) fn what_is_stored_is_counted(ledger: &dyn Ledger) {
    let (a, b) = (add(ledger, "a"), add(ledger, "b"));
    let batch = [day_image(a), day_image(b), day_image(a)];
    ledger.record(&batch, NOW).expect("recorded");
    let of = |images| StorageUse {
        images,
        bytes: images * 100,
    };
    assert_eq!((stored(ledger, "a"), stored(ledger, "b")), (of(2), of(1)));
    let paths = batch.map(|image| image.path);
    ledger.refund(&paths[..1]).expect("refunded");
    assert_eq!(stored(ledger, "a"), of(1));
    ledger.delete_rows(&paths).expect("deleted");
    ledger.delete_rows(&paths).expect("nothing is left");
    assert_eq!((stored(ledger, "a"), stored(ledger, "b")), (of(0), of(0)));
    let found = FoundImage {
        path: paths[0].clone(),
        size: 7,
        width: 1,
        height: 1,
        uploaded_at: Timestamp(0),
        expires_at: None,
    };
    for _ in 0..2 {
        let found = std::slice::from_ref(&found);
        ledger.adopt(found, "a", "free", NOW).expect("adopted");
    }
    assert_eq!(
        stored(ledger, "a"),
        StorageUse {
            images: 1,
            bytes: 7
        }
    );
    for repair in [false, true] {
        assert_eq!(ledger.storage_differences(repair), Ok(Vec::new()));
    }
}

pub(super) fn a_storage_limit_holds_within_a_batch(ledger: &dyn Ledger) {
    let client = add(ledger, "a");
    let exceeded = |used| Verdict::StorageExceeded { used };
    let recorded = |used| Verdict::Recorded { used };
    let batch: Vec<_> = [250, 250, 250, 300, 300]
        .into_iter()
        .map(|limit| limited(client, limit))
        .collect();
    assert_eq!(
        ledger.record(&batch, NOW),
        Ok(vec![
            recorded(1),
            recorded(2),
            exceeded(2),
            recorded(3),
            exceeded(3)
        ])
    );
    assert_eq!(
        ledger.record(&[limited(client, 399), limited(client, 400)], NOW),
        Ok(vec![exceeded(3), recorded(4)])
    );
    assert_eq!(stored(ledger, "a").bytes, 400);
    // What is deleted is free again; the quota is not.
    ledger
        .delete_rows(std::slice::from_ref(&batch[0].path))
        .expect("deleted");
    assert_eq!(
        ledger.record(&[limited(client, 400)], NOW),
        Ok(vec![recorded(5)])
    );
}

pub(super) fn many_threads_store_exactly_what_fits<L: Ledger + 'static>(ledger: &Arc<L>) {
    let client = add(&**ledger, "a");
    let threads: Vec<_> = (0..32)
        .map(|_| {
            let ledger = Arc::clone(ledger);
            thread::spawn(move || {
                ledger
                    .record(&[limited(client, 1_050)], NOW)
                    .expect("written")
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("no panic");
    }
    assert_eq!(
        (count(&**ledger), stored(&**ledger, "a").bytes),
        (10, 1_000)
    );
}
