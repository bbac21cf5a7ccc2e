//! Other programs of the host during uploads: a locked ledger, removed directories, concurrent sweeps, backup and restore.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::invariants::{Installation, assert_invariants};
use crate::times;
use crate::uploads::{Over, UPLOADERS, Uploads, unlimited};
use support::machine::until_at_least;

/// How many directories are removed between two uploads, or before the rename of one.
const REMOVED: usize = 40;

const INTERNAL: &str = r#"500 {"error":"Internal server error"}"#;

#[test]
fn uploads_wait_for_a_ledger_locked_for_3_seconds_and_fail_after_30() {
    let site = unlimited().start();
    let mut installation = Installation::of(&site);
    let uploads = Uploads::default();
    let mut locks = vec![3, 30];
    while let Some(&seconds) = locks.first() {
        let ledger = site.ledger();
        let before = uploads.len();
        uploads.during(&site, UPLOADERS, 9_000, || {
            uploads.wait_for(UPLOADERS);
            let locking = Instant::now();
            ledger.execute_batch("BEGIN IMMEDIATE").expect("the lock");
            thread::sleep(Duration::from_secs(seconds));
            let refusals = uploads.take_refusals();
            if seconds > 5 {
                assert_eq!(refusals.keys().collect::<Vec<_>>(), [INTERNAL]);
                locks.remove(0);
            } else if locking.elapsed() < Duration::from_secs(5) {
                assert!(refusals.is_empty(), "they wait for it: {refusals:?}");
                locks.remove(0);
            } else {
                eprintln!("the machine stood still: once more");
            }
            ledger.execute_batch("ROLLBACK").expect("its end");
            uploads.wait_for(2 * UPLOADERS);
        });
        if locks.first() == Some(&seconds) {
            uploads.take_refusals();
        }
        assert_invariants(&mut installation, &uploads.acknowledged(before));
        let (_, rows) = installation.quota_and_rows();
        assert_eq!(
            (rows, installation.spooled()),
            (installation.files().len() as u64, 0)
        );
    }
    installation.sweep_removes_leftovers();
}

#[test]
fn removed_directories_refuse_uploads_or_are_made_again() {
    let site = unlimited().start();
    let mut installation = Installation::of(&site);
    let uploads = Uploads::default();
    for missing in [".spool", "p"] {
        let directory = site.docroot().join(missing);
        let aside = site.root.join("aside");
        fs::rename(&directory, &aside).expect("moved");
        let status = uploads.upload(&site, 9_000);
        let refusals = uploads.take_refusals();
        assert_eq!(status, 500, "without {missing}: {refusals:?}");
        fs::rename(&aside, &directory).expect("moved back");
        assert_eq!(uploads.upload(&site, 9_000), 200, "after {missing}");
        assert_invariants(&mut installation, &uploads.acknowledged(0));
    }
    // A sweep may remove an empty day directory just before an upload renames its file into it.
    let over = AtomicBool::new(false);
    let removed = AtomicUsize::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                for class in fs::read_dir(site.docroot().join("p")).expect("p").flatten() {
                    for day in fs::read_dir(class.path()).into_iter().flatten().flatten() {
                        let is_removed = fs::remove_dir(day.path()).is_ok();
                        removed.fetch_add(usize::from(is_removed), Ordering::Relaxed);
                    }
                }
                thread::sleep(Duration::from_millis(50));
            }
        });
        // Stops the thread also when an assertion fails.
        let _over = Over(&over);
        until_at_least("removed directories", REMOVED, || {
            for path in installation.files() {
                let _ = fs::remove_file(site.docroot().join("p").join(path));
            }
            uploads.during(&site, 4, 9_000, || uploads.wait_for(4));
            removed.load(Ordering::Relaxed)
        });
    });
    let refusals = uploads.take_refusals();
    assert!(refusals.is_empty(), "{removed:?} removed: {refusals:?}");
    assert_eq!(uploads.upload(&site, 9_000), 200);
    // The sweep deletes the rows whose files this test deleted.
    let report = installation.sweep_removes_leftovers();
    assert!(report["withdrawn"].as_u64() != Some(0), "{report}");
}

#[test]
fn two_sweeps_at_once_delete_each_image_once() {
    let site = unlimited().start();
    let mut installation = Installation::of(&site);
    let uploads = Uploads::default();
    let (mut ran, mut busy, mut expired) = (0, 0, 0);
    let mut kept = Vec::new();
    for _ in 0..times("FAULTS_SWEEPS", 8) {
        uploads.during(&site, 4, 3_000, || uploads.wait_for(60));
        // All images so far expire.
        let due = site
            .ledger()
            .execute("UPDATE image SET expires_at = unixepoch() - 60", [])
            .expect("updated");
        let before = uploads.len();
        let both = uploads.during(&site, 4, 3_000, || {
            uploads.wait_for(4);
            let sweep = || {
                let mut command = installation.command(&["sweep", "--json"]);
                let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
                command.spawn().expect("a sweep starts")
            };
            [sweep(), sweep()].map(|sweep| sweep.wait_with_output().expect("its end"))
        });
        for output in &both {
            match output.status.code() {
                Some(0) => ran += 1,
                Some(75) => busy += 1,
                _ => panic!("{output:?}"),
            }
        }
        let swept: u64 = both.iter().map(expired_of).sum();
        assert_eq!(swept, due as u64, "each once");
        expired += swept;
        kept = uploads.acknowledged(before);
    }
    assert!(ran > 0 && expired > 0);
    // The images of the last round are kept.
    let broken = installation.violations(&kept);
    assert!(broken.is_empty(), "{broken:?}");
    let (_, rows) = installation.quota_and_rows();
    assert_eq!(
        (rows, installation.spooled()),
        (installation.files().len() as u64, 0)
    );
    assert!(uploads.take_refusals().is_empty());
    eprintln!("{ran} sweeps ran, {busy} found another one, {expired} images expired");
}

fn expired_of(output: &Output) -> u64 {
    let report: Option<serde_json::Value> = serde_json::from_slice(&output.stdout).ok();
    report.map_or(0, |report| report["expired"].as_u64().expect("a count"))
}

/// In the documented order: the ledger before the files, so that each row of the backup has its file in the copy.
#[test]
fn a_backup_under_load_and_a_copy_of_the_docroot_restore_the_site() {
    let site = unlimited().start();
    let uploads = Uploads::default();
    let fresh = tempfile::tempdir().expect("a directory");
    let backup = fresh.path().join("backup.db");
    let docroot = fresh.path().join("docroot");
    let before = uploads.during(&site, UPLOADERS, 9_000, || {
        uploads.wait_for(100);
        let before = uploads.acknowledged(0);
        let output =
            Installation::of(&site).run(&["backup", &backup.display().to_string(), "--json"]);
        assert!(output.status.success(), "{output:?}");
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert!(report["images"].as_u64() >= Some(100), "{report}");
        uploads.wait_for(100);
        copy_tree_with_times(&site.docroot(), &docroot);
        before
    });
    let copied = uploads.len();
    let ledger = fresh.path().join("ledger.db");
    let config = fresh.path().join("config.toml");
    let text = fs::read_to_string(site.config()).expect("config.toml");
    let text = text
        .replace(
            &site.docroot().display().to_string(),
            &docroot.display().to_string(),
        )
        .replace(
            &site.ledger_file().display().to_string(),
            &ledger.display().to_string(),
        );
    fs::write(&config, text).expect("written");
    let mut installation = Installation::new(docroot, ledger.clone(), config);
    let output = installation.run(&["restore", &backup.display().to_string(), "--yes"]);
    assert!(output.status.success(), "{output:?}");
    // Uploads between backup and copy have files without rows; nothing else differs.
    let verified = installation.run(&["verify", "--json"]);
    assert_eq!(verified.status.code(), Some(1), "{verified:?}");
    let report: serde_json::Value = serde_json::from_slice(&verified.stdout).expect("JSON");
    for none in ["missing", "sizes", "times", "unreadable"] {
        assert_eq!(report[none], 0, "{none}");
    }
    assert!(
        report["unknown"].as_u64() >= Some(100),
        "{}",
        report["unknown"]
    );
    let rebuilt = installation.run(&["verify", "--rebuild"]);
    assert!(rebuilt.status.success(), "{rebuilt:?}");
    let broken = installation.violations(&before);
    assert!(broken.is_empty(), "{broken:?}");

    // Without a backup, `verify --rebuild` takes path and modification time.
    for suffix in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(format!("{}{suffix}", ledger.display()));
    }
    assert_eq!(
        installation.run(&["verify"]).status.code(),
        Some(4),
        "it is lost"
    );
    assert!(installation.run(&["verify", "--rebuild"]).status.success());
    assert!(installation.run(&["verify"]).status.success());
    let broken = installation.violations(&before);
    assert!(broken.is_empty(), "{broken:?}");
    eprintln!(
        "{} images in the backup, {copied} uploaded meanwhile",
        before.len()
    );
}

/// Copies a tree with modification times, as `cp -a` does; files deleted meanwhile are left out.
fn copy_tree_with_times(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    for entry in fs::read_dir(from).expect("a directory").flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_tree_with_times(&entry.path(), &target);
        } else if let Ok(metadata) = entry.metadata()
            && fs::copy(entry.path(), &target).is_ok()
        {
            let times = metadata.modified().expect("a time");
            let copy = File::options().write(true).open(target).expect("the copy");
            copy.set_modified(times).expect("a time");
        }
    }
}
