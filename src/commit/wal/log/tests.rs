use std::thread;

use super::*;

const SIZE: u64 = 4 * 4096;

fn log_in(directory: &tempfile::TempDir, ledger: u64) -> Log {
    let path = directory.path().join("ledger.db-log");
    let log = Log::open_with(&path, ledger, true, SIZE).expect("open");
    log.expect("made")
}

fn directory() -> tempfile::TempDir {
    tempfile::tempdir().expect("a directory")
}

#[test]
fn one_process_holds_the_log() {
    let directory = directory();
    let log = log_in(&directory, 1);
    let path = directory.path().join("ledger.db-log");
    for create in [false, true] {
        let refused = Log::open_with(&path, 1, create, SIZE).expect_err("held");
        assert!(matches!(refused, Unavailable::Held), "{refused}");
    }
    drop(log);
    log_in(&directory, 1);
}

#[test]
fn the_log_of_another_ledger_is_renamed_and_not_read() {
    let directory = directory();
    drop(log_in(&directory, 0xAB));
    let path = directory.path().join("ledger.db-log");
    let foreign = Log::open_with(&path, 2, false, SIZE).expect("readable");
    assert!(foreign.is_none());
    log_in(&directory, 2);
    let aside = directory.path().join("ledger.db-log.00000000000000ab");
    assert!(aside.join("0000.segment").exists());
}

#[test]
fn a_damaged_segment_is_not_replaced() {
    let directory = directory();
    drop(log_in(&directory, 1));
    let path = directory.path().join("ledger.db-log");
    fs::write(path.join("0001.segment"), [7; 5000]).expect("written");
    let refused = Log::open_with(&path, 1, true, SIZE).expect_err("damaged");
    assert!(refused.to_string().contains("damaged"), "{refused}");
    assert_eq!(
        fs::read(path.join("0001.segment")).expect("read"),
        [7; 5000]
    );
}

#[test]
fn a_batch_waits_for_a_checkpoint_while_every_segment_is_full_and_the_log_grows() {
    let directory = directory();
    let log = log_in(&directory, 1);
    let batch = vec![1; 3 * 4096];
    thread::scope(|scope| {
        let appender = scope.spawn(|| {
            for lsn in 1..=6 {
                drop(log.append(&batch, lsn, []).expect("appended"));
            }
            log.close();
        });
        let mut checkpointed = Vec::new();
        while let Some(filled) = log.take_due() {
            for filled in &filled {
                filled.wait_until_published();
                checkpointed.push(filled.last_lsn);
            }
            log.release(filled);
        }
        appender.join().expect("no panic");
        assert_eq!(checkpointed, [1, 2, 3, 4, 5, 6]);
    });
    assert!(log.bytes() >= FIRST_SEGMENTS as u64 * SIZE);
    assert_eq!(log.oldest(), None);
}

/// Once, the metric said 0 while a checkpoint ran, and as long as one that failed was repeated.
#[test]
fn records_that_are_being_checkpointed_have_an_age() {
    let directory = directory();
    let log = log_in(&directory, 1);
    drop(log.append(&[1; 10], 1, []).expect("appended"));
    log.close();
    let filled = log.take_due().expect("due");
    assert!(log.oldest().is_some());
    log.release(filled);
    assert_eq!(log.oldest(), None);
}

#[test]
fn a_full_log_whose_checkpoint_fails_refuses_batches_until_one_succeeds() {
    let directory = directory();
    let log = log_in(&directory, 1);
    let batch = vec![1; 3 * 4096];
    for lsn in 1..=2 {
        drop(log.append(&batch, lsn, []).expect("appended"));
    }
    log.close();
    let filled = log.take_due().expect("due");
    assert!(!log.wait_after("no disk".to_owned()), "it closes");
    let refused = log.append(&batch, 3, []).expect_err("full");
    assert!(refused.to_string().contains("no disk"), "{refused}");
    log.release(filled);
    log.append(&batch, 4, []).expect("appended");
}
