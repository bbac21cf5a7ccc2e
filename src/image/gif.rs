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
