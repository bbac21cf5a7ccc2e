//! Keys of uploads, and the addresses that they came from.

use std::net::Ipv6Addr;

use time::Duration;

use super::{NOW, add, day_image, used};
use crate::idempotency::{Fingerprint, UploadKey};
use crate::image_path::ImagePath;
use crate::ledger::{ClientKey, Ledger, LoggedImage, NewImage, Verdict};
use crate::timestamp::Timestamp;

const KEY: Fingerprint = Fingerprint([1; 16]);
const REQUEST: Fingerprint = Fingerprint([2; 16]);

fn keyed(client: ClientKey) -> NewImage {
    NewImage {
        address: Some(Ipv6Addr::LOCALHOST),
        key: Some(UploadKey {
            key: KEY,
            request: REQUEST,
        }),
        ..day_image(client)
    }
}

/// The path of the upload with the key.
fn find(ledger: &dyn Ledger, client: ClientKey, since: i64) -> Option<ImagePath> {
    let upload = ledger.keyed_upload(client, KEY, Timestamp(since));
    upload.expect("readable").map(|upload| {
        assert_eq!(upload.request, REQUEST);
        upload.image.path
    })
}

fn address(ledger: &dyn Ledger, path: &ImagePath) -> Option<Ipv6Addr> {
    let row = ledger.image(path).expect("readable");
    row.expect("there").address
}

pub(super) fn a_key_finds_its_upload_until_the_image_is_deleted(ledger: &dyn Ledger) {
    let (a, b) = (add(ledger, "a"), add(ledger, "b"));
    assert_eq!(find(ledger, a, 0), None);
    let image = keyed(a);
    let batch = [image.clone(), day_image(b)];
    ledger.record(&batch, NOW).expect("recorded");
    let now = NOW.unix_timestamp();
    assert_eq!(find(ledger, a, now).as_ref(), Some(&image.path));
    assert_eq!(find(ledger, a, now + 1), None, "too old");
    assert_eq!(find(ledger, b, 0), None, "another client's");
    ledger.delete_rows(&[image.path]).expect("deleted");
    assert_eq!(find(ledger, a, 0), None);
    let again = keyed(a);
    let verdicts = ledger.record(std::slice::from_ref(&again), NOW);
    assert_eq!(verdicts, Ok(vec![Verdict::Recorded { used: 2 }]));
    assert_eq!(find(ledger, a, 0), Some(again.path));
}

pub(super) fn a_repeated_key_is_recorded_once(ledger: &dyn Ledger) {
    let (a, b) = (add(ledger, "a"), add(ledger, "b"));
    let full = NewImage {
        daily_limit: 1,
        ..keyed(a)
    };
    assert_eq!(
        ledger.record(&[keyed(a), keyed(a), keyed(b)], NOW),
        Ok(vec![
            Verdict::Recorded { used: 1 },
            Verdict::Repeated,
            Verdict::Recorded { used: 1 }
        ])
    );
    // A repetition is no matter of the quota.
    let later = NOW + Duration::hours(11);
    assert_eq!(ledger.record(&[full], later), Ok(vec![Verdict::Repeated]));
    assert_eq!(used(ledger, "a", NOW), 1);
    let next_day = NOW + Duration::hours(25);
    assert_eq!(
        ledger.record(&[keyed(a)], next_day),
        Ok(vec![Verdict::Recorded { used: 1 }]),
        "a key is forgotten after a day"
    );
}

pub(super) fn recovery_restores_key_and_address(ledger: &dyn Ledger) {
    let client = add(ledger, "a");
    let image = keyed(client);
    let logged = LoggedImage::of(&image, NOW.into());
    assert_eq!(ledger.replay(&[logged], 7), Ok(1));
    assert_eq!(find(ledger, client, 0).as_ref(), Some(&image.path));
    assert_eq!(address(ledger, &image.path), image.address);
}

pub(super) fn keys_and_addresses_are_forgotten_in_time(ledger: &dyn Ledger) {
    let client = add(ledger, "a");
    let old = keyed(client);
    ledger
        .record(std::slice::from_ref(&old), NOW)
        .expect("recorded");
    let now = Timestamp::from(NOW);
    assert_eq!(ledger.forget(now, now, 9), Ok((0, 0)), "not older");
    assert_eq!(address(ledger, &old.path), Some(Ipv6Addr::LOCALHOST));
    let later = Timestamp(now.0 + 1);
    assert_eq!(ledger.forget(later, now, 9), Ok((1, 0)));
    assert_eq!(address(ledger, &old.path), None);
    assert_eq!(find(ledger, client, 0).as_ref(), Some(&old.path));
    assert_eq!(ledger.forget(later, later, 9), Ok((0, 1)));
    assert_eq!(find(ledger, client, 0), None);
    let others: Vec<_> = (3..8)
        .map(|key| NewImage {
            daily_limit: 9,
            key: Some(UploadKey {
                key: Fingerprint([key; 16]),
                request: REQUEST,
            }),
            ..keyed(client)
        })
        .collect();
    ledger.record(&others, NOW).expect("recorded");
    let forgotten: Vec<_> = (0..4)
        .map(|_| ledger.forget(later, later, 2).expect("written"))
        .collect();
    assert_eq!(forgotten, [(2, 2), (2, 2), (1, 1), (0, 0)]);
}
