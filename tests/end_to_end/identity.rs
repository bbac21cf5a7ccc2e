//! Ledger and docroot belong together: a wrong, lost or older one is refused, and nothing is deleted or created for it.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use support::machine::{copy_tree, faketime, shell};
use support::pictures::png_of;
use support::site::Site;

use crate::expiry::{MINUTE, now, sweep_at};

/// The identity file of a docroot.
fn identity_file(docroot: &Path) -> PathBuf {
    docroot.join("p/.identity")
}

/// Copies a docroot as `cp -a` does.
fn copy(from: &Path, to: &Path) {
    let script = format!("cp -a '{}' '{}'", from.display(), to.display());
    assert!(shell(&script).status().expect("cp runs").success());
}

/// That a command ends with `code` and says each of `texts`.
#[track_caller]
fn refused(site: &Site, arguments: &[&str], texts: &[&str]) {
    let output = site.output(arguments);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{arguments:?}: {text}");
    for expected in texts {
        assert!(
            text.contains(expected),
            "{arguments:?}: {expected:?} is not in {text}"
        );
    }
}

/// Sweeps as if it were 20 minutes later, when a row that still has no file counts as lost. Returns exit code, report and messages.
fn sweep_later(site: &Site, library: &Path, options: &[&str]) -> (Option<i32>, Value, String) {
    let output = sweep_at(site, library, now() + 20 * MINUTE, options);
    (
        output.status.code(),
        serde_json::from_slice(&output.stdout).expect("JSON"),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

/// The commands that must not work on a ledger and a docroot that do not belong together.
const COMMANDS: [&[&str]; 6] = [
    &["sweep"],
    &["sweep", "--dry-run"],
    &["verify"],
    &["verify", "--repair"],
    &["image", "list"],
    &["serve", "--listen", "tcp:127.0.0.1:1"],
];

#[test]
fn regression_a_boot_without_the_docroots_disk_deleted_acknowledged_images() {
    let Some(library) = faketime() else { return };
    let mut site = Site::start();
    site.store("3m", "7D", &png_of(2_000, 1));
    let below_mount = site.root.join("older copy");
    copy(&site.docroot(), &below_mount);
    let later: Vec<_> = (2..9)
        .map(|serial| site.store("3m", "7D", &png_of(2_000, serial)))
        .collect();
    site.run(&["sweep"]);
    site.stop();
    let mounted = site.root.join("mounted");
    let before = site.holdings();

    fs::rename(site.docroot(), &mounted).expect("unmounted");
    copy(&below_mount, &site.docroot());
    for command in COMMANDS {
        refused(
            &site,
            command,
            &["older copy", "mark", "mounted?", "verify --accept"],
        );
    }
    refused(&site, &["backup", "/nowhere/x"], &["older copy"]);
    fs::remove_dir_all(site.docroot()).expect("unmounted");
    fs::rename(&mounted, site.docroot()).expect("mounted");

    let (_, report, _) = sweep_later(&site, &library, &[]);
    for key in ["withdrawn", "orphaned", "doubtful_rows"] {
        assert_eq!(report[key], 0, "{report}");
    }
    assert_eq!(site.holdings(), before);
    site.start_responder();
    for path in later {
        assert_eq!(site.get(&format!("/p/{path}")).status, 200);
    }
}

#[test]
fn regression_a_changed_docroot_started_an_empty_service() {
    let mut site = Site::start();
    site.store("3m", "7D", &png_of(2_000, 1));
    site.stop();
    let other = site.root.join("other");
    fs::create_dir(&other).expect("made");
    let original = site.docroot();
    site.edit_config(|text| {
        text.replace(
            &original.display().to_string(),
            &other.display().to_string(),
        )
    });
    for command in COMMANDS {
        refused(
            &site,
            command,
            &[
                "no id",
                &other.display().to_string(),
                "mounted?",
                "move docroot",
            ],
        );
    }
    assert_eq!(
        fs::read_dir(&other).expect("readable").count(),
        0,
        "nothing is made"
    );
    // The images copied without the file of the identity, or with that of another site.
    fs::create_dir(other.join("p")).expect("made");
    fs::write(
        identity_file(&other),
        "id = \"0123456789abcdef\"\nmark = 3\n",
    )
    .expect("written");
    for command in COMMANDS {
        refused(
            &site,
            command,
            &["0123456789abcdef (mark 3)", "do not belong together"],
        );
    }
    assert_eq!(site.count("SELECT count(*) FROM image"), 1);
}

#[test]
fn regression_a_changed_ledger_path_started_an_empty_service() {
    let mut site = Site::start();
    let path = site.store("3m", "7D", &png_of(2_000, 1));
    site.stop();
    let lost = site.root.join("lost.db").display().to_string();
    site.edit_config(|text| text.replace("ledger/ledger.db", "lost.db"));
    for command in COMMANDS {
        refused(
            &site,
            command,
            &[
                "there is no ledger",
                &lost,
                "verify --rebuild",
                "restore FILE",
            ],
        );
    }
    refused(
        &site,
        &["client", "add", "new", "--plan", "3m"],
        &["there is no ledger", &lost],
    );
    let left: Vec<_> = fs::read_dir(&site.root)
        .expect("readable")
        .filter_map(|entry| entry.expect("an entry").file_name().into_string().ok())
        .filter(|name| name.starts_with("lost.db"))
        .collect();
    assert_eq!(left, [""; 0], "nothing is made");

    site.run(&["verify", "--rebuild"]);
    let listed = site.run(&["image", "list"]);
    assert!(listed.contains(&path), "{listed}");
    site.run(&["sweep"]);
}

#[test]
fn an_older_copy_of_the_ledger_is_refused_until_it_is_rebuilt() {
    let mut site = Site::start();
    site.stop();
    let copy_of_ledger = site.root.join("copy.db");
    fs::copy(site.ledger_file(), &copy_of_ledger).expect("copied");
    for _ in 0..3 {
        site.run(&["sweep"]);
    }
    site.start_responder();
    let path = site.store("3m", "7D", &png_of(2_000, 1));
    site.stop();
    for suffix in ["-wal", "-shm"] {
        let mut name = site.ledger_file().into_os_string();
        name.push(suffix);
        let _ = fs::remove_file(name);
    }
    fs::copy(&copy_of_ledger, site.ledger_file()).expect("copied back");
    for command in COMMANDS {
        refused(&site, command, &["older copy", "verify --rebuild"]);
    }
    assert!(site.file(&path).exists());
    site.run(&["verify", "--rebuild"]);
    assert!(site.run(&["image", "list"]).contains(&path));
    site.start_responder();
    assert_eq!(site.get(&format!("/p/{path}")).status, 200);
}

#[test]
fn an_installation_without_an_identity_gets_one_at_its_first_start() {
    let mut site = Site::start();
    let path = site.store("3m", "7D", &png_of(2_000, 1));
    site.stop();
    let ledger = site.ledger();
    ledger
        .execute("DELETE FROM meta WHERE name IN ('id', 'mark')", [])
        .expect("deleted");
    drop(ledger);
    fs::remove_file(identity_file(&site.docroot())).expect("removed");
    site.start_responder();
    let written = fs::read_to_string(identity_file(&site.docroot())).expect("written");
    assert!(written.contains("mark = 1"), "{written}");
    assert_eq!(site.get(&format!("/p/{path}")).status, 200);
    site.run(&["sweep"]);
    assert_eq!(site.count("SELECT value FROM meta WHERE name = 'mark'"), 2);
    let direct = site.get("/p/.identity");
    assert_eq!(direct.status, 404, "nginx does not serve it");
}

#[test]
fn a_pair_is_joined_when_the_operator_accepts_it() {
    let mut site = Site::start();
    site.store("3m", "7D", &png_of(2_000, 1));
    site.stop();
    let other = site.root.join("other");
    copy_tree(&site.docroot(), &other);
    fs::write(
        identity_file(&other),
        "id = \"0123456789abcdef\"\nmark = 30\n",
    )
    .expect("written");
    fs::remove_dir_all(site.docroot()).expect("removed");
    fs::rename(&other, site.docroot()).expect("replaced");
    let unasked = site.output(&["verify", "--accept"]);
    assert_eq!(unasked.status.code(), Some(2), "{unasked:?}");
    assert!(String::from_utf8_lossy(&unasked.stderr).contains("--yes"));
    refused(&site, &["sweep"], &["do not belong together"]);
    // The copy has lost the modification times, which the same run repairs.
    site.run(&["verify", "--accept", "--yes", "--repair"]);
    site.run(&["sweep"]);
    site.start_responder();
}

#[test]
fn a_day_whose_files_are_missing_is_left_alone() {
    let Some(library) = faketime() else { return };
    let mut site = Site::start();
    for serial in 0..5 {
        site.store("3m", "7D", &png_of(2_000, serial));
    }
    site.stop();
    fs::rename(site.docroot().join("p/d"), site.root.join("aside")).expect("moved");
    let (code, report, text) = sweep_later(&site, &library, &[]);
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.contains("5 rows without files") && text.contains("--yes"),
        "{text}"
    );
    assert_eq!(report["doubtful_rows"], 5, "{report}");
    assert_eq!(site.count("SELECT count(*) FROM image"), 5);
    let (code, report, text) = sweep_later(&site, &library, &["--yes"]);
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(report["withdrawn"], 5, "{report}");
    assert_eq!(site.holdings().counted, 0);
}

#[test]
fn regression_two_starts_that_failed_at_the_ledger_made_it_an_older_copy() {
    let mut site = Site::start();
    site.stop();
    let ledger = site.ledger();
    ledger
        .execute_batch(
            "CREATE TRIGGER stop BEFORE UPDATE ON meta WHEN new.name = 'mark' BEGIN SELECT raise(ABORT, 'stopped'); END",
        )
        .expect("made");
    for _ in 0..3 {
        refused(&site, &["sweep"], &["stopped"]);
    }
    ledger.execute_batch("DROP TRIGGER stop").expect("dropped");
    drop(ledger);
    site.run(&["sweep"]);
    site.start_responder();
}

#[test]
fn regression_a_ledger_lost_while_there_was_no_image_started_an_empty_service() {
    let mut site = Site::start();
    site.stop();
    site.edit_config(|text| text.replace("ledger/ledger.db", "lost.db"));
    for command in COMMANDS.iter().chain(&[
        &["serve", "--check"][..],
        &["client", "add", "new", "--plan", "3m"],
    ]) {
        refused(&site, command, &["there is no ledger", "verify --rebuild"]);
    }
    assert!(!site.root.join("lost.db").exists(), "nothing is made");
    site.run(&["verify", "--rebuild"]);
    site.run(&["sweep"]);
}
