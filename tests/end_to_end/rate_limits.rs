//! Unknown paths and methods, failed attempts and request rates.

use crate::refusals::{INVALID_TOKEN, is_error, refused};
use support::builder::Client;
use support::form::Form;
use support::http::{self};
use support::pictures::PNG;
use support::site::Site;

#[test]
fn unknown_paths_are_404_and_other_methods_405() {
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
fn failed_attempts_over_the_limit_are_refused() {
    let site = Site::builder()
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
    let reply = site.post(&Form::upload(&wrong, "7D", PNG));
    is_error(
        &reply,
        429,
        r#"{"error":"Too many failed attempts"}"#,
        "limited",
    );
    let retry = reply.number("Retry-After");
    assert!((1..=60).contains(&retry), "{retry}");
    assert_eq!(site.holdings(), before);
    // Others behind the same address do not lock the client out.
    assert_eq!(site.post(&Form::upload(&client, "7D", PNG)).status, 200);
}

#[test]
fn requests_over_the_rate_are_refused() {
    let site = Site::builder()
        .set(
            "limits",
            "requests_per_second = 1\nburst = 2\nfailed_attempts_per_minute = 0",
        )
        .start();
    // One request within the rate and two in the burst pass; the others of that second are refused.
    let replies: Vec<_> = (0..8).map(|_| site.upload("3m", "7D", PNG)).collect();
    let refused: Vec<_> = replies.iter().filter(|reply| reply.status != 200).collect();
    assert!(!refused.is_empty(), "nothing was limited");
    for reply in &refused {
        is_error(reply, 429, r#"{"error":"Too many requests"}"#, "limited");
        assert_eq!(reply.header("Retry-After"), Some("1"));
    }
    let holdings = site.holdings();
    assert_eq!(holdings.rows, 8 - refused.len());
    // Requests for images are not limited.
    for path in holdings.files.iter().cycle().take(20) {
        assert_eq!(site.get(&format!("/p/{path}")).status, 200);
    }
}
