//! What passes between nginx and the store: signatures, errors and headers.

use std::fs;
use std::sync::{Arc, Mutex};

use support::http;
use support::http_proxy::{Disturbance, Head, HttpProxy, slow_down};
use support::machine::read;
use support::pictures::{PNG, png_of};
use support::seaweedfs::{Access, Bucket};

use super::{HEADERS, ask, buckets, site_behind};

#[test]
fn a_private_bucket_is_read_through_nginx_alone() {
    let Some(bucket) = Bucket::new(Access::Private) else {
        return;
    };
    let proxy = HttpProxy::start(&bucket.endpoint);
    let format = "log_format all '$request $uri $args $upstream_addr $upstream_http_x_accel_redirect'; access_log logs/all.log all;";
    let mut site = site_behind(&proxy, &bucket, "signed")
        .nginx(format)
        .expect("upstream")
        .start();
    let path = site.store("3m", "7D", PNG);
    let other = site.store("3m", "7D", &png_of(2_000, 5));
    let port = proxy.address.port();
    let direct = http::get(port, &format!("/{}/{path}", bucket.name));
    assert_eq!(direct.status, 403, "{direct:?}");

    let before = proxy.requests();
    for _ in 0..3 {
        let reply = site.get(&format!("/p/{path}"));
        assert_eq!((reply.status, &*reply.body), (200, PNG));
    }
    assert_eq!(proxy.requests() - before, 1, "the cache answers the others");

    // A store that fails is told about, without what it was asked with.
    proxy.disturb(|_| Disturbance::LoseRequest);
    let reply = site.get(&format!("/p/{other}"));
    assert_eq!(
        (reply.status, reply.header("Retry-After")),
        (503, Some("5")),
        "{reply:?}"
    );
    proxy.disturb(|_| Disturbance::None);

    // Without the responder nothing new is fetched, and what is cached is served.
    site.stop();
    assert_eq!(site.get(&format!("/p/{path}")).status, 200);
    assert_eq!(site.get(&format!("/p/{other}")).status, 503);
    site.stop_nginx();
    let logs = site.root.join("nginx/logs");
    let mut lines = 0;
    for log in fs::read_dir(logs).expect("the logs") {
        let text = read(&log.expect("a log").path());
        lines += text.lines().count();
        for secret in ["Signature", "AWS4", "X-Amz"] {
            assert!(!text.contains(secret), "{secret} is in {text}");
        }
    }
    assert!(lines > 5, "there are logs");
    assert!(!site.responder_log().contains("Signature"));
}

#[test]
fn a_store_that_fails_shows_nothing_of_itself() {
    let Some(buckets) = buckets() else { return };
    for (serve, bucket) in &buckets {
        let proxy = HttpProxy::start(&bucket.endpoint);
        let site = site_behind(&proxy, bucket, serve)
            .expect("upstream")
            .start();
        let path = site.store("3m", "7D", PNG);
        let target = format!("/p/{path}");
        let redirect = b"HTTP/1.1 301 Moved\r\nLocation: https://elsewhere.example/\r\nx-amz-bucket-region: eu-9\r\nContent-Length: 0\r\n\r\n";
        let denied = b"HTTP/1.1 403 Forbidden\r\nServer: Store\r\nContent-Length: 22\r\n\r\n<Error>denied</Error>\r\n";
        let censored = b"HTTP/1.1 451 Unavailable For Legal Reasons\r\nServer: Store\r\nContent-Length: 21\r\n\r\n<Error>legal</Error>\r\n";
        let overloaded = b"HTTP/1.1 529 Overloaded\r\nServer: Store\r\nContent-Length: 20\r\n\r\n<Error>busy</Error>\r\n";
        for (disturbance, status) in [
            (Disturbance::Answer(slow_down()), 503),
            (Disturbance::Answer(redirect.to_vec()), 503),
            (Disturbance::Answer(denied.to_vec()), 404),
            (Disturbance::Answer(censored.to_vec()), 503),
            (Disturbance::Answer(overloaded.to_vec()), 503),
            (Disturbance::LoseRequest, 503),
        ] {
            let answer = disturbance.clone();
            proxy.disturb(move |_| answer.clone());
            for page in [target.clone(), format!("/view/?img={path}")] {
                let reply = ask(&site, &page, &[("Sec-Fetch-Dest", "image")]);
                assert_eq!(reply.status, status, "{serve} {disturbance:?}: {reply:?}");
                assert_eq!(reply.header("Content-Type"), Some("text/plain"));
                let control = if status == 503 {
                    "no-store"
                } else {
                    "public, max-age=60"
                };
                assert_eq!(reply.header("Cache-Control"), Some(control));
                assert_eq!(reply.header("Location"), None);
                assert!(!reply.text().contains("Error>"), "{reply:?}");
            }
        }
        proxy.disturb(|_| Disturbance::None);
        assert_eq!(site.get(&target).status, 200, "{serve}");
        // What was fetched within the minute is served on.
        proxy.disturb(|_| Disturbance::LoseRequest);
        assert_eq!(site.get(&target).status, 200, "{serve}");
    }
}

/// A header that a store sends, and nginx hides: some of each provider.
#[test]
fn headers_of_a_store_and_of_visitors_do_not_pass() {
    let Some(buckets) = buckets() else { return };
    for (serve, bucket) in &buckets {
        let proxy = HttpProxy::start(&bucket.endpoint);
        let site = site_behind(&proxy, bucket, serve).start();
        let path = site.store("3m", "7D", PNG);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let heads = Arc::clone(&seen);
        let mut answer = b"HTTP/1.1 200 OK\r\nServer: Store\r\nx-amz-request-id: 1\r\nx-amz-id-2: 2\r\nx-amz-version-id: 3\r\n\
            x-amz-meta-expires-at: 4\r\nx-amz-meta-published-at: 5\r\nX-Minio-Deployment-Id: 6\r\ncf-ray: 7\r\nVia: 1.1 store\r\n\
            Set-Cookie: a=b\r\nStrict-Transport-Security: max-age=9\r\nContent-Security-Policy: block-all-mixed-content\r\n\
            Vary: Origin\r\nX-Accel-Redirect: /view/404.html\r\nX-Accel-Expires: 0\r\nCache-Control: no-store\r\n\
            Last-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\nAccess-Control-Allow-Origin: https://a.example\r\n\
            Clear-Site-Data: *\r\nRefresh: 0; url=https://a.example/\r\nService-Worker-Allowed: /\r\nWWW-Authenticate: Basic\r\n\
            Content-Disposition: attachment\r\nContent-Type: text/html\r\nExpires: Fri, 01 Jan 2100 00:00:00 GMT\r\n\
            ETag: \"e\"\r\n"
            .to_vec();
        answer.extend_from_slice(format!("Content-Length: {}\r\n\r\n", PNG.len()).as_bytes());
        answer.extend_from_slice(PNG);
        proxy.disturb(move |head: &Head| {
            heads.lock().expect("a lock").push(head.clone());
            Disturbance::Answer(answer.clone())
        });
        for _ in 0..2 {
            let headers = [
                ("Cookie", "session=1"),
                ("Authorization", "Basic YTpi"),
                ("X-Amz-Acl", "public-read"),
                ("Accept-Encoding", "gzip"),
                ("Range", "bytes=0-"),
            ];
            let reply = ask(&site, &format!("/p/{path}?acl"), &headers);
            assert_eq!((reply.status, &*reply.body), (206, PNG), "{reply:?}");
            assert_eq!(reply.header("Content-Type"), Some("image/png"));
            assert_eq!(
                reply.header("Expires"),
                Some("Fri, 01 Jan 2100 00:00:00 GMT")
            );
            assert_eq!(reply.values("Access-Control-Allow-Origin"), ["*"]);
            for (name, _) in &reply.headers {
                assert!(
                    HEADERS.contains(&&*name.to_ascii_lowercase()),
                    "{name}: {reply:?}"
                );
            }
        }
        let heads = seen.lock().expect("a lock");
        assert_eq!(
            heads.len(),
            1,
            "the second reply is from the cache: {heads:?}"
        );
        let head = &heads[0];
        assert_eq!(head.target(), format!("/{}/{path}", bucket.name));
        for name in [
            "Cookie",
            "X-Amz-Acl",
            "Accept-Encoding",
            "Range",
            "Content-Length",
        ] {
            assert_eq!(head.header(name), None, "{head:?}");
        }
        let authorization = head.header("Authorization").unwrap_or_default();
        assert_eq!(
            authorization.starts_with("AWS4-HMAC-SHA256 "),
            *serve == "signed"
        );
    }
}
