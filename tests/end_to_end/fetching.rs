//! Uploads by `image_url`, from a server of the test's on the loopback: what is taken, what is refused, and that no refusal ever
//! reached this network.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::form::{Form, URLENCODED, urlencoded};
use crate::http::Reply;
use crate::images::{GIF, JPEG, PNG, WEBP, png, png_of};
use crate::site::{NOTHING, Site};

const FAILED: &str = r#"{"error":"Failed to download image"}"#;

/// A web server for images.
struct Origin {
    port: u16,
    requests: Arc<AtomicUsize>,
}

/// Answers one request; `canary` is the port that nothing may reach.
fn answer(stream: &mut TcpStream, canary: u16) -> std::io::Result<()> {
    let mut request = Vec::new();
    let mut buffer = [0; 2_048];
    while !request.windows(4).any(|window| window == b"\r\n\r\n") {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            read => request.extend_from_slice(&buffer[..read]),
        }
    }
    let request = String::from_utf8_lossy(&request).into_owned();
    let target = request.split(' ').nth(1).unwrap_or_default();
    let whole = |content_type: &str, body: &[u8]| {
        let mut head = String::new();
        let _ = write!(
            head,
            "HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        [head.as_bytes(), body].concat()
    };
    let redirect = |to: &str| {
        format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n").into_bytes()
    };
    let reply = match target {
        "/photo.jpg" => whole("image/jpeg", JPEG),
        "/spinner" => whole("text/plain", GIF),
        "/lake.webp?size=1" => whole("image/webp", WEBP),
        "/unlabelled" => [b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", PNG].concat(),
        "/moved" => redirect("/photo.jpg"),
        "/moved-to-canary" => redirect(&format!("http://127.0.0.1:{canary}/x.png")),
        "/moved-to-localhost" => redirect(&format!("http://localhost:{canary}/x.png")),
        "/moved-for-ever" => redirect("/moved-for-ever"),
        "/moved-to-a-file" => redirect("file:///etc/passwd"),
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
        "/wide" => whole("image/png", &png(20_000, 1)),
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

impl Origin {
    fn start(canary: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let requests = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&requests);
        // It ends with the test's process.
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                counted.fetch_add(1, Ordering::Relaxed);
                // The peer may be gone already, which is its affair.
                let _ = answer(&mut stream, canary);
            }
        });
        Self { port, requests }
    }

    fn url(&self, target: &str) -> String {
        format!("http://127.0.0.1:{}{target}", self.port)
    }
}

/// A port that must not be connected to.
struct Canary(TcpListener);

impl Canary {
    fn new() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a port");
        listener.set_nonblocking(true).expect("nonblocking");
        Self(listener)
    }

    fn port(&self) -> u16 {
        self.0.local_addr().expect("an address").port()
    }

    #[track_caller]
    fn saw_nobody(&self) {
        // Every connection would wait in the queue to be accepted.
        let error = self.0.accept().expect_err("somebody connected");
        assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
    }
}

/// A site whose address rules let the origin through, and would let the canary's port through.
fn site(origin: &Origin, canary: &Canary) -> Site {
    Site::plan()
        .set(
            "fetch",
            &format!(
                "allow = [\"127.0.0.1:{}\"]\nports = [80, 443, {}]\ntimeout = \"5s\"",
                origin.port,
                canary.port()
            ),
        )
        .start()
}

/// Uploads by URL, in the way that `requests.post(data=…)` sends it.
fn by_url(site: &Site, plan: &str, url: &str) -> Reply {
    let client = site.client(plan);
    let fields = [
        ("client_id", client.id.as_str()),
        ("client_token", &client.token),
        ("store_duration", "7D"),
        ("image_url", url),
    ];
    site.post_as(URLENCODED, &urlencoded(&fields))
}

#[test]
fn an_image_is_fetched_and_stored() {
    let canary = Canary::new();
    let origin = Origin::start(canary.port());
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
            let served = site.get(&format!("/p/{}", crate::site::path_of(&url)));
            assert_eq!(served.body, bytes, "{target}");
        }
    }
    let holdings = site.holdings();
    assert_eq!(
        (holdings.rows, holdings.counted, holdings.spooled),
        (15, 15, 0)
    );
    canary.saw_nobody();
}

#[test]
fn what_came_whole_is_judged_like_a_file() {
    let canary = Canary::new();
    let origin = Origin::start(canary.port());
    let site = site(&origin, &canary);
    let too_large = r#"{"error":"File too large","max_size":2097152}"#;
    let invalid = r#"{"error":"Invalid file type","allowed":["image/jpeg","image/png","image/gif","image/webp"]}"#;
    let too_wide = r#"{"error":"Image dimensions too large","max_side":16384,"max_megapixels":50}"#;
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
    let canary = Canary::new();
    let origin = Origin::start(canary.port());
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
        format!("http://user:secret@127.0.0.1:{}/photo.jpg", origin.port),
        format!("https://127.0.0.1:{}/photo.jpg", origin.port),
        own(&format!("/{}", "x".repeat(2_100))),
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
    canary.saw_nobody();
}

#[test]
fn no_spelling_of_the_loopback_reaches_it() {
    let canary = Canary::new();
    let origin = Origin::start(canary.port());
    let site = site(&origin, &canary);
    let hosts = [
        "127.0.0.1",
        "127.1",
        "127.0.0.2",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "017700000001",
        "0",
        "0.0.0.0",
        "localhost",
        "LOCALHOST.",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "169.254.169.254",
        "10.0.0.1",
        "192.168.0.1",
        "[fe80::1%25lo]",
        "①②⑦.⓪.⓪.①",
    ];
    for host in hosts {
        let url = format!("http://{host}:{}/x.png", canary.port());
        let reply = by_url(&site, "3m", &url);
        assert_eq!((reply.status, reply.text()), (400, FAILED), "{url}");
    }
    // The same through ports that the rules let through; what listens there is not to be found out.
    for url in [
        "http://127.0.0.1/x.png",
        "https://localhost/x.png",
        "http://127.0.0.1:22/",
    ] {
        assert_eq!(by_url(&site, "3m", url).text(), FAILED, "{url}");
    }
    assert_eq!(site.holdings(), NOTHING);
    canary.saw_nobody();
    assert_eq!(origin.requests.load(Ordering::Relaxed), 0);
}

#[test]
fn nothing_is_fetched_for_a_refused_client() {
    let canary = Canary::new();
    let origin = Origin::start(canary.port());
    let site = Site::plan()
        .set("fetch", &format!("allow = [\"127.0.0.1:{}\"]", origin.port))
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
    assert_eq!(origin.requests.load(Ordering::Relaxed), 0);
    let right = fields(&client.id, &client.token, "7D");
    assert_eq!(site.post_as(URLENCODED, &right).status, 200);
    assert_eq!(origin.requests.load(Ordering::Relaxed), 1);
}
