//! Reads an object.
//!
//! A first part is read at once, so that a reader that needs the beginning alone leaves a connection that can be used again. A body that is
//! cut off is continued where it ended.

use std::io::{self, Cursor, Read};
use std::sync::Arc;

use super::client::Client;
use super::failure::Failure;
use super::object::Object;
use super::operations::object_of;
use crate::store::Part;

/// Bytes that are progress after a cut.
const PROGRESS: u64 = 64 << 10;

/// How often the body may be cut off without [`PROGRESS`] bytes in between. A store that is slow is not given up while it goes on: the
/// deadline of a request cuts its body off, too.
const CUTS: u32 = 5;

/// The bytes of an object, in order.
pub(super) struct ObjectReader {
    client: Arc<Client>,
    key: String,
    /// With quotes, as a condition has it.
    etag: String,
    size: u64,
    /// What was read at once.
    first: Cursor<Vec<u8>>,
    rest: Option<Box<dyn Read>>,
    /// Where the next byte of `rest` lies.
    offset: u64,
    /// Cuts without progress, and where the last one was.
    cuts: u32,
    cut_at: u64,
}

impl ObjectReader {
    /// Gives the object, too.
    pub(super) fn open(
        client: Arc<Client>,
        key: String,
        part: Part,
    ) -> Result<(Object, Self), Failure> {
        let first = match part {
            Part::First(length) => Some(length),
            Part::Whole => None,
        };
        let reply = match client.get(&key, 0, first, None) {
            // An empty object has no part.
            Err(failure) if first.is_some() && failure.status() == Some(416) => {
                client.get(&key, 0, None, None)?
            }
            reply => reply?,
        };
        let mut object = object_of(&reply)?;
        // A store that ignores `Range` sends the whole object.
        let total = reply.header("content-range").map(|range| {
            let size = range.rsplit('/').next().and_then(|size| size.parse().ok());
            size.ok_or_else(|| Failure::Unanswered("a part of an object without a size".to_owned()))
        });
        let first = first.filter(|_| total.is_some());
        if let Some(total) = total {
            object.stored.size = total?;
        }
        let mut reader = Self {
            client,
            key,
            etag: format!("\"{}\"", object.etag),
            size: object.stored.size,
            first: Cursor::default(),
            rest: None,
            offset: 0,
            cuts: 0,
            cut_at: 0,
        };
        if let Some(length) = first {
            let mut first = Vec::new();
            // Read to its end, so that the connection can be used again. What is missing after a cut is asked for again.
            let _ = reply.reader().take(length + 1).read_to_end(&mut first);
            reader.offset = first.len() as u64;
            reader.first = Cursor::new(first);
        } else {
            reader.rest = Some(Box::new(reply.reader()));
        }
        Ok((object, reader))
    }

    fn rest(&mut self) -> io::Result<&mut Box<dyn Read>> {
        let rest = if let Some(rest) = self.rest.take() {
            rest
        } else {
            let etag = Some(self.etag.as_str());
            let reply = self.client.get(&self.key, self.offset, None, etag)?;
            if self.offset > 0 && reply.header("content-range").is_none() {
                return Err(io::Error::other("the store does not continue an object"));
            }
            Box::new(reply.reader())
        };
        Ok(self.rest.insert(rest))
    }
}

impl Read for ObjectReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.first.read(out)?;
        if read > 0 || out.is_empty() {
            return Ok(read);
        }
        while self.offset < self.size {
            let error = match self.rest()?.read(out) {
                Ok(0) => io::ErrorKind::UnexpectedEof.into(),
                Ok(read) => {
                    self.offset += read as u64;
                    if self.offset >= self.size
                        && let Some(mut rest) = self.rest.take()
                    {
                        // The connection can be used again once the end was read, too.
                        let _ = rest.read(&mut [0]);
                    }
                    return Ok(read);
                }
                Err(error) => error,
            };
            self.rest = None;
            if self.offset - self.cut_at >= PROGRESS {
                self.cuts = 0;
            }
            self.cuts += 1;
            self.cut_at = self.offset;
            if self.cuts > CUTS {
                return Err(error);
            }
        }
        Ok(0)
    }
}
