mod limits;

use std::io::{self, BufReader, ErrorKind};

use proptest::prelude::*;

use super::samples::{self, Sample};
use super::*;

/// The verdict on bytes, by the default limits.
pub(super) fn check(bytes: &[u8]) -> Result<Inspected, Rejected> {
    check_with(bytes, Limits::default())
}

pub(super) fn check_with(bytes: &[u8], limits: Limits) -> Result<Inspected, Rejected> {
    check_input(&mut &*bytes, bytes, limits)
}

/// The verdict on the bytes that `input` gives, which are `bytes`.
fn check_input(
    input: &mut impl BufRead,
    bytes: &[u8],
    limits: Limits,
) -> Result<Inspected, Rejected> {
    inspect(input, limits)?.resolve(|| Ok(bytes))
}

/// A result in a form that can be compared.
fn text(result: Result<Inspected, Rejected>) -> String {
    result.map_or_else(|error| error.to_string(), |image| format!("{image:?}"))
}

#[track_caller]
pub(super) fn assert_invalid(bytes: &[u8], why: &str) {
    match check(bytes) {
        Err(Rejected::InvalidType(text)) => assert!(text.contains(why), "{text:?}, not {why:?}"),
        other => panic!("{other:?}, not {why:?}"),
    }
}

#[track_caller]
pub(super) fn assert_good(bytes: &[u8]) {
    if let Err(error) = check(bytes) {
        panic!("{error}");
    }
}

#[track_caller]
pub(super) fn assert_size(bytes: &[u8], size: (u32, u32)) {
    match check(bytes) {
        Ok(image) => assert_eq!((image.width, image.height), size),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn samples_are_accepted_with_their_type_and_size() {
    for Sample {
        name,
        bytes,
        image_type,
        width,
        height,
    } in samples::all()
    {
        let image = check(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        let expected = Inspected {
            image_type,
            width,
            height,
        };
        assert_eq!(image, expected, "{name}");
    }
}

#[test]
fn every_truncation_of_the_image_data_is_refused() {
    for Sample {
        name,
        bytes,
        image_type,
        ..
    } in samples::all()
    {
        // What browsers do without: the trailer of a GIF, and of a PNG all after the last row, which ends before the checksum.
        let needed = match image_type {
            ImageType::Jpeg | ImageType::WebP => bytes.len(),
            ImageType::Gif => bytes.len() - 1,
            ImageType::Png => bytes.len() - 12 - 4 - 4,
        };
        for length in 0..bytes.len() {
            let result = check(&bytes[..length]);
            let is_refused = matches!(result, Err(Rejected::InvalidType(_)));
            // Behind its first image, an animation may end between two blocks.
            assert!(
                is_refused || length >= needed || name == "animated GIF",
                "{name} cut to {length} of {}: {result:?}",
                bytes.len()
            );
            assert!(!is_refused || length < needed, "{name} cut to {length}");
        }
    }
}

#[test]
fn bytes_after_the_image_are_kept() {
    for Sample { name, bytes, .. } in samples::all() {
        let longer = [&bytes[..], b"<?php", &bytes].concat();
        assert_eq!(text(check(&longer)), text(check(&bytes)), "{name}");
    }
}

#[test]
fn the_result_does_not_depend_on_how_the_input_is_split() {
    for Sample { name, bytes, .. } in samples::all() {
        let whole = text(check(&bytes));
        for capacity in [1, 2, 3, 5, 7, 11, 12, 13, 64] {
            let mut reader = BufReader::with_capacity(capacity, &bytes[..]);
            let split = text(check_input(&mut reader, &bytes, Limits::default()));
            assert_eq!(split, whole, "{name} in pieces of {capacity}");
        }
        for point in 0..bytes.len().min(2_000) {
            let (start, end) = bytes.split_at(point);
            let split = text(check_input(
                &mut start.chain(end),
                &bytes,
                Limits::default(),
            ));
            assert_eq!(split, whole, "{name} split at {point}");
        }
    }
}

#[test]
fn magic_numbers_alone_are_refused() {
    for fake in [
        &b""[..],
        b"GIF",
        b"GIF89a",
        b"GIF89a<?php system($_GET['c']); ?>;",
        b"\xFF\xD8\xFF",
        b"\xFF\xD8\xFF<?php",
        b"\xFF\xD8\xFF\xD9",
        b"\xFF\xD8\xFF\xE0\0\x10JFIF\0<?php ?>\xFF\xD9",
        b"\x89PNG",
        b"\x89PNG\r\n\x1a\n<svg onload=alert(1)>",
        b"XXXXXXXXWEBP<script>",
        b"RIFF\x10\0\0\0WEBP<script>",
        b"RIFF\x0C\0\0\0WEBPVP8L\0\0\0\0",
        b"BM\x46\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%PDF-1.7",
        b"\0\0\0\x20ftypavif\0\0\0\0",
    ] {
        assert_invalid(fake, "");
    }
}

/// An input that fails once in the middle, with an error of its own.
struct Failing<'a> {
    rest: &'a [u8],
    kind: Option<ErrorKind>,
}

impl Read for Failing<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.fill_buf()?.read(buffer)?;
        self.consume(length);
        Ok(length)
    }
}

impl BufRead for Failing<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.rest.len() < 30
            && let Some(kind) = self.kind.take()
        {
            return Err(kind.into());
        }
        Ok(&self.rest[..self.rest.len().min(7)])
    }

    fn consume(&mut self, length: usize) {
        self.rest = &self.rest[length..];
    }
}

#[test]
fn an_input_error_is_reported_as_such() {
    for Sample { name, bytes, .. } in samples::all() {
        let with = |kind| {
            let mut input = Failing {
                rest: &bytes,
                kind: Some(kind),
            };
            check_input(&mut input, &bytes, Limits::default())
        };
        for kind in [ErrorKind::UnexpectedEof, ErrorKind::TimedOut] {
            let failed = with(kind);
            assert!(
                matches!(&failed, Err(Rejected::Read(error)) if error.kind() == kind),
                "{name}: {failed:?}"
            );
        }
        assert_eq!(
            text(with(ErrorKind::Interrupted)),
            text(check(&bytes)),
            "{name}"
        );
    }
}

/// Zeros without end, all from one small buffer.
struct Zeros;

static ZEROS: [u8; 1 << 16] = [0; 1 << 16];

impl Read for Zeros {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        ZEROS.as_slice().read(buffer)
    }
}

impl BufRead for Zeros {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        Ok(&ZEROS)
    }

    fn consume(&mut self, _length: usize) {}
}

#[test]
fn a_declared_length_allocates_nothing() {
    let huge = |length: u32| {
        let mut bytes = samples::png_of(&[samples::ihdr(1, 1, [8, 0, 0, 0, 0])]);
        bytes.extend(length.to_be_bytes());
        bytes.extend(b"teXt");
        bytes
    };
    assert_invalid(&huge(u32::MAX), "PNG: chunk length");
    assert_invalid(&huge(1 << 31), "PNG: chunk length");
    assert_invalid(&huge((1 << 31) - 1), "truncated");
    assert_invalid(b"RIFF\xFF\xFF\xFF\xFFWEBPVP8X\xFF\xFF\xFF\xFF", "chunk");
    assert_invalid(
        b"RIFF\xFE\xFF\xFF\xFFWEBPVP8 \xF2\xFF\xFF\xFF\x30\x01\0\x9D\x01\x2A\x05\0\x03\0",
        "truncated",
    );

    // A gibibyte is walked with a few bytes of memory.
    let gibibyte = 1 << 30;
    let result = inspect(
        &mut huge(1 << 30).as_slice().chain(Zeros.take(gibibyte + 4)),
        Limits::default(),
    );
    let error = result.map(drop).expect_err("it has no image data");
    assert_eq!(error.to_string(), "not an accepted image: truncated");
    let mut scan = samples::jpeg(0xC0, 8, 8, 1, &[]);
    scan.truncate(scan.len() - 2);
    let result = inspect(
        &mut scan
            .as_slice()
            .chain(Zeros.take(gibibyte))
            .chain(&b"\xFF\xD9"[..]),
        Limits::default(),
    );
    assert!(matches!(result, Ok(Inspection::Whole(_))), "{result:?}");
}

/// A reader that gives pieces of the given lengths in turn.
struct Pieces<'a> {
    rest: &'a [u8],
    lengths: &'a [usize],
    piece: usize,
    turn: usize,
}

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.fill_buf()?.read(buffer)?;
        self.consume(length);
        Ok(length)
    }
}

impl BufRead for Pieces<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.piece == 0 {
            self.piece = self.lengths[self.turn % self.lengths.len()];
            self.turn += 1;
        }
        Ok(&self.rest[..self.piece.min(self.rest.len())])
    }

    fn consume(&mut self, length: usize) {
        self.rest = &self.rest[length..];
        self.piece -= length;
    }
}

/// The heads of the four types, so that random bytes reach the walks.
const HEADS: [&[u8]; 9] = [
    b"",
    b"\xFF\xD8\xFF",
    b"\xFF\xD8\xFF\xC0\0\x0B\x08\0\x01\0\x01\x01\x01\x11\0\xFF\xDA\0\x08\x01\x01\0\0\x3F\0",
    b"\x89PNG\r\n\x1a\n",
    b"GIF89a\x01\0\x01\0\0\0\0",
    b"GIF89a\x01\0\x01\0\0\0\0,\0\0\0\0\x01\0\x01\0\0\x02",
    b"RIFF\xFF\0\0\0WEBPVP8 ",
    b"RIFF\xFF\0\0\0WEBPVP8L",
    b"RIFF\xFF\0\0\0WEBPVP8X\x0A\0\0\0\x02\0\0\0\x09\0\0\x09\0\0",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn random_bytes_get_the_same_verdict_however_they_are_split(
        head in prop::sample::select(&HEADS[..]),
        tail in prop::collection::vec(any::<u8>(), 0..600),
        lengths in prop::collection::vec(1_usize..20, 1..5),
    ) {
        let bytes = [head, &tail].concat();
        let mut pieces = Pieces { rest: &bytes, lengths: &lengths, piece: 0, turn: 0 };
        prop_assert_eq!(text(check_input(&mut pieces, &bytes, Limits::default())), text(check(&bytes)));
    }

    #[test]
    fn damaged_images_get_the_same_verdict_however_they_are_split(
        which in any::<prop::sample::Index>(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0_u8..4), 1..6),
        lengths in prop::collection::vec(1_usize..20, 1..5),
    ) {
        let mut samples: Vec<_> = samples::all().into_iter().filter(|s| s.bytes.len() < 4_000).collect();
        let which = which.index(samples.len());
        let mut bytes = samples.swap_remove(which).bytes;
        for (place, value, kind) in damage {
            if bytes.is_empty() {
                break;
            }
            let place = place.index(bytes.len());
            match kind {
                0 => bytes[place] = value,
                1 => bytes[place] ^= 1 << (value % 8),
                2 => bytes.insert(place, value),
                _ => drop(bytes.drain(place..(place + usize::from(value)).min(bytes.len()))),
            }
        }
        let mut pieces = Pieces { rest: &bytes, lengths: &lengths, piece: 0, turn: 0 };
        let result = check(&bytes);
        if let Ok(image) = &result {
            prop_assert!((1..=Limits::default().max_side).contains(&image.width));
            prop_assert!((1..=Limits::default().max_side).contains(&image.height));
        }
        prop_assert_eq!(text(check_input(&mut pieces, &bytes, Limits::default())), text(result));
    }
}
