//! Errors of the host: the documented reply, no partial file, no counted upload, no restart needed.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::symlink;

use serde_json::json;

use crate::refusals::{MALFORMED, is_error, refused};
use support::builder::Launch;
use support::form::{Form, MULTIPART, URLENCODED, urlencoded};
use support::http::{self};
use support::pictures::{PNG, png_of};
use support::site::{NOTHING, Site};

#[test]
fn a_broken_docroot_is_a_documented_error() {
    let site = Site::start();
    let images = site.docroot().join("p");
    let replace = |class: &str| {
        let _ = fs::remove_dir_all(images.join(class));
    };
    replace("d");
    fs::write(images.join("d"), b"in the way").expect("a file");
    let reply = site.upload("3m", "7D", PNG);
    assert_eq!(reply.status, 500, "{}", reply.text());
    assert!(
        [
            r#"{"error":"Failed to save image"}"#,
            r#"{"error":"Failed to create directory"}"#
        ]
        .contains(&reply.text()),
        "{}",
        reply.text()
    );
    fs::remove_file(images.join("d")).expect("removed");
    assert_eq!(site.holdings(), NOTHING, "a file instead of a directory");

    replace("m");
    symlink("/nonexistent/directory", images.join("m")).expect("a link");
    let reply = site.upload("3m", "1M", PNG);
    is_error(
        &reply,
        500,
        r#"{"error":"Failed to create directory"}"#,
        "a dangling link",
    );
    fs::remove_file(images.join("m")).expect("removed");
    assert_eq!(site.holdings(), NOTHING, "a dangling link");

    let spool = site.docroot().join(".spool");
    fs::remove_dir(&spool).expect("the spool is empty");
    let reply = site.upload("3m", "1M", PNG);
    is_error(
        &reply,
        500,
        r#"{"error":"Failed to save image"}"#,
        "no spool",
    );
    fs::create_dir(&spool).expect("the spool is back");
    assert_eq!(site.holdings(), NOTHING, "no spool");
    // The log has the cause, the reply does not.
    assert!(
        site.responder_log().contains("cause="),
        "no cause in the log"
    );

    for duration in ["7D", "1M"] {
        assert_eq!(site.upload("3m", duration, PNG).status, 200);
    }
}

#[test]
fn uploads_are_refused_below_min_free() {
    let site = Site::builder()
        .set("storage", "min_free = \"1000000GiB\"")
        .start();
    let full = r#"{"error":"Insufficient storage"}"#;
    refused(&site, &site.upload("3m", "7D", PNG), 500, full, "a file");
    let fields = [
        ("client_id", site.client("3m").id.as_str()),
        ("client_token", &site.client("3m").token),
        ("store_duration", "7D"),
        ("image_url", "http://127.0.0.1:9/x.png"),
    ];
    let reply = site.post_as(URLENCODED, &urlencoded(&fields));
    refused(&site, &reply, 500, full, "a URL");
    let health = site.get("/image/v2/health");
    assert_eq!(
        (health.status, &health.json()["free_space"]),
        (503, &json!("failed"))
    );
}

#[test]
fn a_locked_ledger_is_a_documented_error() {
    let site = Site::start();
    let ledger = site.ledger();
    ledger.execute_batch("BEGIN IMMEDIATE").expect("the lock");
    let reply = site.upload("3m", "7D", PNG);
    is_error(
        &reply,
        500,
        r#"{"error":"Internal server error"}"#,
        "locked",
    );
    assert!(!reply.text().contains("lock"), "{}", reply.text());
    ledger.execute_batch("ROLLBACK").expect("the lock's end");
    assert_eq!(site.holdings(), NOTHING);
    assert_eq!(site.upload("3m", "7D", PNG).status, 200, "after the lock");
}

#[test]
fn without_a_responder_nginx_answers_502_as_json() {
    let site = Site::builder()
        .launch(Launch::Absent)
        .expect("connect() to unix:")
        .start();
    for image in [PNG.to_vec(), png_of(3 << 20, 1)] {
        let reply = site.upload("3m", "7D", &image);
        refused(
            &site,
            &reply,
            502,
            r#"{"error":"Bad gateway"}"#,
            "no responder",
        );
    }
}

#[test]
fn connections_over_the_limit_get_503() {
    // nginx has a second to send its request to a refused connection, which a busy machine may exceed.
    let site = Site::builder()
        .set("server", "max_connections = 1")
        .expect("Connection reset by peer")
        .expect("Broken pipe")
        .expect("upstream prematurely closed connection")
        .start();
    // An idle connection takes the only permit.
    let held = site.connect_responder();
    let reply = support::machine::until("a request within the second", || {
        Some(site.upload("3m", "7D", PNG)).filter(|reply| reply.status != 502)
    });
    refused(&site, &reply, 503, r#"{"error":"Server busy"}"#, "busy");
    assert_eq!(reply.header("Retry-After"), Some("1"));
    drop(held);
    support::machine::until("a permit", || {
        (site.upload("3m", "7D", PNG).status == 200).then_some(())
    });
}

#[test]
fn errors_made_by_nginx_are_json() {
    let site = Site::start();
    let long = format!("/image/v2/{}", "x".repeat(40_000));
    let reply = site.get(&long);
    is_error(&reply, 414, r#"{"error":"URI too long"}"#, "a long target");
    let header = "x".repeat(40_000);
    let reply = http::request(site.port, "POST", "/image/v2/", &[("X-Long", &header)], b"");
    is_error(
        &reply,
        431,
        r#"{"error":"Request header too large"}"#,
        "a long header",
    );
    let reply = http::exchange(
        site.port,
        b"POST /image/v2/ HTTP/1.1\r\nContent-Length: x\r\n\r\n",
    );
    is_error(
        &reply.expect("a reply"),
        400,
        MALFORMED,
        "a length that is no number",
    );
    let reply = http::exchange(
        site.port,
        b"POST /image/v2/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n",
    );
    is_error(
        &reply.expect("a reply"),
        501,
        r#"{"error":"Not implemented"}"#,
        "a coding",
    );
    assert_eq!(site.holdings(), NOTHING);
}

#[test]
fn a_body_that_stops_arriving_times_out() {
    let site = Site::builder().nginx("client_body_timeout 1s;").start();
    let body = Form::upload(site.client("3m"), "7D", PNG).body();
    let head = format!(
        "POST /image/v2/ HTTP/1.1\r\nHost: x\r\nContent-Type: {MULTIPART}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let mut stream = http::connect(site.port).expect("a connection");
    stream.write_all(head.as_bytes()).expect("the head is sent");
    stream.write_all(&body[..100]).expect("a piece is sent");
    // nginx may close such a connection without a reply.
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).expect("the end");
    let reply = String::from_utf8_lossy(&reply);
    assert!(
        reply.is_empty() || reply.contains(r#"{"error":"Request timed out"}"#),
        "{reply}"
    );
    assert_eq!(site.holdings(), NOTHING);
    assert_eq!(site.upload("3m", "7D", PNG).status, 200);
}
