//! Valid images of any size, each different from all others.

use support::pictures::chunk;

/// Pixels of a row. A row takes three bytes for each and one for its filter.
const WIDTH: usize = 256;
const ROW: usize = 1 + 3 * WIDTH;

/// About the size of an IDAT chunk of common encoders.
const IDAT: usize = 32 * 1024;

/// The most bytes of a stored block (RFC 1951, section 3.2.4).
const STORED: usize = 65_535;

/// The keyword of the chunk that makes a picture unique, and the NUL after it.
const KEYWORD: &[u8] = b"Serial\0";

/// Hexadecimal digits of a serial number.
pub const SERIAL: usize = 16;

/// A PNG of noise with a serial number in a tEXt chunk.
#[derive(Clone)]
pub struct Picture {
    bytes: Vec<u8>,
    /// Where the type of the tEXt chunk begins.
    text: usize,
}

impl Picture {
    /// A picture of exactly `size` bytes, at least 4 KiB.
    pub fn of_size(size: usize) -> Self {
        let rows = (size - 600 - size / IDAT * 16 - size / STORED * 5) / ROW;
        let mut bytes = b"\x89PNG\r\n\x1a\n".to_vec();
        let mut header = Vec::new();
        header.extend_from_slice(&(WIDTH as u32).to_be_bytes());
        header.extend_from_slice(&(rows as u32).to_be_bytes());
        header.extend_from_slice(&[8, 2, 0, 0, 0]);
        bytes.extend(chunk(*b"IHDR", &header));
        let text = bytes.len() + 4;
        bytes.extend(chunk(*b"tEXt", &[KEYWORD, &[b'0'; SERIAL]].concat()));
        let data = zlib(&noise(rows));
        for piece in data.chunks(IDAT) {
            bytes.extend(chunk(*b"IDAT", piece));
        }
        // Length, type and checksum of this chunk and of IEND take 24 bytes.
        let padding = size - bytes.len() - 24;
        let mut comment = b"Comment\0".to_vec();
        comment.resize(padding, b'.');
        bytes.extend(chunk(*b"tEXt", &comment));
        bytes.extend(chunk(*b"IEND", b""));
        debug_assert_eq!(bytes.len(), size);
        Self { bytes, text }
    }

    /// Sets the serial number.
    pub fn number(&mut self, serial: u64) {
        let digits = self.text + 4 + KEYWORD.len();
        let end = digits + SERIAL;
        self.bytes[digits..end].copy_from_slice(format!("{serial:0SERIAL$x}").as_bytes());
        let checksum = crc32fast::hash(&self.bytes[self.text..end]);
        self.bytes[end..end + 4].copy_from_slice(&checksum.to_be_bytes());
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Incompressible rows of pixels (xorshift).
fn noise(rows: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut bytes: Vec<u8> = (0..rows * ROW)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_be_bytes()[0]
        })
        .collect();
    bytes.chunks_mut(ROW).for_each(|row| row[0] = 0);
    bytes
}

/// A zlib stream (RFC 1950) of stored blocks.
fn zlib(data: &[u8]) -> Vec<u8> {
    let mut out = vec![0x78, 0x01];
    let blocks = data.chunks(STORED).count();
    for (at, block) in data.chunks(STORED).enumerate() {
        out.push(u8::from(at + 1 == blocks));
        let length = block.len() as u16;
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&(!length).to_le_bytes());
        out.extend_from_slice(block);
    }
    let (mut low, mut high) = (1_u32, 0_u32);
    for &byte in data {
        low = (low + u32::from(byte)) % 65_521;
        high = (high + low) % 65_521;
    }
    out.extend_from_slice(&(high << 16 | low).to_be_bytes());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_have_the_size_asked_for_and_differ_in_their_number_alone() {
        for size in [20 * 1024, 500 * 1024, 4_718_592] {
            let mut picture = Picture::of_size(size);
            assert_eq!(picture.bytes().len(), size);
            picture.number(1);
            let first = picture.bytes().to_vec();
            picture.number(2);
            assert_ne!(first, picture.bytes());
            picture.number(1);
            assert_eq!(first, picture.bytes());
        }
    }
}
