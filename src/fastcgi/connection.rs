//! Reads requests from a FastCGI connection and writes replies.
//!
//! A connection carries one request at a time (nginx does not multiplex). [`Connection::next_request`] reads to the end of the
//! parameters, [`Connection::body`] streams the body, [`Connection::reply`] writes the reply and reads the rest of the body, so that
//! the next request can follow. Management records are answered at any time.

use std::io::{self, IoSliceMut, Read, Write};

use super::params::{self, InvalidParams, Params, push_pair};
use super::record::{
    BeginRequest, HEADER_LENGTH, Header, NULL_REQUEST_ID, ProtocolStatus, RecordType,
    UnknownVersion, push_end_request, push_record, push_stream,
};

/// Size of the buffer during a request, in bytes. It holds the parameters and the beginning of the body; the rest of a large body
/// bypasses it. Between requests it is as long as a header, because a thousand idle connections would keep 16 MiB of buffers, and as much
/// again of the memory between them.
const BUFFER_LENGTH: usize = 16 * 1024;

/// Room for the longest padding and a header.
const SCRATCH_LENGTH: usize = 255 + HEADER_LENGTH;

/// A request without its body.
#[derive(Debug)]
pub struct Request {
    /// The parameters that the web server passed.
    pub params: Params,
    id: u16,
    keep_connection: bool,
}

/// An error that ends the connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// Reading or writing failed, or the peer closed the connection inside a record.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The peer does not speak FastCGI 1.
    #[error("FastCGI version {0} instead of 1")]
    Version(u8),
    /// The parameters are malformed or over a limit.
    #[error("{0}")]
    Params(#[from] InvalidParams),
    /// A record that is not allowed at this point.
    #[error("unexpected record: {0}")]
    Unexpected(&'static str),
}

impl From<UnknownVersion> for ConnectionError {
    fn from(UnknownVersion(version): UnknownVersion) -> Self {
        Self::Version(version)
    }
}

impl From<ConnectionError> for io::Error {
    fn from(error: ConnectionError) -> Self {
        match error {
            ConnectionError::Io(error) => error,
            other => Self::new(io::ErrorKind::ConnectionAborted, other.to_string()),
        }
    }
}

/// How much of the current request's body was read.
#[derive(Debug, Default, Clone, Copy)]
struct BodyState {
    id: u16,
    /// `CONTENT_LENGTH`; `None` if it is not a number.
    expected: Option<u64>,
    received: u64,
    ended: bool,
    aborted: bool,
}

impl BodyState {
    /// Bytes still expected; `None` if `CONTENT_LENGTH` is not a number or was exceeded.
    fn left(&self) -> Option<u64> {
        self.expected?.checked_sub(self.received)
    }
}

/// A connection over any stream, with its buffer.
#[derive(Debug)]
pub struct Connection<S> {
    stream: S,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    /// Bytes of the current record's content that were not taken yet.
    content: usize,
    /// Padding that follows it.
    padding: usize,
    body: BodyState,
    /// `max_connections`, for `FCGI_GET_VALUES`.
    max_connections: usize,
}

impl<S: Read + Write> Connection<S> {
    /// A connection over an accepted stream. `max_connections` is the answer to `FCGI_GET_VALUES`.
    pub fn new(stream: S, max_connections: usize) -> Self {
        Self {
            stream,
            buffer: idle_buffer(),
            start: 0,
            end: 0,
            content: 0,
            padding: 0,
            body: BodyState {
                ended: true,
                ..BodyState::default()
            },
            max_connections,
        }
    }

    /// The next request, read to the end of its parameters; `None` if the peer closed the connection between requests.
    pub fn next_request(&mut self) -> Result<Option<Request>, ConnectionError> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
            self.buffer = idle_buffer();
        }
        loop {
            let Some(header) = self.next_header()? else {
                return Ok(None);
            };
            match header.record_type {
                RecordType::BeginRequest if header.request_id != NULL_REQUEST_ID => {
                    let begin = self.take_begin_request()?;
                    if begin.role != BeginRequest::RESPONDER {
                        self.end_request(header.request_id, ProtocolStatus::UnknownRole)?;
                        if begin.keep_connection {
                            continue;
                        }
                        return Ok(None);
                    }
                    let Some(params) = self.read_params(header.request_id)? else {
                        self.end_request(header.request_id, ProtocolStatus::RequestComplete)?;
                        if begin.keep_connection {
                            continue;
                        }
                        return Ok(None);
                    };
                    self.body = BodyState {
                        id: header.request_id,
                        expected: params.content_length(),
                        ..BodyState::default()
                    };
                    return Ok(Some(Request {
                        params,
                        id: header.request_id,
                        keep_connection: begin.keep_connection,
                    }));
                }
                // The rest of a request that was answered or refused, such as the empty STDIN of an unknown role.
                _ => self.take_other_record(header)?,
            }
        }
    }

    /// The body of the request that [`Self::next_request`] returned last.
    pub fn body(&mut self) -> Body<'_, S> {
        Body { connection: self }
    }

    /// Writes a CGI response (RFC 3875, section 6) as the reply to `request`, then reads the rest of its body. Returns whether another
    /// request may follow. After an error the reply was not sent.
    pub fn reply(&mut self, request: &Request, response: &[u8]) -> Result<bool, ConnectionError> {
        let mut out = Vec::with_capacity(response.len() + 6 * HEADER_LENGTH);
        push_stream(&mut out, RecordType::Stdout, request.id, response);
        push_end_request(&mut out, request.id, ProtocolStatus::RequestComplete);
        self.stream.write_all(&out)?;
        self.stream.flush()?;
        // The peer still sends the rest of the body; closing the connection with unread data would reset it and lose the reply.
        // nginx closes the connection when the reply precedes the end of the body, which is no error here: the reply was sent.
        while !self.body.ended {
            if self.skip_body_piece().is_err() {
                return Ok(false);
            }
        }
        Ok(request.keep_connection)
    }

    fn read_params(&mut self, id: u16) -> Result<Option<Params>, ConnectionError> {
        let mut bytes = Vec::new();
        loop {
            let header = self.next_header_within()?;
            match header.record_type {
                RecordType::Params if header.request_id == id => {
                    if header.content_length == 0 {
                        return Ok(Some(Params::parse(bytes)?));
                    }
                    if bytes.len() + self.content > params::MAX_BYTES {
                        return Err(InvalidParams::TooLong.into());
                    }
                    self.take_content(&mut bytes)?;
                }
                RecordType::AbortRequest if header.request_id == id => return Ok(None),
                RecordType::Stdin if header.request_id == id => {
                    return Err(ConnectionError::Unexpected(
                        "STDIN before the end of PARAMS",
                    ));
                }
                _ => self.take_other_record(header)?,
            }
        }
    }

    /// Takes a record outside the current request: answers a management record, drops any other.
    fn take_other_record(&mut self, header: Header) -> Result<(), ConnectionError> {
        match header.record_type {
            RecordType::BeginRequest => {
                self.end_request(header.request_id, ProtocolStatus::CantMultiplex)
            }
            RecordType::GetValues if header.request_id == NULL_REQUEST_ID => {
                let mut asked = Vec::new();
                self.take_content(&mut asked)?;
                let values = self.values(&Params::parse(asked)?);
                self.send_management(RecordType::GetValuesResult, &values)
            }
            other if header.request_id == NULL_REQUEST_ID => self.send_management(
                RecordType::UnknownType,
                &[u8::from(other), 0, 0, 0, 0, 0, 0, 0],
            ),
            _ => Ok(()),
        }
    }

    fn values(&self, asked: &Params) -> Vec<u8> {
        let connections = self.max_connections.to_string();
        let mut values = Vec::new();
        for (name, _) in asked.iter() {
            match name {
                b"FCGI_MAX_CONNS" | b"FCGI_MAX_REQS" => {
                    push_pair(&mut values, name, connections.as_bytes());
                }
                b"FCGI_MPXS_CONNS" => push_pair(&mut values, name, b"0"),
                _ => {}
            }
        }
        values
    }

    fn send_management(
        &mut self,
        record_type: RecordType,
        content: &[u8],
    ) -> Result<(), ConnectionError> {
        let mut out = Vec::new();
        push_record(&mut out, record_type, NULL_REQUEST_ID, content);
        self.stream.write_all(&out)?;
        Ok(())
    }

    fn end_request(&mut self, id: u16, status: ProtocolStatus) -> Result<(), ConnectionError> {
        let mut out = Vec::new();
        push_end_request(&mut out, id, status);
        self.stream.write_all(&out)?;
        Ok(())
    }

    fn take_begin_request(&mut self) -> Result<BeginRequest, ConnectionError> {
        let mut content = Vec::new();
        self.take_content(&mut content)?;
        let content = content.first_chunk().ok_or(ConnectionError::Unexpected(
            "BEGIN_REQUEST of less than 8 bytes",
        ))?;
        Ok(BeginRequest::parse(*content))
    }

    /// Appends the rest of the current record's content to `out`.
    fn take_content(&mut self, out: &mut Vec<u8>) -> Result<(), ConnectionError> {
        out.reserve(self.content);
        while self.content > 0 {
            let taken = self.buffered_content()?;
            out.extend_from_slice(&self.buffer[self.start..self.start + taken]);
            self.consume_content(taken);
        }
        Ok(())
    }

    /// The header of the next record; drops the rest of the current one. `None` at the end of the stream between records.
    fn next_header(&mut self) -> Result<Option<Header>, ConnectionError> {
        self.skip_record()?;
        while self.end - self.start < HEADER_LENGTH {
            if self.fill()? == 0 {
                return if self.start == self.end {
                    Ok(None)
                } else {
                    Err(unexpected_end())
                };
            }
        }
        let mut bytes = [0; HEADER_LENGTH];
        bytes.copy_from_slice(&self.buffer[self.start..self.start + HEADER_LENGTH]);
        self.start += HEADER_LENGTH;
        let header = Header::parse(bytes)?;
        self.content = usize::from(header.content_length);
        self.padding = usize::from(header.padding_length);
        Ok(Some(header))
    }

    /// The header of the next record inside a request, where the end of the stream is an error.
    fn next_header_within(&mut self) -> Result<Header, ConnectionError> {
        self.next_header()?.ok_or_else(unexpected_end)
    }

    /// Drops the rest of the current record, content and padding.
    fn skip_record(&mut self) -> Result<(), ConnectionError> {
        let mut left = self.content + self.padding;
        while left > 0 {
            if self.start == self.end && self.fill()? == 0 {
                return Err(unexpected_end());
            }
            let dropped = left.min(self.end - self.start);
            self.start += dropped;
            left -= dropped;
        }
        self.content = 0;
        self.padding = 0;
        Ok(())
    }

    /// How many bytes of the current record's content are in the buffer, at least one. Only called while content is left.
    fn buffered_content(&mut self) -> Result<usize, ConnectionError> {
        if self.start == self.end && self.fill()? == 0 {
            return Err(unexpected_end());
        }
        Ok(self.content.min(self.end - self.start))
    }

    fn consume_content(&mut self, taken: usize) {
        self.start += taken;
        self.content -= taken;
    }

    /// Reads more into the buffer; moves its content to the front if there is no room left.
    fn fill(&mut self) -> io::Result<usize> {
        if self.start == self.end {
            // Behind the first header of a request.
            if self.end == self.buffer.len() && self.end < BUFFER_LENGTH {
                self.buffer = vec![0; BUFFER_LENGTH].into_boxed_slice();
            }
            self.start = 0;
            self.end = 0;
        } else if self.end == self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        let read = retry_on_eintr(|| self.stream.read(&mut self.buffer[self.end..]))?;
        self.end += read;
        Ok(read)
    }

    /// Goes to the next content of the body. Afterwards there is content, or the body has ended.
    fn advance_body(&mut self) -> Result<(), ConnectionError> {
        while self.content == 0 && !self.body.ended {
            let header = self.next_header_within()?;
            match header.record_type {
                RecordType::Stdin if header.request_id == self.body.id => {
                    self.body.ended = header.content_length == 0;
                }
                RecordType::AbortRequest if header.request_id == self.body.id => {
                    self.body.ended = true;
                    self.body.aborted = true;
                }
                _ => {
                    self.take_other_record(header)?;
                    self.skip_record()?;
                }
            }
        }
        Ok(())
    }

    fn skip_body_piece(&mut self) -> Result<(), ConnectionError> {
        self.advance_body()?;
        if self.content > 0 {
            let dropped = self.buffered_content()?;
            self.consume_content(dropped);
        }
        Ok(())
    }

    /// Reads content directly into `out`, and the following padding and header into the buffer.
    fn read_past_buffer(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let direct = out.len().min(self.content);
        // More content after `out` must not go into the buffer, where it would be copied once more.
        let behind = if direct == self.content {
            self.padding + HEADER_LENGTH
        } else {
            0
        };
        let (direct_part, scratch) = (
            &mut out[..direct],
            &mut self.buffer[..behind.min(SCRATCH_LENGTH)],
        );
        let mut slices = [IoSliceMut::new(direct_part), IoSliceMut::new(scratch)];
        let read = retry_on_eintr(|| self.stream.read_vectored(&mut slices))?;
        let taken = read.min(direct);
        self.start = 0;
        self.end = read - taken;
        self.content -= taken;
        Ok(taken)
    }
}

/// The body of a request. Reading fails if its length is not `CONTENT_LENGTH`, or if the peer aborts the request.
#[derive(Debug)]
pub struct Body<'a, S> {
    connection: &'a mut Connection<S>,
}

impl<S: Read + Write> Read for Body<'_, S> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        let connection = &mut *self.connection;
        connection.advance_body()?;
        if connection.body.aborted {
            return Err(io::Error::new(
                io::ErrorKind::ConnectionAborted,
                "the web server aborted the request",
            ));
        }
        let Some(left) = connection
            .body
            .left()
            .filter(|&left| (left == 0) == connection.body.ended)
        else {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the body is not as long as CONTENT_LENGTH says",
            ));
        };
        if left == 0 {
            return Ok(0);
        }
        let limit = usize::try_from(left).unwrap_or(usize::MAX).min(out.len());
        let out = &mut out[..limit];
        let taken = if connection.start == connection.end {
            let taken = connection.read_past_buffer(out)?;
            if taken == 0 {
                return Err(unexpected_end().into());
            }
            taken
        } else {
            let taken = connection.buffered_content()?.min(out.len());
            out[..taken]
                .copy_from_slice(&connection.buffer[connection.start..connection.start + taken]);
            connection.consume_content(taken);
            taken
        };
        connection.body.received += taken as u64;
        Ok(taken)
    }
}

/// The buffer of a connection that waits for a request: its first header fits.
fn idle_buffer() -> Box<[u8]> {
    vec![0; HEADER_LENGTH].into_boxed_slice()
}

fn unexpected_end() -> ConnectionError {
    ConnectionError::Io(io::Error::new(
        io::ErrorKind::ConnectionAborted,
        "the web server closed the connection inside a request",
    ))
}

fn retry_on_eintr(mut read: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match read() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests;
