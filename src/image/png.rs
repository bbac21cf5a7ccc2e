//! The chunks of a PNG file (W3C Portable Network Graphics, third edition, section 5).

use std::io::BufRead;

use super::source::Source;
use super::{Rejected, Sizes, invalid};

const SIGNATURE: [u8; 8] = *b"\x89PNG\r\n\x1a\n";

/// Chunk lengths and sides stay below 2^31 (sections 5.3 and 11.2.1).
const LARGEST: u32 = i32::MAX as u32;

const PALETTE_COLOUR: u8 = 3;

/// What comes before a chunk's data.
struct Chunk {
    length: u32,
    name: [u8; 4],
}

impl Chunk {
    fn read(source: &mut Source<impl BufRead>) -> Result<Self, Rejected> {
        let length = source.u32_be()?;
        let name: [u8; 4] = source.array()?;
        if length > LARGEST {
            return invalid("PNG: chunk length");
        }
        if !name.iter().all(u8::is_ascii_alphabetic) {
            return invalid("PNG: chunk name");
        }
        Ok(Self { length, name })
    }

    /// An upper-case first letter says that nobody can show the image without understanding the chunk (section 5.4).
    fn is_critical(&self) -> bool {
        self.name[0].is_ascii_uppercase()
    }

    /// Passes over the data and its CRC, which must be right.
    fn check(&self, source: &mut Source<impl BufRead>) -> Result<(), Rejected> {
        let mut crc = crc32fast::Hasher::new();
        crc.update(&self.name);
        source.visit(self.length.into(), |piece| crc.update(piece))?;
        check_crc(source, crc)
    }
}

fn check_crc(source: &mut Source<impl BufRead>, crc: crc32fast::Hasher) -> Result<(), Rejected> {
    if source.u32_be()? != crc.finalize() {
        return invalid("PNG: CRC of a critical chunk");
    }
    Ok(())
}

/// Walks from the signature through IEND; width and height.
pub(super) fn walk(
    source: &mut Source<impl BufRead>,
    sizes: &mut Sizes,
) -> Result<(u32, u32), Rejected> {
    if source.array()? != SIGNATURE {
        return invalid("PNG: signature");
    }
    let header = Header::read(source)?;
    sizes.note(header.width, header.height)?;

    let mut has_palette = false;
    let mut image_data = ImageData::None;
    let mut image_bytes = 0_u64;
    loop {
        let chunk = Chunk::read(source)?;
        if image_data == ImageData::Open && chunk.name != *b"IDAT" {
            image_data = ImageData::Ended;
        }
        match &chunk.name {
            b"PLTE" => {
                if has_palette {
                    return invalid("PNG: second PLTE");
                }
                if image_data != ImageData::None {
                    return invalid("PNG: PLTE after IDAT");
                }
                if !(3..=768).contains(&chunk.length) || !chunk.length.is_multiple_of(3) {
                    return invalid("PNG: PLTE length");
                }
                has_palette = true;
                chunk.check(source)?;
            }
            b"IDAT" => {
                if image_data == ImageData::Ended {
                    return invalid("PNG: IDAT chunks are not consecutive");
                }
                if header.colour_type == PALETTE_COLOUR && !has_palette {
                    return invalid("PNG: no PLTE");
                }
                image_data = ImageData::Open;
                image_bytes += u64::from(chunk.length);
                chunk.check(source)?;
            }
            b"IEND" => {
                if chunk.length != 0 {
                    return invalid("PNG: IEND length");
                }
                chunk.check(source)?;
                break;
            }
            _ if chunk.is_critical() => return invalid("PNG: unknown critical chunk"),
            // Decoders drop a damaged ancillary chunk and show the image, so its CRC decides nothing.
            _ => source.skip(u64::from(chunk.length) + 4)?,
        }
    }
    if image_bytes == 0 {
        return invalid("PNG: no image data");
    }
    Ok((header.width, header.height))
}

/// Where the walk stands in the one run of IDAT chunks (section 5.6).
#[derive(Clone, Copy, PartialEq, Eq)]
enum ImageData {
    None,
    Open,
    Ended,
}

/// What the walk needs of IHDR (section 11.2.1).
struct Header {
    width: u32,
    height: u32,
    colour_type: u8,
}

impl Header {
    fn read(source: &mut Source<impl BufRead>) -> Result<Self, Rejected> {
        let chunk = Chunk::read(source)?;
        if chunk.name != *b"IHDR" || chunk.length != 13 {
            return invalid("PNG: no IHDR");
        }
        let data: [u8; 13] = source.array()?;
        let mut crc = crc32fast::Hasher::new();
        crc.update(&chunk.name);
        crc.update(&data);
        check_crc(source, crc)?;

        let [
            w0,
            w1,
            w2,
            w3,
            h0,
            h1,
            h2,
            h3,
            depth,
            colour_type,
            compression,
            filter,
            interlace,
        ] = data;
        let width = u32::from_be_bytes([w0, w1, w2, w3]);
        let height = u32::from_be_bytes([h0, h1, h2, h3]);
        if width > LARGEST || height > LARGEST {
            return invalid("PNG: width or height");
        }
        if !matches!(
            (colour_type, depth),
            (0, 1 | 2 | 4 | 8 | 16) | (PALETTE_COLOUR, 1 | 2 | 4 | 8) | (2 | 4 | 6, 8 | 16)
        ) {
            return invalid("PNG: colour type and bit depth");
        }
        if compression != 0 || filter != 0 || interlace > 1 {
            return invalid("PNG: compression, filter or interlace method");
        }
        Ok(Self {
            width,
            height,
            colour_type,
        })
    }
}
