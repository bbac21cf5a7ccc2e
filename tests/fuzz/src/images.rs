//! Image files.

use std::io::{BufRead, BufReader};

use corenexis_cdn::image::{ImageType, Inspected, Limits, Rejected, inspect};

use crate::Split;

/// The verdict on the bytes that `source` gives, which are `file`.
fn verdict(source: &mut impl BufRead, file: &[u8]) -> Result<Inspected, Rejected> {
    inspect(source, Limits::default())?.resolve(|| Ok(file))
}

fn outcome(source: &mut impl BufRead, file: &[u8]) -> String {
    match verdict(source, file) {
        Err(Rejected::Read(error)) => panic!("no read failed, but: {error}"),
        outcome => format!("{outcome:?}"),
    }
}

/// A file at once, in pieces, and cut off.
fn walk(file: &[u8]) {
    let limits = Limits::default();
    let mut rest = file;
    let inspection = inspect(&mut rest, limits);
    let end = file.len() - rest.len();
    let at_once = inspection.and_then(|inspection| inspection.resolve(|| Ok(file)));
    let text = format!("{at_once:?}");
    for (way, capacity) in [(0, 1), (1, 50)] {
        let mut source = BufReader::with_capacity(capacity, Split::new(file, way));
        assert_eq!(outcome(&mut source, file), text);
    }
    let Ok(image) = at_once else {
        return;
    };
    assert!(image.width > 0 && image.height > 0);
    assert!(!limits.refuses(image.width, image.height));
    // What follows the image changes nothing. A beginning of it is refused, or an image of the same size that browsers show without
    // its end; WebP has none of those.
    assert_eq!(outcome(&mut &file[..end], &file[..end]), text);
    let mut cuts = Split::new(file, 2);
    let cut = usize::try_from(cuts.below(end as u64)).unwrap_or(0);
    for shorter in [&file[..cut], &file[..end - 1]] {
        match verdict(&mut &*shorter, shorter) {
            Err(Rejected::InvalidType(_)) => {}
            Ok(beginning) if image.image_type != ImageType::WebP => assert_eq!(beginning, image),
            other => panic!("{image:?} cut off: {other:?}"),
        }
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
