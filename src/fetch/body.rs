//! The body of a download: codings, size and deadline.

use std::fmt;
use std::io::{self, ErrorKind, Read};
use std::time::Instant;

use flate2::read::GzDecoder;
use ureq::Body;
use ureq::http::{HeaderMap, Response, header};

use super::admission::Slot;
use super::{FetchError, only_value};

/// The content codings of the IANA HTTP Content Coding Registry that a body cannot be read without and that are not decoded.
const UNSUPPORTED: [&str; 11] = [
    "aes128gcm",
    "br",
    "compress",
    "dcb",
    "dcz",
    "deflate",
    "exi",
    "pack200-gzip",
    "x-compress",
    "zstd",
    "x-zstd",
];

/// What gzip may add to bytes that it cannot compress: RFC 1951 adds 5 bytes to each stored block, RFC 1952 a header.
const fn gzip_overhead(bytes: u64) -> u64 {
    bytes / 256 + 4096
}

/// The body of a reply, read as it arrives. Counts as a running download until it is dropped.
///
/// Fails if the body exceeds the limit, ends before its announced length, or is not read to its end by the deadline;
/// [`FetchError::from_read`] gives the cause. A body delimited only by the end of the connection (RFC 9112 section 6.3) may be
/// truncated unnoticed.
pub struct Download {
    /// `None` after a failure.
    body: Option<Box<dyn Read>>,
    received: u64,
    max_bytes: u64,
    deadline: Instant,
    slot: Slot,
}

impl Download {
    /// The body of `response`, unless its header announces a coding or a length that is refused.
    pub(super) fn new(
        response: Response<Body>,
        max_bytes: u64,
        deadline: Instant,
        slot: Slot,
    ) -> Result<Self, FetchError> {
        let headers = response.headers();
        if let Some(coding) = only_value(headers, &header::TRANSFER_ENCODING)?
            && !coding.eq_ignore_ascii_case(b"chunked")
        {
            let coding = coding.escape_ascii();
            return Err(FetchError::failed(&format!("Transfer-Encoding: {coding}")));
        }
        let gzip = is_gzip(headers)?;
        let body = response.into_body();
        let max_transferred = if gzip {
            max_bytes.saturating_add(gzip_overhead(max_bytes))
        } else {
            max_bytes
        };
        if body
            .content_length()
            .is_some_and(|length| length > max_transferred)
        {
            return Err(FetchError::TooLarge);
        }
        let body = body.into_reader();
        let body: Box<dyn Read> = if gzip {
            Box::new(GzDecoder::new(body.take(max_transferred)))
        } else {
            Box::new(body)
        };
        Ok(Self {
            body: Some(body),
            received: 0,
            max_bytes,
            deadline,
            slot,
        })
    }

    fn try_read(&mut self, out: &mut [u8]) -> Result<usize, FetchError> {
        if out.is_empty() {
            return Ok(0);
        }
        let body = self
            .body
            .as_mut()
            .ok_or_else(|| FetchError::failed(&"the download failed before"))?;
        let amount = loop {
            match body.read(out) {
                Ok(0) => {
                    self.slot.succeed();
                    return Ok(0);
                }
                Ok(amount) => break amount,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(FetchError::failed(&error)),
            }
        };
        self.received = self.received.saturating_add(amount as u64);
        self.slot.transferred(amount as u64);
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

/// Whether the body is compressed with gzip, which servers send unasked. Object stores return as `Content-Encoding` whatever the
/// uploader gave them, often a charset, `base64` or `aws-chunked`: as browsers do, a coding that nobody registered is ignored.
fn is_gzip(headers: &HeaderMap) -> Result<bool, FetchError> {
    let mut gzip = false;
    for value in headers.get_all(header::CONTENT_ENCODING) {
        for coding in value.as_bytes().split(|&byte| byte == b',') {
            let coding = coding.trim_ascii();
            let is = |name: &&str| coding.eq_ignore_ascii_case(name.as_bytes());
            let is_gzip = ["gzip", "x-gzip"].iter().any(is);
            if UNSUPPORTED.iter().any(is) || (is_gzip && gzip) {
                let coding = coding.escape_ascii();
                return Err(FetchError::failed(&format!("Content-Encoding: {coding}")));
            }
            gzip |= is_gzip;
        }
    }
    Ok(gzip)
}
