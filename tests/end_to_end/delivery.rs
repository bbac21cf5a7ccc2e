//! Images as nginx serves them, and everything below the docroot that it must not serve.

use std::fs;
use std::os::unix::fs::symlink;
use support::builder::SiteBuilder;
use support::http;
use support::pictures::{PNG, png_of};
use support::site::{NOTHING, Site};

#[test]
fn an_image_is_served_with_what_neutralises_it() {
    let site = Site::start();
    for (plan, duration) in [("3m", "7D"), ("lifetime", "LTF")] {
        let path = site.store(plan, duration, PNG);
        let reply = site.get(&format!("/p/{path}"));
        let expected = [
            ("Content-Type", "image/png"),
            ("X-Content-Type-Options", "nosniff"),
            ("Content-Security-Policy", "default-src 'none'; sandbox"),
            ("Cross-Origin-Resource-Policy", "cross-origin"),
            ("Access-Control-Allow-Origin", "*"),
        ];
        for (name, value) in expected {
            assert_eq!(reply.header(name), Some(value), "{duration}: {reply:?}");
        }
        assert_eq!(reply.header("Set-Cookie"), None);
        assert_eq!(reply.header("Content-Encoding"), None);
    }
}

#[test]
fn parts_and_conditions_are_understood() {
    let site = Site::start();
    let image = png_of(50_000, 1);
    for (plan, duration) in [("3m", "3M"), ("lifetime", "LTF")] {
        let target = format!("/p/{}", site.store(plan, duration, &image));
        let head = http::request(site.port, "HEAD", &target, &[], b"");
        assert_eq!((head.status, head.body.len()), (200, 0));
        assert_eq!(head.header("Content-Length"), Some("50000"));

        let part = http::request(
            site.port,
            "GET",
            &target,
            &[("Range", "bytes=100-199")],
            b"",
        );
        assert_eq!(part.status, 206);
        assert_eq!(part.header("Content-Range"), Some("bytes 100-199/50000"));
        assert_eq!(part.body, image[100..200]);
        let beyond = http::request(site.port, "GET", &target, &[("Range", "bytes=50000-")], b"");
        assert_eq!(beyond.status, 416);

        let tag = head.header("ETag").expect("a tag").to_owned();
        let same = http::request(site.port, "GET", &target, &[("If-None-Match", &tag)], b"");
        assert_eq!((same.status, same.body.len()), (304, 0));
        let other = http::request(
            site.port,
            "GET",
            &target,
            &[("If-None-Match", "\"x\"")],
            b"",
        );
        assert_eq!((other.status, other.body), (200, image.clone()));
    }
}

#[test]
fn nothing_but_images_is_served() {
    let site = Site::builder()
        .expect("Too many levels of symbolic links")
        .start();
    let path = site.store("3m", "7D", PNG);
    let (directory, name) = path.rsplit_once('/').expect("a name");
    let day = site.file(&path).parent().expect("a directory").to_owned();
    for file in [
        "Script01.php",
        "Page0001.html",
        "Drawing1.svg",
        "Image001.PNG",
        ".htaccess",
        "Image.png",
    ] {
        fs::write(day.join(file), b"<script>alert(1)</script>").expect("a file");
    }
    symlink("/etc/passwd", day.join("Linked01.png")).expect("a link");
    symlink("/etc", day.join("Linked02.png")).expect("a link");
    fs::write(site.docroot().join(".spool/1-0-0"), PNG).expect("a file");
    fs::write(site.docroot().join("Secret01.png"), PNG).expect("a file");
    fs::create_dir_all(site.docroot().join("p/x/ap5")).expect("a directory");
    fs::write(site.docroot().join("p/x/ap5/Image001.png"), PNG).expect("a file");

    let stem = name.strip_suffix(".png").expect("a PNG");
    let targets = [
        format!("/p/{path}/y.php"),
        format!("/p/{path}/"),
        format!("/p/{path}%00.php"),
        format!("/p/{path}%0a"),
        format!("/p/{path}.php"),
        format!("/p/{directory}/{stem}.jpg"),
        format!("/p/{directory}/"),
        format!("/p/{directory}"),
        "/p/".to_owned(),
        "/p".to_owned(),
        "/p/d/".to_owned(),
        format!("/p/{directory}/Script01.php"),
        format!("/p/{directory}/Page0001.html"),
        format!("/p/{directory}/Drawing1.svg"),
        format!("/p/{directory}/Image001.PNG"),
        format!("/p/{directory}/.htaccess"),
        format!("/p/{directory}/Image.png"),
        format!("/p/{directory}/Linked01.png"),
        format!("/p/{directory}/Linked02.png/passwd"),
        format!("/p/{directory}/AAAAAAAA.png"),
        "/p/x/ap5/Image001.png".to_owned(),
        "/p/../Secret01.png".to_owned(),
        "/p/..%2fSecret01.png".to_owned(),
        "/Secret01.png".to_owned(),
        "/.spool/1-0-0".to_owned(),
        "/.spool/".to_owned(),
        "/p/../.spool/1-0-0".to_owned(),
        "/p/%2e%2e/.spool/1-0-0".to_owned(),
        "/p//../.spool/1-0-0".to_owned(),
        "/view/../.spool/1-0-0".to_owned(),
        "/image/docs/../../.spool/1-0-0".to_owned(),
        "/view/page.html".to_owned(),
    ];
    for target in targets {
        let reply = site.get(&target);
        assert!(
            [400, 403, 404].contains(&reply.status),
            "{target}: {reply:?}"
        );
        assert!(!reply.text().contains("root:"), "{target}");
        assert!(!reply.text().contains("Index of"), "{target}");
    }
    let missing = site.get(&format!("/p/{directory}/AAAAAAAA.png"));
    assert_eq!(missing.header("Content-Type"), Some("text/plain"));
    assert_eq!(missing.header("X-Content-Type-Options"), Some("nosniff"));
    assert_eq!(missing.header("Cache-Control"), Some("public, max-age=60"));
}

/// Plain text is too small to read on a phone.
#[test]
fn a_person_who_opens_the_link_of_a_missing_image_gets_a_page() {
    let site = Site::start();
    for target in ["/p/d/ap5/AAAAAAAA.png", "/p/l/ap5/AAAAAAAA.png", "/p/x"] {
        for header in [
            ("Sec-Fetch-Dest", "document"),
            (
                "Accept",
                "text/html,application/xhtml+xml,image/webp,*/*;q=0.8",
            ),
        ] {
            let reply = http::request(site.port, "GET", target, &[header], b"");
            let content_type = reply.header("Content-Type");
            assert_eq!(
                (reply.status, content_type),
                (404, Some("text/html; charset=utf-8")),
                "{target} {header:?}"
            );
            assert!(reply.text().contains("<h1>Image not found</h1>"));
            assert_eq!(reply.values("Access-Control-Allow-Origin"), ["*"]);
        }
        for header in [("Sec-Fetch-Dest", "image"), ("Accept", "*/*")] {
            let reply = http::request(site.port, "GET", target, &[header], b"");
            assert_eq!(reply.header("Content-Type"), Some("text/plain"));
            assert!(reply.text().starts_with("There is no such image: "));
            assert!(
                reply.values("Vary").contains(&"Accept, Sec-Fetch-Dest"),
                "{reply:?}"
            );
        }
    }
}

#[test]
fn images_can_only_be_read() {
    let site = Site::builder().expect("access forbidden by rule").start();
    for (plan, duration) in [("3m", "7D"), ("lifetime", "LTF")] {
        let path = site.store(plan, duration, PNG);
        for method in ["POST", "PUT", "DELETE", "PATCH", "MOVE", "PROPFIND"] {
            let reply = http::request(site.port, method, &format!("/p/{path}"), &[], b"");
            assert_eq!(reply.status, 405, "{method}: {reply:?}");
            assert_eq!(reply.header("Allow"), Some("GET, HEAD"), "{method}");
        }
        assert_eq!(fs::read(site.file(&path)).expect("the image"), PNG);
    }
    let reply = http::request(site.port, "PUT", "/p/d/ap5/Image001.png", &[], PNG);
    assert_eq!(reply.status, 405);
    assert_ne!(site.holdings(), NOTHING);
    assert_eq!(site.holdings().files.len(), 2);
}

/// Adds keys to `[site]`.
fn with(keys: &str) -> SiteBuilder {
    Site::builder().set("site", keys)
}

#[test]
fn search_engines_are_told_to_list_no_images() {
    for (site, expected) in [
        (Site::start(), Some("noindex")),
        (with("index = true").start(), None),
    ] {
        let path = site.store("lifetime", "LTF", PNG);
        for target in [format!("/p/{path}"), format!("/view/?img={path}")] {
            let reply = site.get(&target);
            assert_eq!(reply.status, 200, "{target}");
            assert_eq!(reply.header("X-Robots-Tag"), expected, "{target}");
        }
        let page = site.get(&format!("/view/?img={path}"));
        assert_eq!(page.text().contains("noindex"), expected.is_some());
    }
}

#[test]
fn other_sites_show_images_only_if_they_are_listed() {
    let site = with(r#"referers = ["blog.example", "*.shop.example"]"#).start();
    let own = format!("http://127.0.0.1:{}/view/", site.port);
    for (plan, duration) in [("3m", "7D"), ("lifetime", "LTF")] {
        let path = site.store(plan, duration, PNG);
        let image = format!("/p/{path}");
        let page = format!("/view/?img={path}");
        let get = |target: &str, referer: &str, destination: &str| {
            let headers = [("Referer", referer), ("Sec-Fetch-Dest", destination)];
            http::request(site.port, "GET", target, &headers, b"")
        };
        for referer in [
            "",
            "https://blog.example/post",
            "http://blog.example:8080/",
            "https://www.shop.example/a",
            &own,
        ] {
            for target in [&image, &page] {
                let reply = get(target, referer, "image");
                assert_eq!(
                    (reply.status, &*reply.body),
                    (200, PNG),
                    "{referer} {target}"
                );
            }
        }
        for referer in [
            "https://thief.example/",
            "https://notblog.example/",
            "https://shop.example.org/",
        ] {
            for target in [&image, &page] {
                let reply = get(target, referer, "image");
                assert_eq!(reply.status, 403, "{referer} {target}");
                assert!(reply.text().contains("not shown on other sites"));
                assert_eq!(reply.header("Cache-Control"), Some("no-store"));
            }
            // A link to the viewer page works everywhere.
            let reply = get(&page, referer, "document");
            assert!(
                reply.status == 200 && reply.text().contains("Share"),
                "{referer}"
            );
        }
        assert_eq!(site.get(&image).status, 200, "without a referer");
    }
}
