//! The marker segments of a JPEG file (ITU-T T.81, annex B), walked as libjpeg walks them, which both browsers use.

mod bits;
mod blocks;
mod frame;
mod tables;
#[cfg(test)]
mod tests;

use std::io::BufRead;

use self::blocks::Blocks;
use self::frame::Frame;
use self::tables::Tables;
use super::metadata::Kind;
use super::source::{Source, TRUNCATED};
use super::{Rejected, Sizes, Walked, exif, invalid};

/// Marker codes: the byte after 0xFF (T.81, table B.1).
mod code {
    use std::ops::RangeInclusive;

    /// Temporary private use, without parameters.
    pub(super) const TEM: u8 = 0x01;
    pub(super) const SOF_BASELINE: u8 = 0xC0;
    pub(super) const SOF_EXTENDED: u8 = 0xC1;
    pub(super) const SOF_PROGRESSIVE: u8 = 0xC2;
    pub(super) const DHT: u8 = 0xC4;
    pub(super) const RST: RangeInclusive<u8> = 0xD0..=0xD7;
    pub(super) const SOI: u8 = 0xD8;
    pub(super) const EOI: u8 = 0xD9;
    pub(super) const SOS: u8 = 0xDA;
    pub(super) const DQT: u8 = 0xDB;
    pub(super) const DNL: u8 = 0xDC;
    pub(super) const DRI: u8 = 0xDD;
    pub(super) const APP1: u8 = 0xE1;
    pub(super) const APP: RangeInclusive<u8> = 0xE0..=0xEF;
    pub(super) const COM: u8 = 0xFE;
    /// Fills the space before a marker, any number of times (B.1.1.2).
    pub(super) const FILL: u8 = 0xFF;
    /// After 0xFF in entropy-coded data: the 0xFF was data (B.1.1.5).
    pub(super) const STUFFED: u8 = 0x00;
}

/// Walks from SOI through EOI.
///
/// Whatever breaks the structure after the first coded data is damage: the blocks may all be there.
pub(super) fn walk(
    source: &mut Source<impl BufRead>,
    sizes: &mut Sizes,
) -> Result<Walked, Rejected> {
    let mut walk = Walk::new(sizes, None);
    let damage = match walk.run(source) {
        Ok(()) => None,
        Err(Rejected::InvalidType(reason)) if walk.coded_bytes > 0 => Some(reason),
        Err(error) => return Err(error),
    };
    let Some(frame) = walk.frame else {
        return invalid("JPEG: no SOF");
    };
    if walk.coded_bytes == 0 {
        return invalid("JPEG: no image data");
    }
    let (width, height) = (frame.width.into(), frame.height.into());
    let is_turned = walk.is_turned == Some(true);
    Ok(Walked {
        width: if is_turned { height } else { width },
        height: if is_turned { width } else { height },
        damage,
    })
}

/// Whether decoding finds every block of the image, however the file ends.
pub(super) fn has_every_block(source: &mut Source<impl BufRead>) -> Result<bool, Rejected> {
    let mut sizes = Sizes::new(super::Limits::NONE);
    let mut walk = Walk::new(&mut sizes, Some(Blocks::default()));
    match walk.run(source) {
        Ok(()) => Ok(true),
        Err(Rejected::InvalidType(TRUNCATED)) => {
            let (frame, blocks) = (walk.frame.as_ref(), walk.blocks.as_ref());
            let has_all =
                frame.is_some_and(|frame| blocks.is_some_and(|blocks| blocks.is_whole(frame)));
            Ok(has_all && !walk.awaits_scan)
        }
        Err(Rejected::InvalidType(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The state between two markers.
struct Walk<'a> {
    sizes: &'a mut Sizes,
    /// Decodes the scans; without it they are passed over.
    blocks: Option<Blocks>,
    frame: Option<Frame>,
    tables: Tables,
    /// Whether the Exif orientation swaps the sides, once a segment with Exif metadata has been read.
    is_turned: Option<bool>,
    /// Bytes of entropy-coded data.
    coded_bytes: u64,
    /// Whether a scan has begun, or a segment that prepares one, and has not been decoded to its end.
    awaits_scan: bool,
}

impl<'a> Walk<'a> {
    fn new(sizes: &'a mut Sizes, blocks: Option<Blocks>) -> Self {
        Self {
            sizes,
            blocks,
            frame: None,
            tables: Tables::default(),
            is_turned: None,
            coded_bytes: 0,
            awaits_scan: false,
        }
    }

    fn run(&mut self, source: &mut Source<impl BufRead>) -> Result<(), Rejected> {
        if source.array()? != [code::FILL, code::SOI] {
            return invalid("JPEG: no SOI");
        }
        let mut marker = next_marker(source)?;
        while marker != code::EOI {
            let is_metadata = marker == code::COM || code::APP.contains(&marker);
            self.awaits_scan |= !is_metadata;
            marker = match marker {
                code::SOS => match self.read_scan(source)? {
                    Some(marker) => marker,
                    None => return Ok(()),
                },
                marker => {
                    self.read_segment(source, marker)?;
                    next_marker(source)?
                }
            };
        }
        Ok(())
    }

    /// Reads a scan; the code of the marker behind it, or `None` where the image is known to be complete.
    fn read_scan(&mut self, source: &mut Source<impl BufRead>) -> Result<Option<u8>, Rejected> {
        let Some(frame) = &self.frame else {
            return invalid("JPEG: SOS before SOF");
        };
        let scan = frame.read_scan_header(source)?;
        self.tables.prepare(frame, &scan)?;
        if let Some(blocks) = &mut self.blocks {
            let marker = blocks.read_scan(source, frame, &scan, &self.tables)?;
            self.awaits_scan = false;
            if blocks.is_complete() {
                return Ok(None);
            }
            if let Some(marker) = marker.filter(|marker| !code::RST.contains(marker)) {
                return Ok(Some(marker));
            }
        }
        pass_coded_data(source, &mut self.coded_bytes).map(Some)
    }

    fn read_segment(
        &mut self,
        source: &mut Source<impl BufRead>,
        marker: u8,
    ) -> Result<(), Rejected> {
        match marker {
            // They have no parameters, and mean nothing between segments.
            code::TEM => Ok(()),
            _ if code::RST.contains(&marker) => Ok(()),
            code::SOF_BASELINE | code::SOF_EXTENDED | code::SOF_PROGRESSIVE => {
                if self.frame.is_some() {
                    return invalid("JPEG: second SOF");
                }
                let frame = Frame::read(source, marker)?;
                // A height of 0 means that DNL gives it after the first scan. Decoders do not support that.
                self.sizes.note(frame.width.into(), frame.height.into())?;
                self.frame = Some(frame);
                Ok(())
            }
            code::DQT | code::DHT | code::DRI => {
                let length = segment_length(source)?;
                self.tables.read(source, marker, length)
            }
            code::APP1 => {
                let length = metadata_length(source, marker)?;
                self.read_app1(source, length)
            }
            // Decoders pass over a length of 0 or 1, which cannot be, by its own two bytes.
            code::DNL => {
                let length = source.u16_be()?.saturating_sub(2);
                source.skip(length.into())
            }
            _ if marker == code::COM || code::APP.contains(&marker) => {
                let length = metadata_length(source, marker)?;
                source.skip(length.into())
            }
            // Among them the lossless, hierarchical and arithmetic-coded processes.
            _ => invalid("JPEG: unexpected marker"),
        }
    }

    /// Reads the first Exif metadata before the first scan. Browsers heed no other, even where this one is damaged.
    fn read_app1(
        &mut self,
        source: &mut Source<impl BufRead>,
        length: u16,
    ) -> Result<(), Rejected> {
        const EXIF_HEADER: &[u8] = b"Exif\0";
        if self.is_turned.is_some() || self.coded_bytes > 0 || length <= 6 {
            return source.skip(length.into());
        }
        let payload = source.collect(length.into())?;
        if payload.starts_with(EXIF_HEADER) {
            self.is_turned = Some(exif::swaps_sides(&payload[EXIF_HEADER.len() + 1..]));
        }
        Ok(())
    }
}

/// The code of the next marker. Stray bytes before it are passed over, as decoders do.
fn next_marker(source: &mut Source<impl BufRead>) -> Result<u8, Rejected> {
    loop {
        source.skip_past(code::FILL)?;
        let mut marker = source.byte()?;
        while marker == code::FILL {
            marker = source.byte()?;
        }
        if marker != code::STUFFED {
            return Ok(marker);
        }
    }
}

/// How many bytes of a segment with metadata follow its length; notes the segment.
fn metadata_length(source: &mut Source<impl BufRead>, marker: u8) -> Result<u16, Rejected> {
    let start = source.position() - 1;
    let length = source.u16_be()?.saturating_sub(2);
    source.note(Kind::Jpeg(marker), start, length.into());
    Ok(length)
}

/// How many bytes of the segment follow its length, which counts itself.
fn segment_length(source: &mut Source<impl BufRead>) -> Result<u16, Rejected> {
    match source.u16_be()?.checked_sub(2) {
        Some(length) => Ok(length),
        None => invalid("JPEG: segment length"),
    }
}

/// Passes over the entropy-coded data of a scan, restart markers included; the code of the marker that ends it.
fn pass_coded_data(
    source: &mut Source<impl BufRead>,
    coded_bytes: &mut u64,
) -> Result<u8, Rejected> {
    loop {
        let start = source.position();
        let passed = source.skip_past(code::FILL);
        // The bytes before a cut count as well.
        *coded_bytes += match passed {
            Ok(bytes) => bytes,
            Err(_) => source.position() - start,
        };
        passed?;
        let mut marker = source.byte()?;
        while marker == code::FILL {
            marker = source.byte()?;
        }
        match marker {
            code::STUFFED => *coded_bytes += 1,
            marker if code::RST.contains(&marker) => {}
            marker => return Ok(marker),
        }
    }
}
