//! The errors of a request.
//!
//! A [`Refusal`] is the client's error (status 4xx, or 503): it has a documented status and body. A [`Fault`] is the server's error
//! (status 500, or 503): the reply has one of five documented texts, the log has the cause. A function that can only refuse returns a
//! `Refusal`, one that can only fail a `Fault`, the upload pipeline either, as [`Error`].

use std::fmt;
use std::io;

use serde_json::{Value, json};

use crate::expiry::StoreDuration;
use crate::image::ImageType;
use crate::image_path::content_type_of;

/// The error of a request.
#[derive(Debug)]
pub(crate) enum Error {
    /// The client's error.
    Refusal(Refusal),
    /// The server's error.
    Fault(Fault),
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::Refusal(refusal)
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// A request that is answered with a documented error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// These fields are absent or empty. The names are for the log.
    MissingParameters(Vec<&'static str>),
    /// Both `image` and `image_url`.
    BothSources,
    /// `store_duration` is unknown or not of the plan.
    InvalidDuration {
        /// The durations of the plan.
        allowed: Vec<StoreDuration>,
    },
    /// Larger than the plan allows.
    FileTooLarge {
        /// The plan's limit, in bytes.
        max_size: u64,
    },
    /// Not a JPEG, PNG, GIF or WebP image.
    InvalidFileType,
    /// Larger in pixels than the service allows.
    DimensionsTooLarge {
        /// The longest side, in pixels.
        max_side: u32,
        /// Width × height, in megapixels.
        max_megapixels: u32,
    },
    /// Its bytes are blocked.
    ImageNotAllowed,
    /// The image at `image_url` could not be downloaded, for any reason.
    DownloadFailed,
    /// The body is not the form that its content type says. The text is for the log.
    Malformed(&'static str),
    /// An invalid parameter in the query string.
    InvalidQuery {
        /// Its name.
        parameter: &'static str,
    },
    /// The header `Idempotency-Key` is no key.
    InvalidKey,
    /// The credentials of the headers differ from those of the fields.
    ConflictingCredentials,
    /// The headers have no credentials.
    MissingCredentials,
    /// There is no client with this id.
    InvalidClientId,
    /// The token is not the client's.
    InvalidClientToken,
    /// The token is right, and the client is disabled.
    ClientDisabled,
    /// The delete key is not the one of the image.
    InvalidDeleteKey,
    /// The client would have more stored than its plan allows.
    StorageExceeded {
        /// The plan's limit, in bytes.
        max_storage: u64,
    },
    /// An upload with the same `Idempotency-Key` has not ended.
    UploadInProgress,
    /// Another upload had the same `Idempotency-Key`.
    KeyReused,
    /// No such path below `/image/v2/`.
    NotFound,
    /// The path does not support this method.
    MethodNotAllowed {
        /// The supported methods, as the value of `Allow`.
        allow: &'static str,
    },
    /// The daily quota of the plan is used up.
    QuotaExhausted {
        /// Seconds to the next UTC midnight.
        retry_after: u64,
    },
    /// Too many wrong tokens for one client from this address, or too many wrong ids.
    TooManyFailedAttempts {
        /// Seconds until the address may try again.
        retry_after: u64,
    },
    /// Over the connection cap, or no slot for another download.
    ServerBusy {
        /// Seconds until another attempt makes sense.
        retry_after: u64,
    },
}

impl Refusal {
    /// The reply to a connection over the cap, which may find a place at the next attempt.
    pub(crate) const BUSY: Self = Self::ServerBusy { retry_after: 1 };

    /// The HTTP status of the reply.
    pub(crate) const fn status(&self) -> u16 {
        match self {
            Self::MissingParameters(_)
            | Self::BothSources
            | Self::InvalidDuration { .. }
            | Self::FileTooLarge { .. }
            | Self::InvalidFileType
            | Self::DimensionsTooLarge { .. }
            | Self::ImageNotAllowed
            | Self::DownloadFailed
            | Self::Malformed(_)
            | Self::InvalidKey
            | Self::ConflictingCredentials
            | Self::InvalidQuery { .. } => 400,
            Self::MissingCredentials => 401,
            Self::InvalidClientId
            | Self::InvalidClientToken
            | Self::ClientDisabled
            | Self::InvalidDeleteKey
            | Self::StorageExceeded { .. } => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed { .. } => 405,
            Self::UploadInProgress => 409,
            Self::KeyReused => 422,
            Self::QuotaExhausted { .. } | Self::TooManyFailedAttempts { .. } => 429,
            Self::ServerBusy { .. } => 503,
        }
    }

    /// The text of the `error` key.
    pub(crate) const fn message(&self) -> &'static str {
        match self {
            Self::MissingParameters(_) => "Missing required parameters",
            Self::BothSources => "Provide either image or image_url, not both",
            Self::InvalidDuration { .. } => "Invalid storage duration",
            Self::FileTooLarge { .. } => "File too large",
            Self::InvalidFileType => "Invalid file type",
            Self::DimensionsTooLarge { .. } => "Image dimensions too large",
            Self::ImageNotAllowed => "Image not allowed",
            Self::DownloadFailed => "Failed to download image",
            Self::Malformed(_) => "Malformed request body",
            Self::InvalidQuery { .. } => "Invalid query",
            Self::InvalidKey => "Invalid idempotency key",
            Self::ConflictingCredentials => "Conflicting credentials",
            Self::MissingCredentials => "Missing credentials",
            Self::StorageExceeded { .. } => "Storage limit reached",
            Self::UploadInProgress => "Upload in progress",
            Self::KeyReused => "Idempotency key used for another upload",
            Self::InvalidClientId => "Invalid client ID",
            Self::InvalidClientToken => "Invalid client token",
            Self::ClientDisabled => "Client disabled",
            Self::InvalidDeleteKey => "Invalid delete key",
            Self::NotFound => "Not found",
            Self::MethodNotAllowed { .. } => "Method not allowed",
            Self::QuotaExhausted { .. } => "Daily upload limit reached",
            Self::TooManyFailedAttempts { .. } => "Too many failed attempts",
            Self::ServerBusy { .. } => "Server busy",
        }
    }

    /// The JSON body of the reply: `error` first, then the limit or the permitted values.
    pub(crate) fn body(&self) -> Value {
        let error = self.message();
        match self {
            Self::InvalidDuration { allowed } => {
                let codes: Vec<_> = allowed.iter().map(|duration| duration.code()).collect();
                json!({ "error": error, "allowed": codes })
            }
            Self::FileTooLarge { max_size } => json!({ "error": error, "max_size": max_size }),
            Self::InvalidFileType => {
                json!({ "error": error, "allowed": ImageType::ALL.map(content_type_of) })
            }
            Self::DimensionsTooLarge {
                max_side,
                max_megapixels,
            } => {
                json!({ "error": error, "max_side": max_side, "max_megapixels": max_megapixels })
            }
            Self::StorageExceeded { max_storage } => {
                json!({ "error": error, "max_storage": max_storage })
            }
            Self::InvalidQuery { parameter } => json!({ "error": error, "parameter": parameter }),
            _ => json!({ "error": error }),
        }
    }

    /// Fails with [`Self::MissingParameters`] if any of these fields is empty.
    pub(crate) fn if_missing(fields: &[(&'static str, &[u8])]) -> Result<(), Self> {
        let missing: Vec<_> = fields
            .iter()
            .filter(|(_, value)| value.is_empty())
            .map(|(name, _)| *name)
            .collect();
        if missing.is_empty() {
            Ok(())
        } else {
            Err(Self::MissingParameters(missing))
        }
    }

    /// What the log says beside [`Self::message`].
    pub(crate) fn cause(&self) -> Option<String> {
        match self {
            Self::Malformed(rule) => Some((*rule).to_owned()),
            Self::MissingParameters(names) => {
                Some(format!("missing or empty: {}", names.join(", ")))
            }
            _ => None,
        }
    }

    /// Seconds for the `Retry-After` header, if the reply has one.
    pub(crate) const fn retry_after(&self) -> Option<u64> {
        match self {
            Self::QuotaExhausted { retry_after }
            | Self::TooManyFailedAttempts { retry_after }
            | Self::ServerBusy { retry_after } => Some(*retry_after),
            Self::UploadInProgress => Some(1),
            _ => None,
        }
    }
}

/// Seconds after which a request is worth another attempt that found the ledger or the store out of reach.
const UNAVAILABLE_FOR: u64 = 5;

/// An error of the server. The reply has [`Fault::status`] and [`Fault::message`]; [`fmt::Display`] is for the log.
#[derive(Debug)]
pub(crate) enum Fault {
    /// A directory of the docroot could not be created.
    CreateDirectory(io::Error),
    /// The image could not be written or renamed.
    SaveImage(io::Error),
    /// The file system has less than `min_free` free, or is full.
    InsufficientStorage {
        /// Bytes free now.
        free: u64,
    },
    /// The ledger cannot grow: its file system is full.
    LedgerFull(String),
    /// The ledger or the store is out of reach; the same request may succeed later.
    Unavailable(String),
    /// The ledger could not be read or written, or anything else.
    Internal(String),
}

impl Fault {
    /// Classifies an error of the store: a full disk or quota is [`Fault::InsufficientStorage`], a store out of reach, which has the kind
    /// [`io::ErrorKind::ResourceBusy`], is [`Fault::Unavailable`].
    pub(crate) fn saving(error: io::Error) -> Self {
        if is_full(&error) {
            Self::InsufficientStorage { free: 0 }
        } else if error.kind() == io::ErrorKind::ResourceBusy {
            Self::Unavailable(error.to_string())
        } else {
            Self::SaveImage(error)
        }
    }

    /// Classifies an error of creating a directory as [`Fault::saving`] does.
    pub(crate) fn directory(error: io::Error) -> Self {
        if is_full(&error) {
            Self::InsufficientStorage { free: 0 }
        } else {
            Self::CreateDirectory(error)
        }
    }

    /// The text of the `error` key.
    pub(crate) const fn message(&self) -> &'static str {
        match self {
            Self::CreateDirectory(_) => "Failed to create directory",
            Self::SaveImage(_) => "Failed to save image",
            Self::InsufficientStorage { .. } | Self::LedgerFull(_) => "Insufficient storage",
            Self::Unavailable(_) => "Server busy",
            Self::Internal(_) => "Internal server error",
        }
    }

    /// The HTTP status of the reply.
    pub(crate) const fn status(&self) -> u16 {
        match self {
            Self::Unavailable(_) => 503,
            _ => 500,
        }
    }

    /// Seconds for the `Retry-After` header, if the reply has one.
    pub(crate) const fn retry_after(&self) -> Option<u64> {
        match self {
            Self::Unavailable(_) => Some(UNAVAILABLE_FOR),
            _ => None,
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreateDirectory(error) => {
                write!(f, "a directory of the docroot could not be made: {error}")
            }
            Self::SaveImage(error) => write!(f, "the image could not be saved: {error}"),
            Self::InsufficientStorage { free } => {
                write!(f, "the docroot's file system has {free} bytes free")
            }
            Self::LedgerFull(cause) | Self::Unavailable(cause) | Self::Internal(cause) => {
                f.write_str(cause)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_the_documented_ones() {
        let cases = [
            (
                Refusal::MissingParameters(vec!["client_id"]),
                r#"{"error":"Missing required parameters"}"#,
            ),
            (
                Refusal::InvalidFileType,
                r#"{"error":"Invalid file type","allowed":["image/jpeg","image/png","image/gif","image/webp"]}"#,
            ),
            (
                Refusal::FileTooLarge {
                    max_size: 5_242_880,
                },
                r#"{"error":"File too large","max_size":5242880}"#,
            ),
            (
                Refusal::InvalidDuration {
                    allowed: vec![
                        StoreDuration::Days7,
                        StoreDuration::Month1,
                        StoreDuration::Months3,
                    ],
                },
                r#"{"error":"Invalid storage duration","allowed":["7D","1M","3M"]}"#,
            ),
            (
                Refusal::DimensionsTooLarge {
                    max_side: 32768,
                    max_megapixels: 64,
                },
                r#"{"error":"Image dimensions too large","max_side":32768,"max_megapixels":64}"#,
            ),
        ];
        for (refusal, body) in cases {
            assert_eq!(refusal.body().to_string(), body);
        }
    }
}
