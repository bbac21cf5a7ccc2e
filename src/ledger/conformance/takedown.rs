//! Quarantine, the block list and the purge queue.

use time::Duration;

use super::{NOW, add, day_image, image};
use crate::expiry::StoreDuration;
use crate::image_digest::ImageDigest;
use crate::image_path::ImagePath;
use crate::ledger::{Ledger, Listing, Quarantined, TakedownCounts};
use crate::timestamp::Timestamp;

fn quarantine(reason: &str) -> Quarantined {
    Quarantined {
        at: NOW.into(),
        until: Some((NOW + Duration::days(30)).into()),
        reason: Some(reason.to_owned()),
        with_client: false,
    }
}

pub(super) fn rows_say_that_images_are_in_quarantine(ledger: &dyn Ledger) {
    let client = add(ledger, "a");
    let images = [day_image(client), day_image(client), day_image(client)];
    ledger.record(&images, NOW).expect("recorded");
    let [first, second, third] = images.map(|image| image.path);
    let absent = day_image(client).path;
    let row = |path: &ImagePath| ledger.image(path).expect("readable").expect("there");
    assert_eq!(row(&first).quarantine, None);

    let notice = quarantine("notice 7");
    let asked = [first.clone(), absent];
    assert_eq!(ledger.set_quarantine(&asked, &notice, true), Ok(1));
    assert_eq!(row(&first).quarantine, Some(notice.clone()));
    assert_eq!(row(&third).quarantine, None);
    let later = Quarantined {
        at: (NOW + Duration::hours(1)).into(),
        until: None,
        reason: None,
        with_client: true,
    };
    let both = [first.clone(), second.clone()];
    assert_eq!(ledger.set_quarantine(&both, &later, false), Ok(2));
    assert_eq!(
        row(&first).quarantine,
        Some(notice.clone()),
        "a mark is kept"
    );
    assert_eq!(row(&second).quarantine, Some(later.clone()));
    assert_eq!(ledger.set_quarantine(&both[..1], &later, true), Ok(1));
    let since_the_first = Quarantined {
        at: notice.at,
        ..later
    };
    assert_eq!(row(&first).quarantine, Some(since_the_first));

    let counts = TakedownCounts {
        quarantined: 2,
        ..TakedownCounts::default()
    };
    assert_eq!(ledger.takedown_counts(), Ok(counts));
    let mut in_quarantine = both.to_vec();
    in_quarantine.sort_unstable();
    let paths = |after: Option<&ImagePath>| -> Vec<_> {
        let rows = ledger.quarantined(after, 10).expect("readable");
        rows.into_iter().map(|row| row.path).collect()
    };
    assert_eq!(paths(None), in_quarantine);
    assert_eq!(paths(Some(&in_quarantine[0])), in_quarantine[1..]);
    assert_eq!(ledger.quarantined(None, 1).expect("readable").len(), 1);

    let listed = |in_quarantine| {
        let listing = Listing {
            in_quarantine,
            ..Listing::newest(10)
        };
        ledger.list(&listing).expect("readable").len()
    };
    assert_eq!(
        (listed(None), listed(Some(true)), listed(Some(false))),
        (3, 2, 1)
    );

    assert_eq!(ledger.end_quarantine(&[first.clone(), third]), Ok(1));
    assert_eq!(row(&first).quarantine, None);
    ledger
        .delete_rows(std::slice::from_ref(&second))
        .expect("deleted");
    assert_eq!(paths(None), []);
}

pub(super) fn an_image_in_quarantine_does_not_expire(ledger: &dyn Ledger) {
    let client = add(ledger, "a");
    let [kept, other] = [(); 2].map(|()| image(client, StoreDuration::Days7, NOW));
    ledger
        .record(&[kept.clone(), other.clone()], NOW)
        .expect("recorded");
    let late = NOW + Duration::days(9);
    let expired = || -> Vec<_> {
        let expired = ledger.expired(late, None, 10).expect("readable");
        assert_eq!(ledger.expired_count(late), Ok(expired.len() as u64));
        expired.into_iter().map(|expired| expired.path).collect()
    };
    assert_eq!(expired().len(), 2);
    let paths = std::slice::from_ref(&kept.path);
    ledger
        .set_quarantine(paths, &quarantine(""), true)
        .expect("marked");
    assert_eq!(expired(), [other.path]);
    ledger.end_quarantine(paths).expect("released");
    assert_eq!(expired().len(), 2);
}

pub(super) fn images_are_blocked_by_digest(ledger: &dyn Ledger) {
    let digest = |byte| ImageDigest([byte; 32]);
    assert_eq!(ledger.has_blocked(), Ok(false));
    assert_eq!(
        ledger.block(&[digest(1), digest(2)], Some("notice 7"), NOW),
        Ok(2)
    );
    let later = NOW + Duration::hours(1);
    assert_eq!(ledger.block(&[digest(2), digest(3)], None, later), Ok(1));
    assert_eq!(ledger.has_blocked(), Ok(true));
    let counts = TakedownCounts {
        blocked: 3,
        ..TakedownCounts::default()
    };
    assert_eq!(ledger.takedown_counts(), Ok(counts));
    assert_eq!(ledger.is_blocked(&[digest(4), digest(2)]), Ok(true));
    assert_eq!(ledger.is_blocked(&[digest(4)]), Ok(false));
    assert_eq!(ledger.is_blocked(&[]), Ok(false));
    let listed = ledger.blocked().expect("readable");
    let listed: Vec<_> = listed
        .iter()
        .map(|blocked| (blocked.digest, blocked.at, blocked.reason.as_deref()))
        .collect();
    assert_eq!(
        listed,
        [
            (digest(3), Timestamp::from(later), None),
            (digest(1), NOW.into(), Some("notice 7")),
            (digest(2), NOW.into(), Some("notice 7")),
        ]
    );
    assert_eq!(
        ledger.unblock(&[digest(1), digest(2), digest(3), digest(4)]),
        Ok(3)
    );
    assert_eq!(ledger.has_blocked(), Ok(false));
}

pub(super) fn purges_wait_until_they_are_finished(ledger: &dyn Ledger) {
    let client = add(ledger, "a");
    let mut paths = [day_image(client).path, day_image(client).path];
    paths.sort_unstable();
    assert_eq!(ledger.waiting_purges(), Ok((0, None)));
    assert_eq!(ledger.claim_purges(NOW, NOW, 10), Ok(Vec::new()));
    ledger.queue_purges(&paths, NOW).expect("queued");
    assert_eq!(ledger.waiting_purges(), Ok((2, Some(NOW.into()))));
    let counts = TakedownCounts {
        purges: 2,
        ..TakedownCounts::default()
    };
    assert_eq!(ledger.takedown_counts(), Ok(counts));
    let minute = Duration::minutes(1);
    let claim = |now| {
        let mut claimed = ledger.claim_purges(now, now + minute, 10).expect("claimed");
        claimed.sort_unstable_by(|one, other| one.path.cmp(&other.path));
        claimed
    };
    let claimed = claim(NOW);
    assert_eq!(claimed.len(), 2);
    assert_eq!(claim(NOW), [], "another process has them");
    assert_eq!(claim(NOW + minute), claimed, "that process died");
    let next = NOW + minute * 10;
    ledger
        .defer_purges(&[(paths[0].clone(), next)])
        .expect("deferred");
    ledger.finish_purges(&claimed[1..]).expect("finished");
    assert_eq!(claim(next - minute), []);
    let again = claim(next);
    assert_eq!(
        (again[0].path.clone(), again[0].attempts),
        (paths[0].clone(), 1)
    );
    // Queued anew while it was being purged: the later one still has to be done.
    let later = next + minute;
    ledger.queue_purges(&paths[..1], later).expect("queued");
    ledger.finish_purges(&again).expect("finished");
    let last = claim(later);
    assert_eq!((last.len(), last[0].attempts), (1, 0));
    ledger.finish_purges(&last).expect("finished");
    assert_eq!(ledger.waiting_purges(), Ok((0, None)));
    ledger.queue_purges(&paths, NOW).expect("queued");
    assert_eq!(ledger.claim_purges(NOW, next, 1).expect("claimed").len(), 1);
}
