//! Parses `multipart/form-data` (RFC 7578, RFC 2046 section 5.1), streamed through one buffer.
//!
//! A delimiter is `\r\n--boundary`: the line break belongs to it, so it is found at the start of a line only. The buffer is given a
//! line break at the start of the body and of each value, so that an empty preamble and an empty value need no rules of their own.
//!
//! Decisions where the RFCs leave room:
//! - `--` follows a closing delimiter; spaces, tabs and a line break follow any other. Anything else is refused: RFC 2046 forbids
//!   such lines in a value, and parsers disagree on them.
//! - Lines end in CR LF; a bare LF, a bare CR and NUL are refused. A folded header line (`obs-fold`, RFC 5322 section 2.2.3) is unfolded.
//! - The epilogue after the closing delimiter is read and ignored.
//! - `Content-Type` and other headers of a part are ignored; a nested `multipart/mixed` is an ordinary value.

use std::fmt;
use std::io::Read;
use std::ops::Range;

use memchr::memmem::Finder;

use super::buffer::Buffer;
use super::content_type::{self, Boundary};
use super::{Field, FormError, MAX_FIELDS};

#[cfg(test)]
mod tests;

/// Size of the buffer, in bytes.
pub const BUFFER: usize = 128 * 1024;

/// The most bytes before the first delimiter.
pub const MAX_PREAMBLE: usize = 8 * 1024;

/// The most bytes of a part's headers, with the empty line after them and the padding of the delimiter before them.
pub const MAX_PART_HEADERS: usize = 8 * 1024;

const TRUNCATED: FormError = FormError::Malformed("a body that ends before the closing delimiter");

/// A multipart form that is being read.
pub struct Multipart<R> {
    buffer: Buffer<R>,
    /// The delimiter, prepared for searching.
    delimiter: Finder<'static>,
    state: State,
    /// The unread bytes begin with an inserted line break, which may begin a delimiter but is not part of the value.
    at_start: bool,
    fields: usize,
    /// The header line that is being read.
    line: Vec<u8>,
}

/// What the unread bytes of the buffer are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Bytes before the first delimiter.
    Preamble,
    /// The rest of a field's value.
    Value,
    /// A delimiter.
    Delimiter,
    /// Bytes after the closing delimiter.
    Epilogue,
    /// The rest of a form that was refused for this reason.
    Failed(&'static str),
}

impl<R> fmt::Debug for Multipart<R> {
    /// Leaves out the bytes: they hold credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Multipart")
            .field("state", &self.state)
            .field("fields", &self.fields)
            .finish_non_exhaustive()
    }
}

impl<R: Read> Multipart<R> {
    /// A form read from `body`, with parts separated by `boundary`. Reads nothing yet.
    pub fn new(boundary: &Boundary, body: R) -> Self {
        Self::with_capacity(boundary, body, BUFFER)
    }

    /// As [`Self::new`], with a buffer of `capacity` bytes, or of a delimiter's length if that is more.
    pub fn with_capacity(boundary: &Boundary, body: R, capacity: usize) -> Self {
        let delimiter = [b"\r\n--", boundary.as_bytes()].concat();
        let mut buffer = Buffer::new(body, capacity.max(delimiter.len()));
        buffer.unread_line_break();
        Self {
            buffer,
            delimiter: Finder::new(&delimiter).into_owned(),
            state: State::Preamble,
            at_start: true,
            fields: 0,
            line: Vec::new(),
        }
    }

    /// As [`super::Form::next_field`].
    pub fn next_field(&mut self) -> Result<Option<Field>, FormError> {
        let field = self.go_to_field();
        field.map_err(|error| self.fail(error))
    }

    /// As [`super::Form::next_range`].
    pub(super) fn next_range(&mut self) -> Result<Option<Range<usize>>, FormError> {
        match self.state {
            State::Value => {}
            State::Failed(reason) => return Err(FormError::Malformed(reason)),
            State::Preamble | State::Delimiter | State::Epilogue => return Ok(None),
        }
        match self.take_piece() {
            Ok(piece) => Ok((!piece.is_empty()).then_some(piece)),
            Err(error) => Err(self.fail(error)),
        }
    }

    /// As [`super::Form::lend`].
    pub(super) fn lend(&self, range: Range<usize>) -> &[u8] {
        self.buffer.taken(range)
    }

    /// Reads the body to its end, once [`Self::next_field`] has come to the last field.
    pub fn skip_epilogue(&mut self) -> Result<(), FormError> {
        if let State::Failed(reason) = self.state {
            return Err(FormError::Malformed(reason));
        }
        loop {
            self.buffer.take(self.buffer.unread().len());
            match self.buffer.fill() {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                Err(error) => return Err(self.fail(FormError::Read(error))),
            }
        }
    }

    fn fail(&mut self, error: FormError) -> FormError {
        self.state = State::Failed(match error {
            FormError::Malformed(reason) => reason,
            FormError::Read(_) => "the body could not be read",
        });
        error
    }

    fn go_to_field(&mut self) -> Result<Option<Field>, FormError> {
        match self.state {
            State::Preamble => {
                let mut length = 0;
                while self.state == State::Preamble {
                    length += self.take_piece()?.len();
                    if length > MAX_PREAMBLE {
                        return Err(FormError::Malformed("a preamble over 8 KiB"));
                    }
                }
            }
            State::Value => {
                while self.state == State::Value {
                    self.take_piece()?;
                }
            }
            State::Delimiter => {}
            State::Epilogue => return Ok(None),
            State::Failed(reason) => return Err(FormError::Malformed(reason)),
        }
        self.buffer.take(self.delimiter.needle().len());
        let mut budget = MAX_PART_HEADERS;
        if self.closes(&mut budget)? {
            self.state = State::Epilogue;
            return Ok(None);
        }
        self.fields += 1;
        if self.fields > MAX_FIELDS {
            return Err(FormError::Malformed("more than 64 parts"));
        }
        let field = self.read_headers(&mut budget)?;
        self.buffer.unread_line_break();
        self.at_start = true;
        self.state = State::Value;
        Ok(Some(field))
    }

    /// Takes the next bytes that belong to no delimiter. If they end at one, the state becomes [`State::Delimiter`]; only then may they
    /// be none.
    ///
    /// Takes everything that was searched except a tail that could begin a delimiter, so only that tail is searched twice.
    fn take_piece(&mut self) -> Result<Range<usize>, FormError> {
        loop {
            let unread = self.buffer.unread();
            let found = self.delimiter.find(unread);
            let length = found.unwrap_or_else(|| unread.len() - self.held_back(unread));
            if found.is_some() {
                self.state = State::Delimiter;
            }
            let mut piece = self.buffer.take(length);
            if self.at_start && length > 0 {
                // The delimiter holds no second CR, so what is taken includes either both bytes of the line break or none.
                piece.start += 2;
                self.at_start = false;
            }
            if found.is_some() || !piece.is_empty() {
                return Ok(piece);
            }
            self.fill()?;
        }
    }

    /// How many of the last bytes could begin a delimiter. Its only CR is its first byte, so the last CR decides.
    fn held_back(&self, unread: &[u8]) -> usize {
        let delimiter = self.delimiter.needle();
        let tail = &unread[unread.len().saturating_sub(delimiter.len() - 1)..];
        match memchr::memrchr(b'\r', tail) {
            Some(at) if delimiter.starts_with(&tail[at..]) => tail.len() - at,
            _ => 0,
        }
    }

    /// Takes the rest of a delimiter's line; `true` if it was the closing delimiter.
    fn closes(&mut self, budget: &mut usize) -> Result<bool, FormError> {
        let mut byte = self.take_byte()?;
        if byte == b'-' && self.take_byte()? == b'-' {
            return Ok(true);
        }
        while matches!(byte, b' ' | b'\t') {
            spend(budget, 1)?;
            byte = self.take_byte()?;
        }
        if byte == b'\r' && self.take_byte()? == b'\n' {
            return Ok(false);
        }
        Err(FormError::Malformed(if byte == b'\n' {
            "a delimiter line that ends in LF instead of CR LF"
        } else {
            "a delimiter that something follows"
        }))
    }

    /// Takes a part's headers and the empty line after them.
    fn read_headers(&mut self, budget: &mut usize) -> Result<Field, FormError> {
        let mut field = None;
        loop {
            self.read_header(budget)?;
            if self.line.is_empty() {
                return field.ok_or(FormError::Malformed("a part without Content-Disposition"));
            }
            let (name, value) = header(&self.line).map_err(FormError::Malformed)?;
            if name.eq_ignore_ascii_case(b"Content-Disposition") {
                let disposition = content_type::disposition(value).map_err(FormError::Malformed)?;
                if field.replace(disposition).is_some() {
                    return Err(FormError::Malformed("a part with two Content-Disposition"));
                }
            } else if name.eq_ignore_ascii_case(b"Content-Transfer-Encoding") {
                let plain = [&b"binary"[..], b"7bit", b"8bit"];
                if !plain.iter().any(|plain| value.eq_ignore_ascii_case(plain)) {
                    return Err(FormError::Malformed("a part with a transfer encoding"));
                }
            }
        }
    }

    /// Takes a header with its continuation lines, or the empty line after the last one, into `self.line`.
    fn read_header(&mut self, budget: &mut usize) -> Result<(), FormError> {
        self.line.clear();
        self.read_line(budget)?;
        while !self.line.is_empty() && matches!(self.peek_byte()?, b' ' | b'\t') {
            self.read_line(budget)?;
        }
        Ok(())
    }

    /// Appends one line to `self.line`, without its CR LF.
    fn read_line(&mut self, budget: &mut usize) -> Result<(), FormError> {
        loop {
            let unread = self.buffer.unread();
            let end = memchr::memchr(b'\n', unread);
            let length = end.map_or(unread.len(), |end| end + 1);
            spend(budget, length)?;
            self.line.extend_from_slice(&unread[..length]);
            self.buffer.take(length);
            if end.is_some() {
                break;
            }
            self.fill()?;
        }
        if !self.line.ends_with(b"\r\n") {
            return Err(FormError::Malformed(
                "a header line that ends in LF instead of CR LF",
            ));
        }
        self.line.truncate(self.line.len() - 2);
        Ok(())
    }

    fn peek_byte(&mut self) -> Result<u8, FormError> {
        loop {
            if let Some(&byte) = self.buffer.unread().first() {
                return Ok(byte);
            }
            self.fill()?;
        }
    }

    fn take_byte(&mut self) -> Result<u8, FormError> {
        let byte = self.peek_byte()?;
        self.buffer.take(1);
        Ok(byte)
    }

    fn fill(&mut self) -> Result<(), FormError> {
        match self.buffer.fill() {
            Ok(true) => Ok(()),
            Ok(false) => Err(TRUNCATED),
            Err(error) => Err(FormError::Read(error)),
        }
    }
}

/// Subtracts `bytes` from the bytes left for the headers of a part.
fn spend(budget: &mut usize, bytes: usize) -> Result<(), FormError> {
    *budget = budget
        .checked_sub(bytes)
        .ok_or(FormError::Malformed("part headers over 8 KiB"))?;
    Ok(())
}

/// Splits a header line into name and value.
fn header(line: &[u8]) -> Result<(&[u8], &[u8]), &'static str> {
    if matches!(line, [b' ' | b'\t', ..]) {
        return Err("a part whose headers begin with a continuation line");
    }
    if memchr::memchr2(b'\r', b'\0', line).is_some() {
        return Err("a header line with a bare CR or a NUL");
    }
    let colon = memchr::memchr(b':', line).ok_or("a header line without a colon")?;
    let (name, value) = line.split_at(colon);
    if !content_type::is_token(name) {
        return Err("a header whose name is no token");
    }
    Ok((name, content_type::trim(&value[1..])))
}
