use std::net::Shutdown;
use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};

use serde_json::json;

use super::*;
use crate::config::Listen;
use crate::fastcgi::params::push_pair;
use crate::fastcgi::record::{Header, RecordType, push_record, push_stream};

/// Answers with what the parameter `ACT` asks for.
struct Actor {
    began: SyncSender<()>,
    go_on: Mutex<Receiver<()>>,
}

impl Handler for Actor {
    fn answer(&self, params: &Params, body: &mut dyn Read) -> Response {
        match params.get("ACT") {
            Some(b"panic") => panic!("as asked"),
            Some(b"wait") => {
                self.began.send(()).expect("the test listens");
                let go_on = self.go_on.lock().expect("not poisoned");
                go_on.recv().expect("the test says when");
            }
            _ => {}
        }
        let length = io::copy(body, &mut io::sink());
        Response::json(200, json!({ "length": length.ok() }))
    }
}

struct Running {
    directory: tempfile::TempDir,
    stop: UnixStream,
    thread: Option<thread::JoinHandle<io::Result<()>>>,
    began: Receiver<()>,
    go_on: Sender<()>,
}

impl Running {
    fn start(max_connections: usize) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let listener = Listener::bind(&Listen::Unix(directory.path().join("sock"))).expect("bound");
        let (stop, stopped) = UnixStream::pair().expect("a pair");
        let (began, beginnings) = sync_channel(16);
        let (go_on, goings) = channel();
        let handler = Arc::new(Actor {
            began,
            go_on: goings.into(),
        });
        let thread = thread::spawn(move || serve(&listener, max_connections, handler, &stopped));
        Self {
            directory,
            stop,
            thread: Some(thread),
            began: beginnings,
            go_on,
        }
    }

    fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(self.directory.path().join("sock")).expect("connected");
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .expect("set");
        stream
    }

    fn stop(&mut self) {
        self.stop.write_all(b"x").expect("written");
    }

    fn join(&mut self) {
        self.thread
            .take()
            .expect("once")
            .join()
            .expect("no panic")
            .expect("served");
    }
}

fn send(stream: &mut UnixStream, act: &str, body: &[u8]) {
    let mut out = Vec::new();
    push_record(
        &mut out,
        RecordType::BeginRequest,
        1,
        &[0, 1, 1, 0, 0, 0, 0, 0],
    );
    let mut params = Vec::new();
    push_pair(&mut params, b"ACT", act.as_bytes());
    push_pair(
        &mut params,
        b"CONTENT_LENGTH",
        body.len().to_string().as_bytes(),
    );
    push_stream(&mut out, RecordType::Params, 1, &params);
    push_stream(&mut out, RecordType::Stdin, 1, body);
    stream.write_all(&out).expect("written");
}

/// The reply as text, or nothing when the connection was closed without one.
fn receive(stream: &mut UnixStream) -> String {
    let mut reply = Vec::new();
    loop {
        let mut header = [0; 8];
        if stream.read_exact(&mut header).is_err() {
            return String::new();
        }
        let header = Header::parse(header).expect("version 1");
        let mut content =
            vec![0; usize::from(header.content_length) + usize::from(header.padding_length)];
        stream.read_exact(&mut content).expect("content");
        match header.record_type {
            RecordType::Stdout => {
                reply.extend_from_slice(&content[..usize::from(header.content_length)]);
            }
            RecordType::EndRequest => return String::from_utf8(reply).expect("UTF-8"),
            other => panic!("unexpected {other:?}"),
        }
    }
}

fn exchange(stream: &mut UnixStream, act: &str, body: &[u8]) -> String {
    send(stream, act, body);
    receive(stream)
}

#[test]
fn a_panic_is_a_500_and_the_connection_goes_on() {
    let running = Running::start(4);
    let mut stream = running.connect();
    let reply = exchange(&mut stream, "panic", &vec![b'x'; 100_000]);
    assert!(
        reply.starts_with("Status: 500") && reply.ends_with(r#"{"error":"Internal server error"}"#),
        "{reply}"
    );
    assert!(exchange(&mut stream, "", b"12345").ends_with(r#"{"length":5}"#));
}

#[test]
fn connections_over_the_cap_are_answered_that_the_server_is_busy() {
    let running = Running::start(2);
    let mut served: Vec<_> = (0..2).map(|_| running.connect()).collect();
    for stream in &mut served {
        send(stream, "wait", b"");
    }
    // One waits in the handler, the other for the first; neither is idle.
    running.began.recv().expect("began");
    let mut refused = running.connect();
    let reply = exchange(&mut refused, "", &vec![b'x'; 300_000]);
    assert!(
        reply.starts_with("Status: 503") && reply.contains("Retry-After: 1"),
        "{reply}"
    );
    assert!(reply.ends_with(r#"{"error":"Server busy"}"#), "{reply}");
    for _ in 0..2 {
        running.go_on.send(()).expect("waiting");
    }
    for stream in &mut served {
        assert!(receive(stream).starts_with("Status: 200"));
    }
}

#[test]
fn an_idle_connection_gives_its_place_to_a_new_one() {
    let running = Running::start(2);
    let mut idle: Vec<_> = (0..2).map(|_| running.connect()).collect();
    for stream in &mut idle {
        assert!(exchange(stream, "", b"").starts_with("Status: 200"));
    }
    // A connection that was used just now is not given up, so the first tries may be told that the server is busy.
    let began = Instant::now();
    while !exchange(&mut running.connect(), "", b"1").ends_with(r#"{"length":1}"#) {
        assert!(
            began.elapsed() < Duration::from_secs(20),
            "no idle connection gave its place"
        );
    }
    assert_eq!(
        receive(&mut idle[0]),
        "",
        "the one that was idle for longest was closed"
    );
}

#[test]
fn draining_answers_what_was_begun_and_closes_what_is_idle() {
    let mut running = Running::start(4);
    let (mut busy, mut idle) = (running.connect(), running.connect());
    assert!(exchange(&mut idle, "", b"").starts_with("Status: 200"));
    send(&mut busy, "wait", b"123");
    running.began.recv().expect("began");
    running.stop();
    assert_eq!(receive(&mut idle), "", "closed");
    running.go_on.send(()).expect("waiting");
    assert!(receive(&mut busy).ends_with(r#"{"length":3}"#));
    assert_eq!(receive(&mut busy), "", "closed after its reply");
    running.join();
    assert!(
        !running.directory.path().join("sock").exists(),
        "the socket file is removed"
    );
}

#[test]
fn a_drain_answers_requests_that_come_over_open_connections_at_once() {
    let mut running = Running::start(4);
    let mut idle = running.connect();
    assert!(exchange(&mut idle, "", b"").starts_with("Status: 200"));
    // A connection that has just given its reply may still be closed with it. One that answers FCGI_GET_VALUES waits for a request.
    idle.write_all(&[1, 9, 0, 0, 0, 0, 0, 0]).expect("sent");
    let mut values = [0; 8];
    idle.read_exact(&mut values)
        .expect("FCGI_GET_VALUES_RESULT");
    assert_eq!(values[..2], [1, 10]);
    running.stop();
    assert!(exchange(&mut idle, "", b"12").ends_with(r#"{"length":2}"#));
    running.join();
}

#[test]
fn a_peer_that_sends_nonsense_loses_its_connection_only() {
    let running = Running::start(2);
    for nonsense in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"\x01\x01",
        b"\x02\x01\x00\x01\x00\x00\x00\x00",
    ] {
        let mut stream = running.connect();
        stream.write_all(nonsense).expect("written");
        stream.shutdown(Shutdown::Write).expect("shut");
        assert_eq!(receive(&mut stream), "");
    }
    assert!(exchange(&mut running.connect(), "", b"").starts_with("Status: 200"));
}

#[test]
fn a_second_responder_does_not_take_the_socket_of_a_living_one() {
    let running = Running::start(2);
    let path = running.directory.path().join("sock");
    let error = Listener::bind(&Listen::Unix(path.clone())).expect_err("in use");
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    std::fs::write(running.directory.path().join("file"), "mine").expect("written");
    let error = Listener::bind(&Listen::Unix(running.directory.path().join("file")))
        .expect_err("no socket");
    assert!(error.to_string().contains("not a socket"), "{error}");
    assert!(exchange(&mut running.connect(), "", b"").starts_with("Status: 200"));
}

#[test]
fn a_socket_file_that_was_left_behind_is_replaced() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("sock");
    drop(std::os::unix::net::UnixListener::bind(&path).expect("bound"));
    assert!(path.exists(), "the standard library leaves it behind");
    let listener = Listener::bind(&Listen::Unix(path.clone())).expect("replaced");
    UnixStream::connect(&path).expect("connected");
    drop(listener);
    assert!(!path.exists());
}

#[test]
fn one_request_is_answered_as_cgi() {
    let (began, _) = sync_channel(1);
    let (_, go_on) = channel();
    let actor = Actor {
        began,
        go_on: go_on.into(),
    };
    let answer = |length: &str, body: &[u8]| {
        let params = Params::from_pairs([("CONTENT_LENGTH", length)]).expect("valid");
        let mut out = Vec::new();
        serve_cgi(&actor, &params, body, &mut out).expect("served");
        String::from_utf8(out).expect("UTF-8")
    };
    assert!(answer("5", b"12345").ends_with(r#"{"length":5}"#));
    assert!(
        answer("5", b"1234567").ends_with(r#"{"length":5}"#),
        "no more than announced"
    );
    assert!(
        answer("5", b"123").ends_with(r#"{"length":null}"#),
        "a body that ends early is an error to its reader"
    );
    assert!(answer("five", b"").ends_with(r#"{"error":"Malformed request body"}"#));
}
