//! The buffer between a body and the multipart parser.

use std::io::{self, Read};
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Bytes reserved at the front, for [`Buffer::unread_line_break`].
const LEAD: usize = LINE_BREAK.len();

/// RFC 2046's CRLF.
const LINE_BREAK: [u8; 2] = *b"\r\n";

/// Memory of finished forms, for reuse: zeroing 32 pages costs more than reading a small form. It is not kept by each connection,
/// because most connections are idle.
static SPARE: Mutex<Vec<Box<[u8]>>> = Mutex::new(Vec::new());

/// The most buffers that are kept for reuse.
const MOST_SPARE: usize = 32;

/// Bytes that were read and not taken yet, in memory of a fixed size.
pub(super) struct Buffer<R> {
    body: R,
    memory: Box<[u8]>,
    /// The unread bytes in `memory`: never before `LEAD`, except for a line break that was put back.
    unread: Range<usize>,
    /// The error that ended the last [`Self::fill`], reported by the next one.
    failed: Option<io::Error>,
}

impl<R: Read> Buffer<R> {
    /// A buffer that holds up to `capacity` bytes of `body`.
    pub(super) fn new(body: R, capacity: usize) -> Self {
        let length = LEAD + capacity;
        let spare = spares().pop_if(|spare| spare.len() == length);
        let memory = spare.unwrap_or_else(|| vec![0; length].into_boxed_slice());
        Self {
            body,
            memory,
            unread: LEAD..LEAD,
            failed: None,
        }
    }

    /// The bytes that were read and not taken yet.
    pub(super) fn unread(&self) -> &[u8] {
        &self.memory[self.unread.clone()]
    }

    /// Takes `length` of the unread bytes; [`Self::taken`] gives them until the next [`Self::fill`].
    pub(super) fn take(&mut self, length: usize) -> Range<usize> {
        let taken = self.unread.start..self.unread.start + length;
        self.unread.start = taken.end;
        taken
    }

    /// The bytes that a [`Self::take`] took.
    pub(super) fn taken(&self, taken: Range<usize>) -> &[u8] {
        &self.memory[taken]
    }

    /// Puts a line break before the unread bytes. Must not be called twice without taking something in between.
    pub(super) fn unread_line_break(&mut self) {
        let start = self.unread.start - LINE_BREAK.len();
        self.memory[start..self.unread.start].copy_from_slice(&LINE_BREAK);
        self.unread.start = start;
    }

    /// Reads until the memory is full or the body ends; `true` if any bytes were read.
    ///
    /// Moves the unread bytes to the front first. They are fewer than a delimiter has, so this is cheap, and the pieces of a large value
    /// are as large as the memory: few large writes cost the file system less. An error is reported after the bytes before it.
    pub(super) fn fill(&mut self) -> io::Result<bool> {
        let length = self.unread.len();
        self.memory.copy_within(self.unread.clone(), LEAD);
        self.unread = LEAD..LEAD + length;
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        while self.unread.end < self.memory.len() {
            match self.body.read(&mut self.memory[self.unread.end..]) {
                Ok(0) => break,
                Ok(count) => self.unread.end += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if self.unread.len() > length => {
                    self.failed = Some(error);
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(self.unread.len() > length)
    }
}

impl<R> Drop for Buffer<R> {
    fn drop(&mut self) {
        let mut spares = spares();
        if spares.len() < MOST_SPARE {
            spares.push(std::mem::take(&mut self.memory));
        }
    }
}

fn spares() -> MutexGuard<'static, Vec<Box<[u8]>>> {
    SPARE.lock().unwrap_or_else(PoisonError::into_inner)
}
