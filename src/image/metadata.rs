//! Removes metadata from images: positions, or everything that is not needed to show the image.
//!
//! [`Layout`] lists the blocks that may hold metadata; the walk of the structure makes it on its way. [`action`] says what becomes of a
//! block, [`scrub`] removes positions from one, [`padding`] writes what takes the place of one. A block keeps its length, so nothing else
//! in the file moves: pixels, offsets between pictures and the size of the file stay as they are.
//!
//! Positions are in Exif (GPS directory, maker notes, the thumbnail's own metadata), XMP and IPTC, and in formats of single makers. What
//! is not understood is dropped.

mod exif;
mod iptc;
mod xmp;

use std::io::{self, Write};

use serde::Deserialize;

/// The largest block that is read into memory, in bytes. A larger one is dropped if it may hold a position.
pub const MAX_BLOCK: u64 = 1 << 20;

/// How many bytes of a block [`action`] needs at most: a PNG keyword of 79 bytes and what is before and behind it.
pub const HEAD: usize = 96;

/// The most blocks of one image that are listed, far more than an image has that is not made to waste memory.
const MAX_BLOCKS: usize = 4_096;

/// What is removed from images before they are stored: `[plans.NAME] metadata`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// Nothing: the bytes are stored as they came.
    Keep,
    /// Positions.
    StripLocation,
    /// All metadata except the orientation and the colour profile.
    Strip,
}

impl Policy {
    /// The name in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::StripLocation => "strip-location",
            Self::Strip => "strip",
        }
    }
}

/// What a block is in its format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A marker segment by the code of its marker. The block begins at the code.
    Jpeg(u8),
    /// A chunk by its name. The block begins at the length and ends with the CRC.
    Png([u8; 4]),
    /// A chunk by its name. The block begins at the name and ends before the padding.
    WebP([u8; 4]),
    /// An extension by its label. The block begins at the label and ends with the terminator.
    Gif(u8),
}

/// A part of a file that may hold metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// What it is.
    pub kind: Kind,
    /// Bytes before it.
    pub start: u64,
    /// Bytes.
    pub length: u64,
}

/// Where the metadata of an image are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Layout {
    /// In the order of the file.
    pub blocks: Vec<Block>,
    /// Whether there are more blocks than are listed.
    pub is_incomplete: bool,
    /// The end of the image, in bytes; the file may go on.
    pub end: u64,
}

impl Layout {
    /// Adds a block unless it is one that every image of its format may have.
    pub(super) fn note(&mut self, kind: Kind, start: u64, length: u64) {
        if kind.is_image() {
            return;
        }
        if self.blocks.len() < MAX_BLOCKS {
            self.blocks.push(Block {
                kind,
                start,
                length,
            });
        } else {
            self.is_incomplete = true;
        }
    }
}

impl Kind {
    /// Whether the block is needed to show the image, or says how.
    fn is_image(self) -> bool {
        match self {
            // APP0 of JFIF and APP14 of Adobe, which gives the colour transform.
            Self::Jpeg(marker) => matches!(marker, 0xE0 | 0xEE),
            Self::Png(name) => [
                b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"cHRM", b"gAMA", b"iCCP", b"sBIT",
                b"sRGB", b"cICP", b"mDCV", b"cLLI", b"bKGD", b"hIST", b"pHYs", b"sPLT", b"acTL",
                b"fcTL", b"fdAT",
            ]
            .contains(&&name),
            Self::WebP(name) => [
                b"VP8X", b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ANMF", b"ICCP",
            ]
            .contains(&&name),
            Self::Gif(label) => !matches!(label, gif::APPLICATION | gif::COMMENT),
        }
    }

    /// Whether the block has metadata of a camera or an editor. Videos and pictures of a camera that follow the image have them too.
    pub fn is_of_camera(self) -> bool {
        match self {
            Self::Jpeg(marker) => marker == jpeg::APP1,
            Self::Png(name) => name == *b"eXIf",
            Self::WebP(name) => [b"EXIF", b"XMP "].contains(&&name),
            Self::Gif(_) => false,
        }
    }
}

mod jpeg {
    pub(super) const APP1: u8 = 0xE1;
    pub(super) const APP2: u8 = 0xE2;
    pub(super) const APP12: u8 = 0xEC;
    pub(super) const APP13: u8 = 0xED;
    pub(super) const APP15: u8 = 0xEF;
    pub(super) const COM: u8 = 0xFE;
    pub(super) const EXIF: &[u8] = b"Exif\0";
    pub(super) const XMP: &[u8] = b"http://ns.adobe.com/xap/1.0/\0";
    pub(super) const ICC: &[u8] = b"ICC_PROFILE\0";
    /// CIPA DC-007: where the other pictures of the file are.
    pub(super) const MULTI_PICTURE: &[u8] = b"MPF\0";
    /// The gain map of an HDR image.
    pub(super) const GAIN_MAP: &[u8] = b"urn:iso:std:iso:ts:21496:-1\0";
    pub(super) const PHOTOSHOP: &[u8] = b"Photoshop 3.0\0";
    /// The quality that Photoshop saved with.
    pub(super) const DUCKY: &[u8] = b"Ducky";
}

mod gif {
    pub(super) const APPLICATION: u8 = 0xFF;
    pub(super) const COMMENT: u8 = 0xFE;
    /// Length of the identifier, and the identifiers of loops and colour profiles.
    pub(super) const NEEDED: [&[u8]; 3] =
        [b"\x0BNETSCAPE2.0", b"\x0BANIMEXTS1.0", b"\x0BICCRGBG1012"];
    pub(super) const XMP: &[u8] = b"\x0BXMP DataXMP";
    /// An application that does not exist.
    pub(super) const PADDING: &[u8] = b"\x0BREMOVED 1.0";
}

/// What becomes of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It stays.
    Keep,
    /// [`padding`] takes its place.
    Drop,
    /// [`scrub`] has to read it.
    Scrub(Metadata),
}

/// Metadata of a block, and where in the block they begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metadata {
    /// Exif, from the byte order.
    Exif(usize),
    /// XMP.
    Xmp(usize),
    /// Image resources of Photoshop, among them IPTC.
    Photoshop(usize),
}

/// What becomes of a block by its first bytes: [`HEAD`] of them, or all if there are fewer.
pub fn action(kind: Kind, head: &[u8], policy: Policy) -> Action {
    if policy == Policy::Keep {
        return Action::Keep;
    }
    let strips_all = policy == Policy::Strip;
    let kept_unless_all = if strips_all {
        Action::Drop
    } else {
        Action::Keep
    };
    let xmp = |at| {
        if strips_all {
            Action::Drop
        } else {
            Action::Scrub(Metadata::Xmp(at))
        }
    };
    match kind {
        Kind::Jpeg(marker) => {
            let payload = head.get(3..).unwrap_or_default();
            let is = |id| payload.starts_with(id);
            match marker {
                // The sixth byte of the header is padding.
                jpeg::APP1 if is(jpeg::EXIF) && payload.len() > 6 => {
                    Action::Scrub(Metadata::Exif(3 + 6))
                }
                jpeg::APP1 if is(jpeg::XMP) => xmp(3 + jpeg::XMP.len()),
                jpeg::APP2 if is(jpeg::ICC) => Action::Keep,
                jpeg::APP2 if is(jpeg::MULTI_PICTURE) || is(jpeg::GAIN_MAP) => kept_unless_all,
                jpeg::APP12 if is(jpeg::DUCKY) => kept_unless_all,
                jpeg::APP13 if is(jpeg::PHOTOSHOP) && !strips_all => {
                    Action::Scrub(Metadata::Photoshop(3 + jpeg::PHOTOSHOP.len()))
                }
                jpeg::COM => kept_unless_all,
                // Among them the rest of a long XMP packet, which cannot be read alone, and blocks of action cameras, drones and thermal
                // cameras with positions.
                _ => Action::Drop,
            }
        }
        Kind::Png(name) => match &name {
            b"eXIf" => Action::Scrub(Metadata::Exif(8)),
            // C2PA manifests.
            b"caBX" => Action::Drop,
            b"tEXt" | b"zTXt" | b"iTXt" if !strips_all => png_text(name, head),
            _ => kept_unless_all,
        },
        Kind::WebP(name) => match &name {
            b"EXIF" => {
                // Some programs copy the header of a JPEG segment.
                let has_header = head
                    .get(8..)
                    .is_some_and(|data| data.starts_with(jpeg::EXIF));
                Action::Scrub(Metadata::Exif(if has_header { 8 + 6 } else { 8 }))
            }
            b"XMP " => xmp(8),
            b"C2PA" => Action::Drop,
            _ => kept_unless_all,
        },
        Kind::Gif(gif::APPLICATION) => {
            let data = head.get(1..).unwrap_or_default();
            if data.starts_with(gif::XMP) {
                Action::Drop
            } else if gif::NEEDED.iter().any(|id| data.starts_with(id)) {
                Action::Keep
            } else {
                kept_unless_all
            }
        }
        Kind::Gif(_) => kept_unless_all,
    }
}

/// What becomes of a textual chunk of a PNG file (third edition, section 11.3.3), where positions are removed.
fn png_text(name: [u8; 4], head: &[u8]) -> Action {
    let data = head.get(8..).unwrap_or_default();
    let Some(end) = data.iter().position(|&byte| byte == 0) else {
        return Action::Drop;
    };
    let keyword = data[..end].to_ascii_lowercase();
    let rest = &data[end + 1..];
    if name == *b"iTXt" && keyword == b"xml:com.adobe.xmp" {
        // Compression flag and method, language and translated keyword, each ended by a zero byte. XMP leaves both empty.
        return match rest {
            [0, _, 0, 0, ..] => Action::Scrub(Metadata::Xmp(8 + end + 1 + 4)),
            _ => Action::Drop,
        };
    }
    // ImageMagick and ExifTool keep metadata of other formats in hexadecimal.
    let profile = keyword.strip_prefix(b"raw profile type ");
    let is_profile = profile.is_some_and(|kind| ![&b"icc"[..], b"icm"].contains(&kind));
    let mentions = |word: &[u8]| memchr::memmem::find(&keyword, word).is_some();
    let is_position = [&b"gps"[..], b"latitude", b"longitude", b"location"]
        .into_iter()
        .any(mentions);
    if is_profile || is_position {
        Action::Drop
    } else {
        Action::Keep
    }
}

/// Removes metadata from a whole block in place; whether any byte changed. `None` if they are not understood: the block has to be dropped.
pub fn scrub(kind: Kind, metadata: Metadata, block: &mut [u8], policy: Policy) -> Option<bool> {
    let end = match kind {
        // The CRC.
        Kind::Png(_) => block.len().checked_sub(4)?,
        _ => block.len(),
    };
    if let Kind::Png(_) = kind
        && crc32fast::hash(block.get(4..end)?).to_be_bytes() != block[end..]
    {
        // Decoders drop the chunk, and would not if its CRC became right.
        return None;
    }
    let changed = match metadata {
        Metadata::Exif(at) => exif::scrub(block.get_mut(at..end)?, policy),
        Metadata::Xmp(at) => xmp::remove_location(block.get_mut(at..end)?)?,
        Metadata::Photoshop(at) => iptc::remove_location(block.get_mut(at..end)?)?,
    };
    if changed && let Kind::Png(_) = kind {
        let crc = crc32fast::hash(&block[4..end]);
        block[end..].copy_from_slice(&crc.to_be_bytes());
    }
    Some(changed)
}

/// Applies `policy` to the blocks of a file in memory, as an upload does to those of its file; `None` if the file ends within a block. For
/// tests and the fuzz target.
///
/// # Panics
/// If [`padding`] does not have the length of its block.
pub fn stripped(file: &[u8], blocks: &[Block], policy: Policy) -> Option<Vec<u8>> {
    let mut copy = file.to_vec();
    for block in blocks {
        let start = usize::try_from(block.start).ok()?;
        let end = start.checked_add(usize::try_from(block.length).ok()?)?;
        let bytes = copy.get_mut(start..end)?;
        let is_kept = match action(block.kind, &bytes[..bytes.len().min(HEAD)], policy) {
            Action::Keep => true,
            Action::Drop => false,
            Action::Scrub(metadata) => scrub(block.kind, metadata, bytes, policy).is_some(),
        };
        if !is_kept {
            let mut out = Vec::with_capacity(bytes.len());
            padding(block.kind, block.length, &mut out).ok()?;
            bytes.copy_from_slice(&out);
        }
    }
    Some(copy)
}

/// Writes a block of the same length that holds nothing and that decoders pass over.
pub fn padding(kind: Kind, length: u64, out: &mut impl Write) -> io::Result<()> {
    match kind {
        Kind::Jpeg(_) => {
            // A segment counts the two bytes of its length.
            let counted = u16::try_from(length - 1).map_err(io::Error::other)?;
            out.write_all(&[jpeg::APP15])?;
            out.write_all(&counted.to_be_bytes())?;
            zeros(length - 3, out)
        }
        Kind::Png(_) => {
            // Private, ancillary and safe to copy (section 5.4).
            let name = *b"paDd";
            let data = u32::try_from(length - 12).map_err(io::Error::other)?;
            out.write_all(&data.to_be_bytes())?;
            let mut summed = Summed {
                out,
                crc: crc32fast::Hasher::new(),
            };
            summed.write_all(&name)?;
            zeros(data.into(), &mut summed)?;
            let Summed { out, crc } = summed;
            out.write_all(&crc.finalize().to_be_bytes())
        }
        Kind::WebP(_) => {
            // The padding chunk of RIFF.
            let data = u32::try_from(length - 8).map_err(io::Error::other)?;
            out.write_all(b"JUNK")?;
            out.write_all(&data.to_le_bytes())?;
            zeros(data.into(), out)
        }
        Kind::Gif(label) => {
            let mut left = length;
            let header = gif::PADDING;
            if left > header.len() as u64 + 1 && left != header.len() as u64 + 3 {
                out.write_all(&[gif::APPLICATION])?;
                out.write_all(header)?;
                left -= 1 + header.len() as u64;
            } else {
                out.write_all(&[label])?;
                left -= 1;
            }
            sub_blocks(left, out)
        }
    }
}

/// Data sub-blocks of a GIF file and their terminator, `length` bytes in all: 1, or at least 3.
fn sub_blocks(length: u64, out: &mut impl Write) -> io::Result<()> {
    let mut left = length;
    while left > 1 {
        // A block has a length and a byte at least, and 2 bytes are none with a terminator behind it.
        let mut size = (left - 2).min(255);
        if left - size - 1 == 2 {
            size -= 1;
        }
        out.write_all(&[u8::try_from(size).unwrap_or(u8::MAX)])?;
        zeros(size, out)?;
        left -= size + 1;
    }
    out.write_all(&[0])
}

fn zeros(count: u64, out: &mut impl Write) -> io::Result<()> {
    const ZEROS: [u8; 4096] = [0; 4096];
    let mut left = count;
    while left > 0 {
        let piece = usize::try_from(left).map_or(ZEROS.len(), |left| left.min(ZEROS.len()));
        out.write_all(&ZEROS[..piece])?;
        left -= piece as u64;
    }
    Ok(())
}

/// A writer with the CRC of what it wrote.
struct Summed<'a, W> {
    out: &'a mut W,
    crc: crc32fast::Hasher,
}

impl<W: Write> Write for Summed<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.crc.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests;
