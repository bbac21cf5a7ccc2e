//! The HTTP client of [`Fetcher`](super::Fetcher): a ureq agent whose resolver and connector enforce [`Rules`].
//!
//! ureq calls the resolver for every request, for IP literals too, and connects only to its answers. So the checked address is the
//! one connected to, which rules out DNS rebinding. The connector checks the peer's address once more after connecting.
//!
//! TLS trusts the Mozilla roots that ureq's `rustls` feature compiles in (webpki-roots): downloads come from the public web, the
//! result does not depend on what the host has installed, and a host without `ca-certificates` works. A server with a
//! certificate of an operator's own authority cannot be downloaded from over https; `[fetch] allow` reaches it over http.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use ureq::config::{AutoHeaderValue, Config};
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, RustlsConnector, Transport,
};
use ureq::{Agent, Error, Timeout};

use super::ssrf::{Rules, canonical};
use super::url::MAX_URL;
use crate::semaphore::Semaphore;

/// The longest a name may take to resolve.
const RESOLVE: Duration = Duration::from_secs(3);

/// The longest that TCP and TLS together may take to connect.
const CONNECT: Duration = Duration::from_secs(5);

/// The longest that the reply's header may take to arrive.
const HEADERS: Duration = Duration::from_secs(10);

/// The largest header of a reply, in bytes.
const MAX_HEADER: usize = 16 << 10;

/// Bytes read at once; more than [`MAX_HEADER`], so that the limit of a header is that one.
const INPUT_BUFFER: usize = 32 << 10;

/// Bytes of a request's header at most: the longest URL, in the request line, and a few fields.
const OUTPUT_BUFFER: usize = MAX_URL + (2 << 10);

/// The most addresses of one name that are tried, as many as ureq takes.
const MAX_ADDRESSES: usize = 16;

/// Resolver threads for each running download. `getaddrinfo` cannot be interrupted: a lookup without an answer holds its thread for
/// the system's timeout (30 s with glibc's defaults), long after its download failed at [`RESOLVE`].
const LOOKUPS_PER_DOWNLOAD: usize = 4;

/// An agent that connects only to what `rules` permit, for `max_concurrent` downloads at once.
pub(super) fn new(rules: Arc<Rules>, max_concurrent: usize) -> Agent {
    let resolver = SsrfResolver {
        rules: Arc::clone(&rules),
        lookups: Semaphore::new(max_concurrent.saturating_mul(LOOKUPS_PER_DOWNLOAD)),
    };
    let connector = SsrfConnector { rules }.chain(RustlsConnector::default());
    Agent::with_parts(config(), connector, resolver)
}

/// No redirects, no connection pool, no proxy from the environment.
fn config() -> Config {
    Config::builder()
        .proxy(None)
        .max_redirects(0)
        .http_status_as_error(false)
        .max_idle_connections(0)
        .max_idle_connections_per_host(0)
        .accept_encoding(AutoHeaderValue::None)
        .user_agent(concat!(
            env!("CARGO_PKG_NAME"),
            "/",
            env!("CARGO_PKG_VERSION")
        ))
        .max_response_header_size(MAX_HEADER)
        .input_buffer_size(INPUT_BUFFER)
        .output_buffer_size(OUTPUT_BUFFER)
        .timeout_resolve(Some(RESOLVE))
        .timeout_connect(Some(CONNECT))
        .timeout_send_request(Some(CONNECT))
        .timeout_recv_response(Some(HEADERS))
        .build()
}

/// The current addresses of this host's interfaces. Reading them takes an `AF_NETLINK` socket.
pub(super) fn own_addresses() -> io::Result<Vec<IpAddr>> {
    let interfaces = if_addrs::get_if_addrs()?;
    Ok(interfaces
        .iter()
        .map(|interface| interface.addr.ip())
        .collect())
}

/// The rules deny this address; for the log.
#[derive(Debug, thiserror::Error)]
#[error("the address {0} is not permitted")]
struct Denied(SocketAddr);

/// Refuses all of `addresses` if one of them is denied: a name with a public and a private address is an attack.
fn check(rules: &Rules, addresses: &[SocketAddr], own: &[IpAddr]) -> Result<(), Denied> {
    match addresses
        .iter()
        .find(|&&address| !rules.permits(address, own))
    {
        Some(&denied) => Err(Denied(denied)),
        None => Ok(()),
    }
}

fn other(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Other(Box::new(error))
}

#[derive(Debug)]
struct SsrfResolver {
    rules: Arc<Rules>,
    lookups: Semaphore,
}

impl Resolver for SsrfResolver {
    fn resolve(
        &self,
        uri: &Uri,
        _: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let host = uri.host().ok_or(Error::HostNotFound)?;
        let port = uri
            .port_u16()
            .unwrap_or(if uri.scheme_str() == Some("https") {
                443
            } else {
                80
            });
        let literal = host.trim_start_matches('[').trim_end_matches(']');
        let answers = if let Ok(address) = literal.parse::<IpAddr>() {
            vec![SocketAddr::new(address, port)]
        } else {
            let host = host.to_owned();
            look_up(&self.lookups, timeout, move || {
                (host.as_str(), port).to_socket_addrs().map(Vec::from_iter)
            })?
        };
        let answers: Vec<SocketAddr> = answers.into_iter().map(canonical).collect();
        check(&self.rules, &answers, &own_addresses()?).map_err(other)?;
        if answers.is_empty() {
            return Err(Error::HostNotFound);
        }
        let mut addresses = self.empty();
        for address in answers.into_iter().take(MAX_ADDRESSES) {
            addresses.push(address);
        }
        Ok(addresses)
    }
}

/// Runs `lookup` in a thread and gives up at the timeout. The thread holds its permit until it ends, which bounds the number of
/// threads; waiting for a permit counts against the timeout.
fn look_up<T: Send + 'static>(
    permits: &Semaphore,
    timeout: NextTimeout,
    lookup: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, Error> {
    let budget = Budget::of(timeout);
    let permit = permits
        .acquire(budget.deadline)
        .ok_or_else(|| budget.spent())?;
    let (sender, receiver) = mpsc::sync_channel(1);
    thread::Builder::new()
        .name("resolve".to_owned())
        .spawn(move || {
            let answer = lookup();
            drop(permit);
            // Nobody listens any more when the timeout came first.
            let _ = sender.send(answer);
        })?;
    match receiver.recv_timeout(budget.left()?) {
        Ok(answer) => Ok(answer?),
        Err(mpsc::RecvTimeoutError::Timeout) => Err(budget.spent()),
        Err(mpsc::RecvTimeoutError::Disconnected) => Err(Error::HostNotFound),
    }
}

/// The time for one step, fixed when the step begins.
struct Budget {
    deadline: Instant,
    reason: Timeout,
}

impl Budget {
    /// Every request has a deadline, so a timeout without a limit does not occur; it would become a day.
    fn of(timeout: NextTimeout) -> Self {
        let after = (*timeout.after).min(Duration::from_hours(24));
        Self {
            deadline: Instant::now() + after,
            reason: timeout.reason,
        }
    }

    /// The time left; never zero, which means no timeout to a socket.
    fn left(&self) -> Result<Duration, Error> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            Err(self.spent())
        } else {
            Ok(left)
        }
    }

    fn spent(&self) -> Error {
        Error::Timeout(self.reason)
    }

    /// Turns a socket's timeout into the error of this step.
    fn judge(&self, error: io::Error) -> Error {
        match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => self.spent(),
            _ => Error::Io(error),
        }
    }
}

/// Opens TCP connections to the resolver's answers only.
#[derive(Debug)]
struct SsrfConnector {
    rules: Arc<Rules>,
}

impl Connector for SsrfConnector {
    type Out = Connection;

    fn connect(
        &self,
        details: &ConnectionDetails,
        _: Option<()>,
    ) -> Result<Option<Connection>, Error> {
        let budget = Budget::of(details.timeout);
        let mut failure = Error::ConnectionFailed;
        for (index, address) in details.addrs.iter().enumerate() {
            let left = budget.left()?;
            // Half of the time left for each address, all of it for the last: an address that drops packets, such as IPv6 on a
            // host without a route, leaves time for the next.
            let last = index + 1 == details.addrs.len();
            let patience = if last { left } else { left / 2 };
            match TcpStream::connect_timeout(address, patience.max(Duration::from_millis(1))) {
                Ok(stream) => return self.admit(stream, details.config).map(Some),
                Err(error) => failure = budget.judge(error),
            }
        }
        Err(failure)
    }
}

impl SsrfConnector {
    fn admit(&self, stream: TcpStream, config: &Config) -> Result<Connection, Error> {
        check(&self.rules, &[stream.peer_addr()?], &own_addresses()?).map_err(other)?;
        stream.set_nodelay(true)?;
        Ok(Connection {
            stream,
            buffers: LazyBuffers::new(config.input_buffer_size(), config.output_buffer_size()),
        })
    }
}

/// A TCP connection with a timeout for each read and write.
struct Connection {
    stream: TcpStream,
    buffers: LazyBuffers,
}

impl Transport for Connection {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        let budget = Budget::of(timeout);
        let mut unsent = &self.buffers.output()[..amount];
        while !unsent.is_empty() {
            self.stream.set_write_timeout(Some(budget.left()?))?;
            match self.stream.write(unsent) {
                Ok(0) => return Err(Error::Io(ErrorKind::WriteZero.into())),
                Ok(sent) => unsent = &unsent[sent..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(budget.judge(error)),
            }
        }
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let budget = Budget::of(timeout);
        loop {
            // A signal ends a read that has a timeout, whatever SA_RESTART says (signal(7)).
            self.stream.set_read_timeout(Some(budget.left()?))?;
            match self.stream.read(self.buffers.input_append_buf()) {
                Ok(amount) => {
                    self.buffers.input_appended(amount);
                    return Ok(amount > 0);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(budget.judge(error)),
            }
        }
    }

    /// Only a connection pool calls this; there is none.
    fn is_open(&mut self) -> bool {
        false
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Connection").field(&self.stream).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use ureq::unversioned::transport::time;

    #[test]
    fn nothing_comes_from_the_environment_or_is_kept() {
        let config = config();
        assert!(config.proxy().is_none());
        assert_eq!(config.max_redirects(), 0);
        assert!(!config.http_status_as_error());
        assert_eq!(config.max_idle_connections(), 0);
        assert_eq!(config.max_idle_connections_per_host(), 0);
        assert_eq!(config.max_response_header_size(), 16 << 10);
        assert!(matches!(config.accept_encoding(), AutoHeaderValue::None));
        let timeouts = config.timeouts();
        assert_eq!(
            [timeouts.resolve, timeouts.connect, timeouts.recv_response],
            [3, 5, 10].map(|seconds| Some(Duration::from_secs(seconds)))
        );
    }

    #[test]
    fn one_denied_answer_denies_the_name() {
        let rules = Rules::new(&[80], &[]);
        let socket = |text: &str| text.parse::<SocketAddr>().expect("an address and a port");
        let public = [socket("8.8.8.8:80"), socket("[2606:4700::1111]:80")];
        assert!(check(&rules, &public, &[]).is_ok());
        for denied in ["127.0.0.1:80", "[fd00::1]:80", "8.8.4.4:22"] {
            for position in 0..=public.len() {
                let mut answers = public.to_vec();
                answers.insert(position, socket(denied));
                assert!(check(&rules, &answers, &[]).is_err(), "{answers:?}");
            }
        }
        assert!(check(&rules, &public, &[public[1].ip()]).is_err());
    }

    #[test]
    fn a_peer_that_no_rule_permits_is_hung_up_on() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("its address");
        for (allow, admitted) in [(&[address][..], true), (&[][..], false)] {
            let connector = SsrfConnector {
                rules: Arc::new(Rules::new(&[address.port()], allow)),
            };
            let stream = TcpStream::connect(address).expect("a connection");
            assert_eq!(connector.admit(stream, &config()).is_ok(), admitted);
        }
    }

    #[test]
    fn this_hosts_addresses_are_known() {
        let own = own_addresses().expect("the interfaces");
        assert!(own.iter().any(IpAddr::is_loopback), "{own:?}");
    }

    fn within(milliseconds: u64) -> NextTimeout {
        NextTimeout {
            after: time::Duration::from_millis(milliseconds),
            reason: Timeout::Resolve,
            ..NextTimeout::default()
        }
    }

    #[test]
    fn lookups_that_hang_keep_their_permits_and_no_more_are_started() {
        let permits = Semaphore::new(2);
        let mut releases = Vec::new();
        for _ in 0..2 {
            let (release, told) = mpsc::channel::<()>();
            releases.push(release);
            let hanging = look_up(&permits, within(5), move || {
                let _ = told.recv();
                Ok(())
            });
            assert!(matches!(hanging, Err(Error::Timeout(Timeout::Resolve))));
        }
        let refused = look_up(&permits, within(200), || Ok(()));
        assert!(matches!(refused, Err(Error::Timeout(Timeout::Resolve))));
        drop(releases);
        let answered = look_up(&permits, within(60_000), || Ok(7));
        assert!(matches!(answered, Ok(7)));
    }

    #[test]
    fn a_lookup_that_fails_says_why() {
        let permits = Semaphore::new(1);
        let failed = look_up(&permits, within(60_000), || -> io::Result<()> {
            Err(io::Error::other("no such name"))
        });
        assert!(failed.is_err_and(|error| error.to_string().contains("no such name")));
    }
}
