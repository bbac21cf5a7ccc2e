//! `storage copy` and `ledger copy`: a site in other kinds of store and ledger, and back.

mod interruption;
mod outage;

use std::fs::{self, File};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use rusqlite::Connection;
use support::form::{Form, MULTIPART};
use support::http;
use support::http_proxy::HttpProxy;
use support::machine::{list_files, read, until};
use support::pictures::{PNG, png_of};
use support::postgres::Server;
use support::seaweedfs::{Access, Bucket};
use support::site::Site;
use support::{program, skip};

use self::interruption::{copying, interrupt_images, kill};

/// How many images are copied where `COPIED_IMAGES` says nothing.
const IMAGES: usize = 240;

/// How often a copy is ended by SIGKILL.
const INTERRUPTIONS: usize = 5;

/// A client without images.
const IDLE: &str = "idle";

/// Rows of a transaction of `ledger copy`.
const BATCH: usize = 1_000;

/// The number of rows of a ledger in PostgreSQL.
const ALL_ROWS: &str = "SELECT (SELECT count(*) FROM corenexis.client) + (SELECT count(*) FROM corenexis.token)
     + (SELECT count(*) FROM corenexis.usage) + (SELECT count(*) FROM corenexis.image) + (SELECT count(*) FROM corenexis.block)
     + (SELECT count(*) FROM corenexis.upload_key) + (SELECT count(*) FROM corenexis.secret)";

/// A plan that takes as many uploads as the test makes.
const PLAN: &str = "daily_uploads = 1000000\nmax_file_size = \"5MiB\"\ndurations = [\"7D\", \"LTF\"]\nurl = \"direct\"\n";

pub(super) fn message(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// PostgreSQL with a new database, and a new bucket; `None`, and the test is skipped, where one of them is not installed.
pub(super) fn servers() -> Option<(&'static Server, String, Bucket)> {
    let server = Server::shared().inspect_err(|why| skip(why)).ok()?;
    Some((server, server.database(), Bucket::new(Access::Private)?))
}

/// Writes the configuration of the site with other lines of a table.
pub(super) fn config_with(site: &Site, name: &str, tables: &[(&str, &str)]) -> PathBuf {
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

pub(super) fn copy(site: &Site, what: &str, to: &Path) -> Output {
    site.output(&[what, "copy", "--to-config", &to.display().to_string()])
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

/// Uploads while `work` runs.
fn beside_uploads(upload: &(dyn Fn() -> String + Sync), work: impl FnOnce()) {
    let has_ended = AtomicBool::new(false);
    thread::scope(|scope| {
        let uploads = scope.spawn(|| {
            let mut uploads = 0;
            while !has_ended.load(Ordering::Relaxed) {
                upload();
                uploads += 1;
            }
            uploads
        });
        // The other thread ends if this one panics.
        let outcome = catch_unwind(AssertUnwindSafe(work));
        has_ended.store(true, Ordering::Relaxed);
        assert!(uploads.join().expect("uploads") > 0);
        outcome.unwrap_or_else(|panic| resume_unwind(panic));
    });
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

/// Images that each of [`INTERRUPTIONS`] copies transfers before it is killed.
const fn part_of(count: usize) -> usize {
    count / (INTERRUPTIONS + 1)
}

/// Copies to a new docroot and a new SQLite file, each interrupted, and switches to them. Returns their places.
fn copy_back(
    site: &Site,
    (server, database): (&Server, &str),
    proxy: &HttpProxy,
    count: usize,
) -> (PathBuf, PathBuf) {
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
    let copied = || images(&docroot).len();
    for _ in 0..INTERRUPTIONS {
        interrupt_images(site, &back, proxy, "GET", part_of(count), &copied);
        assert!(copied() < count, "all were copied");
    }
    // The rows of each table are read when those of the tables before it are there.
    let all: i64 = server.run(database, ALL_ROWS).parse().expect("a number");
    for table in ["token", "usage", "image", "block", "upload_key"] {
        let lock = format!("LOCK TABLE corenexis.{table} IN ACCESS EXCLUSIVE MODE");
        let locked = server.transaction(database, &lock);
        kill(copying(site, "ledger", &back), || server.waits(database));
        let sql = ALL_ROWS.replace("corenexis.", "");
        let ledger = Connection::open(&ledger_file).expect("open");
        let rows: i64 = ledger.query_row(&sql, [], |row| row.get(0)).expect("rows");
        assert!(0 < rows && rows < all, "{rows} of {all} before {table}");
        drop(locked);
    }
    for what in ["ledger", "storage"] {
        let copied = copy(site, what, &back);
        assert!(copied.status.success(), "{what}: {}", message(&copied));
    }
    fs::copy(&back, site.config()).expect("switched");
    (docroot, ledger_file)
}

/// Copies the ledger into PostgreSQL, interrupted by SIGKILL while a row of the image that `at` says is written: the rows before it are
/// there in whole transactions of [`BATCH`], and none behind it.
fn interrupt_ledger(site: &Site, new: &Path, (server, database): (&Server, &str)) {
    // A lock can be taken on a table that is there.
    for step in ["1_tables", "1_images", "1_clients"] {
        let file = format!("src/ledger/postgres/schema/{step}.sql");
        server.run(database, &read(&support::repository().join(file)));
    }
    let version = "INSERT INTO corenexis.site (schema_version, created_at) VALUES (1, 0)";
    server.run(database, version);
    let ledger = site.ledger();
    let all: usize = ledger
        .query_row(&ALL_ROWS.replace("corenexis.", ""), [], |row| row.get(0))
        .expect("rows");
    let images = site.count("SELECT count(*) FROM image");
    let number = |sql: &str| -> usize { server.run(database, sql).parse().expect("a number") };
    // It can be read.
    let lock = "LOCK TABLE corenexis.token IN EXCLUSIVE MODE";
    let mut locked = server.transaction(database, lock);
    for part in 0..INTERRUPTIONS {
        kill(copying(site, "ledger", new), || server.waits(database));
        let at = images * part / INTERRUPTIONS;
        let found = number("SELECT count(*) FROM corenexis.image");
        assert_eq!(found, at / BATCH * BATCH, "images before the one at {at}");
        let rows = number(ALL_ROWS);
        assert!(0 < rows && rows < all, "{rows} of {all}");
        // The next copy waits for the row of another transaction.
        let at = images * (part + 1) / INTERRUPTIONS - 1;
        let path: String = ledger
            .query_row(
                "SELECT path FROM image ORDER BY path LIMIT 1 OFFSET ?1",
                [at],
                |row| row.get(0),
            )
            .expect("an image");
        // Else the backend of the killed copy would go on when the lock is gone.
        server.run(database, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'");
        until("the backend of the killed copy to end", || {
            (!server.waits(database)).then_some(())
        });
        drop(locked);
        locked = server.transaction(
            database,
            &format!(
                "INSERT INTO corenexis.image (path, client, size, width, height, uploaded_at)
                 SELECT '{path}', max(key), 1, 1, 1, 1 FROM corenexis.client WHERE id = '{IDLE}'"
            ),
        );
    }
}

/// The configuration of the site in PostgreSQL and in a bucket.
fn new_config(site: &Site, url: &str, storage: &str) -> PathBuf {
    let docroot = site.docroot().display().to_string();
    let storage = format!("docroot = \"{docroot}\"\nmin_free = \"10MiB\"\n{storage}");
    let ledger = format!("url = \"{url}\"\n");
    config_with(
        site,
        "new.toml",
        &[("storage", &storage), ("ledger", &ledger)],
    )
}

/// Completes both copies; a repeated one asks for lists alone.
fn complete(site: &Site, new: &Path, proxy: &HttpProxy) {
    let mut before = 0;
    for _ in 0..2 {
        before = proxy.requests();
        for what in ["storage", "ledger"] {
            let copied = copy(site, what, new);
            assert!(copied.status.success(), "{what}: {}", message(&copied));
            assert!(message(&copied).contains("Complete"));
        }
    }
    let (requests, images) = (proxy.requests() - before, images(&site.docroot()).len());
    assert!(requests < 50 + images / 100, "{requests} for {images}");
}

#[test]
fn a_site_is_copied_to_postgresql_and_s3_under_uploads_and_back() {
    let Some((server, database, bucket)) = servers() else {
        return;
    };
    let count = std::env::var("COPIED_IMAGES").ok();
    let count: usize = count.map_or(IMAGES, |count| count.parse().expect("a number"));
    let mut site = Site::builder()
        .set("plans.3m", PLAN)
        .set("abuse", "keep_addresses = \"30d\"")
        .start();
    site.run(&["client", "add", IDLE, "--plan", "3m"]);
    let serial = AtomicUsize::new(0);
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
        site.store("3m", duration, &png_of(size, serial as u64))
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
    let form = Form::upload(site.client("3m"), "7D", &png_of(3_000, u64::MAX));
    let headers = [
        ("Content-Type", MULTIPART),
        ("Idempotency-Key", "6ba7b810-9dad-11d1-80b4-00c04fd430c8"),
    ];
    let keyed = http::request(site.port, "POST", "/image/v2/", &headers, &form.body());
    assert_eq!(keyed.status, 200, "{keyed:?}");
    let proxy = HttpProxy::start(&bucket.endpoint);
    let storage = bucket.storage_at(&proxy.endpoint(), "responder");
    let new = new_config(&site, &server.url(&database), &storage);

    beside_uploads(&upload, || {
        let copied = || bucket.objects().len();
        for _ in 0..INTERRUPTIONS {
            interrupt_images(&site, &new, &proxy, "PUT", part_of(count), &copied);
            assert!(copied() < count, "all were copied");
        }
        for (what, why) in [
            ("storage", "the responder runs"),
            ("ledger", "has the ledger open"),
        ] {
            let busy = copy(&site, what, &new);
            assert_eq!(busy.status.code(), Some(75), "{}", message(&busy));
            assert!(message(&busy).contains(why), "{}", message(&busy));
        }
        site.run(&["image", "delete", &deleted]);
        site.run(&["image", "quarantine", &quarantined]);
    });
    let mut verify = Command::new(program());
    verify.arg("--config").arg(&new).arg("verify");
    let refused = verify.output().expect("it runs");
    assert_eq!(refused.status.code(), Some(4), "{}", message(&refused));
    site.stop();
    interrupt_ledger(&site, &new, (server, &database));
    complete(&site, &new, &proxy);
    let old = (site.docroot(), site.ledger_file());
    let listed = site.run(&["image", "list"]);
    let old_config = fs::read(site.config()).expect("readable");
    fs::copy(&new, site.config()).expect("switched");
    let before = proxy.requests();
    let verified = site.output(&["verify"]);
    assert!(verified.status.success(), "{verified:?}");
    let (requests, all) = (proxy.requests() - before, images(&old.0).len());
    assert!(requests < 50 + all + all / 100, "{requests} for {all}");
    assert_eq!(site.run(&["image", "list"]), listed);
    let shown = site.run(&["image", "show", &quarantined]);
    assert!(shown.contains("quarantine"), "{shown}");

    let place = (server, &*database);
    let (docroot, ledger_file) = copy_back(&site, place, &proxy, count);
    let verified = site.output(&["verify"]);
    assert!(verified.status.success(), "{verified:?}");
    assert_same((&docroot, &ledger_file), (&old.0, &old.1));
    assert!(images(&docroot).len() > count);
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
    site.stop();
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
    other.stop();
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
