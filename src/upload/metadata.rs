//! Removes metadata from an image in the spool, by the plan of its client.

use std::io::{self, BufReader, Read, Write};

use crate::error::{Error, Fault, Refusal};
use crate::image::metadata::{self, Action, Block, HEAD, Kind, Layout, MAX_BLOCK, Policy};
use crate::image::{self, ImageType, Inspected, Inspection, Limits};
use crate::store::Spool;

/// The most pictures behind the first one of a JPEG file that are kept: previews, depth and gain maps.
const MAX_PICTURES: usize = 16;

/// The chunk of a WebP file that says what is in it, and the place and value of its flag for XMP (RFC 9649, section 2.7).
const VP8X: [u8; 4] = *b"VP8X";
const VP8X_AT: u64 = 12;
const VP8X_FLAGS_AT: u64 = 20;
const VP8X_XMP: u8 = 0x04;

/// Removes from the image what `policy` does not let through. Nothing is read or written for an image without metadata.
pub(super) fn strip(
    spool: &mut Spool,
    inspected: Inspected,
    layout: &Layout,
    policy: Policy,
) -> Result<(), Error> {
    if policy == Policy::Keep {
        return Ok(());
    }
    if layout.is_incomplete {
        return Err(Refusal::InvalidFileType.into());
    }
    Image { spool, policy }
        .strip(inspected, layout)
        .map_err(|error| Fault::saving(error).into())
}

struct Image<'a> {
    spool: &'a mut Spool,
    policy: Policy,
}

impl Image<'_> {
    fn strip(&mut self, inspected: Inspected, layout: &Layout) -> io::Result<()> {
        self.strip_blocks(&layout.blocks, 0)?;
        let mut end = layout.end.min(self.spool.size());
        if self.policy == Policy::Strip {
            return self.end_at(end);
        }
        let mut is_of_camera = layout.blocks.iter().any(|block| block.kind.is_of_camera());
        if inspected.image_type == ImageType::Jpeg {
            for _ in 0..MAX_PICTURES {
                let Some((start, following)) = self.picture_behind(end)? else {
                    break;
                };
                self.strip_blocks(&following.blocks, start)?;
                end = start + following.end;
                is_of_camera = true;
            }
        }
        // A camera appends videos and data of its own, which have positions, too.
        if is_of_camera {
            self.end_at(end)?;
        }
        Ok(())
    }

    fn end_at(&mut self, end: u64) -> io::Result<()> {
        if end < self.spool.size() {
            self.spool.truncate(end)?;
        }
        Ok(())
    }

    /// The JPEG picture behind `end`, and where it starts. Only zeros may be in between.
    fn picture_behind(&self, end: u64) -> io::Result<Option<(u64, Layout)>> {
        if end >= self.spool.size() {
            return Ok(None);
        }
        let mut start = end;
        for byte in BufReader::new(self.spool.reader_at(end)).bytes() {
            match byte? {
                0 => start += 1,
                0xFF => break,
                _ => return Ok(None),
            }
        }
        let mut reader = BufReader::new(self.spool.reader_at(start));
        Ok(match image::survey(&mut reader, Limits::NONE) {
            Ok((Inspection::Whole(found), layout))
                if found.image_type == ImageType::Jpeg && !layout.is_incomplete =>
            {
                Some((start, layout))
            }
            _ => None,
        })
    }

    /// Strips the blocks, which begin `base` bytes later in the file than they say.
    fn strip_blocks(&mut self, blocks: &[Block], base: u64) -> io::Result<()> {
        for block in blocks {
            let start = base + block.start;
            if start + block.length > self.spool.size() {
                // The file ends within a block behind the image data.
                return self.end_at(start);
            }
            self.strip_block(block, start)?;
        }
        Ok(())
    }

    fn strip_block(&mut self, block: &Block, start: u64) -> io::Result<()> {
        let Block { kind, length, .. } = *block;
        let head = self.read(start, length.min(HEAD as u64))?;
        match metadata::action(kind, &head, self.policy) {
            Action::Keep => return Ok(()),
            Action::Scrub(found) if length <= MAX_BLOCK => {
                let mut bytes = self.read(start, length)?;
                match metadata::scrub(kind, found, &mut bytes, self.policy) {
                    Some(true) => return self.spool.overwrite(&bytes, start),
                    Some(false) => return Ok(()),
                    None => {}
                }
            }
            Action::Scrub(_) | Action::Drop => {}
        }
        let mut out = Overwriting {
            spool: self.spool,
            offset: start,
        };
        metadata::padding(kind, length, &mut out)?;
        if kind == Kind::WebP(*b"XMP ") {
            self.clear_xmp_flag()?;
        }
        Ok(())
    }

    fn clear_xmp_flag(&mut self) -> io::Result<()> {
        if self.read(VP8X_AT, 4)? == VP8X {
            let flags = self.read(VP8X_FLAGS_AT, 1)?;
            self.spool
                .overwrite(&[flags[0] & !VP8X_XMP], VP8X_FLAGS_AT)?;
        }
        Ok(())
    }

    fn read(&self, start: u64, length: u64) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
        self.spool.reader_at(start).read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

/// Writes over the spool from an offset on.
struct Overwriting<'a> {
    spool: &'a mut Spool,
    offset: u64,
}

impl Write for Overwriting<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.spool.overwrite(bytes, self.offset)?;
        self.offset += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
