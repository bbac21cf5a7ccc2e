//! An HTTP/1.1 client: one kept connection, one request at a time.

use std::io::{self, IoSlice, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// The timeout of reads and writes.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The most bytes of a reply's head.
const MAX_HEAD: usize = 16 * 1024;

pub struct Client {
    address: SocketAddr,
    connection: Option<TcpStream>,
    buffer: Vec<u8>,
}

/// A reply; its bytes stay in the client until the next exchange.
#[derive(Debug, Clone, Copy)]
pub struct Reply<'a> {
    pub status: u16,
    pub body: &'a [u8],
}

impl Client {
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            connection: None,
            buffer: Vec::new(),
        }
    }

    /// Sends a request in several pieces and reads the whole reply.
    pub fn exchange(&mut self, request: &[&[u8]]) -> io::Result<Reply<'_>> {
        let mut stream = match self.connection.take() {
            Some(stream) => stream,
            None => connect(self.address)?,
        };
        write_all(&mut stream, request)?;
        let head = self.read_head(&mut stream)?;
        self.read_to(&mut stream, head.end + head.length)?;
        if !head.closes {
            self.connection = Some(stream);
        }
        Ok(Reply {
            status: head.status,
            body: &self.buffer[head.end..head.end + head.length],
        })
    }

    fn read_head(&mut self, stream: &mut TcpStream) -> io::Result<Head> {
        self.buffer.clear();
        loop {
            let known = self.buffer.len();
            self.read_to(stream, known + 1)?;
            let from = known.saturating_sub(3);
            let end = self.buffer[from..]
                .windows(4)
                .position(|four| four == b"\r\n\r\n");
            if let Some(end) = end {
                let end = from + end + 4;
                return Head::parse(&self.buffer[..end]).ok_or_else(|| {
                    let text = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
                    io::Error::new(io::ErrorKind::InvalidData, text)
                });
            }
            if self.buffer.len() > MAX_HEAD {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "a reply without an end of its head",
                ));
            }
        }
    }

    /// Reads until the buffer holds `wanted` bytes or more.
    fn read_to(&mut self, stream: &mut TcpStream, wanted: usize) -> io::Result<()> {
        while self.buffer.len() < wanted {
            let had = self.buffer.len();
            self.buffer.resize(wanted.max(had + 4096), 0);
            let read = stream.read(&mut self.buffer[had..]);
            self.buffer.truncate(had + *read.as_ref().unwrap_or(&0));
            if read? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }
}

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    Ok(stream)
}

fn write_all(stream: &mut TcpStream, pieces: &[&[u8]]) -> io::Result<()> {
    let mut slices: Vec<_> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
    let mut left = &mut slices[..];
    while !left.is_empty() {
        let written = stream.write_vectored(left)?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        IoSlice::advance_slices(&mut left, written);
    }
    Ok(())
}

struct Head {
    status: u16,
    end: usize,
    length: usize,
    closes: bool,
}

impl Head {
    /// Parses a head with Content-Length, which every server here sends.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let text = str::from_utf8(bytes).ok()?;
        let mut lines = text.split("\r\n");
        let status = lines
            .next()?
            .strip_prefix("HTTP/1.1 ")?
            .get(..3)?
            .parse()
            .ok()?;
        let mut length = None;
        let mut closes = false;
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            if name.eq_ignore_ascii_case("content-length") {
                length = Some(value.trim().parse().ok()?);
            } else if name.eq_ignore_ascii_case("connection") {
                closes = value.trim().eq_ignore_ascii_case("close");
            }
        }
        Some(Self {
            status,
            end: bytes.len(),
            length: length?,
            closes,
        })
    }
}
