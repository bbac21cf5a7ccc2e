//! Parses HTML forms: `multipart/form-data` and `application/x-www-form-urlencoded`.
//!
//! [`open`] reads the content type and returns a [`Form`], which yields one field after the other and a field's value in pieces, so
//! that a file of any size passes through one buffer. The parsers know no field by name.
//!
//! Ambiguous bodies are refused: two parsers that disagree about the end of a part let an upload bypass checks. Every limit is a
//! constant of these modules. The outcome depends only on the bytes of the body, not on how reads split them or on the buffer's size.

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

/// The most fields of one form.
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

/// The headers of a field.
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
/// After an error every later call fails too. The exception is a [`Form::text`] over its limit, after which the form can be read on.
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
    /// Goes to the next field; reads, checks and drops the rest of the current value. `None` after the last field: a multipart form
    /// then had its closing delimiter.
    pub fn next_field(&mut self) -> Result<Option<Field>, FormError> {
        match self {
            Self::Multipart(form) => form.next_field(),
            Self::Urlencoded(form) => form.next_field(),
        }
    }

    /// The next piece of the current field's value, never empty; `None` at its end, and without a current field. A piece is a slice of
    /// the form's buffer.
    pub fn next_piece(&mut self) -> Result<Option<&[u8]>, FormError> {
        let range = self.next_range()?;
        Ok(range.map(|range| self.lend(range)))
    }

    /// As [`Self::next_piece`], but gives the range of the piece in the buffer, valid for [`Self::lend`] until the next call.
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

    /// The rest of the current field's value.
    ///
    /// # Errors
    ///
    /// `Malformed` if it is longer than `limit` bytes; no more than `limit` bytes are held in memory.
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

    /// Reads and checks the rest of the body. The epilogue of a multipart form has no limit of its own.
    pub fn drain(&mut self) -> Result<(), FormError> {
        while self.next_field()?.is_some() {}
        match self {
            Self::Multipart(form) => form.skip_epilogue(),
            Self::Urlencoded(_) => Ok(()),
        }
    }
}
