//! The known fields of an upload form, each at most once.

use std::io::Read;

use super::receive::Received;
use crate::authentication::Credentials;
use crate::error::{Error, Fault, Refusal};
use crate::fetch::url::MAX_URL;
use crate::form::{Field, Form, FormError};

/// The longest `client_id`, `client_token` and `store_duration`, in bytes.
const MAX_TEXT_BYTES: usize = 256;

/// The known fields; others are ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Name {
    ClientId,
    ClientToken,
    StoreDuration,
    ImageUrl,
    Image,
}

impl Name {
    pub(super) fn of(field: &Field) -> Option<Self> {
        match field.name.as_slice() {
            b"client_id" => Some(Self::ClientId),
            b"client_token" => Some(Self::ClientToken),
            b"store_duration" => Some(Self::StoreDuration),
            b"image_url" => Some(Self::ImageUrl),
            b"image" => Some(Self::Image),
            _ => None,
        }
    }
}

/// The field `image`.
#[derive(Debug)]
pub(super) enum Image {
    /// Without a file name and without bytes: what a browser sends when no file was chosen.
    Absent,
    /// A file that was read to its end.
    File(Received),
}

/// Where the image comes from.
#[derive(Debug)]
pub(super) enum Source {
    File(Received),
    Url(Vec<u8>),
}

/// The fields that have come so far, and the credentials of the headers.
#[derive(Debug)]
pub(super) struct Submission<'a> {
    headers: Credentials<'a>,
    client_id: Option<Vec<u8>>,
    client_token: Option<Vec<u8>>,
    store_duration: Option<Vec<u8>>,
    image_url: Option<Vec<u8>>,
    image: Option<Image>,
}

impl<'a> Submission<'a> {
    /// No fields yet; the credentials of the headers may be empty.
    pub(super) const fn new(headers: Credentials<'a>) -> Self {
        Self {
            headers,
            client_id: None,
            client_token: None,
            store_duration: None,
            image_url: None,
            image: None,
        }
    }

    /// Reads a text field.
    pub(super) fn read<R: Read>(&mut self, name: Name, form: &mut Form<R>) -> Result<(), Error> {
        let slot = match name {
            Name::ClientId => &mut self.client_id,
            Name::ClientToken => &mut self.client_token,
            Name::StoreDuration => &mut self.store_duration,
            Name::ImageUrl => &mut self.image_url,
            Name::Image => return Ok(()),
        };
        let value = if name == Name::ImageUrl {
            beginning(form, MAX_URL + 1)?
        } else {
            form.text(MAX_TEXT_BYTES)?
        };
        set_once(slot, trimmed(&value).to_vec())
    }

    pub(super) fn set_image(&mut self, image: Image) -> Result<(), Error> {
        set_once(&mut self.image, image)
    }

    /// Whether the fields that authorization needs have come.
    pub(super) const fn can_be_authorized(&self) -> bool {
        let Credentials {
            client_id,
            client_token,
        } = self.headers;
        (self.client_id.is_some() || !client_id.is_empty())
            && (self.client_token.is_some() || !client_token.is_empty())
            && self.store_duration.is_some()
    }

    /// The credentials and the duration. Credentials may come in fields, in headers, or in both if they are the same.
    pub(super) fn required(&self) -> Result<(Credentials<'_>, &[u8]), Refusal> {
        let value = |field| Option::as_deref(field).unwrap_or_default();
        let client_id = either(value(&self.client_id), self.headers.client_id)?;
        let client_token = either(value(&self.client_token), self.headers.client_token)?;
        let store_duration = value(&self.store_duration);
        Refusal::if_missing(&[
            ("client_id", client_id),
            ("client_token", client_token),
            ("store_duration", store_duration),
        ])?;
        let credentials = Credentials {
            client_id,
            client_token,
        };
        Ok((credentials, store_duration))
    }

    /// The one source of the image.
    pub(super) fn source(self) -> Result<Source, Refusal> {
        let url = self.image_url.filter(|url| !url.is_empty());
        match (self.image, url) {
            (Some(Image::File(_)), Some(_)) => Err(Refusal::BothSources),
            (Some(Image::File(file)), None) => Ok(Source::File(file)),
            (_, Some(url)) => Ok(Source::Url(url)),
            (_, None) => Err(Refusal::MissingParameters(vec!["image or image_url"])),
        }
    }
}

/// The value of a field or that of its header.
fn either<'a>(field: &'a [u8], header: &'a [u8]) -> Result<&'a [u8], Refusal> {
    match (field, header) {
        (b"", header) => Ok(header),
        (field, b"") => Ok(field),
        (field, header) if field == header => Ok(field),
        _ => Err(Refusal::ConflictingCredentials),
    }
}

fn set_once<T>(slot: &mut Option<T>, value: T) -> Result<(), Error> {
    if slot.is_some() {
        return Err(Refusal::Malformed("a field came twice").into());
    }
    *slot = Some(value);
    Ok(())
}

/// The value without the white space around it, which people paste along with a token: any of Unicode, or ASCII where it is not UTF-8.
fn trimmed(value: &[u8]) -> &[u8] {
    match str::from_utf8(value) {
        Ok(text) => text.trim().as_bytes(),
        Err(_) => value.trim_ascii(),
    }
}

/// The first `limit` bytes of a value; the rest is read and dropped. A URL that is too long is a failed download, not a malformed form.
fn beginning<R: Read>(form: &mut Form<R>, limit: usize) -> Result<Vec<u8>, FormError> {
    let mut value = Vec::new();
    while let Some(piece) = form.next_piece()? {
        let taken = piece.len().min(limit - value.len());
        value.extend_from_slice(&piece[..taken]);
    }
    Ok(value)
}

impl From<FormError> for Error {
    fn from(error: FormError) -> Self {
        match error {
            FormError::Malformed(rule) => Refusal::Malformed(rule).into(),
            // The FastCGI layer says so of a body that does not have the length that was announced.
            FormError::Read(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                Refusal::Malformed("the body is not as long as announced").into()
            }
            FormError::Read(error) => {
                Fault::Internal(format!("the request's body could not be read: {error}")).into()
            }
        }
    }
}
