//! Rows as they are: a copy that follows its source.

use std::net::Ipv6Addr;

use time::Duration;

use super::{NOW, add, day_image, digest, image};
use crate::copy::rows;
use crate::expiry::StoreDuration;
use crate::idempotency::{Fingerprint, UploadKey};
use crate::image_digest::ImageDigest;
use crate::ledger::{DEFAULT_TOKEN, NewImage, Quarantined, TABLES, Transfer};

fn copy(from: &dyn Transfer, to: &dyn Transfer) -> u64 {
    rows::copy(from, to, &|_, _| {}).expect("copied");
    let proof = rows::prove(from, to, &|_, _| {}).expect("compared");
    assert_eq!(proof.differences, 0, "{proof:?}");
    assert_eq!(from.status(), to.status());
    proof.rows
}

pub(super) fn a_copy_has_every_row_and_follows_its_source(from: &dyn Transfer, to: &dyn Transfer) {
    let [a, b] = ["a", "b"].map(|id| add(from, id));
    let keyed = NewImage {
        address: Some(Ipv6Addr::LOCALHOST),
        key: Some(UploadKey {
            key: Fingerprint([1; 16]),
            request: Fingerprint([2; 16]),
        }),
        ..day_image(a)
    };
    let lifetime = image(b, StoreDuration::Lifetime, NOW);
    let batch = [keyed.clone(), day_image(a), lifetime.clone()];
    from.record(&batch, NOW).expect("recorded");
    let quarantine = Quarantined {
        at: NOW.into(),
        until: None,
        reason: Some("notice \u{1F5BC} '17'".to_owned()),
        with_client: true,
    };
    let lifetime = [lifetime.path];
    from.set_quarantine(&lifetime, &quarantine, false)
        .expect("set");
    from.block(&[ImageDigest([7; 32])], None, NOW)
        .expect("blocked");
    from.queue_purges(&lifetime, NOW).expect("queued");
    let secret = from.delete_secret().expect("made");
    assert_eq!(copy(from, to), 2 + 2 + 2 + 3 + 1 + 1 + 1 + 1);
    for table in &TABLES {
        let [all, one] = [10, 1].map(|limit| to.rows(table, None, limit).expect("read"));
        assert_eq!(one[0], all[0], "{table}");
        let after = table.key_of(&all[0]);
        assert_eq!(to.rows(table, Some(after), 10).expect("read"), all[1..]);
        to.insert_rows(table, &all).expect("there are no new ones");
    }
    assert_eq!(to.delete_secret(), Ok(secret));
    assert_eq!(to.image(&lifetime[0]), from.image(&lifetime[0]));
    assert_eq!(to.account("a", NOW), from.account("a", NOW));

    let end = NOW + Duration::hours(1);
    from.rotate_token("a", DEFAULT_TOKEN, digest("new"), end, NOW)
        .expect("rotated");
    from.delete_rows(std::slice::from_ref(&keyed.path))
        .expect("deleted");
    from.end_quarantine(&lifetime).expect("ended");
    from.unblock(&[ImageDigest([7; 32])]).expect("unblocked");
    from.remove_client("b", NOW).expect("removed");
    let again = add(from, "b");
    from.record(&[day_image(again)], NOW).expect("recorded");
    assert_eq!(copy(from, to), 3 + 3 + 3 + 3 + 1 + 1 + 1);
    assert_eq!(to.clients(NOW), from.clients(NOW));
    assert_eq!(
        add(to, "c"),
        add(from, "c"),
        "a new client gets the next key"
    );
}
