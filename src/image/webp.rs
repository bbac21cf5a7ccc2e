//! The chunks of a WebP file (RFC 9649, section 2).

use std::io::BufRead;

use super::source::Source;
use super::{Rejected, Sizes, invalid};

/// The animation flag of VP8X (RFC 9649, section 2.7).
const ANIMATION: u8 = 0x02;

/// A chunk whose header has been read.
struct Chunk {
    name: [u8; 4],
    length: u32,
    /// Where its payload ends, in bytes from the start of the file.
    end: u64,
}

impl Chunk {
    /// Reads the header of a chunk that must end at `limit` or before, counted from the start of the file.
    fn read(source: &mut Source<impl BufRead>, limit: u64) -> Result<Self, Rejected> {
        if limit.saturating_sub(source.position()) < 8 {
            return invalid("WebP: no room for a chunk");
        }
        let name = source.array()?;
        let length = source.u32_le()?;
        let end = source.position() + u64::from(length);
        if end > limit {
            return invalid("WebP: chunk length");
        }
        Ok(Self { name, length, end })
    }

    /// Passes over what is left of the payload, and over the byte that makes an odd length even. At `limit` that byte may
    /// be missing: nothing follows that would have to be aligned.
    fn finish(self, source: &mut Source<impl BufRead>, limit: u64) -> Result<(), Rejected> {
        let padded = (self.end + u64::from(self.length % 2)).min(limit);
        source.skip(padded.saturating_sub(source.position()))
    }
}

/// Walks from the RIFF header to the end that it gives; width and height.
pub(super) fn walk(
    source: &mut Source<impl BufRead>,
    sizes: &mut Sizes,
) -> Result<(u32, u32), Rejected> {
    if source.array()? != *b"RIFF" {
        return invalid("WebP: no RIFF");
    }
    let riff_length = source.u32_le()?;
    let riff_end = source.position() + u64::from(riff_length);
    if source.array()? != *b"WEBP" {
        return invalid("WebP: no WEBP");
    }
    let first = Chunk::read(source, riff_end)?;
    let (width, height) = match &first.name {
        b"VP8X" => return walk_extended(source, sizes, first, riff_end),
        b"VP8 " => read_lossy(source, &first)?,
        b"VP8L" => read_lossless(source, &first)?,
        _ => return invalid("WebP: first chunk"),
    };
    sizes.note(width, height)?;
    // Readers may ignore what follows the only chunk of a simple file (section 2.6), and they do; but the file must have it.
    source.skip(riff_end.saturating_sub(source.position()))?;
    Ok((width, height))
}

/// A rectangle inside the canvas.
#[derive(Clone, Copy)]
struct Area {
    left: u32,
    top: u32,
    width: u32,
    height: u32,
}

impl Area {
    /// Whether all of it lies on a canvas of `width` by `height`. Its fields have 25 bits at most: the sums fit.
    fn is_within(self, width: u32, height: u32) -> bool {
        self.left + self.width <= width && self.top + self.height <= height
    }
}

/// Walks the extended format (section 2.7): a canvas, then one still image or the frames of an animation.
///
/// No image can be larger than the canvas, so a small canvas hides no giant image and only the canvas is held against the
/// limits.
fn walk_extended(
    source: &mut Source<impl BufRead>,
    sizes: &mut Sizes,
    header: Chunk,
    riff_end: u64,
) -> Result<(u32, u32), Rejected> {
    if header.length != 10 {
        return invalid("WebP: VP8X length");
    }
    let flags = source.byte()?;
    let _reserved = source.u24_le()?;
    let canvas_width = source.u24_le()? + 1;
    let canvas_height = source.u24_le()? + 1;
    sizes.note(canvas_width, canvas_height)?;
    header.finish(source, riff_end)?;

    let animated = flags & ANIMATION != 0;
    let mut still = Picture::default();
    let mut has_animation_header = false;
    let mut has_frame = false;
    while source.position() < riff_end {
        let chunk = Chunk::read(source, riff_end)?;
        match &chunk.name {
            b"VP8X" => return invalid("WebP: second VP8X"),
            // Without the animation flag, what belongs to an animation is ignored (section 2.7.1.1).
            b"ANIM" if animated => {
                if chunk.length < 6 {
                    return invalid("WebP: ANIM length");
                }
                has_animation_header = true;
            }
            b"ANMF" if animated => {
                if !has_animation_header {
                    return invalid("WebP: ANMF before ANIM");
                }
                if !read_frame(source, &chunk)?.is_within(canvas_width, canvas_height) {
                    return invalid("WebP: frame outside the canvas");
                }
                has_frame = true;
            }
            _ => still.read_chunk(source, &chunk)?,
        }
        chunk.finish(source, riff_end)?;
    }
    match still.size {
        Some(_) if animated => return invalid("WebP: still image in an animation"),
        Some(size) if size != (canvas_width, canvas_height) => {
            return invalid("WebP: image and canvas differ in size");
        }
        None if !has_frame => return invalid("WebP: no image data"),
        _ => {}
    }
    Ok((canvas_width, canvas_height))
}

/// Reads an ANMF chunk (section 2.7.1.1) up to its end; where its frame lies.
fn read_frame(source: &mut Source<impl BufRead>, chunk: &Chunk) -> Result<Area, Rejected> {
    if chunk.length < 16 {
        return invalid("WebP: ANMF length");
    }
    let area = Area {
        left: 2 * source.u24_le()?,
        top: 2 * source.u24_le()?,
        width: 1 + source.u24_le()?,
        height: 1 + source.u24_le()?,
    };
    let _duration = source.u24_le()?;
    let _blending_and_disposal = source.byte()?;

    let mut picture = Picture::default();
    while source.position() < chunk.end {
        let part = Chunk::read(source, chunk.end)?;
        picture.read_chunk(source, &part)?;
        part.finish(source, chunk.end)?;
    }
    match picture.size {
        Some(size) if size == (area.width, area.height) => Ok(area),
        Some(_) => invalid("WebP: image and frame differ in size"),
        None => invalid("WebP: frame without image data"),
    }
}

/// The chunks that make one picture: perhaps ALPH, then VP8, or VP8L alone.
#[derive(Default)]
struct Picture {
    has_alpha_chunk: bool,
    size: Option<(u32, u32)>,
}

impl Picture {
    /// Reads what `chunk` tells of the picture; any other chunk is left unread.
    fn read_chunk(
        &mut self,
        source: &mut Source<impl BufRead>,
        chunk: &Chunk,
    ) -> Result<(), Rejected> {
        let size = match &chunk.name {
            b"ALPH" => {
                self.has_alpha_chunk = true;
                return Ok(());
            }
            b"VP8 " => read_lossy(source, chunk)?,
            b"VP8L" if self.has_alpha_chunk => return invalid("WebP: ALPH with VP8L"),
            b"VP8L" => read_lossless(source, chunk)?,
            _ => return Ok(()),
        };
        match self.size.replace(size) {
            Some(_) => invalid("WebP: second image"),
            None => Ok(()),
        }
    }
}

/// Reads the head of a VP8 key frame (RFC 6386, section 9.1): width and height, each 0 to 16,383.
fn read_lossy(source: &mut Source<impl BufRead>, chunk: &Chunk) -> Result<(u32, u32), Rejected> {
    const HEAD: u32 = 10;
    if chunk.length < HEAD {
        return invalid("WebP: VP8 length");
    }
    let tag = source.u24_le()?;
    let is_key_frame = tag & 1 == 0;
    let version = (tag >> 1) & 7;
    let is_shown = (tag >> 4) & 1 == 1;
    let first_partition = tag >> 5;
    if !is_key_frame || version > 3 || !is_shown {
        return invalid("WebP: VP8 frame tag");
    }
    // The first partition says how each block is coded; the coefficients follow it.
    if first_partition >= chunk.length - HEAD {
        return invalid("WebP: VP8 first partition");
    }
    if source.array()? != [0x9D, 0x01, 0x2A] {
        return invalid("WebP: VP8 start code");
    }
    // The two upper bits ask for upscaling, which is no part of the size.
    let width = source.u16_le()? & 0x3FFF;
    let height = source.u16_le()? & 0x3FFF;
    Ok((width.into(), height.into()))
}

/// Reads the head of a lossless image (RFC 9649, section 3.4): width and height, each 1 to 16,384.
fn read_lossless(source: &mut Source<impl BufRead>, chunk: &Chunk) -> Result<(u32, u32), Rejected> {
    const HEAD: u32 = 5;
    if chunk.length <= HEAD {
        return invalid("WebP: VP8L length");
    }
    if source.byte()? != 0x2F {
        return invalid("WebP: VP8L signature");
    }
    let bits = source.u32_le()?;
    let version = bits >> 29;
    if version != 0 {
        return invalid("WebP: VP8L version");
    }
    Ok(((bits & 0x3FFF) + 1, ((bits >> 14) & 0x3FFF) + 1))
}
