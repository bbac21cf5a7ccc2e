//! The conformance suite of [`Ledger`]. An implementation calls [`check`] with a function that opens an empty ledger.

mod images;
mod listing;
mod ownership;
mod storage;
mod takedown;
mod tokens;
mod transfer;
mod upload_keys;

use std::sync::Arc;

use time::macros::utc_datetime;
use time::{Duration, UtcDateTime};

use super::{
    ClientKey, DEFAULT_TOKEN, ImageFilter, Ledger, NewImage, Owner, Swept, TokenAdded, Transfer,
    Verdict,
};
use crate::auth::TokenDigest;
use crate::expiry::StoreDuration;
use crate::image::ImageType;
use crate::image_path::ImagePath;
use crate::timestamp::Timestamp;

pub(super) const NOW: UtcDateTime = utc_datetime!(2026-04-05 12:00);

/// Runs the whole suite, each part over a ledger of its own.
pub(crate) fn check<L: Transfer + 'static>(open: impl Fn() -> L) {
    clients_come_and_go(&open());
    tokens_rotate_with_an_overlap(&open());
    a_quota_is_counted_with_its_images(&open());
    a_batch_is_judged_in_its_order(&open());
    images::refunded_images_do_not_count(&open());
    images::width_and_height_can_be_corrected(&open());
    images::expired_images_come_in_order_and_pages(&open());
    images::images_are_listed_by_day_and_client(&open());
    listing::pages_are_newest_first(&open());
    listing::pages_stay_right_under_uploads_and_deletions(&open());
    images::found_images_are_adopted_without_quota(&open());
    usage_is_by_day_and_outlives_its_client(&open());
    ownership::images_and_usage_belong_to_a_key(&open());
    sweeps_are_added_up(&open());
    the_secret_of_delete_keys_stays(&open(), &open());
    storage::what_is_stored_is_counted(&open());
    storage::a_storage_limit_holds_within_a_batch(&open());
    storage::many_threads_store_exactly_what_fits(&Arc::new(open()));
    upload_keys::a_key_finds_its_upload_until_the_image_is_deleted(&open());
    upload_keys::a_repeated_key_is_recorded_once(&open());
    upload_keys::recovery_restores_key_and_address(&open());
    upload_keys::keys_and_addresses_are_forgotten_in_time(&open());
    takedown::rows_say_that_images_are_in_quarantine(&open());
    takedown::an_image_in_quarantine_does_not_expire(&open());
    takedown::images_are_blocked_by_digest(&open());
    takedown::purges_wait_until_they_are_finished(&open());
    tokens::tokens_are_added_and_removed_by_name(&open());
    tokens::a_rotation_replaces_the_tokens_of_its_name(&open());
    tokens::the_last_use_of_a_token_is_noted(&open());
    transfer::a_copy_has_every_row_and_follows_its_source(&open(), &open());
    many_threads_store_exactly_the_limit(&Arc::new(open()));
}

fn the_secret_of_delete_keys_stays(ledger: &dyn Ledger, other: &dyn Ledger) {
    let secret = ledger.delete_secret().expect("made");
    assert_eq!(ledger.delete_secret(), Ok(secret));
    assert_ne!(other.delete_secret().expect("made"), secret, "random");
}

pub(super) fn digest(token: &str) -> TokenDigest {
    TokenDigest::of(token.as_bytes())
}

pub(super) fn add(ledger: &dyn Ledger, id: &str) -> ClientKey {
    assert_eq!(ledger.add_client(id, "free", digest(id), NOW), Ok(true));
    ledger
        .account(id, NOW)
        .expect("readable")
        .expect("there")
        .key
}

/// An upload of this instant.
pub(crate) fn image(client: ClientKey, duration: StoreDuration, now: UtcDateTime) -> NewImage {
    NewImage {
        path: ImagePath::random(duration, now.date(), 10, ImageType::Png).expect("random"),
        client,
        daily_limit: 3,
        max_storage: None,
        size: 100,
        width: 4,
        height: 5,
        address: None,
        key: None,
    }
}

pub(super) fn day_image(client: ClientKey) -> NewImage {
    image(client, StoreDuration::Days7, NOW)
}

fn used(ledger: &dyn Ledger, id: &str, now: UtcDateTime) -> u32 {
    ledger
        .account(id, now)
        .expect("readable")
        .expect("there")
        .used
}

fn count(ledger: &dyn Ledger) -> usize {
    ledger
        .images(&ImageFilter::all(10_000))
        .expect("readable")
        .len()
}

fn clients_come_and_go(ledger: &dyn Ledger) {
    assert_eq!(ledger.account("a", NOW), Ok(None));
    let first = add(ledger, "a");
    assert_eq!(
        ledger.add_client("a", "3m", digest("other"), NOW),
        Ok(false),
        "the id is taken"
    );
    let account = ledger.account("a", NOW).expect("readable").expect("there");
    assert_eq!(
        (account.plan.as_str(), account.disabled, account.used),
        ("free", false, 0)
    );
    assert_eq!(account.tokens, [digest("a")]);

    assert_eq!(ledger.set_disabled("a", true, NOW), Ok(true));
    assert!(
        ledger
            .account("a", NOW)
            .expect("readable")
            .expect("there")
            .disabled
    );
    assert_eq!(ledger.set_disabled("a", false, NOW), Ok(true));
    assert!(
        !ledger
            .account("a", NOW)
            .expect("readable")
            .expect("there")
            .disabled
    );

    assert_eq!(ledger.set_plan("a", "3m"), Ok(true));
    let account = ledger.account("a", NOW).expect("readable").expect("there");
    assert_eq!(account.plan, "3m");

    assert_eq!(ledger.remove_client("a", NOW), Ok(true));
    assert_eq!(ledger.account("a", NOW), Ok(None));
    for outcome in [
        ledger.remove_client("a", NOW),
        ledger.set_disabled("a", true, NOW),
        ledger.set_plan("a", "free"),
    ] {
        assert_eq!(outcome, Ok(false), "a removed client is not there");
    }
    assert_eq!(
        ledger.rotate_token("a", DEFAULT_TOKEN, digest("x"), NOW, NOW),
        Ok(TokenAdded::NoClient)
    );
    let second = add(ledger, "a");
    assert_ne!(first, second, "a key is never given again");
    assert_eq!(ledger.clients(NOW).expect("readable").len(), 1);
}

fn tokens_rotate_with_an_overlap(ledger: &dyn Ledger) {
    let _ = add(ledger, "a");
    let tokens = |now| {
        ledger
            .account("a", now)
            .expect("readable")
            .expect("there")
            .tokens
    };
    let end = NOW + Duration::minutes(10);
    assert_eq!(
        ledger.rotate_token("a", DEFAULT_TOKEN, digest("second"), end, NOW),
        Ok(TokenAdded::Added)
    );
    let mut both = tokens(NOW);
    both.sort_by_key(|token| token.0);
    let mut expected = [digest("a"), digest("second")];
    expected.sort_by_key(|token| token.0);
    assert_eq!(both, expected);
    assert_eq!(tokens(end), [digest("second")], "the overlap has ended");
    assert_eq!(
        ledger.rotate_token("a", DEFAULT_TOKEN, digest("third"), NOW, NOW),
        Ok(TokenAdded::Added)
    );
    assert_eq!(
        tokens(NOW),
        [digest("third")],
        "without an overlap every older token ends at once"
    );
    assert_eq!(ledger.clients(NOW).expect("readable")[0].tokens, 1);
}

fn a_quota_is_counted_with_its_images(ledger: &dyn Ledger) {
    let client = add(ledger, "a");
    for used in 1..=3 {
        assert_eq!(
            ledger.record(&[day_image(client)], NOW),
            Ok(vec![Verdict::Recorded { used }])
        );
    }
    assert_eq!(
        ledger.record(&[day_image(client)], NOW),
        Ok(vec![Verdict::QuotaExceeded { used: 3 }])
    );
    assert_eq!((used(ledger, "a", NOW), count(ledger)), (3, 3));
    let tomorrow = utc_datetime!(2026-04-06 0:00);
    assert_eq!(used(ledger, "a", tomorrow), 0);
    let image = image(client, StoreDuration::Lifetime, tomorrow);
    assert_eq!(
        ledger.record(std::slice::from_ref(&image), tomorrow),
        Ok(vec![Verdict::Recorded { used: 1 }])
    );
    let row = ledger.image(&image.path).expect("readable").expect("there");
    assert_eq!(
        (row.client.as_str(), row.size, row.width, row.height),
        ("a", 100, 4, 5)
    );
    assert_eq!(
        (row.uploaded_at, row.expires_at),
        (Timestamp::from(tomorrow), None)
    );
    let nothing = NewImage {
        daily_limit: 0,
        ..day_image(client)
    };
    assert_eq!(
        ledger.record(&[nothing], NOW + Duration::days(9)),
        Ok(vec![Verdict::QuotaExceeded { used: 0 }])
    );
}

fn a_batch_is_judged_in_its_order(ledger: &dyn Ledger) {
    let (a, b) = (add(ledger, "a"), add(ledger, "b"));
    let twin = day_image(a);
    let batch = [
        day_image(a),
        day_image(b),
        twin.clone(),
        NewImage { client: b, ..twin },
        day_image(a),
        day_image(a),
        day_image(b),
    ];
    let expected = [
        Verdict::Recorded { used: 1 },
        Verdict::Recorded { used: 1 },
        Verdict::Recorded { used: 2 },
        Verdict::NameTaken,
        Verdict::Recorded { used: 3 },
        Verdict::QuotaExceeded { used: 3 },
        Verdict::Recorded { used: 2 },
    ];
    assert_eq!(ledger.record(&batch, NOW), Ok(expected.to_vec()));
    assert_eq!(
        (
            used(ledger, "a", NOW),
            used(ledger, "b", NOW),
            count(ledger)
        ),
        (3, 2, 5)
    );
    assert_eq!(ledger.record(&[], NOW), Ok(Vec::new()));
}

fn usage_is_by_day_and_outlives_its_client(ledger: &dyn Ledger) {
    let client = add(ledger, "a");
    let tomorrow = NOW + Duration::days(1);
    ledger
        .record(&[day_image(client), day_image(client)], NOW)
        .expect("recorded");
    ledger
        .record(&[image(client, StoreDuration::Days7, tomorrow)], tomorrow)
        .expect("recorded");
    let row = &ledger.clients(tomorrow).expect("readable")[0];
    assert_eq!((row.used, row.uploads, row.bytes), (1, 3, 300));
    ledger.remove_client("a", tomorrow).expect("removed");
    let days = |since| {
        let rows = ledger
            .usage(Some(&Owner::Id("a".to_owned())), since)
            .expect("readable");
        rows.into_iter()
            .map(|row| (row.day, row.uploads))
            .collect::<Vec<_>>()
    };
    assert_eq!(days(None), [(NOW.date(), 2), (tomorrow.date(), 1)]);
    assert_eq!(days(Some(tomorrow.date())), [(tomorrow.date(), 1)]);
    assert_eq!(
        ledger.usage(Some(&Owner::Id("b".to_owned())), None),
        Ok(Vec::new())
    );
}

fn sweeps_are_added_up(ledger: &dyn Ledger) {
    let status = ledger.status().expect("readable");
    assert_eq!((status.last_sweep, status.swept), (None, Swept::default()));
    let swept = Swept {
        expired: 1,
        bytes: 1 << 40,
        abandoned: 2,
        refunded: 3,
        orphaned: 4,
    };
    ledger.finish_sweep(swept, None).expect("written");
    let failed = ledger.status().expect("readable");
    assert_eq!((failed.last_sweep, failed.swept), (None, swept));
    for now in [NOW, NOW + Duration::hours(1)] {
        ledger.finish_sweep(swept, Some(now)).expect("written");
        let status = ledger.status().expect("readable");
        assert_eq!(status.last_sweep, Some(now.into()));
    }
    let thrice = ledger.status().expect("readable").swept;
    assert_eq!(
        (thrice.expired, thrice.bytes, thrice.orphaned),
        (3, 3 << 40, 12)
    );
}

fn many_threads_store_exactly_the_limit<L: Ledger + 'static>(ledger: &Arc<L>) {
    let client = add(&**ledger, "a");
    let threads: Vec<_> = (0..64)
        .map(|_| {
            let ledger = Arc::clone(ledger);
            std::thread::spawn(move || {
                let image = NewImage {
                    daily_limit: 50,
                    ..day_image(client)
                };
                let verdict = ledger.record(&[image], NOW).expect("written")[0];
                matches!(verdict, Verdict::Recorded { .. })
            })
        })
        .collect();
    let stored = threads
        .into_iter()
        .map(|thread| thread.join().expect("no panic"))
        .filter(|&s| s)
        .count();
    assert_eq!(
        (stored, used(&**ledger, "a", NOW), count(&**ledger)),
        (50, 50, 50)
    );
}
