//! Exif metadata (CIPA DC-008): a TIFF file of directories, whose entries refer to values and further directories.
//!
//! Where positions are removed, entries that are known to hold none are kept with their values, and every byte that none of them refers
//! to becomes zero: the GPS directory, maker notes, what a removed entry left behind.

use super::super::exif::orientation_of;
use super::Policy;

/// A header and a directory with one entry, in bytes. What is smaller holds no directory with a position beside the one that refers to it.
const SMALLEST: usize = 26;

/// Directories of one block at most.
const MAX_DIRECTORIES: usize = 16;

/// Tags of directories.
const EXIF_DIRECTORY: u16 = 0x8769;
const INTEROPERABILITY_DIRECTORY: u16 = 0xA005;

/// Offset and length of the JPEG thumbnail.
const THUMBNAIL: u16 = 0x0201;
const THUMBNAIL_LENGTH: u16 = 0x0202;

/// Entries that are removed: XMP, IPTC, Photoshop's resources, the GPS directory, and maker notes, where some makers write positions and
/// place names in formats of their own.
const REMOVED: [u16; 5] = [0x02BC, 0x83BB, 0x8649, 0x8825, 0x927C];

/// The bytes of one value of each field type, by its number (TIFF 6.0, section 2).
const TYPE_SIZES: [usize; 14] = [0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4];

/// Removes positions, or everything except the orientation; whether any byte changed. Metadata that are damaged are removed except for the
/// orientation, as browsers read it.
pub(super) fn scrub(tiff: &mut [u8], policy: Policy) -> bool {
    if tiff.len() < SMALLEST {
        return false;
    }
    let orientation = orientation_of(tiff);
    let mut scrubbed = match policy {
        // Directories that overlap each other or values could change it, or leave entries that were to be removed.
        Policy::StripLocation => without_location(tiff).filter(|kept| {
            orientation_of(kept) == orientation && without_location(kept).as_ref() == Some(kept)
        }),
        Policy::Keep | Policy::Strip => None,
    }
    .unwrap_or_else(|| orientation_only(orientation));
    scrubbed.resize(tiff.len(), 0);
    let changed = scrubbed != tiff;
    tiff.copy_from_slice(&scrubbed);
    changed
}

/// The smallest metadata with this orientation.
fn orientation_only(orientation: Option<u16>) -> Vec<u8> {
    let [high, low] = orientation.unwrap_or(1).to_be_bytes();
    let mut small = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01".to_vec();
    small.extend([high, low, 0, 0, 0, 0, 0, 0]);
    debug_assert_eq!(small.len(), SMALLEST);
    small
}

fn without_location(tiff: &[u8]) -> Option<Vec<u8>> {
    let mut kept = Kept::new(tiff)?;
    let mut directory = kept.u32_at(4)?;
    while directory != 0 {
        directory = kept.keep_directory(directory)?;
    }
    Some(kept.copy)
}

/// The bytes that are kept, and zeros.
struct Kept<'a> {
    tiff: &'a [u8],
    is_big_endian: bool,
    copy: Vec<u8>,
    directories: Vec<usize>,
}

impl<'a> Kept<'a> {
    fn new(tiff: &'a [u8]) -> Option<Self> {
        let is_big_endian = match tiff.first_chunk()? {
            b"MM\0*" => true,
            b"II*\0" => false,
            _ => return None,
        };
        let mut kept = Self {
            tiff,
            is_big_endian,
            copy: vec![0; tiff.len()],
            directories: Vec::new(),
        };
        kept.keep(0, 8)?;
        Some(kept)
    }

    fn u16_at(&self, at: usize) -> Option<u16> {
        let bytes = *self.tiff.get(at..)?.first_chunk()?;
        Some(if self.is_big_endian {
            u16::from_be_bytes(bytes)
        } else {
            u16::from_le_bytes(bytes)
        })
    }

    fn u32_at(&self, at: usize) -> Option<usize> {
        let bytes = *self.tiff.get(at..)?.first_chunk()?;
        let number = if self.is_big_endian {
            u32::from_be_bytes(bytes)
        } else {
            u32::from_le_bytes(bytes)
        };
        usize::try_from(number).ok()
    }

    fn keep(&mut self, at: usize, length: usize) -> Option<()> {
        let range = at..at.checked_add(length)?;
        let bytes = self.tiff.get(range.clone())?;
        self.copy[range].copy_from_slice(bytes);
        Some(())
    }

    /// Keeps a directory and what its entries refer to; the offset of the next one, 0 if there is none. The entries that remain move
    /// together, since readers expect them without gaps.
    fn keep_directory(&mut self, at: usize) -> Option<usize> {
        if self.directories.contains(&at) || self.directories.len() == MAX_DIRECTORIES {
            return None;
        }
        self.directories.push(at);
        let count = usize::from(self.u16_at(at)?);
        let entries = at.checked_add(2)?;
        let end = entries.checked_add(12 * count)?;
        if end > self.tiff.len() {
            return None;
        }
        let mut remaining: Vec<u8> = Vec::with_capacity(12 * count);
        let mut thumbnail = (None, None);
        for index in 0..count {
            let entry = entries + 12 * index;
            let tag = self.u16_at(entry)?;
            match tag {
                THUMBNAIL => thumbnail.0 = self.u32_at(entry + 8),
                THUMBNAIL_LENGTH => thumbnail.1 = self.u32_at(entry + 8),
                _ => {}
            }
            if !REMOVED.contains(&tag) && self.keep_value(tag, entry).is_some() {
                remaining.extend(&self.tiff[entry..entry + 12]);
            }
        }
        if let (Some(at), Some(length)) = thumbnail {
            self.keep_thumbnail(at, length);
        }
        // A directory at the end of the block may lack the offset of the next one.
        let next = self.u32_at(end).unwrap_or(0);
        let count = u16::try_from(remaining.len() / 12).ok()?;
        let (count, next_bytes) = if self.is_big_endian {
            (count.to_be_bytes(), u32::try_from(next).ok()?.to_be_bytes())
        } else {
            (count.to_le_bytes(), u32::try_from(next).ok()?.to_le_bytes())
        };
        let directory = [&count[..], &remaining, &next_bytes].concat();
        let room = self.copy.len() - at;
        let written = directory.len().min(room);
        self.copy[at..at + written].copy_from_slice(&directory[..written]);
        Some(next)
    }

    /// Keeps the value of an entry, if it lies in the block.
    fn keep_value(&mut self, tag: u16, entry: usize) -> Option<()> {
        if tag == EXIF_DIRECTORY || tag == INTEROPERABILITY_DIRECTORY {
            // No other directory follows these.
            let directory = self.u32_at(entry + 8)?;
            return self.keep_directory(directory).map(|_| ());
        }
        let size = *TYPE_SIZES.get(usize::from(self.u16_at(entry + 2)?))?;
        let length = size.checked_mul(self.u32_at(entry + 4)?)?;
        match length {
            0 => None,
            1..=4 => Some(()),
            _ => self.keep(self.u32_at(entry + 8)?, length),
        }
    }

    /// Keeps a JPEG thumbnail without metadata of its own; any other becomes zeros.
    fn keep_thumbnail(&mut self, at: usize, length: usize) {
        let Some(range) = at.checked_add(length).map(|end| at..end) else {
            return;
        };
        let Some(jpeg) = self.tiff.get(range.clone()) else {
            return;
        };
        if let Some(jpeg) = without_segments(jpeg) {
            self.copy[range].copy_from_slice(&jpeg);
        }
    }
}

/// A JPEG file whose application segments and comments are empty, except JFIF, ICC profiles and Adobe's; `None` if it is none.
fn without_segments(jpeg: &[u8]) -> Option<Vec<u8>> {
    let mut copy = jpeg.to_vec();
    let mut at = 2;
    if !jpeg.starts_with(b"\xFF\xD8") {
        return None;
    }
    loop {
        let &[fill, marker] = jpeg.get(at..)?.first_chunk()?;
        if fill != 0xFF {
            return None;
        }
        match marker {
            // Fills the space before a marker.
            0xFF => at += 1,
            // The image data follow. Metadata behind them would need an image behind this one.
            0xDA => return Some(copy),
            _ => {
                let length = usize::from(u16::from_be_bytes(*jpeg.get(at + 2..)?.first_chunk()?));
                let payload = at + 4..(at + 2).checked_add(length)?;
                let content = jpeg.get(payload.clone())?;
                let is_metadata = matches!(marker, 0xE1..=0xED | 0xEF | 0xFE)
                    && !content.starts_with(super::jpeg::ICC);
                if is_metadata {
                    copy[at + 1] = super::jpeg::APP15;
                    copy[payload.clone()].fill(0);
                }
                at = payload.end;
            }
        }
    }
}
