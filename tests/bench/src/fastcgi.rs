//! FastCGI (Specification 1.0, sections 3 and 5) for the bare responder, and for a client without nginx.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use support::fastcgi::{BEGIN_REQUEST, END_REQUEST, PARAMS, STDIN, STDOUT, encode_params, record};

/// The role of a responder, and the flag that keeps the connection open.
const RESPONDER_KEPT: [u8; 8] = [0, 1, 1, 0, 0, 0, 0, 0];

/// The timeout of reads and writes.
const TIMEOUT: Duration = Duration::from_secs(30);

pub struct Header {
    pub kind: u8,
    pub id: u16,
    pub content: usize,
    pub padding: usize,
}

impl Header {
    pub fn read(source: &mut impl Read) -> io::Result<Self> {
        let mut bytes = [0; 8];
        source.read_exact(&mut bytes)?;
        Ok(Self {
            kind: bytes[1],
            id: u16::from_be_bytes([bytes[2], bytes[3]]),
            content: usize::from(u16::from_be_bytes([bytes[4], bytes[5]])),
            padding: usize::from(bytes[6]),
        })
    }
}

pub fn skip(source: &mut impl BufRead, bytes: usize) -> io::Result<()> {
    io::copy(&mut source.take(bytes as u64), &mut io::sink()).map(drop)
}

/// A connection to a responder, kept open.
pub struct Peer(BufReader<UnixStream>);

impl Peer {
    pub fn connect(socket: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        Ok(Self(BufReader::with_capacity(4096, stream)))
    }

    /// Sends a request with a small body; returns the reply with its headers.
    pub fn exchange(&mut self, params: &[(&str, &str)], body: &[u8]) -> io::Result<Vec<u8>> {
        let mut request = record(BEGIN_REQUEST, 1, &RESPONDER_KEPT);
        request.extend(record(PARAMS, 1, &encode_params(params.iter().copied())));
        request.extend(record(PARAMS, 1, b""));
        for piece in body.chunks(32 * 1024) {
            request.extend(record(STDIN, 1, piece));
        }
        request.extend(record(STDIN, 1, b""));
        self.0.get_mut().write_all(&request)?;
        let mut reply = Vec::new();
        loop {
            let header = Header::read(&mut self.0)?;
            if header.kind == STDOUT {
                let mut content = (&mut self.0).take(header.content as u64);
                content.read_to_end(&mut reply)?;
            } else {
                skip(&mut self.0, header.content)?;
            }
            skip(&mut self.0, header.padding)?;
            if header.kind == END_REQUEST {
                return Ok(reply);
            }
        }
    }
}
