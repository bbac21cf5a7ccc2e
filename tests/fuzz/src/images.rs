//! Image files.

use std::io::{BufRead, BufReader};

use corenexis_cdn::image::metadata::{self, Kind, Metadata, Policy, scrub};
use corenexis_cdn::image::{ImageType, Inspected, Inspection, Limits, Rejected, inspect, survey};

use crate::Split;

/// A verdict that can be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Accepted(Inspected),
    Invalid(&'static str),
    TooLarge,
}

impl From<Result<Inspected, Rejected>> for Verdict {
    fn from(result: Result<Inspected, Rejected>) -> Self {
        match result {
            Ok(image) => Self::Accepted(image),
            Err(Rejected::InvalidType(reason)) => Self::Invalid(reason),
            Err(Rejected::TooLarge { .. } | Rejected::AnimationTooLarge { .. }) => Self::TooLarge,
            Err(Rejected::Read(error)) => panic!("no read failed, but: {error}"),
        }
    }
}

/// The verdict on the bytes that `source` gives, which are `file`.
fn verdict(source: &mut impl BufRead, file: &[u8]) -> Verdict {
    let inspection = inspect(source, Limits::default());
    inspection
        .and_then(|inspection| inspection.resolve(|| Ok(file)))
        .into()
}

/// A file at once, in pieces, and cut off.
fn walk(file: &[u8]) {
    let mut rest = file;
    let at_once = verdict(&mut rest, file);
    let end = file.len() - rest.len();
    let mut ways = Split::new(file, 2);
    let capacity = [1, 50][usize::from(ways.below(2) == 0)];
    let mut source = BufReader::with_capacity(capacity, Split::new(file, 0));
    assert_eq!(verdict(&mut source, file), at_once);
    let Verdict::Accepted(image) = at_once else {
        return;
    };
    assert!(image.width > 0 && image.height > 0);
    assert!(!Limits::default().refuses(image.width, image.height));
    strip(file, image);
    // What follows the image changes nothing. A beginning of it is refused, or an image of the same size that browsers show without
    // its end; WebP has none of those.
    assert_eq!(verdict(&mut &file[..end], &file[..end]), at_once);
    let cut = usize::try_from(ways.below(end as u64)).unwrap_or(0);
    for shorter in [&file[..cut], &file[..end - 1]] {
        match verdict(&mut &*shorter, shorter) {
            Verdict::Invalid(_) => {}
            Verdict::Accepted(beginning) if image.image_type != ImageType::WebP => {
                assert_eq!(beginning, image);
            }
            other => panic!("{image:?} cut off: {other:?}"),
        }
    }
}

/// The file after its metadata were removed; `None` where it ends within a block.
fn stripped(file: &[u8], policy: Policy) -> Option<Vec<u8>> {
    let (_, layout) = survey(&mut &*file, Limits::default()).ok()?;
    metadata::stripped(file, &layout.blocks, policy)
}

fn is_whole(file: &[u8]) -> bool {
    matches!(
        inspect(&mut &*file, Limits::default()),
        Ok(Inspection::Whole(_))
    )
}

/// An image without its metadata is the same image, and has none to remove.
fn strip(file: &[u8], image: Inspected) {
    for policy in [Policy::StripLocation, Policy::Strip] {
        let Some(after) = stripped(file, policy) else {
            continue;
        };
        assert_eq!(
            verdict(&mut &*after, &after),
            Verdict::Accepted(image),
            "{policy:?}"
        );
        // Behind damage, what was taken for a block may become padding, and the walk then goes further than before.
        if is_whole(file) {
            assert_eq!(stripped(&after, policy).as_ref(), Some(&after));
        }
    }
}

/// Blocks of metadata.
pub fn metadata(data: &[u8]) {
    for (kind, metadata) in [
        (Kind::Jpeg(0xE1), Metadata::Exif(0)),
        (Kind::Jpeg(0xE1), Metadata::Xmp(0)),
        (Kind::Jpeg(0xED), Metadata::Photoshop(0)),
        (Kind::Png(*b"eXIf"), Metadata::Exif(8)),
    ] {
        for policy in [Policy::StripLocation, Policy::Strip] {
            let mut block = data.to_vec();
            if let Some(changed) = scrub(kind, metadata, &mut block, policy) {
                assert_eq!(changed, block != data);
                let once = block.clone();
                assert_eq!(scrub(kind, metadata, &mut block, policy), Some(false));
                assert_eq!(block, once);
            }
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
        let crc = crc32fast::hash(covered).to_be_bytes();
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
