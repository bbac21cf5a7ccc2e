//! Docroot, file systems, ledger, sweep and clock.

use super::*;
use Verdict::{Fail, Skip, Warn};

#[test]
fn faults_of_the_docroot() {
    let lost = || Err("/var/www/corenexis-cdn: No such file or directory".to_owned());
    is_told(
        |facts| facts.places.docroot.way = lost(),
        "docroot",
        Fail,
        "No such file",
    );
    is_told(
        |facts| facts.places.spool = place("/var/www/corenexis-cdn/.spool", 0, 0, 0o700),
        "docroot",
        Fail,
        "corenexis-cdn, who runs the responder, may not make files in",
    );
    is_told(
        |facts| facts.places.images.device = Some(2),
        "one file system",
        Fail,
        "/p lies on another",
    );
    is_told(
        |facts| {
            facts
                .places
                .images
                .mount
                .as_mut()
                .expect("a mount")
                .read_only = true;
        },
        "docroot",
        Fail,
        "read-only",
    );
    // What the kernel tells root says nothing about the account of the responder.
    let refused =
        |facts: &mut Facts| facts.places.spool.writable = Some(Err("Read-only".to_owned()));
    assert_eq!(with(refused), []);
    is_told(
        |facts| {
            facts.examiner = account("corenexis-cdn", 900);
            refused(facts);
        },
        "docroot",
        Fail,
        "Read-only",
    );
}

#[test]
fn room_and_file_systems() {
    let room = |free_bytes, free_files| {
        move |facts: &mut Facts| {
            facts.places.docroot.room = Some(Room {
                bytes: 100 << 30,
                free_bytes,
                files: 1_000_000,
                free_files,
            });
        }
    };
    is_told(
        room(1 << 20, 900_000),
        "free space",
        Fail,
        "less than min_free (1 GiB)",
    );
    is_told(
        room(1536 << 20, 900_000),
        "free space",
        Warn,
        "1.5 GiB of 100 GiB",
    );
    is_told(room(50 << 30, 0), "free inodes", Fail, "no file");
    is_told(
        room(50 << 30, 9_000),
        "free inodes",
        Warn,
        "9000 of 1000000",
    );
    is_told(
        |facts| {
            facts
                .places
                .ledger_directory
                .room
                .as_mut()
                .expect("room")
                .free_bytes = 1 << 20;
        },
        "ledger space",
        Warn,
        "1 MiB left",
    );
    for (kind, images, ledger) in [
        ("nfs4", Warn, Fail),
        ("tmpfs", Warn, Warn),
        ("vfat", Warn, Warn),
        ("overlay", Warn, Warn),
    ] {
        is_told(
            |facts| facts.places.images.mount.as_mut().expect("a mount").kind = kind.to_owned(),
            "file systems",
            images,
            kind,
        );
        is_told(
            |facts| {
                facts
                    .places
                    .ledger_directory
                    .mount
                    .as_mut()
                    .expect("a mount")
                    .kind = kind.to_owned();
            },
            "file systems",
            ledger,
            kind,
        );
    }
}

#[test]
fn faults_of_the_ledger() {
    let inspection = |edit: fn(&mut Inspection)| {
        move |facts: &mut Facts| edit(facts.ledger.as_mut().expect("seen"))
    };
    is_told(
        inspection(|ledger| ledger.check = QuickCheck::Damaged("row 7".to_owned())),
        "ledger",
        Fail,
        "row 7",
    );
    is_told(
        inspection(|ledger| ledger.journal = "delete".to_owned()),
        "ledger",
        Warn,
        "journal_mode=delete",
    );
    is_told(
        inspection(|ledger| ledger.clients.clear()),
        "clients",
        Warn,
        "none",
    );
    is_told(
        inspection(|ledger| ledger.clients.push(("old".to_owned(), "gold".to_owned()))),
        "clients",
        Fail,
        "old (plan \"gold\")",
    );
    let newer = with(inspection(|ledger| ledger.schema += 1));
    assert_eq!(
        (newer[0].check, newer[0].verdict),
        ("ledger", Fail),
        "{newer:#?}"
    );
    assert_eq!(
        with(inspection(|ledger| ledger.check = QuickCheck::Unfinished)),
        []
    );
    is_told(
        |facts| {
            facts.places.ledger_files[1] =
                place("/var/lib/corenexis-cdn/ledger.db-wal", 0, 0, 0o640);
        },
        "ledger files",
        Fail,
        "ledger.db-wal",
    );
    let broken = with(|facts| facts.ledger = Err("file is not a database".to_owned()));
    assert_eq!(
        (broken[0].check, broken[0].verdict),
        ("ledger", Fail),
        "{broken:#?}"
    );
    let unseen = with(|facts| {
        facts.ledger = Err("unable to open".to_owned());
        facts.examiner = account("me", 1000);
    });
    assert!(
        unseen.iter().all(|finding| finding.verdict == Skip),
        "{unseen:#?}"
    );
}

#[test]
fn the_clock_and_the_sweep() {
    let at = |seconds: i64| {
        move |facts: &mut Facts| {
            facts.ledger.as_mut().expect("seen").swept =
                Some(Timestamp(NOW.unix_timestamp() - seconds));
        }
    };
    is_told(at(2 * 3_600), "last sweep", Warn, "2 hours ago");
    is_told(at(3 * DAY_SECONDS), "last sweep", Fail, "3 days ago");
    is_told(
        at(-DAY_SECONDS),
        "clock",
        Fail,
        "a sweep ended 24 hours later",
    );
    is_told(
        |facts| {
            facts.ledger.as_mut().expect("seen").newest_day =
                Some(NOW.unix_timestamp() / DAY_SECONDS + 1);
        },
        "clock",
        Fail,
        "an upload was recorded",
    );
    is_told(
        |facts| facts.ledger.as_mut().expect("seen").swept = None,
        "last sweep",
        Fail,
        "never",
    );
    let new = |facts: &mut Facts| {
        let ledger = facts.ledger.as_mut().expect("seen");
        (ledger.swept, ledger.created) = (None, Some(Timestamp(NOW.unix_timestamp() - 60)));
    };
    assert_eq!(with(new), []);
    let past = with(|facts| facts.now = utc_datetime!(1970-01-01 0:10));
    assert!(
        past.iter()
            .any(|finding| finding.check == "clock" && finding.verdict == Fail),
        "{past:#?}"
    );
    is_told(
        |facts| facts.schedules.clear(),
        "sweep schedule",
        Warn,
        "crontab",
    );
    is_told(
        |facts| {
            facts.schedules.clear();
            facts
                .unseen_schedules
                .push("/var/spool/cron/crontabs".to_owned());
        },
        "sweep schedule",
        Skip,
        "/var/spool/cron/crontabs",
    );
}
