//! An HTTP/1.1 client that sends arbitrary bytes, valid or not, over one connection per request.

use std::fmt::{self, Write as _};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// The timeout of reads and writes: longer than nginx's own, whose reply says more.
const PATIENCE: Duration = Duration::from_mins(3);

/// A reply as received.
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// Names and values in the order received.
    pub headers: Vec<(String, String)>,
    /// The body, dechunked.
    pub body: Vec<u8>,
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let beginning = &self.body[..self.body.len().min(400)];
        f.debug_struct("Reply")
            .field("status", &self.status)
            .field("headers", &self.headers)
            .field("length", &self.body.len())
            .field("body", &String::from_utf8_lossy(beginning))
            .finish()
    }
}

impl Reply {
    /// The values of a header that may be repeated.
    pub fn values(&self, name: &str) -> Vec<&str> {
        self.headers
            .iter()
            .filter(|(header, _)| header.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
            .collect()
    }

    /// The value of a header, which must not be repeated.
    pub fn header(&self, name: &str) -> Option<&str> {
        let values = self.values(name);
        assert!(values.len() <= 1, "{name} came twice: {self:?}");
        values.first().copied()
    }

    /// A header that is a number.
    pub fn number(&self, name: &str) -> i64 {
        self.header(name)
            .and_then(|value| value.parse().ok())
            .unwrap_or_else(|| panic!("no number in {name}: {self:?}"))
    }

    /// The body as text.
    pub fn text(&self) -> &str {
        str::from_utf8(&self.body).expect("a reply in UTF-8")
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("no JSON ({error}): {self:?}"))
    }

    /// The `url` of a successful upload.
    #[track_caller]
    pub fn url(&self) -> String {
        assert_eq!(self.status, 200, "{}", self.text());
        self.json()["url"].as_str().expect("a url").to_owned()
    }
}

/// Sends a request with `Host`, `Content-Length`, `Connection: close` and `headers`.
pub fn request(
    port: u16,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Reply {
    let mut head = format!("{method} {target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n");
    for (name, value) in headers {
        let _ = write!(head, "{name}: {value}\r\n");
    }
    if !body.is_empty() || method == "POST" {
        let _ = write!(head, "Content-Length: {}\r\n", body.len());
    }
    head.push_str("Connection: close\r\n\r\n");
    exchange(port, &[head.as_bytes(), body].concat())
        .unwrap_or_else(|error| panic!("no reply to {method} {target}: {error}"))
}

/// Sends a GET request.
pub fn get(port: u16, target: &str) -> Reply {
    request(port, "GET", target, &[], b"")
}

/// Sends raw bytes and reads one reply, to the end of the connection.
pub fn exchange(port: u16, bytes: &[u8]) -> io::Result<Reply> {
    let mut stream = connect(port)?;
    // A server may answer and close before it has read everything; its reply says more than the error.
    let _ = stream.write_all(bytes);
    read(&mut stream, bytes.starts_with(b"HEAD "))
}

/// Reads one reply that has a body, to the end of the connection.
pub fn read_reply(stream: &mut impl Read) -> io::Result<Reply> {
    read(stream, false)
}

fn read(stream: &mut impl Read, headless: bool) -> io::Result<Reply> {
    let mut raw = Vec::new();
    let ended = stream.read_to_end(&mut raw);
    parse(&raw, headless).ok_or_else(|| {
        ended
            .err()
            .unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into())
    })
}

/// Connects to a port of this machine.
pub fn connect(port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Reads a whole reply; `None` if it is none or not whole.
fn parse(raw: &[u8], headless: bool) -> Option<Reply> {
    let end = raw.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = str::from_utf8(&raw[..end]).ok()?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers = lines
        .map(|line| {
            let (name, value) = line.split_once(':')?;
            Some((name.to_owned(), value.trim().to_owned()))
        })
        .collect::<Option<Vec<_>>>()?;
    let mut reply = Reply {
        status,
        headers,
        body: raw[end + 4..].to_vec(),
    };
    if headless {
        return reply.body.is_empty().then_some(reply);
    }
    if let Some(length) = reply.header("Content-Length") {
        return (length.parse() == Ok(reply.body.len())).then_some(reply);
    }
    if reply.header("Transfer-Encoding") == Some("chunked") {
        reply.body = dechunk(&reply.body)?;
    }
    Some(reply)
}

fn dechunk(mut raw: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = raw.windows(2).position(|window| window == b"\r\n")?;
        let length = usize::from_str_radix(str::from_utf8(&raw[..end]).ok()?, 16).ok()?;
        let chunk = raw.get(end + 2..end + 2 + length)?;
        if length == 0 {
            return Some(body);
        }
        body.extend_from_slice(chunk);
        raw = raw.get(end + 4 + length..)?;
    }
}
