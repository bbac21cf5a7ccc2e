//! The headers of the frame and of its scans (ITU-T T.81, B.2.2 and B.2.3), with the conditions under which libjpeg decodes them.

use std::io::BufRead;

use super::super::source::Source;
use super::super::{Rejected, invalid};
use super::{code, segment_length};

/// The most blocks of an MCU of several components (B.2.3).
const MOST_BLOCKS_OF_MCU: u8 = 10;

/// What is needed of the frame header.
pub(super) struct Frame {
    pub(super) is_progressive: bool,
    pub(super) width: u16,
    pub(super) height: u16,
    pub(super) components: Vec<Component>,
}

/// A colour component.
pub(super) struct Component {
    id: u8,
    /// Sampling factors, each 1 to 4.
    pub(super) horizontal: u8,
    pub(super) vertical: u8,
    /// Destination of its quantisation table.
    pub(super) quantisation_table: u8,
}

/// The header of a scan.
pub(super) struct Scan {
    pub(super) coding: Coding,
    pub(super) components: Vec<ScanComponent>,
    /// First and last coefficient in zigzag order.
    pub(super) spectrum: (u8, u8),
}

/// A component in a scan.
pub(super) struct ScanComponent {
    /// Its place in the frame.
    pub(super) index: usize,
    /// Destinations of its Huffman tables.
    pub(super) dc_table: u8,
    pub(super) ac_table: u8,
}

/// How the blocks of a scan are coded.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    Sequential,
    DcFirst,
    DcRefine,
    AcFirst,
    AcRefine,
}

impl Frame {
    pub(super) fn read(source: &mut Source<impl BufRead>, marker: u8) -> Result<Self, Rejected> {
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
        if precision != 8 {
            return invalid("JPEG: sample precision");
        }
        let mut components = Vec::with_capacity(component_count.into());
        for _ in 0..component_count {
            let [id, sampling, quantisation_table] = source.array()?;
            let (horizontal, vertical) = (sampling >> 4, sampling & 15);
            if !(1..=4).contains(&horizontal) || !(1..=4).contains(&vertical) {
                return invalid("JPEG: sampling factors");
            }
            components.push(Component {
                id,
                horizontal,
                vertical,
                quantisation_table,
            });
        }
        Ok(Self {
            is_progressive: marker == code::SOF_PROGRESSIVE,
            width,
            height,
            components,
        })
    }

    /// Reads a scan header, whose components must be the frame's.
    pub(super) fn read_scan_header(
        &self,
        source: &mut Source<impl BufRead>,
    ) -> Result<Scan, Rejected> {
        let length = segment_length(source)?;
        let count = source.byte()?;
        if !(1..=4).contains(&count) || length != 4 + 2 * u16::from(count) {
            return invalid("JPEG: SOS length");
        }
        let mut components = Vec::with_capacity(count.into());
        for place in 0..usize::from(count) {
            let [id, tables] = source.array()?;
            // A scan has its components in the frame's order, each of them once.
            let mut candidates = self.components.iter().enumerate().skip(place);
            let Some((index, _)) = candidates.find(|(_, component)| component.id == id) else {
                return invalid("JPEG: unknown or repeated component in SOS");
            };
            components.push(ScanComponent {
                index,
                dc_table: tables >> 4,
                ac_table: tables & 15,
            });
        }
        let [first, last, approximation] = source.array()?;
        let spectrum = (first, last);
        let scan = Scan {
            coding: self.coding(&components, spectrum, approximation)?,
            components,
            spectrum,
        };
        let blocks: u8 = scan
            .components
            .iter()
            .map(|component| self.blocks_of_mcu(&scan, component))
            .sum();
        if blocks > MOST_BLOCKS_OF_MCU && scan.components.len() > 1 {
            return invalid("JPEG: blocks of an MCU");
        }
        Ok(scan)
    }

    /// `approximation` has the bit position of the scan before in its upper half, 0 in the first, and that of this one in its lower.
    fn coding(
        &self,
        components: &[ScanComponent],
        (first, last): (u8, u8),
        approximation: u8,
    ) -> Result<Coding, Rejected> {
        if !self.is_progressive {
            return Ok(Coding::Sequential);
        }
        let (before, now) = (approximation >> 4, approximation & 15);
        if now > 13 || (before > 0 && now != before - 1) {
            return invalid("JPEG: successive approximation");
        }
        match (first, last, before) {
            (0, 0, 0) => Ok(Coding::DcFirst),
            (0, 0, _) => Ok(Coding::DcRefine),
            _ if first == 0 || first > last || last > 63 => invalid("JPEG: spectral selection"),
            _ if components.len() > 1 => invalid("JPEG: AC scan of several components"),
            (_, _, 0) => Ok(Coding::AcFirst),
            _ => Ok(Coding::AcRefine),
        }
    }

    /// Blocks of a component in an MCU of the scan (A.2).
    pub(super) fn blocks_of_mcu(&self, scan: &Scan, component: &ScanComponent) -> u8 {
        let component = &self.components[component.index];
        match scan.components.len() {
            1 => 1,
            _ => component.horizontal * component.vertical,
        }
    }
}
