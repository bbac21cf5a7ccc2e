use std::fs;
use std::path::PathBuf;

use time::Duration;
use time::macros::utc_datetime;

use super::*;
use crate::config::Durability;
use crate::expiry::StoreDuration;
use crate::ledger::testing::{SqliteLedger, add_client, record};
use crate::store::Docroot;
use crate::store::Store;
use crate::store::conformance::place;

/// A ledger and a docroot, both of which believe in the present: files get their change times from the kernel.
struct Site {
    directory: tempfile::TempDir,
    ledger: SqliteLedger,
    store: Docroot,
    now: UtcDateTime,
}

fn site() -> Site {
    let directory = tempfile::tempdir().expect("a directory");
    let now = UtcDateTime::now();
    let path = directory.path().join("ledger.db");
    let ledger = SqliteLedger::open(&path, Durability::Full, 1, now).expect("open");
    add_client(&ledger, now);
    let root = directory.path().join("docroot");
    fs::create_dir(&root).expect("made");
    let store = Docroot::open(&root, Durability::Full).expect("open");
    Site {
        directory,
        ledger,
        store,
        now,
    }
}

impl Site {
    fn record(&self, duration: StoreDuration, at: UtcDateTime) -> ImagePath {
        record(&self.ledger, duration, at, 5, (1, 1))
    }

    fn place(&self, path: &ImagePath) {
        place(&self.store, path, b"bytes", self.now);
    }

    fn upload(&self, duration: StoreDuration, at: UtcDateTime) -> ImagePath {
        let path = self.record(duration, at);
        self.place(&path);
        path
    }

    fn file(&self, path: &ImagePath) -> PathBuf {
        path.below(&self.directory.path().join("docroot"))
    }

    fn sweep_at(&self, now: UtcDateTime, dry_run: bool) -> Report {
        let sweep = Sweep {
            ledger: &self.ledger,
            store: &self.store,
            now,
            dry_run,
            addresses_before: Timestamp(0),
            even_doubtful: false,
            reconciles: true,
            purges: true,
            progress: &|_| {},
        };
        sweep.run().expect("swept")
    }

    fn used(&self, at: UtcDateTime) -> u32 {
        self.ledger
            .account("a", at)
            .expect("readable")
            .expect("there")
            .used
    }
}

#[test]
fn images_go_at_the_midnight_that_ends_their_last_day() {
    let site = site();
    let uploaded = utc_datetime!(2026-01-31 23:59:59);
    let cases = [
        (StoreDuration::Days7, utc_datetime!(2026-02-08 0:00)),
        (StoreDuration::Month1, utc_datetime!(2026-03-01 0:00)),
        (StoreDuration::Months3, utc_datetime!(2026-05-01 0:00)),
    ];
    let lifetime = site.upload(StoreDuration::Lifetime, uploaded);
    for (duration, end) in cases {
        let path = site.upload(duration, uploaded);
        assert_eq!(
            site.sweep_at(end - Duration::SECOND, false).expired,
            0,
            "{duration}"
        );
        assert!(site.file(&path).exists());
        let would = site.sweep_at(end, true);
        assert_eq!(would.expired, 1, "{duration}");
        assert!(site.file(&path).exists(), "a dry run deletes nothing");
        let report = site.sweep_at(end, false);
        assert_eq!(
            (report.expired, report.bytes, report.failed),
            (1, 5, 0),
            "{duration}"
        );
        assert!(!site.file(&path).exists());
        assert_eq!(site.ledger.image(&path), Ok(None));
        assert_eq!(
            site.sweep_at(end, false).expired,
            0,
            "a second sweep finds nothing"
        );
    }
    let far = utc_datetime!(2999-01-01 0:00);
    assert_eq!(site.sweep_at(far, false).expired, 0);
    assert!(site.file(&lifetime).exists());
    assert_eq!(
        site.ledger.status().expect("readable").last_sweep,
        Some(far.into())
    );
}

#[test]
fn an_image_whose_file_is_gone_is_forgotten_all_the_same() {
    let site = site();
    let path = site.upload(StoreDuration::Days7, site.now);
    fs::remove_file(site.file(&path)).expect("removed");
    let report = site.sweep_at(site.now + Duration::days(9), false);
    assert_eq!((report.expired, report.bytes), (1, 5));
    assert_eq!(site.ledger.image(&path), Ok(None));
}

#[test]
fn images_that_cannot_be_deleted_are_kept_and_do_not_stop_the_others() {
    let site = site();
    let stuck = site.record(StoreDuration::Days7, site.now);
    // A directory in its place cannot be unlinked, not even by root.
    fs::create_dir_all(site.file(&stuck)).expect("made");
    let paths: Vec<_> = (0..5)
        .map(|_| site.upload(StoreDuration::Days7, site.now))
        .collect();
    let report = site.sweep_at(site.now + Duration::days(9), false);
    assert_eq!((report.expired, report.failed), (5, 1));
    assert!(paths.iter().all(|path| !site.file(path).exists()));
    assert!(site.ledger.image(&stuck).expect("readable").is_some());
    fs::remove_dir(site.file(&stuck)).expect("removed");
    assert_eq!(
        site.sweep_at(site.now + Duration::days(9), false).expired,
        1,
        "next time it goes"
    );
}

#[test]
fn a_row_that_never_got_its_file_gives_its_quota_back() {
    let site = site();
    let kept = site.upload(StoreDuration::Days7, site.now);
    let lost = site.record(StoreDuration::Days7, site.now);
    assert_eq!(site.used(site.now), 2);
    let soon = site.now + Duration::minutes(5);
    assert_eq!(
        site.sweep_at(soon, false).refunded,
        0,
        "its file may still come"
    );
    let later = site.now + Duration::minutes(20);
    assert_eq!(site.sweep_at(later, true).refunded, 1);
    assert_eq!(site.used(site.now), 2, "a dry run changes nothing");
    assert_eq!(site.sweep_at(later, false).refunded, 1);
    assert_eq!(site.used(site.now), 1);
    assert_eq!(site.ledger.image(&lost), Ok(None));
    assert!(site.ledger.image(&kept).expect("readable").is_some());
}

#[test]
fn regression_an_image_whose_row_was_lost_is_kept_until_it_expires() {
    let site = site();
    let durations = [StoreDuration::Days7, StoreDuration::Lifetime];
    let [lost, lasting] = durations.map(|duration| site.upload(duration, site.now));
    let kept = site.upload(StoreDuration::Days7, site.now);
    let rows = [lost.clone(), lasting.clone()];
    site.ledger.delete_rows(&rows).expect("deleted");
    let end = StoreDuration::Days7.expiry(site.now).expect("it expires");
    let end = UtcDateTime::from_unix_timestamp(end.instant().0).expect("an instant");
    for now in [site.now + Duration::hours(2), end - Duration::SECOND] {
        assert_eq!(site.sweep_at(now, false).orphaned, 0);
        assert!(site.file(&lost).exists());
    }
    let would = site.sweep_at(end, true);
    assert_eq!((would.expired, would.orphaned), (1, 1));
    let report = site.sweep_at(end + Duration::days(1), false);
    assert_eq!((report.expired, report.orphaned, report.failed), (1, 1, 0));
    assert!(!site.file(&lost).exists() && !site.file(&kept).exists());
    site.sweep_at(site.now + Duration::days(400), false);
    assert!(site.file(&lasting).exists());
}

#[test]
fn a_directory_that_two_months_share_has_expired_with_the_later_one() {
    let names = |now| -> Vec<_> {
        let mut directories = expired_directories(now);
        directories.sort_by_key(Directory::prefix);
        directories.iter().map(Directory::to_string).collect()
    };
    // The last day is clamped: images of 30 and of 31 March expire with 30 April.
    assert_eq!(
        names(utc_datetime!(2026-05-01 0:00)),
        [
            "d/ap22", "d/ap23", "m/ma29", "m/ma30", "m/ma31", "mm/ja29", "mm/ja30", "mm/ja31"
        ]
    );
    // Three months after 5 March, and after 5 May.
    for (now, has_expired) in [
        (utc_datetime!(2026-06-06 12:00), false),
        (utc_datetime!(2026-08-06 12:00), true),
        (utc_datetime!(2026-08-07 12:00), true),
        (utc_datetime!(2026-08-08 12:00), false),
    ] {
        assert_eq!(
            names(now).contains(&"mm/ma5".to_owned()),
            has_expired,
            "{now}"
        );
    }
}

#[test]
fn abandoned_uploads_and_empty_directories_go() {
    let site = site();
    let spool = site.store.spool().expect("a spool");
    let old = utc_datetime!(2026-01-31 12:00);
    let path = site.upload(StoreDuration::Days7, old);
    assert_eq!(site.sweep_at(site.now, false).abandoned, 0);
    let report = site.sweep_at(site.now + Duration::hours(2), false);
    assert_eq!(report.abandoned, 1);
    assert!(
        !site.file(&path).parent().expect("a day").exists(),
        "its day directory is empty"
    );
    assert_eq!(
        fs::read_dir(site.directory.path().join("docroot/.spool"))
            .expect("readable")
            .count(),
        0
    );
    drop(spool);
}

#[test]
fn a_day_without_its_files_is_left_alone_until_told() {
    let site = site();
    for _ in 0..5 {
        site.upload(StoreDuration::Days7, site.now);
    }
    let later = site.now + Duration::hours(2);
    let aside = site.directory.path().join("aside");
    let root = site.directory.path().join("docroot/p");
    fs::rename(root.join("d"), &aside).expect("renamed");
    let report = site.sweep_at(later, false);
    assert_eq!((report.refunded, report.doubtful_rows), (0, 5));
    assert_eq!(site.used(site.now), 5, "nothing is refunded");
    let told = Sweep {
        ledger: &site.ledger,
        store: &site.store,
        now: later,
        dry_run: false,
        addresses_before: Timestamp(0),
        even_doubtful: true,
        reconciles: true,
        purges: true,
        progress: &|_| {},
    };
    let report = told.run().expect("swept");
    assert_eq!((report.refunded, report.doubtful_rows), (5, 0));
    assert_eq!(site.used(site.now), 0);
}
