//! Entropy-coded data bit by bit (ITU-T T.81, annex F.2.2).

use std::io::BufRead;

use super::super::source::Source;
use super::super::{Rejected, invalid};
use super::code;
use super::tables::HuffmanTable;

/// Reads the coded data of a scan, a byte at a time and never beyond a marker.
pub(super) struct Bits<'a, R> {
    source: &'a mut Source<R>,
    /// The last byte, and how many of its low bits are unread.
    byte: u8,
    left: u8,
    /// The marker that was met.
    marker: Option<u8>,
}

impl<'a, R: BufRead> Bits<'a, R> {
    pub(super) fn new(source: &'a mut Source<R>) -> Self {
        Self {
            source,
            byte: 0,
            left: 0,
            marker: None,
        }
    }

    /// The next byte of data; `None` at a marker.
    fn next_byte(&mut self) -> Result<Option<u8>, Rejected> {
        if self.marker.is_some() {
            return Ok(None);
        }
        let byte = self.source.byte()?;
        if byte != code::FILL {
            return Ok(Some(byte));
        }
        let mut marker = self.source.byte()?;
        while marker == code::FILL {
            marker = self.source.byte()?;
        }
        if marker == code::STUFFED {
            return Ok(Some(code::FILL));
        }
        self.marker = Some(marker);
        Ok(None)
    }

    pub(super) fn bit(&mut self) -> Result<u16, Rejected> {
        if self.left == 0 {
            let Some(byte) = self.next_byte()? else {
                return invalid("JPEG: blocks are missing");
            };
            self.byte = byte;
            self.left = 8;
        }
        self.left -= 1;
        Ok(u16::from(self.byte >> self.left & 1))
    }

    /// A number of `count` bits, at most 16.
    pub(super) fn number(&mut self, count: u8) -> Result<u16, Rejected> {
        (0..count).try_fold(0, |number, _| Ok(number << 1 | self.bit()?))
    }

    /// The value whose code comes next (F.2.2.3).
    pub(super) fn decode(&mut self, table: &HuffmanTable) -> Result<u8, Rejected> {
        let mut code = 0_u32;
        // The first code of the current length, and the place of its value.
        let mut first = 0_u32;
        let mut place = 0_u32;
        for &count in &table.counts {
            code = code << 1 | u32::from(self.bit()?);
            let count = u32::from(count);
            if let Some(offset) = code.checked_sub(first)
                && offset < count
            {
                let value = table.values.get((place + offset) as usize);
                return value.map_or_else(|| invalid("JPEG: Huffman code"), |&value| Ok(value));
            }
            place += count;
            first = (first + count) << 1;
        }
        invalid("JPEG: Huffman code")
    }

    /// Passes over the restart marker that must follow (F.2.2.5); `number` counts them from 0.
    pub(super) fn restart(&mut self, number: u8) -> Result<(), Rejected> {
        self.left = 0;
        if self.next_byte()?.is_some() || self.marker != Some(code::RST.start() + number % 8) {
            return invalid("JPEG: restart marker");
        }
        self.marker = None;
        Ok(())
    }

    /// Ends the scan. Decoders read 57 bits ahead and leave the last row out if the file ends before them, so a marker or as many
    /// bits have to follow. Gives the marker that was met.
    pub(super) fn finish(mut self) -> Result<Option<u8>, Rejected> {
        for _ in 0..8 {
            if self.next_byte()?.is_none() {
                break;
            }
        }
        Ok(self.marker)
    }
}
