//! The blocks of a GIF file (the `GIF89a` specification, sections 15 to 27).

use std::io::BufRead;

use super::source::Source;
use super::{Rejected, Sizes, invalid};

const IMAGE_SEPARATOR: u8 = b',';
const EXTENSION_INTRODUCER: u8 = b'!';
const TRAILER: u8 = b';';
/// What ends a sequence of data sub-blocks. Some encoders write one too many, and every decoder passes over it.
const BLOCK_TERMINATOR: u8 = 0;

/// Walks from the header through the trailer; the logical screen's width and height.
pub(super) fn walk(
    source: &mut Source<impl BufRead>,
    sizes: &mut Sizes,
) -> Result<(u32, u32), Rejected> {
    if !matches!(&source.array()?, b"GIF87a" | b"GIF89a") {
        return invalid("GIF: header");
    }
    let width = source.u16_le()?.into();
    let height = source.u16_le()?.into();
    sizes.note(width, height)?;
    let [flags, _background, _aspect_ratio] = source.array()?;
    skip_colour_table(source, flags)?;

    let mut image_bytes = 0;
    loop {
        match source.byte()? {
            IMAGE_SEPARATOR => image_bytes += pass_image(source, sizes)?,
            EXTENSION_INTRODUCER => {
                let _label = source.byte()?;
                pass_sub_blocks(source)?;
            }
            TRAILER => break,
            BLOCK_TERMINATOR => {}
            _ => return invalid("GIF: unknown block"),
        }
    }
    if image_bytes == 0 {
        return invalid("GIF: no image data");
    }
    Ok((width, height))
}

/// Passes over one image (sections 20 to 22); the length of its data in bytes.
fn pass_image(source: &mut Source<impl BufRead>, sizes: &mut Sizes) -> Result<u64, Rejected> {
    let left = u32::from(source.u16_le()?);
    let top = u32::from(source.u16_le()?);
    let width = u32::from(source.u16_le()?);
    let height = u32::from(source.u16_le()?);
    sizes.note(width, height)?;
    // Browsers enlarge the logical screen where an image reaches beyond it.
    sizes.note(left + width, top + height)?;
    let flags = source.byte()?;
    skip_colour_table(source, flags)?;
    // The specification has 2 to 8. Decoders take what leaves room for codes of 12 bits.
    if !(1..=11).contains(&source.byte()?) {
        return invalid("GIF: LZW minimum code size");
    }
    pass_sub_blocks(source)
}

/// Passes over the colour table that a packed field announces, if it does (sections 18 to 21).
fn skip_colour_table(source: &mut Source<impl BufRead>, flags: u8) -> Result<(), Rejected> {
    if flags & 0x80 == 0 {
        return Ok(());
    }
    let colours = 2_u64 << (flags & 7);
    source.skip(3 * colours)
}

/// Passes over data sub-blocks and their terminator (sections 15 and 16); how many bytes they hold.
fn pass_sub_blocks(source: &mut Source<impl BufRead>) -> Result<u64, Rejected> {
    let mut bytes = 0;
    loop {
        match source.byte()? {
            BLOCK_TERMINATOR => return Ok(bytes),
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
    use crate::image::tests::{assert_good, assert_invalid};

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
        assert_invalid(&gif(b"GIF89a", 0, 1, &image), "width or height 0");
        assert_invalid(&gif(b"GIF89a", 1, 0, &image), "width or height 0");
    }

    #[test]
    fn there_is_an_image_with_data() {
        let image = gif_image(0, 0, 1, 1);
        let (descriptor, _data) = image.split_at(11);
        let empty = [descriptor, &[0]].concat();
        assert_good(&with(&[&empty, &image]));
        assert_invalid(&with(&[]), "no image data");
        assert_invalid(&with(&[b"!\xFE\x02,,\0"]), "no image data");
        assert_invalid(&with(&[&empty]), "no image data");
    }

    #[test]
    fn blocks_are_images_and_extensions() {
        let image = gif_image(0, 0, 1, 1);
        assert_good(&with(&[
            b"!\x01\0",
            &image,
            b"!\x77\x01;\x02;;\0",
            &[0],
            &image,
        ]));
        for block in 1..=255 {
            if !b"!,;".contains(&block) {
                assert_invalid(&with(&[&image, &[block]]), "unknown block");
            }
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
            // Every byte is a trailer, so a table that is read too short ends the image early.
            image.splice(10..10, vec![b';'; 3 * (2 << bits)]);
            assert_good(&with(&[&image]));
            image.remove(10);
            assert_invalid(&with(&[&image]), "");
        }
    }
}
