//! What must hold for every body, however it is read: bytes arrive unchanged, the outcome does not depend on how the body
//! was split, and nothing that was cut off passes.

use std::io::{self, Read};

use memchr::memmem;

use super::content_type::{Boundary, MAX_BOUNDARY};
use super::multipart::{BUFFER, Multipart};
use super::{Field, FileName, Form, FormError, open};

mod hostile;
mod multer;
mod php;

/// xorshift64*: the same sequence for the same seed, for ever.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).expect("below a usize")
    }

    fn pick<'a>(&mut self, choices: &[&'a [u8]]) -> &'a [u8] {
        choices[self.below(choices.len())]
    }
}

/// Gives `rest` in reads of 1 to `largest` bytes, some of them interrupted.
struct Split<'a> {
    rest: &'a [u8],
    largest: usize,
    random: Random,
}

impl Read for Split<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.random.below(16) == 0 {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let length = 1 + self.random.below(self.largest);
        let length = length.min(into.len());
        self.rest.by_ref().take(length as u64).read(into)
    }
}

/// One body and what it says.
struct Upload {
    boundary: Boundary,
    body: Vec<u8>,
    fields: Vec<(Field, Vec<u8>)>,
    /// Where the closing delimiter ends in `body`.
    end: usize,
}

impl Upload {
    fn random(random: &mut Random) -> Self {
        let boundary = random_boundary(random);
        let delimiter = [b"\r\n--", boundary.as_bytes()].concat();
        let mut body = Vec::new();
        if random.below(4) == 0 {
            body = random_bytes(random, &delimiter);
            body.extend_from_slice(b"\r\n");
        }
        let mut fields = Vec::new();
        body.extend_from_slice(&delimiter[2..]);
        for number in 0..random.below(5) {
            let name = [
                random.pick(&[b"image", b"a;b", b"\xc3\xa9", b"name=x"]),
                &[b'0' + u8::try_from(number).expect("small")],
            ]
            .concat();
            let (text, file_name) = match random.below(3) {
                0 => (&b""[..], FileName::Absent),
                1 => (&b"; filename=\"\""[..], FileName::Empty),
                _ => (&b"; filename=\"name; filename=.png\""[..], FileName::Given),
            };
            let value = random_bytes(random, &delimiter);
            body.extend_from_slice(random.pick(&[b"\r\n", b"\r\n", b" \t\r\n"]));
            body.extend_from_slice(b"Content-Disposition: form-data; name=\"");
            body.extend_from_slice(&name);
            body.extend_from_slice(b"\"");
            body.extend_from_slice(text);
            body.extend_from_slice(random.pick(&[b"", b"\r\nContent-Type: image/png", b"\r\nX:"]));
            body.extend_from_slice(b"\r\n\r\n");
            body.extend_from_slice(&value);
            body.extend_from_slice(&delimiter);
            fields.push((Field { name, file_name }, value));
        }
        body.extend_from_slice(b"--");
        let end = body.len();
        body.extend_from_slice(random.pick(&[b"", b"\r\n", b"\r\nepilogue", &delimiter]));
        Self {
            boundary,
            body,
            fields,
            end,
        }
    }

    /// Opens the body, read in random pieces into a buffer that is often hardly larger than a delimiter.
    fn open_split(&self, random: &mut Random) -> Form<Split<'_>> {
        open_split(&self.boundary, &self.body, random)
    }
}

fn open_split<'a>(boundary: &Boundary, body: &'a [u8], random: &mut Random) -> Form<Split<'a>> {
    let largest = [1, 3, 20, 100, 5000][random.below(5)];
    let capacity = [0, 90, 300, BUFFER][random.below(4)] + random.below(20);
    let body = Split {
        rest: body,
        largest,
        random: Random::new(random.next()),
    };
    Form::Multipart(Multipart::with_capacity(boundary, body, capacity))
}

fn random_boundary(random: &mut Random) -> Boundary {
    let length = [1, 2, 16, 70, MAX_BOUNDARY][random.below(5)];
    let alphabet = random.pick(&[
        b"-",
        b"-a",
        b"*",
        b"0123456789abcdefXYZ'()+_,-./:=?{}*<>@[]|~%&",
    ]);
    let bytes: Vec<_> = (0..length)
        .map(|_| alphabet[random.below(alphabet.len())])
        .collect();
    Boundary::new(&bytes).expect("legal characters")
}

/// Bytes that hold all but the delimiter: its beginnings and its end, line breaks, dashes and noise.
fn random_bytes(random: &mut Random, delimiter: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..random.below(30) {
        match random.below(6) {
            0 => {
                let length = random.below(delimiter.len());
                bytes.extend_from_slice(&delimiter[..length]);
            }
            1 => bytes.extend_from_slice(&delimiter[1 + random.below(3)..]),
            2 => bytes.extend_from_slice(random.pick(&[b"\r", b"\n", b"\r\n", b"\r\r\n"])),
            3 => bytes.extend_from_slice(random.pick(&[b"-", b"--", b"\r\n--", b"\r\n\r\n--"])),
            _ => {
                for _ in 0..random.below(40) {
                    bytes.extend_from_slice(&random.next().to_le_bytes()[..1]);
                }
            }
        }
    }
    // A delimiter at the very start needs no line break of its own.
    while let Some(at) = memmem::find(&[b"\r\n", &bytes[..]].concat(), delimiter) {
        bytes[at + delimiter.len() - 3] = b'#';
    }
    bytes
}

/// Everything a form says: its fields, as far as they could be read, and why it could be read no further.
#[derive(Debug, PartialEq)]
struct Outcome {
    fields: Vec<(Field, Vec<u8>)>,
    refused: Option<&'static str>,
}

fn outcome<R: Read>(mut form: Form<R>) -> Outcome {
    let mut fields = Vec::new();
    let result = read_fields(&mut form, &mut fields).and_then(|()| form.drain());
    let refused = result.err().map(|error| match error {
        FormError::Malformed(reason) => reason,
        FormError::Read(error) => panic!("{error}"),
    });
    if let Some(reason) = refused {
        for again in [
            form.next_field().err(),
            form.next_piece().err(),
            form.drain().err(),
        ] {
            assert!(matches!(again, Some(FormError::Malformed(same)) if same == reason));
        }
    }
    Outcome { fields, refused }
}

fn read_fields<R: Read>(
    form: &mut Form<R>,
    fields: &mut Vec<(Field, Vec<u8>)>,
) -> Result<(), FormError> {
    assert!(matches!(form.next_piece(), Ok(None)));
    while let Some(field) = form.next_field()? {
        fields.push((field, Vec::new()));
        let value = &mut fields.last_mut().expect("just pushed").1;
        while let Some(piece) = form.next_piece()? {
            assert!(!piece.is_empty());
            value.extend_from_slice(piece);
        }
        assert!(matches!(form.next_piece(), Ok(None)));
    }
    assert!(matches!(form.next_piece(), Ok(None)));
    Ok(())
}

/// The outcome of `body` when it is there at once and the buffer is the usual one.
fn outcome_at_once(boundary: &Boundary, body: &[u8]) -> Outcome {
    outcome(Form::Multipart(Multipart::new(boundary, body)))
}

#[test]
fn twenty_thousand_random_uploads_arrive_unchanged() {
    let mut random = Random::new(1);
    for number in 0..20_000 {
        let upload = Upload::random(&mut random);
        let read = outcome(upload.open_split(&mut random));
        assert_eq!(read.refused, None, "upload {number}");
        assert_eq!(read.fields, upload.fields, "upload {number}");
    }
}

/// A body whose only value, or whose file after a text field, is `value`.
fn body_with(value: &[u8]) -> Vec<u8> {
    let before = b"--bound\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--bound\r\n\
        Content-Disposition: form-data; name=\"image\"; filename=\"x\"\r\n\r\n";
    [before, value, b"\r\n--bound--\r\n"].concat()
}

const EDGY: [&[u8]; 9] = [
    b"",
    b"\r",
    b"\r\n",
    b"\r\n\r\n",
    b"\r\n--",
    b"\r\n--boun",
    b"\r\n--boun\r\n--boun\r\r\n",
    b"x\r\n-\r\n--bounD\r\n--x",
    b"-bound--",
];

#[test]
fn line_breaks_and_delimiter_beginnings_survive_every_buffer_edge() {
    let boundary = Boundary::new(b"bound").expect("a boundary");
    for value in EDGY {
        let body = body_with(value);
        let check = |form: Outcome, how: &str, number: usize| {
            let value_is = value.escape_ascii();
            assert_eq!(form.refused, None, "{value_is}, {how} {number}");
            assert_eq!(form.fields.len(), 2, "{value_is}, {how} {number}");
            assert_eq!(form.fields[1].1, value, "{value_is}, {how} {number}");
        };
        for number in 0..=body.len() {
            let (first, second) = body.split_at(number);
            let form = Multipart::new(&boundary, first.chain(second));
            check(outcome(Form::Multipart(form)), "split after", number);
            let form = Multipart::with_capacity(&boundary, &body[..], number);
            check(outcome(Form::Multipart(form)), "capacity", number);
            let split = Split {
                rest: &body,
                largest: 1,
                random: Random::new(number as u64),
            };
            let form = Multipart::with_capacity(&boundary, split, number);
            check(outcome(Form::Multipart(form)), "bytewise, capacity", number);
        }
    }
}

#[test]
fn the_edge_of_the_usual_buffer_is_as_good_as_any() {
    let boundary = Boundary::new(b"bound").expect("a boundary");
    let shortest = BUFFER - body_with(b"").len() - 20;
    for ending in EDGY {
        for length in shortest..shortest + 160 {
            let mut value = vec![b'x'; length];
            value.extend_from_slice(ending);
            let read = outcome_at_once(&boundary, &body_with(&value));
            assert_eq!(read.refused, None);
            assert!(
                read.fields[1].1 == value,
                "{length} + {}",
                ending.escape_ascii()
            );
        }
    }
}

#[test]
fn a_large_value_comes_in_pieces_as_large_as_the_buffer() {
    let boundary = Boundary::new(b"bound").expect("a boundary");
    let body = body_with(&vec![b'x'; 10 * BUFFER]);
    let mut form = Multipart::new(&boundary, &body[..]);
    let mut lengths = Vec::new();
    while form.next_field().expect("a form").is_some() {
        while let Some(piece) = form.next_range().expect("a piece") {
            lengths.push(piece.len());
        }
    }
    assert_eq!(
        lengths.iter().filter(|&&length| length == BUFFER).count(),
        9
    );
}

#[test]
fn every_truncated_body_is_refused() {
    let mut random = Random::new(3);
    for _ in 0..60 {
        let upload = Upload::random(&mut random);
        for length in 0..upload.end {
            let body = &upload.body[..length];
            let read = outcome(open_split(&upload.boundary, body, &mut random));
            let expected = "a body that ends before the closing delimiter";
            assert_eq!(read.refused, Some(expected), "cut after {length}");
        }
        let whole = &upload.body[..upload.end];
        assert_eq!(outcome_at_once(&upload.boundary, whole).refused, None);
    }
}

#[test]
fn values_may_be_skipped() {
    let mut random = Random::new(4);
    for _ in 0..500 {
        let upload = Upload::random(&mut random);
        let mut form = upload.open_split(&mut random);
        let mut skipped = Vec::new();
        while let Some(field) = form.next_field().expect("a form") {
            skipped.push(field);
            if random.below(2) == 0 {
                form.next_piece().expect("a piece");
            }
        }
        let fields: Vec<_> = upload
            .fields
            .iter()
            .map(|(field, _)| field.clone())
            .collect();
        assert_eq!(skipped, fields);
        upload.open_split(&mut random).drain().expect("a form");
    }
}

#[test]
fn text_is_limited_and_the_form_read_on() {
    let body = body_with(b"0123456789");
    let content_type = Some(&b"multipart/form-data; boundary=bound"[..]);
    let mut form = open(content_type, &body[..]).expect("a form");
    form.next_field().expect("a form").expect("a");
    assert!(matches!(form.text(0), Err(FormError::Malformed(_))));
    form.next_field().expect("a form").expect("image");
    assert_eq!(form.text(10).expect("text"), b"0123456789");
    assert_eq!(form.text(0).expect("nothing is left"), b"");
    assert!(form.next_field().expect("a form").is_none());
    assert!(form.next_field().expect("a form").is_none());
    form.drain().expect("a form");
}

#[test]
fn a_form_needs_its_content_type() {
    for content_type in [None, Some(&b"text/plain"[..])] {
        assert!(matches!(
            open(content_type, &b""[..]),
            Err(FormError::Malformed(_))
        ));
    }
    let mut form = open(Some(b"application/x-www-form-urlencoded"), &b"a=b"[..]).expect("a form");
    assert_eq!(
        form.next_field().expect("a form").expect("a field").name,
        b"a"
    );
    assert_eq!(form.text(1).expect("text"), b"b");
}

#[test]
fn read_errors_are_passed_on_and_last() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::TimedOut.into())
        }
    }
    let boundary = Boundary::new(b"bound").expect("a boundary");
    let body = body_with(b"value");
    for length in 0..=body.len() {
        let body = body[..length].chain(Broken);
        let mut form = Form::Multipart(Multipart::new(&boundary, body));
        match form.drain() {
            Err(FormError::Read(error)) => assert_eq!(error.kind(), io::ErrorKind::TimedOut),
            other => panic!("{other:?} after {length} bytes"),
        }
        assert!(matches!(form.drain(), Err(FormError::Malformed(_))));
    }
}

#[test]
fn multipart_0_18_appended_a_line_break_that_straddled_its_buffer() {
    let boundary = Boundary::new(b"bound").expect("a boundary");
    for length in 8_000..8_200 {
        let value = vec![0xD8; length];
        let body = body_with(&value);
        for capacity in [8 * 1024, BUFFER] {
            let form = Multipart::with_capacity(&boundary, &body[..], capacity);
            let read = outcome(Form::Multipart(form));
            assert_eq!(read.fields[1].1.len(), length);
            assert!(read.fields[1].1 == value);
        }
    }
}

#[test]
fn multipart_0_18_took_a_file_name_for_the_name_of_the_field() {
    let body = b"--bound\r\nContent-Disposition: form-data; filename=\"client_id\"; name=\"image\"\r\n\r\n\
        v\r\n--bound--";
    let boundary = Boundary::new(b"bound").expect("a boundary");
    let read = outcome_at_once(&boundary, body);
    let field = Field {
        name: b"image".to_vec(),
        file_name: FileName::Given,
    };
    assert_eq!(read.fields, [(field, b"v".to_vec())]);
    assert_eq!(read.refused, None);
}

#[test]
fn multipart_0_18_took_a_truncated_body_for_a_whole_one() {
    let boundary = Boundary::new(b"bound").expect("a boundary");
    let body = body_with(b"value");
    let cut = &body[..body.len() - b"\r\n--bound--\r\n".len()];
    assert!(outcome_at_once(&boundary, cut).refused.is_some());
}
