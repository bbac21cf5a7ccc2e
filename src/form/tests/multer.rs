//! A differential test against multer, another parser of the same format.

use std::io;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use memchr::memmem;

use super::{Random, Upload, outcome, outcome_at_once};
use crate::form::content_type::Boundary;
use crate::form::{Field, FileName};

/// Where the boundary first occurs, with its dashes.
fn first_delimiter(upload: &Upload) -> (usize, usize) {
    let delimiter = [b"--", upload.boundary.as_bytes()].concat();
    let start = memmem::find(&upload.body, &delimiter).expect("a delimiter");
    (start, start + delimiter.len())
}

/// What multer reads from `upload`, given in chunks with pauses between them. The first chunk reaches over the first delimiter:
/// multer 3.1 refuses a body, whole as it is, whose end comes with the rest of that delimiter after a pause.
fn multer_fields(upload: &Upload, random: &mut Random) -> multer::Result<Vec<(Field, Vec<u8>)>> {
    let mut rest = &upload.body[..];
    let mut next = first_delimiter(upload).1;
    let mut pauses = Random::new(random.next());
    let chunks = futures_util::stream::poll_fn(move |_| {
        if rest.len() < upload.body.len() && pauses.below(2) == 0 {
            return Poll::Pending;
        }
        let (chunk, after) = rest.split_at(rest.len().min(next));
        next = 1 + pauses.below(200);
        rest = after;
        Poll::Ready((!chunk.is_empty()).then(|| Ok::<_, io::Error>(chunk.to_vec())))
    });
    let boundary = String::from_utf8_lossy(upload.boundary.as_bytes());
    let mut form = multer::Multipart::new(chunks, boundary);
    let mut reading = pin!(async {
        let mut fields = Vec::new();
        while let Some(field) = form.next_field().await? {
            let file_name = match field.file_name() {
                None => FileName::Absent,
                Some("") => FileName::Empty,
                Some(_) => FileName::Given,
            };
            let name = field.name().unwrap_or_default().as_bytes().to_vec();
            fields.push((Field { name, file_name }, field.bytes().await?.to_vec()));
        }
        Ok(fields)
    });
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(fields) = reading.as_mut().poll(&mut context) {
            return fields;
        }
    }
}

#[test]
fn multer_reads_the_same() {
    let mut random = Random::new(5);
    let mut compared = 0;
    while compared < 3_000 {
        let upload = Upload::random(&mut random);
        // In a preamble, multer takes a boundary in the middle of a line for a delimiter.
        let (start, _) = first_delimiter(&upload);
        if start > 0 && !upload.body[..start].ends_with(b"\r\n") {
            continue;
        }
        let theirs = multer_fields(&upload, &mut random).expect("a valid body");
        let ours = outcome(upload.open_split(&mut random));
        assert_eq!(ours.refused, None);
        assert_eq!(ours.fields, theirs);
        compared += 1;
    }
}

/// The known differences, each with its reason.
#[test]
fn multer_reads_these_forms_otherwise() {
    let one = |headers: &str| format!("--b\r\n{headers}\r\n\r\nv\r\n--b--\r\n");
    let disposition =
        |parameters: &str| one(&format!("Content-Disposition: form-data; {parameters}"));
    let given = |name: &[u8]| Some((name.to_vec(), FileName::Given));
    let text = |name: &[u8]| Some((name.to_vec(), FileName::Absent));
    for (body, ours, theirs) in [
        // HTTP forbids folded lines, mail has them.
        (disposition("\r\n name=a"), text(b"a"), None),
        // multer takes the first of several names, and does not decode the HTML standard's escapes.
        (disposition("name=\"a\"; name=\"b\""), None, text(b"a")),
        (
            disposition("name=\"a\"; filename=\"x\"y\"; name=\"b\""),
            None,
            given(b"a"),
        ),
        (disposition("name=\"a%22\""), text(b"a\""), text(b"a%22")),
        (
            disposition("name=\"a\"; filename*=UTF-8''x"),
            given(b"a"),
            text(b"a"),
        ),
        // RFC 7578 section 4.2 calls for a disposition.
        (one("X: y"), None, text(b"")),
    ] {
        let upload = Upload {
            boundary: Boundary::new(b"b").expect("a boundary"),
            body: body.into_bytes(),
            fields: Vec::new(),
            end: 0,
        };
        let only = |fields: Vec<(Field, Vec<u8>)>| {
            let (field, _) = fields.into_iter().next()?;
            Some((field.name, field.file_name))
        };
        let read = outcome_at_once(&upload.boundary, &upload.body);
        let read = read.refused.is_none().then_some(read.fields).and_then(only);
        assert_eq!(read, ours, "{}", upload.body.escape_ascii());
        let read = multer_fields(&upload, &mut Random::new(7));
        let read = read.ok().and_then(only);
        assert_eq!(read, theirs, "multer: {}", upload.body.escape_ascii());
    }
}
