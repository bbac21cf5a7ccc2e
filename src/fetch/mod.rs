//! Downloads `image_url`, with SSRF protection.
//!
//! `url.rs` holds the rules for a URL's text and `ssrf.rs` those for addresses, both pure; `agent.rs` builds an HTTP client that
//! enforces them on every connection; `admission.rs` limits the downloads of a client; [`Fetcher`] follows redirects, and [`Download`]
//! enforces size and time.

mod admission;
mod agent;
mod body;
pub mod ssrf;
pub mod url;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ureq::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use ureq::{Agent, Body};

use crate::config;

use admission::Admission;
pub use body::Download;
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
    /// No slot for another download, of all clients or of this one. Nothing was connected to.
    #[error("{cause}")]
    Busy {
        /// For the log.
        cause: &'static str,
        /// Seconds until another attempt makes sense.
        retry_after: u64,
    },
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
    admission: Admission,
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
            admission: Admission::new(settings.max_concurrent, max_connections),
            timeout: settings.timeout(),
        })
    }

    /// Requests `url`, follows redirects, and returns the body of the reply as a reader of at most `max_bytes` bytes.
    ///
    /// `client` is the client that asked, whose share of the downloads this is. A URL refused by its text is refused at once.
    /// Otherwise this waits until fewer than `max_concurrent` downloads run, a quarter of them for one client. The wait, the requests
    /// and the reading of the body share one deadline, `timeout` after the call.
    pub fn open(&self, client: i64, url: &[u8], max_bytes: u64) -> Result<Download, FetchError> {
        let deadline = Instant::now() + self.timeout;
        let mut target = self.with_open_port(Target::parse(url)?)?;
        let slot = self.admission.admit(client, deadline)?;
        for _ in 0..=MAX_REDIRECTS {
            let response = self.request(&target, deadline)?;
            match response.status() {
                StatusCode::OK | StatusCode::NON_AUTHORITATIVE_INFORMATION => {
                    return Download::new(response, max_bytes, deadline, slot);
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

    /// Charges `client` for a download of `bytes` bytes that arrived whole and is no image that is accepted.
    pub fn charge(&self, client: i64, bytes: u64) {
        self.admission.charge(client, bytes);
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
