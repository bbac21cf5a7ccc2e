//! HTML forms as HTTP bodies: `multipart/form-data` and `application/x-www-form-urlencoded`.
//!
//! [`open`] looks at the content type; the [`Form`] it returns gives one field after the other, and a field's value in pieces,
//! so that a file of any size passes through one buffer. Nothing here knows what the fields mean, and nothing reads
//! anything but the `Read` it was given.
//!
//! Whatever is not clearly a form is refused, since a lenient reader and a strict one that disagree about where a part ends
//! are how uploads get past checks. Every limit is a constant of these modules, and the outcome, the reason of a refusal
//! included, depends on the bytes of the body alone: neither on how reads split them nor on the size of the buffer.

use std::io::{self, Read};
use std::ops::Range;

mod buffer;
pub mod content_type;
mod field_reader;
pub mod multipart;
pub mod urlencoded;

#[cfg(test)]
mod tests;

use content_type::FormType;
pub(crate) use field_reader::FieldReader;
use multipart::Multipart;
use urlencoded::Urlencoded;

/// Fields of one form.
pub const MAX_FIELDS: usize = 64;

/// Why a form could not be read to its end.
#[derive(Debug, thiserror::Error)]
pub enum FormError {
    /// The body is not the form its content type says, or exceeds a limit. The text names the rule, for the log.
    #[error("malformed form: {0}")]
    Malformed(&'static str),
    /// The body could not be read.
    #[error("the body could not be read: {0}")]
    Read(#[source] io::Error),
}

/// What precedes a field's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// The field's name, in whatever encoding the client chose. It may be empty.
    pub name: Vec<u8>,
    /// Whether the value is a file.
    pub file_name: FileName,
}

/// The file name of a field. The client's spelling of it is never needed and therefore not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileName {
    /// None: the value is text.
    Absent,
    /// The empty one that browsers send for a file input in which no file was chosen.
    Empty,
    /// The value is a file.
    Given,
}

/// A form that is being read.
///
/// A form that has failed stays failed: every later call gives an error again. The exception is [`Form::text`] that meets its
/// limit, after which the form can be read on.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "a connection has one form, and boxing it would cost an allocation to save nothing"
)]
pub enum Form<R> {
    /// `multipart/form-data`.
    Multipart(Multipart<R>),
    /// `application/x-www-form-urlencoded`.
    Urlencoded(Urlencoded<R>),
}

/// Opens the form that `content_type` announces, the value of the request's `Content-Type` header. Reads nothing yet.
///
/// # Errors
///
/// `Malformed` for no content type, for one that is no form, and for a multipart form without a usable boundary.
pub fn open<R: Read>(content_type: Option<&[u8]>, body: R) -> Result<Form<R>, FormError> {
    let content_type = content_type.ok_or(FormError::Malformed("no content type"))?;
    match content_type::form_type(content_type).map_err(FormError::Malformed)? {
        FormType::Multipart(boundary) => Ok(Form::Multipart(Multipart::new(&boundary, body))),
        FormType::Urlencoded => Ok(Form::Urlencoded(Urlencoded::new(body))),
    }
}

impl<R: Read> Form<R> {
    /// Goes to the next field. What is left of the present value is read, checked and dropped. `None` after the last field,
    /// which for a multipart form means that the closing delimiter was seen.
    pub fn next_field(&mut self) -> Result<Option<Field>, FormError> {
        match self {
            Self::Multipart(form) => form.next_field(),
            Self::Urlencoded(form) => form.next_field(),
        }
    }

    /// The next piece of the present field's value, never empty; `None` at its end, and where there is no present field.
    /// A piece is a slice of the form's buffer, as large as the last read made possible.
    pub fn next_piece(&mut self) -> Result<Option<&[u8]>, FormError> {
        let range = self.next_range()?;
        Ok(range.map(|range| self.lend(range)))
    }

    /// As [`Self::next_piece`], for a reader that takes the piece bit by bit: where [`Self::lend`] finds it until the next call.
    pub(crate) fn next_range(&mut self) -> Result<Option<Range<usize>>, FormError> {
        match self {
            Self::Multipart(form) => form.next_range(),
            Self::Urlencoded(form) => form.next_range(),
        }
    }

    /// The bytes of a piece, or of a part of it.
    pub(crate) fn lend(&self, range: Range<usize>) -> &[u8] {
        match self {
            Self::Multipart(form) => form.lend(range),
            Self::Urlencoded(form) => form.lend(range),
        }
    }

    /// The whole rest of the present field's value.
    ///
    /// # Errors
    ///
    /// `Malformed` when it is longer than `limit` bytes, of which no more than `limit` were held in memory.
    pub fn text(&mut self, limit: usize) -> Result<Vec<u8>, FormError> {
        let mut text = Vec::new();
        while let Some(piece) = self.next_piece()? {
            if piece.len() > limit - text.len() {
                return Err(FormError::Malformed("a text field longer than its limit"));
            }
            text.extend_from_slice(piece);
        }
        Ok(text)
    }

    /// Reads and checks everything that is left, to the end of the body. What follows a multipart form's closing
    /// delimiter has no limit of its own: it ends where the body does.
    pub fn drain(&mut self) -> Result<(), FormError> {
        while self.next_field()?.is_some() {}
        match self {
            Self::Multipart(form) => form.skip_epilogue(),
            Self::Urlencoded(_) => Ok(()),
        }
    }
}
