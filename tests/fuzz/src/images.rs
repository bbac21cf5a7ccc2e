//! Image files.

use std::io::{BufRead, BufReader};

use corenexis_cdn::image::{Limits, Rejected, inspect};

use crate::Split;

const LIMITS: Limits = Limits {
    max_side: 16_384,
    max_megapixels: 50,
};

fn outcome(source: &mut impl BufRead) -> String {
    match inspect(source, LIMITS) {
        Err(Rejected::Read(error)) => panic!("no read failed, and yet: {error}"),
        outcome => format!("{outcome:?}"),
    }
}

/// A file, split in every way and cut off; the outcome, and how much of it is the image.
fn walk(file: &[u8]) {
    let mut rest = file;
    let at_once = inspect(&mut rest, LIMITS);
    let end = file.len() - rest.len();
    let text = format!("{at_once:?}");
    for way in 0..2 {
        let capacity = [1, 50][usize::try_from(way).unwrap_or(0)];
        let mut source = BufReader::with_capacity(capacity, Split::new(file, way));
        assert_eq!(outcome(&mut source), text);
    }
    let Ok(image) = at_once else {
        return;
    };
    assert!((1..=LIMITS.max_side).contains(&image.width));
    assert!((1..=LIMITS.max_side).contains(&image.height));
    assert!(u64::from(image.width) * u64::from(image.height) <= 50_000_000);
    // What follows the image changes nothing, and no beginning of it is an image.
    assert_eq!(outcome(&mut &file[..end]), text);
    let mut cuts = Split::new(file, 2);
    let cut = usize::try_from(cuts.below(end as u64)).unwrap_or(0);
    for shorter in [cut, end - 1] {
        let cut_off = inspect(&mut &file[..shorter], LIMITS);
        assert!(matches!(cut_off, Err(Rejected::InvalidType(_))));
    }
}

/// The file as it is, and with a head that leads to one of the walks.
fn with_head(data: &[u8], head: &[u8]) -> Vec<u8> {
    let mut file = data.to_vec();
    let length = head.len().min(file.len());
    file[..length].copy_from_slice(&head[..length]);
    walk(&file);
    file
}

/// JPEG files.
pub fn jpeg(data: &[u8]) {
    with_head(data, b"\xFF\xD8\xFF");
}

/// GIF files.
pub fn gif(data: &[u8]) {
    with_head(data, b"GIF89a");
    with_head(data, b"GIF87a");
}

/// PNG files, as they are and with the checksums that no mutation finds.
pub fn png(data: &[u8]) {
    let mut file = with_head(data, b"\x89PNG\r\n\x1a\n");
    let mut at = 8;
    while let Some(&[a, b, c, d, ..]) = file.get(at..) {
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        let Some(covered) = file.get(at + 4..at + 8 + length) else {
            break;
        };
        let crc = crc32(covered).to_be_bytes();
        at += 8 + length;
        let Some(place) = file.get_mut(at..at + 4) else {
            break;
        };
        place.copy_from_slice(&crc);
        at += 4;
    }
    walk(&file);
}

/// WebP files, as they are and with the length that the file has.
pub fn webp(data: &[u8]) {
    let mut head = *b"RIFF\0\0\0\0WEBP";
    if let Some(length) = data.get(4..8) {
        head[4..8].copy_from_slice(length);
    }
    let mut file = with_head(data, &head);
    if let (Some(place), Ok(length)) = (
        file.get_mut(4..8),
        u32::try_from(data.len().saturating_sub(8)),
    ) {
        place.copy_from_slice(&length.to_le_bytes());
        walk(&file);
    }
}

/// CRC-32 bit by bit, as the PNG specification's annex D defines it.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg())
        })
    })
}
