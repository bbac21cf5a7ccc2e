//! The blocks of a GIF file (the `GIF89a` specification, sections 15 to 27).

use std::io::BufRead;

use super::metadata::Kind;
use super::source::{Source, TRUNCATED};
use super::{Rejected, Sizes, Walked, invalid};

const IMAGE_SEPARATOR: u8 = b',';
const EXTENSION_INTRODUCER: u8 = b'!';
const GRAPHIC_CONTROL: u8 = 0xF9;

/// Walks from the header to the trailer.
///
/// The trailer may be missing, and any byte that begins no block ends the file as well: browsers show the images before it.
pub(super) fn walk(
    source: &mut Source<impl BufRead>,
    sizes: &mut Sizes,
) -> Result<Walked, Rejected> {
    if !matches!(&source.array()?, b"GIF87a" | b"GIF89a") {
        return invalid("GIF: header");
    }
    let mut screen = (u32::from(source.u16_le()?), u32::from(source.u16_le()?));
    let [flags, _background, _aspect_ratio] = source.array()?;
    skip_colour_table(source, flags)?;

    let mut has_image = false;
    loop {
        match source.byte() {
            Ok(IMAGE_SEPARATOR) => {
                let extent = pass_image(source, sizes)?;
                if !has_image {
                    // Browsers enlarge the logical screen to hold the first image. Often it is 0 × 0.
                    screen = (screen.0.max(extent.0), screen.1.max(extent.1));
                    sizes.note(screen.0, screen.1)?;
                }
                has_image = true;
            }
            Ok(EXTENSION_INTRODUCER) => {
                let start = source.position();
                let label = source.byte()?;
                if label == GRAPHIC_CONTROL {
                    // Decoders refuse any other length, and browsers show the images before it.
                    if source.byte()? != 4 || source.array::<5>()?[4] != 0 {
                        if has_image {
                            break;
                        }
                        return invalid("GIF: graphic control extension");
                    }
                } else {
                    pass_sub_blocks(source)?;
                }
                source.note(Kind::Gif(label), start, 0);
            }
            Ok(_) | Err(Rejected::InvalidType(TRUNCATED)) if has_image => break,
            Ok(_) => return invalid("GIF: no image"),
            Err(error) => return Err(error),
        }
    }
    Ok(Walked::whole(screen))
}

/// Passes over one image (sections 20 to 22); how far it extends on the logical screen to the right and down, in pixels.
fn pass_image(
    source: &mut Source<impl BufRead>,
    sizes: &mut Sizes,
) -> Result<(u32, u32), Rejected> {
    let left = u32::from(source.u16_le()?);
    let top = u32::from(source.u16_le()?);
    let width = u32::from(source.u16_le()?);
    let height = u32::from(source.u16_le()?);
    sizes.note(width, height)?;
    sizes.note(left + width, top + height)?;
    sizes.note_frame(width, height);
    let flags = source.byte()?;
    skip_colour_table(source, flags)?;
    // The specification has 2 to 8. Decoders take what leaves room for codes of 12 bits.
    if !(1..=11).contains(&source.byte()?) {
        return invalid("GIF: LZW minimum code size");
    }
    // A single pixel may have no data: the smallest transparent GIF in use is of that kind, and browsers show it.
    if pass_sub_blocks(source)? == 0 && (width, height) != (1, 1) {
        return invalid("GIF: no image data");
    }
    Ok((left + width, top + height))
}

/// Passes over the colour table that a packed field announces, if it does (sections 18 to 21).
fn skip_colour_table(source: &mut Source<impl BufRead>, flags: u8) -> Result<(), Rejected> {
    if flags & 0x80 == 0 {
        return Ok(());
    }
    let colours = 2_u64 << (flags & 7);
    source.skip(3 * colours)
}

/// Passes over data sub-blocks and their terminator (sections 15 and 16); the bytes of data in them.
fn pass_sub_blocks(source: &mut Source<impl BufRead>) -> Result<u64, Rejected> {
    let mut bytes = 0;
    loop {
        match source.byte()? {
            0 => return Ok(bytes),
            length => {
                source.skip(length.into())?;
                bytes += u64::from(length);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::image::samples::{gif, gif_image};
    use crate::image::tests::{assert_good, assert_invalid, assert_size};

    fn with(blocks: &[&[u8]]) -> Vec<u8> {
        gif(b"GIF89a", 1, 1, &blocks.concat())
    }

    #[test]
    fn the_header_names_one_of_two_versions() {
        let image = gif_image(0, 0, 1, 1);
        assert_good(&gif(b"GIF87a", 1, 1, &image));
        for header in [b"GIF88a", b"GIF89A", b"GIF90a", b"GIF\0\0\0", b"GIF8<?"] {
            assert_invalid(&gif(header, 1, 1, &image), "header");
        }
    }

    #[test]
    fn the_first_image_enlarges_the_logical_screen() {
        let image = gif_image(2, 1, 3, 5);
        for (screen, shown) in [
            ((0, 0), (5, 6)),
            ((0, 9), (5, 9)),
            ((9, 0), (9, 6)),
            ((4, 6), (5, 6)),
            ((8, 8), (8, 8)),
        ] {
            let bytes = gif(b"GIF89a", screen.0, screen.1, &image);
            assert_size(&bytes, shown);
            let second = [&image[..], &gif_image(0, 0, 20, 20)].concat();
            assert_size(&gif(b"GIF89a", screen.0, screen.1, &second), shown);
        }
        assert_invalid(&with(&[&gif_image(0, 0, 0, 1)]), "width or height 0");
    }

    #[test]
    fn only_a_single_pixel_may_have_no_data() {
        let empty = |width, height| {
            let image = gif_image(0, 0, width, height);
            let (descriptor, _data) = image.split_at(11);
            [descriptor, &[0]].concat()
        };
        assert_good(&with(&[&empty(1, 1)]));
        assert_good(b"GIF89a\x01\0\x01\0\0\xFF\0,\0\0\0\0\x01\0\x01\0\0\x02\0;");
        assert_good(&with(&[&empty(1, 1), &gif_image(0, 0, 1, 1)]));
        for (width, height) in [(2, 1), (1, 2), (100, 100)] {
            assert_invalid(&with(&[&empty(width, height)]), "no image data");
        }
        assert_invalid(&with(&[]), "no image");
        assert_invalid(&with(&[b"!\xFE\x02,,\0"]), "no image");
    }

    #[test]
    fn a_byte_that_begins_no_block_ends_the_file() {
        let image = gif_image(0, 0, 1, 1);
        let extensions = [&b"!\x01\0"[..], &image, b"!\x77\x01;\x02;;\0"].concat();
        assert_good(&with(&[&extensions, &image]));
        let whole = with(&[&extensions]);
        let without_trailer = &whole[..whole.len() - 1];
        assert_good(without_trailer);
        for byte in 0..=255 {
            if !b"!,".contains(&byte) {
                assert_good(&[without_trailer, &[byte], b"and more"].concat());
                assert_invalid(&with(&[&[byte], &image]), "no image");
            }
        }
        // The end inside a block is a cut.
        for block in [
            &b"!"[..],
            b"!\xFE",
            b"!\xFE\x05ab",
            b",\0\0",
            &image[..image.len() - 1],
        ] {
            assert_invalid(&[without_trailer, block].concat(), "truncated");
        }
    }

    #[test]
    fn regression_a_graphic_control_extension_of_another_length_is_refused() {
        let image = gif_image(0, 0, 1, 1);
        assert_good(&with(&[b"!\xF9\x04\0\0\0\0\0", &image]));
        for control in [
            &b"!\xF9\0"[..],
            b"!\xF9\x03\0\0\0\0",
            b"!\xF9\x05\0\0\0\0\0\0",
            b"!\xF9\x04\0\0\0\0\x01\0\0",
        ] {
            assert_invalid(&with(&[control, &image]), "graphic control");
            assert_good(&with(&[&image, control]));
        }
    }

    #[test]
    fn code_sizes_leave_room_for_codes_of_twelve_bits() {
        for size in 0..=255 {
            let mut image = gif_image(0, 0, 1, 1);
            image[10] = size;
            match size {
                1..=11 => assert_good(&with(&[&image])),
                _ => assert_invalid(&with(&[&image]), "code size"),
            }
        }
    }

    #[test]
    fn colour_tables_have_the_announced_length() {
        for bits in 0..8_u8 {
            let mut image = gif_image(0, 0, 1, 1);
            image[9] = 0x80 | bits;
            // Every byte of the table is an illegal code size, which a table that is read too short brings to light.
            image.splice(10..10, vec![b';'; 3 * (2 << bits)]);
            assert_good(&with(&[&image]));
            image.remove(10);
            assert_invalid(&with(&[&image]), "");
        }
    }
}
