//! An HTTP proxy in front of a real server, which disturbs the requests that a test chooses.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

/// What happens to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Disturbance {
    /// It is forwarded, and so is its reply.
    None,
    /// It is answered with these bytes and not forwarded.
    Answer(Vec<u8>),
    /// It is answered so, and forwarded after the answer: what the server does with it comes late.
    Late(Vec<u8>),
    /// It is forwarded, and the connection is closed without its reply.
    LoseReply,
    /// It is not forwarded, and the connection is closed.
    LoseRequest,
    /// It is forwarded, and its reply ends after so many bytes.
    Cut(usize),
    /// It is forwarded after this time.
    Delay(Duration),
    /// It is forwarded without this header.
    Strip(&'static str),
    /// The reply lacks this header.
    StripReply(&'static str),
}

/// The head of a request.
#[derive(Debug, Clone)]
pub struct Head {
    /// Request line and headers, each with its line break.
    pub lines: Vec<String>,
    /// How many requests of the same method were before it.
    pub number: usize,
}

impl Head {
    /// The method.
    pub fn method(&self) -> &str {
        self.lines[0].split(' ').next().unwrap_or_default()
    }

    /// The path and the query.
    pub fn target(&self) -> &str {
        self.lines[0].split(' ').nth(1).unwrap_or_default()
    }

    /// A header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.lines[1..].iter().find_map(|line| {
            let (header, value) = line.split_once(':')?;
            header.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

type Chooser = dyn Fn(&Head) -> Disturbance + Send + Sync;

/// A proxy on a free port of loopback, until the test's process ends.
pub struct HttpProxy {
    /// Its address.
    pub address: SocketAddr,
    requests: Arc<AtomicUsize>,
    chooser: Arc<Mutex<Arc<Chooser>>>,
}

impl HttpProxy {
    /// Forwards to the server at `endpoint`, `http://HOST:PORT`.
    pub fn start(endpoint: &str) -> Self {
        Self::start_at((Ipv4Addr::LOCALHOST, 0).into(), endpoint)
    }

    /// The same at a given address.
    pub fn start_at(listen: SocketAddr, endpoint: &str) -> Self {
        let upstream: SocketAddr = endpoint
            .strip_prefix("http://")
            .and_then(|address| address.parse().ok())
            .expect("http://ADDRESS:PORT");
        let listener = TcpListener::bind(listen).expect("a port");
        let address = listener.local_addr().expect("an address");
        let requests = Arc::new(AtomicUsize::new(0));
        let undisturbed: Arc<Chooser> = Arc::new(|_| Disturbance::None);
        let chooser = Arc::new(Mutex::new(undisturbed));
        let (counted, chosen) = (Arc::clone(&requests), Arc::clone(&chooser));
        let numbers = Arc::new(Mutex::new(Vec::<(String, usize)>::new()));
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (counted, chosen) = (Arc::clone(&counted), Arc::clone(&chosen));
                let numbers = Arc::clone(&numbers);
                thread::spawn(move || {
                    let choose = |head: &mut Head| {
                        counted.fetch_add(1, Ordering::SeqCst);
                        let mut numbers = numbers.lock().expect("a lock");
                        let method = head.method().to_owned();
                        match numbers.iter_mut().find(|(name, _)| *name == method) {
                            Some((_, number)) => {
                                *number += 1;
                                head.number = *number;
                            }
                            None => numbers.push((method, 0)),
                        }
                        drop(numbers);
                        let chooser = Arc::clone(&*chosen.lock().expect("a lock"));
                        chooser(head)
                    };
                    // Either side may leave at any time, which is its affair.
                    let _ = serve(client, upstream, choose);
                });
            }
        });
        Self {
            address,
            requests,
            chooser,
        }
    }

    /// The URL of the proxy.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Has `choose` decide what happens to each request from now on.
    pub fn disturb(&self, choose: impl Fn(&Head) -> Disturbance + Send + Sync + 'static) {
        *self.chooser.lock().expect("a lock") = Arc::new(choose);
    }

    /// Disturbs the next `count` requests of a method, and no others.
    pub fn disturb_next(&self, method: &'static str, count: usize, disturbance: Disturbance) {
        let left = AtomicUsize::new(count);
        self.disturb(move |head| {
            let is_next = head.method() == method
                && left
                    .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                        left.checked_sub(1)
                    })
                    .is_ok();
            if is_next {
                disturbance.clone()
            } else {
                Disturbance::None
            }
        });
    }

    /// Lets so many of the chosen requests pass and holds the others until the [`Hold`] is dropped. Those that were held are lost.
    pub fn hold_after(
        &self,
        number: usize,
        is_chosen: impl Fn(&Head) -> bool + Send + Sync + 'static,
    ) -> Hold {
        let gate = Arc::<Gate>::default();
        let (shared, passed) = (Arc::clone(&gate), AtomicUsize::new(0));
        self.disturb(move |head| {
            if !is_chosen(head) || passed.fetch_add(1, Ordering::SeqCst) < number {
                return Disturbance::None;
            }
            let mut state = shared.state.lock().expect("a lock");
            if state.is_open {
                return Disturbance::None;
            }
            state.held += 1;
            while !state.is_open {
                state = shared.opened.wait(state).expect("a lock");
            }
            Disturbance::LoseRequest
        });
        Hold(gate)
    }

    /// The number of requests so far.
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

/// Requests that a proxy holds.
#[derive(Debug)]
pub struct Hold(Arc<Gate>);

#[derive(Debug, Default)]
struct Gate {
    state: Mutex<GateState>,
    opened: Condvar,
}

#[derive(Debug, Default)]
struct GateState {
    held: usize,
    is_open: bool,
}

impl Hold {
    /// How many requests are held.
    pub fn held(&self) -> usize {
        self.0.state.lock().expect("a lock").held
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Ok(mut state) = self.0.state.lock() {
            state.is_open = true;
        }
        self.0.opened.notify_all();
    }
}

/// Serves one request; the reply closes the connection.
fn serve(
    client: TcpStream,
    upstream: SocketAddr,
    choose: impl Fn(&mut Head) -> Disturbance,
) -> io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let mut client = client;
    let mut head = Head {
        lines: Vec::new(),
        number: 0,
    };
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        if line == "\r\n" {
            break;
        }
        head.lines.push(line);
    }
    let length = head
        .header("content-length")
        .and_then(|length| length.parse().ok())
        .unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let disturbance = choose(&mut head);
    let forward = |without: Option<&str>| {
        let lines = head.lines.iter().filter(|line| {
            let name = line.split(':').next().unwrap_or_default();
            !name.eq_ignore_ascii_case("connection")
                && without.is_none_or(|without| !name.eq_ignore_ascii_case(without))
        });
        let mut request: Vec<u8> = lines.flat_map(|line| line.bytes()).collect();
        request.extend_from_slice(b"Connection: close\r\n\r\n");
        request.extend_from_slice(&body);
        exchange(upstream, &request)
    };
    let reply = match &disturbance {
        Disturbance::None => forward(None)?,
        Disturbance::Answer(answer) | Disturbance::Late(answer) => answer.clone(),
        Disturbance::LoseReply => {
            forward(None)?;
            Vec::new()
        }
        Disturbance::LoseRequest => Vec::new(),
        Disturbance::Cut(length) => {
            let mut reply = forward(None)?;
            reply.truncate(*length);
            reply
        }
        Disturbance::Delay(time) => {
            thread::sleep(*time);
            forward(None)?
        }
        Disturbance::Strip(header) => forward(Some(header))?,
        Disturbance::StripReply(header) => without_header(&forward(None)?, header),
    };
    client.write_all(&reply)?;
    client.shutdown(Shutdown::Write)?;
    if matches!(disturbance, Disturbance::Late(_)) {
        forward(None)?;
    }
    Ok(())
}

fn exchange(upstream: SocketAddr, request: &[u8]) -> io::Result<Vec<u8>> {
    let mut server = TcpStream::connect(upstream)?;
    // The server may answer before it has read everything.
    let _ = server.write_all(request);
    let mut reply = Vec::new();
    server.read_to_end(&mut reply)?;
    Ok(reply)
}

fn without_header(reply: &[u8], header: &str) -> Vec<u8> {
    let end = reply
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .unwrap_or(0);
    let head = String::from_utf8_lossy(&reply[..end]);
    let kept = head.split("\r\n").filter(|line| {
        let name = line.split(':').next().unwrap_or_default();
        !name.eq_ignore_ascii_case(header)
    });
    let mut stripped = kept.collect::<Vec<_>>().join("\r\n").into_bytes();
    stripped.extend_from_slice(&reply[end..]);
    stripped
}

/// A reply of a store that is busy.
pub fn slow_down() -> Vec<u8> {
    let body =
        "<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>";
    format!(
        "HTTP/1.1 503 Slow Down\r\nContent-Type: application/xml\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}
