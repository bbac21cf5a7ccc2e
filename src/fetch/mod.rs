//! Downloads `image_url`, with SSRF protection.
//!
//! `url.rs` holds the rules for a URL's text and `ssrf.rs` those for addresses, both pure; `agent.rs` builds an HTTP client that
//! enforces them on every connection; [`Fetcher`] follows redirects, and [`Download`] enforces size and time.

mod agent;
mod semaphore;
pub mod ssrf;
pub mod url;

use std::fmt;
use std::io::{self, ErrorKind, Read};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ureq::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use ureq::{Agent, Body, BodyReader};

use crate::config;
use semaphore::{Permit, Semaphore};
use ssrf::Rules;
use url::{RefusedUrl, Target};

/// Redirects followed in one download.
const MAX_REDIRECTS: usize = 5;

/// The longest cause in characters, as what a server says may be part of it.
const MAX_CAUSE: usize = 300;

/// Why a download failed.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The server announced or sent more bytes than the limit.
    #[error("larger than the limit")]
    TooLarge,
    /// As many downloads run and wait as may. Nothing was connected to.
    #[error("too many downloads at once")]
    Busy,
    /// Any other failure. The text is for the log only: told to a client it would map the network.
    #[error("{0}")]
    Failed(String),
}

impl FetchError {
    /// A cause of one line, without the control characters that a server may have sent.
    fn failed(cause: &dyn ToString) -> Self {
        let printable = |character: char| {
            if character.is_control() {
                ' '
            } else {
                character
            }
        };
        let cause = cause.to_string();
        Self::Failed(cause.chars().take(MAX_CAUSE).map(printable).collect())
    }

    /// The failure behind an error of [`Download`]'s `read`.
    pub fn from_read(error: io::Error) -> Self {
        error
            .downcast()
            .unwrap_or_else(|error| Self::failed(&error))
    }
}

impl From<RefusedUrl> for FetchError {
    fn from(refused: RefusedUrl) -> Self {
        Self::failed(&refused)
    }
}

impl From<ureq::Error> for FetchError {
    fn from(error: ureq::Error) -> Self {
        Self::failed(&error)
    }
}

/// Downloads images by URL. One per process, because it counts the downloads that run.
#[derive(Debug)]
pub struct Fetcher {
    agent: Agent,
    rules: Arc<Rules>,
    /// One permit for each download that runs.
    running: Semaphore,
    /// One permit for each download that runs or waits. Each holds a connection of the responder, and a few slow servers could
    /// occupy them all: half of the connections are left to uploads of files.
    admitted: Semaphore,
    timeout: Duration,
}

impl Fetcher {
    /// A fetcher that obeys `[fetch]`, in a responder with `max_connections` connections. Nothing is connected to yet.
    ///
    /// # Errors
    /// The addresses of this host's interfaces cannot be read, without which no download can be judged. A service manager that
    /// forbids `AF_NETLINK` sockets is a likely cause.
    pub fn new(settings: &config::Fetch, max_connections: usize) -> io::Result<Self> {
        agent::own_addresses()?;
        let rules = Arc::new(Rules::new(&settings.ports, &settings.allow));
        Ok(Self {
            agent: agent::new(Arc::clone(&rules), settings.max_concurrent),
            rules,
            running: Semaphore::new(settings.max_concurrent),
            admitted: Semaphore::new(settings.max_concurrent.max(max_connections / 2)),
            timeout: settings.timeout(),
        })
    }

    /// Requests `url`, follows redirects, and returns the body of the reply as a reader of at most `max_bytes` bytes.
    ///
    /// A URL refused by its text is refused at once. Otherwise this waits until fewer than `max_concurrent` downloads run. The
    /// wait, the requests and the reading of the body share one deadline, `timeout` after the call.
    pub fn open(&self, url: &[u8], max_bytes: u64) -> Result<Download, FetchError> {
        let deadline = Instant::now() + self.timeout;
        let mut target = self.with_open_port(Target::parse(url)?)?;
        let admitted = self.admitted.try_acquire().ok_or(FetchError::Busy)?;
        let running = self
            .running
            .acquire(deadline)
            .ok_or_else(|| FetchError::failed(&"waited too long for other downloads to end"))?;
        for _ in 0..=MAX_REDIRECTS {
            let response = self.request(&target, deadline)?;
            match response.status() {
                StatusCode::OK => {
                    return Ok(Download {
                        body: Some(open_body(response, max_bytes)?),
                        received: 0,
                        max_bytes,
                        deadline,
                        _permits: [admitted, running],
                    });
                }
                StatusCode::MOVED_PERMANENTLY
                | StatusCode::FOUND
                | StatusCode::SEE_OTHER
                | StatusCode::TEMPORARY_REDIRECT
                | StatusCode::PERMANENT_REDIRECT => {
                    // The body is not read: the connection closes with the response.
                    let location = only_value(response.headers(), &header::LOCATION)?
                        .ok_or_else(|| FetchError::failed(&"a redirect without Location"))?;
                    target = self.with_open_port(target.redirect(location)?)?;
                }
                status => return Err(FetchError::failed(&format!("status {}", status.as_u16()))),
            }
        }
        Err(FetchError::failed(&format!(
            "more than {MAX_REDIRECTS} redirects"
        )))
    }

    fn with_open_port(&self, target: Target) -> Result<Target, FetchError> {
        if self.rules.may_use_port(target.port()) {
            Ok(target)
        } else {
            Err(FetchError::failed(&format!(
                "the port {} is not permitted",
                target.port()
            )))
        }
    }

    fn request(&self, target: &Target, deadline: Instant) -> Result<Response<Body>, FetchError> {
        let response = self
            .agent
            .get(target.uri()?)
            .header(header::CONNECTION, "close")
            .config()
            .timeout_global(Some(deadline.saturating_duration_since(Instant::now())))
            .build()
            .call()?;
        Ok(response)
    }
}

/// The body of a reply, read as it arrives. Counts as a running download until it is dropped.
///
/// Fails if the body exceeds the limit, ends before its announced length, or is not read to its end by the deadline;
/// [`FetchError::from_read`] gives the cause. A body delimited only by the end of the connection (RFC 9112 section 6.3) may be
/// truncated unnoticed.
pub struct Download {
    /// `None` after a failure.
    body: Option<BodyReader<'static>>,
    received: u64,
    max_bytes: u64,
    deadline: Instant,
    _permits: [Permit; 2],
}

impl Download {
    fn try_read(&mut self, out: &mut [u8]) -> Result<usize, FetchError> {
        let body = self
            .body
            .as_mut()
            .ok_or_else(|| FetchError::failed(&"the download failed before"))?;
        let amount = loop {
            match body.read(out) {
                Ok(0) => return Ok(0),
                Ok(amount) => break amount,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(FetchError::failed(&error)),
            }
        };
        self.received = self.received.saturating_add(amount as u64);
        if self.received > self.max_bytes {
            return Err(FetchError::TooLarge);
        }
        // The socket's timeout does not count the time between two reads.
        if Instant::now() >= self.deadline {
            return Err(ureq::Error::Timeout(ureq::Timeout::Global).into());
        }
        Ok(amount)
    }
}

impl Read for Download {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.try_read(out).map_err(|error| {
            // The HTTP client reports the end of a truncated body as an error once, then as an end.
            self.body = None;
            io::Error::other(error)
        })
    }
}

impl fmt::Debug for Download {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Download")
            .field("received", &self.received)
            .field("max_bytes", &self.max_bytes)
            .finish_non_exhaustive()
    }
}

/// A reader of a reply's body, unless its header announces a coding or a length that is refused.
fn open_body(response: Response<Body>, max_bytes: u64) -> Result<BodyReader<'static>, FetchError> {
    let headers = response.headers();
    // Both may be lists; anything but these two texts is a coding that was not asked for and would have to be undone.
    for (name, understood) in [
        (header::CONTENT_ENCODING, "identity"),
        (header::TRANSFER_ENCODING, "chunked"),
    ] {
        if let Some(coding) = only_value(headers, &name)?
            && !coding.eq_ignore_ascii_case(understood.as_bytes())
        {
            let coding = String::from_utf8_lossy(coding);
            return Err(FetchError::failed(&format!("{name}: {coding:?}")));
        }
    }
    let body = response.into_body();
    if body
        .content_length()
        .is_some_and(|length| length > max_bytes)
    {
        return Err(FetchError::TooLarge);
    }
    Ok(body.into_reader())
}

/// The value of a header field. Rejects a repeated field, which proxies may read differently.
fn only_value<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> Result<Option<&'a [u8]>, FetchError> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(FetchError::failed(&format!("{name} is given twice")));
    }
    Ok(first.map(HeaderValue::as_bytes))
}

#[cfg(test)]
mod tests;
