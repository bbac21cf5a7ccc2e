//! Expiry: cache headers, and the sweep, run at chosen times.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use support::machine::{fake, faketime, hold_lock, path_of};
use support::pictures::{PNG, png_of};
use support::program;
use support::site::Site;
use time::UtcDateTime;
use time::format_description::well_known::Rfc2822;
use time::macros::format_description;

pub(crate) const MINUTE: i64 = 60;

const DAY: i64 = 86_400;

pub(crate) fn now() -> i64 {
    UtcDateTime::now().unix_timestamp()
}

/// The expiry of an image in the ledger, in Unix seconds.
fn expires_at(site: &Site, path: &str) -> i64 {
    let query = "SELECT expires_at FROM image WHERE path = ?1";
    site.ledger()
        .query_row(query, [path], |row| row.get(0))
        .expect("a row that expires")
}

/// Runs a sweep with its clock at this instant, in Unix seconds.
pub(crate) fn sweep_at(site: &Site, library: &Path, instant: i64, arguments: &[&str]) -> Output {
    let mut command = site.command(&["sweep", "--json"]);
    let at = UtcDateTime::from_unix_timestamp(instant).expect("an instant");
    let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
    fake(&mut command, library, &at.format(&format).expect("a text"));
    command.args(arguments).output().expect("the sweep runs")
}

/// The report of a successful sweep.
#[track_caller]
fn report(output: &Output) -> Value {
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[test]
fn cache_headers_have_the_exact_expiry() {
    let site = Site::start();
    for duration in ["7D", "1M", "3M"] {
        let path = site.store("3m", duration, PNG);
        let before = now();
        let reply = site.get(&format!("/p/{path}"));
        let after = now();
        let expires = reply.header("Expires").expect("an expiry");
        let expires = UtcDateTime::parse(&expires.replace("GMT", "+0000"), &Rfc2822);
        let expiry = expires_at(&site, &path);
        assert_eq!(
            expires.expect("a date").unix_timestamp(),
            expiry,
            "{duration}: {reply:?}"
        );
        let control = reply.header("Cache-Control").expect("a life");
        let life: i64 = control
            .strip_prefix("max-age=")
            .and_then(|seconds| seconds.parse().ok())
            .unwrap_or_else(|| panic!("{control}"));
        assert!(
            (expiry - after..=expiry - before).contains(&life),
            "{duration}: {life}, {} are left",
            expiry - after
        );
        assert_eq!(reply.header("Last-Modified"), None, "it lies in the future");
        // It expires at the end of its last day, UTC.
        assert_eq!(expiry % DAY, 0, "{expiry}");
    }
}

#[test]
fn lifetime_images_do_not_expire() {
    let site = Site::start();
    let path = site.store("lifetime", "LTF", PNG);
    let reply = site.get(&format!("/p/{path}"));
    assert_eq!(
        reply.header("Cache-Control"),
        Some("public, max-age=31536000, immutable")
    );
    assert_eq!(reply.header("Expires"), None);
}

#[test]
fn an_expired_image_is_not_cached_before_the_sweep() {
    let site = Site::start();
    let path = site.store("3m", "7D", PNG);
    let file = fs::File::options()
        .write(true)
        .open(site.file(&path))
        .expect("the image");
    let past = std::time::SystemTime::now() - std::time::Duration::from_mins(1);
    file.set_modified(past).expect("a time");
    let reply = site.get(&format!("/p/{path}"));
    assert_eq!(reply.header("Cache-Control"), Some("no-cache"), "{reply:?}");
}

#[test]
fn the_sweep_deletes_an_image_after_its_expiry_and_not_before() {
    let Some(library) = faketime() else { return };
    let site = Site::start();
    let week = site.store("lifetime", "7D", &png_of(3_000, 1));
    let month = site.store("lifetime", "1M", PNG);
    let lasting = site.store("lifetime", "LTF", PNG);
    let expiry = expires_at(&site, &week);

    let early = report(&sweep_at(&site, &library, expiry - MINUTE, &[]));
    assert_eq!(
        (&early["expired"], &early["failed"]),
        (&0.into(), &0.into()),
        "{early}"
    );
    assert_eq!(site.get(&format!("/p/{week}")).body, png_of(3_000, 1));

    let before = site.holdings();
    let dry = report(&sweep_at(&site, &library, expiry + MINUTE, &["--dry-run"]));
    assert_eq!(
        (&dry["expired"], &dry["dry_run"]),
        (&1.into(), &true.into()),
        "{dry}"
    );
    assert_eq!(site.holdings(), before, "a dry run deletes nothing");
    assert_eq!(site.get(&format!("/p/{week}")).status, 200);

    let due = report(&sweep_at(&site, &library, expiry + MINUTE, &[]));
    assert_eq!(
        (&due["expired"], &due["bytes"]),
        (&1.into(), &3_000.into()),
        "{due}"
    );
    assert_eq!(
        due["directories"], 1,
        "the day's directory had become empty: {due}"
    );
    assert_eq!(site.get(&format!("/p/{week}")).status, 404);
    assert!(!site.file(&week).parent().expect("a directory").exists());
    let mut kept = vec![month, lasting];
    kept.sort();
    let holdings = site.holdings();
    assert_eq!(
        (holdings.files, holdings.rows, holdings.counted),
        (kept.clone(), 2, 3)
    );

    let again = report(&sweep_at(&site, &library, expiry + MINUTE, &[]));
    for key in [
        "expired",
        "bytes",
        "abandoned",
        "withdrawn",
        "orphaned",
        "directories",
        "failed",
    ] {
        assert_eq!(again[key], 0, "{key} of a second sweep: {again}");
    }
    let much_later = report(&sweep_at(&site, &library, now() + 400 * DAY, &[]));
    assert_eq!(much_later["expired"], 1, "{much_later}");
    let holdings = site.holdings();
    assert_eq!(holdings.files.len(), 1, "lifetime images stay");
    assert!(kept.contains(&holdings.files[0]));
    // The next upload makes the day directory again.
    assert_eq!(site.upload("3m", "7D", PNG).status, 200);
}

#[test]
fn a_second_sweep_at_the_same_time_exits_with_75() {
    let site = Site::start();
    let path = site.root.join("ledger/ledger.db.sweep-lock");
    let held = hold_lock(&path);
    let output = site.output(&["sweep"]);
    assert_eq!(output.status.code(), Some(75), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    drop(held);
    let output = site.output(&["sweep"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

/// The output of a command on a terminal.
fn on_a_terminal(site: &Site, command: &str) -> String {
    let quoted = |text: &str| format!("'{text}'");
    let config = site.config().display().to_string();
    let line = [program(), "--config", &config, command].map(quoted);
    // script(1) runs a command on a pseudoterminal.
    let output = Command::new("script")
        .args(["-qec", &line.join(" "), "/dev/null"])
        .env("TERM", "xterm")
        .stdin(Stdio::null())
        .output()
        .expect("script is part of util-linux");
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{shown}");
    shown
}

#[test]
fn sweep_and_verify_show_progress_on_a_terminal() {
    let site = Site::start();
    for _ in 0..3 {
        site.store("lifetime", "7D", PNG);
    }
    let shown = on_a_terminal(&site, "verify");
    assert!(shown.contains(" directories, "), "{shown:?}");
    assert!(shown.contains("compared 3 images"), "{shown:?}");
    site.ledger()
        .execute("UPDATE image SET expires_at = unixepoch() - 60", [])
        .expect("updated");
    let shown = on_a_terminal(&site, "sweep");
    assert!(shown.contains("/3 expired images"), "{shown:?}");
    assert!(shown.contains("deleted 3 expired images"), "{shown:?}");
    // Without a terminal only the summary is printed.
    for command in ["verify", "sweep"] {
        let output = site.output(&[command]);
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
        let lines = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(lines.lines().count(), 1, "{lines}");
    }
}

#[test]
fn abandoned_uploads_are_deleted_after_an_hour() {
    let Some(library) = faketime() else { return };
    let site = Site::start();
    let abandoned = site.docroot().join(".spool/999-0-0");
    fs::write(&abandoned, b"half an image").expect("a file");
    // The age is that of the change time, which cannot be set; the modification time is the expiry.
    let began = fs::metadata(&abandoned).expect("a file").ctime();
    let young = report(&sweep_at(&site, &library, began + 3_600 - MINUTE, &[]));
    assert_eq!(young["abandoned"], 0, "{young}");
    assert!(abandoned.exists());
    let dry = report(&sweep_at(
        &site,
        &library,
        began + 3_600 + MINUTE,
        &["--dry-run"],
    ));
    assert_eq!(dry["abandoned"], 1, "{dry}");
    assert!(abandoned.exists());
    let old = report(&sweep_at(&site, &library, began + 3_600 + MINUTE, &[]));
    assert_eq!(old["abandoned"], 1, "{old}");
    assert!(!abandoned.exists());
}

#[test]
fn a_row_without_a_file_is_deleted_and_its_quota_refunded() {
    let Some(library) = faketime() else { return };
    let site = Site::start();
    let lost = site.store("free", "7D", PNG);
    site.store("free", "7D", PNG);
    fs::remove_file(site.file(&lost)).expect("removed");
    let soon = report(&sweep_at(&site, &library, now() + MINUTE, &[]));
    assert_eq!(
        soon["withdrawn"], 0,
        "the file may still be on its way: {soon}"
    );
    let later = report(&sweep_at(&site, &library, now() + 11 * MINUTE, &[]));
    assert_eq!(later["withdrawn"], 1, "{later}");
    let holdings = site.holdings();
    assert_eq!(
        (holdings.rows, holdings.counted, holdings.files.len()),
        (1, 1, 1)
    );
}

#[test]
fn regression_images_were_deleted_whose_rows_a_restored_database_lacked() {
    let Some(library) = faketime() else { return };
    let site = Site::start();
    let known = site.store("free", "7D", PNG);
    // The mark of a database that is minutes older may be the same.
    let lost = site.store("free", "7D", PNG);
    let expiry = expires_at(&site, &lost);
    site.ledger()
        .execute("DELETE FROM image WHERE path = ?1", [&lost])
        .expect("deleted");
    let foreign = site.file(&lost).with_file_name("README");
    fs::write(&foreign, b"mine").expect("a file");
    for at in [now() + 2 * 60 * MINUTE, expiry - MINUTE] {
        let early = report(&sweep_at(&site, &library, at, &[]));
        assert_eq!(early["orphaned"], 0, "{early}");
        for path in [&known, &lost] {
            assert_eq!(site.get(&format!("/p/{path}")).status, 200);
        }
    }
    let due = report(&sweep_at(&site, &library, expiry + MINUTE, &[]));
    assert_eq!((&due["expired"], &due["orphaned"]), (&1.into(), &1.into()));
    assert!(!site.file(&lost).exists() && foreign.exists());
}

#[test]
fn a_missing_docroot_deletes_no_rows() {
    let site = Site::start();
    site.store("free", "7D", PNG);
    let images = site.docroot().join("p");
    let aside = site.docroot().join("aside");
    fs::rename(&images, &aside).expect("moved");
    let output = site.output(&["sweep"]);
    assert_eq!(output.status.code(), Some(4), "{output:?}");
    assert_eq!(site.count("SELECT count(*) FROM image"), 1);
    fs::rename(&aside, &images).expect("moved back");
    assert_eq!(site.output(&["sweep"]).status.code(), Some(0));
}

#[test]
fn dates_of_a_reply_and_of_the_ledger_agree() {
    let site = Site::start();
    for duration in ["7D", "1M", "3M"] {
        let reply = site.upload("3m", duration, PNG);
        let url = reply.url();
        let expiry = expires_at(&site, path_of(&url));
        let last = UtcDateTime::from_unix_timestamp(expiry - 1).expect("an instant");
        assert_eq!(last.date().to_string(), reply.json()["expires_at"]);
    }
}

#[test]
fn regression_the_command_line_wrote_another_expiry_than_the_api() {
    let site = Site::start();
    for (plan, duration) in [("3m", "7D"), ("lifetime", "LTF")] {
        let reply = site.upload(plan, duration, PNG);
        let shown = site.run(&["image", "show", &reply.url(), "--json"]);
        let shown: Value = serde_json::from_str(&shown).expect("JSON");
        assert_eq!(shown["expires_at"], reply.json()["expires_at"]);
    }
}
