//! Parses `Content-Type` of a request and `Content-Disposition` of a part.
//!
//! Both are a keyword and parameters (RFC 2045 section 5.1, RFC 2183 section 2). The parameters are tokenised, never searched:
//! the contents of a quoted string are data, be they `;` or `name=`. Names and keywords are case-insensitive; values may hold any
//! bytes, UTF-8 or not.

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use super::{Field, FileName};

/// The content types that are forms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FormType {
    /// `multipart/form-data` with its boundary.
    Multipart(Boundary),
    /// `application/x-www-form-urlencoded`. A charset is ignored, as the URL standard has it.
    Urlencoded,
}

/// The longest boundary, in bytes. RFC 2046 section 5.1.1 allows 70.
pub const MAX_BOUNDARY: usize = 200;

/// The boundary of a multipart body: 1 to 200 bytes without control characters, the last of them no space. RFC 2046 allows fewer
/// characters, and clients use `*****` and `{guid}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boundary(Vec<u8>);

impl Boundary {
    /// Checks a boundary. The error names the rule that it breaks.
    pub fn new(boundary: &[u8]) -> Result<Self, &'static str> {
        if boundary.is_empty() || boundary.len() > MAX_BOUNDARY {
            return Err("a boundary that is not 1 to 200 bytes long");
        }
        if boundary.iter().any(u8::is_ascii_control) || boundary.ends_with(b" ") {
            return Err("a boundary with a control character or a space at its end");
        }
        Ok(Self(boundary.to_vec()))
    }

    /// The boundary as the content type names it, without the dashes that precede it in the body.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Reads the value of a request's `Content-Type` header. The error names the rule that it breaks.
pub fn form_type(value: &[u8]) -> Result<FormType, &'static str> {
    let (media_type, parameters) = split(value);
    if media_type.eq_ignore_ascii_case(b"application/x-www-form-urlencoded") {
        return Ok(FormType::Urlencoded);
    }
    if !media_type.eq_ignore_ascii_case(b"multipart/form-data") {
        return Err("a content type that is no form");
    }
    let mut boundary = None;
    for parameter in parameters {
        let parameter = parameter?;
        if !parameter.name.eq_ignore_ascii_case(b"boundary") {
            continue;
        }
        if boundary.is_some() {
            return Err("two boundaries");
        }
        boundary = Some(Boundary::new(&parameter.value)?);
    }
    boundary
        .map(FormType::Multipart)
        .ok_or("multipart without a boundary")
}

/// Reads the value of a part's `Content-Disposition` header (RFC 7578 section 4.2). The error names the rule that it breaks.
///
/// Any disposition type is taken: some clients send `attachment`. `filename*` (RFC 5987), which RFC 7578 forbids and some clients
/// send, counts as a file name; any other parameter is ignored. A file name with unescaped quotes is tolerated after the name, if
/// nothing in it can be read as a second name.
pub fn disposition(value: &[u8]) -> Result<Field, &'static str> {
    let (keyword, parameters) = split(value);
    if !is_token(keyword) {
        return Err("a Content-Disposition without a type");
    }
    let mut name = None;
    let mut file_name = None;
    let mut extended = None;
    for parameter in parameters {
        let Parameter {
            name: key,
            value,
            ambiguous,
        } = parameter?;
        if ambiguous && (name.is_none() || may_hold_name(&value)) {
            return Err("an unescaped quote in a file name that makes the part's name ambiguous");
        }
        let (known, value) = if key.eq_ignore_ascii_case(b"name") {
            (&mut name, value)
        } else if key.eq_ignore_ascii_case(b"filename") {
            (&mut file_name, value)
        } else if key.eq_ignore_ascii_case(b"filename*") {
            (&mut extended, value)
        } else {
            continue;
        };
        if known.replace(value).is_some() {
            return Err("a part with two names or file names");
        }
    }
    let extended_is_empty =
        |value: &Cow<[u8]>| value.rsplit(|&byte| byte == b'\'').next() == Some(b"");
    let file_name = match (file_name, extended) {
        (None, None) => FileName::Absent,
        (plain, extended)
            if plain.as_ref().is_none_or(|value| value.is_empty())
                && extended.as_ref().is_none_or(extended_is_empty) =>
        {
            FileName::Empty
        }
        _ => FileName::Given,
    };
    Ok(Field {
        name: unescape_name(&name.ok_or("a part without a name")?),
        file_name,
    })
}

/// Whether any reader could find a parameter `name` in the rest of a header value, however it treats quotes.
fn may_hold_name(rest: &[u8]) -> bool {
    const NAME: &[u8] = b"name";
    rest.windows(NAME.len()).enumerate().any(|(at, word)| {
        let (before, after) = (&rest[..at], &rest[at + NAME.len()..]);
        let after = trim(after.strip_prefix(b"*").unwrap_or(after));
        let of_file_name = before
            .last_chunk::<4>()
            .is_some_and(|word| word.eq_ignore_ascii_case(b"file"));
        word.eq_ignore_ascii_case(NAME) && after.starts_with(b"=") && !of_file_name
    })
}

/// Undoes the three escapes of the HTML standard's multipart encoder: `%22`, `%0D` and `%0A`. Any other percent sign stands for
/// itself, as browsers leave it alone.
fn unescape_name(name: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((&byte, after)) = rest.split_first() {
        let (byte, after) = match rest {
            [b'%', b'2', b'2', after @ ..] => (b'"', after),
            [b'%', b'0', b'D', after @ ..] => (b'\r', after),
            [b'%', b'0', b'A', after @ ..] => (b'\n', after),
            _ => (byte, after),
        };
        plain.push(byte);
        rest = after;
    }
    plain
}

/// The keyword of a header value, and the parameters after it.
fn split(value: &[u8]) -> (&[u8], Parameters<'_>) {
    let end = memchr::memchr(b';', value).unwrap_or(value.len());
    let (keyword, rest) = value.split_at(end);
    (trim(keyword), Parameters { rest })
}

/// Removes the optional white space of RFC 9110, spaces and tabs, from both ends.
pub(super) fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// Whether `name` is a token of RFC 9110 section 5.6.2, as the names of headers and parameters are.
pub(super) fn is_token(name: &[u8]) -> bool {
    let legal = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !name.is_empty() && name.iter().all(legal)
}

fn is_file_name(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"filename") || name.eq_ignore_ascii_case(b"filename*")
}

/// One `name=value`.
struct Parameter<'a> {
    name: &'a [u8],
    value: Cow<'a, [u8]>,
    /// A file name whose quoted string is not closed, or closed before its end. The value is then the whole rest of the header value.
    ambiguous: bool,
}

/// The parameters of a header value, in order. A name without a value, and nothing between two semicolons, are passed over.
struct Parameters<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Parameters<'a> {
    type Item = Result<Parameter<'a>, &'static str>;

    fn next(&mut self) -> Option<Self::Item> {
        let parameter = self.parameter().transpose();
        if matches!(parameter, Some(Err(_))) {
            self.rest = b"";
        }
        parameter
    }
}

impl<'a> Parameters<'a> {
    fn parameter(&mut self) -> Result<Option<Parameter<'a>>, &'static str> {
        loop {
            self.rest = trim(self.rest);
            if let [b';', rest @ ..] = self.rest {
                self.rest = rest;
                continue;
            }
            if self.rest.is_empty() {
                return Ok(None);
            }
            let end = memchr::memchr2(b'=', b';', self.rest).unwrap_or(self.rest.len());
            let (name, rest) = self.rest.split_at(end);
            let name = trim(name);
            if !is_token(name) {
                return Err("a parameter whose name is no token");
            }
            let [b'=', rest @ ..] = rest else {
                self.rest = rest;
                continue;
            };
            self.rest = trim(rest);
            let mut ambiguous = false;
            let value = if self.rest.starts_with(b"\"") {
                match self.quoted_string() {
                    Ok(value) => Cow::Owned(value),
                    Err(_) if is_file_name(name) => {
                        ambiguous = true;
                        Cow::Borrowed(std::mem::take(&mut self.rest))
                    }
                    Err(error) => return Err(error),
                }
            } else {
                Cow::Borrowed(self.bare_value()?)
            };
            return Ok(Some(Parameter {
                name,
                value,
                ambiguous,
            }));
        }
    }

    /// Takes a quoted string. A backslash escapes a quote or another backslash and otherwise stands for itself: some clients
    /// escape these two, old browsers send `C:\path\file` unescaped. After an error nothing was taken.
    fn quoted_string(&mut self) -> Result<Vec<u8>, &'static str> {
        let mut value = Vec::new();
        let mut rest = &self.rest[1..];
        let after = loop {
            rest = match rest {
                [] => return Err("a quoted string without an end"),
                [b'"', rest @ ..] => break trim(rest),
                [b'\\', byte @ (b'"' | b'\\'), rest @ ..] | [byte, rest @ ..] => {
                    value.push(*byte);
                    rest
                }
            };
        };
        if !matches!(after, [] | [b';', ..]) {
            return Err("a quoted string that something follows");
        }
        self.rest = after;
        Ok(value)
    }

    /// Takes an unquoted value, which ends at the next semicolon. It need not be a token, since real clients leave boundaries
    /// such as `a/b` and file names with spaces unquoted.
    fn bare_value(&mut self) -> Result<&'a [u8], &'static str> {
        let end = memchr::memchr(b';', self.rest).unwrap_or(self.rest.len());
        let (value, rest) = self.rest.split_at(end);
        if value.contains(&b'"') {
            return Err("a quote inside an unquoted value");
        }
        self.rest = rest;
        Ok(trim(value))
    }
}
