//! Listings: newest first, in pages that uploads and deletions do not shift.

use time::Duration;

use super::{NOW, add, image};
use crate::expiry::StoreDuration;
use crate::image::ImageType;
use crate::ledger::{ClientKey, ImageRow, Ledger, Listing, NewImage, Owner, Page, Position};

/// Records three images for each hour from [`NOW`] on, whose sizes ascend.
fn upload(ledger: &dyn Ledger, client: ClientKey, hours: std::ops::Range<i64>) {
    for hour in hours {
        let now = NOW + Duration::hours(hour);
        let batch: Vec<_> = (0..3)
            .map(|number| NewImage {
                daily_limit: 1_000,
                size: (hour * 3 + number).unsigned_abs(),
                ..image(client, StoreDuration::Days7, now)
            })
            .collect();
        ledger.record(&batch, now).expect("recorded");
    }
}

fn list(ledger: &dyn Ledger, listing: &Listing) -> Vec<ImageRow> {
    ledger.list(listing).expect("readable")
}

/// Reads a whole listing in pages of `limit`, from its newest image or from its oldest.
fn walk(ledger: &dyn Ledger, listing: &Listing, limit: u32, backwards: bool) -> Vec<ImageRow> {
    let mut listing = Listing {
        limit,
        ..listing.clone()
    };
    let mut all: Vec<ImageRow> = Vec::new();
    if backwards {
        let oldest = "d/ap1/AbCdEf.png@1970-01-01T00:00:00Z";
        listing.page = Page::Before(oldest.parse().expect("a position"));
    }
    loop {
        let mut page = list(ledger, &listing);
        assert!(page.is_sorted_by(|a, b| Position::of(a) > Position::of(b)));
        let (Some(first), Some(last)) = (page.first(), page.last()) else {
            return all;
        };
        if backwards {
            listing.page = Page::Before(Position::of(first));
            page.append(&mut all);
            all = page;
        } else {
            listing.page = Page::After(Position::of(last));
            all.append(&mut page);
        }
    }
}

pub(super) fn pages_are_newest_first(ledger: &dyn Ledger) {
    let clients = ["a", "b", "c"].map(|id| add(ledger, id));
    upload(ledger, clients[0], 0..30);
    upload(ledger, clients[1], 10..12);
    let everything = Listing::newest(1_000);
    let all = list(ledger, &everything);
    assert_eq!(all.len(), 96);
    assert!(all.is_sorted_by(|a, b| Position::of(a) > Position::of(b)));
    for limit in [1, 2, 7, 95, 96, 97] {
        assert_eq!(
            list(ledger, &Listing::newest(limit)),
            all[..all.len().min(limit as usize)]
        );
        for backwards in [false, true] {
            assert_eq!(
                walk(ledger, &everything, limit, backwards),
                all,
                "{limit} {backwards}"
            );
        }
    }
    for (owner, count) in [
        (Owner::Key(clients[0]), 90),
        (Owner::Id("b".to_owned()), 6),
        (Owner::Key(clients[2]), 0),
        (Owner::Id("nobody".to_owned()), 0),
    ] {
        let of_owner = Listing {
            owner: Some(owner.clone()),
            ..everything.clone()
        };
        let found = list(ledger, &of_owner);
        assert_eq!(found.len(), count, "{owner:?}");
        assert_eq!(walk(ledger, &of_owner, 4, true), found);
    }

    let since = (NOW + Duration::hours(10)).unix_timestamp();
    let filtered = Listing {
        uploaded: since..=since + 3600,
        size: 31..=34,
        width: 4..=4,
        height: 0..=5,
        image_type: Some(ImageType::Png),
        ..everything.clone()
    };
    let found = list(ledger, &filtered);
    let mut sizes: Vec<_> = found.iter().map(|row| row.size).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [31, 31, 32, 32, 33, 33, 34, 34]);
    assert_eq!(walk(ledger, &filtered, 3, false), found);
    for nothing in [
        Listing {
            image_type: Some(ImageType::Gif),
            ..everything.clone()
        },
        Listing {
            width: 5..=u32::MAX,
            ..everything.clone()
        },
        Listing {
            height: 0..=4,
            ..everything.clone()
        },
        Listing {
            size: 1_000..=u64::MAX,
            ..everything
        },
        Listing::newest(0),
    ] {
        assert_eq!(list(ledger, &nothing), [], "{nothing:?}");
    }
}

pub(super) fn pages_stay_right_under_uploads_and_deletions(ledger: &dyn Ledger) {
    let client = add(ledger, "a");
    upload(ledger, client, 0..10);
    let listing = Listing {
        owner: Some(Owner::Key(client)),
        ..Listing::newest(4)
    };
    let before = list(
        ledger,
        &Listing {
            limit: 100,
            ..listing.clone()
        },
    );
    let first = list(ledger, &listing);
    upload(ledger, client, 10..12);
    // The image where the first page ended, and the first one of the second page.
    let deleted = [first[3].path.clone(), before[4].path.clone()];
    ledger.delete_rows(&deleted).expect("deleted");
    let second = Listing {
        page: Page::After(Position::of(&first[3])),
        ..listing.clone()
    };
    assert_eq!(list(ledger, &second), before[5..9]);
    let new = Listing {
        page: Page::Before(Position::of(&first[0])),
        limit: 100,
        ..listing
    };
    let new = list(ledger, &new);
    assert_eq!(new.len(), 6);
    assert!(new.iter().all(|row| row.uploaded_at > first[0].uploaded_at));
}
