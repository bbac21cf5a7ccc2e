//! Generated PNGs, and the sample images of `tests/samples`.

/// A photograph.
pub const JPEG: &[u8] = include_bytes!("../../samples/lake-small.jpg");
/// An image with an alpha channel.
pub const PNG: &[u8] = include_bytes!("../../samples/badge.png");
/// An animation.
pub const GIF: &[u8] = include_bytes!("../../samples/spinner.gif");
/// A lossy WebP.
pub const WEBP: &[u8] = include_bytes!("../../samples/lake.webp");

/// The PNG signature.
const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";

/// A PNG whose header has these dimensions, with the data of a single black pixel.
pub fn png(width: u32, height: u32) -> Vec<u8> {
    let header = [
        &width.to_be_bytes()[..],
        &height.to_be_bytes(),
        &[8, 0, 0, 0, 0],
    ]
    .concat();
    // A zlib stream of one stored block: a filter byte and a grey value.
    let pixels = [
        0x78, 0x01, 1, 2, 0, 0xfd, 0xff, 0, 0, 0x00, 0x02, 0x00, 0x01,
    ];
    [
        SIGNATURE,
        &chunk(*b"IHDR", &header),
        &chunk(*b"IDAT", &pixels),
        &chunk(*b"IEND", b""),
    ]
    .concat()
}

/// A PNG chunk with its checksum.
pub fn chunk(name: [u8; 4], data: &[u8]) -> Vec<u8> {
    let length = u32::try_from(data.len()).expect("a small chunk");
    let named = [&name[..], data].concat();
    let crc = crc32fast::hash(&named);
    [&length.to_be_bytes()[..], &named, &crc.to_be_bytes()].concat()
}

/// A PNG of exactly `size` bytes, different for each `serial`: an image of one pixel, followed by pseudorandom bytes.
pub fn png_of(size: usize, serial: u64) -> Vec<u8> {
    let mut bytes = png(1, 1);
    assert!(bytes.len() + 8 <= size, "a PNG cannot be that small");
    bytes.extend(serial.to_le_bytes());
    // A linear congruential generator (Knuth's MMIX): bytes that differ everywhere, line breaks and dashes among them.
    let mut state = serial;
    while bytes.len() < size {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let piece = state.to_be_bytes();
        let left = size - bytes.len();
        bytes.extend(&piece[..left.min(7)]);
    }
    bytes
}

/// The serial of an image made by [`png_of`], if every byte is right.
pub fn serial_of(bytes: &[u8]) -> Option<u64> {
    let at = png(1, 1).len();
    let serial = u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?);
    (png_of(bytes.len(), serial) == bytes).then_some(serial)
}
