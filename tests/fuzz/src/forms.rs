//! Form bodies and the headers that describe them.

use std::io::{self, Read};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use corenexis_cdn::form::content_type::{self, Boundary, FormType, MAX_BOUNDARY};
use corenexis_cdn::form::multipart::{BUFFER, Multipart};
use corenexis_cdn::form::urlencoded::Urlencoded;
use corenexis_cdn::form::{Field, FileName, Form, FormError, MAX_FIELDS};

use crate::Split;

/// What a form said, as far as it could be read.
#[derive(Debug, PartialEq)]
struct Outcome {
    fields: Vec<(Field, Vec<u8>)>,
    refused: Option<&'static str>,
}

fn outcome<R: Read>(mut form: Form<R>) -> Outcome {
    let mut fields = Vec::new();
    let refused = match read_fields(&mut form, &mut fields) {
        Ok(()) => None,
        Err(FormError::Malformed(reason)) => Some(reason),
        Err(FormError::Read(error)) => panic!("no read failed, and yet: {error}"),
    };
    if let Some(reason) = refused {
        let failures = [
            form.next_field().err(),
            form.next_piece().err(),
            form.drain().err(),
        ];
        for again in failures {
            assert!(matches!(again, Some(FormError::Malformed(same)) if same == reason));
        }
    }
    assert!(fields.len() <= MAX_FIELDS);
    Outcome { fields, refused }
}

fn read_fields<R: Read>(
    form: &mut Form<R>,
    fields: &mut Vec<(Field, Vec<u8>)>,
) -> Result<(), FormError> {
    while let Some(field) = form.next_field()? {
        let mut value = Vec::new();
        let read = loop {
            match form.next_piece() {
                Ok(Some(piece)) => {
                    assert!(!piece.is_empty());
                    value.extend_from_slice(piece);
                }
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        fields.push((field, value));
        read?;
    }
    Ok(())
}

/// The first line is the boundary, the rest the body.
fn boundary_and_body(data: &[u8]) -> Option<(Boundary, &[u8])> {
    let end = data.iter().position(|&byte| byte == b'\n')?;
    let boundary = Boundary::new(&data[..end]).ok()?;
    Some((boundary, &data[end + 1..]))
}

/// Room for a whole input: to clear the real buffer takes longer than to read most inputs.
const ROOMY: usize = 4096;

/// A multipart body, split in one of many ways.
pub fn multipart(data: &[u8]) {
    let Some((boundary, body)) = boundary_and_body(data) else {
        return;
    };
    let read_at_once = || Form::Multipart(Multipart::with_capacity(&boundary, body, ROOMY));
    let at_once = outcome(read_at_once());
    let mut split = Split::new(body, 0);
    let capacity = match split.below(64) {
        0 => BUFFER,
        1..8 => ROOMY,
        8..36 => 0,
        _ => 90,
    };
    let jitter = usize::try_from(split.below(20)).unwrap_or(0);
    let form = Multipart::with_capacity(&boundary, split, capacity + jitter);
    assert_eq!(outcome(Form::Multipart(form)), at_once);
    let delimiter = [b"\r\n--", boundary.as_bytes()].concat();
    for (_, value) in &at_once.fields {
        let within = value
            .windows(delimiter.len())
            .any(|bytes| bytes == delimiter);
        assert!(!within, "a value that holds a delimiter");
    }
    if at_once.refused.is_none() {
        read_at_once().drain().expect("read once already");
    }
}

/// A multipart body, read by multer too.
pub fn multer(data: &[u8]) {
    let Some((boundary, body)) = boundary_and_body(data) else {
        return;
    };
    // multer takes a boundary as text.
    if str::from_utf8(boundary.as_bytes()).is_err() {
        return;
    }
    let ours = Multipart::with_capacity(&boundary, body, ROOMY);
    let ours = outcome(Form::Multipart(ours));
    let theirs = multer_fields(&boundary, body);
    // multer takes a boundary in the middle of a preamble's line for a delimiter, and one right behind a part's headers, where
    // the empty value's line break is the headers', for a value.
    let delimiter = [b"--", boundary.as_bytes()].concat();
    let after_headers = [b"\r\n\r\n", &delimiter[..]].concat();
    if !body.starts_with(&delimiter)
        || body
            .windows(after_headers.len())
            .any(|bytes| bytes == after_headers)
    {
        return;
    }
    match theirs {
        Ok(theirs) => {
            if ours.refused.is_some() {
                return;
            }
            assert_eq!(ours.fields.len(), theirs.len());
            for ((field, value), (name, their_value)) in ours.fields.iter().zip(&theirs) {
                assert_eq!(value, their_value);
                // multer searches for parameters where this program tokenises; only the plainest names mean the same to both.
                if is_plain(&field.name) && name.as_deref().is_some_and(is_plain) {
                    assert_eq!(Some(&field.name), name.as_ref());
                }
            }
        }
        // More than 32 headers, or bytes in them that HTTP does not have.
        Err(multer::Error::ReadHeaderFailed(_) | multer::Error::DecodeHeaderValue { .. }) => {}
        Err(theirs) => assert!(ours.refused.is_some(), "multer alone says: {theirs}"),
    }
}

fn is_plain(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(u8::is_ascii_lowercase)
}

type TheirFields = Vec<(Option<Vec<u8>>, Vec<u8>)>;

fn multer_fields(boundary: &Boundary, body: &[u8]) -> multer::Result<TheirFields> {
    let whole = futures_util::stream::iter([Ok::<_, io::Error>(body.to_vec())]);
    let boundary = String::from_utf8_lossy(boundary.as_bytes());
    let mut form = multer::Multipart::new(whole, boundary);
    let mut reading = pin!(async {
        let mut fields = Vec::new();
        while let Some(field) = form.next_field().await? {
            let name = field.name().map(|name| name.as_bytes().to_vec());
            fields.push((name, field.bytes().await?.to_vec()));
        }
        Ok(fields)
    });
    let mut context = Context::from_waker(Waker::noop());
    // The stream never waits, so a reader that does waits for ever.
    for _ in 0..10_000 {
        if let Poll::Ready(fields) = reading.as_mut().poll(&mut context) {
            return fields;
        }
    }
    Err(multer::Error::IncompleteStream)
}

/// A urlencoded body, read by the URL standard's reference parser too.
pub fn urlencoded(data: &[u8]) {
    let ours = outcome(Form::Urlencoded(Urlencoded::new(data)));
    let split = outcome(Form::Urlencoded(Urlencoded::new(Split::new(data, 0))));
    assert_eq!(split, ours);
    if ours.refused.is_some() {
        return;
    }
    let ours = ours.fields.iter().map(|(field, value)| {
        assert_eq!(field.file_name, FileName::Absent);
        (
            String::from_utf8_lossy(&field.name),
            String::from_utf8_lossy(value),
        )
    });
    assert!(ours.eq(form_urlencoded::parse(data)));
}

/// The two headers that are read parameter by parameter.
pub fn content_type(data: &[u8]) {
    if let Ok(FormType::Multipart(boundary)) = content_type::form_type(data) {
        let boundary = boundary.as_bytes();
        assert!((1..=MAX_BOUNDARY).contains(&boundary.len()) && !boundary.ends_with(b" "));
        assert!(!boundary.iter().any(u8::is_ascii_control));
        let mut quoted = b"multipart/form-data; boundary=\"".to_vec();
        for &byte in boundary {
            if matches!(byte, b'"' | b'\\') {
                quoted.push(b'\\');
            }
            quoted.push(byte);
        }
        quoted.push(b'"');
        let again = content_type::form_type(&quoted).expect("a boundary once is one always");
        assert_eq!(
            again,
            FormType::Multipart(Boundary::new(boundary).expect("checked"))
        );
    }
    if let Ok(field) = content_type::disposition(data) {
        let mut quoted = b"form-data; name=\"".to_vec();
        for &byte in &field.name {
            match byte {
                b'"' => quoted.extend_from_slice(b"%22"),
                b'\r' => quoted.extend_from_slice(b"%0D"),
                b'\n' => quoted.extend_from_slice(b"%0A"),
                b'\\' => quoted.extend_from_slice(b"\\\\"),
                other => quoted.push(other),
            }
        }
        quoted.push(b'"');
        let again = content_type::disposition(&quoted).expect("a name once is one always");
        // A name that still holds an escape after one round loses it in the next.
        if !field.name.contains(&b'%') {
            assert_eq!(again.name, field.name);
        }
    }
}
