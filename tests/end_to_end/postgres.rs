//! The ledger in PostgreSQL: the same uploads, quota, expiry, deletion and takedown, on one host and on two that share it.

use std::fs;
use std::thread::{self, ScopedJoinHandle};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};
use support::clock::Clock;
use support::http;
use support::machine::{faketime, list_files, until};
use support::pictures::{PNG, png_of};
use support::postgres::Server;
use support::site::Site;
use support::skip;

use super::expiry::{MINUTE, now, sweep_at};
use super::quota::race_for_50;

/// The server of the tests and a new database; `None` if there is no PostgreSQL here.
fn database() -> Option<(&'static Server, String)> {
    let server = Server::shared().inspect_err(|why| skip(why)).ok()?;
    Some((server, server.database()))
}

fn ledger_at(server: &Server, database: &str) -> String {
    format!("url = \"{}\"", server.url(database))
}

/// A site whose ledger is in that database.
fn site(server: &Server, database: &str) -> Site {
    Site::builder()
        .set("ledger", &ledger_at(server, database))
        .start()
}

/// Rows, counted uploads and files.
fn holdings(site: &Site, server: &Server, database: &str) -> (usize, usize, usize) {
    let count = |sql: &str| -> usize { server.run(database, sql).parse().expect("a number") };
    let images = site.docroot().join("p");
    let mut files = Vec::new();
    list_files(&images, &images, &mut files);
    (
        count("SELECT count(*) FROM corenexis.image"),
        count("SELECT coalesce(sum(uploads), 0) FROM corenexis.usage"),
        files.len(),
    )
}

#[test]
fn images_are_stored_listed_taken_down_and_deleted() {
    let Some((server, database)) = database() else {
        return;
    };
    let site = site(server, &database);
    let paths: Vec<_> = (0..3)
        .map(|serial| site.store("3m", "7D", &png_of(5_000, serial)))
        .collect();
    for path in &paths {
        assert_eq!(site.get(&format!("/p/{path}")).status, 200);
    }
    assert_eq!(holdings(&site, server, &database), (3, 3, 3));
    let health = site.get("/image/v2/health");
    assert_eq!(health.status, 200, "{}", health.text());
    assert!(!site.ledger_file().exists() && !site.root.join("ledger/ledger.db-log").exists());

    let client = site.client("3m");
    let credentials = [
        ("X-Client-Id", &*client.id),
        ("X-Client-Token", &*client.token),
    ];
    let own = |method: &str, path: &str| http::request(site.port, method, path, &credentials, b"");
    let listed = own("GET", "/image/v2/images");
    assert!(
        paths.iter().all(|path| listed.text().contains(path)),
        "{}",
        listed.text()
    );
    let deleted = own("DELETE", &format!("/image/v2/images/{}", paths[0]));
    assert_eq!(deleted.status, 200, "{}", deleted.text());
    assert_eq!(site.get(&format!("/p/{}", paths[0])).status, 404);

    site.run(&["image", "quarantine", &paths[1]]);
    assert_eq!(site.get(&format!("/p/{}", paths[1])).status, 404);
    site.run(&["image", "release", &paths[1]]);
    assert_eq!(site.get(&format!("/p/{}", paths[1])).status, 200);
    assert_eq!(holdings(&site, server, &database), (2, 3, 2));

    // An expired image, as the sweep finds it.
    let expire = format!(
        "UPDATE corenexis.image SET expires_at = 1 WHERE path = '{}'",
        paths[2]
    );
    server.run(&database, &expire);
    let swept = site.run(&["sweep", "--json"]);
    assert!(swept.contains("\"expired\":1"), "{swept}");
    assert_eq!(holdings(&site, server, &database), (1, 3, 1));
    let verified = site.run(&["verify"]);
    assert!(verified.contains('1'), "{verified}");
    let metrics = site.get("/image/v2/metrics");
    assert!(metrics.text().contains("swept"), "{}", metrics.text());
}

#[test]
fn two_hosts_store_exactly_the_quota() {
    let Some((server, database)) = database() else {
        return;
    };
    let one = site(server, &database);
    let other = Site::builder()
        .set("ledger", &ledger_at(server, &database))
        .beside(&one)
        .start();
    if race_for_50(&[&one, &other]).is_none() {
        return;
    }
    assert_eq!(holdings(&one, server, &database), (50, 50, 50));
    // Both hosts' cron may sweep at the same time.
    thread::scope(|scope| {
        for site in [&one, &other] {
            scope.spawn(|| site.run(&["sweep"]));
        }
    });
    let shown = |site: &Site| site.run(&["client", "show", "client-free", "--json"]);
    assert_eq!(shown(&one), shown(&other));
    assert_eq!(holdings(&one, server, &database), (50, 50, 50));
}

/// Stops or continues a server's processes.
fn signal(server: &Server, database: &str, signal: Signal) -> Vec<Pid> {
    let mut ids = server.backends(database);
    ids.push(server.process());
    let ids: Vec<_> = ids
        .into_iter()
        .filter_map(|id| Pid::from_raw(id.cast_signed()))
        .collect();
    for id in &ids {
        let _ = kill_process(*id, signal);
    }
    ids
}

#[test]
fn a_server_that_is_stopped_is_answered_with_503() {
    if database().is_none() {
        return;
    }
    // One of its own: the other tests need theirs.
    let server = Server::start().expect("started");
    let database = server.database();
    let site = site(&server, &database);
    site.store("3m", "7D", PNG);
    let stopped = signal(&server, &database, Signal::STOP);
    let began = Instant::now();
    let replies: Vec<_> = thread::scope(|scope| {
        let uploads = [(); 6].map(|()| scope.spawn(|| site.upload("3m", "7D", PNG)));
        let replies = uploads.map(ScopedJoinHandle::join);
        replies
            .into_iter()
            .map(|reply| reply.expect("a reply"))
            .collect()
    });
    for reply in replies {
        assert_eq!(reply.status, 503, "{}", reply.text());
        assert_eq!(reply.text(), r#"{"error":"Server busy"}"#);
        assert_eq!(reply.header("Retry-After"), Some("5"));
    }
    // The ledger's five seconds, and what a busy machine adds; nginx would give up after two minutes.
    assert!(began.elapsed().as_secs() < 45, "{:?}", began.elapsed());
    assert_eq!(site.get("/image/v2/health").status, 503);
    for id in stopped {
        // A backend may have ended before it was stopped.
        let _ = kill_process(id, Signal::CONT);
    }
    until("an upload", || {
        (site.upload("3m", "7D", PNG).status == 200).then_some(())
    });
}

#[test]
fn commands_for_files_name_the_programs_of_postgresql() {
    let Some((server, database)) = database() else {
        return;
    };
    let site = site(server, &database);
    let target = site.root.join("backup.db");
    let target = target.display().to_string();
    for (arguments, program) in [
        (&["backup", &target][..], "pg_dump"),
        (&["restore", &target, "--yes"], "pg_restore"),
        (&["move", "ledger", &target], "pg_dump"),
        (&["move", "docroot", &target], "rsync"),
    ] {
        let output = site.output(arguments);
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(4), "{arguments:?}: {message}");
        assert!(message.contains(program), "{arguments:?}: {message}");
    }
    assert!(!fs::exists(&target).expect("readable"));
}

#[test]
fn a_ledger_of_another_docroot_is_refused() {
    let Some((server, database)) = database() else {
        return;
    };
    let mut one = site(server, &database);
    one.store("3m", "7D", PNG);
    one.stop();
    let other = server.database();
    one.edit_config(|text| text.replace(&server.url(&database), &server.url(&other)));
    let output = one.output(&["serve"]);
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{message}");
    assert!(
        message.contains("[ledger] url") && message.contains(&other),
        "{message}"
    );
    let tables = "SELECT count(*) FROM pg_namespace WHERE nspname = 'corenexis'";
    assert_eq!(server.run(&other, tables), "0", "nothing was written");
}

#[test]
fn wrong_settings_end_with_one_sentence() {
    let Some((server, database)) = database() else {
        return;
    };
    let site = site(server, &database);
    let url = server.url(&database);
    for (lines, code, needle) in [
        (
            format!("url = \"{url}\"\npath = \"/x\""),
            3,
            "remove one of them",
        ),
        ("password_file = \"/x\"".to_owned(), 3, "[ledger] url"),
        (
            format!("url = \"{}\"", url.replace("corenexis@", "nobody@")),
            4,
            "nobody",
        ),
        (
            format!("url = \"{}\"", server.url("nowhere")),
            4,
            "CREATE DATABASE",
        ),
        (
            format!("url = \"{}\"", Server::tcp_url(server.port(), &database)),
            4,
            "password_file",
        ),
        (
            format!(
                "url = \"{}?sslmode=require\"",
                Server::tcp_url(server.port(), &database)
            ),
            4,
            "sslmode=disable",
        ),
    ] {
        site.edit_config(|text| {
            let (before, rest) = text.split_once("[ledger]\n").expect("a table");
            let (_, after) = rest.split_once("\n[").expect("another table");
            format!("{before}[ledger]\n{lines}\n[{after}")
        });
        for command in [&["serve"][..], &["client", "list"], &["sweep"]] {
            let output = site.output(command);
            let message = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(code), "{command:?}: {message}");
            assert!(message.contains(needle), "{command:?}: {message}");
            assert_eq!(
                message.trim_end().lines().count(),
                if code == 4 {
                    1
                } else {
                    message.trim_end().lines().count()
                }
            );
        }
    }
}

#[test]
fn regression_a_host_whose_clock_is_days_ahead_deletes_nothing_of_the_others() {
    let Some((server, database)) = database() else {
        return;
    };
    let Some(library) = faketime() else {
        return;
    };
    let site = site(server, &database);
    site.store("3m", "7D", PNG);
    for days in [-9, 9] {
        let output = sweep_at(&site, &library, now() + days * 24 * 60 * MINUTE, &[]);
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(4), "{message}");
        assert!(message.contains("set the clock"), "{message}");
    }
    assert_eq!(
        server.run(&database, "SELECT count(*) FROM corenexis.image"),
        "1"
    );
    site.run(&["sweep"]);
}

#[test]
fn regression_a_responder_whose_clock_jumps_records_nothing_until_it_is_right_again() {
    const DAY: i64 = 24 * 3_600 * 1_000;
    let Some((server, database)) = database() else {
        return;
    };
    let Some(clock) = Clock::new() else { return };
    let site = Site::builder()
        .set("ledger", &ledger_at(server, &database))
        .clock_of(&clock)
        .start();
    site.store("3m", "7D", PNG);
    for days in [-9, 9] {
        clock.turn(days * DAY);
        let reply = site.upload("3m", "7D", PNG);
        assert_eq!(reply.status, 503, "{}", reply.text());
        assert_eq!(site.get("/image/v2/health").status, 503);
    }
    site.wait_for_log("set the clock");
    assert_eq!(holdings(&site, server, &database), (1, 1, 1));
    clock.turn(0);
    site.store("3m", "7D", PNG);
    assert_eq!(site.get("/image/v2/health").status, 200);
    assert_eq!(holdings(&site, server, &database), (2, 2, 2));
}

#[test]
fn regression_a_quarantine_waits_for_a_release_on_another_host() {
    const RELEASE: &str =
        "DO $$BEGIN PERFORM pg_advisory_xact_lock('x636f72656e657802'::bit(64)::bigint); END$$";
    let Some((server, database)) = database() else {
        return;
    };
    let site = site(server, &database);
    let path = site.store("3m", "7D", PNG);
    let release = server.transaction(&database, RELEASE);
    thread::scope(|scope| {
        let quarantine = scope.spawn(|| site.run(&["image", "quarantine", &path]));
        // It asks again and again, and gives up after twenty seconds.
        let began = Instant::now();
        until("two seconds", || {
            assert!(!quarantine.is_finished(), "it did not wait");
            (began.elapsed().as_secs() >= 2).then_some(())
        });
        drop(release);
    });
    assert_eq!(site.get(&format!("/p/{path}")).status, 404);
}

#[test]
fn doctor_looks_at_the_database() {
    let Some((server, database)) = database() else {
        return;
    };
    let site = site(server, &database);
    let checks = || {
        let output = site.output(&["doctor", "--json"]);
        serde_json::from_slice::<serde_json::Value>(&output.stdout).expect("JSON")
    };
    let verdict = |checks: &serde_json::Value, name: &str| {
        let findings = checks["findings"].as_array().expect("a list");
        let found = findings.iter().find(|finding| finding["check"] == name);
        let found = found.unwrap_or_else(|| panic!("no {name} in {checks:#}"));
        found["verdict"].as_str().expect("a verdict").to_owned()
    };
    let found = checks();
    for name in [
        "ledger",
        "clients",
        "ledger clock",
        "ledger connections",
        "identity",
    ] {
        assert_eq!(verdict(&found, name), "ok", "{found:#}");
    }
    // The server of the tests does not sync.
    assert_eq!(verdict(&found, "ledger durability"), "warn", "{found:#}");
    server.run(&database, "UPDATE corenexis.site SET schema_version = 99");
    assert_eq!(verdict(&checks(), "ledger"), "fail");
}
