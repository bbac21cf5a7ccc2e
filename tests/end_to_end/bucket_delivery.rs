//! Images of a bucket as nginx serves them: what a docroot would answer, from the cache and from the store.

mod store;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use support::builder::SiteBuilder;
use support::http::{self, Reply};
use support::http_proxy::{Disturbance, Head, HttpProxy};
use support::machine::until;
use support::pictures::{PNG, png_of};
use support::seaweedfs::{Access, Bucket};
use support::site::Site;

/// How long nginx serves an image without asking the store.
const FRESH: Duration = Duration::from_mins(1);

/// Everything that an image's reply may have; nothing of a store is among it.
const HEADERS: [&str; 15] = [
    "accept-ranges",
    "access-control-allow-origin",
    "cache-control",
    "connection",
    "content-length",
    "content-range",
    "content-security-policy",
    "content-type",
    "cross-origin-resource-policy",
    "date",
    "etag",
    "expires",
    "server",
    "x-content-type-options",
    "x-robots-tag",
];

fn site_of(bucket: &Bucket, serve: &str) -> SiteBuilder {
    let lines = format!("{}serve = \"{serve}\"\n", bucket.storage());
    Site::builder().set("storage", &lines)
}

/// A site whose nginx and responder reach the bucket through the proxy.
fn site_behind(proxy: &HttpProxy, bucket: &Bucket, serve: &str) -> SiteBuilder {
    let storage = bucket.storage_at(&proxy.endpoint(), "responder");
    Site::builder().set("storage", &format!("{storage}serve = \"{serve}\"\n"))
}

/// The buckets of both kinds; none where there is no store, and the test is skipped.
fn buckets() -> Option<[(&'static str, Bucket); 2]> {
    Some([
        ("public", Bucket::new(Access::Public)?),
        ("signed", Bucket::new(Access::Private)?),
    ])
}

fn ask(site: &Site, target: &str, headers: &[(&str, &str)]) -> Reply {
    http::request(site.port, "GET", target, headers, b"")
}

/// The headers that do not depend on the moment or the image.
fn fixed(reply: &Reply) -> BTreeSet<(String, String)> {
    let moment = ["date", "etag", "expires", "cache-control", "content-length"];
    let headers = reply.headers.iter();
    headers
        .map(|(name, value)| (name.to_ascii_lowercase(), value.clone()))
        .filter(|(name, _)| !moment.contains(&name.as_str()))
        .collect()
}

#[test]
fn a_bucket_is_served_as_a_docroot_is() {
    let Some(buckets) = buckets() else { return };
    let docroot = Site::builder().expect("access forbidden by rule").start();
    let image = png_of(50_000, 1);
    for (serve, bucket) in &buckets {
        let site = site_of(bucket, serve).start();
        for (plan, duration) in [("3m", "1M"), ("lifetime", "LTF")] {
            let both = [&docroot, &site].map(|site| (site, site.store(plan, duration, &image)));
            let ask_both = |method: &str, headers: &[(&str, &str)]| {
                both.each_ref().map(|(site, path)| {
                    http::request(site.port, method, &format!("/p/{path}"), headers, b"")
                })
            };
            // The second time, the image is in the cache.
            for _ in 0..2 {
                for (method, headers) in [
                    ("HEAD", &[][..]),
                    ("GET", &[]),
                    ("GET", &[("Range", "bytes=100-199")]),
                    ("GET", &[("Range", "bytes=-10")]),
                    ("GET", &[("Range", "bytes=50000-")]),
                    ("GET", &[("If-None-Match", "\"x\"")]),
                    (
                        "GET",
                        &[("If-Modified-Since", "Thu, 01 Jan 2026 00:00:00 GMT")],
                    ),
                    (
                        "GET",
                        &[("If-Modified-Since", "Fri, 01 Jan 2100 00:00:00 GMT")],
                    ),
                    (
                        "GET",
                        &[("If-Unmodified-Since", "Thu, 01 Jan 2026 00:00:00 GMT")],
                    ),
                    ("GET", &[("If-Match", "\"x\"")]),
                    ("POST", &[]),
                    ("DELETE", &[]),
                ] {
                    let [expected, found] = ask_both(method, headers);
                    let case =
                        format!("{serve} {duration} {method} {headers:?}: {found:?}, {expected:?}");
                    assert_eq!(found.status, expected.status, "{case}");
                    // nginx 1.22 puts the image's headers on this reply of its own, too.
                    if found.status != 416 {
                        assert_eq!(fixed(&found), fixed(&expected), "{case}");
                    }
                    assert!(found.body == expected.body, "{case}");
                    let length = [&found, &expected].map(|reply| reply.header("Content-Length"));
                    assert_eq!(length[0], length[1], "{case}");
                    assert_eq!(
                        found.header("Expires"),
                        expected.header("Expires"),
                        "{case}"
                    );
                    let is_lasting = duration == "LTF" && found.status < 300;
                    if is_lasting {
                        let control = found.header("Cache-Control");
                        assert_eq!(control, expected.header("Cache-Control"), "{case}");
                    }
                }
            }
            let (_, path) = &both[1];
            let reply = site.get(&format!("/p/{path}"));
            for (name, _) in &reply.headers {
                assert!(
                    HEADERS.contains(&&*name.to_ascii_lowercase()),
                    "{name}: {reply:?}"
                );
            }
            let tag = reply.header("ETag").expect("a tag");
            let same = ask(&site, &format!("/p/{path}"), &[("If-None-Match", tag)]);
            assert_eq!((same.status, same.body.len()), (304, 0), "{same:?}");
            assert_eq!(same.header("Expires"), reply.header("Expires"));
        }
    }
}

#[test]
fn nothing_of_a_bucket_but_images_is_served() {
    let Some(buckets) = buckets() else { return };
    for (serve, bucket) in &buckets {
        let site = site_of(bucket, serve).start();
        let path = site.store("3m", "7D", PNG);
        let quarantined = site.store("3m", "7D", &png_of(900, 2));
        site.run(&["image", "quarantine", &quarantined]);
        for target in [
            format!("/p/{quarantined}"),
            format!("/p/.quarantine/{quarantined}"),
            "/p/.quarantine/".to_owned(),
            "/p/.identity".to_owned(),
            "/p/.signed".to_owned(),
            "/p/.hotlink".to_owned(),
            "/p/".to_owned(),
            "/p/?list-type=2".to_owned(),
            // A URL of the site: no redirect to /p/.
            "/p".to_owned(),
            format!("/p/{path}/x.php"),
            format!("/p/{path}%0a"),
            format!("/p/x/../.quarantine/{quarantined}"),
            "/p/d/ap5/AbCdEfGhIj.png".to_owned(),
            format!("/view/?img=.quarantine/{quarantined}"),
            format!("/view/?img={quarantined}"),
        ] {
            let reply = site.get(&target);
            assert_eq!(reply.status, 404, "{serve} {target}: {reply:?}");
            assert!(!reply.text().contains("Error>"), "{target}: {reply:?}");
        }
        let page = ask(
            &site,
            "/p/d/ap5/AbCdEfGhIj.png",
            &[("Sec-Fetch-Dest", "document")],
        );
        assert_eq!(
            page.header("Content-Type"),
            Some("text/html; charset=utf-8")
        );
        assert_eq!(
            (
                page.status,
                page.text().contains("<h1>Image not found</h1>")
            ),
            (404, true)
        );
        // The query of a visitor is none of the store.
        for query in [
            "?acl",
            "?versionId=x",
            "?uploads",
            "?response-content-type=text/html",
        ] {
            let reply = site.get(&format!("/p/{path}{query}"));
            assert_eq!((reply.status, &*reply.body), (200, PNG), "{query}");
            assert_eq!(reply.header("Content-Type"), Some("image/png"));
        }
    }
}

#[test]
fn viewer_pages_are_those_of_images_in_the_bucket() {
    let Some(buckets) = buckets() else { return };
    for (serve, bucket) in &buckets {
        let mut site = site_of(bucket, serve)
            .expect("while connecting to upstream")
            .expect("access forbidden by rule")
            .start();
        let path = site.store("3m", "7D", PNG);
        let target = format!("/view/?img={path}");
        let page = site.get(&target);
        assert_eq!(page.status, 200, "{page:?}");
        for fact in [
            "<dt>Dimensions</dt><dd>160 × 160</dd>",
            "<meta property=\"og:image:width\" content=\"160\">",
            &format!("/p/{path}\""),
            "</html>",
        ] {
            assert!(
                page.text().contains(fact),
                "{fact} is not in {}",
                page.text()
            );
        }
        assert!(!page.text().contains("<!--#"));
        assert_eq!(
            page.header("Content-Type"),
            Some("text/html; charset=utf-8")
        );
        assert_eq!(page.header("Cache-Control"), Some("public, max-age=300"));
        for asked in 0..2 {
            let image = ask(&site, &target, &[("Sec-Fetch-Dest", "image")]);
            assert_eq!((image.status, &*image.body), (200, PNG), "{asked}");
            assert_eq!(image.header("Content-Type"), Some("image/png"));
            assert_eq!(image.header("Cache-Control"), Some("public, max-age=300"));
            assert_eq!(image.header("Vary"), Some("Accept, Sec-Fetch-Dest"));
            assert_eq!(image.header("Expires"), None);
        }
        let moved = site.get(&format!("/view/?img={}", path.replace('/', "%2F")));
        assert_eq!(moved.header("Location"), Some(&*target));
        for image in ["d/ap5/AAAAAAAA.png", "x", ""] {
            let missing = site.get(&format!("/view/?img={image}"));
            assert_eq!(missing.status, 404, "{image}");
            assert!(
                missing.text().contains("<h1>Image not found</h1>"),
                "{image}"
            );
        }
        for inner in [
            "/view/.page",
            "/view/page.html",
            "/view/.part.html?part=facts",
        ] {
            assert_eq!(site.get(inner).status, 404, "{inner}");
        }
        let written = http::request(site.port, "POST", &target, &[], b"");
        assert_eq!(written.status, 405);

        // Without the responder the page has what the path says.
        site.stop();
        let page = site.get(&target);
        assert_eq!(page.status, 200, "{page:?}");
        assert!(
            page.text().contains("<dd>Stored for 7 days</dd>"),
            "{}",
            page.text()
        );
    }
}

#[test]
fn other_sites_show_images_of_a_bucket_only_if_they_are_listed() {
    let Some(buckets) = buckets() else { return };
    for (serve, bucket) in &buckets {
        let site = site_of(bucket, serve)
            .set("site", r#"referers = ["blog.example"]"#)
            .start();
        let path = site.store("3m", "7D", PNG);
        for target in [format!("/p/{path}"), format!("/view/?img={path}")] {
            for (referer, status) in [
                ("https://blog.example/post", 200),
                ("https://thief.example/", 403),
                // From the cache, too.
                ("https://thief.example/", 403),
                ("https://blog.example/post", 200),
            ] {
                let headers = [("Referer", referer), ("Sec-Fetch-Dest", "image")];
                let reply = ask(&site, &target, &headers);
                assert_eq!(reply.status, status, "{serve} {target} {referer}");
            }
        }
    }
}

/// One wait of a minute for all that happens when the cache asks again.
#[test]
fn a_deleted_image_is_gone_within_61_seconds() {
    let Some(buckets) = buckets() else { return };
    let sites = buckets.each_ref().map(|(serve, bucket)| {
        let proxy = HttpProxy::start(&bucket.endpoint);
        let site = site_behind(&proxy, bucket, serve).start();
        (serve, proxy, site)
    });
    let fetched = sites.each_ref().map(|(serve, _, site)| {
        let [deleted, quarantined, kept] =
            [1, 2, 3].map(|number| site.store("3m", "7D", &png_of(4_000, number)));
        let replies = [&deleted, &quarantined, &kept].map(|path| site.get(&format!("/p/{path}")));
        assert!(replies.iter().all(|reply| reply.status == 200), "{serve}");
        site.run(&["image", "delete", &deleted]);
        site.run(&["image", "quarantine", &quarantined]);
        let [.., reply] = replies;
        (Instant::now(), [deleted, quarantined], kept, reply)
    });
    for ((serve, proxy, site), (began, gone, kept, before)) in sites.iter().zip(fetched) {
        for path in &gone {
            let target = format!("/p/{path}");
            loop {
                // Before the request, so that a slow machine is not taken for a slow deletion.
                let asked = began.elapsed();
                if site.get(&target).status == 404 {
                    break;
                }
                assert!(asked < FRESH + Duration::from_secs(1), "{serve} {path}");
                std::thread::park_timeout(Duration::from_millis(100));
            }
        }
        let conditions = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&conditions);
        proxy.disturb(move |head: &Head| {
            let condition = head.header("if-none-match").map(str::to_owned);
            seen.lock().expect("a lock").push(condition);
            Disturbance::None
        });
        until("the minute is over", || {
            let after = site.get(&format!("/p/{kept}"));
            assert_eq!((after.status, &after.body), (200, &before.body), "{serve}");
            assert_eq!(after.header("Expires"), before.header("Expires"));
            (!conditions.lock().expect("a lock").is_empty()).then_some(())
        });
        let tag = before.header("ETag").map(str::to_owned);
        assert_eq!(*conditions.lock().expect("a lock"), [tag], "{serve}");
    }
}
