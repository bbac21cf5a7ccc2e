//! CORS: what browsers may read of the API's replies from pages of other origins.

use support::form::{Form, MULTIPART};
use support::http;
use support::pictures::PNG;
use support::site::Site;

const ORIGIN: &str = "https://shop.example";

/// Browsers ignore `*` for a request with credentials (Fetch standard, CORS check), after the image was stored.
#[test]
fn a_page_reads_the_reply_to_an_upload_with_credentials() {
    let site = Site::builder()
        .expect("client intended to send too large body")
        .start();
    let form = Form::upload(site.client("3m"), "7D", PNG).body();
    let huge = vec![b'x'; 11_000_000];
    for (body, status) in [(&form[..], 200), (b"broken", 400), (&huge, 400)] {
        for sign in [("Sec-Fetch-Mode", "cors"), ("Cookie", "theme=dark")] {
            let headers = [("Content-Type", MULTIPART), ("Origin", ORIGIN), sign];
            let reply = http::request(site.port, "POST", "/image/v2/", &headers, body);
            assert_eq!(reply.status, status, "{reply:?}");
            assert_eq!(reply.values("Access-Control-Allow-Origin"), [ORIGIN]);
            assert_eq!(reply.values("Access-Control-Allow-Credentials"), ["true"]);
        }
    }
    let headers = [
        ("Origin", ORIGIN),
        ("Sec-Fetch-Mode", "cors"),
        ("Access-Control-Request-Method", "POST"),
        ("Access-Control-Request-Headers", "x-requested-with"),
    ];
    let preflight = http::request(site.port, "OPTIONS", "/image/v2/", &headers, b"");
    assert_eq!(preflight.values("Access-Control-Allow-Origin"), [ORIGIN]);
    // "*" is a header's name in replies to requests with credentials.
    let allowed = preflight
        .header("Access-Control-Allow-Headers")
        .unwrap_or_default();
    for name in ["X-Client-Id", "X-Client-Token", "X-Requested-With", "*"] {
        assert!(allowed.split(", ").any(|known| known == name), "{allowed}");
    }
}

#[test]
fn every_other_reply_is_for_all_origins() {
    let site = Site::start();
    let form = Form::upload(site.client("3m"), "7D", PNG).body();
    for headers in [
        vec![],
        vec![("Origin", ORIGIN)],
        vec![("Sec-Fetch-Mode", "cors")],
        vec![("Cookie", "theme=dark")],
        vec![("Origin", ORIGIN), ("Sec-Fetch-Mode", "navigate")],
    ] {
        let all = [&headers[..], &[("Content-Type", MULTIPART)]].concat();
        let reply = http::request(site.port, "POST", "/image/v2/", &all, &form);
        assert_eq!(reply.status, 200, "{reply:?}");
        assert_eq!(reply.values("Access-Control-Allow-Origin"), ["*"]);
        assert_eq!(reply.header("Access-Control-Allow-Credentials"), None);
    }
}
