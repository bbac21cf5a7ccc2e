//! The value of a field as a reader.

use std::io::{self, BufRead, Read};
use std::ops::Range;

use super::{Form, FormError};

/// Reads the value of the form's current field. A failure is an `io::Error` with the [`FormError`] inside, which
/// [`FormError::from_read`] takes out.
#[derive(Debug)]
pub(crate) struct FieldReader<'a, R> {
    form: &'a mut Form<R>,
    /// What is left of the current piece.
    piece: Range<usize>,
}

impl<'a, R: Read> FieldReader<'a, R> {
    pub(crate) const fn new(form: &'a mut Form<R>) -> Self {
        Self { form, piece: 0..0 }
    }
}

impl FormError {
    /// The error that a [`FieldReader`] failed with.
    pub(crate) fn from_read(error: io::Error) -> Self {
        error.downcast().unwrap_or_else(Self::Read)
    }
}

impl<R: Read> BufRead for FieldReader<'_, R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.piece.is_empty() {
            self.piece = self
                .form
                .next_range()
                .map_err(io::Error::other)?
                .unwrap_or(0..0);
        }
        Ok(self.form.lend(self.piece.clone()))
    }

    fn consume(&mut self, length: usize) {
        self.piece.start += length;
    }
}

impl<R: Read> Read for FieldReader<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let length = self.fill_buf()?.read(out)?;
        self.consume(length);
        Ok(length)
    }
}
