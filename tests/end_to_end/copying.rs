//! `storage copy` and `ledger copy`: a site in other kinds of store and ledger, and back.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use rusqlite::Connection;
use rustix::process::Signal;
use support::machine::{list_files, until};
use support::pictures::{PNG, png_of};
use support::postgres::Server;
use support::seaweedfs::{Access, Bucket};
use support::site::Site;
use support::{program, skip};

/// How many images are copied where `COPIED_IMAGES` says nothing.
const IMAGES: u64 = 240;

/// How often a copy is ended by SIGKILL.
const INTERRUPTIONS: u64 = 5;

/// A plan that takes as many uploads as the test makes.
const PLAN: &str = "daily_uploads = 1000000\nmax_file_size = \"5MiB\"\ndurations = [\"7D\", \"LTF\"]\nurl = \"direct\"\n";

fn message(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// PostgreSQL with a new database, and a new bucket; `None`, and the test is skipped, where one of them is not installed.
fn servers() -> Option<(&'static Server, String, Bucket)> {
    let server = Server::shared().inspect_err(|why| skip(why)).ok()?;
    Some((server, server.database(), Bucket::new(Access::Private)?))
}

/// Writes the configuration of the site with other lines of a table.
fn config_with(site: &Site, name: &str, tables: &[(&str, &str)]) -> PathBuf {
    let mut text = fs::read_to_string(site.config()).expect("readable");
    for (table, lines) in tables {
        let heading = format!("[{table}]\n");
        let (before, rest) = text.split_once(&heading).expect("a table");
        let after = rest.find("\n[").map_or("", |end| &rest[end + 1..]);
        text = format!("{before}{heading}{lines}\n{after}");
    }
    let file = site.root.join(name);
    fs::write(&file, text).expect("written");
    file
}

fn copy(site: &Site, what: &str, to: &Path) -> Output {
    site.output(&[what, "copy", "--to-config", &to.display().to_string()])
}

/// Starts a copy and ends it with SIGKILL as soon as `is_under_way`.
fn interrupt(site: &Site, what: &str, to: &Path, mut is_under_way: impl FnMut() -> bool) -> bool {
    let mut command = site.command(&[what, "copy", "--to-config", &to.display().to_string()]);
    let mut child = command.stderr(Stdio::piped()).spawn().expect("it starts");
    let ended = until("a copy to be under way", || {
        if let Some(status) = child.try_wait().expect("known") {
            return Some(Some(status));
        }
        is_under_way().then_some(None)
    });
    child.kill().expect("killed");
    let mut text = String::new();
    let stderr = child.stderr.as_mut().expect("a pipe");
    stderr.read_to_string(&mut text).expect("read");
    child.wait().expect("ended");
    if let Some(status) = ended {
        assert!(matches!(status.code(), Some(0 | 75)), "{status}: {text}");
    }
    ended.is_none()
}

/// All rows of a ledger that copies must keep, as text.
fn rows(ledger: &Path) -> Vec<String> {
    let ledger = Connection::open(ledger).expect("open");
    let mut lines = Vec::new();
    for sql in [
        "SELECT concat_ws('|', key, id, plan, created_at, disabled_at, removed_at, stored_images, stored_bytes) FROM client ORDER BY key",
        "SELECT concat_ws('|', client, hex(sha256), created_at, expires_at, name, last_used_at) FROM token ORDER BY client, sha256",
        "SELECT concat_ws('|', client, day, uploads, bytes) FROM usage ORDER BY client, day",
        "SELECT concat_ws('|', path, client, size, width, height, uploaded_at, expires_at, quarantined_at, quarantine_reason) FROM image ORDER BY path",
        "SELECT concat_ws('|', hex(sha256), blocked_at, reason) FROM block ORDER BY sha256",
        "SELECT concat_ws('|', client, hex(key), hex(request), path, uploaded_at) FROM upload_key ORDER BY client, key",
        "SELECT concat_ws('|', name, hex(value)) FROM secret ORDER BY name",
        "SELECT concat_ws('|', name, value) FROM meta WHERE name IN ('created_at', 'id') ORDER BY name",
    ] {
        let mut select = ledger.prepare(sql).expect("SQL");
        let found = select.query_map([], |row| row.get(0)).expect("rows");
        lines.extend(found.map(|line| line.expect("text")));
    }
    lines
}

fn images(docroot: &Path) -> Vec<String> {
    let root = docroot.join("p");
    let mut files = Vec::new();
    list_files(&root, &root, &mut files);
    files.sort();
    files
}

/// Bytes and modification time.
fn file(docroot: &Path, path: &str) -> (Vec<u8>, std::time::SystemTime) {
    let file = docroot.join("p").join(path);
    let time = File::open(&file).and_then(|file| file.metadata()?.modified());
    (fs::read(file).expect("read"), time.expect("known"))
}

/// Copies images while others are uploaded, and ends the copy several times; then deletes and quarantines what was copied. Returns how often
/// a copy was under way.
fn interrupt_under_uploads(
    site: &Site,
    new: &Path,
    bucket: &Bucket,
    count: u64,
    upload: &(dyn Fn() -> String + Sync),
    [deleted, quarantined]: [&str; 2],
) -> u64 {
    let has_ended = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !has_ended.load(Ordering::Relaxed) {
                upload();
            }
        });
        let directory = deleted.rsplit_once('/').expect("a directory").0;
        let mut interrupted = 0;
        for part in 1..=INTERRUPTIONS {
            let enough = count * part / (INTERRUPTIONS + 2);
            let is_under_way = || bucket.names(directory).len() as u64 > enough;
            interrupted += u64::from(interrupt(site, "storage", new, is_under_way));
        }
        let busy = copy(site, "storage", new);
        assert_eq!(busy.status.code(), Some(75), "{}", message(&busy));
        assert!(message(&busy).contains("the responder runs"));
        let busy = copy(site, "ledger", new);
        assert_eq!(busy.status.code(), Some(75), "{}", message(&busy));
        site.run(&["image", "delete", deleted]);
        site.run(&["image", "quarantine", quarantined]);
        has_ended.store(true, Ordering::Relaxed);
        interrupted
    })
}

/// Compares two places of docroot and ledger.
fn assert_same((docroot, ledger): (&Path, &Path), old: (&Path, &Path)) {
    assert_eq!(rows(ledger), rows(old.1));
    let found = images(docroot);
    assert_eq!(found, images(old.0));
    for path in &found {
        let ([one, other], is_lifetime) = (
            [docroot, old.0].map(|root| file(root, path)),
            path.starts_with('l') || path.starts_with(".quarantine/l"),
        );
        assert_eq!(one.0, other.0, "{path}");
        assert!(is_lifetime || one.1 == other.1, "{path}: its expiry");
    }
}

/// Copies to a new docroot and a new SQLite file, interrupted once, and switches to them. Returns their places.
fn copy_back(site: &Site, count: u64) -> (PathBuf, PathBuf) {
    let docroot = site.root.join("back");
    let ledger_file = site.root.join("back-ledger/ledger.db");
    for directory in [&docroot, &site.root.join("back-ledger")] {
        fs::create_dir(directory).expect("made");
    }
    let storage = format!(
        "docroot = \"{}\"\nmin_free = \"10MiB\"\n",
        docroot.display()
    );
    let ledger = format!("path = \"{}\"\n", ledger_file.display());
    let back = config_with(
        site,
        "back.toml",
        &[("storage", &storage), ("ledger", &ledger)],
    );
    let is_half = || images(&docroot).len() as u64 > count / 2;
    interrupt(site, "storage", &back, is_half);
    for what in ["ledger", "storage"] {
        let copied = copy(site, what, &back);
        assert!(copied.status.success(), "{what}: {}", message(&copied));
    }
    fs::copy(&back, site.config()).expect("switched");
    (docroot, ledger_file)
}

#[test]
fn a_site_is_copied_to_postgresql_and_s3_under_uploads_and_back() {
    let Some((server, database, bucket)) = servers() else {
        return;
    };
    let count = std::env::var("COPIED_IMAGES").ok();
    let count: u64 = count.map_or(IMAGES, |count| count.parse().expect("a number"));
    let mut site = Site::builder()
        .set("plans.3m", PLAN)
        .set("abuse", "keep_addresses = \"30d\"")
        .start();
    let serial = AtomicU64::new(0);
    let upload = || {
        let serial = serial.fetch_add(1, Ordering::Relaxed);
        let duration = if serial.is_multiple_of(10) {
            "LTF"
        } else {
            "7D"
        };
        let size = if serial.is_multiple_of(50) {
            100_000
        } else {
            3_000
        };
        site.store("3m", duration, &png_of(size, serial))
    };
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while serial.load(Ordering::Relaxed) < count {
                    upload();
                }
            });
        }
    });
    let [_, deleted, quarantined, blocked] = [(); 4].map(|()| upload());
    site.run(&["image", "block", &blocked, "--reason", "notice 1"]);
    let storage = format!(
        "docroot = \"{}\"\nmin_free = \"10MiB\"\n{}",
        site.docroot().display(),
        bucket.storage()
    );
    let ledger = format!("url = \"{}\"\n", server.url(&database));
    let new = config_with(
        &site,
        "new.toml",
        &[("storage", &storage), ("ledger", &ledger)],
    );

    let taken = [&*deleted, &*quarantined];
    let interrupted = interrupt_under_uploads(&site, &new, &bucket, count, &upload, taken);
    assert!(interrupted > 0, "no copy was interrupted");
    let mut verify = Command::new(program());
    verify.arg("--config").arg(&new).arg("verify");
    let refused = verify.output().expect("it runs");
    assert_eq!(refused.status.code(), Some(4), "{}", message(&refused));
    site.signal(Signal::TERM);
    assert!(site.wait_for_end().success());
    let copied = copy(&site, "storage", &new);
    assert!(copied.status.success(), "{}", message(&copied));
    for _ in 0..INTERRUPTIONS {
        let begun = "SELECT count(*) FROM pg_class WHERE relname = 'client_by_id'";
        interrupt(&site, "ledger", &new, || {
            server.run(&database, begun) != "0"
        });
    }
    for _ in 0..2 {
        for what in ["ledger", "storage"] {
            let copied = copy(&site, what, &new);
            assert!(copied.status.success(), "{what}: {}", message(&copied));
            assert!(message(&copied).contains("Complete"));
        }
    }
    let old = (site.docroot(), site.ledger_file());
    let listed = site.run(&["image", "list"]);
    let old_config = fs::read(site.config()).expect("readable");
    fs::copy(&new, site.config()).expect("switched");
    let verified = site.output(&["verify"]);
    assert!(verified.status.success(), "{verified:?}");
    assert_eq!(site.run(&["image", "list"]), listed);
    let shown = site.run(&["image", "show", &quarantined]);
    assert!(shown.contains("quarantine"), "{shown}");

    let (docroot, ledger_file) = copy_back(&site, count);
    let verified = site.output(&["verify"]);
    assert!(verified.status.success(), "{verified:?}");
    assert_same((&docroot, &ledger_file), (&old.0, &old.1));
    assert!(images(&docroot).len() as u64 > count);
    site.run(&["serve", "--check"]);
    site.run(&["sweep"]);
    site.run(&["verify"]);
    // The old place is as it was.
    fs::write(site.config(), old_config).expect("written");
    site.run(&["verify"]);
}

#[test]
fn targets_of_others_and_settings_that_do_not_go_together_are_refused() {
    let Some((server, database, bucket)) = servers() else {
        return;
    };
    let mut site = Site::start();
    site.store("3m", "7D", PNG);
    site.signal(Signal::TERM);
    assert!(site.wait_for_end().success());
    let docroot = format!("docroot = \"{}\"\n", site.docroot().display());
    let with_key = |key: &str| format!("{docroot}{}", bucket.storage_at(&bucket.endpoint, key));
    let in_bucket = with_key("responder");
    let url = |database: &str| format!("url = \"{}\"\n", server.url(database));
    let mut number = 0;
    let mut refuse = |what: &str, lines: &str, code: i32, needle: &str| {
        number += 1;
        let table = if what == "storage" { what } else { "ledger" };
        let new = config_with(&site, &format!("{number}.toml"), &[(table, lines)]);
        let output = copy(&site, what, &new);
        let text = message(&output);
        assert_eq!(output.status.code(), Some(code), "{what} {lines}: {text}");
        assert!(text.contains(needle), "{what} {lines}: {text}");
        assert_eq!(text.lines().count(), 1, "{text}");
    };
    let elsewhere = site.root.join("elsewhere").display().to_string();
    refuse("storage", &docroot, 3, "name another one");
    refuse(
        "storage",
        &format!("docroot = \"{elsewhere}\""),
        3,
        "move docroot",
    );
    refuse(
        "ledger",
        &format!("path = \"{elsewhere}\""),
        3,
        "move ledger",
    );
    refuse("ledger", &url("nowhere"), 4, "CREATE DATABASE");
    refuse("storage", &with_key("reader"), 4, "cannot be used");
    refuse("storage", &with_key("stranger"), 4, "cannot be used");
    assert_eq!(bucket.names(""), [""; 0], "nothing was written");
    let tables = "SELECT count(*) FROM pg_namespace WHERE nspname = 'corenexis'";
    assert_eq!(server.run(&database, tables), "0", "nothing was written");

    // Another site's.
    let mut other = Site::start();
    other.store("3m", "7D", PNG);
    other.signal(Signal::TERM);
    assert!(other.wait_for_end().success());
    let new = config_with(
        &other,
        "new.toml",
        &[("storage", &in_bucket), ("ledger", &url(&database))],
    );
    for what in ["storage", "ledger"] {
        let copied = copy(&other, what, &new);
        assert!(copied.status.success(), "{}", message(&copied));
    }
    refuse("storage", &in_bucket, 4, "another site");
    refuse("ledger", &url(&database), 4, "another site");
    server.run(&database, "UPDATE corenexis.site SET schema_version = 99");
    refuse("ledger", &url(&database), 4, "schema version 99");
    let missing = site.output(&["storage", "copy", "--to-config", "/nowhere.toml"]);
    assert_eq!(missing.status.code(), Some(3), "{missing:?}");
}
