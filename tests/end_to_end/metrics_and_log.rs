//! Metrics and log.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rustix::process::Signal;
use support::builder::Client;
use support::form::Form;
use support::http;
use support::machine::until;
use support::pictures::{PNG, png_of};
use support::site::Site;

/// The samples by name and labels; panics on a line that is neither a sample nor a comment.
fn metrics(site: &Site) -> BTreeMap<String, f64> {
    let reply = site.get("/image/v2/metrics");
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(
        reply.header("Content-Type"),
        Some("application/openmetrics-text; version=1.0.0; charset=utf-8")
    );
    let text = reply.text();
    assert!(text.ends_with("# EOF\n"), "{text}");
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').expect("a sample");
            (name.to_owned(), value.parse().expect("a number"))
        })
        .collect()
}

#[test]
fn metrics_count_uploads_bytes_and_sweeps() {
    let site = Site::start();
    let sample = |name: &str| {
        let samples = metrics(&site);
        let name = if name.starts_with("process_") {
            name.to_owned()
        } else {
            format!("corenexis_cdn_{name}")
        };
        *samples
            .get(&name)
            .unwrap_or_else(|| panic!("no {name} in {samples:#?}"))
    };
    assert_close(
        sample("upload_duration_seconds_count{stored=\"true\"}"),
        0.0,
    );
    assert_close(sample("swept_total{kind=\"expired\"}"), 0.0);
    assert_close(sample("last_sweep_timestamp_seconds"), 0.0);

    let path = site.store("3m", "7D", PNG);
    site.store("3m", "1M", PNG);
    site.store("free", "7D", PNG);
    let wrong = Client {
        token: "0".repeat(32),
        ..site.client("3m").clone()
    };
    assert_eq!(site.post(&Form::upload(&wrong, "7D", PNG)).status, 403);
    assert_eq!(site.upload("free", "LTF", PNG).status, 400);
    for (name, expected) in [
        ("uploads_total{plan=\"3m\",result=\"stored\"}", 2.0),
        ("uploads_total{plan=\"free\",result=\"stored\"}", 1.0),
        (
            "uploads_total{plan=\"\",result=\"Invalid client token\"}",
            1.0,
        ),
        (
            "uploads_total{plan=\"free\",result=\"Invalid storage duration\"}",
            1.0,
        ),
        ("upload_duration_seconds_count{stored=\"true\"}", 3.0),
        ("upload_duration_seconds_count{stored=\"false\"}", 2.0),
        ("upload_stage_duration_seconds_count{stage=\"commit\"}", 3.0),
        ("upload_stage_duration_seconds_count{stage=\"auth\"}", 5.0),
        ("batch_size_count", 3.0),
        ("batch_size_sum", 3.0),
    ] {
        assert_close(sample(name), expected);
    }
    let bytes = u32::try_from(PNG.len()).expect("a small image");
    assert_close(
        sample("stored_bytes_total{plan=\"3m\"}"),
        f64::from(2 * bytes),
    );
    assert!(sample("connections") >= 1.0);
    assert!(sample("docroot_free_bytes") > 0.0);
    assert!(sample("process_start_time_seconds") > 1.7e9);
    assert!(sample("process_resident_memory_bytes") > 1e6);
    assert!(sample("process_open_fds") < sample("process_max_fds"));

    // The sweep is a separate process.
    let expired = format!("UPDATE image SET expires_at = 1 WHERE path = '{path}'");
    assert_eq!(site.ledger().execute(&expired, []), Ok(1));
    site.run(&["sweep", "--dry-run"]);
    assert_close(sample("swept_total{kind=\"expired\"}"), 0.0);
    site.run(&["sweep"]);
    site.run(&["sweep"]);
    assert_close(sample("swept_total{kind=\"expired\"}"), 1.0);
    assert_close(sample("swept_bytes_total"), f64::from(bytes));
    assert!(sample("last_sweep_timestamp_seconds") > 1.7e9);
}

/// Compares counts, which are whole numbers.
#[track_caller]
fn assert_close(found: f64, expected: f64) {
    assert!((found - expected).abs() < 0.5, "{found} is not {expected}");
}

#[test]
fn metrics_are_served_to_allowed_addresses_only() {
    let site = Site::start();
    let status = |site: &Site, method, headers: &[(&str, &str)]| {
        http::request(site.port, method, "/image/v2/metrics", headers, b"").status
    };
    assert_eq!(status(&site, "GET", &[]), 200);
    assert_eq!(status(&site, "HEAD", &[]), 200);
    assert_eq!(status(&site, "POST", &[]), 405);
    let others = Site::builder()
        .set("server", "metrics_allow = [\"192.0.2.1\"]")
        .start();
    // X-Forwarded-For of a client is ignored.
    let forged = [("X-Forwarded-For", "192.0.2.1"), ("X-Real-IP", "192.0.2.1")];
    for method in ["GET", "HEAD", "POST"] {
        assert_eq!(status(&others, method, &forged), 404, "{method}");
    }
    // A proxy on this host, which appends the address of its visitor to what the visitor sent.
    for passed_on in [
        [("X-Forwarded-For", "198.51.100.7")],
        [("X-Forwarded-For", "127.0.0.1, 198.51.100.7")],
        [("Via", "1.1 proxy")],
    ] {
        assert_eq!(status(&site, "GET", &passed_on), 404, "{passed_on:?}");
        let health = http::request(site.port, "GET", "/image/v2/health", &passed_on, b"").json();
        let is_proxy = !passed_on[0].1.contains("127.0.0.1");
        let expected = if is_proxy { "proxy" } else { "ok" };
        assert_eq!(health["client_address"], expected, "{passed_on:?}");
    }
    let nobody = Site::builder().set("server", "metrics_allow = []").start();
    assert_eq!(status(&nobody, "GET", &[]), 404);
}

/// Parses a logfmt line.
fn fields(line: &str) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::new();
    let mut rest = line;
    while !rest.is_empty() {
        let (key, after) = rest.split_once('=').unwrap_or_else(|| panic!("{line}"));
        assert!(!key.is_empty() && !key.contains(' '), "{key:?} in {line}");
        let end = if let Some(quoted) = after.strip_prefix('"') {
            let mut escaped = false;
            let end = quoted.find(|character| {
                let ends = character == '"' && !escaped;
                escaped = character == '\\' && !escaped;
                ends
            });
            end.unwrap_or_else(|| panic!("an open quote in {line}")) + 2
        } else {
            after.find(' ').unwrap_or(after.len())
        };
        let (value, after) = after.split_at(end);
        let twice = fields.insert(key.to_owned(), value.to_owned());
        assert_eq!(twice, None, "{key} in {line}");
        rest = after.strip_prefix(' ').unwrap_or(after);
    }
    fields
}

#[test]
fn each_request_is_one_log_line_with_its_fields() {
    let site = Site::start();
    let reply = site.upload("3m", "7D", PNG);
    let id = reply.header("X-Request-Id").expect("an id").to_owned();
    let line = until("the line", || {
        let log = site.responder_log();
        log.lines()
            .find(|line| line.contains(&id))
            .map(str::to_owned)
    });
    let fields = fields(&line);
    let size = PNG.len().to_string();
    for (key, expected) in [
        ("event", "request"),
        ("request", id.as_str()),
        ("address", "127.0.0.1"),
        ("client", "client-3m"),
        ("plan", "3m"),
        ("status", "200"),
        ("path", support::machine::path_of(&reply.url())),
        ("bytes", size.as_str()),
    ] {
        assert_eq!(
            fields.get(key).map(String::as_str),
            Some(expected),
            "{line}"
        );
    }
    for key in ["form_ms", "auth_ms", "commit_ms", "ms"] {
        let value = fields.get(key).unwrap_or_else(|| panic!("{key} in {line}"));
        value.parse::<f64>().expect("milliseconds");
    }
    assert_eq!(
        fields["time"].len(),
        "2026-04-05T12:00:00.000Z".len(),
        "{line}"
    );
    assert!(!fields.contains_key("error"), "{line}");
}

#[test]
fn credentials_urls_and_headers_of_clients_are_not_logged() {
    let site = Site::start();
    let secret = "5ecret\nevent=forged";
    let client = Client {
        id: format!("id-{secret}"),
        token: format!("token-{secret}"),
    };
    let form = Form::of(&client, "7D")
        .text("image_url", &format!("http://{secret}/?key={secret}"))
        .text("unknown", secret);
    site.post(&form);
    let known = Client {
        token: format!("token-{secret}"),
        ..site.client("3m").clone()
    };
    site.post(&Form::upload(&known, "7D", PNG));
    let url = Form::of(site.client("3m"), "7D").text("image_url", "http://127.0.0.1/?key=5ecret");
    assert_eq!(site.post(&url).status, 400);
    let headers = [
        ("User-Agent", "5ecret"),
        ("X-Request-Id", "5ecret"),
        ("Referer", "http://5ecret/"),
        ("Content-Type", "multipart/form-data; boundary=5ecret"),
    ];
    http::request(site.port, "POST", "/image/v2/?5ecret", &headers, b"5ecret");
    http::request(site.port, "GET", "/image/v2/5ecret", &headers, b"");
    site.wait_for_log("Malformed request body");
    site.wait_for_log("Not found");
    let log = site.responder_log();
    assert!(!log.contains("5ecret") && !log.contains("forged"), "{log}");
    assert!(!log.contains(&site.client("3m").token), "{log}");
}

#[test]
fn no_line_is_lost_or_cut_while_the_log_is_rotated_under_load() {
    const UPLOADERS: u64 = 4;
    const ROTATIONS: usize = 25;
    let site = Site::builder()
        .set("plans.3m", "daily_uploads = 1000000")
        .log_file()
        .start();
    let log = site.root.join("responder.log");
    let stop = AtomicBool::new(false);
    let ids = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for uploader in 0..UPLOADERS {
            let (site, stop, ids) = (&site, &stop, &ids);
            scope.spawn(move || {
                let mut serial = uploader << 32;
                while !stop.load(Ordering::Relaxed) {
                    serial += 1;
                    let reply = site.upload("3m", "7D", &png_of(300, serial));
                    assert_eq!(reply.status, 200, "{reply:?}");
                    let id = reply.header("X-Request-Id").expect("an id").to_owned();
                    ids.lock().expect("not poisoned").push(id);
                }
            });
        }
        for rotation in 0..ROTATIONS {
            fs::rename(&log, site.root.join(format!("rotated.{rotation:02}"))).expect("renamed");
            site.signal(Signal::USR1);
            until("a new file with lines", || {
                fs::metadata(&log)
                    .is_ok_and(|file| file.len() > 0)
                    .then_some(())
            });
        }
        // The line of the reopening alone may be what a new file has.
        until("uploads", || {
            (ids.lock().expect("not poisoned").len() > ROTATIONS).then_some(())
        });
        stop.store(true, Ordering::Relaxed);
    });
    let ids = ids.into_inner().expect("not poisoned");
    let rotated = (0..ROTATIONS).map(|rotation| site.root.join(format!("rotated.{rotation:02}")));
    let mut lines = BTreeMap::new();
    for file in rotated.chain([log.clone()]) {
        let text = fs::read_to_string(file).expect("a log");
        assert!(text.ends_with('\n'), "a line was cut: {text}");
        for line in text.lines() {
            // A line is written before its reply is sent.
            if let Some(id) = fields(line).remove("request") {
                *lines.entry(id).or_insert(0) += 1;
            }
        }
    }
    assert_eq!(lines.len(), ids.len());
    assert!(ids.iter().all(|id| lines.get(id) == Some(&1)));
}

#[test]
fn sigusr1_does_not_end_a_responder_that_logs_to_standard_error() {
    let mut site = Site::start();
    let pid = site.pid();
    for _ in 0..3 {
        site.signal(Signal::USR1);
        site.store("3m", "7D", PNG);
    }
    assert_eq!(site.pid(), pid);
}
