//! What other programs of the host do meanwhile: a ledger that is locked, directories that go away, sweeps and backups beside uploads.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::promise::{Place, holds};
use crate::times;
use crate::uploads::{UPLOADERS, Uploads, endless};

const INTERNAL: &str = r#"500 {"error":"Internal server error"}"#;

#[test]
fn a_ledger_that_is_locked_for_3_and_for_30_seconds() {
    let site = endless().start();
    let mut place = Place::of(&site);
    let uploads = Uploads::default();
    for seconds in [3, 30] {
        let ledger = site.ledger();
        let before = uploads.len();
        uploads.during(&site, UPLOADERS, 9_000, || {
            uploads.wait_for(UPLOADERS);
            ledger.execute_batch("BEGIN IMMEDIATE").expect("the lock");
            thread::sleep(Duration::from_secs(seconds));
            let refusals = uploads.take_refusals();
            if seconds < 5 {
                assert!(refusals.is_empty(), "they wait for it: {refusals:?}");
            } else {
                assert_eq!(refusals.keys().collect::<Vec<_>>(), [INTERNAL]);
            }
            ledger.execute_batch("ROLLBACK").expect("its end");
            uploads.wait_for(2 * UPLOADERS);
        });
        holds(&mut place, &uploads.acknowledged(before));
        let (_, rows) = place.quota_and_rows();
        assert_eq!((rows, place.spooled()), (place.files().len() as u64, 0));
    }
    place.sweep_clears_what_was_left();
}

#[test]
fn directories_that_go_away() {
    let site = endless().start();
    let mut place = Place::of(&site);
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
        holds(&mut place, &uploads.acknowledged(0));
    }
    // Days come back by themselves: a sweep may remove one that is empty just before an image is put into it.
    let over = AtomicBool::new(false);
    let mut removed = 0;
    thread::scope(|scope| {
        let remover = scope.spawn(|| {
            let mut removed = 0_u32;
            while !over.load(Ordering::Relaxed) {
                for class in fs::read_dir(site.docroot().join("p")).expect("p").flatten() {
                    for day in fs::read_dir(class.path()).into_iter().flatten().flatten() {
                        removed += u32::from(fs::remove_dir(day.path()).is_ok());
                    }
                }
                thread::sleep(Duration::from_millis(50));
            }
            removed
        });
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(3) {
            for path in place.files() {
                let _ = fs::remove_file(site.docroot().join("p").join(path));
            }
            uploads.during(&site, 4, 9_000, || uploads.wait_for(4));
        }
        over.store(true, Ordering::Relaxed);
        removed = remover.join().expect("no panic");
    });
    let refusals = uploads.take_refusals();
    assert!(
        refusals.is_empty(),
        "{removed} directories removed: {refusals:?}"
    );
    assert_eq!(uploads.upload(&site, 9_000), 200);
    assert!(removed > 0);
    // The files that this test deleted are missed.
    let report = place.sweep_clears_what_was_left();
    assert!(report["withdrawn"].as_u64() != Some(0), "{report}");
}

#[test]
fn two_sweeps_at_once_beside_uploads() {
    let site = endless().start();
    let mut place = Place::of(&site);
    let uploads = Uploads::default();
    let (mut ran, mut busy, mut expired) = (0, 0, 0);
    let mut kept = Vec::new();
    for _ in 0..times("FAULTS_SWEEPS", 8) {
        uploads.during(&site, 4, 3_000, || uploads.wait_for(60));
        // What was uploaded so far has come to its end.
        let due = site
            .ledger()
            .execute("UPDATE image SET expires_at = unixepoch() - 60", [])
            .expect("updated");
        let before = uploads.len();
        let both = uploads.during(&site, 4, 3_000, || {
            uploads.wait_for(4);
            let sweep = || {
                let mut command = place.command(&["sweep", "--json"]);
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
    // Those of the last round stay.
    let broken = place.broken_promises(&kept);
    assert!(broken.is_empty(), "{broken:?}");
    let (_, rows) = place.quota_and_rows();
    assert_eq!((rows, place.spooled()), (place.files().len() as u64, 0));
    assert!(uploads.take_refusals().is_empty());
    eprintln!("{ran} sweeps ran, {busy} found another one, {expired} images expired");
}

fn expired_of(output: &Output) -> u64 {
    let report: Option<serde_json::Value> = serde_json::from_slice(&output.stdout).ok();
    report.map_or(0, |report| report["expired"].as_u64().expect("a count"))
}

/// The order that the documentation gives: the ledger before the files, so that each row of the backup has its file in the copy.
#[test]
fn a_backup_under_load_and_a_copy_of_the_docroot_make_the_site_again() {
    let site = endless().start();
    let uploads = Uploads::default();
    let fresh = tempfile::tempdir().expect("a directory");
    let backup = fresh.path().join("backup.db");
    let docroot = fresh.path().join("docroot");
    let before = uploads.during(&site, UPLOADERS, 9_000, || {
        uploads.wait_for(100);
        let before = uploads.acknowledged(0);
        let output = Place::of(&site).run(&["backup", &backup.display().to_string(), "--json"]);
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
    let mut place = Place::new(docroot, ledger.clone(), config);
    let output = place.run(&["restore", &backup.display().to_string(), "--yes"]);
    assert!(output.status.success(), "{output:?}");
    // Uploads that came between backup and copy have files and no rows; nothing else differs, and nothing is lost.
    let verified = place.run(&["verify", "--json"]);
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
    let rebuilt = place.run(&["verify", "--rebuild"]);
    assert!(rebuilt.status.success(), "{rebuilt:?}");
    let broken = place.broken_promises(&before);
    assert!(broken.is_empty(), "{broken:?}");

    // And without any backup: path and modification time say what there is to say.
    for suffix in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(format!("{}{suffix}", ledger.display()));
    }
    assert_eq!(place.run(&["verify"]).status.code(), Some(4), "it is lost");
    assert!(place.run(&["verify", "--rebuild"]).status.success());
    assert!(place.run(&["verify"]).status.success());
    let broken = place.broken_promises(&before);
    assert!(broken.is_empty(), "{broken:?}");
    eprintln!(
        "{} images in the backup, {copied} uploaded meanwhile",
        before.len()
    );
}

/// Copies what there is, as `cp -a` does it: with modification times. What goes away meanwhile is left out.
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
