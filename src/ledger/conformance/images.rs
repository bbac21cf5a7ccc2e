//! Images of a ledger: their refund, dimensions, expiry, order and adoption.

use time::macros::utc_datetime;
use time::{Duration, UtcDateTime};

use super::{NOW, add, count, day_image, image, used};
use crate::expiry::{Expiry, StoreDuration};
use crate::ledger::rows::instants_of;
use crate::ledger::{Deleted, FoundImage, ImageFilter, ImageRow, Ledger, Listing, NewImage, Owner};
use crate::timestamp::Timestamp;

pub(super) fn refunded_images_do_not_count(ledger: &dyn Ledger) {
    let client = add(ledger, "a");
    let images = [day_image(client), day_image(client), day_image(client)];
    ledger.record(&images, NOW).expect("recorded");
    let [first, second, third] = images.map(|image| image.path);
    assert_eq!(ledger.refund(std::slice::from_ref(&first)), Ok(1));
    assert_eq!(ledger.refund(&[first]), Ok(0), "only once");
    assert_eq!((used(ledger, "a", NOW), count(ledger)), (2, 2));
    let deleted = Deleted {
        rows: 1,
        bytes: 100,
    };
    assert_eq!(ledger.delete_rows(&[second.clone(), second]), Ok(deleted));
    assert_eq!(
        (used(ledger, "a", NOW), count(ledger)),
        (2, 1),
        "a deletion refunds nothing"
    );
    assert_eq!(ledger.usage(None, None).expect("readable")[0].bytes, 200);
    assert!(ledger.image(&third).expect("readable").is_some());
}

pub(super) fn width_and_height_can_be_corrected(ledger: &dyn Ledger) {
    let client = add(ledger, "a");
    let images = [day_image(client), day_image(client), day_image(client)];
    ledger.record(&images[..2], NOW).expect("recorded");
    let [first, second, absent] = images.map(|image| image.path);
    let row = |path| ledger.image(path).expect("readable");
    let before = row(&first).expect("there");
    assert_eq!(
        ledger.set_dimensions(&[(&second, (3, 70_000)), (&absent, (1, 1))]),
        Ok(())
    );
    let after = row(&second).expect("there");
    assert_eq!((after.width, after.height), (3, 70_000));
    assert_eq!(row(&first), Some(before));
    assert_eq!(row(&absent), None);
    assert_eq!(ledger.set_dimensions(&[]), Ok(()));
}

pub(super) fn expired_images_come_in_order_and_pages(ledger: &dyn Ledger) {
    let client = add(ledger, "a");
    for (days, duration) in [
        (0, StoreDuration::Month1),
        (1, StoreDuration::Days7),
        (0, StoreDuration::Days7),
    ] {
        let now = NOW + Duration::days(days);
        let batch = [
            image(client, duration, now),
            image(client, StoreDuration::Lifetime, now),
        ];
        ledger.record(&batch, now).expect("recorded");
    }
    let end = utc_datetime!(2026-04-13 0:00);
    assert_eq!(
        ledger.expired(end - Duration::seconds(1), None, 10),
        Ok(Vec::new())
    );
    assert_eq!(ledger.expired_count(end - Duration::seconds(1)), Ok(0));
    let first = ledger.expired(end, None, 10).expect("readable");
    assert_eq!(
        first.iter().map(|expired| expired.at).collect::<Vec<_>>(),
        [Timestamp::from(end)]
    );

    let late = NOW + Duration::days(10_000);
    let all = ledger.expired(late, None, 10).expect("readable");
    assert_eq!(all.len(), 3, "lifetime images do not expire");
    assert_eq!(ledger.expired_count(late), Ok(all.len() as u64));
    assert!(all.is_sorted_by_key(|expired| expired.at));
    let mut paged = Vec::new();
    while let Some(next) = ledger
        .expired(late, paged.last(), 1)
        .expect("readable")
        .pop()
    {
        paged.push(next);
    }
    assert_eq!(paged, all);
}

pub(super) fn images_are_listed_by_day_and_client(ledger: &dyn Ledger) {
    let (a, b) = (add(ledger, "a"), add(ledger, "b"));
    let days = [
        utc_datetime!(2026-04-05 0:00),
        utc_datetime!(2026-04-06 0:00),
    ];
    for now in days {
        for duration in StoreDuration::ALL {
            let batch = [a, b].map(|client| NewImage {
                daily_limit: 9,
                ..image(client, duration, now)
            });
            ledger.record(&batch, now).expect("recorded");
        }
    }
    let list = |filter: ImageFilter| ledger.images(&filter).expect("readable");
    let all = list(ImageFilter::all(100));
    assert_eq!(all.len(), 16);
    assert!(all.is_sorted_by_key(|row| row.path.clone()));
    let [first, second] = days.map(UtcDateTime::date);
    let of_days = |from, to| {
        list(ImageFilter {
            days: Some((from, to)),
            ..ImageFilter::all(100)
        })
    };
    assert_eq!(of_days(first, second), all);
    assert_eq!(
        of_days(first.saturating_sub(Duration::days(900)), second),
        all
    );
    let of_day = of_days(first, first);
    assert_eq!(of_day.len(), 8);
    assert!(of_day.is_sorted_by_key(|row| row.path.clone()));
    assert!(
        of_day
            .iter()
            .all(|row| row.uploaded_at.date() == Some(first))
    );
    let a_year_later = first.saturating_add(Duration::days(365));
    assert_eq!(
        of_days(a_year_later, a_year_later),
        [],
        "a directory has no year, a day has one"
    );
    let of_owner = |owner| {
        let (from, to) = instants_of(second);
        let listing = Listing {
            owner: Some(owner),
            uploaded: from..=to,
            ..Listing::newest(100)
        };
        ledger.list(&listing).expect("readable")
    };
    let of_b = of_owner(Owner::Id("b".to_owned()));
    assert_eq!(of_b.len(), 4);
    assert!(of_b.iter().all(|row| row.owner == b));
    assert_eq!(of_owner(Owner::Key(b)), of_b);
    let page = |after: &[ImageRow]| ImageFilter {
        days: Some((first, first)),
        after: after.last().map(|row| row.path.clone()),
        ..ImageFilter::all(3)
    };
    let mut paged = Vec::new();
    loop {
        let next = list(page(&paged));
        if next.is_empty() {
            break;
        }
        paged.extend(next);
    }
    assert_eq!(paged, of_day);
    let rest = list(ImageFilter {
        after: Some(all[9].path.clone()),
        ..ImageFilter::all(100)
    });
    assert_eq!(rest, all[10..]);
}

pub(super) fn found_images_are_adopted_without_quota(ledger: &dyn Ledger) {
    let client = add(ledger, "a");
    let known = day_image(client);
    ledger
        .record(std::slice::from_ref(&known), NOW)
        .expect("recorded");
    let found = |duration: StoreDuration| FoundImage {
        path: image(client, duration, NOW).path,
        size: 7,
        width: 2,
        height: 3,
        uploaded_at: Timestamp(1_000),
        expires_at: duration.expiry(NOW).map(Expiry::instant),
    };
    let [first, second] = [StoreDuration::Month1, StoreDuration::Lifetime].map(found);
    let again = FoundImage {
        path: known.path.clone(),
        ..first.clone()
    };
    let batch = [first.clone(), again];
    assert_eq!(ledger.adopt(&batch, "recovered", "3m", NOW), Ok(1));
    assert_eq!(ledger.adopt(&[second], "recovered", "free", NOW), Ok(1));
    assert_eq!(count(ledger), 3);
    let row = ledger.image(&first.path).expect("readable").expect("there");
    assert_eq!(
        (row.client.as_str(), row.size, row.width, row.height),
        ("recovered", 7, 2, 3)
    );
    assert_eq!(
        (row.uploaded_at, row.expires_at),
        (Timestamp(1_000), first.expires_at)
    );
    let row = ledger.image(&known.path).expect("readable").expect("there");
    assert_eq!(
        (row.client.as_str(), row.size),
        ("a", 100),
        "it keeps its row"
    );
    let account = ledger
        .account("recovered", NOW)
        .expect("readable")
        .expect("there");
    assert_eq!(
        (account.plan.as_str(), account.disabled, account.used),
        ("3m", true, 0)
    );
    assert_eq!(account.tokens, []);
    assert_eq!(ledger.adopt(&[first], "a", "3m", NOW), Ok(0));
    assert_eq!(used(ledger, "a", NOW), 1);
}
