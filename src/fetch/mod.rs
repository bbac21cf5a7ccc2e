//! `image_url`: downloads from addresses that strangers choose, without becoming their way into this network.
//!
//! Read in this order: `url.rs` decides by a URL's text, `address.rs` by an address's number, both pure; `agent.rs` makes an
//! HTTP client that can do nothing else; [`Fetcher`] follows redirects and enforces size and time.

pub mod address;
mod agent;
mod places;
pub mod url;

use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ureq::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use ureq::{Agent, Body};

use crate::config;
use address::Rules;
use places::Places;
use url::{RefusedUrl, Target};

/// Redirects followed in one download.
const MAX_REDIRECTS: usize = 3;

/// Bytes handed to the sink at once.
const CHUNK: usize = 32 << 10;

/// The longest cause in characters, as what a server says may be part of it.
const MAX_CAUSE: usize = 300;

/// Why there is no download.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The server announced or sent more than was asked for.
    #[error("larger than the limit")]
    TooLarge,
    /// As many downloads run or wait as may do so. Nothing was connected to.
    #[error("too many downloads at once")]
    Busy,
    /// Anything else between here and there. The text is for the log only: told to a client it would map the network.
    #[error("{0}")]
    Failed(String),
    /// The sink did not take the bytes.
    #[error("the download could not be written: {0}")]
    Sink(#[source] io::Error),
}

impl FetchError {
    /// One line for the log, whatever a server put into it.
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

/// Downloads images by URL. One for the process: it is what counts the downloads.
#[derive(Debug)]
pub struct Fetcher {
    agent: Agent,
    rules: Arc<Rules>,
    /// For downloads that run.
    places: Places,
    /// For downloads that run or wait. Each holds a connection of the responder, and a few hostile servers could fill them all with
    /// requests that wait for one another: half of the connections are left to those who send a file.
    room: Places,
    timeout: Duration,
}

impl Fetcher {
    /// A fetcher that obeys `[fetch]`, for a responder with so many connections. Nothing is connected to yet.
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
            places: Places::new(settings.max_concurrent),
            room: Places::new(settings.max_concurrent.max(max_connections / 2)),
            timeout: settings.timeout(),
        })
    }

    /// Downloads `url` into `sink` and gives the number of bytes, at most `max_size`.
    ///
    /// A URL that its text alone condemns is refused at once. Otherwise this blocks until one of `max_concurrent` places is
    /// free and the download is over, together no longer than `timeout`. A body that ends before its announced length is a
    /// failure; one whose end is only the connection's (RFC 9112 section 6.3) may be cut short unnoticed. After an error the
    /// sink may hold part of the body, never more than `max_size` bytes.
    pub fn download(
        &self,
        url: &[u8],
        max_size: u64,
        sink: &mut dyn Write,
    ) -> Result<u64, FetchError> {
        let deadline = Instant::now() + self.timeout;
        let mut target = self.with_open_port(Target::parse(url)?)?;
        let Some(_room) = self.room.take(Instant::now()) else {
            return Err(FetchError::Busy);
        };
        let Some(_place) = self.places.take(deadline) else {
            return Err(FetchError::failed(&"no place for another download"));
        };
        for _ in 0..=MAX_REDIRECTS {
            let response = self.request(&target, deadline)?;
            match response.status() {
                StatusCode::OK => return copy_body(response, max_size, deadline, sink),
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

fn copy_body(
    response: Response<Body>,
    max_size: u64,
    deadline: Instant,
    sink: &mut dyn Write,
) -> Result<u64, FetchError> {
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
        .is_some_and(|length| length > max_size)
    {
        return Err(FetchError::TooLarge);
    }
    let mut body = body.into_reader();
    let mut chunk = vec![0; CHUNK];
    let mut total = 0u64;
    loop {
        let amount = match body.read(&mut chunk) {
            Ok(0) => return Ok(total),
            Ok(amount) => amount,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(FetchError::failed(&error)),
        };
        total = total.saturating_add(amount as u64);
        if total > max_size {
            return Err(FetchError::TooLarge);
        }
        // A socket's timeout does not see the time that the sink takes.
        if Instant::now() >= deadline {
            return Err(ureq::Error::Timeout(ureq::Timeout::Global).into());
        }
        sink.write_all(&chunk[..amount]).map_err(FetchError::Sink)?;
    }
}

/// The value of a field that may be given once. Two of them are two opinions, which readers on the way may tell apart differently.
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
