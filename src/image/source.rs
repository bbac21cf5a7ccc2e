//! [`Source`]: the image's bytes, read once from front to back.

use std::io::{BufRead, ErrorKind};

use super::Rejected;
use super::metadata::{Kind, Layout};

/// The reason of [`Rejected::InvalidType`] where the input ends in the middle of something.
pub(super) const TRUNCATED: &str = "truncated";

/// A sequential reader without a buffer of its own.
///
/// An unexpected end of the input is [`Rejected::InvalidType`] with [`TRUNCATED`]. An I/O error stays [`Rejected::Read`], because it says
/// nothing about the image.
pub(super) struct Source<R> {
    input: R,
    position: u64,
    layout: Layout,
}

impl<R: BufRead> Source<R> {
    pub(super) fn new(input: R) -> Self {
        Self {
            input,
            position: 0,
            layout: Layout::default(),
        }
    }

    /// Notes a block that ends here, or `ahead` bytes from here, and began at `start`.
    pub(super) fn note(&mut self, kind: Kind, start: u64, ahead: u64) {
        self.layout.note(kind, start, self.position - start + ahead);
    }

    /// The blocks that were noted, and the end of the image: where reading ended.
    pub(super) fn into_layout(self) -> Layout {
        Layout {
            end: self.position,
            ..self.layout
        }
    }

    /// Bytes read so far.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Calls `piece` with the buffered bytes, at least one, and consumes as many as it returns.
    fn advance(&mut self, piece: impl FnOnce(&[u8]) -> usize) -> Result<(), Rejected> {
        let used = loop {
            match self.input.fill_buf() {
                Ok([]) => return Err(Rejected::InvalidType(TRUNCATED)),
                Ok(buffered) => break piece(buffered),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(Rejected::Read(error)),
            }
        };
        self.input.consume(used);
        self.position = self.position.saturating_add(used as u64);
        Ok(())
    }

    /// Calls `piece` with the next `length` bytes, split wherever the input's buffer ends.
    pub(super) fn visit(
        &mut self,
        length: u64,
        mut piece: impl FnMut(&[u8]),
    ) -> Result<(), Rejected> {
        let mut left = length;
        while left > 0 {
            self.advance(|buffered| {
                let length =
                    usize::try_from(left).map_or(buffered.len(), |l| l.min(buffered.len()));
                piece(&buffered[..length]);
                left -= length as u64;
                length
            })?;
        }
        Ok(())
    }

    /// Reads at least one byte into `into`, which is not empty; how many.
    pub(super) fn read(&mut self, into: &mut [u8]) -> Result<usize, Rejected> {
        let mut read = 0;
        self.advance(|buffered| {
            read = into.len().min(buffered.len());
            into[..read].copy_from_slice(&buffered[..read]);
            read
        })?;
        Ok(read)
    }

    /// Passes over `length` bytes.
    pub(super) fn skip(&mut self, length: u64) -> Result<(), Rejected> {
        self.visit(length, |_| {})
    }

    /// Passes over everything up to and including the next `wanted`; the number of bytes before it.
    pub(super) fn skip_past(&mut self, wanted: u8) -> Result<u64, Rejected> {
        let start = self.position;
        let mut found = false;
        while !found {
            self.advance(|buffered| match memchr::memchr(wanted, buffered) {
                Some(index) => {
                    found = true;
                    index + 1
                }
                None => buffered.len(),
            })?;
        }
        Ok(self.position - start - 1)
    }

    /// The next `length` bytes. They are kept in memory, so callers limit the length.
    pub(super) fn collect(&mut self, length: u64) -> Result<Vec<u8>, Rejected> {
        let mut bytes = Vec::new();
        self.visit(length, |piece| bytes.extend_from_slice(piece))?;
        Ok(bytes)
    }

    /// The next `N` bytes.
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Rejected> {
        let mut array = [0; N];
        let mut filled = 0;
        self.visit(N as u64, |piece| {
            array[filled..filled + piece.len()].copy_from_slice(piece);
            filled += piece.len();
        })?;
        Ok(array)
    }

    pub(super) fn byte(&mut self) -> Result<u8, Rejected> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    pub(super) fn u16_be(&mut self) -> Result<u16, Rejected> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    pub(super) fn u16_le(&mut self) -> Result<u16, Rejected> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub(super) fn u24_le(&mut self) -> Result<u32, Rejected> {
        let [low, middle, high] = self.array()?;
        Ok(u32::from_le_bytes([low, middle, high, 0]))
    }

    pub(super) fn u32_be(&mut self) -> Result<u32, Rejected> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    pub(super) fn u32_le(&mut self) -> Result<u32, Rejected> {
        Ok(u32::from_le_bytes(self.array()?))
    }
}
