//! Uploads that are refused: every row of the API's error table, in the order of refusals, and that none of them leaves a trace.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::symlink;

use serde_json::{Value, json};
use time::UtcDateTime;

use crate::form::{Form, MULTIPART, URLENCODED, urlencoded};
use crate::http::{self, Reply};
use crate::images::{GIF, JPEG, PNG, WEBP, png, png_of};
use crate::site::{Client, Launch, NOTHING, Site};

const MISSING: &str = r#"{"error":"Missing required parameters"}"#;
const MALFORMED: &str = r#"{"error":"Malformed request body"}"#;
const INVALID_TYPE: &str = r#"{"error":"Invalid file type","allowed":["image/jpeg","image/png","image/gif","image/webp"]}"#;
const INVALID_ID: &str = r#"{"error":"Invalid client ID"}"#;
const INVALID_TOKEN: &str = r#"{"error":"Invalid client token"}"#;
const BOTH: &str = r#"{"error":"Provide either image or image_url, not both"}"#;

/// Asserts that a reply is this error, with what every reply has, and that nothing was stored or counted for it.
#[track_caller]
fn refused(site: &Site, reply: &Reply, status: u16, body: &str, case: &str) {
    is_error(reply, status, body, case);
    assert_eq!(site.holdings(), NOTHING, "{case}");
}

#[track_caller]
fn is_error(reply: &Reply, status: u16, body: &str, case: &str) {
    assert_eq!((reply.status, reply.text()), (status, body), "{case}");
    assert_eq!(
        reply.header("Content-Type"),
        Some("application/json"),
        "{case}"
    );
    assert_eq!(
        reply.header("Access-Control-Allow-Origin"),
        Some("*"),
        "{case}"
    );
    let exposed = reply.header("Access-Control-Expose-Headers");
    assert!(
        exposed.is_some_and(|names| names.contains("X-RateLimit-Remaining")),
        "{case}: {reply:?}"
    );
    assert!(
        reply
            .header("X-Request-Id")
            .is_some_and(|id| id.len() == 32),
        "{case}: {reply:?}"
    );
}

fn too_large(max_size: u64) -> String {
    json!({ "error": "File too large", "max_size": max_size }).to_string()
}

/// The fields of an upload but one.
fn without(client: &Client, missing: &str, empty: bool) -> Form {
    let fields = [
        ("client_id", client.id.as_str()),
        ("client_token", &client.token),
        ("store_duration", "7D"),
    ];
    fields
        .into_iter()
        .filter(|(name, _)| empty || *name != missing)
        .fold(Form::new(), |form, (name, value)| {
            form.text(name, if name == missing { "" } else { value })
        })
}

#[test]
fn missing_parameters() {
    let site = Site::start();
    let client = site.client("3m");
    for name in ["client_id", "client_token", "store_duration"] {
        for empty in [false, true] {
            let form = without(client, name, empty).image(PNG);
            let case = format!("{name}, empty: {empty}");
            refused(&site, &site.post(&form), 400, MISSING, &case);
        }
    }
    let no_image = Form::of(client, "7D");
    refused(&site, &site.post(&no_image), 400, MISSING, "no image");
    let unused_inputs = no_image.file("image", "", b"").text("image_url", "");
    let reply = site.post(&unused_inputs);
    refused(&site, &reply, 400, MISSING, "a browser's empty inputs");
    // The client was known by then, so it is told its quota.
    assert_eq!(reply.number("X-RateLimit-Remaining"), 1_000);
    let empty_form = Form::new();
    refused(
        &site,
        &site.post(&empty_form),
        400,
        MISSING,
        "an empty form",
    );
    let reply = site.post_as(URLENCODED, b"");
    refused(&site, &reply, 400, MISSING, "an empty body");
    let reply = site.post_as(
        URLENCODED,
        &urlencoded(&[("client_id", &client.id), ("store_duration", "7D")]),
    );
    refused(&site, &reply, 400, MISSING, "urlencoded without a token");
    assert_eq!(reply.header("X-RateLimit-Remaining"), None);
}

#[test]
fn both_sources() {
    let site = Site::start();
    let url = "http://127.0.0.1:9/x.png";
    let client = site.client("3m");
    let first = Form::of(client, "7D").image(PNG).text("image_url", url);
    refused(&site, &site.post(&first), 400, BOTH, "the file first");
    let last = Form::of(client, "7D").text("image_url", url).image(PNG);
    refused(&site, &site.post(&last), 400, BOTH, "the file last");
    let empty = Form::of(client, "7D").text("image_url", url).image(b"");
    refused(&site, &site.post(&empty), 400, BOTH, "an empty file");
}

#[test]
fn durations_that_are_not_of_the_plan() {
    let site = Site::start();
    let refusal =
        |allowed: Value| json!({ "error": "Invalid storage duration", "allowed": allowed });
    let cases = [
        ("free", "3M", json!(["7D", "1M"])),
        ("free", "LTF", json!(["7D", "1M"])),
        ("3m", "LTF", json!(["7D", "1M", "3M"])),
        ("lifetime", "2M", json!(["7D", "1M", "3M", "LTF"])),
        ("lifetime", "7d", json!(["7D", "1M", "3M", "LTF"])),
        ("lifetime", "LTF ", json!(["7D", "1M", "3M", "LTF"])),
    ];
    for (plan, duration, allowed) in cases {
        let reply = site.upload(plan, duration, PNG);
        let case = format!("{plan} {duration:?}");
        refused(&site, &reply, 400, &refusal(allowed).to_string(), &case);
        assert!(reply.header("X-RateLimit-Limit").is_some(), "{case}");
    }
}

#[test]
fn files_larger_than_the_plan_allows() {
    let site = Site::plan()
        .expect("client intended to send too large")
        .start();
    for (plan, limit) in [
        ("free", 2_097_152),
        ("3m", 5_242_880),
        ("lifetime", 10_485_760),
    ] {
        let image = png_of(limit + 1, 1);
        let expected = too_large(limit as u64);
        let client = site.client(plan);
        let reply = site.post(&Form::upload(client, "7D", &image));
        refused(&site, &reply, 400, &expected, plan);
        let file_first = Form::new()
            .image(&image)
            .text("client_id", &client.id)
            .text("client_token", &client.token)
            .text("store_duration", "7D");
        let reply = site.post(&file_first);
        refused(
            &site,
            &reply,
            400,
            &expected,
            &format!("{plan}, file first"),
        );
    }
    // More than any plan's file and form can be is refused by nginx, in the same words.
    let reply = site.upload("lifetime", "7D", &png_of(11 << 20, 1));
    refused(
        &site,
        &reply,
        400,
        &too_large(10_485_760),
        "over the body limit",
    );
    let chunked = [
        format!(
            "POST /image/v2 HTTP/1.1\r\nHost: x\r\nContent-Type: {MULTIPART}\r\n\
             Transfer-Encoding: chunked\r\nConnection: close\r\n\r\nB00000\r\n"
        )
        .as_bytes(),
        &png_of(0xB0_0000, 1),
        b"\r\n0\r\n\r\n",
    ]
    .concat();
    let reply = http::exchange(site.port, &chunked).expect("a reply");
    refused(&site, &reply, 400, &too_large(10_485_760), "chunked");
}

#[test]
fn files_that_are_no_image() {
    let site = Site::start();
    let mut wrong_crc = PNG.to_vec();
    wrong_crc[29] ^= 1;
    let mut no_end = PNG.to_vec();
    no_end.truncate(PNG.len() - 12);
    let cases: [(&str, &[u8]); 16] = [
        ("an empty file", b""),
        ("text", b"hello"),
        ("a page", b"<!DOCTYPE html><script>alert(1)</script>"),
        ("a drawing", b"<svg xmlns=\"http://www.w3.org/2000/svg\"/>"),
        ("the head of a GIF", b"GIF"),
        (
            "the head of a GIF, and a script",
            b"GIF89a<?php system($_GET[0]); ?>",
        ),
        ("the head of a JPEG", b"\xff\xd8\xff<?php echo 1; ?>"),
        (
            "the head of a WebP",
            b"RIFF\x10\0\0\0WEBP<script>alert(1)</script>",
        ),
        ("the head of a PNG", b"\x89PNG\r\n\x1a\n<?php echo 1; ?>"),
        ("a cut PNG", &PNG[..PNG.len() / 2]),
        ("a cut JPEG", &JPEG[..JPEG.len() / 2]),
        ("a cut GIF", &GIF[..GIF.len() / 2]),
        ("a cut WebP", &WEBP[..WEBP.len() / 2]),
        ("a PNG with a wrong CRC", &wrong_crc),
        ("a PNG without its end", &no_end),
        (
            "another image type",
            b"BM\x3a\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0\x01\0\0\0\x01\0\0\0\x01\0\x18\0",
        ),
    ];
    for (case, bytes) in cases {
        refused(
            &site,
            &site.upload("3m", "7D", bytes),
            400,
            INVALID_TYPE,
            case,
        );
    }
    let no_width = png(0, 1);
    refused(
        &site,
        &site.upload("3m", "7D", &no_width),
        400,
        INVALID_TYPE,
        "no width",
    );
}

#[test]
fn images_of_too_many_pixels() {
    let site = Site::plan()
        .set("images", "max_side = 2000\nmax_megapixels = 3")
        .start();
    let expected = r#"{"error":"Image dimensions too large","max_side":2000,"max_megapixels":3}"#;
    for (width, height) in [(2_001, 1), (1, 2_001), (2_000, 1_501), (1 << 30, 1 << 30)] {
        let reply = site.upload("3m", "7D", &png(width, height));
        refused(&site, &reply, 400, expected, &format!("{width} × {height}"));
    }
    for (width, height) in [(2_000, 1_500), (2_000, 1), (1, 2_000)] {
        let reply = site.upload("3m", "7D", &png(width, height));
        assert_eq!(reply.status, 200, "{width} × {height}: {}", reply.text());
    }
}

#[test]
fn the_default_limits_of_pixels() {
    let site = Site::start();
    let expected = r#"{"error":"Image dimensions too large","max_side":16384,"max_megapixels":50}"#;
    for (width, height) in [(16_385, 1), (10_000, 5_001)] {
        let reply = site.upload("3m", "7D", &png(width, height));
        refused(&site, &reply, 400, expected, &format!("{width} × {height}"));
    }
    assert_eq!(site.upload("3m", "7D", &png(10_000, 5_000)).status, 200);
}

#[test]
fn bodies_that_are_not_what_they_say() {
    let site = Site::start();
    let client = site.client("3m");
    let whole = Form::upload(client, "7D", PNG).body();
    let long = "x".repeat(300);
    let seventeen = (0..14).fold(Form::upload(client, "7D", PNG), |form, number| {
        form.text(&format!("other{number}"), "x")
    });
    let cases: [(&str, &str, Vec<u8>); 14] = [
        (
            "cut in the file",
            MULTIPART,
            whole[..whole.len() - 500].to_vec(),
        ),
        (
            "no closing delimiter",
            MULTIPART,
            whole[..whole.len() - 4].to_vec(),
        ),
        (
            "half a closing delimiter",
            MULTIPART,
            whole[..whole.len() - 3].to_vec(),
        ),
        ("no part at all", MULTIPART, b"client_id=x".to_vec()),
        (
            "another boundary",
            "multipart/form-data; boundary=other",
            whole.clone(),
        ),
        ("no boundary", "multipart/form-data", whole.clone()),
        (
            "an empty boundary",
            "multipart/form-data; boundary=\"\"",
            whole.clone(),
        ),
        ("JSON", "application/json", b"{}".to_vec()),
        ("a bare image", "image/png", PNG.to_vec()),
        ("an empty content type", "", whole.clone()),
        (
            "a long field",
            MULTIPART,
            Form::new().text("client_id", &long).body(),
        ),
        (
            "a field twice",
            MULTIPART,
            without(client, "store_duration", false)
                .text("client_id", "x")
                .body(),
        ),
        (
            "a file twice",
            MULTIPART,
            Form::new().image(PNG).image(PNG).body(),
        ),
        (
            "seventeen parts",
            MULTIPART,
            Form::body(&seventeen.text("last", "x")),
        ),
    ];
    for (case, content_type, body) in cases {
        refused(
            &site,
            &site.post_as(content_type, &body),
            400,
            MALFORMED,
            case,
        );
    }
    let without_type = http::request(site.port, "POST", "/image/v2/", &[], &whole);
    refused(&site, &without_type, 400, MALFORMED, "no content type");
    let urlencoded = [
        ("a field twice", b"client_id=a&client_id=b".to_vec()),
        ("too long a body", [b"x=", &vec![b'a'; 17_000][..]].concat()),
    ];
    for (case, body) in urlencoded {
        refused(
            &site,
            &site.post_as(URLENCODED, &body),
            400,
            MALFORMED,
            case,
        );
    }
}

#[test]
fn credentials_that_are_wrong() {
    let site = Site::start();
    let client = site.client("3m").clone();
    let as_client = |id: &str, token: &str| {
        let client = Client {
            id: id.to_owned(),
            token: token.to_owned(),
        };
        site.post(&Form::upload(&client, "7D", PNG))
    };
    for id in ["nobody", "client-3m ", "CLIENT-3M", "' OR 1=1 --", "é"] {
        let reply = as_client(id, &client.token);
        refused(&site, &reply, 403, INVALID_ID, id);
        assert_eq!(reply.header("X-RateLimit-Limit"), None);
    }
    let upper = client.token.to_uppercase();
    let other = &site.client("free").token;
    for token in ["wrong", &client.token[1..], &upper, other] {
        let reply = as_client(&client.id, token);
        if token == client.token {
            continue;
        }
        refused(&site, &reply, 403, INVALID_TOKEN, "a wrong token");
        assert_eq!(reply.header("X-RateLimit-Limit"), None);
    }
    let log = site.responder_log();
    assert!(
        !log.contains(&client.token) && !log.contains(other.as_str()),
        "a token is in the log"
    );

    site.run(&["client", "disable", &client.id]);
    let disabled = r#"{"error":"Client disabled"}"#;
    let reply = as_client(&client.id, &client.token);
    refused(&site, &reply, 403, disabled, "disabled");
    let reply = as_client(&client.id, "wrong");
    refused(
        &site,
        &reply,
        403,
        INVALID_TOKEN,
        "disabled, with a wrong token",
    );
    site.run(&["client", "enable", &client.id]);
    assert_eq!(as_client(&client.id, &client.token).status, 200);
}

#[test]
fn paths_and_methods_that_do_not_exist() {
    let site = Site::start();
    let not_found = r#"{"error":"Not found"}"#;
    let not_allowed = r#"{"error":"Method not allowed"}"#;
    for path in [
        "/image/v2/x",
        "/image/v2/health/x",
        "/image/v2//x",
        "/image/v2/%2e%2e%2fx",
    ] {
        refused(&site, &site.get(path), 404, not_found, path);
    }
    for path in ["/image/v2/", "/image/v2"] {
        for method in ["GET", "PUT", "DELETE", "PATCH", "QUERY"] {
            let reply = http::request(site.port, method, path, &[], b"");
            let case = format!("{method} {path}");
            refused(&site, &reply, 405, not_allowed, &case);
            assert_eq!(reply.header("Allow"), Some("POST, OPTIONS"), "{case}");
        }
    }
    let reply = http::request(site.port, "HEAD", "/image/v2/", &[], b"");
    assert_eq!(
        (reply.status, reply.header("Allow")),
        (405, Some("POST, OPTIONS"))
    );
    let reply = http::request(site.port, "TRACE", "/image/v2/", &[], b"");
    assert_eq!((reply.status, reply.text()), (405, not_allowed));

    let headers = [
        ("Origin", "https://example.org"),
        ("Access-Control-Request-Method", "POST"),
    ];
    for path in ["/image/v2/", "/image/v2"] {
        let reply = http::request(site.port, "OPTIONS", path, &headers, b"");
        assert_eq!((reply.status, reply.text()), (204, ""), "{path}");
        assert_eq!(reply.header("Access-Control-Allow-Origin"), Some("*"));
        assert_eq!(
            reply.header("Access-Control-Allow-Methods"),
            Some("POST, OPTIONS")
        );
        assert!(reply.header("Access-Control-Allow-Headers").is_some());
        assert_eq!(reply.header("Content-Type"), None);
    }
}

#[test]
fn too_many_failed_attempts() {
    let site = Site::plan()
        .set(
            "limits",
            "requests_per_second = 0\nfailed_attempts_per_minute = 3",
        )
        .start();
    let client = site.client("3m").clone();
    assert_eq!(
        site.store("3m", "7D", PNG).len(),
        site.store("3m", "7D", PNG).len()
    );
    let before = site.holdings();
    let wrong = Client {
        token: "0123456789abcdef".to_owned(),
        ..client.clone()
    };
    for _ in 0..3 {
        let reply = site.post(&Form::upload(&wrong, "7D", PNG));
        is_error(&reply, 403, INVALID_TOKEN, "an attempt");
    }
    // From then on the address is not listened to, so that the right token cannot be found either.
    for client in [&wrong, &client] {
        let reply = site.post(&Form::upload(client, "7D", PNG));
        is_error(
            &reply,
            429,
            r#"{"error":"Too many failed attempts"}"#,
            "limited",
        );
        let retry = reply.number("Retry-After");
        assert!((1..=60).contains(&retry), "{retry}");
    }
    assert_eq!(site.holdings(), before);
}

#[test]
fn too_many_requests() {
    let site = Site::plan()
        .set(
            "limits",
            "requests_per_second = 1\nburst = 2\nfailed_attempts_per_minute = 0",
        )
        .start();
    // The first takes the rate's place, two the burst's; the rest of those within a second are refused.
    let replies: Vec<_> = (0..8).map(|_| site.upload("3m", "7D", PNG)).collect();
    let refused: Vec<_> = replies.iter().filter(|reply| reply.status != 200).collect();
    assert!(!refused.is_empty(), "nothing was limited");
    for reply in &refused {
        is_error(reply, 429, r#"{"error":"Too many requests"}"#, "limited");
        assert_eq!(reply.header("Retry-After"), Some("1"));
    }
    let holdings = site.holdings();
    assert_eq!(holdings.rows, 8 - refused.len());
    // Images are not limited.
    for path in holdings.files.iter().cycle().take(20) {
        assert_eq!(site.get(&format!("/p/{path}")).status, 200);
    }
}

#[test]
fn faults_of_the_docroot() {
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
    // The cause is for the log alone.
    assert!(
        site.responder_log().contains("cause="),
        "no cause in the log"
    );

    for duration in ["7D", "1M"] {
        assert_eq!(site.upload("3m", duration, PNG).status, 200);
    }
}

#[test]
fn too_little_free_space() {
    let site = Site::plan()
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
fn a_ledger_that_is_locked() {
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
fn no_responder() {
    let site = Site::plan()
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
fn more_connections_than_are_served() {
    let site = Site::plan().set("server", "max_connections = 1").start();
    // It has sent nothing yet, so it is served, and takes the only place.
    let held = site.connect_responder();
    let reply = site.upload("3m", "7D", PNG);
    refused(&site, &reply, 503, r#"{"error":"Server busy"}"#, "busy");
    assert_eq!(reply.header("Retry-After"), Some("1"));
    drop(held);
    crate::site::until("a place", || {
        (site.upload("3m", "7D", PNG).status == 200).then_some(())
    });
}

#[test]
fn requests_that_nginx_refuses_itself() {
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
fn a_body_that_stops_coming() {
    let site = Site::plan().nginx("client_body_timeout 1s;").start();
    let body = Form::upload(site.client("3m"), "7D", PNG).body();
    let head = format!(
        "POST /image/v2/ HTTP/1.1\r\nHost: x\r\nContent-Type: {MULTIPART}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let mut stream = http::connect(site.port).expect("a connection");
    stream.write_all(head.as_bytes()).expect("the head is sent");
    stream.write_all(&body[..100]).expect("a piece is sent");
    // nginx closes such a connection with or without a reply.
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

#[test]
fn the_order_of_refusals() {
    let site = Site::plan()
        .set("plans.free", "daily_uploads = 0")
        .set("plans.3m", "")
        .set("plans.lifetime", "")
        .start();
    let client = site.client("3m").clone();
    let nobody = Client {
        id: "nobody".to_owned(),
        ..client.clone()
    };
    let wrong = Client {
        token: "wrong".to_owned(),
        ..client.clone()
    };
    let duration = r#"{"error":"Invalid storage duration","allowed":["7D","1M","3M"]}"#;
    let exhausted = r#"{"error":"Daily upload limit reached"}"#;
    let cut = |form: Form| {
        let body = form.body();
        body[..body.len() - 30].to_vec()
    };
    let free = site.client("free").clone();
    let large = png_of((5 << 20) + 1, 1);
    let url = "http://127.0.0.1:9/x.png";
    let cases: [(&str, Vec<u8>, u16, &str); 13] = [
        (
            "missing before the id",
            Form::new().text("client_id", "nobody").image(PNG).body(),
            400,
            MISSING,
        ),
        (
            "the id before the token",
            Form::upload(
                &Client {
                    id: "nobody".to_owned(),
                    token: "wrong".to_owned(),
                },
                "7D",
                PNG,
            )
            .body(),
            403,
            INVALID_ID,
        ),
        (
            "the id before a cut file",
            cut(Form::upload(&nobody, "7D", PNG)),
            403,
            INVALID_ID,
        ),
        (
            "the token before a cut file",
            cut(Form::upload(&wrong, "7D", PNG)),
            403,
            INVALID_TOKEN,
        ),
        (
            "the token before the duration",
            Form::upload(&wrong, "LTF", PNG).body(),
            403,
            INVALID_TOKEN,
        ),
        (
            "the duration before a cut file",
            cut(Form::upload(&client, "LTF", PNG)),
            400,
            duration,
        ),
        (
            "the duration before the quota",
            Form::upload(&free, "LTF", PNG).body(),
            400,
            r#"{"error":"Invalid storage duration","allowed":["7D","1M"]}"#,
        ),
        (
            "the quota before the source",
            Form::of(&free, "7D").body(),
            429,
            exhausted,
        ),
        (
            "the quota before both sources",
            Form::of(&free, "7D")
                .image(PNG)
                .text("image_url", url)
                .body(),
            429,
            exhausted,
        ),
        (
            "the quota before the type",
            Form::upload(&free, "7D", b"text").body(),
            429,
            exhausted,
        ),
        (
            "the sources before the size",
            Form::of(&client, "7D")
                .text("image_url", url)
                .image(&large)
                .body(),
            400,
            BOTH,
        ),
        (
            "the size before the type",
            Form::upload(&client, "7D", &vec![b'x'; (5 << 20) + 1]).body(),
            400,
            r#"{"error":"File too large","max_size":5242880}"#,
        ),
        (
            "a cut file before the token that should follow",
            cut(Form::new().text("client_id", "nobody").image(PNG)),
            400,
            MALFORMED,
        ),
    ];
    for (case, body, status, expected) in cases {
        refused(
            &site,
            &site.post_as(MULTIPART, &body),
            status,
            expected,
            case,
        );
    }
    site.run(&["client", "disable", &client.id]);
    let disabled = r#"{"error":"Client disabled"}"#;
    let reply = site.upload("3m", "LTF", PNG);
    refused(&site, &reply, 403, disabled, "disabled before the duration");
    let reply = site.upload("free", "7D", PNG);
    refused(&site, &reply, 429, exhausted, "a plan without uploads");
    let midnight = reply.number("X-RateLimit-Reset");
    let left = midnight - UtcDateTime::now().unix_timestamp();
    let retry = reply.number("Retry-After");
    assert!(
        (left..=left + 5).contains(&retry),
        "{retry}, {left} are left"
    );
    assert_eq!(reply.header("X-RateLimit-Limit"), Some("0"));
    assert_eq!(reply.header("X-RateLimit-Remaining"), Some("0"));
}
