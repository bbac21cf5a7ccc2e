//! Runs the responder: a listener, a thread per connection, graceful shutdown.
//!
//! At most `max_connections` threads serve; one more thread answers further connections with "Server busy". SIGTERM stops accepting,
//! lets running requests finish and closes connections as they become idle.

mod connections;
pub(crate) mod listener;
mod service_manager;

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Resource, getrlimit, setrlimit};
use time::UtcDateTime;

use crate::api;
use crate::app::App;
use crate::error::{Fault, Refusal};
use crate::fastcgi::connection::{Connection, ConnectionError};
use crate::fastcgi::params::Params;
use crate::log::{Line, panic_text};
use crate::response::Response;
use crate::trace::request_id;
use connections::{Connections, Registered};
use listener::{Listener, Stream};
use service_manager::ServiceManager;

/// Longer than nginx keeps an idle connection (60 s), so that nginx closes it.
const READ_TIMEOUT: Duration = Duration::from_secs(75);

const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a graceful shutdown waits for running requests.
const DRAIN_TIME: Duration = Duration::from_secs(10);

/// How long a graceful shutdown leaves idle connections open. nginx may be about to use one, and FastCGI has no way to announce the
/// close; under load each is used, answered and closed within this time.
const IDLE_GRACE: Duration = Duration::from_millis(500);

/// The pause after an error of accept(2) that lasts.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);

/// How long a connection over the cap may take to send its request.
const BUSY_TIMEOUT: Duration = Duration::from_secs(1);

/// Connections over the cap that wait for their refusal. Further ones wait in the backlog of the listening socket.
const BUSY_QUEUE: usize = 8;

/// File descriptors beside the connections: 24 for standard streams, listener, signals, ledger and a new write-ahead log, the rest for
/// directory syncs and refused connections.
const OWN_DESCRIPTORS: u64 = 40;

/// File descriptors of the segments that the write-ahead log gets under load, if the limit is not small.
const LOG_DESCRIPTORS: u64 = 30;

/// File descriptors of one connection: its socket, its spool file, a directory or a download.
const DESCRIPTORS_EACH: u64 = 3;

/// File descriptors of one connection to PostgreSQL: its socket, and those of the driver's event loop.
const POSTGRES_DESCRIPTORS_EACH: u64 = 4;

/// Stack of a connection's thread, in bytes. TLS downloads need the most.
const STACK_SIZE: usize = 1 << 20;

/// Answers requests.
pub(crate) trait Handler: Send + Sync + 'static {
    /// Answers one request; reads as much of `body` as it needs.
    fn answer(&self, params: &Params, body: &mut dyn Read) -> Response;

    /// Called when a connection is accepted.
    fn connection_began(&self) {}

    /// Called when a connection ends.
    fn connection_ended(&self) {}

    /// File descriptors of the connections to other servers that it keeps.
    fn descriptors(&self) -> u64 {
        0
    }
}

impl Handler for App {
    fn answer(&self, params: &Params, body: &mut dyn Read) -> Response {
        api::answer(self, params, body)
    }

    fn connection_began(&self) {
        self.metrics.connection_began();
    }

    fn connection_ended(&self) {
        self.metrics.connection_ended();
    }

    fn descriptors(&self) -> u64 {
        let postgres = self.config.ledger.postgres.as_ref();
        postgres.map_or(0, |postgres| {
            postgres.connections as u64 * POSTGRES_DESCRIPTORS_EACH
        })
    }
}

/// Serves until `stop` becomes readable, then shuts down gracefully. Returns when every running request has been answered, or after
/// ten seconds.
pub(crate) fn serve(
    listener: &Listener,
    max_connections: usize,
    handler: Arc<dyn Handler>,
    stop: &UnixStream,
) -> io::Result<()> {
    let cap = descriptor_cap(max_connections, OWN_DESCRIPTORS + handler.descriptors());
    if cap < max_connections {
        event("connections_capped")
            .field("max_connections", cap)
            .field("configured", max_connections)
            .field("cause", "the limit on open files")
            .write();
    }
    let connections = Arc::new(Connections::new(cap));
    let (busy, refused) = sync_channel(BUSY_QUEUE);
    thread::Builder::new()
        .name("busy".to_owned())
        .spawn(move || refuse_connections(&refused))?;
    let mut acceptor = Acceptor {
        listener,
        spare: spare_descriptor(),
        connections: &connections,
        handler,
        busy,
    };
    listener.set_nonblocking()?;
    let mut manager = ServiceManager::ready();
    while wait_for_connection(listener, stop, &mut manager)? {
        acceptor.accept_waiting();
    }
    manager.stopping();
    event("draining")
        .field("connections", connections.count())
        .write();
    connections.drain(Instant::now() + DRAIN_TIME, IDLE_GRACE);
    Ok(())
}

/// Waits for a connection (`true`) or for `stop` (`false`), and reports to the service manager meanwhile.
fn wait_for_connection(
    listener: &Listener,
    stop: &UnixStream,
    manager: &mut ServiceManager,
) -> io::Result<bool> {
    loop {
        let timeout = manager.report(Instant::now());
        let timeout = timeout.and_then(|left| Timespec::try_from(left).ok());
        let mut descriptors = [
            PollFd::new(listener, PollFlags::IN),
            PollFd::from_borrowed_fd(stop.as_fd(), PollFlags::IN),
        ];
        match poll(&mut descriptors, timeout.as_ref()) {
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
            Ok(_) => return Ok(descriptors[1].revents().is_empty()),
        }
    }
}

struct Acceptor<'a> {
    listener: &'a Listener,
    /// Reserved, so that a connection can be refused when the process is out of file descriptors.
    spare: Option<File>,
    connections: &'a Arc<Connections>,
    handler: Arc<dyn Handler>,
    busy: SyncSender<Stream>,
}

impl Acceptor<'_> {
    fn accept_waiting(&mut self) {
        match self.listener.accept() {
            Ok(stream) => self.take(stream),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if is_descriptor_shortage(&error) => self.accept_with_spare(&error),
            // The peer closed the connection before it was accepted.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                event("accept_failed").field("cause", &error).write();
                thread::sleep(ACCEPT_BACKOFF);
            }
        }
    }

    /// Uses the spare descriptor for one connection, so that it is refused instead of left waiting.
    fn accept_with_spare(&mut self, error: &io::Error) {
        event("accept_failed").field("cause", error).write();
        if self.spare.take().is_some()
            && let Ok(stream) = self.listener.accept()
        {
            refuse_connection(stream);
        }
        self.spare = spare_descriptor();
        if self.spare.is_none() {
            thread::sleep(ACCEPT_BACKOFF);
        }
    }

    fn take(&self, stream: Stream) {
        let Some(registered) = Connections::register(self.connections, stream.clone()) else {
            // Blocks while the queue is full: a refusal takes less than a millisecond, or a second at most.
            let _ = self.busy.send(stream);
            return;
        };
        let handler = Arc::clone(&self.handler);
        let cap = self.connections.cap();
        let spawned = thread::Builder::new()
            .name("connection".to_owned())
            .stack_size(STACK_SIZE)
            .spawn(move || {
                handler.connection_began();
                let outcome = serve_connection(stream, &registered, cap, &*handler);
                handler.connection_ended();
                if let Err(error) = outcome {
                    event("connection_failed").field("cause", error).write();
                }
            });
        if let Err(error) = spawned {
            event("connection_refused").field("cause", error).write();
            thread::sleep(ACCEPT_BACKOFF);
        }
    }
}

/// Answers the requests of one connection until it ends.
fn serve_connection(
    stream: Stream,
    registered: &Registered,
    cap: usize,
    handler: &dyn Handler,
) -> Result<(), ConnectionError> {
    stream.set_timeouts(READ_TIMEOUT, WRITE_TIMEOUT)?;
    let mut connection = Connection::new(stream, cap);
    loop {
        let request = match connection.next_request() {
            Ok(Some(request)) => request,
            Ok(None) => return Ok(()),
            Err(ConnectionError::Io(error)) if is_timeout(&error) => return Ok(()),
            Err(error) => return Err(error),
        };
        registered.set_idle(false);
        let response = answer(handler, &request.params, &mut connection.body());
        let goes_on = connection.reply(&request, &response.to_cgi())?;
        registered.set_idle(true);
        if !goes_on || registered.is_draining() {
            return Ok(());
        }
    }
}

/// Answers one request; a panic becomes a reply with status 500.
fn answer(handler: &dyn Handler, params: &Params, body: &mut dyn Read) -> Response {
    catch_unwind(AssertUnwindSafe(|| handler.answer(params, body))).unwrap_or_else(|panic| {
        let id = request_id(params);
        event("panic")
            .field("request", &id)
            .field("cause", panic_text(&*panic))
            .write();
        Response::fault(&Fault::Internal(String::new())).with("X-Request-Id", id)
    })
}

/// Refuses connections over the cap, one after the other.
fn refuse_connections(waiting: &Receiver<Stream>) {
    waiting.iter().for_each(refuse_connection);
}

/// Answers one request with "Server busy" and closes.
fn refuse_connection(stream: Stream) {
    let mut id = None;
    let refuse = || -> Result<(), ConnectionError> {
        stream.set_timeouts(BUSY_TIMEOUT, BUSY_TIMEOUT)?;
        let mut connection = Connection::new(stream, 0);
        if let Some(request) = connection.next_request()? {
            let id = id.insert(request_id(&request.params));
            let response = Response::refusal(&Refusal::BUSY).with("X-Request-Id", &**id);
            connection.reply(&request, &response.to_cgi())?;
        }
        Ok(())
    };
    let outcome = refuse();
    event("connection_refused")
        .optional("request", id)
        .field("cause", Refusal::BUSY.message())
        .optional("error", outcome.err())
        .write();
}

/// Answers one request as a CGI program (RFC 3875): parameters from the environment, body and reply over the standard streams.
pub(crate) fn serve_cgi(
    handler: &dyn Handler,
    params: &Params,
    body: impl Read,
    mut out: impl Write,
) -> io::Result<()> {
    let length = params.content_length();
    let mut body = CgiBody {
        left: length.unwrap_or(0),
        body,
    };
    let response = match length {
        Some(_) => answer(handler, params, &mut body),
        None => Response::refusal(&Refusal::Malformed("CONTENT_LENGTH is no number"))
            .with("X-Request-Id", request_id(params)),
    };
    out.write_all(&response.to_cgi())?;
    out.flush()?;
    // Some web servers read the reply only after they have written the whole body.
    io::copy(&mut body, &mut io::sink()).or_else(|error| match error.kind() {
        io::ErrorKind::InvalidData => Ok(0),
        _ => Err(error),
    })?;
    Ok(())
}

/// Standard input up to `CONTENT_LENGTH`; a shorter one is an error.
struct CgiBody<R> {
    left: u64,
    body: R,
}

impl<R: Read> Read for CgiBody<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let limit = usize::try_from(self.left)
            .unwrap_or(usize::MAX)
            .min(out.len());
        if limit == 0 {
            return Ok(0);
        }
        match self.body.read(&mut out[..limit])? {
            0 => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the body is not as long as CONTENT_LENGTH says",
            )),
            read => {
                self.left -= read as u64;
                Ok(read)
            }
        }
    }
}

/// Raises the soft limit on file descriptors as far as needed, and returns the number of connections that fit under it.
fn descriptor_cap(max_connections: usize, others: u64) -> usize {
    let wanted = max_connections as u64 * DESCRIPTORS_EACH + others + LOG_DESCRIPTORS;
    let limit = getrlimit(Resource::Nofile);
    if let Some(current) = limit.current.filter(|&current| current < wanted) {
        let raised = limit.maximum.unwrap_or(wanted).min(wanted).max(current);
        let _ = setrlimit(
            Resource::Nofile,
            rustix::process::Rlimit {
                current: Some(raised),
                ..limit
            },
        );
    }
    match getrlimit(Resource::Nofile).current {
        Some(current) => {
            let fitting = current.saturating_sub(others) / DESCRIPTORS_EACH;
            usize::try_from(fitting)
                .unwrap_or(usize::MAX)
                .clamp(1, max_connections)
        }
        None => max_connections,
    }
}

fn spare_descriptor() -> Option<File> {
    File::open("/dev/null").ok()
}

fn is_descriptor_shortage(error: &io::Error) -> bool {
    let code = error
        .raw_os_error()
        .map(rustix::io::Errno::from_raw_os_error);
    matches!(
        code,
        Some(rustix::io::Errno::MFILE | rustix::io::Errno::NFILE)
    )
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}

fn event(name: &str) -> Line {
    Line::new(UtcDateTime::now(), name)
}

#[cfg(test)]
mod tests;
