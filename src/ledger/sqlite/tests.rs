use std::cell::RefCell;
use std::time::{Duration, Instant};
use std::{fs, thread};

use super::connection::BUSY_TIMEOUT;
use super::*;
use crate::ledger::conformance::{self, NOW};

fn open(path: &Path) -> Result<SqliteLedger, LedgerError> {
    SqliteLedger::open(path, Durability::Full, 2, NOW)
}

#[test]
fn it_is_a_ledger() {
    let directories = RefCell::new(Vec::new());
    conformance::check(|| {
        let directory = tempfile::tempdir().expect("a directory");
        let ledger = open(&directory.path().join("ledger.db")).expect("open");
        directories.borrow_mut().push(directory);
        ledger
    });
}

#[test]
fn it_is_opened_as_it_must_be() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("ledger.db");
    let ledger = open(&path).expect("open");
    let check = |connection: &Connection| {
        for (pragma, expected) in [("synchronous", "2"), ("foreign_keys", "1")] {
            let value: i64 = connection
                .pragma_query_value(None, pragma, |row| row.get(0))
                .expect(pragma);
            assert_eq!(value.to_string(), expected, "{pragma}");
        }
        let mode: String = connection
            .pragma_query_value(None, "journal_mode", |row| row.get(0))
            .expect("a mode");
        assert_eq!(mode, "wal");
    };
    check(&lock(&ledger.writer).connection);
    ledger.readers.with(check);
    for suffix in ["", "-wal", "-shm"] {
        let file = directory.path().join(format!("ledger.db{suffix}"));
        let mode = std::os::unix::fs::PermissionsExt::mode(
            &fs::metadata(&file).expect("there").permissions(),
        );
        assert_eq!(mode & 0o777, 0o640, "{}", file.display());
    }
}

#[test]
fn two_processes_may_use_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("ledger.db");
    let (one, other) = (open(&path).expect("open"), open(&path).expect("open again"));
    assert_eq!(
        one.add_client("a", "free", TokenDigest([1; 32]), NOW),
        Ok(true)
    );
    assert!(other.account("a", NOW).expect("readable").is_some());
}

#[test]
fn a_ledger_that_stays_locked_is_busy() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("ledger.db");
    let ledger = open(&path).expect("open");
    lock(&ledger.writer)
        .connection
        .busy_timeout(Duration::from_millis(20))
        .expect("set");
    let other = Connection::open(&path).expect("open");
    other.execute_batch("BEGIN IMMEDIATE").expect("locked");
    let outcome = ledger.add_client("a", "free", TokenDigest([1; 32]), NOW);
    assert!(matches!(outcome, Err(LedgerError::Busy(_))), "{outcome:?}");
    other.execute_batch("ROLLBACK").expect("unlocked");
    assert_eq!(
        ledger.add_client("a", "free", TokenDigest([1; 32]), NOW),
        Ok(true),
        "no restart is needed"
    );
}

/// Once, an upload beside a responder that committed all the time found the ledger locked at each of its fifty tries. Here the lock is free
/// between those of SQLite's own busy handler, which come 228 ms after the first one, and every tenth of a second from then on.
#[test]
fn regression_a_process_that_hardly_lets_go_of_the_lock_starved_another() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("ledger.db");
    let ledger = open(&path).expect("open");
    let other = Connection::open(&path).expect("open");
    other.busy_timeout(BUSY_TIMEOUT).expect("set");
    other.execute_batch("BEGIN IMMEDIATE").expect("locked");
    let mut free = Instant::now() + Duration::from_millis(270);
    let added = thread::scope(|scope| {
        let adding = scope.spawn(|| ledger.add_client("a", "free", TokenDigest([1; 32]), NOW));
        while !adding.is_finished() {
            thread::sleep(free.saturating_duration_since(Instant::now()));
            other.execute_batch("ROLLBACK").expect("unlocked");
            thread::sleep(Duration::from_millis(30));
            other.execute_batch("BEGIN IMMEDIATE").expect("locked");
            free += Duration::from_millis(100);
        }
        adding.join().expect("no panic")
    });
    assert_eq!(added, Ok(true));
}

#[test]
fn a_failed_write_leaves_nothing_behind() {
    let directory = tempfile::tempdir().expect("a directory");
    let ledger = open(&directory.path().join("ledger.db")).expect("open");
    let outcome: Result<(), _> = ledger.write(|connection| {
        clients::add(connection, "a", "free", TokenDigest([1; 32]), NOW)?;
        Err(rusqlite::Error::QueryReturnedNoRows)
    });
    assert!(outcome.is_err());
    assert_eq!(ledger.account("a", NOW), Ok(None));
}

#[test]
fn what_is_no_ledger_is_refused_with_its_path() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("ledger.db");
    fs::write(
        &path,
        "this is a letter to my landlord, not a database, and it shall stay one",
    )
    .expect("written");
    let error = open(&path).expect_err("no database").to_string();
    assert!(error.contains("not a database"), "{error}");
    let missing = directory.path().join("nowhere/ledger.db");
    let error = open(&missing).expect_err("no directory").to_string();
    assert!(
        error.contains("nowhere") && error.contains("create it"),
        "{error}"
    );
}

fn with_one_reader() -> (tempfile::TempDir, SqliteLedger) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("ledger.db");
    let ledger = SqliteLedger::open(&path, Durability::Full, 1, NOW).expect("open");
    (directory, ledger)
}

#[test]
fn a_thread_that_waits_for_a_reader_gets_the_one_that_is_given_back() {
    let (_directory, ledger) = with_one_reader();
    let waiting = || ledger.readers.waiting();
    thread::scope(|scope| {
        let readers = ledger.readers.with(|_| {
            let readers = [(); 3].map(|()| scope.spawn(|| ledger.account("a", NOW)));
            while waiting() < readers.len() {
                thread::yield_now();
            }
            readers
        });
        for reader in readers {
            assert_eq!(reader.join().expect("no panic"), Ok(None));
        }
    });
    assert_eq!(waiting(), 0);
}

#[test]
fn a_reader_comes_back_from_a_panic() {
    let (_directory, ledger) = with_one_reader();
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        ledger.readers.with(|_| panic!("inside a read"));
    }));
    assert!(panicked.is_err());
    assert_eq!(
        ledger.account("a", NOW),
        Ok(None),
        "the only reader is there again"
    );
}

#[test]
fn regression_a_quarantine_runs_beside_a_sweep_and_not_beside_a_release() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("ledger.db");
    let open = |mode| SqliteLedger::open_for_takedown(&path, Durability::Full, mode, NOW);
    let sweep = || SqliteLedger::open_for_sweep(&path, Durability::Full, NOW);
    let is_excluded = |opened| matches!(opened, Err(LedgerError::SweepRuns));

    let shared = [
        sweep().expect("a sweep"),
        open(LockMode::Shared).expect("a quarantine"),
        open(LockMode::Shared).expect("another one"),
    ];
    assert!(is_excluded(sweep()), "a second sweep");
    for held in shared {
        assert!(is_excluded(open(LockMode::Exclusive)));
        drop(held);
    }
    let release = open(LockMode::Exclusive).expect("a release");
    assert!(is_excluded(open(LockMode::Shared)) && is_excluded(sweep()));
    drop(release);
    open(LockMode::Shared).expect("a quarantine");
}
