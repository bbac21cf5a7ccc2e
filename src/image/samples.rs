//! Small images for the tests, built from their specifications byte by byte: whole images, which decoders show.

use super::ImageType;

/// A good image with its type and size.
pub(super) struct Sample {
    pub(super) name: &'static str,
    pub(super) bytes: Vec<u8>,
    pub(super) image_type: ImageType,
    pub(super) width: u32,
    pub(super) height: u32,
}

/// One image of each kind that the walks tell apart.
pub(super) fn all() -> Vec<Sample> {
    use ImageType::{Gif, Jpeg, Png, WebP};
    let noted = jpeg_segment(0xFE, b"\xFF\xD9 is no EOI inside a segment");
    let long_profile = jpeg_segment(0xE2, &vec![0xFF; 65_533]);
    let text = png_chunk(b"tEXt", b"Title\0sample");
    let wrong_text = [&text[..text.len() - 4], b"\0\0\0\0"].concat();
    let animation_of_two = [
        webp_chunk(b"ANIM", &[0; 6]),
        anmf(2, 4, 5, 3, &webp_chunk(b"VP8 ", VP8_5X3)),
        anmf(0, 0, 12, 9, &webp_chunk(b"VP8L", &vp8l(12, 9))),
    ]
    .concat();
    let alpha = webp_chunk(b"ALPH", &[&[0][..], &[0x80; 15]].concat());
    [
        ("grey PNG", Png, 3, 2, png(3, 2, 8, 0, 0, &[])),
        ("16-bit PNG", Png, 3, 2, png(3, 2, 16, 6, 0, &[])),
        ("interlaced PNG", Png, 9, 7, png(9, 7, 2, 0, 1, &[])),
        ("palette PNG", Png, 5, 1, png(5, 1, 1, 3, 0, &[palette(2)])),
        (
            "PNG with a suggested palette",
            Png,
            1,
            1,
            png(1, 1, 8, 2, 0, &[palette(256)]),
        ),
        (
            "PNG with ancillary chunks",
            Png,
            1,
            1,
            png(1, 1, 8, 4, 0, &[text, wrong_text]),
        ),
        ("grey JPEG", Jpeg, 8, 5, jpeg(0xC0, 8, 5, 1, &[])),
        ("colour JPEG", Jpeg, 8, 8, jpeg(0xC0, 8, 8, 3, &[noted])),
        (
            "CMYK JPEG",
            Jpeg,
            7,
            8,
            jpeg(0xC1, 7, 8, 4, &[long_profile]),
        ),
        ("progressive JPEG", Jpeg, 8, 8, jpeg(0xC2, 8, 8, 3, &[])),
        ("JPEG with restarts", Jpeg, 16, 8, jpeg_with_restarts()),
        (
            "GIF87a",
            Gif,
            1,
            1,
            gif(b"GIF87a", 1, 1, &gif_image(0, 0, 1, 1)),
        ),
        ("animated GIF", Gif, 4, 3, animated_gif()),
        (
            "lossy WebP",
            WebP,
            5,
            3,
            webp(&webp_chunk(b"VP8 ", VP8_5X3)),
        ),
        (
            "lossless WebP of odd length",
            WebP,
            7,
            16_384,
            webp(&webp_chunk(b"VP8L", &[&vp8l(7, 16_384)[..], &[0]].concat())),
        ),
        (
            "extended WebP",
            WebP,
            5,
            3,
            webp(
                &[
                    vp8x(0x3C, 5, 3),
                    webp_chunk(b"ICCP", b"profile"),
                    alpha,
                    webp_chunk(b"VP8 ", VP8_5X3),
                    webp_chunk(b"EXIF", b"odd"),
                    webp_chunk(b"XMP ", b"<x/>"),
                    webp_chunk(b"what", b""),
                ]
                .concat(),
            ),
        ),
        (
            "animated WebP",
            WebP,
            12,
            9,
            webp(&[vp8x(0x12, 12, 9), animation_of_two].concat()),
        ),
    ]
    .into_iter()
    .map(|(name, image_type, width, height, bytes)| Sample {
        name,
        bytes,
        image_type,
        width,
        height,
    })
    .collect()
}

// PNG.

pub(super) fn png_chunk(name: &[u8], data: &[u8]) -> Vec<u8> {
    let named = [name, data].concat();
    let length = u32::try_from(data.len()).expect("a short chunk");
    [
        &length.to_be_bytes()[..],
        &named,
        &crc32fast::hash(&named).to_be_bytes(),
    ]
    .concat()
}

pub(super) fn ihdr(width: u32, height: u32, rest: [u8; 5]) -> Vec<u8> {
    let sides = [width.to_be_bytes(), height.to_be_bytes()].concat();
    png_chunk(b"IHDR", &[&sides[..], &rest].concat())
}

pub(super) fn palette(colours: usize) -> Vec<u8> {
    png_chunk(b"PLTE", &vec![0x7F; 3 * colours])
}

/// The signature and then `chunks`.
pub(super) fn png_of(chunks: &[Vec<u8>]) -> Vec<u8> {
    [&b"\x89PNG\r\n\x1a\n"[..], &chunks.concat()].concat()
}

/// A black PNG with `chunks` before its image data, which is in two IDAT chunks.
pub(super) fn png(
    width: u32,
    height: u32,
    depth: u8,
    colour_type: u8,
    interlace: u8,
    chunks: &[Vec<u8>],
) -> Vec<u8> {
    let channels = [1, 0, 3, 1, 2, 0, 4][usize::from(colour_type)];
    let scan_lines = |width: u32, height: u32| match width {
        0 => 0,
        _ => height * (1 + (width * channels * u32::from(depth)).div_ceil(8)),
    };
    let bytes = if interlace == 0 {
        scan_lines(width, height)
    } else {
        // First column, first row, and their steps, for each pass of Adam7.
        [
            (0, 0, 8, 8),
            (4, 0, 8, 8),
            (0, 4, 4, 8),
            (2, 0, 4, 4),
            (0, 2, 2, 4),
            (1, 0, 2, 2),
            (0, 1, 1, 2),
        ]
        .map(|(left, top, right, down)| {
            scan_lines(
                width.saturating_sub(left).div_ceil(right),
                height.saturating_sub(top).div_ceil(down),
            )
        })
        .iter()
        .sum()
    };
    let length = u16::try_from(bytes).expect("one stored block");
    let stored = [
        &[0x78, 0x01, 0x01][..],
        &length.to_le_bytes(),
        &(!length).to_le_bytes(),
        &vec![0; length.into()],
        // Adler-32 of zeros: the low half stays 1, the high half counts them.
        &length.to_be_bytes(),
        &[0, 1],
    ]
    .concat();
    let (first, second) = stored.split_at(4);
    png_of(&[
        ihdr(width, height, [depth, colour_type, 0, 0, interlace]),
        chunks.concat(),
        png_chunk(b"IDAT", first),
        png_chunk(b"IDAT", second),
        png_chunk(b"IEND", &[]),
    ])
}

// JPEG.

pub(super) fn jpeg_segment(marker: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len() + 2).expect("a short segment");
    [&[0xFF, marker][..], &length.to_be_bytes(), payload].concat()
}

pub(super) fn sof(marker: u8, width: u16, height: u16, components: u8) -> Vec<u8> {
    let mut payload = vec![8];
    payload.extend(height.to_be_bytes());
    payload.extend(width.to_be_bytes());
    payload.push(components);
    for id in 1..=components {
        payload.extend([id, 0x11, 0]);
    }
    jpeg_segment(marker, &payload)
}

/// A scan of `components` whose data is `coded`.
pub(super) fn scan(components: &[u8], spectrum: [u8; 2], coded: &[u8]) -> Vec<u8> {
    let mut payload = vec![u8::try_from(components.len()).expect("few components")];
    for &id in components {
        payload.extend([id, 0]);
    }
    payload.extend(spectrum);
    payload.push(0);
    [jpeg_segment(0xDA, &payload), coded.to_vec()].concat()
}

/// The tables that every sample needs: one code of one bit means "no difference" (DC) and "end of block" (AC).
pub(super) fn tables() -> Vec<u8> {
    let quantisation = [&[0][..], &[1; 64]].concat();
    let one_code = |class: u8| [&[class, 1][..], &[0; 15], &[0]].concat();
    [
        jpeg_segment(0xDB, &quantisation),
        jpeg_segment(0xC4, &one_code(0x00)),
        jpeg_segment(0xC4, &one_code(0x10)),
    ]
    .concat()
}

/// SOI, `parts`, EOI.
pub(super) fn jpeg_of(parts: &[Vec<u8>]) -> Vec<u8> {
    [&[0xFF, 0xD8][..], &parts.concat(), &[0xFF, 0xD9]].concat()
}

/// A grey JPEG of one block for each component, with `segments` at its start.
pub(super) fn jpeg(
    marker: u8,
    width: u16,
    height: u16,
    components: u8,
    segments: &[Vec<u8>],
) -> Vec<u8> {
    let ids: Vec<u8> = (1..=components).collect();
    let mut parts = segments.to_vec();
    parts.extend([tables(), sof(marker, width, height, components)]);
    if marker == 0xC2 {
        parts.push(scan(&ids, [0, 0], &[0x1F]));
        for id in ids {
            parts.push(scan(&[id], [1, 63], &[0x7F]));
        }
    } else {
        // Two bits for each component; the bits that are left are 1.
        parts.push(scan(&ids, [0, 63], &[0xFF >> (2 * components - 1) >> 1]));
        if components == 4 {
            // All eight bits are used, so that the last byte can only be fill before EOI.
            parts.push(vec![0xFF, 0xFF]);
        }
    }
    jpeg_of(&parts)
}

pub(super) fn jpeg_with_restarts() -> Vec<u8> {
    jpeg_of(&[
        tables(),
        jpeg_segment(0xDD, &[0, 1]),
        sof(0xC0, 16, 8, 1),
        // A restart marker after the first block, with a fill byte before it.
        scan(&[1], [0, 63], &[0x3F, 0xFF, 0xFF, 0xD0, 0x3F]),
    ])
}

// GIF.

/// A GIF with a colour table of two and `blocks`.
pub(super) fn gif(version: &[u8], width: u16, height: u16, blocks: &[u8]) -> Vec<u8> {
    [
        version,
        &width.to_le_bytes(),
        &height.to_le_bytes(),
        &[0x80, 0, 0],
        &[0, 0, 0, 0xFF, 0xFF, 0xFF],
        blocks,
        b";",
    ]
    .concat()
}

/// An image descriptor and the data of one black pixel.
pub(super) fn gif_image(left: u16, top: u16, width: u16, height: u16) -> Vec<u8> {
    [
        &[b','][..],
        &left.to_le_bytes(),
        &top.to_le_bytes(),
        &width.to_le_bytes(),
        &height.to_le_bytes(),
        &[0, 2, 2, 0x44, 0x01, 0],
    ]
    .concat()
}

fn animated_gif() -> Vec<u8> {
    // The second image has a colour table of eight.
    let mut local = gif_image(3, 2, 1, 1);
    local[9] = 0x82;
    local.splice(10..10, [0x55; 24]);
    let control = [b'!', 0xF9, 4, 5, 0, 0, 0, 0];
    gif(
        b"GIF89a",
        4,
        3,
        &[
            b"!\xFF\x0BNETSCAPE2.0\x03\x01\0\0\0",
            &control[..],
            &gif_image(0, 0, 1, 1),
            b"!\xFE\x05;,!;;\0",
            &control,
            &local,
        ]
        .concat(),
    )
}

// WebP.

/// A grey VP8 key frame of 5 × 3 pixels.
pub(super) const VP8_5X3: &[u8] = &[
    0x30, 0x01, 0x00, 0x9D, 0x01, 0x2A, 0x05, 0x00, 0x03, 0x00, 0x0F, 0xC0, 0xFE, 0x25, 0xA4, 0x00,
    0x03, 0x70, 0x00, 0xFE, 0xBA, 0x60, 0x00, 0x00,
];

/// A black lossless image: no transform, no cache, and five prefix codes of one symbol, so that pixels take no bits.
pub(super) fn vp8l(width: u32, height: u32) -> Vec<u8> {
    let sides = (width - 1) | (height - 1) << 14;
    [&[0x2F][..], &sides.to_le_bytes(), &[0x88, 0x88, 0x08]].concat()
}

pub(super) fn webp_chunk(name: &[u8], payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short chunk");
    let padding = &[0][..payload.len() % 2];
    [name, &length.to_le_bytes()[..], payload, padding].concat()
}

pub(super) fn webp(chunks: &[u8]) -> Vec<u8> {
    webp_chunk(b"RIFF", &[b"WEBP", chunks].concat())
}

fn u24(value: u32) -> Vec<u8> {
    value.to_le_bytes()[..3].to_vec()
}

pub(super) fn vp8x(flags: u8, width: u32, height: u32) -> Vec<u8> {
    webp_chunk(
        b"VP8X",
        &[vec![flags, 0, 0, 0], u24(width - 1), u24(height - 1)].concat(),
    )
}

pub(super) fn anmf(left: u32, top: u32, width: u32, height: u32, chunks: &[u8]) -> Vec<u8> {
    let header = [left / 2, top / 2, width - 1, height - 1, 100].map(u24);
    webp_chunk(b"ANMF", &[&header.concat()[..], &[0], chunks].concat())
}

// Exif.

/// An entry of an image file directory: tag, field type, count, value.
pub(super) type Entry = (u16, u16, u32, u16);

/// An entry of the orientation tag.
pub(super) fn orientation(value: u16) -> Entry {
    (0x0112, 3, 1, value)
}

/// Exif metadata whose IFD0 has these entries.
pub(super) fn ifd(is_big_endian: bool, entries: &[Entry]) -> Vec<u8> {
    let short = |value: u16| {
        if is_big_endian {
            value.to_be_bytes()
        } else {
            value.to_le_bytes()
        }
    };
    let long = |value: u32| {
        if is_big_endian {
            value.to_be_bytes()
        } else {
            value.to_le_bytes()
        }
    };
    let count = u16::try_from(entries.len()).expect("few entries");
    let mut tiff = [
        if is_big_endian { b"MM" } else { b"II" },
        &short(42)[..],
        &long(8),
        &short(count),
    ]
    .concat();
    for &(tag, field_type, values, value) in entries {
        tiff.extend(short(tag));
        tiff.extend(short(field_type));
        tiff.extend(long(values));
        tiff.extend(short(value));
        tiff.extend([0; 2]);
    }
    tiff.extend([0; 4]);
    tiff
}
