//! What a download can reach: redirects, ports, and addresses in every notation.

use super::*;

/// A listener that nobody may connect to.
struct Canary(TcpListener);

impl Canary {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("nonblocking");
        Self(listener)
    }

    fn port(&self) -> u16 {
        self.0.local_addr().expect("its address").port()
    }

    /// A connection over loopback is in the queue before `connect` returns, so nothing has to be waited for.
    fn assert_untouched(&self, by: &str) {
        let accepted = self.0.accept();
        assert!(
            accepted.is_err_and(|error| error.kind() == ErrorKind::WouldBlock),
            "{by} reached the canary"
        );
    }
}

/// Answers `/N` with a redirect to `/N-1` and `/0` with an image.
fn countdown(status: u16) -> Server {
    Server::new(move |path, stream| {
        let left: u32 = path.trim_start_matches('/').parse().unwrap_or(0);
        match left.checked_sub(1) {
            None => stream.write_all(&with_length(b"image")),
            // The length is a lie that only somebody who reads this body would notice.
            Some(next) => write!(
                stream,
                "HTTP/1.1 {status} Moved\r\nLocation: {next}\r\nContent-Length: 1000\r\n\r\n"
            )
            .and_then(|()| silence(stream)),
        }
    })
}

#[test]
fn five_redirects_are_followed_and_not_six() {
    for status in [301, 302, 303, 307, 308] {
        let server = countdown(status);
        let fetcher = allowing(&[&server], "");
        let body = get(&fetcher, &server.url("/5"), PLENTY).expect("a body");
        assert_eq!(body, b"image");
        cause(get(&fetcher, &server.url("/6"), PLENTY));
        let followed = ["/5", "/4", "/3", "/2", "/1", "/0"];
        let refused = ["/6", "/5", "/4", "/3", "/2", "/1"];
        assert_eq!(server.paths(), [followed, refused].concat());
    }
}

#[test]
fn a_redirect_goes_to_another_server_that_is_allowed() {
    let image = Server::sending(with_length(b"image"));
    let location = image.url("/x");
    let first = Server::sending(format!(
        "HTTP/1.1 302 Found\r\nLocation: {location}\r\n\r\n"
    ));
    let fetcher = allowing(&[&first, &image], "");
    let body = get(&fetcher, &first.url("/"), PLENTY).expect("a body");
    assert_eq!(
        (body.as_slice(), image.paths()),
        (&b"image"[..], vec!["/x".to_owned()])
    );
}

#[test]
fn a_redirect_reaches_nothing_that_a_url_does_not() {
    let canary = Canary::new();
    let port = canary.port();
    for location in [
        format!("http://127.0.0.1:{port}/"),
        format!("//127.0.0.1:{port}/"),
        format!("http://localhost:{port}/"),
        format!("http://2130706433:{port}/"),
        format!("http://[::ffff:127.0.0.1]:{port}/"),
        format!("http://x@127.0.0.1:{port}/"),
        format!("https://127.0.0.1:{port}/"),
        format!("ftp://127.0.0.1:{port}/"),
        "http://169.254.169.254/latest/meta-data/".to_owned(),
    ] {
        let server = Server::sending(format!(
            "HTTP/1.1 302 Found\r\nLocation: {location}\r\n\r\n"
        ));
        // With the canary's port open and with it closed.
        for ports in [format!("ports = [{port}]"), String::new()] {
            let fetcher = allowing(&[&server], &ports);
            cause(get(&fetcher, &server.url("/"), PLENTY));
            canary.assert_untouched(&location);
        }
        assert_eq!(server.paths().len(), 2);
    }
}

#[test]
fn a_redirect_to_a_closed_port_is_not_even_resolved() {
    let server = Server::sending("HTTP/1.1 302 Found\r\nLocation: http://name.invalid:22/\r\n\r\n");
    let fetcher = allowing(&[&server], "");
    assert!(cause(get(&fetcher, &server.url("/"), PLENTY)).contains("port 22"));
}

#[test]
fn a_redirect_without_one_location_leads_nowhere() {
    for fields in ["", "Location: /a\r\nLocation: /b\r\n"] {
        let server = Server::sending(format!("HTTP/1.1 302 Found\r\n{fields}\r\n"));
        cause(get_from(&server, PLENTY));
        assert_eq!(server.paths(), ["/"]);
    }
}

#[test]
fn a_location_in_raw_utf_8_or_latin_1_is_followed() {
    let cases: [(&[u8], &str); 3] = [
        ("/größer 1.png".as_bytes(), "/gr%C3%B6%C3%9Fer%201.png"),
        (b"/gr\xf6\xdfer.png", "/gr%F6%DFer.png"),
        (b" image.png \t", "/image.png"),
    ];
    for (location, path) in cases {
        let moved = [
            b"HTTP/1.1 302 Found\r\nLocation: ",
            location,
            b"\r\nContent-Length: 0\r\n\r\n",
        ]
        .concat();
        let server = Server::new(move |path, stream| match path {
            "/" => stream.write_all(&moved),
            _ => stream.write_all(&with_length(b"image")),
        });
        assert_eq!(get_from(&server, PLENTY).expect("a body"), b"image");
        assert_eq!(server.paths(), ["/", path]);
    }
}

#[test]
fn the_longest_url_is_requested() {
    let server = Server::sending(with_length(b"image"));
    let url = server.url("/");
    let url = format!("{url}{:a<1$}", "", url::MAX_URL - url.len());
    let body = get(&allowing(&[&server], ""), &url, PLENTY).expect("a body");
    assert_eq!(body, b"image");
}

const LOOPBACK: [&str; 20] = [
    "127.0.0.1",
    "127.1",
    "2130706433",
    "0x7f000001",
    "0x7f.1",
    "0177.0.0.1",
    "017700000001",
    "0",
    "0.0.0.0",
    "localhost",
    "LocalHost.",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::ffff:0:0]",
    "%31%32%37%2e0%2e0%2e1",
    "127%E3%80%820.0%EF%BC%8E1",
    "127。0。0。1",
    "①②⑦.⓪.⓪.①",
    "ⓁⓄⒸⒶⓁⒽⓄⓈⓉ",
    "%6c%6F%63alhost",
];

#[test]
fn loopback_is_refused_in_every_notation() {
    let canary = Canary::new();
    let port = canary.port();
    let fetcher = fetcher(&format!("ports = [{port}]"));
    for host in LOOPBACK
        .iter()
        .chain(&["[::1]", "[::]", "[::127.0.0.1]", "127.0.0.2"])
    {
        for scheme in ["http", "https"] {
            let url = format!("{scheme}://{host}:{port}/");
            cause(get(&fetcher, &url, PLENTY));
            canary.assert_untouched(&url);
        }
    }
}

/// The same notations do reach loopback where it is allowed: the test above refuses what would have worked.
#[test]
fn an_exception_holds_in_every_notation() {
    let server = Server::sending(with_length(b"image"));
    let fetcher = allowing(&[&server], "");
    let port = server.address.port();
    for host in [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "[::ffff:7f00:1]",
        "%31%32%37%2e0%2e0%2e1",
        "①②⑦。⓪.⓪.①",
    ] {
        let body = get(&fetcher, &format!("http://{host}:{port}/"), PLENTY).expect(host);
        assert_eq!(body, b"image");
    }
}

#[test]
fn a_port_that_is_not_open_is_not_connected_to() {
    let canary = Canary::new();
    let url = format!("http://127.0.0.1:{}/", canary.port());
    assert!(cause(get(&fetcher(""), &url, PLENTY)).contains("port"));
    canary.assert_untouched(&url);
}
