//! What a download accepts: [`Fetcher`] against real servers on loopback. Each test allows exactly the sockets that it means to reach.

mod limits;
mod reach;

use super::*;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::config::Config;

const PLENTY: u64 = 1 << 20;

/// A server on a free port that answers each connection in a thread of its own and remembers what it was asked.
struct Server {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// `reply` gets the path of the request and the connection, which closes when it returns.
    fn new(reply: impl Fn(&str, &mut TcpStream) -> io::Result<()> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("its address");
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        let reply = Arc::new(reply);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (reply, seen) = (Arc::clone(&reply), Arc::clone(&seen));
                thread::spawn(move || -> io::Result<()> {
                    let mut stream = stream?;
                    let request = read_head(&stream)?;
                    let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
                    seen.lock().expect("no panic").push(request);
                    reply(&path, &mut stream)
                });
            }
        });
        Self { address, requests }
    }

    /// A server that sends the same bytes to everybody and closes.
    fn sending(reply: impl Into<Vec<u8>>) -> Self {
        let reply = reply.into();
        Self::new(move |_, stream| stream.write_all(&reply))
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn paths(&self) -> Vec<String> {
        let requests = self.requests.lock().expect("no panic");
        requests
            .iter()
            .map(|request| request.split(' ').nth(1).unwrap_or_default().to_owned())
            .collect()
    }
}

fn read_head(stream: &TcpStream) -> io::Result<String> {
    let mut head = String::new();
    let mut lines = BufReader::new(stream);
    while lines.read_line(&mut head)? > 2 {}
    Ok(head)
}

fn fetcher(settings: &str) -> Fetcher {
    fetcher_of(settings, 256)
}

/// Of a responder with so many connections.
fn fetcher_of(settings: &str, connections: usize) -> Fetcher {
    let text = format!("[site]\npublic_url = \"http://x\"\n[fetch]\n{settings}");
    let config = Config::from_toml(&text).expect("settings");
    Fetcher::new(&config.fetch, connections).expect("the interfaces")
}

fn allowing(servers: &[&Server], settings: &str) -> Fetcher {
    let allow: Vec<String> = servers
        .iter()
        .map(|server| server.address.to_string())
        .collect();
    fetcher(&format!("allow = {allow:?}\n{settings}"))
}

/// The body, or the error together with the bytes that were read before it. Every call is another client's.
fn get(fetcher: &Fetcher, url: &str, max_size: u64) -> Result<Vec<u8>, (FetchError, Vec<u8>)> {
    static CLIENTS: AtomicI64 = AtomicI64::new(0);
    let client = CLIENTS.fetch_add(1, Ordering::Relaxed);
    get_as(client, fetcher, url, max_size)
}

fn get_as(
    client: i64,
    fetcher: &Fetcher,
    url: &str,
    max_size: u64,
) -> Result<Vec<u8>, (FetchError, Vec<u8>)> {
    let mut read = Vec::new();
    let mut download = fetcher
        .open(client, url.as_bytes(), max_size)
        .map_err(|error| (error, Vec::new()))?;
    match download.read_to_end(&mut read) {
        Ok(_) => Ok(read),
        Err(error) => Err((FetchError::from_read(error), read)),
    }
}

fn get_from(server: &Server, max_size: u64) -> Result<Vec<u8>, (FetchError, Vec<u8>)> {
    get(&allowing(&[server], ""), &server.url("/"), max_size)
}

fn cause(result: Result<Vec<u8>, (FetchError, Vec<u8>)>) -> String {
    match result {
        Err((FetchError::Failed(cause), _)) => cause,
        other => panic!("expected a failure, got {other:?}"),
    }
}

fn assert_too_large(result: &Result<Vec<u8>, (FetchError, Vec<u8>)>, max_size: usize) {
    match result {
        Err((FetchError::TooLarge, read)) => assert!(read.len() <= max_size),
        other => panic!("expected TooLarge, got {other:?}"),
    }
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length)
        .map(|index| u8::try_from(index % 251).expect("below 251"))
        .collect()
}

fn with_length(body: &[u8]) -> Vec<u8> {
    let mut reply =
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
    reply.extend(body);
    reply
}

fn chunked(body: &[u8]) -> Vec<u8> {
    let mut reply = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for chunk in body.chunks(997) {
        reply.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
        reply.extend(chunk);
        reply.extend(b"\r\n");
    }
    reply.extend(b"0\r\n\r\n");
    reply
}

fn close_delimited(body: &[u8]) -> Vec<u8> {
    [b"HTTP/1.0 200 OK\r\n\r\n", body].concat()
}

/// Writes until the client has gone.
fn for_ever(stream: &mut TcpStream, bytes: &[u8], pause: Duration) -> io::Result<()> {
    loop {
        stream.write_all(bytes)?;
        thread::sleep(pause);
    }
}

/// Sends nothing until the client has gone.
fn silence(stream: &mut TcpStream) -> io::Result<()> {
    while stream.read(&mut [0; 512])? > 0 {}
    Ok(())
}

#[test]
fn every_framing_of_http_1_arrives_whole() {
    for length in [0, 1, 8_085, 100_000] {
        let body = pattern(length);
        for reply in [with_length(&body), chunked(&body), close_delimited(&body)] {
            let server = Server::sending(reply);
            assert_eq!(get_from(&server, PLENTY).expect("a body"), body);
            assert_eq!(get_from(&server, length as u64).expect("a body"), body);
        }
    }
}

#[test]
fn one_byte_more_than_allowed_is_too_large() {
    let body = pattern(50_001);
    for reply in [with_length(&body), chunked(&body), close_delimited(&body)] {
        let server = Server::sending(reply);
        assert_too_large(&get_from(&server, 50_000), 50_000);
        assert_too_large(&get_from(&server, 0), 0);
    }
}

#[test]
fn an_announced_length_is_judged_before_the_body() {
    // A reader of this body would wait for ever.
    let server = Server::new(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 50001\r\n\r\n")?;
        silence(stream)
    });
    assert_too_large(&get_from(&server, 50_000), 0);
}

#[test]
fn a_body_without_end_is_cut_at_the_limit() {
    let server = Server::new(|path, stream| {
        if path == "/chunked" {
            stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
            for_ever(stream, b"10\r\n0123456789abcdef\r\n", Duration::ZERO)
        } else {
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
            for_ever(stream, &[7; 4096], Duration::ZERO)
        }
    });
    let fetcher = allowing(&[&server], "");
    assert_too_large(&get(&fetcher, &server.url("/chunked"), 30_000), 30_000);
    assert_too_large(&get(&fetcher, &server.url("/plain"), 30_000), 30_000);
}

#[test]
fn a_body_shorter_than_announced_is_a_failure() {
    let body = pattern(5_000);
    for mut reply in [with_length(&body), chunked(&body)] {
        reply.truncate(reply.len() - 6);
        cause(get_from(&Server::sending(reply), PLENTY));
    }
}

#[test]
fn what_is_no_http_reply_is_a_failure() {
    for reply in [
        "",
        "HTTP/1.1 200 OK\r\nContent-Le",
        "SSH-2.0-OpenSSH_10.0\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nx",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nxx",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nx",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nx",
        "HTTP/1.1 000 No\r\n\r\n",
    ] {
        cause(get_from(&Server::sending(reply), PLENTY));
    }
}

#[test]
fn statuses_200_and_203_are_an_image() {
    for status in [
        201, 202, 204, 205, 206, 300, 304, 305, 400, 403, 404, 416, 500, 503,
    ] {
        let server = Server::sending(format!("HTTP/1.1 {status} X\r\nContent-Length: 1\r\n\r\nx"));
        let cause = cause(get_from(&server, PLENTY));
        assert_eq!(cause, format!("status {status}"));
    }
    for status in [200, 203] {
        let server = Server::sending(format!("HTTP/1.1 {status} X\r\nContent-Length: 1\r\n\r\nx"));
        assert_eq!(get_from(&server, PLENTY).expect("a body"), b"x");
    }
}

/// A reply with this header field.
fn with_field(field: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!("HTTP/1.1 200 OK\r\n{field}\r\nContent-Length: {length}\r\n\r\n");
    [head.as_bytes(), body].concat()
}

#[test]
fn a_content_encoding_that_says_nothing_is_ignored_and_a_compression_refused() {
    for (coding, taken) in [
        ("", true),
        ("identity", true),
        ("Identity , ", true),
        ("none", true),
        ("binary", true),
        ("utf-8", true),
        ("UTF8", true),
        ("iso-8859-1", true),
        ("base64", true),
        ("aws-chunked", true),
        ("aws-chunked, ", true),
        ("8bit", true),
        ("identity\r\nContent-Encoding: utf-8", true),
        ("br", false),
        ("BR", false),
        ("deflate", false),
        ("zstd", false),
        ("compress", false),
        ("identity, br", false),
        ("gzip, br", false),
        ("gzip, gzip", false),
        ("gzip", false),
        ("identity\r\nContent-Encoding: br", false),
    ] {
        let field = format!("Content-Encoding: {coding}");
        match get_from(&Server::sending(with_field(&field, b"body")), PLENTY) {
            Ok(body) => assert!(taken && body == b"body", "{coding}"),
            Err((FetchError::Failed(_), read)) => assert!(!taken && read.is_empty(), "{coding}"),
            other => panic!("{coding}: {other:?}"),
        }
    }
    for coding in ["gzip, chunked", "gzip", "identity"] {
        let field = format!("Transfer-Encoding: {coding}");
        cause(get_from(
            &Server::sending(with_field(&field, b"body")),
            PLENTY,
        ));
    }
}

fn gzipped(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body).expect("into memory");
    encoder.finish().expect("into memory")
}

#[test]
fn gzip_that_nobody_asked_for_is_decoded_under_the_same_limit() {
    let body = pattern(50_000);
    let noise: Vec<u8> = body
        .chunks(7)
        .scan(1_u64, |state, chunk| {
            *state = state.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(1);
            Some(state.to_le_bytes()[1..=chunk.len()].to_vec())
        })
        .flatten()
        .collect();
    for body in [&body[..], &noise, b""] {
        for field in [
            "Content-Encoding: gzip",
            "Content-Encoding: X-GZIP",
            "Content-Encoding: aws-chunked, gzip",
            "Content-Encoding: utf-8\r\nContent-Encoding: gzip",
        ] {
            let server = Server::sending(with_field(field, &gzipped(body)));
            let read = get_from(&server, body.len() as u64).expect("a body");
            assert!(read == body, "{field}");
        }
    }
    let server = Server::sending(with_field("Content-Encoding: gzip", &gzipped(&body)));
    assert_too_large(&get_from(&server, 49_999), 49_999);
    // A few kilobytes that become 100 MiB.
    let bomb = gzipped(&vec![0; 100 << 20]);
    let server = Server::sending(with_field("Content-Encoding: gzip", &bomb));
    assert_too_large(&get_from(&server, PLENTY), 1 << 20);
}

#[test]
fn gzip_that_is_cut_or_damaged_is_a_failure() {
    let whole = gzipped(&pattern(50_000));
    let mut wrong_checksum = whole.clone();
    let at = wrong_checksum.len() - 6;
    wrong_checksum[at] ^= 1;
    for damaged in [&whole[..whole.len() - 9], &whole[..5], &wrong_checksum, b""] {
        let server = Server::sending(with_field("Content-Encoding: gzip", damaged));
        cause(get_from(&server, PLENTY));
    }
    // Empty deflate blocks without an end give no byte of output.
    let server = Server::new(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n")?;
        stream.write_all(b"\x1f\x8b\x08\0\0\0\0\0\0\xff")?;
        for_ever(stream, &[0, 0, 0, 0xff, 0xff].repeat(1_000), Duration::ZERO)
    });
    cause(get_from(&server, PLENTY));
}

#[test]
fn a_header_is_limited_to_16_kib() {
    let with_field = |length: usize| {
        Server::sending(format!(
            "HTTP/1.1 200 OK\r\nX-Long: {}\r\nContent-Length: 1\r\n\r\nx",
            "x".repeat(length)
        ))
    };
    assert_eq!(get_from(&with_field(16_000), PLENTY).expect("a body"), b"x");
    cause(get_from(&with_field(16_500), PLENTY));
    cause(get_from(&with_field(1 << 20), PLENTY));
    for line in ["X-More: 1\r\n", "no line end "] {
        let endless = Server::new(move |_, stream| {
            stream.write_all(b"HTTP/1.1 200 OK\r\n")?;
            for_ever(stream, line.as_bytes(), Duration::ZERO)
        });
        cause(get_from(&endless, PLENTY));
    }
}

#[test]
fn the_request_tells_nothing_and_follows_no_cookie() {
    let server = Server::new(|path, stream| {
        match path {
        "/start" => stream.write_all(
            b"HTTP/1.1 302 Found\r\nSet-Cookie: a=b\r\nLocation: /a/b.png?c=d\r\nContent-Length: 0\r\n\r\n",
        ),
        _ => stream.write_all(&with_length(b"image")),
    }
    });
    let fetcher = allowing(&[&server], "");
    assert_eq!(
        get(&fetcher, &server.url("/start#top"), PLENTY).expect("a body"),
        b"image"
    );
    let requests = server.requests.lock().expect("no panic");
    let mut lines: Vec<String> = requests[1].lines().map(str::to_ascii_lowercase).collect();
    assert_eq!(lines.remove(0), "get /a/b.png?c=d http/1.1");
    lines.sort();
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        lines,
        [
            String::new(),
            "accept: */*".to_owned(),
            "connection: close".to_owned(),
            format!("host: {}", server.address),
            format!("user-agent: corenexis-cdn/{version}"),
        ]
    );
}

#[test]
fn a_failed_read_stays_failed() {
    let body = pattern(5_000);
    let mut short = with_length(&body);
    short.truncate(short.len() - 6);
    for (reply, max_bytes) in [(chunked(&body), 4_999), (short, PLENTY)] {
        let server = Server::sending(reply);
        let fetcher = allowing(&[&server], "");
        let url = server.url("/");
        let mut download = fetcher.open(1, url.as_bytes(), max_bytes).expect("a reply");
        assert!(download.read_to_end(&mut Vec::new()).is_err());
        assert!(download.read(&mut [0; 100]).is_err());
    }
}

#[test]
fn a_download_counts_as_running_until_it_is_dropped() {
    let server = Server::sending(with_length(b"image"));
    let fetcher = allowing(&[&server], "max_concurrent = 1");
    let url = server.url("/");
    let download = fetcher.open(1, url.as_bytes(), PLENTY).expect("a reply");
    let now = Instant::now();
    assert!(fetcher.admission.admit(2, now).is_err());
    drop(download);
    assert!(fetcher.admission.admit(2, now).is_ok());
}

#[test]
fn a_cause_is_one_short_line() {
    let server = Server::sending(format!(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: \t{:x<9000}\u{9b}31m\r\n\r\n",
        "a"
    ));
    let cause = cause(get_from(&server, PLENTY));
    assert!(cause.chars().count() <= MAX_CAUSE && !cause.contains(char::is_control));
}

#[test]
fn a_fetcher_is_shared_by_threads() {
    fn shared<T: Send + Sync>(_: &T) {}
    shared(&fetcher(""));
}
