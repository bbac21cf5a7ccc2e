//! Finds out whether every row of a PNG image is in its image data: decompresses the data and counts the bytes.

use std::io::{self, BufRead, Read};

use flate2::read::ZlibDecoder;

use super::super::Rejected;
use super::super::source::Source;
use super::{Chunk, Header};

/// First column, first row, and their steps, for each pass of an interlaced image (section 8.1).
const ADAM7: [[u32; 4]; 7] = [
    [0, 0, 8, 8],
    [4, 0, 8, 8],
    [0, 4, 4, 8],
    [2, 0, 4, 4],
    [0, 2, 2, 4],
    [1, 0, 2, 2],
    [0, 1, 1, 2],
];

/// Whether the image data holds every row. Data with a wrong CRC has to end with the right checksum of its zlib stream.
pub(in super::super) fn has_every_row(source: &mut Source<impl BufRead>) -> Result<bool, Rejected> {
    let length = Header::read(source)?.row_bytes();
    let mut image_data = ImageData {
        source,
        crc: None,
        left: 0,
        is_crc_wrong: false,
        is_ended: false,
        failure: None,
    };
    let mut rows = ZlibDecoder::new(&mut image_data);
    let copied = io::copy(&mut rows.by_ref().take(length), &mut io::sink());
    let has_rows = copied.is_ok_and(|copied| copied == length);
    // The decoder compares the checksum at the end of the stream.
    let has_checksum = has_rows && rows.read(&mut [0]).is_ok_and(|rest| rest == 0);
    // To the CRC of the last chunk.
    let drained = io::copy(&mut image_data, &mut io::sink());
    match image_data.failure {
        Some(error) => Err(Rejected::Read(error)),
        None => Ok(drained.is_ok() && has_rows && (has_checksum || !image_data.is_crc_wrong)),
    }
}

impl Header {
    /// The length of all rows in bytes, with the filter type before each (section 7.2).
    fn row_bytes(&self) -> u64 {
        if !self.is_interlaced {
            return self.pass_bytes(self.width, self.height);
        }
        let passes = ADAM7.iter().map(|&[left, top, right, down]| {
            self.pass_bytes(
                self.width.saturating_sub(left).div_ceil(right),
                self.height.saturating_sub(top).div_ceil(down),
            )
        });
        passes.sum()
    }

    fn pass_bytes(&self, width: u32, height: u32) -> u64 {
        let channels = match self.colour_type {
            2 => 3,
            4 => 2,
            6 => 4,
            _ => 1,
        };
        let bits = u64::from(width) * channels * u64::from(self.depth);
        match width {
            0 => 0,
            _ => u64::from(height) * (1 + bits.div_ceil(8)),
        }
    }
}

/// The data of the run of IDAT chunks as a reader. It ends early where the file does, and after a chunk with a wrong CRC, because
/// Chromium's decoder reads no further.
struct ImageData<'a, R> {
    source: &'a mut Source<R>,
    /// The CRC of the current chunk so far; `None` before the first.
    crc: Option<crc32fast::Hasher>,
    /// Unread bytes of the current chunk.
    left: u32,
    is_crc_wrong: bool,
    is_ended: bool,
    /// An error of the source, which says nothing about the image.
    failure: Option<io::Error>,
}

impl<R: BufRead> ImageData<'_, R> {
    /// Reads up to `into.len()` bytes; 0 at the end of the run.
    fn read_data(&mut self, into: &mut [u8]) -> Result<usize, Rejected> {
        while self.left == 0 {
            if self.is_ended {
                return Ok(0);
            }
            let is_in_run = self.crc.is_some();
            if let Some(crc) = self.crc.take()
                && self.source.u32_be()? != crc.finalize()
            {
                (self.is_crc_wrong, self.is_ended) = (true, true);
                return Ok(0);
            }
            let chunk = Chunk::read(self.source)?;
            match &chunk.name {
                b"IDAT" => {
                    let mut crc = crc32fast::Hasher::new();
                    crc.update(&chunk.name);
                    self.crc = Some(crc);
                    self.left = chunk.length;
                }
                _ if is_in_run => self.is_ended = true,
                _ => chunk.skip(self.source)?,
            }
        }
        let most = usize::try_from(self.left).map_or(into.len(), |left| left.min(into.len()));
        let read = self.source.read(&mut into[..most])?;
        self.left -= u32::try_from(read).unwrap_or(self.left);
        if let Some(crc) = &mut self.crc {
            crc.update(&into[..read]);
        }
        Ok(read)
    }
}

impl<R: BufRead> Read for ImageData<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self.read_data(into) {
            Ok(read) => Ok(read),
            Err(Rejected::Read(error)) => {
                self.failure = Some(error);
                Ok(0)
            }
            Err(_) => Ok(0),
        }
    }
}
