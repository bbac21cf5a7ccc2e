//! The viewer page: a page for images that exist, the image where a browser wants one, and nothing of the address that was asked.

use support::builder::Launch;
use support::http::{self, Reply};
use support::machine::path_of;
use support::pictures::PNG;
use support::site::Site;

/// An address has two replies. nginx adds a `Vary` of its own for compression.
const VARY: &str = "Accept, Sec-Fetch-Dest";

fn asked_as_image(site: &Site, target: &str, header: (&str, &str)) -> Reply {
    http::request(site.port, "GET", target, &[header], b"")
}

#[test]
fn an_image_has_a_page() {
    let site = Site::start();
    for (duration, kept) in [("7D", "7 days"), ("1M", "1 month")] {
        let url = site.upload("free", duration, PNG).url();
        let path = path_of(&url);
        let base = format!("http://127.0.0.1:{}", site.port);
        let target = url.strip_prefix(&base).expect("a URL of this site");
        let reply = site.get(target);
        assert_eq!(reply.status, 200);
        assert_eq!(
            reply.header("Content-Type"),
            Some("text/html; charset=utf-8")
        );
        assert!(reply.values("Vary").contains(&VARY), "{reply:?}");
        let policy = reply.header("Content-Security-Policy").expect("a policy");
        assert!(policy.starts_with("default-src 'none'"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(reply.header("Last-Modified"), None);
        let page = reply.text();
        for piece in [
            format!("<meta property=\"og:image\" content=\"{base}/p/{path}\">"),
            format!("<meta property=\"og:url\" content=\"{base}/view/?img={path}\">"),
            "<meta property=\"og:title\"".to_owned(),
            "<meta name=\"twitter:card\"".to_owned(),
            format!("<img id=\"image\" src=\"/p/{path}\""),
            format!("value=\"{base}/p/{path}\""),
            kept.to_owned(),
        ] {
            assert!(page.contains(&piece), "{piece} is not in {page}");
        }
        assert!(!page.contains("<!--#"), "an include was left: {page}");
        for fact in [
            "<meta property=\"og:image:width\" content=\"160\">",
            "<dt>Dimensions</dt><dd>160 × 160</dd>",
            "<dt>Format</dt><dd>PNG</dd>",
            "<dt>Size</dt><dd>8 KiB</dd>",
            &format!("<time datetime=\"{}\">", expires_at(&site, path)),
        ] {
            assert_eq!(page.matches(fact).count(), 1, "{fact} in {page}");
        }
        for asset in ["/view/view.css", "/view/view.js", "/view/icon.svg"] {
            assert!(page.contains(asset), "{asset}");
            assert_eq!(site.get(asset).status, 200, "{asset}");
        }
    }
}

/// The last day of an image, as the ledger has it.
fn expires_at(site: &Site, path: &str) -> String {
    site.ledger()
        .query_row(
            "SELECT date(expires_at - 1, 'unixepoch') FROM image WHERE path = ?1",
            [path],
            |row| row.get(0),
        )
        .expect("a row")
}

#[test]
fn a_lasting_image_says_so() {
    let site = Site::start();
    let path = site.store("lifetime", "LTF", PNG);
    let reply = site.get(&format!("/view/?img={path}"));
    let page = reply.text();
    assert!(page.contains("<dd>Never expires</dd>"), "{page}");
    assert!(!page.contains("<dt>Expires</dt>"), "{page}");
}

/// The page is nginx's own: without a responder, or a row, it says what the address says.
#[test]
fn an_image_has_a_page_when_nobody_knows_more_of_it() {
    for launch in [Launch::Plain, Launch::Absent] {
        let site = Site::builder()
            .launch(launch)
            .expect("while connecting to upstream")
            .start();
        let path = "d/ap5/AbCdEfGhIj.png";
        let file = site.file(path);
        std::fs::create_dir_all(file.parent().expect("a directory")).expect("a directory");
        std::fs::write(&file, PNG).expect("a file");
        let reply = site.get(&format!("/view/?img={path}"));
        assert_eq!(reply.status, 200);
        let page = reply.text();
        for piece in [
            &format!("<img id=\"image\" src=\"/p/{path}\""),
            "<dt>Format</dt><dd>PNG</dd>",
            "<dt>Availability</dt><dd>Stored for 7 days</dd>",
            "</html>",
        ] {
            assert!(page.contains(piece), "{piece} is not in {page}");
        }
        assert!(!page.contains("<!--#"), "an include was left: {page}");
        assert!(!page.contains("og:image:width"), "{page}");
    }
}

/// What nginx includes is not for others to ask for.
#[test]
fn the_parts_of_the_page_are_not_served_by_themselves() {
    let site = Site::start();
    let path = site.store("free", "7D", PNG);
    for target in [
        format!("/view/.part.html?part=facts&img={path}"),
        "/view/page.html".to_owned(),
    ] {
        assert_eq!(site.get(&target).status, 404, "{target}");
    }
}

#[test]
fn what_wants_an_image_gets_the_image() {
    let site = Site::start();
    let target = format!("/view/?img={}", site.store("free", "7D", PNG));
    for header in [
        ("Sec-Fetch-Dest", "image"),
        ("Accept", "image/avif,image/webp,*/*;q=0.8"),
    ] {
        let reply = asked_as_image(&site, &target, header);
        assert_eq!((reply.status, &reply.body[..]), (200, PNG), "{header:?}");
        assert_eq!(reply.header("Content-Type"), Some("image/png"));
        assert!(reply.values("Vary").contains(&VARY), "{reply:?}");
        assert_eq!(
            reply.header("Content-Security-Policy"),
            Some("default-src 'none'; sandbox")
        );
    }
    for header in [
        ("Sec-Fetch-Dest", "document"),
        ("Accept", "text/html,image/webp,*/*"),
    ] {
        let reply = asked_as_image(&site, &target, header);
        assert!(reply.text().contains("og:image"), "{header:?}");
    }
}

#[test]
fn the_address_without_a_slash_leads_to_the_page() {
    let site = Site::start();
    let path = site.store("free", "7D", PNG);
    let reply = site.get(&format!("/view?img={path}"));
    assert_eq!(reply.status, 301);
    assert_eq!(
        reply.header("Location"),
        Some(&*format!("/view/?img={path}"))
    );
}

/// Software that parses a query and writes it again encodes the slashes, and adds parameters of its own.
#[test]
fn a_viewer_url_with_an_encoded_path_leads_to_the_page() {
    let mut site = Site::builder()
        .expect("access forbidden by rule")
        .expect("while connecting to upstream")
        .start();
    let path = site.store("free", "7D", PNG);
    let encoded = path.replace('/', "%2F");
    let queries = [
        format!("img={encoded}"),
        format!("img={}", path.replace('/', "%2f")),
        format!("img={}", path.replacen('/', "%2F", 1)),
        format!("utm_source=mail&img={encoded}&utm_medium=a%2Fb&part=facts"),
    ];
    let moved = format!("/view/?img={path}");
    for query in &queries {
        let reply = site.get(&format!("/view/?{query}"));
        let location = reply.header("Location");
        assert_eq!((reply.status, location), (301, Some(&*moved)), "{query}");
        for name in [
            "Access-Control-Allow-Origin",
            "Cache-Control",
            "X-Content-Type-Options",
        ] {
            assert_eq!(reply.values(name).len(), 1, "{name}: {reply:?}");
        }
        let reply = http::request(site.port, "POST", &format!("/view/?{query}"), &[], b"");
        assert_eq!(reply.status, 405, "{query}");
    }
    let around = site.get(&format!("/view/?fbclid=x&img={path}&utm_source=mail"));
    assert!(around.text().contains("og:image:width"), "{around:?}");
    assert_eq!(site.get("/view/.link").status, 404);

    // Without the responder the image opens.
    site.stop();
    let reply = site.get(&format!("/view/?{}", queries[3]));
    assert_eq!(
        (reply.status, reply.header("Location")),
        (302, Some(&*format!("/p/{encoded}")))
    );
    assert_eq!(site.get(&format!("/p/{encoded}")).body, PNG);
}

/// Regression: nginx served deleted images from the site's cache of open files.
#[test]
fn a_deleted_image_is_gone_at_once_from_a_site_with_open_file_cache() {
    let cache = "open_file_cache max=1000 inactive=1h; open_file_cache_valid 1h; open_file_cache_min_uses 1;";
    let site = Site::builder().nginx(cache).start();
    let path = site.store("free", "7D", PNG);
    let targets = [format!("/p/{path}"), format!("/view/?img={path}")];
    for target in targets.iter().chain(&targets) {
        assert_eq!(site.get(target).status, 200, "{target}");
    }
    site.run(&["image", "delete", &path]);
    for target in &targets {
        assert_eq!(site.get(target).status, 404, "{target}");
    }
}

#[test]
fn what_is_no_image_has_no_page() {
    let site = Site::start();
    let path = site.store("free", "7D", PNG);
    std::fs::write(site.docroot().join(".spool/1-0-0"), PNG).expect("a file");
    let attacks = [
        String::new(),
        "?".to_owned(),
        "?img=".to_owned(),
        format!("?IMG2={path}"),
        "?img=d/ap5/AAAAAAAA.png".to_owned(),
        format!("?img=/{path}"),
        format!("?img=x/{path}"),
        format!("?img={path}%0a"),
        format!("?img={path}%00"),
        format!("?img={}%00", path.replace('/', "%2F")),
        format!("?img={}%2F", path.replace('/', "%2F")),
        format!("?img={}", path.replace('/', "%252F")),
        format!("?img=..%2F{}", path.replace('/', "%2F")),
        format!("?img={}", path.replace('/', "%5C")),
        format!("?img={path}/"),
        format!("?img={path}%22%3E%3Cscript%3Ealert(1)%3C/script%3E"),
        format!("?img={path}\"><script>alert(1)</script>"),
        format!("?img=p/{path}"),
        "?img=../.spool/1-0-0".to_owned(),
        "?img=..%2f.spool%2f1-0-0".to_owned(),
        "?img=d/../../.spool/1-0-0".to_owned(),
        "?img=../../../../etc/passwd".to_owned(),
        "?img=http://example.org/x.png".to_owned(),
        "?img=<!--#include%20virtual=\"/etc/passwd\"-->".to_owned(),
        "?img=javascript:alert(1)".to_owned(),
    ];
    for query in attacks {
        for header in [("Accept", "text/html"), ("Sec-Fetch-Dest", "image")] {
            let target = format!("/view/{query}");
            let reply = asked_as_image(&site, &target, header);
            assert_eq!(reply.status, 404, "{target} {header:?}: {reply:?}");
            let page = reply.text();
            assert!(!page.contains("alert(1)"), "{target}: {page}");
            assert!(
                !page.contains("og:image\" content=\"http://127"),
                "{target}"
            );
            assert_eq!(
                reply.header("X-Content-Type-Options"),
                Some("nosniff"),
                "{target}"
            );
            assert!(reply.values("Vary").contains(&VARY), "{reply:?}");
        }
    }
}

#[test]
fn pages_can_only_be_read() {
    let site = Site::builder().expect("access forbidden by rule").start();
    let path = site.store("free", "7D", PNG);
    for target in [format!("/view/?img={path}"), "/view/view.css".to_owned()] {
        for method in ["POST", "PUT", "DELETE"] {
            let reply = http::request(site.port, method, &target, &[], b"");
            assert_eq!(reply.status, 405, "{method} {target}");
        }
    }
}
