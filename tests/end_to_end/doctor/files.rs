//! Faults of files, directories and disks, the ledger among them.

use std::fs;
use std::os::unix::fs::chown;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::Value;
use support::machine::{can_unshare, unshared};
use support::pictures::PNG;
use support::site::Site;
use support::{program, skip};

use super::{examine, finding, is_told, set_mode};

#[test]
fn a_ledger_that_is_lost_damaged_or_in_the_future() {
    let site = Site::start();
    let ledger = site.ledger();
    let late = "UPDATE meta SET value = value - 864000 WHERE name LIKE '%_at'";
    ledger.execute(late, []).expect("updated");
    is_told(
        &site,
        "last sweep",
        "fail",
        "none since the ledger was created",
    );
    site.run(&["sweep"]);
    ledger
        .execute(
            "UPDATE meta SET value = value - 7300 WHERE name = 'swept_at'",
            [],
        )
        .expect("updated");
    is_told(&site, "last sweep", "warn", "2 hours ago");
    ledger
        .execute(
            "UPDATE meta SET value = value + 864000 WHERE name LIKE '%_at'",
            [],
        )
        .expect("updated");
    is_told(&site, "clock", "fail", "according to the ledger");
    drop(ledger);
    let damaged = site.root.join("damaged.db");
    site.run(&["backup", &damaged.display().to_string()]);
    let mut bytes = fs::read(&damaged).expect("a backup");
    let from = bytes.len() / 2;
    bytes[from..].fill(0xAA);
    fs::write(&damaged, bytes).expect("written");
    site.edit_config(|text| text.replace("ledger/ledger.db", "damaged.db"));
    is_told(&site, "ledger", "fail", "damaged");
    site.edit_config(|text| text.replace("damaged.db", "lost.db"));
    is_told(&site, "ledger", "fail", "there is no ledger");
    site.store("3m", "7D", PNG);
    is_told(&site, "ledger", "fail", "holds images: the ledger is lost");
    assert!(!site.root.join("lost.db").exists());
}

#[test]
fn files_that_another_account_may_not_use() {
    if !rustix::process::geteuid().is_root() {
        skip("only root can give files to others");
        return;
    }
    let site = Site::start();
    // Somebody else runs the responder, and may enter where its files lie.
    let nobody = 65_534;
    set_mode(&site.root, 0o755);
    for place in ["ledger", "ledger/ledger.db", "docroot/.spool", "docroot/p"] {
        chown(site.root.join(place), Some(nobody), None).expect("given away");
    }
    let report = examine(&site);
    assert_eq!(finding(&report, "docroot")["verdict"], "ok", "{report:#}");
    // A command that root ran left its files there.
    chown(site.root.join("docroot/p"), Some(0), None).expect("taken back");
    is_told(&site, "docroot", "fail", "may not create files in");
    let wal = site.root.join("ledger/ledger.db-wal");
    chown(&wal, Some(1234), Some(1234)).expect("given away");
    is_told(&site, "ledger files", "fail", "ledger.db-wal");
    // What an account without rights sees, and does not.
    let copy = site.root.join("doctor");
    fs::copy(program(), &copy).expect("a copy");
    set_mode(&copy, 0o755);
    set_mode(&site.ledger_file(), 0o600);
    chown(site.ledger_file(), Some(0), None).expect("taken back");
    let output = Command::new("setpriv")
        .args(["--reuid", "1234", "--regid", "1234", "--clear-groups"])
        .arg(&copy)
        .arg("--config")
        .arg(site.config())
        .args(["doctor", "--json"])
        .current_dir("/")
        .stdin(Stdio::null())
        .output();
    let Ok(output) = output else {
        skip("setpriv(1) is not installed");
        return;
    };
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("no JSON ({error}): {output:?}"));
    let unseen = [
        "nginx running",
        "nginx configuration",
        "nginx files",
        "nginx workers",
        "responder",
        "ledger",
        "last sweep",
    ];
    for check in unseen {
        let finding = finding(&report, check);
        assert_eq!(finding["verdict"], "skip", "{check}: {report:#}");
    }
    // What depends on nginx's configuration is not guessed.
    for check in ["socket", "client_body_temp"] {
        assert_eq!(*finding(&report, check), Value::Null, "{report:#}");
    }
    assert_eq!(finding(&report, "public url")["verdict"], "ok");
}

#[test]
fn a_linked_directory_and_a_missing_page() {
    let site = Site::start();
    site.store("3m", "7D", PNG);
    let images = site.docroot().join("p");
    let elsewhere = site.root.join("elsewhere");
    fs::rename(&images, &elsewhere).expect("moved");
    std::os::unix::fs::symlink(&elsewhere, &images).expect("linked");
    is_told(&site, "nginx workers", "fail", "symbolic link");
    fs::remove_file(&images).expect("unlinked");
    fs::rename(&elsewhere, &images).expect("moved back");
    fs::remove_file(site.docroot().join("view/page.html")).expect("removed");
    is_told(&site, "nginx workers", "warn", "page.html is missing");
}

#[test]
fn too_little_room() {
    let site = Site::start();
    site.edit_config(|text| text.replace("min_free = \"10MiB\"", "min_free = \"900000GiB\""));
    is_told(&site, "free space", "fail", "less than min_free");
    site.edit_config(|text| text.replace("900000GiB", "1KiB"));
    assert_eq!(finding(&examine(&site), "free space")["verdict"], "ok");
}

#[test]
fn fifos_in_docroot_and_ledger_directory_are_reported_and_not_opened() {
    let mut site = Site::builder().expect("connect() to unix:").start();
    site.store("3m", "7D", PNG);
    site.stop();
    let replace_by_fifo = |path: &Path| {
        let away = path.with_extension("away");
        let _ = fs::rename(path, &away);
        mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a FIFO");
        away
    };
    let restore = |path: &Path, away: &Path| {
        fs::remove_file(path).expect("removed");
        let _ = fs::rename(away, path);
    };
    let ledger = site.ledger_file();
    let wal = site.root.join("ledger/ledger.db-wal");
    let images = site.docroot().join("p/d");
    for (path, check) in [(&ledger, "ledger"), (&wal, "ledger"), (&images, "docroot")] {
        let away = replace_by_fifo(path);
        is_told(&site, check, "fail", "is not a");
        restore(path, &away);
    }
    // The ones below are read as text or by nginx, or only looked at.
    for path in [
        "docroot/view/page.html",
        "nginx/run/nginx.pid",
        "run/cdn.sock",
    ] {
        let path = site.root.join(path);
        let away = replace_by_fifo(&path);
        examine(&site);
        restore(&path, &away);
    }
}

#[test]
fn a_configured_mount_that_is_absent_is_reported() {
    if !can_unshare(&["--mount"]) {
        return;
    }
    let site = Site::start();
    let fstab = site.root.join("fstab");
    let docroot = site.docroot().canonicalize().expect("there");
    let line = format!("/dev/vdz1 {} ext4 defaults 0 2\n", docroot.display());
    fs::write(&fstab, line).expect("written");
    let report = |mount: &str| -> Value {
        let script = format!(
            "set -e; mount --bind {} /etc/fstab; {mount}; exec {} --config {} doctor --json",
            fstab.display(),
            program(),
            site.config().display()
        );
        let output = unshared(&["--mount"]).args(["sh", "-c", &script]).output();
        let output = output.expect("unshare runs");
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("no JSON ({error}): {output:?}"))
    };
    let absent = report("true");
    let mounts = finding(&absent, "mounts");
    assert_eq!(mounts["verdict"], "fail", "{absent:#}");
    let message = mounts["message"].as_str().expect("a message");
    assert!(message.contains("which is not mounted"), "{message}");
    let bind = format!("mount --bind {0} {0}", docroot.display());
    let mounted = report(&bind);
    assert_eq!(*finding(&mounted, "mounts"), Value::Null, "{mounted:#}");
}
