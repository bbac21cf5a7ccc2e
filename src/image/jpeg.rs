//! The marker segments of a JPEG file (ITU-T T.81, annex B).

use std::io::BufRead;

use super::source::Source;
use super::{Rejected, Sizes, invalid};

/// Marker codes: the byte after 0xFF (T.81, table B.1).
mod code {
    use std::ops::RangeInclusive;

    pub(super) const DHT: u8 = 0xC4;
    pub(super) const JPG: u8 = 0xC8;
    pub(super) const DAC: u8 = 0xCC;
    /// Start of frame, apart from the three codes above that lie between.
    pub(super) const SOF: RangeInclusive<u8> = 0xC0..=0xCF;
    pub(super) const RST: RangeInclusive<u8> = 0xD0..=0xD7;
    pub(super) const SOI: u8 = 0xD8;
    pub(super) const EOI: u8 = 0xD9;
    pub(super) const SOS: u8 = 0xDA;
    pub(super) const DQT: u8 = 0xDB;
    pub(super) const DNL: u8 = 0xDC;
    pub(super) const DRI: u8 = 0xDD;
    pub(super) const APP: RangeInclusive<u8> = 0xE0..=0xEF;
    pub(super) const COM: u8 = 0xFE;
    /// Fills the space before a marker, any number of times (B.1.1.2).
    pub(super) const FILL: u8 = 0xFF;
    /// After 0xFF in entropy-coded data: the 0xFF was data (B.1.1.5).
    pub(super) const STUFFED: u8 = 0x00;
}

/// Walks from SOI through EOI; width and height.
pub(super) fn walk(
    source: &mut Source<impl BufRead>,
    sizes: &mut Sizes,
) -> Result<(u32, u32), Rejected> {
    if source.array()? != [code::FILL, code::SOI] {
        return invalid("JPEG: no SOI");
    }
    let mut frame: Option<Frame> = None;
    let mut coded_bytes = 0;
    let mut marker = next_marker(source)?;
    loop {
        marker = match marker {
            code::EOI => break,
            code::SOS => {
                let Some(frame) = &frame else {
                    return invalid("JPEG: SOS before SOF");
                };
                frame.read_scan_header(source)?;
                pass_coded_data(source, &mut coded_bytes)?
            }
            code::DHT | code::DAC | code::DQT | code::DNL | code::DRI | code::COM => {
                let length = segment_length(source)?;
                source.skip(length.into())?;
                next_marker(source)?
            }
            marker if code::APP.contains(&marker) => {
                let length = segment_length(source)?;
                source.skip(length.into())?;
                next_marker(source)?
            }
            marker if code::SOF.contains(&marker) && marker != code::JPG => {
                if frame.is_some() {
                    return invalid("JPEG: second SOF");
                }
                let read = Frame::read(source, marker)?;
                // A height of 0 means that DNL gives it after the first scan. Decoders do not support that.
                sizes.note(read.width.into(), read.height.into())?;
                frame = Some(read);
                next_marker(source)?
            }
            _ => return invalid("JPEG: unexpected marker"),
        };
    }
    let Some(frame) = frame else {
        return invalid("JPEG: no SOF");
    };
    if coded_bytes == 0 {
        return invalid("JPEG: no image data");
    }
    Ok((frame.width.into(), frame.height.into()))
}

/// The code of the marker that must follow here.
fn next_marker(source: &mut Source<impl BufRead>) -> Result<u8, Rejected> {
    if source.byte()? != code::FILL {
        return invalid("JPEG: no marker after a segment");
    }
    loop {
        let marker = source.byte()?;
        if marker != code::FILL {
            return Ok(marker);
        }
    }
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
        *coded_bytes += source.skip_past(code::FILL)?;
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

/// What the walk needs of the frame header (B.2.2).
struct Frame {
    width: u16,
    height: u16,
    /// The identifiers of its components; only the first `component_count` mean something.
    component_ids: [u8; 4],
    component_count: usize,
}

impl Frame {
    fn read(source: &mut Source<impl BufRead>, marker: u8) -> Result<Self, Rejected> {
        let length = segment_length(source)?;
        let precision = source.byte()?;
        let height = source.u16_be()?;
        let width = source.u16_be()?;
        let component_count = source.byte()?;
        if !matches!(component_count, 1 | 3 | 4) {
            return invalid("JPEG: number of components");
        }
        if length != 6 + 3 * u16::from(component_count) {
            return invalid("JPEG: SOF length");
        }
        let precision_fits = match marker & 3 {
            // SOF3, 7, 11, 15: lossless.
            3 => (2..=16).contains(&precision),
            _ => matches!(precision, 8 | 12),
        };
        if !precision_fits {
            return invalid("JPEG: sample precision");
        }
        let component_count = usize::from(component_count);
        let mut component_ids = [0; 4];
        for component_id in &mut component_ids[..component_count] {
            let [id, sampling, _quantisation_table] = source.array()?;
            if !(1..=4).contains(&(sampling >> 4)) || !(1..=4).contains(&(sampling & 15)) {
                return invalid("JPEG: sampling factors");
            }
            *component_id = id;
        }
        Ok(Self {
            width,
            height,
            component_ids,
            component_count,
        })
    }

    /// Reads a scan header (B.2.3), whose components must be the frame's.
    fn read_scan_header(&self, source: &mut Source<impl BufRead>) -> Result<(), Rejected> {
        let length = segment_length(source)?;
        let count = source.byte()?;
        if !(1..=4).contains(&count) || length != 4 + 2 * u16::from(count) {
            return invalid("JPEG: SOS length");
        }
        for _ in 0..count {
            let [id, _tables] = source.array()?;
            if !self.component_ids[..self.component_count].contains(&id) {
                return invalid("JPEG: unknown component in SOS");
            }
        }
        source.skip(3)
    }
}

#[cfg(test)]
mod tests {
    use crate::image::samples::{jpeg, jpeg_of, jpeg_segment, scan, sof, tables};
    use crate::image::tests::{assert_good, assert_invalid};

    fn grey_scan() -> Vec<u8> {
        scan(&[1], [0, 63], &[0x3F])
    }

    #[test]
    fn thirteen_markers_begin_a_frame() {
        for marker in 0xC0..=0xCF {
            let image = jpeg(marker, 8, 8, 1, &[]);
            match marker {
                0xC4 | 0xCC => assert_invalid(&image, "SOS before SOF"),
                0xC8 => assert_invalid(&image, "unexpected marker"),
                _ => assert_good(&image),
            }
        }
    }

    #[test]
    fn a_frame_has_one_three_or_four_components() {
        for components in 0..=4 {
            let frame = sof(0xC0, 8, 8, components);
            let image = jpeg_of(&[tables(), frame, grey_scan()]);
            match components {
                1 | 3 | 4 => assert_good(&image),
                _ => assert_invalid(&image, "number of components"),
            }
        }
        let with = |payload: &[u8]| jpeg_of(&[jpeg_segment(0xC0, payload), grey_scan()]);
        assert_good(&with(&[8, 0, 8, 0, 8, 1, 1, 0x11, 0]));
        assert_good(&with(&[12, 0, 8, 0, 8, 1, 1, 0x44, 3]));
        assert_invalid(&with(&[8, 0, 8, 0, 8, 1, 1, 0x11]), "SOF length");
        assert_invalid(&with(&[8, 0, 8, 0, 8, 1, 1, 0x11, 0, 0]), "SOF length");
        assert_invalid(&with(&[9, 0, 8, 0, 8, 1, 1, 0x11, 0]), "precision");
        assert_invalid(&with(&[8, 0, 8, 0, 8, 1, 1, 0x01, 0]), "sampling");
        assert_invalid(&with(&[8, 0, 8, 0, 8, 1, 1, 0x15, 0]), "sampling");
        assert_invalid(&with(&[8, 0, 0, 0, 8, 1, 1, 0x11, 0]), "width or height 0");
        assert_invalid(&with(&[8, 0, 8, 0, 0, 1, 1, 0x11, 0]), "width or height 0");
    }

    #[test]
    fn one_frame_then_scans_with_data() {
        let frame = || sof(0xC0, 8, 8, 1);
        assert_good(&jpeg_of(&[frame(), grey_scan(), tables(), grey_scan()]));
        assert_invalid(&jpeg_of(&[]), "no SOF");
        assert_invalid(&jpeg_of(&[tables()]), "no SOF");
        assert_invalid(&jpeg_of(&[frame()]), "no image data");
        assert_invalid(
            &jpeg_of(&[frame(), scan(&[1], [0, 63], &[])]),
            "no image data",
        );
        assert_invalid(&jpeg_of(&[grey_scan(), frame()]), "SOS before SOF");
        assert_invalid(&jpeg_of(&[frame(), frame(), grey_scan()]), "second SOF");
        assert_invalid(
            &jpeg_of(&[frame(), scan(&[2], [0, 63], &[1])]),
            "unknown component",
        );
        assert_invalid(&jpeg_of(&[frame(), scan(&[], [0, 63], &[1])]), "SOS length");
        assert_invalid(
            &jpeg_of(&[frame(), scan(&[1; 5], [0, 63], &[1])]),
            "SOS length",
        );
        assert_invalid(
            &jpeg_of(&[frame(), jpeg_segment(0xDA, &[1, 1, 0, 0, 63])]),
            "SOS length",
        );
        // A height that is only given after the first scan.
        let later = [sof(0xC0, 8, 0, 1), grey_scan(), jpeg_segment(0xDC, &[0, 8])];
        assert_invalid(&jpeg_of(&later), "width or height 0");
    }

    #[test]
    fn coded_data_ends_at_a_marker_and_nowhere_else() {
        let with = |coded: &[u8]| {
            let coded = scan(&[1], [0, 63], coded);
            jpeg_of(&[sof(0xC0, 8, 8, 1), coded])
        };
        assert_good(&with(b"\xFF\x00"));
        assert_good(&with(
            b"a\xFF\x00\xFF\xFF\x00\xFF\xD0b\xFF\xFF\xFF\xD7c\xFF\xFF",
        ));
        assert_good(&with(b"a\xFF\xFE\x00\x04\xFF\xD9"));
        assert_invalid(&with(b"\xFF\xD0"), "no image data");
        for marker in [0x01, 0x02, 0xBF, 0xC8, 0xD8, 0xDE, 0xDF, 0xF0, 0xFD] {
            assert_invalid(&with(&[1, 0xFF, marker]), "unexpected marker");
        }
    }

    #[test]
    fn segments_follow_one_another() {
        let with = |start: &[u8]| jpeg(0xC0, 8, 8, 1, &[start.to_vec()]);
        assert_good(&with(b"\xFF\xFE\x00\x02\xFF\xFF\xFF\xE1\x00\x03a"));
        assert_invalid(&with(b"\xFF\xFE\x00\x01"), "segment length");
        assert_invalid(&with(b"\xFF\xFE\x00\x00"), "segment length");
        assert_invalid(&with(b"\xFF\xFE\x00\x02<?php"), "no marker");
        assert_invalid(&with(b"\xFF\x00"), "unexpected marker");
        assert_invalid(&with(b"\xFF\xD0"), "unexpected marker");
        assert_invalid(&with(b"\xFF\xD8"), "unexpected marker");
    }
}
