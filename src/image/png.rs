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

#[cfg(test)]
mod tests {
    use crate::image::samples::{ihdr, palette, png_chunk, png_of};
    use crate::image::tests::{assert_good, assert_invalid};

    /// A PNG of `chunks` between IHDR with `rest` and IEND.
    fn with(rest: [u8; 5], chunks: &[Vec<u8>]) -> Vec<u8> {
        png_of(&[ihdr(1, 1, rest), chunks.concat(), png_chunk(b"IEND", &[])])
    }

    fn data() -> Vec<u8> {
        png_chunk(b"IDAT", b"data")
    }

    #[test]
    fn fifteen_combinations_of_colour_type_and_depth_are_legal() {
        let mut legal = Vec::new();
        for colour_type in 0..=255 {
            for depth in 0..=255 {
                let image = with([depth, colour_type, 0, 0, 0], &[palette(1), data()]);
                match crate::image::tests::check(&image) {
                    Ok(_) => legal.push((colour_type, depth)),
                    Err(_) => assert_invalid(&image, "colour type and bit depth"),
                }
            }
        }
        let expected = [
            (0, 1),
            (0, 2),
            (0, 4),
            (0, 8),
            (0, 16),
            (2, 8),
            (2, 16),
            (3, 1),
            (3, 2),
            (3, 4),
            (3, 8),
            (4, 8),
            (4, 16),
            (6, 8),
            (6, 16),
        ];
        assert_eq!(legal, expected);
    }

    #[test]
    fn every_changed_bit_of_a_critical_chunk_is_noticed() {
        let good = with([8, 0, 0, 0, 0], &[data()]);
        assert_good(&good);
        for bit in 0..good.len() * 8 {
            let mut bytes = good.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_invalid(&bytes, "");
        }
    }

    #[test]
    fn header_comes_first_and_is_legal() {
        let grey = [8, 0, 0, 0, 0];
        assert_good(&with(grey, &[data()]));
        assert_good(&with([8, 0, 0, 0, 1], &[data()]));
        assert_invalid(&with([8, 0, 1, 0, 0], &[data()]), "method");
        assert_invalid(&with([8, 0, 0, 1, 0], &[data()]), "method");
        assert_invalid(&with([8, 0, 0, 0, 2], &[data()]), "method");
        assert_invalid(&png_of(&[data(), png_chunk(b"IEND", &[])]), "no IHDR");
        let late = [
            png_chunk(b"tEXt", b"a"),
            ihdr(1, 1, grey),
            data(),
            png_chunk(b"IEND", &[]),
        ];
        assert_invalid(&png_of(&late), "no IHDR");
        assert_invalid(&png_of(&[png_chunk(b"IHDR", &[0; 12]), data()]), "no IHDR");
        assert_invalid(
            &with(grey, &[ihdr(1, 1, grey), data()]),
            "unknown critical chunk",
        );
    }

    #[test]
    fn a_palette_comes_once_and_before_the_image_data() {
        let paletted = [8, 3, 0, 0, 0];
        assert_good(&with(paletted, &[palette(1), data()]));
        assert_good(&with(paletted, &[palette(256), data()]));
        assert_invalid(&with(paletted, &[data()]), "no PLTE");
        assert_invalid(&with(paletted, &[data(), palette(1)]), "no PLTE");
        assert_invalid(
            &with(paletted, &[palette(1), palette(1), data()]),
            "second PLTE",
        );
        assert_invalid(
            &with([8, 2, 0, 0, 0], &[data(), palette(1)]),
            "PLTE after IDAT",
        );
        assert_invalid(&with(paletted, &[palette(0), data()]), "PLTE length");
        assert_invalid(&with(paletted, &[palette(257), data()]), "PLTE length");
        assert_invalid(
            &with(paletted, &[png_chunk(b"PLTE", &[0; 4]), data()]),
            "PLTE length",
        );
    }

    #[test]
    fn image_data_is_there_and_in_one_run() {
        let grey = [8, 0, 0, 0, 0];
        let text = png_chunk(b"tEXt", b"a");
        let empty = png_chunk(b"IDAT", &[]);
        assert_good(&with(
            grey,
            &[text.clone(), empty.clone(), data(), data(), text.clone()],
        ));
        assert_invalid(&with(grey, &[]), "no image data");
        assert_invalid(&with(grey, &[empty]), "no image data");
        assert_invalid(&with(grey, &[data(), text, data()]), "not consecutive");
    }

    #[test]
    fn unknown_chunks_are_passed_over_unless_they_are_critical() {
        let grey = [8, 0, 0, 0, 0];
        assert_good(&with(grey, &[png_chunk(b"prVt", &[1; 300]), data()]));
        assert_invalid(
            &with(grey, &[png_chunk(b"CgBI", &[1]), data()]),
            "unknown critical chunk",
        );
        assert_invalid(
            &with(grey, &[png_chunk(b"t<xt", &[1]), data()]),
            "chunk name",
        );
        let end = [ihdr(1, 1, grey), data(), png_chunk(b"IEND", &[0])];
        assert_invalid(&png_of(&end), "IEND length");
    }
}
