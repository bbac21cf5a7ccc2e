//! The one buffer between a body and the multipart parser.

use std::io::{self, Read};
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Bytes in front of everything that is read, so that [`Buffer::unread_line_break`] always finds room.
const LEAD: usize = LINE_BREAK.len();

/// RFC 2046's CRLF.
const LINE_BREAK: [u8; 2] = *b"\r\n";

/// Memory of forms that were read to their end. Making 32 pages of zeros for each form costs more than reading a small one; kept by each
/// connection, it would be held by a thousand idle ones.
static SPARE: Mutex<Vec<Box<[u8]>>> = Mutex::new(Vec::new());

/// The most pieces of memory that are kept.
const MOST_SPARE: usize = 32;

/// Bytes that were read and not yet taken, in memory of a fixed size.
pub(super) struct Buffer<R> {
    body: R,
    memory: Box<[u8]>,
    /// Where the untaken bytes are in `memory`: never before `LEAD`, but for a line break that was put back.
    unread: Range<usize>,
    /// What ended the last [`Self::fill`] that brought something.
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

    /// The untaken bytes.
    pub(super) fn unread(&self) -> &[u8] {
        &self.memory[self.unread.clone()]
    }

    /// Takes `length` of the untaken bytes. [`Self::taken`] shows them until the next [`Self::fill`].
    pub(super) fn take(&mut self, length: usize) -> Range<usize> {
        let taken = self.unread.start..self.unread.start + length;
        self.unread.start = taken.end;
        taken
    }

    /// The bytes that a [`Self::take`] took.
    pub(super) fn taken(&self, taken: Range<usize>) -> &[u8] {
        &self.memory[taken]
    }

    /// Puts a line break before the untaken bytes. Must not be called twice without taking something in between.
    pub(super) fn unread_line_break(&mut self) {
        let start = self.unread.start - LINE_BREAK.len();
        self.memory[start..self.unread.start].copy_from_slice(&LINE_BREAK);
        self.unread.start = start;
    }

    /// Reads until the memory is full or the body ends, and tells whether anything came.
    ///
    /// The untaken bytes are moved to the front first. The parser leaves less than a delimiter of them, so this costs next to
    /// nothing, and the pieces of a large value are as large as the memory: what is written in few large pieces costs the file
    /// system less. An error waits until what came before it was taken.
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
