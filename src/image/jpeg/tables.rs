//! The tables of a JPEG file (ITU-T T.81, B.2.4), and whether a scan has those that it needs.

use std::io::BufRead;

use super::super::source::Source;
use super::super::{Rejected, invalid};
use super::code;
use super::frame::{Coding, Frame, Scan};

/// The longest Huffman code in bits.
const LONGEST: usize = 16;
/// The most bits of a DC difference that a table may announce; samples of 8 bits have 11.
const MOST_DC_VALUE: u8 = 15;

/// The tables of annex K.3.3 as the payload of a DHT segment. A sequential image without tables of its own, such as a frame of Motion JPEG,
/// is decoded with them.
const STANDARD: &[u8] = b"\
    \x00\x00\x01\x05\x01\x01\x01\x01\x01\x01\x00\x00\x00\x00\x00\x00\x00\
    \x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0A\x0B\
    \x10\x00\x02\x01\x03\x03\x02\x04\x03\x05\x05\x04\x04\x00\x00\x01\x7D\
    \x01\x02\x03\x00\x04\x11\x05\x12\x21\x31\x41\x06\x13\x51\x61\x07\x22\x71\x14\x32\x81\x91\xA1\x08\x23\x42\xB1\xC1\
    \x15\x52\xD1\xF0\x24\x33\x62\x72\x82\x09\x0A\x16\x17\x18\x19\x1A\x25\x26\x27\x28\x29\x2A\x34\x35\x36\x37\x38\x39\
    \x3A\x43\x44\x45\x46\x47\x48\x49\x4A\x53\x54\x55\x56\x57\x58\x59\x5A\x63\x64\x65\x66\x67\x68\x69\x6A\x73\x74\x75\
    \x76\x77\x78\x79\x7A\x83\x84\x85\x86\x87\x88\x89\x8A\x92\x93\x94\x95\x96\x97\x98\x99\x9A\xA2\xA3\xA4\xA5\xA6\xA7\
    \xA8\xA9\xAA\xB2\xB3\xB4\xB5\xB6\xB7\xB8\xB9\xBA\xC2\xC3\xC4\xC5\xC6\xC7\xC8\xC9\xCA\xD2\xD3\xD4\xD5\xD6\xD7\xD8\
    \xD9\xDA\xE1\xE2\xE3\xE4\xE5\xE6\xE7\xE8\xE9\xEA\xF1\xF2\xF3\xF4\xF5\xF6\xF7\xF8\xF9\xFA\
    \x01\x00\x03\x01\x01\x01\x01\x01\x01\x01\x01\x01\x00\x00\x00\x00\x00\
    \x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0A\x0B\
    \x11\x00\x02\x01\x02\x04\x04\x03\x04\x07\x05\x04\x04\x00\x01\x02\x77\
    \x00\x01\x02\x03\x11\x04\x05\x21\x31\x06\x12\x41\x51\x07\x61\x71\x13\x22\x32\x81\x08\x14\x42\x91\xA1\xB1\xC1\x09\
    \x23\x33\x52\xF0\x15\x62\x72\xD1\x0A\x16\x24\x34\xE1\x25\xF1\x17\x18\x19\x1A\x26\x27\x28\x29\x2A\x35\x36\x37\x38\
    \x39\x3A\x43\x44\x45\x46\x47\x48\x49\x4A\x53\x54\x55\x56\x57\x58\x59\x5A\x63\x64\x65\x66\x67\x68\x69\x6A\x73\x74\
    \x75\x76\x77\x78\x79\x7A\x82\x83\x84\x85\x86\x87\x88\x89\x8A\x92\x93\x94\x95\x96\x97\x98\x99\x9A\xA2\xA3\xA4\xA5\
    \xA6\xA7\xA8\xA9\xAA\xB2\xB3\xB4\xB5\xB6\xB7\xB8\xB9\xBA\xC2\xC3\xC4\xC5\xC6\xC7\xC8\xC9\xCA\xD2\xD3\xD4\xD5\xD6\
    \xD7\xD8\xD9\xDA\xE2\xE3\xE4\xE5\xE6\xE7\xE8\xE9\xEA\xF2\xF3\xF4\xF5\xF6\xF7\xF8\xF9\xFA";

/// The tables that have been defined so far, by their destinations.
#[derive(Default)]
pub(super) struct Tables {
    has_quantisation: [bool; 4],
    dc: [Option<HuffmanTable>; 4],
    ac: [Option<HuffmanTable>; 4],
    /// MCUs between two restart markers; 0 without them.
    pub(super) restart_interval: u16,
}

/// A Huffman table in canonical form (annex C).
pub(super) struct HuffmanTable {
    /// How many codes of each length there are, from one bit on.
    pub(super) counts: [u8; LONGEST],
    pub(super) values: Vec<u8>,
}

impl Tables {
    /// Reads DQT, DHT or DRI, of which `left` bytes follow.
    pub(super) fn read(
        &mut self,
        source: &mut Source<impl BufRead>,
        marker: u8,
        left: u16,
    ) -> Result<(), Rejected> {
        match marker {
            code::DQT => self.read_quantisation(source, left),
            code::DHT => self.read_huffman(source, left),
            _ if left == 2 => {
                self.restart_interval = source.u16_be()?;
                Ok(())
            }
            _ => invalid("JPEG: DRI length"),
        }
    }

    fn read_quantisation(
        &mut self,
        source: &mut Source<impl BufRead>,
        mut left: u16,
    ) -> Result<(), Rejected> {
        while left > 0 {
            let precision_and_destination = source.byte()?;
            let destination = usize::from(precision_and_destination & 15);
            let Some(has) = self.has_quantisation.get_mut(destination) else {
                return invalid("JPEG: DQT destination");
            };
            let bytes = match precision_and_destination >> 4 {
                0 => 64,
                _ => 128,
            };
            let Some(rest) = left.checked_sub(1 + bytes) else {
                return invalid("JPEG: DQT length");
            };
            source.skip(bytes.into())?;
            *has = true;
            left = rest;
        }
        Ok(())
    }

    fn read_huffman(
        &mut self,
        source: &mut Source<impl BufRead>,
        mut left: u16,
    ) -> Result<(), Rejected> {
        while left > 0 {
            let class_and_destination = source.byte()?;
            left -= 1;
            let tables = match class_and_destination & 0x10 {
                0 => &mut self.dc,
                _ => &mut self.ac,
            };
            let Some(place) = tables.get_mut(usize::from(class_and_destination & !0x10)) else {
                return invalid("JPEG: DHT destination");
            };
            *place = Some(HuffmanTable::read(source, &mut left)?);
        }
        Ok(())
    }

    /// Fails where the scan lacks a table that it refers to, or has a wrong one, as libjpeg does where a scan begins.
    pub(super) fn prepare(&mut self, frame: &Frame, scan: &Scan) -> Result<(), Rejected> {
        if scan.coding == Coding::Sequential {
            self.add_standard()?;
        }
        for component in &scan.components {
            let table = frame.components[component.index].quantisation_table;
            if self.has_quantisation.get(usize::from(table)) != Some(&true) {
                return invalid("JPEG: missing quantisation table");
            }
            if matches!(scan.coding, Coding::Sequential | Coding::DcFirst) {
                self.dc(component.dc_table)?.check(MOST_DC_VALUE)?;
            }
            if !matches!(scan.coding, Coding::DcFirst | Coding::DcRefine) {
                self.ac(component.ac_table)?.check(u8::MAX)?;
            }
        }
        Ok(())
    }

    /// Defines the standard tables where no others were.
    fn add_standard(&mut self) -> Result<(), Rejected> {
        let is_missing =
            |tables: &[Option<HuffmanTable>; 4]| tables[..2].iter().any(Option::is_none);
        if !is_missing(&self.dc) && !is_missing(&self.ac) {
            return Ok(());
        }
        let mut standard = Self::default();
        let length = u16::try_from(STANDARD.len()).unwrap_or(u16::MAX);
        standard.read_huffman(&mut Source::new(STANDARD), length)?;
        let own = self.dc.iter_mut().chain(&mut self.ac);
        for (own, standard) in own.zip(standard.dc.into_iter().chain(standard.ac)) {
            if own.is_none() {
                *own = standard;
            }
        }
        Ok(())
    }

    /// The table of DC coefficients at a destination.
    pub(super) fn dc(&self, destination: u8) -> Result<&HuffmanTable, Rejected> {
        huffman_table(&self.dc, destination)
    }

    /// The table of AC coefficients at a destination.
    pub(super) fn ac(&self, destination: u8) -> Result<&HuffmanTable, Rejected> {
        huffman_table(&self.ac, destination)
    }
}

fn huffman_table(
    tables: &[Option<HuffmanTable>; 4],
    destination: u8,
) -> Result<&HuffmanTable, Rejected> {
    match tables.get(usize::from(destination)) {
        Some(Some(table)) => Ok(table),
        _ => invalid("JPEG: missing Huffman table"),
    }
}

impl HuffmanTable {
    /// Reads the table after its class and destination; `left` is what is left of the segment in bytes.
    fn read(source: &mut Source<impl BufRead>, left: &mut u16) -> Result<Self, Rejected> {
        let counts: [u8; LONGEST] = source.array()?;
        let count: u16 = counts.iter().map(|&count| u16::from(count)).sum();
        let rest = left.checked_sub(16 + count).filter(|_| count <= 256);
        let Some(rest) = rest else {
            return invalid("JPEG: DHT length");
        };
        *left = rest;
        let values = source.collect(count.into())?;
        Ok(Self { counts, values })
    }

    /// Fails unless the codes fit into their lengths, none of them all ones (annex C), and no value is over `most`.
    fn check(&self, most: u8) -> Result<(), Rejected> {
        let mut next = 0_u32;
        for (length, &count) in (1..).zip(&self.counts) {
            next += u32::from(count);
            if next >> length > 0 {
                return invalid("JPEG: Huffman code lengths");
            }
            next <<= 1;
        }
        if self.values.iter().any(|&value| value > most) {
            return invalid("JPEG: Huffman value");
        }
        Ok(())
    }
}
