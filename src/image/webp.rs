//! The chunks of a WebP file (RFC 9649, section 2).

use std::io::BufRead;

use super::metadata::Kind;
use super::source::Source;
use super::{Rejected, Sizes, Walked, invalid};

/// The animation flag of VP8X (RFC 9649, section 2.7).
const ANIMATION: u8 = 0x02;
/// A flag of VP8X that is reserved now, once for images in fragments; decoders refuse it.
const FRAGMENTS: u8 = 0x01;

/// A chunk whose header has been read.
struct Chunk {
    name: [u8; 4],
    length: u32,
    /// The end of its payload, in bytes from the start of the file.
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
        let start = source.position() - 8;
        source.note(Kind::WebP(name), start, length.into());
        Ok(Self { name, length, end })
    }

    /// Passes over the rest of the payload, and over the padding byte after an odd length. It has to be there, and within the RIFF
    /// length: libwebp refuses files without it.
    fn finish(self, source: &mut Source<impl BufRead>, riff_end: u64) -> Result<(), Rejected> {
        let padded = self.end + u64::from(self.length % 2);
        if padded > riff_end {
            return invalid("WebP: no padding");
        }
        source.skip(padded.saturating_sub(source.position()))
    }

    /// The same for a chunk in a frame that ends at `frame_end`, where the padding of the frame itself is enough.
    fn finish_in_frame(
        self,
        source: &mut Source<impl BufRead>,
        frame_end: u64,
    ) -> Result<(), Rejected> {
        let padded = (self.end + u64::from(self.length % 2)).min(frame_end);
        source.skip(padded.saturating_sub(source.position()))
    }
}

/// Walks from the RIFF header to the end that it gives. Browsers heed no Exif orientation here.
pub(super) fn walk(
    source: &mut Source<impl BufRead>,
    sizes: &mut Sizes,
) -> Result<Walked, Rejected> {
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
        b"VP8X" => return walk_extended(source, sizes, first, riff_end).map(Walked::whole),
        b"VP8 " => read_lossy(source, &first)?,
        b"VP8L" => read_lossless(source, &first)?,
        _ => return invalid("WebP: first chunk"),
    };
    sizes.note(width, height)?;
    first.finish(source, riff_end)?;
    // Nothing belongs after the only chunk of a simple file, but a reader passes over chunks that it does not know.
    while source.position() < riff_end {
        Chunk::read(source, riff_end)?.finish(source, riff_end)?;
    }
    Ok(Walked::whole((width, height)))
}

/// Walks the extended format (section 2.7): a canvas, then one still image or the frames of an animation.
///
/// No frame can be larger than the canvas, so only the canvas is compared with the limits of one image.
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
    if flags & FRAGMENTS != 0 {
        return invalid("WebP: VP8X flags");
    }
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
            // Without the animation flag, what belongs to an animation is ignored (section 2.7).
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
                let (width, height) = read_frame(source, &chunk, (canvas_width, canvas_height))?;
                sizes.note_frame(width, height);
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

/// Reads an ANMF chunk (section 2.7) up to its end; width and height of its frame, which must lie on the canvas.
fn read_frame(
    source: &mut Source<impl BufRead>,
    chunk: &Chunk,
    canvas: (u32, u32),
) -> Result<(u32, u32), Rejected> {
    if chunk.length < 16 {
        return invalid("WebP: ANMF length");
    }
    let left = 2 * source.u24_le()?;
    let top = 2 * source.u24_le()?;
    let declared = (1 + source.u24_le()?, 1 + source.u24_le()?);
    let _duration = source.u24_le()?;
    let _blending_and_disposal = source.byte()?;

    let mut picture = Picture::default();
    while source.position() < chunk.end {
        let part = Chunk::read(source, chunk.end)?;
        // Decoders look for the image in the first chunks of a frame only.
        if picture.size.is_none() && !matches!(&part.name, b"ALPH" | b"VP8 " | b"VP8L") {
            return invalid("WebP: unknown chunk before the image of a frame");
        }
        picture.read_chunk(source, &part)?;
        part.finish_in_frame(source, chunk.end)?;
    }
    let Some(coded) = picture.size else {
        return invalid("WebP: frame without image data");
    };
    // Decoders draw the coded size even where the frame declares another one, so each of them has to fit.
    for (width, height) in [declared, coded] {
        if left + width > canvas.0 || top + height > canvas.1 {
            return invalid("WebP: frame outside the canvas");
        }
    }
    Ok(coded)
}

/// The chunks of one picture: an optional ALPH, then VP8; or VP8L alone.
#[derive(Default)]
struct Picture {
    has_alpha_chunk: bool,
    size: Option<(u32, u32)>,
}

impl Picture {
    /// Reads the head of `chunk` if it belongs to the picture; the payload of any other chunk stays unread.
    fn read_chunk(
        &mut self,
        source: &mut Source<impl BufRead>,
        chunk: &Chunk,
    ) -> Result<(), Rejected> {
        let size = match &chunk.name {
            b"ALPH" if self.size.is_some() => return invalid("WebP: ALPH after the image"),
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

/// Reads the head of a VP8 key frame (RFC 6386, section 9.1): width and height, each 1 to 16,383.
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
    if width == 0 || height == 0 {
        return invalid("WebP: width or height 0");
    }
    Ok((width.into(), height.into()))
}

/// Reads the head of a lossless image (RFC 9649, section 3): width and height, each 1 to 16,384.
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

#[cfg(test)]
mod tests {
    use crate::image::samples::{VP8_5X3, anmf, vp8l, vp8x, webp, webp_chunk};
    use crate::image::tests::{assert_good, assert_invalid};

    fn lossy() -> Vec<u8> {
        webp_chunk(b"VP8 ", VP8_5X3)
    }

    fn lossless() -> Vec<u8> {
        webp_chunk(b"VP8L", &vp8l(5, 3))
    }

    fn anim() -> Vec<u8> {
        webp_chunk(b"ANIM", &[0; 6])
    }

    fn of(chunks: &[Vec<u8>]) -> Vec<u8> {
        webp(&chunks.concat())
    }

    fn with_riff_length(chunks: &[u8], change: i32) -> Vec<u8> {
        let mut bytes = webp(chunks);
        let length = u32::try_from(bytes.len() - 8).expect("short");
        let length = length.checked_add_signed(change).expect("in range");
        bytes[4..8].copy_from_slice(&length.to_le_bytes());
        bytes
    }

    #[test]
    fn chunks_end_inside_the_file_and_the_riff_length() {
        for chunks in [lossy(), lossless(), [vp8x(0, 5, 3), lossy()].concat()] {
            assert_good(&with_riff_length(&chunks, 0));
            for more in [1, 2, 8, 1_000] {
                assert_invalid(&with_riff_length(&chunks, more), "");
            }
            for less in 1..20 {
                assert_invalid(&with_riff_length(&chunks, -less), "chunk");
            }
            let followed = |tail: &[u8]| webp(&[&chunks[..], tail].concat());
            assert_good(&followed(b"what\0\0\0\0"));
            assert_good(&followed(b"what\x03\0\0\0abc\0"));
            assert_invalid(&followed(b"what"), "chunk");
            assert_invalid(&followed(b"what\x05\0\0\0abcd"), "chunk length");
        }
    }

    #[test]
    fn padding_is_within_the_riff_length() {
        let odd = webp_chunk(b"VP8L", &[&vp8l(5, 3)[..], &[0]].concat());
        let exif = webp_chunk(b"EXIF", b"odd");
        let animation = [vp8x(2, 5, 3), anim(), anmf(0, 0, 5, 3, &odd)];
        for chunks in [
            odd.clone(),
            [vp8x(0, 5, 3), odd.clone()].concat(),
            [vp8x(8, 5, 3), lossy(), exif.clone()].concat(),
            [&animation.concat()[..], &exif].concat(),
        ] {
            assert_good(&with_riff_length(&chunks, 0));
            assert_invalid(&with_riff_length(&chunks, -1), "no padding");
            let whole = webp(&chunks);
            assert_invalid(&whole[..whole.len() - 1], "truncated");
            let unpadded = webp(&chunks[..chunks.len() - 1]);
            let unpadded = [&unpadded[..8 + 4 + chunks.len() - 1], b"tail"].concat();
            assert_invalid(&unpadded, "no padding");
        }
        // The padding of a frame is enough for its last chunk.
        let frame = anmf(0, 0, 5, 3, &odd[..odd.len() - 1]);
        assert_good(&of(&[vp8x(2, 5, 3), anim(), frame]));
    }

    #[test]
    fn regression_chunks_in_an_order_that_libwebp_refuses_are_refused() {
        let alpha = || webp_chunk(b"ALPH", &[&[0][..], &[0x80; 15]].concat());
        let unknown = || webp_chunk(b"what", b"ab");
        assert_good(&of(&[vp8x(0x10, 5, 3), alpha(), lossy()]));
        for image in [lossy(), lossless()] {
            let after = of(&[vp8x(0x10, 5, 3), image.clone(), alpha()]);
            assert_invalid(&after, "ALPH after");
            assert_good(&of(&[vp8x(0, 5, 3), unknown(), image.clone(), unknown()]));
            assert_invalid(&of(&[vp8x(1, 5, 3), image.clone()]), "VP8X flags");
            let frame = |chunks: &[Vec<u8>]| {
                let frame = anmf(0, 0, 5, 3, &chunks.concat());
                of(&[vp8x(2, 5, 3), anim(), frame])
            };
            assert_good(&frame(&[image.clone(), unknown()]));
            assert_invalid(&frame(&[unknown(), image.clone()]), "unknown chunk before");
            assert_invalid(&frame(&[image, alpha()]), "ALPH after");
        }
    }

    #[test]
    fn the_first_chunk_is_an_image_or_the_extended_header() {
        assert_invalid(&webp(&[]), "chunk");
        assert_invalid(&of(&[webp_chunk(b"EXIF", b"ab"), lossy()]), "first chunk");
        assert_invalid(&of(&[webp_chunk(b"ALPH", b"ab"), lossy()]), "first chunk");
        assert_invalid(&of(&[webp_chunk(b"VP8X", &[0; 9]), lossy()]), "VP8X length");
        assert_invalid(
            &of(&[webp_chunk(b"VP8X", &[0; 12]), lossy()]),
            "VP8X length",
        );
        assert_invalid(&of(&[vp8x(0, 5, 3), vp8x(0, 5, 3), lossy()]), "second VP8X");
        let mut bytes = webp(&lossy());
        bytes[..4].copy_from_slice(b"RIFX");
        assert_invalid(&bytes, "no RIFF");
    }

    #[test]
    fn an_extended_file_has_one_still_image_of_the_canvas_size() {
        let still = |chunks: Vec<u8>| of(&[vp8x(0x10, 5, 3), chunks]);
        let alpha = || webp_chunk(b"ALPH", &[0; 16]);
        assert_good(&still(lossless()));
        assert_good(&still([alpha(), lossy()].concat()));
        assert_invalid(&still(vec![]), "no image data");
        assert_invalid(&still(alpha()), "no image data");
        assert_invalid(&still([alpha(), lossless()].concat()), "ALPH with VP8L");
        assert_invalid(&still([lossy(), lossless()].concat()), "second image");
        for (width, height) in [(4, 3), (6, 3), (5, 2), (5, 4)] {
            assert_invalid(&of(&[vp8x(0, width, height), lossy()]), "differ in size");
        }
        // What belongs to an animation is not looked at where the flag is not set.
        let frame = anmf(0, 0, 5, 3, &lossy());
        assert_good(&still([anim(), frame.clone(), lossy()].concat()));
        assert_invalid(&still([anim(), frame].concat()), "no image data");
    }

    #[test]
    fn an_animation_has_frames_on_its_canvas() {
        let animation = |frames: Vec<u8>| of(&[vp8x(2, 10, 10), anim(), frames]);
        let frame = |left, top| anmf(left, top, 5, 3, &lossy());
        assert_good(&animation(frame(0, 0)));
        assert_good(&animation(anmf(
            6,
            8,
            4,
            2,
            &webp_chunk(b"VP8L", &vp8l(4, 2)),
        )));
        assert_good(&animation(anmf(0, 0, 4, 3, &lossy())));
        assert_good(&animation(anmf(
            0,
            0,
            5,
            3,
            &[lossy(), webp_chunk(b"what", b"abc")].concat(),
        )));
        assert_invalid(&animation(frame(6, 0)), "outside the canvas");
        assert_invalid(&animation(frame(0, 8)), "outside the canvas");
        assert_invalid(
            &animation(anmf(0, 0, 11, 3, &lossy())),
            "outside the canvas",
        );
        assert_invalid(&animation(vec![]), "no image data");
        assert_invalid(&animation(lossy()), "still image in an animation");
        assert_invalid(&animation(webp_chunk(b"ANMF", &[0; 15])), "ANMF length");
        assert_invalid(&animation(anmf(0, 0, 5, 3, &[])), "without image data");
        assert_invalid(
            &animation(anmf(0, 0, 5, 3, &[lossy(), lossy()].concat())),
            "second image",
        );
        assert_invalid(
            &animation(anmf(0, 0, 5, 3, b"VP8 \xFF\0\0\0")),
            "chunk length",
        );
        assert_invalid(&of(&[vp8x(2, 10, 10), frame(0, 0)]), "ANMF before ANIM");
        let short = webp_chunk(b"ANIM", &[0; 4]);
        assert_invalid(&of(&[vp8x(2, 10, 10), short, frame(0, 0)]), "ANIM length");
    }

    #[test]
    fn heads_of_bit_streams_are_legal() {
        let changed = |place: usize, bits: u8| {
            let mut payload = VP8_5X3.to_vec();
            payload[place] ^= bits;
            webp(&webp_chunk(b"VP8 ", &payload))
        };
        assert_good(&changed(0, 0x06));
        assert_invalid(&changed(0, 0x01), "frame tag");
        assert_invalid(&changed(0, 0x08), "frame tag");
        assert_invalid(&changed(0, 0x10), "frame tag");
        assert_invalid(&changed(1, 0x10), "first partition");
        assert_invalid(&changed(3, 0x01), "start code");
        assert_invalid(&changed(6, 0x05), "width or height 0");
        assert_invalid(&changed(8, 0x03), "width or height 0");
        assert_good(&changed(7, 0xC0));
        assert_invalid(&webp(&webp_chunk(b"VP8 ", &VP8_5X3[..8])), "VP8 length");

        let changed = |place: usize, bits: u8| {
            let mut payload = vp8l(5, 3);
            payload[place] ^= bits;
            webp(&webp_chunk(b"VP8L", &payload))
        };
        assert_good(&changed(4, 0x10));
        assert_invalid(&changed(0, 0x01), "signature");
        assert_invalid(&changed(4, 0x20), "version");
        assert_invalid(&changed(4, 0x80), "version");
        assert_invalid(&webp(&webp_chunk(b"VP8L", &vp8l(5, 3)[..5])), "VP8L length");
    }
}
