//! The chunks of a PNG file (W3C Portable Network Graphics, third edition, section 5).

mod rows;
#[cfg(test)]
mod tests;

use std::io::BufRead;

pub(super) use self::rows::has_every_row;
use super::metadata::Kind;
use super::source::Source;
use super::{Rejected, Sizes, Walked, exif, invalid};

const SIGNATURE: [u8; 8] = *b"\x89PNG\r\n\x1a\n";

/// Chunk lengths and sides stay below 2^31 (sections 5.3 and 11.2.1).
const LARGEST: u32 = i32::MAX as u32;

const PALETTE_COLOUR: u8 = 3;

/// The most bytes of Exif metadata that are kept in memory: as many as a JPEG segment can hold.
const MOST_EXIF: usize = 65_533;

/// Length and name of a chunk.
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
        let start = source.position() - 8;
        source.note(Kind::Png(name), start, u64::from(length) + 4);
        Ok(Self { length, name })
    }

    /// An upper-case first letter marks a chunk without which the image cannot be shown (section 5.4).
    fn is_critical(&self) -> bool {
        self.name[0].is_ascii_uppercase()
    }

    /// Calls `piece` with the data; whether the CRC behind it is right.
    fn visit(
        &self,
        source: &mut Source<impl BufRead>,
        mut piece: impl FnMut(&[u8]),
    ) -> Result<bool, Rejected> {
        let mut crc = crc32fast::Hasher::new();
        crc.update(&self.name);
        source.visit(self.length.into(), |bytes| {
            crc.update(bytes);
            piece(bytes);
        })?;
        Ok(source.u32_be()? == crc.finalize())
    }

    /// Passes over the data and the CRC. Decoders drop a damaged ancillary chunk and show the image, so its CRC decides nothing.
    fn skip(&self, source: &mut Source<impl BufRead>) -> Result<(), Rejected> {
        source.skip(u64::from(self.length) + 4)
    }
}

/// Walks from the signature to IEND.
///
/// Whatever breaks the structure after the image data began is damage: the rows may all be there. An animation has to reach IEND, since
/// its frames follow the image data.
pub(super) fn walk(
    source: &mut Source<impl BufRead>,
    sizes: &mut Sizes,
) -> Result<Walked, Rejected> {
    let header = Header::read(source)?;
    sizes.note(header.width, header.height)?;
    let mut walk = Walk {
        sizes,
        header: &header,
        has_palette: false,
        is_animation: false,
        is_turned: None,
        image_data: ImageData::None,
        zlib_header: Vec::with_capacity(2),
        has_wrong_crc: false,
    };
    let damage = match walk.run(source) {
        Ok(()) => None,
        Err(Rejected::InvalidType(reason))
            if walk.image_data != ImageData::None && !walk.is_animation =>
        {
            Some(reason)
        }
        Err(error) => return Err(error),
    };
    let wrong_crc = walk.has_wrong_crc.then_some("PNG: CRC of IDAT");
    match walk.zlib_header.first_chunk() {
        None => return invalid("PNG: no image data"),
        Some(&header) if !is_zlib(header) => return invalid("PNG: IDAT is no zlib stream"),
        Some(_) => {}
    }
    let is_turned = walk.is_turned == Some(true);
    Ok(Walked {
        width: if is_turned {
            header.height
        } else {
            header.width
        },
        height: if is_turned {
            header.width
        } else {
            header.height
        },
        damage: wrong_crc.or(damage),
    })
}

/// Whether the first two bytes of image data are a zlib header without a preset dictionary (RFC 1950, section 2.2).
fn is_zlib([method, flags]: [u8; 2]) -> bool {
    let is_deflate = method & 0x0F == 8 && method >> 4 <= 7;
    let has_dictionary = flags & 0x20 != 0;
    is_deflate && !has_dictionary && u16::from_be_bytes([method, flags]).is_multiple_of(31)
}

/// The state between two chunks.
struct Walk<'a> {
    sizes: &'a mut Sizes,
    header: &'a Header,
    has_palette: bool,
    is_animation: bool,
    /// Whether the Exif orientation swaps the sides, once an undamaged eXIf chunk has been read.
    is_turned: Option<bool>,
    image_data: ImageData,
    /// The first two bytes of image data.
    zlib_header: Vec<u8>,
    /// Whether the CRC of an IDAT chunk is wrong.
    has_wrong_crc: bool,
}

/// The progress in the one run of IDAT chunks (section 5.6).
#[derive(Clone, Copy, PartialEq, Eq)]
enum ImageData {
    None,
    Open,
    Ended,
}

impl Walk<'_> {
    fn run(&mut self, source: &mut Source<impl BufRead>) -> Result<(), Rejected> {
        loop {
            let chunk = Chunk::read(source)?;
            if self.image_data == ImageData::Open && chunk.name != *b"IDAT" {
                self.image_data = ImageData::Ended;
            }
            match &chunk.name {
                b"PLTE" => self.read_palette(source, &chunk)?,
                b"IDAT" => self.read_image_data(source, &chunk)?,
                // Nothing in it, and nothing of it, changes what is shown.
                b"IEND" => return Ok(()),
                _ if chunk.is_critical() => return invalid("PNG: unknown critical chunk"),
                b"acTL" if self.image_data == ImageData::None => {
                    self.is_animation = true;
                    chunk.skip(source)?;
                }
                b"fcTL" if chunk.length == 26 => {
                    let _sequence_number = source.u32_be()?;
                    let size = (source.u32_be()?, source.u32_be()?);
                    let offset = (source.u32_be()?, source.u32_be()?);
                    if !self.header.holds(size, offset) {
                        return invalid("PNG: fcTL outside the canvas");
                    }
                    self.sizes.note_frame(size.0, size.1);
                    source.skip(6 + 4)?;
                }
                b"eXIf" if self.image_data == ImageData::None && self.is_turned.is_none() => {
                    self.read_exif(source, &chunk)?;
                }
                _ => chunk.skip(source)?,
            }
        }
    }

    fn read_palette(
        &mut self,
        source: &mut Source<impl BufRead>,
        chunk: &Chunk,
    ) -> Result<(), Rejected> {
        if self.has_palette {
            return invalid("PNG: second PLTE");
        }
        if self.image_data != ImageData::None {
            return invalid("PNG: PLTE after IDAT");
        }
        if !(3..=768).contains(&chunk.length) || !chunk.length.is_multiple_of(3) {
            return invalid("PNG: PLTE length");
        }
        self.has_palette = true;
        if !chunk.visit(source, |_| {})? {
            return invalid("PNG: CRC of PLTE");
        }
        Ok(())
    }

    fn read_image_data(
        &mut self,
        source: &mut Source<impl BufRead>,
        chunk: &Chunk,
    ) -> Result<(), Rejected> {
        if self.image_data == ImageData::Ended {
            return invalid("PNG: IDAT chunks are not consecutive");
        }
        if self.header.colour_type == PALETTE_COLOUR && !self.has_palette {
            return invalid("PNG: no PLTE");
        }
        self.image_data = ImageData::Open;
        let zlib_header = &mut self.zlib_header;
        let is_right = chunk.visit(source, |bytes| {
            let missing = (2 - zlib_header.len()).min(bytes.len());
            zlib_header.extend_from_slice(&bytes[..missing]);
        })?;
        self.has_wrong_crc |= !is_right;
        Ok(())
    }

    /// Reads Exif metadata (section 11.3.4.4). Browsers heed the first undamaged one before the image data.
    fn read_exif(
        &mut self,
        source: &mut Source<impl BufRead>,
        chunk: &Chunk,
    ) -> Result<(), Rejected> {
        let mut tiff = Vec::new();
        let is_right = chunk.visit(source, |bytes| {
            let room = (MOST_EXIF - tiff.len()).min(bytes.len());
            tiff.extend_from_slice(&bytes[..room]);
        })?;
        if is_right {
            self.is_turned = Some(exif::swaps_sides(&tiff));
        }
        Ok(())
    }
}

/// What is needed of IHDR (section 11.2.1).
struct Header {
    width: u32,
    height: u32,
    depth: u8,
    colour_type: u8,
    is_interlaced: bool,
}

impl Header {
    /// Whether a frame of an animation lies inside the image of IHDR.
    fn holds(&self, (width, height): (u32, u32), (left, top): (u32, u32)) -> bool {
        let fits = |start: u32, length: u32, side: u32| {
            length > 0 && start.checked_add(length).is_some_and(|end| end <= side)
        };
        fits(left, width, self.width) && fits(top, height, self.height)
    }

    /// Reads the signature and IHDR.
    fn read(source: &mut Source<impl BufRead>) -> Result<Self, Rejected> {
        if source.array()? != SIGNATURE {
            return invalid("PNG: signature");
        }
        let chunk = Chunk::read(source)?;
        if chunk.name != *b"IHDR" || chunk.length != 13 {
            return invalid("PNG: no IHDR");
        }
        let data: [u8; 13] = source.array()?;
        let mut crc = crc32fast::Hasher::new();
        crc.update(&chunk.name);
        crc.update(&data);
        if source.u32_be()? != crc.finalize() {
            return invalid("PNG: CRC of IHDR");
        }

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
            depth,
            colour_type,
            is_interlaced: interlace == 1,
        })
    }
}
