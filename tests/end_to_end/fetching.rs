//! Uploads by `image_url`, from a server of the test's on the loopback: what is taken, and how what is not is refused.

use std::io::Write;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use support::form::{Form, URLENCODED, urlencoded};
use support::origin::{Canary, FAILED, Origin, by_url, redirect, whole};
use support::pictures::{GIF, JPEG, PNG, WEBP, png, png_of};
use support::site::{NOTHING, Site};

/// Answers one request; `canary` is the port that nothing may reach.
fn answer(target: &str, stream: &mut TcpStream, canary: u16) -> std::io::Result<()> {
    let reply = match target {
        "/photo.jpg" => whole("image/jpeg", JPEG),
        "/spinner" => whole("text/plain", GIF),
        "/lake.webp?size=1" => whole("image/webp", WEBP),
        "/unlabelled" => [b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", PNG].concat(),
        "/moved" => redirect(302, "/photo.jpg"),
        "/moved-to-canary" => redirect(302, &format!("http://127.0.0.1:{canary}/x.png")),
        "/moved-to-localhost" => redirect(302, &format!("http://localhost:{canary}/x.png")),
        "/moved-for-ever" => redirect(302, "/moved-for-ever"),
        "/moved-to-a-file" => redirect(302, "file:///etc/passwd"),
        "/page" => whole("image/png", b"<html>not an image</html>"),
        "/cut" => {
            let mut reply = whole("image/png", PNG);
            reply.truncate(reply.len() - 1_000);
            reply
        }
        "/large" => whole("image/png", &png_of((2 << 20) + 1, 1)),
        "/largest" => whole("image/png", &png_of(2 << 20, 1)),
        "/large-unlabelled" => {
            let head = &b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"[..];
            [head, &png_of(3 << 20, 1)].concat()
        }
        "/huge" => {
            // Only announced: nobody may wait for the body.
            b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n".to_vec()
        }
        "/wide" => whole("image/png", &png(40_000, 1)),
        "/compressed" => {
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nxxxx".to_vec()
        }
        "/error" => b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n".to_vec(),
        "/garbage" => b"\x16\x03\x01 this is not HTTP\r\n\r\n".to_vec(),
        "/silent" => Vec::new(),
        _ => b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec(),
    };
    stream.write_all(&reply)
}

fn origin(canary: &Canary) -> Origin {
    let canary = canary.port();
    Origin::start(Ipv4Addr::LOCALHOST, move |target, stream| {
        answer(target, stream, canary)
    })
}

/// A site whose address rules let the origin through, and would let the canary's port through.
fn site(origin: &Origin, canary: &Canary) -> Site {
    Site::builder()
        .set(
            "fetch",
            &format!(
                "allow = [\"{}\"]\nports = [80, 443, {}]\ntimeout = \"30s\"",
                origin.address,
                canary.port()
            ),
        )
        .start()
}

#[test]
fn an_image_is_fetched_and_stored() {
    let canary = Canary::on_all_addresses();
    let origin = origin(&canary);
    let site = site(&origin, &canary);
    let cases = [
        ("/photo.jpg", JPEG, "jpg"),
        ("/spinner", GIF, "gif"),
        ("/lake.webp?size=1", WEBP, "webp"),
        ("/unlabelled", PNG, "png"),
        ("/moved", JPEG, "jpg"),
    ];
    for (target, bytes, extension) in cases {
        let url = origin.url(target);
        let urlencoded = by_url(&site, "3m", &url);
        let multipart = site.post(&Form::of(site.client("3m"), "7D").text("image_url", &url));
        // What a browser's form sends beside it.
        let form = Form::of(site.client("3m"), "7D")
            .file("image", "", b"")
            .text("image_url", &url);
        for reply in [urlencoded, multipart, site.post(&form)] {
            let url = reply.url();
            assert!(url.ends_with(&format!(".{extension}")), "{url} of {target}");
            let served = site.get(&format!("/p/{}", support::machine::path_of(&url)));
            assert_eq!(served.body, bytes, "{target}");
        }
    }
    let holdings = site.holdings();
    assert_eq!(
        (holdings.rows, holdings.counted, holdings.spooled),
        (15, 15, 0)
    );
    canary.saw_nobody("all of them");
}

#[test]
fn urls_are_taken_as_people_and_programs_give_them() {
    let canary = Canary::on_all_addresses();
    let origin = Origin::start(Ipv4Addr::LOCALHOST, |target, stream| {
        stream.write_all(&match target {
            "/gr%C3%B6%C3%9Fer%201.jpg?q=%C3%A4%20b" | "/gr%F6%DFer.jpg" => {
                whole("image/jpeg", JPEG)
            }
            "/raw" => redirect(302, "/größer 1.jpg?q=ä b"),
            "/hop-5" => redirect(302, "/raw"),
            "/hop-4" => redirect(303, "hop-5"),
            "/hop-3" => redirect(307, "hop-4"),
            "/hop-2" => redirect(308, "hop-3"),
            "/signed" => whole("image/jpeg", JPEG),
            target if target.starts_with("/signed?signature=xxx") => whole("image/jpeg", JPEG),
            _ => b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec(),
        })
    });
    let site = site(&origin, &canary);
    let port = origin.address.port();
    for url in [
        origin.url("/größer 1.jpg?q=ä b"),
        origin.url("/gr%C3%B6ßer%201.jpg?q=%C3%A4 b#top"),
        format!(" \r\n\t{}\n", origin.url("/raw")),
        format!("\u{a0}{}\u{3000}", origin.url("/raw")),
        format!("http://127。0.0%2e1:{port}/raw"),
        origin.url("/hop-3"),
        origin.url(&format!("/signed?signature={}", "x".repeat(8_100))),
    ] {
        let multipart = site.post(&Form::of(site.client("3m"), "7D").text("image_url", &url));
        for reply in [by_url(&site, "3m", &url), multipart] {
            assert_eq!(reply.status, 200, "{url}: {}", reply.text());
        }
    }
    // Five redirects.
    assert_eq!(by_url(&site, "3m", &origin.url("/hop-2")).status, 200);
    let mut latin_1 = urlencoded(&[
        ("client_id", &site.client("3m").id),
        ("client_token", &site.client("3m").token),
        ("store_duration", "7D"),
        ("image_url", &origin.url("/gr")),
    ]);
    latin_1.extend_from_slice(b"%F6\xdfer.jpg");
    assert_eq!(site.post_as(URLENCODED, &latin_1).status, 200);
    canary.saw_nobody("all of them");
}

#[test]
fn what_came_whole_is_judged_like_a_file() {
    let canary = Canary::on_all_addresses();
    let origin = origin(&canary);
    let site = site(&origin, &canary);
    let too_large = r#"{"error":"File too large","max_size":2097152}"#;
    let invalid = r#"{"error":"Invalid file type","allowed":["image/jpeg","image/png","image/gif","image/webp"]}"#;
    let too_wide = r#"{"error":"Image dimensions too large","max_side":32768,"max_megapixels":64}"#;
    for (target, expected) in [
        ("/large", too_large),
        ("/large-unlabelled", too_large),
        ("/huge", too_large),
        ("/page", invalid),
        ("/wide", too_wide),
    ] {
        let reply = by_url(&site, "free", &origin.url(target));
        assert_eq!((reply.status, reply.text()), (400, expected), "{target}");
        assert_eq!(site.holdings(), NOTHING, "{target}");
    }
    let reply = by_url(&site, "free", &origin.url("/largest"));
    assert_eq!(reply.status, 200, "exactly the limit: {}", reply.text());
    assert_eq!(by_url(&site, "3m", &origin.url("/large")).status, 200);
}

#[test]
fn whatever_goes_wrong_is_told_in_one_text() {
    let canary = Canary::on_all_addresses();
    let origin = origin(&canary);
    let site = site(&origin, &canary);
    let own = |target: &str| origin.url(target);
    let closed = {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        listener.local_addr().expect("an address").port()
    };
    let urls = [
        own("/missing"),
        own("/error"),
        own("/garbage"),
        own("/silent"),
        own("/cut"),
        own("/compressed"),
        own("/moved-for-ever"),
        own("/moved-to-a-file"),
        own("/moved-to-canary"),
        own("/moved-to-localhost"),
        format!("http://127.0.0.1:{closed}/x.png"),
        format!("http://user:secret@{}/photo.jpg", origin.address),
        format!("https://{}/photo.jpg", origin.address),
        own(&format!("/{}", "x".repeat(8_200))),
        "http://nowhere.invalid/x.png".to_owned(),
        "http:///x.png".to_owned(),
        "http://".to_owned(),
        "photo.jpg".to_owned(),
        "file:///etc/passwd".to_owned(),
        "ftp://127.0.0.1/x.png".to_owned(),
        "gopher://127.0.0.1/x".to_owned(),
        "socks5://127.0.0.1/x".to_owned(),
        "http://127.0.0.1:99999/x.png".to_owned(),
        "http://exa mple.org/x.png".to_owned(),
        "http://example.org\\@127.0.0.1/x.png".to_owned(),
        "http://127.0.0.1\r\nX: y/".to_owned(),
    ];
    for url in &urls {
        let reply = by_url(&site, "3m", url);
        assert_eq!((reply.status, reply.text()), (400, FAILED), "{url}");
        assert_eq!(site.holdings(), NOTHING, "{url}");
    }
    canary.saw_nobody("all of them");
}

#[test]
fn nothing_is_fetched_for_a_refused_client() {
    let canary = Canary::on_all_addresses();
    let origin = origin(&canary);
    let site = Site::builder()
        .set("fetch", &format!("allow = [\"{}\"]", origin.address))
        .set("plans.free", "daily_uploads = 0")
        .set("plans.3m", "")
        .start();
    let url = origin.url("/photo.jpg");
    let client = site.client("3m");
    let fields = |id: &str, token: &str, duration: &str| {
        urlencoded(&[
            ("image_url", &url),
            ("client_id", id),
            ("client_token", token),
            ("store_duration", duration),
        ])
    };
    let free = site.client("free");
    for (body, status) in [
        (fields("nobody", &client.token, "7D"), 403),
        (fields(&client.id, "wrong", "7D"), 403),
        (fields(&client.id, &client.token, "LTF"), 400),
        (fields(&free.id, &free.token, "7D"), 429),
        (fields(&client.id, &client.token, ""), 400),
    ] {
        assert_eq!(site.post_as(URLENCODED, &body).status, status);
    }
    assert_eq!(origin.connections(), 0);
    let right = fields(&client.id, &client.token, "7D");
    assert_eq!(site.post_as(URLENCODED, &right).status, 200);
    assert_eq!(origin.connections(), 1);
}
