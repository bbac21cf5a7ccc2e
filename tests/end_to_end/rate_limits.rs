//! Unknown paths and methods, failed attempts, request rates and concurrent requests.

use std::io::Write;
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use crate::refusals::{INVALID_TOKEN, is_error, refused};
use support::builder::Client;
use support::form::Form;
use support::http::{self};
use support::machine::until;
use support::pictures::PNG;
use support::site::Site;
use support::skip;

/// nginx's realip module, which gives a request the address that the test wants.
const REALIP: &str = "set_real_ip_from 127.0.0.1; real_ip_header X-Real-IP;";

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
    // One request within the rate and two in the burst pass; of eight at once, others are refused.
    let mut stored = 0;
    until("eight uploads within four seconds", || {
        let began = Instant::now();
        let replies = thread::scope(|scope| {
            let uploads = [(); 8].map(|()| scope.spawn(|| site.upload("3m", "7D", PNG)));
            uploads.map(|upload| upload.join().expect("a reply"))
        });
        let refused: Vec<_> = replies.iter().filter(|reply| reply.status != 200).collect();
        stored += 8 - refused.len();
        for reply in &refused {
            is_error(reply, 429, r#"{"error":"Too many requests"}"#, "limited");
            assert_eq!(reply.header("Retry-After"), Some("1"));
        }
        let is_slow = began.elapsed() >= Duration::from_secs(4);
        assert!(is_slow || !refused.is_empty(), "nothing was limited");
        (!refused.is_empty()).then_some(())
    });
    let holdings = site.holdings();
    assert_eq!(holdings.rows, stored);
    // Requests for images are not limited.
    for path in holdings.files.iter().cycle().take(20) {
        assert_eq!(site.get(&format!("/p/{path}")).status, 200);
    }
}

/// Whether nginx was built with the realip module.
fn has_realip() -> bool {
    let built = std::process::Command::new("nginx").arg("-V").output();
    let has = built
        .is_ok_and(|built| String::from_utf8_lossy(&built.stderr).contains("http_realip_module"));
    if !has {
        skip("nginx has no realip module");
    }
    has
}

#[test]
fn the_request_rate_is_that_of_an_ipv4_address_or_an_ipv6_network() {
    if !has_realip() {
        return;
    }
    let site = Site::builder()
        .set(
            "limits",
            "requests_per_second = 1\nburst = 0\nconcurrent_requests = 0",
        )
        .nginx(REALIP)
        .start();
    let from = |address: &str| {
        let headers = [("X-Real-IP", address)];
        http::request(site.port, "GET", "/image/v2/health", &headers, b"").status
    };
    // Each list is one client. Its first request passes, the others come at once.
    for client in [
        &["192.0.2.1", "192.0.2.1"][..],
        &["192.0.2.2", "192.0.2.2"],
        &[
            "2001:db8:1:2::1",
            "2001:db8:1:2::2",
            "2001:db8:1:2:ffff:ffff:ffff:ffff",
            "2001:db8:1:2:0:0:5:6",
        ],
        &["2001:db8:1:3::1", "2001:db8:1:3:1:1:1:1"],
        &["2001:db8::1", "2001:db8::2:2:2:2"],
    ] {
        let mut began = Instant::now();
        assert_eq!(from(client[0]), 200, "{client:?}");
        until("requests within a second", || {
            let statuses: Vec<_> = client[1..].iter().map(|address| from(address)).collect();
            if statuses.contains(&429) {
                return Some(());
            }
            let is_slow = began.elapsed() >= Duration::from_secs(1);
            assert!(is_slow, "{client:?}: {statuses:?}");
            until("another second", || {
                began = Instant::now();
                (from(client[0]) == 200).then_some(())
            });
            None
        });
    }
}

/// An upload that stops within its body.
fn slow_upload(site: &Site) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", site.port)).expect("a connection");
    let head = "POST /image/v2/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n\
                Content-Length: 1000\r\n\r\n--x";
    stream.write_all(head.as_bytes()).expect("it is sent");
    stream
}

#[test]
fn slow_uploads_of_one_address_are_limited() {
    let site = Site::builder()
        .set("limits", "requests_per_second = 0\nconcurrent_requests = 3")
        .start();
    let slow = [(); 3].map(|()| slow_upload(&site));
    let refused = until("the three are under way", || {
        let reply = site.upload("3m", "7D", PNG);
        (reply.status != 200).then_some(reply)
    });
    is_error(
        &refused,
        429,
        r#"{"error":"Too many requests"}"#,
        "a fourth",
    );
    assert_eq!(refused.header("Retry-After"), Some("1"));
    drop(slow);
    until("the others are gone", || {
        (site.upload("3m", "7D", PNG).status == 200).then_some(())
    });
}

#[test]
fn a_visitor_over_the_rate_gets_the_viewer_page_without_the_responder() {
    let site = Site::builder()
        .set(
            "limits",
            "requests_per_second = 1\nburst = 2\nconcurrent_requests = 0",
        )
        .start();
    let path = site.store("free", "7D", PNG);
    let has_facts = |page: &http::Reply| {
        page.text().contains("og:image:width") && !page.text().contains("id=\"size\"")
    };
    let view = || {
        let page = site.get(&format!("/view/?img={path}"));
        assert_eq!(page.status, 200);
        page
    };
    let first = view();
    assert!(has_facts(&first), "{}", first.text());
    let limited = until("ten pages within five seconds", || {
        let began = Instant::now();
        let limited = (0..9).map(|_| view()).find(|page| !has_facts(page));
        let is_slow = began.elapsed() >= Duration::from_secs(5);
        assert!(is_slow || limited.is_some(), "nothing was limited");
        limited
    });
    let limited = limited.text();
    assert!(
        limited.contains("Stored for 7 days") && !limited.contains("429"),
        "{limited}"
    );
    // A link that has to be decoded opens the image itself then.
    let link = format!("/view/?img={}", path.replace('/', "%2F"));
    let replies: Vec<_> = (0..10).map(|_| site.get(&link).status).collect();
    assert!(
        replies.iter().all(|status| [301, 302].contains(status)),
        "{replies:?}"
    );
}
