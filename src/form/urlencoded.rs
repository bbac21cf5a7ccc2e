//! `application/x-www-form-urlencoded` (WHATWG URL standard, section 5.1), over the whole body in memory.

use std::fmt;
use std::io::Read;
use std::ops::Range;

use super::{Field, FileName, FormError, MAX_FIELDS};

/// The longest body, in bytes.
pub const MAX_BODY: usize = 16 * 1024;

/// A urlencoded form that is being read. Its bytes are decoded in place, as no decoded sequence is longer than it was.
pub struct Urlencoded<R> {
    body: R,
    state: State,
    bytes: Vec<u8>,
    /// Start of the next sequence in `bytes`.
    next: usize,
    /// The current field's decoded value in `bytes`; empty after it was returned.
    value: Range<usize>,
    fields: usize,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Unread,
    Read,
    Failed(&'static str),
}

impl<R> fmt::Debug for Urlencoded<R> {
    /// Leaves out the bytes: they hold credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Urlencoded")
            .field("state", &self.state)
            .field("fields", &self.fields)
            .finish_non_exhaustive()
    }
}

impl<R: Read> Urlencoded<R> {
    /// A form read from `body`. Reads nothing before the first call of [`Self::next_field`].
    pub fn new(body: R) -> Self {
        Self {
            body,
            state: State::Unread,
            bytes: Vec::new(),
            next: 0,
            value: 0..0,
            fields: 0,
        }
    }

    /// As [`super::Form::next_field`].
    pub fn next_field(&mut self) -> Result<Option<Field>, FormError> {
        match self.state {
            State::Unread => self.read()?,
            State::Read => {}
            State::Failed(reason) => return Err(FormError::Malformed(reason)),
        }
        while self.next < self.bytes.len() {
            let start = self.next;
            let length = memchr::memchr(b'&', &self.bytes[start..]);
            let end = length.map_or(self.bytes.len(), |length| start + length);
            self.next = end + 1;
            if start == end {
                continue;
            }
            self.fields += 1;
            if self.fields > MAX_FIELDS {
                return Err(self.fail("more than 64 fields"));
            }
            let length = memchr::memchr(b'=', &self.bytes[start..end]);
            let name_end = length.map_or(end, |length| start + length);
            let value_start = (name_end + 1).min(end);
            let name = decode(&mut self.bytes[start..name_end]).to_vec();
            let length = decode(&mut self.bytes[value_start..end]).len();
            self.value = value_start..value_start + length;
            return Ok(Some(Field {
                name,
                file_name: FileName::Absent,
            }));
        }
        self.value = 0..0;
        Ok(None)
    }

    /// As [`super::Form::next_range`]. A value is one piece.
    pub(super) fn next_range(&mut self) -> Result<Option<Range<usize>>, FormError> {
        if let State::Failed(reason) = self.state {
            return Err(FormError::Malformed(reason));
        }
        let value = std::mem::take(&mut self.value);
        Ok((!value.is_empty()).then_some(value))
    }

    /// As [`super::Form::lend`].
    pub(super) fn lend(&self, range: Range<usize>) -> &[u8] {
        &self.bytes[range]
    }

    fn read(&mut self) -> Result<(), FormError> {
        let limit = MAX_BODY as u64 + 1;
        let mut body = self.body.by_ref().take(limit);
        if let Err(error) = body.read_to_end(&mut self.bytes) {
            self.fail("the body could not be read");
            return Err(FormError::Read(error));
        }
        if self.bytes.len() > MAX_BODY {
            return Err(self.fail("a urlencoded body over 16 KiB"));
        }
        self.state = State::Read;
        Ok(())
    }

    fn fail(&mut self, reason: &'static str) -> FormError {
        self.state = State::Failed(reason);
        FormError::Malformed(reason)
    }
}

/// Decodes `+` and `%XX` in place and returns the decoded bytes. A percent sign that two hexadecimal digits do not follow stands for
/// itself, as the standard says.
fn decode(bytes: &mut [u8]) -> &[u8] {
    let (mut from, mut to) = (0, 0);
    while from < bytes.len() {
        let (byte, length) = match &bytes[from..] {
            [b'+', ..] => (b' ', 1),
            [b'%', high, low, ..] => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => (high << 4 | low, 3),
                _ => (b'%', 1),
            },
            rest => (rest[0], 1),
        };
        bytes[to] = byte;
        to += 1;
        from += length;
    }
    &bytes[..to]
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::form::Form;

    type Pair<'a> = (&'a [u8], &'a [u8]);
    type Owned = (Vec<u8>, Vec<u8>);

    fn fields(body: &[u8]) -> Result<Vec<Owned>, FormError> {
        let mut form = Form::Urlencoded(Urlencoded::new(body));
        let mut fields = Vec::new();
        while let Some(field) = form.next_field()? {
            assert_eq!(field.file_name, FileName::Absent);
            fields.push((field.name, form.text(MAX_BODY)?));
        }
        Ok(fields)
    }

    #[test]
    fn sequences_are_read_as_the_standard_says() {
        let cases: [(&[u8], &[Pair]); 9] = [
            (b"", &[]),
            (b"&&", &[]),
            (b"a=1&b=2", &[(b"a", b"1"), (b"b", b"2")]),
            (
                b"&a=&b&=c&=",
                &[(b"a", b""), (b"b", b""), (b"", b"c"), (b"", b"")],
            ),
            (b"a=b=c", &[(b"a", b"b=c")]),
            (b"a+b=c%20d%2Be%2be", &[(b"a b", b"c d+e+e")]),
            (
                b"a%3Db=%26&%61=%00%ff",
                &[(b"a=b", b"&"), (b"a", b"\0\xff")],
            ),
            (
                b"a=%&b=%4&c=%zz%4g%%41",
                &[(b"a", b"%"), (b"b", b"%4"), (b"c", b"%zz%4g%A")],
            ),
            (b"a=%2&6=b", &[(b"a", b"%2"), (b"6", b"b")]),
        ];
        for (body, expected) in cases {
            let read = fields(body).expect("a form");
            let read: Vec<_> = read
                .iter()
                .map(|(name, value)| (&name[..], &value[..]))
                .collect();
            assert_eq!(read, expected, "{}", body.escape_ascii());
        }
    }

    #[test]
    fn the_body_is_limited_to_16_kib() {
        let mut body = b"a=".to_vec();
        body.resize(MAX_BODY, b'x');
        let read = fields(&body).expect("a form");
        assert_eq!(read[0].1.len(), MAX_BODY - 2);
        body.push(b'x');
        assert!(matches!(fields(&body), Err(FormError::Malformed(_))));
        let mut form = Urlencoded::new(std::io::repeat(b'&'));
        for _ in 0..2 {
            assert!(matches!(form.next_field(), Err(FormError::Malformed(_))));
            assert!(matches!(form.next_range(), Err(FormError::Malformed(_))));
        }
    }

    #[test]
    fn fields_are_limited_to_64() {
        assert_eq!(fields(&b"&a=1".repeat(64)).expect("a form").len(), 64);
        assert!(matches!(
            fields(&b"&a=1".repeat(65)),
            Err(FormError::Malformed(_))
        ));
    }

    #[test]
    fn values_may_be_skipped_or_limited() {
        let mut form = Form::Urlencoded(Urlencoded::new(&b"a=123&b=45&c="[..]));
        assert!(matches!(form.next_range(), Ok(None)));
        form.next_field().expect("a field");
        assert!(matches!(form.text(2), Err(FormError::Malformed(_))));
        let field = form.next_field().expect("a form").expect("a field");
        assert_eq!(field.name, b"b");
        assert_eq!(form.text(2).expect("text"), b"45");
        assert_eq!(form.text(2).expect("text"), b"");
        form.drain().expect("a form");
        assert!(matches!(form.next_field(), Ok(None)));
    }

    #[test]
    fn read_errors_are_passed_on_and_last() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
                Err(std::io::Error::from(std::io::ErrorKind::TimedOut))
            }
        }
        let mut form = Urlencoded::new(Broken);
        assert!(matches!(form.next_field(), Err(FormError::Read(_))));
        assert!(matches!(form.next_field(), Err(FormError::Malformed(_))));
    }
}
