//! Web servers for uploads by `image_url`: one with scripted replies, and one that no download may connect to.

use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::form::{URLENCODED, urlencoded};
use crate::http::Reply;
use crate::site::Site;

/// The reply to every upload by URL that fails.
pub const FAILED: &str = r#"{"error":"Failed to download image"}"#;

/// A web server on a free port, until the test's process ends.
#[derive(Debug)]
pub struct Origin {
    /// The address that it listens on.
    pub address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Origin {
    /// Listens on `ip`. `answer` is given the target of each request, in a thread of its own.
    pub fn start(
        ip: Ipv4Addr,
        answer: impl Fn(&str, &mut TcpStream) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind((ip, 0)).expect("a port");
        let address = listener.local_addr().expect("an address");
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        let answer = Arc::new(answer);
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                counted.fetch_add(1, Ordering::SeqCst);
                let answer = Arc::clone(&answer);
                // The peer may leave at any time, which is its affair.
                thread::spawn(move || {
                    read_head(&mut stream).and_then(|target| answer(&target, &mut stream))
                });
            }
        });
        Self {
            address,
            connections,
        }
    }

    /// The URL of a request target.
    pub fn url(&self, target: &str) -> String {
        format!("http://{}{target}", self.address)
    }

    /// The number of connections so far.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// Reads the head of a request and gives its target.
fn read_head(stream: &mut TcpStream) -> io::Result<String> {
    let mut head = Vec::new();
    let mut buffer = [0; 2_048];
    while !head.windows(4).any(|window| window == b"\r\n\r\n") {
        match stream.read(&mut buffer)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => head.extend_from_slice(&buffer[..read]),
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    Ok(head.split(' ').nth(1).unwrap_or_default().to_owned())
}

/// A reply with a body of known length.
pub fn whole(content_type: &str, body: &[u8]) -> Vec<u8> {
    let mut head = String::new();
    let _ = write!(
        head,
        "HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// A redirect.
pub fn redirect(status: u16, to: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status} Moved\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n").into_bytes()
}

/// Writes until the client has gone.
pub fn for_ever(stream: &mut TcpStream, bytes: &[u8], pause: Duration) -> io::Result<()> {
    loop {
        stream.write_all(bytes)?;
        thread::sleep(pause);
    }
}

/// Sends nothing until the client has gone.
pub fn silence(stream: &mut TcpStream) -> io::Result<()> {
    while stream.read(&mut [0; 512])? > 0 {}
    Ok(())
}

/// A port that must not be connected to, on every address of this machine, of IPv6 too where it has any.
#[derive(Debug)]
pub struct Canary(Vec<TcpListener>);

impl Canary {
    /// Listens on every address.
    pub fn on_all_addresses() -> Self {
        let ipv4 = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a port");
        let port = ipv4.local_addr().expect("an address").port();
        // For both protocols at once where the system binds so; then the port is taken already.
        let ipv6 = TcpListener::bind((Ipv6Addr::LOCALHOST, port));
        Self::of([ipv4].into_iter().chain(ipv6))
    }

    /// On this address and port only.
    pub fn at(ip: impl Into<IpAddr>, port: u16) -> io::Result<Self> {
        Ok(Self::of([TcpListener::bind((ip.into(), port))?]))
    }

    fn of(listeners: impl IntoIterator<Item = TcpListener>) -> Self {
        let listeners: Vec<_> = listeners.into_iter().collect();
        for listener in &listeners {
            listener.set_nonblocking(true).expect("nonblocking");
        }
        Self(listeners)
    }

    /// The port that it listens on.
    pub fn port(&self) -> u16 {
        self.0[0].local_addr().expect("an address").port()
    }

    /// Asserts that there was no connection. One over loopback is in the queue before `connect` returns, so there is nothing to wait for.
    #[track_caller]
    pub fn saw_nobody(&self, after: &str) {
        for listener in &self.0 {
            let accepted = listener.accept();
            let nobody =
                matches!(&accepted, Err(error) if error.kind() == io::ErrorKind::WouldBlock);
            assert!(nobody, "after {after}: {accepted:?}");
        }
    }
}

/// Uploads by URL, in the way that `requests.post(data=…)` sends it.
pub fn by_url(site: &Site, plan: &str, url: &str) -> Reply {
    let client = site.client(plan);
    let fields = [
        ("client_id", client.id.as_str()),
        ("client_token", &client.token),
        ("store_duration", "7D"),
        ("image_url", url),
    ];
    site.post_as(URLENCODED, &urlencoded(&fields))
}
