use super::*;
use crate::config::Durability;
use crate::expiry::StoreDuration;
use crate::ledger::Takedown;
use crate::ledger::testing::{SqliteLedger, add_client, record};
use crate::store::conformance::place;
use crate::store::{Docroot, Quarantine};
use crate::sweep::{Report, Sweep};
use crate::verify::{Report as Verified, Verification};
use time::Duration;

struct Site {
    _directory: tempfile::TempDir,
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
    let store = Docroot::open(directory.path(), Durability::Full).expect("open");
    Site {
        _directory: directory,
        ledger,
        store,
        now,
    }
}

const BYTES: &[u8] = include_bytes!("../../tests/samples/badge.png");

impl Site {
    fn upload(&self, duration: StoreDuration) -> ImagePath {
        let at = self.now - Duration::minutes(20);
        let path = record(&self.ledger, duration, at, BYTES.len(), (160, 160));
        self.place(&path, at);
        path
    }

    fn place(&self, path: &ImagePath, at: UtcDateTime) {
        place(&self.store, path, BYTES, at);
    }

    fn images(&self, now: UtcDateTime) -> Images<'_> {
        Images {
            ledger: &self.ledger,
            store: &self.store,
            purges: true,
            now,
        }
    }

    fn quarantine(&self, path: &ImagePath, until: Option<UtcDateTime>) {
        let quarantine = Quarantined {
            at: self.now.into(),
            until: until.map(Timestamp::from),
            reason: None,
            with_client: false,
        };
        let paths = std::slice::from_ref(path);
        let images = self.images(self.now);
        let outcomes = images.quarantine(paths, &quarantine, true).expect("marked");
        assert!(
            matches!(outcomes[..], [QuarantineOutcome::Quarantined]),
            "{outcomes:?}"
        );
    }

    fn sweep(&self, now: UtcDateTime) -> Report {
        Sweep {
            ledger: &self.ledger,
            store: &self.store,
            now,
            dry_run: false,
            even_doubtful: true,
            addresses_before: Timestamp(0),
            reconciles: true,
            purges: true,
            progress: &|_| {},
        }
        .run()
        .expect("swept")
    }

    fn verify(&self, repair: bool, rebuild: bool) -> (Verified, Vec<String>) {
        let mut found = Vec::new();
        let report = Verification {
            ledger: &self.ledger,
            store: &self.store,
            now: self.now,
            repair,
            rebuild: rebuild.then_some("free"),
            tell: &mut |finding| {
                found.push(finding.to_string());
                Ok(())
            },
            progress: &|_| {},
        }
        .run()
        .expect("verified");
        (report, found)
    }

    fn is_served(&self, path: &ImagePath) -> bool {
        self.store.stat(path).expect("known").is_some()
    }

    fn is_kept(&self, path: &ImagePath) -> bool {
        self.store.stat_quarantined(path).expect("known").is_some()
    }

    fn is_marked(&self, path: &ImagePath) -> bool {
        let row = self.ledger.image(path).expect("readable").expect("a row");
        row.quarantine.is_some()
    }

    fn waiting(&self) -> u64 {
        self.ledger.waiting_purges().expect("readable").0
    }
}

#[test]
fn an_image_in_quarantine_is_kept_until_it_is_released() {
    let site = site();
    let path = site.upload(StoreDuration::Lifetime);
    site.quarantine(&path, None);
    assert!(!site.is_served(&path) && site.is_kept(&path) && site.is_marked(&path));
    assert_eq!(site.waiting(), 1);
    let (report, found) = site.verify(true, true);
    assert_eq!((report.remaining(), found), (0, Vec::new()));
    let report = site.sweep(site.now + Duration::days(400));
    assert_eq!((report.quarantined, report.quarantine_ended), (0, 0));
    assert!(site.is_kept(&path));

    let images = site.images(site.now);
    let release = || images.release(&path).expect("known");
    assert_eq!(release(), ReleaseOutcome::Released);
    assert!(site.is_served(&path) && !site.is_kept(&path) && !site.is_marked(&path));
    assert_eq!(release(), ReleaseOutcome::NotInQuarantine);
    let deletion = images.delete(std::slice::from_ref(&path)).expect("deleted");
    assert_eq!(deletion.deleted.rows, 1);
    assert_eq!(release(), ReleaseOutcome::Unknown);
}

#[test]
fn the_sweep_deletes_an_image_when_its_quarantine_ends() {
    let site = site();
    let [ends, lasts] = [(); 2].map(|()| site.upload(StoreDuration::Lifetime));
    let end = site.now + Duration::days(30);
    site.quarantine(&ends, Some(end));
    site.quarantine(&lasts, None);
    assert_eq!(
        site.sweep(end - Duration::seconds(1)).quarantine_ended,
        0,
        "too early"
    );
    assert_eq!(site.sweep(end).quarantine_ended, 1);
    assert_eq!(site.ledger.image(&ends), Ok(None));
    assert!(!site.is_kept(&ends) && !site.is_served(&ends) && site.is_kept(&lasts));
}

#[test]
fn an_image_that_expired_in_quarantine_is_kept_and_not_released() {
    let site = site();
    let path = site.upload(StoreDuration::Days7);
    site.quarantine(&path, None);
    let late = site.now + Duration::days(30);
    assert_eq!(site.sweep(late).expired, 0);
    assert!(site.is_kept(&path));
    let outcome = site.images(late).release(&path).expect("known");
    assert!(matches!(outcome, ReleaseOutcome::Expired(_)), "{outcome:?}");
    assert!(site.is_kept(&path) && site.is_marked(&path));
}

/// The file is moved first: whatever is cut off, the image is out of reach, and the sweep marks its row.
#[test]
fn a_quarantine_that_was_killed_is_completed_by_the_sweep_or_by_another_one() {
    for completes in ["sweep", "verify", "again"] {
        let site = site();
        let path = site.upload(StoreDuration::Lifetime);
        site.store
            .quarantine(std::slice::from_ref(&path))
            .remove(0)
            .expect("moved");
        assert!(!site.is_served(&path) && !site.is_marked(&path));
        let (report, found) = site.verify(false, false);
        assert_eq!(report.quarantine, 1, "{found:?}");
        match completes {
            "sweep" => assert_eq!(site.sweep(site.now).quarantined, 1),
            "verify" => assert_eq!(site.verify(true, false).0.remaining(), 0),
            _ => site.quarantine(&path, None),
        }
        assert!(
            site.is_marked(&path) && site.is_kept(&path) && !site.is_served(&path),
            "{completes}"
        );
    }
}

#[test]
fn a_release_that_was_killed_leaves_the_image_out_of_reach_and_can_be_repeated() {
    let site = site();
    let path = site.upload(StoreDuration::Lifetime);
    site.quarantine(&path, None);
    site.ledger
        .end_quarantine(std::slice::from_ref(&path))
        .expect("marked");
    assert!(!site.is_served(&path));
    let released = site.images(site.now).release(&path).expect("known");
    assert_eq!(released, ReleaseOutcome::Released);
    assert!(site.is_served(&path) && !site.is_marked(&path));
}

#[test]
fn a_docroot_that_was_copied_back_does_not_bring_an_image_out_of_quarantine() {
    let site = site();
    let path = site.upload(StoreDuration::Lifetime);
    site.quarantine(&path, None);
    site.place(&path, site.now);
    assert!(site.is_served(&path));
    let (report, found) = site.verify(false, false);
    assert_eq!(report.quarantine, 1, "{found:?}");
    assert_eq!(site.sweep(site.now).quarantined, 1);
    assert!(!site.is_served(&path) && site.is_kept(&path) && site.is_marked(&path));
    site.place(&path, site.now);
    assert_eq!(site.verify(true, false).0.remaining(), 0);
    assert!(!site.is_served(&path) && site.is_kept(&path));
}

#[test]
fn a_lost_ledger_is_rebuilt_with_its_quarantine() {
    let site = site();
    let path = site.upload(StoreDuration::Lifetime);
    site.quarantine(&path, None);
    site.ledger
        .delete_rows(std::slice::from_ref(&path))
        .expect("lost");
    let (report, found) = site.verify(true, false);
    assert_eq!((report.unknown, report.remaining()), (1, 1), "{found:?}");
    assert_eq!(site.verify(false, true).0.remaining(), 0);
    assert!(site.is_marked(&path) && site.is_kept(&path));
}

#[test]
fn a_client_deletes_no_image_in_quarantine() {
    let site = site();
    let [served, kept] = [(); 2].map(|()| site.upload(StoreDuration::Days7));
    site.quarantine(&kept, None);
    let images = site.images(site.now);
    let both = [served.clone(), kept.clone()];
    let deletion = images.delete_served(&both).expect("deleted");
    assert_eq!(deletion.deleted.rows, 1);
    assert_eq!(deletion.kept, std::slice::from_ref(&kept));
    assert!(site.is_kept(&kept) && site.is_marked(&kept));
    assert_eq!(site.ledger.image(&served), Ok(None));
    let deletion = images.delete(&both).expect("deleted");
    assert_eq!((deletion.deleted.rows, deletion.kept.len()), (1, 0));
    assert!(!site.is_kept(&kept));
    assert_eq!(site.waiting(), 2);
}

/// A deletion that was killed between file and row: the sweep purges what no CDN was told of.
#[test]
fn the_sweep_purges_what_it_refunds() {
    let site = site();
    let path = site.upload(StoreDuration::Lifetime);
    site.store
        .delete(std::slice::from_ref(&path))
        .remove(0)
        .expect("deleted");
    assert_eq!(site.sweep(site.now).refunded, 1);
    assert_eq!(site.waiting(), 1);
}

#[test]
fn regression_an_image_whose_upload_is_under_way_is_not_taken_down() {
    let site = site();
    let duration = StoreDuration::Days7;
    let path = record(&site.ledger, duration, site.now, BYTES.len(), (160, 160));
    let row = || site.ledger.image(&path).expect("readable").expect("a row");
    let images = |seconds| site.images(site.now + Duration::seconds(seconds));
    assert!(images(1).is_arriving(&row()).expect("looked at"));
    let quarantine = Quarantined {
        at: site.now.into(),
        until: None,
        reason: None,
        with_client: true,
    };
    let outcome = |seconds| {
        let outcomes = images(seconds).quarantine(std::slice::from_ref(&path), &quarantine, true);
        outcomes.expect("decided").remove(0)
    };
    let under_way = outcome(1);
    assert!(
        matches!(under_way, QuarantineOutcome::Failed(_)),
        "{under_way:?}"
    );
    // Its file does not come any more.
    assert!(!images(61).is_arriving(&row()).expect("looked at"));
    assert!(matches!(outcome(61), QuarantineOutcome::Lost));
    site.place(&path, site.now);
    assert!(!images(1).is_arriving(&row()).expect("looked at"));
    site.quarantine(&path, None);
    assert!(!images(1).is_arriving(&row()).expect("looked at"));
}
