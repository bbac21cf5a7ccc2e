//! The two headers that tell what a form is and what its parts are: `Content-Type` and `Content-Disposition`.
//!
//! Both are a keyword and parameters (RFC 2045 section 5.1, RFC 2183 section 2). The parameters are tokenised, never searched:
//! what stands in a quoted string is data, be it `;` or `name=`. Names and keywords compare without regard to
//! case; values may hold any bytes, UTF-8 or not.

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

/// What separates the parts of a multipart body: 1 to 70 of RFC 2046's `bchars`, the last of them no space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boundary(Vec<u8>);

impl Boundary {
    /// Checks a boundary. The error names the rule that it breaks.
    pub fn new(boundary: &[u8]) -> Result<Self, &'static str> {
        if boundary.is_empty() || boundary.len() > 70 {
            return Err("a boundary that is not 1 to 70 characters long");
        }
        let legal = |byte: &u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(byte);
        if !boundary.iter().all(legal) || boundary.ends_with(b" ") {
            return Err("a boundary with an illegal character");
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
        if !parameter.quoted && parameter.value.contains(&b' ') {
            return Err("an unquoted boundary with a space");
        }
        boundary = Some(Boundary::new(&parameter.value)?);
    }
    boundary
        .map(FormType::Multipart)
        .ok_or("multipart without a boundary")
}

/// Reads the value of a part's `Content-Disposition` header (RFC 7578 section 4.2). The error names the rule that it breaks.
///
/// `filename*` (RFC 5987), which RFC 7578 forbids and some clients send, counts as a file name; any other parameter is
/// ignored.
pub fn disposition(value: &[u8]) -> Result<Field, &'static str> {
    let (keyword, parameters) = split(value);
    if !keyword.eq_ignore_ascii_case(b"form-data") {
        return Err("a part that is not form-data");
    }
    let mut name = None;
    let mut file_name = None;
    let mut extended = None;
    for parameter in parameters {
        let Parameter {
            name: key, value, ..
        } = parameter?;
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

/// One `name=value`.
struct Parameter<'a> {
    name: &'a [u8],
    value: Cow<'a, [u8]>,
    quoted: bool,
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
            let quoted = self.rest.starts_with(b"\"");
            let value = if quoted {
                Cow::Owned(self.quoted_string()?)
            } else {
                Cow::Borrowed(self.bare_value()?)
            };
            return Ok(Some(Parameter {
                name,
                value,
                quoted,
            }));
        }
    }

    /// Takes a quoted string. A backslash escapes a quote or another backslash and otherwise stands for itself: some clients
    /// escape these two, old browsers send `C:\path\file` unescaped.
    fn quoted_string(&mut self) -> Result<Vec<u8>, &'static str> {
        let mut value = Vec::new();
        let mut rest = &self.rest[1..];
        loop {
            rest = match rest {
                [] => return Err("a quoted string without an end"),
                [b'"', rest @ ..] => {
                    self.rest = trim(rest);
                    break;
                }
                [b'\\', byte @ (b'"' | b'\\'), rest @ ..] | [byte, rest @ ..] => {
                    value.push(*byte);
                    rest
                }
            };
        }
        if matches!(self.rest, [] | [b';', ..]) {
            Ok(value)
        } else {
            Err("a quoted string that something follows")
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn boundary(value: &[u8]) -> Result<Vec<u8>, &'static str> {
        match form_type(value)? {
            FormType::Multipart(boundary) => Ok(boundary.as_bytes().to_vec()),
            FormType::Urlencoded => Err("urlencoded"),
        }
    }

    fn field(value: &[u8]) -> Option<(Vec<u8>, FileName)> {
        disposition(value)
            .ok()
            .map(|field| (field.name, field.file_name))
    }

    #[test]
    fn boundaries_of_real_clients_are_read() {
        let longest = [b'x'; 70];
        let with_longest = [b"multipart/form-data; boundary=", &longest[..]].concat();
        let cases: [(&[u8], &[u8]); 9] = [
            (
                b"multipart/form-data; boundary=----WebKitFormBoundaryABC",
                b"----WebKitFormBoundaryABC",
            ),
            (b"Multipart/Form-Data;BOUNDARY=\"a b\"", b"a b"),
            (b"multipart/form-data; boundary=\"a;b\\\"\"; x=y", b""),
            (b"multipart/form-data; charset=utf-8; boundary=x ", b"x"),
            (b"multipart/form-data; boundary=a=b/c:d?e", b"a=b/c:d?e"),
            (b"multipart/form-data; ; boundary = x;", b"x"),
            (b"multipart/form-data; x=\"; boundary=y\"; boundary=z", b"z"),
            (b"multipart/form-data ;\tflag; boundary=x", b"x"),
            (&with_longest, &longest),
        ];
        for (value, expected) in cases {
            let read = boundary(value);
            if expected.is_empty() {
                assert!(read.is_err(), "{}", value.escape_ascii());
            } else {
                assert_eq!(read.as_deref(), Ok(expected), "{}", value.escape_ascii());
            }
        }
    }

    #[test]
    fn unusable_content_types_are_refused() {
        let too_long = [b"multipart/form-data; boundary=", &[b'x'; 71][..]].concat();
        let cases: [&[u8]; 17] = [
            b"",
            b";",
            b"application/json",
            b"multipart/mixed; boundary=x",
            b"multipart/form-data",
            b"multipart/form-data; boundary",
            b"multipart/form-data; boundary=",
            b"multipart/form-data; boundary=\"\"",
            b"multipart/form-data; boundary=\"x ",
            b"multipart/form-data; boundary=\"x \"",
            b"multipart/form-data; boundary=a b",
            b"multipart/form-data; boundary=a\"b\"",
            b"multipart/form-data; boundary=\"a\"b",
            b"multipart/form-data; boundary=x; boundary=x",
            b"multipart/form-data; boundary=x\xff",
            b"multipart/form-data, boundary=x",
            &too_long,
        ];
        for value in cases {
            assert!(form_type(value).is_err(), "{}", value.escape_ascii());
        }
    }

    #[test]
    fn urlencoded_may_name_a_charset() {
        let cases: [&[u8]; 3] = [
            b"application/x-www-form-urlencoded",
            b"APPLICATION/X-WWW-FORM-URLENCODED; charset=UTF-8",
            b"application/x-www-form-urlencoded;charset",
        ];
        for value in cases {
            assert_eq!(form_type(value), Ok(FormType::Urlencoded));
        }
    }

    #[test]
    fn dispositions_of_real_clients_are_read() {
        use FileName::{Absent, Empty, Given};
        let cases: [(&[u8], &[u8], FileName); 14] = [
            (b"form-data; name=\"client_id\"", b"client_id", Absent),
            (b"FORM-DATA;NAME=image;FileName=x.png", b"image", Given),
            (b"form-data; name=\"image\"; filename=\"\"", b"image", Empty),
            (b"form-data; name=image; filename=", b"image", Empty),
            (
                b"form-data; name=\"image\"; filename=\"a;b=c, name=d.png\"",
                b"image",
                Given,
            ),
            (
                b"form-data; filename=\"C:\\photos\\x.png\"; name=\"image\"",
                b"image",
                Given,
            ),
            (
                b"form-data; filename=\"a\\\\\"; name=\"image\"",
                b"image",
                Given,
            ),
            (
                b"form-data; filename=\"\\\"; name=\\\"x\"; name=\"image\"",
                b"image",
                Given,
            ),
            (
                b"form-data; name=\"a\\\"b%22c%0D%0Ad%2a%\"",
                b"a\"b\"c\r\nd%2a%",
                Absent,
            ),
            (
                b"form-data; name=\"image\"; filename*=UTF-8''%e2%82%ac.png",
                b"image",
                Given,
            ),
            (b"form-data; name=image; filename*=UTF-8''", b"image", Empty),
            (
                b"form-data; name=image; filename=\"\"; filename*=UTF-8''x",
                b"image",
                Given,
            ),
            (
                b"form-data; name=\"\xff\xfe\"; filename=\"\xe9.png\"",
                b"\xff\xfe",
                Given,
            ),
            (b"form-data; name=\"\"", b"", Absent),
        ];
        for (value, name, file_name) in cases {
            assert_eq!(
                field(value),
                Some((name.to_vec(), file_name)),
                "{}",
                value.escape_ascii()
            );
        }
    }

    #[test]
    fn ambiguous_dispositions_are_refused() {
        let cases: [&[u8]; 13] = [
            b"",
            b"form-data",
            b"form-data; filename=\"name=x\"",
            b"form-data; name",
            b"form-data; name*=UTF-8''x",
            b"attachment; name=\"x\"",
            b"form-data, name=\"x\"",
            b"form-data; name=\"x",
            b"form-data; name=\"x\\\"",
            b"form-data; name=\"x\"y",
            b"form-data; name=\"x\"; Name=\"x\"",
            b"form-data; name=x; filename=y; filename=z",
            b"form-data; =\"x\"; name=x",
        ];
        for value in cases {
            assert_eq!(field(value), None, "{}", value.escape_ascii());
        }
    }
}
