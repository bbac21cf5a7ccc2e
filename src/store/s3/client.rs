//! Sends requests to the bucket: signed, with a deadline, and again while the store is busy.

use std::io::{self, Read};
use std::thread;
use std::time::{Duration, Instant};

use rusty_s3::{Bucket, Credentials, S3Action};
use time::UtcDateTime;
use ureq::config::AutoHeaderValue;
use ureq::http::{HeaderMap, Request, Response};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::unversioned::transport::DefaultConnector;
use ureq::{Agent, Body, Error, SendBody};

use super::failure::Failure;
use super::resolver::{Addresses, RESOLVE};
use super::{key, urls};
use crate::authorities;
use crate::config;
use crate::random;

/// How long a signature is valid. A store refuses one whose time is more than 15 minutes off.
const VALID_FOR: Duration = Duration::from_mins(15);

/// How long TCP and TLS together may take.
const CONNECT: Duration = Duration::from_secs(3);

/// Attempts of one request; the waits between them add up to 3 s at most.
const TRIES: u32 = 6;

/// The longest wait before the second attempt; it doubles with each.
const FIRST_WAIT: Duration = Duration::from_millis(100);

/// Each of the two buffers of a connection, in bytes, which it keeps. Those that ureq would make are twice as large.
const BUFFER: usize = 64 << 10;

/// Connections that are kept for the next requests.
const KEPT_CONNECTIONS: usize = 64;

/// The largest XML document that is read, in bytes. A page of 1,000 objects has about 300 kB.
const MAX_DOCUMENT: u64 = 8 << 20;

/// The bucket and how to reach it.
#[derive(Debug)]
pub(super) struct Client {
    agent: Agent,
    addresses: Addresses,
    pub(super) bucket: Bucket,
    /// What signs a request, as the actions take it.
    pub(super) credentials: Option<Credentials>,
    place: String,
    /// How long a PUT of an image may take, its repetitions included.
    pub(super) upload_deadline: Duration,
}

/// The headers and the body of a reply with a status from 200 to 299.
pub(super) struct Reply {
    pub(super) headers: HeaderMap,
    body: Body,
}

/// What a request carries.
pub(super) enum Payload<'a> {
    Nothing,
    /// Sends so many bytes of the reader.
    Bytes(&'a mut dyn Read, u64),
}

impl Client {
    /// Reads the key file and the certificates of the authorities. Nothing is sent yet.
    pub(super) fn new(s3: &config::S3, upload_deadline: Duration) -> io::Result<Self> {
        let addresses = Addresses::default();
        let config = ureq::config::Config::builder()
            .proxy(None)
            .max_redirects(0)
            .http_status_as_error(false)
            .max_idle_connections(KEPT_CONNECTIONS)
            .max_idle_connections_per_host(KEPT_CONNECTIONS)
            .input_buffer_size(BUFFER)
            .output_buffer_size(BUFFER)
            .accept_encoding(AutoHeaderValue::None)
            .user_agent(concat!(
                env!("CARGO_PKG_NAME"),
                "/",
                env!("CARGO_PKG_VERSION")
            ))
            .timeout_resolve(Some(RESOLVE))
            .timeout_connect(Some(CONNECT))
            .tls_config(tls(s3)?)
            .build();
        Ok(Self {
            agent: Agent::with_parts(config, DefaultConnector::default(), addresses.clone()),
            addresses,
            bucket: urls::bucket(s3)?,
            credentials: Some(key::read(&s3.key_file)?),
            place: s3.place().to_string(),
            upload_deadline,
        })
    }

    /// Names the bucket in messages.
    pub(super) fn place(&self) -> &str {
        &self.place
    }

    /// Sends one request once. `headers`, whose names are in lower case, are not signed; those of `action` are, and are sent, too.
    pub(super) fn send<'a, A: S3Action<'a>>(
        &self,
        mut action: A,
        headers: &[(&str, &str)],
        payload: Payload<'_>,
        deadline: Instant,
    ) -> Result<Reply, Failure> {
        let url = action.sign(VALID_FOR);
        let mut request = Request::builder()
            .method(A::METHOD.to_str())
            .uri(url.as_str());
        for (name, value) in action.headers_mut().iter() {
            request = request.header(name, value);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let outcome = match payload {
            Payload::Nothing => self.run(request.body(SendBody::none()), deadline),
            Payload::Bytes(reader, size) => {
                let request = request.header("content-length", size);
                self.run(request.body(SendBody::from_reader(reader)), deadline)
            }
        };
        let response = outcome.map_err(|error| {
            if matches!(
                error,
                Error::ConnectionFailed | Error::Io(_) | Error::HostNotFound | Error::Timeout(_)
            ) {
                self.addresses.forget();
            }
            Failure::of_request(&error)
        })?;
        let (head, body) = response.into_parts();
        if head.status.is_success() {
            return Ok(Reply {
                headers: head.headers,
                body,
            });
        }
        let date = head.headers.get("date").and_then(|date| date.to_str().ok());
        // The whole body, so that the connection can be used again. A reply to HEAD has none.
        let text = document(body).unwrap_or_default();
        Err(Failure::refused(
            head.status.as_u16(),
            date,
            &text,
            UtcDateTime::now(),
        ))
    }

    fn run(
        &self,
        request: Result<Request<SendBody<'_>>, ureq::http::Error>,
        deadline: Instant,
    ) -> Result<Response<Body>, Error> {
        let left = deadline.saturating_duration_since(Instant::now());
        // Zero would mean no timeout.
        let left = left.max(Duration::from_millis(1));
        let request = self
            .agent
            .configure_request(request?)
            .timeout_global(Some(left))
            .build();
        self.agent.run(request)
    }
}

/// TLS that verifies the store with these authorities, or with those of the system. Those that are compiled in are for systems without.
fn tls(s3: &config::S3) -> io::Result<TlsConfig> {
    let file = authorities::file(s3.ca_file.as_deref());
    let roots = match file.filter(|_| s3.is_https()) {
        None => RootCerts::WebPki,
        Some(file) => {
            let certificates = authorities::read(file, "[storage] ca_file");
            let certificates =
                certificates.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            certificates
                .iter()
                .map(|certificate| Certificate::from_der(certificate).to_owned())
                .collect::<Vec<_>>()
                .into()
        }
    };
    Ok(TlsConfig::builder().root_certs(roots).build())
}

/// Repeats `attempt` while it fails for a reason that may pass, until the deadline.
pub(super) fn retry<T>(
    deadline: Instant,
    mut attempt: impl FnMut() -> Result<T, Failure>,
) -> Result<T, Failure> {
    let mut tries = 0;
    loop {
        tries += 1;
        let failure = match attempt() {
            Err(failure) if failure.is_transient() && tries < TRIES => failure,
            outcome => return outcome,
        };
        let wait = jittered(FIRST_WAIT * 2_u32.pow(tries - 1));
        if Instant::now() + wait >= deadline {
            return Err(failure);
        }
        thread::sleep(wait);
    }
}

impl Reply {
    /// A header as text; `None` if it is not there.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body as a text of at most [`MAX_DOCUMENT`] bytes.
    pub(super) fn document(self) -> Result<String, Failure> {
        document(self.body).map_err(|error| Failure::Unanswered(error.to_string()))
    }

    /// The body as it arrives.
    pub(super) fn reader(self) -> impl Read + use<> {
        self.body.into_reader()
    }
}

fn document(mut body: Body) -> Result<String, Error> {
    body.with_config()
        .limit(MAX_DOCUMENT)
        .lossy_utf8(true)
        .read_to_string()
}

/// A random part of `wait`, so that many clients of a busy store do not come back at once.
fn jittered(wait: Duration) -> Duration {
    let mut byte = [0];
    // Without random bytes it waits the whole time.
    if random::fill(&mut byte).is_err() {
        return wait;
    }
    wait * u32::from(byte[0]) / 255
}
