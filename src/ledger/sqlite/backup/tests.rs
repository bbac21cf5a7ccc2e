use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use time::Duration;

use super::*;
use crate::config::Durability;
use crate::expiry::StoreDuration;
use crate::ledger::conformance::NOW;
use crate::ledger::testing::{add_client, record};
use crate::ledger::{ImageFilter, Ledger};

struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().expect("a directory"),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn open(&self) -> SqliteLedger {
        SqliteLedger::open(&self.path("ledger.db"), Durability::Full, 2, NOW).expect("open")
    }

    /// A ledger with a client `a`.
    fn filled(&self) -> SqliteLedger {
        let ledger = self.open();
        add_client(&ledger, NOW);
        ledger
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(self.directory.path())
            .expect("readable")
            .map(|entry| entry.expect("an entry").file_name().display().to_string())
            .collect();
        names.sort_unstable();
        names
    }
}

fn upload(ledger: &SqliteLedger) {
    record(ledger, StoreDuration::Days7, NOW, 5, (1, 1));
}

fn images(ledger: &SqliteLedger) -> usize {
    let filter = ImageFilter::all(1_000_000);
    ledger.images(&filter).expect("readable").len()
}

#[test]
fn a_backup_under_load_is_one_consistent_file() {
    let place = Place::new();
    let ledger = place.filled();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                upload(&ledger);
            }
        });
        while images(&ledger) < 20 {
            thread::yield_now();
        }
        for number in 0..5 {
            let target = place.path(&format!("backup-{number}.db"));
            let before = images(&ledger) as u64;
            let contents = ledger.backup(&target, false).expect("backed up");
            assert!(contents.clients == 1 && contents.images >= before);
            assert_eq!(check(&target), Ok(contents));
            let mode = fs::metadata(&target).expect("there").permissions().mode();
            assert_eq!(mode & 0o777, 0o640);
            let connection = open_for_reading(&target).expect("open");
            let counted: u64 = connection
                .query_row("SELECT sum(uploads) FROM usage", [], |row| row.get(0))
                .expect("a sum");
            assert_eq!(counted, contents.images, "quota and rows of one instant");
        }
        stop.store(true, Ordering::Relaxed);
    });
    drop(ledger);
    let expected = (0..5).map(|number| format!("backup-{number}.db"));
    assert_eq!(
        place.names(),
        expected.chain(["ledger.db".to_owned()]).collect::<Vec<_>>()
    );
}

#[test]
fn a_backup_replaces_nothing_unasked() {
    let place = Place::new();
    let ledger = place.filled();
    let target = place.path("backup.db");
    fs::write(&target, "mine").expect("written");
    let refused = ledger.backup(&target, false).expect_err("there is one");
    assert!(refused.to_string().contains("--force"), "{refused}");
    assert_eq!(fs::read(&target).expect("there"), b"mine");
    assert_eq!(ledger.backup(&target, true).expect("replaced").clients, 1);
    let nowhere = place.path("nowhere/backup.db");
    assert!(ledger.backup(&nowhere, false).is_err());
    assert!(!place.names().iter().any(|name| name.contains("partial")));
}

#[test]
fn a_restore_brings_the_backup_back_and_keeps_what_it_replaced() {
    let place = Place::new();
    let ledger = place.filled();
    upload(&ledger);
    let backup = place.path("backup.db");
    ledger.backup(&backup, false).expect("backed up");
    upload(&ledger);
    drop(ledger);
    let later = NOW + Duration::days(1);
    let restored = restore(&backup, &place.path("ledger.db"), later).expect("restored");
    assert_eq!(
        (restored.contents.clients, restored.contents.images),
        (1, 1)
    );
    let aside = place.path("ledger.db.before-restore-20260406T120000Z");
    assert_eq!(restored.replaced, Some(aside.clone()));
    assert_eq!(check(&aside).expect("whole").images, 2);
    let mode = fs::metadata(place.path("ledger.db"))
        .expect("there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o640);
    let ledger = place.open();
    assert_eq!(images(&ledger), 1);
    upload(&ledger);
    assert_eq!(
        check(&backup).expect("whole").images,
        1,
        "the backup is untouched"
    );
}

#[test]
fn a_restore_waits_for_nobody_who_has_the_ledger_open() {
    let place = Place::new();
    let ledger = place.filled();
    let backup = place.path("backup.db");
    ledger.backup(&backup, false).expect("backed up");
    let path = place.path("ledger.db");
    let refused = restore(&backup, &path, NOW).expect_err("it is open");
    assert!(matches!(refused, LedgerError::Busy(_)), "{refused}");
    drop(ledger);
    let alone = lock_exclusively(&path).expect("nobody has it open");
    let refused = SqliteLedger::open(&path, Durability::Full, 1, NOW).expect_err("a restore runs");
    assert!(matches!(refused, LedgerError::Busy(_)), "{refused}");
    drop(alone);
    restore(&backup, &path, NOW).expect("restored");
    assert!(!place.names().iter().any(|name| name.contains("partial")));
}

#[test]
fn a_lost_and_a_broken_ledger_are_restored_too() {
    let place = Place::new();
    let ledger = place.filled();
    let backup = place.path("backup.db");
    ledger.backup(&backup, false).expect("backed up");
    drop(ledger);
    let path = place.path("ledger.db");
    fs::remove_file(&path).expect("removed");
    let restored = restore(&backup, &path, NOW).expect("restored");
    assert_eq!(restored.replaced, None);
    assert!(place.open().account("a", NOW).expect("readable").is_some());
    fs::write(&path, "no database at all, ".repeat(100)).expect("written");
    fs::write(place.path("ledger.db-wal"), "its log").expect("written");
    let restored = restore(&backup, &path, NOW).expect("restored");
    let aside = restored.replaced.expect("kept");
    assert!(fs::read(&aside).expect("there").starts_with(b"no database"));
    assert!(
        !place.path("ledger.db-wal").exists(),
        "another ledger's log"
    );
    assert!(place.open().account("a", NOW).expect("readable").is_some());
}

#[test]
fn what_is_no_whole_ledger_is_not_restored() {
    let place = Place::new();
    let ledger = place.filled();
    for _ in 0..200 {
        upload(&ledger);
    }
    let backup = place.path("backup.db");
    ledger.backup(&backup, false).expect("backed up");
    drop(ledger);
    let mut bytes = fs::read(&backup).expect("there");
    let cases =
        ["letter", "empty", "cut", "damaged", "other", "newer"].map(|name| place.path(name));
    fs::write(&cases[0], "a letter, and no database at all".repeat(50)).expect("written");
    fs::write(&cases[1], "").expect("written");
    fs::write(&cases[2], &bytes[..bytes.len() / 2]).expect("written");
    let middle = bytes.len() / 2;
    bytes[middle - 2_048..middle + 2_048].fill(0xA5);
    fs::write(&cases[3], &bytes).expect("written");
    let other = Connection::open(&cases[4]).expect("open");
    other
        .execute_batch("CREATE TABLE letter (text)")
        .expect("made");
    fs::copy(&backup, &cases[5]).expect("copied");
    let newer = Connection::open(&cases[5]).expect("open");
    newer
        .pragma_update(None, "user_version", schema::newest() + 1)
        .expect("set");
    drop((other, newer));
    let path = place.path("ledger.db");
    for case in cases.iter().chain([&place.path("nowhere")]) {
        let refused = restore(case, &path, NOW).expect_err("no ledger");
        assert!(
            refused.to_string().contains(&case.display().to_string()),
            "{refused}"
        );
    }
    assert_eq!(images(&place.open()), 200, "the ledger is as it was");
    assert!(
        !place
            .names()
            .iter()
            .any(|name| name.contains("restore") || name.contains("partial"))
    );
}
