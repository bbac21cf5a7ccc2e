//! Why a request to the store failed.

use std::fmt;
use std::io;

use instant_xml::FromXml;
use time::UtcDateTime;

use super::date;
use crate::authorities;
use crate::timestamp::Timestamp;

/// A difference of clocks that is named as the cause of a refusal, in seconds. Stores refuse a request signed 15 minutes off.
const SKEW: i64 = 120;

/// Why a request failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// The store answered with an error.
    Refused {
        /// The HTTP status.
        status: u16,
        /// The store's code, `AccessDenied`; empty where it gave none.
        code: String,
        /// The store's explanation.
        message: String,
        /// The time here and the store's, if they differ so much that the signature may be refused for it.
        clocks: Option<(Timestamp, Timestamp)>,
    },
    /// No whole answer came: it is not known whether the store did what was asked.
    Unanswered(String),
    /// Nothing was sent: the certificate of the store is not accepted.
    Untrusted {
        /// What is wrong with the certificate: follows the words "the certificate of the store" in a message.
        fault: String,
        /// What to do about it.
        remedy: String,
    },
}

/// The body of an error reply, with or without the namespace of S3.
#[derive(Debug, FromXml)]
#[xml(rename = "Error")]
struct ErrorBody {
    #[xml(rename = "Code")]
    code: Option<String>,
    #[xml(rename = "Message")]
    message: Option<String>,
}

/// An [`ErrorBody`] of stores that use the namespace for errors, too.
#[derive(Debug, FromXml)]
#[xml(rename = "Error", ns("http://s3.amazonaws.com/doc/2006-03-01/"))]
struct NamespacedErrorBody {
    #[xml(rename = "Code")]
    code: Option<String>,
    #[xml(rename = "Message")]
    message: Option<String>,
}

impl Failure {
    /// The error of a request that got no answer.
    pub(super) fn of_request(error: &ureq::Error) -> Self {
        match authorities::rejection(error) {
            Some(reason) => Self::Untrusted {
                fault: authorities::fault(reason),
                remedy: authorities::remedy(reason, "[storage] ca_file", "[storage] endpoint"),
            },
            None => Self::Unanswered(cause(error)),
        }
    }

    /// The error of a reply with this status, `Date` header and body.
    pub(super) fn refused(
        status: u16,
        store_date: Option<&str>,
        body: &str,
        now: UtcDateTime,
    ) -> Self {
        let (code, message) = match instant_xml::from_str::<ErrorBody>(body) {
            Ok(error) => (error.code, error.message),
            Err(_) => match instant_xml::from_str::<NamespacedErrorBody>(body) {
                Ok(error) => (error.code, error.message),
                Err(_) => (None, None),
            },
        };
        let here = Timestamp::from(now);
        let clocks = store_date
            .and_then(date::parse)
            .map(|store| (here, store))
            .filter(|(here, store)| (here.0 - store.0).abs() > SKEW && matches!(status, 400 | 403));
        Self::Refused {
            status,
            code: code.unwrap_or_default(),
            message: message.unwrap_or_default(),
            clocks,
        }
    }

    /// The HTTP status; `None` if no whole answer came.
    pub(super) const fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            Self::Unanswered(_) | Self::Untrusted { .. } => None,
        }
    }

    /// Whether the bucket is there, and the object is not.
    pub(super) fn is_missing_object(&self) -> bool {
        matches!(self, Self::Refused { status: 404, code, .. } if code != "NoSuchBucket")
    }

    /// Whether the same request may succeed a moment later.
    pub(super) fn is_transient(&self) -> bool {
        match self {
            Self::Unanswered(_) => true,
            Self::Untrusted { .. } => false,
            Self::Refused { status, code, .. } => {
                is_transient_code(code)
                    || matches!(status, 408 | 429 | 500 | 502 | 503 | 504)
                        && !FULL.contains(&code.as_str())
            }
        }
    }

    /// Whether it is not known whether the store did what was asked.
    pub(super) const fn is_unknown(&self) -> bool {
        match self {
            Self::Unanswered(_) => true,
            Self::Untrusted { .. } => false,
            Self::Refused { status, .. } => *status >= 500,
        }
    }
}

/// Error codes of a full store.
const FULL: [&str; 4] = [
    "QuotaExceeded",
    "InsufficientStorage",
    "XMinioStorageFull",
    "StorageFull",
];

/// Whether a request that was refused with this code may succeed a moment later, whatever its status.
pub(super) fn is_transient_code(code: &str) -> bool {
    matches!(
        code,
        "SlowDown"
            | "InternalError"
            | "ServiceUnavailable"
            | "RequestTimeout"
            | "OperationAborted"
            | "ConditionalRequestConflict"
    )
}

/// One sentence without the address of the store, which the caller names.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unanswered(cause) => write!(f, "the store did not answer: {cause}"),
            Self::Untrusted { fault, remedy } => {
                write!(f, "the certificate of the store {fault}; {remedy}")
            }
            Self::Refused {
                clocks: Some((here, store)),
                ..
            } => write!(
                f,
                "the clock of this host says {here} and that of the store {store}: the store refuses signatures of another time; set the \
                 clock, and keep it with NTP"
            ),
            Self::Refused {
                status,
                code,
                message,
                ..
            } => {
                let what = match (*status, code.as_str()) {
                    (404, "NoSuchBucket") => "there is no such bucket",
                    (_, "InvalidAccessKeyId") => {
                        "the store does not know the access key of [storage] key_file"
                    }
                    (_, "SignatureDoesNotMatch") => {
                        "the secret of [storage] key_file is not that of its access key, or [storage] region is wrong"
                    }
                    (301 | 307, _) | (_, "PermanentRedirect" | "AuthorizationHeaderMalformed") => {
                        "the bucket belongs to another [storage] region or endpoint"
                    }
                    (403, _) => "the access key of [storage] key_file may not do this",
                    (404, "") => {
                        "there is no such bucket or object, or what answers is not an S3-compatible store"
                    }
                    (404, _) => "there is no such object",
                    (507, _) => "the store is full",
                    (503 | 429, _) => "the store is busy",
                    (500.., _) => "the store failed, and its log says why",
                    _ => "the store failed",
                };
                write!(f, "{what} (status {status}")?;
                for part in [code, message] {
                    if !part.is_empty() {
                        write!(f, ", {}", printable(part))?;
                    }
                }
                f.write_str(")")
            }
        }
    }
}

/// Why no answer came, without the name of the HTTP client's error.
fn cause(error: &ureq::Error) -> String {
    let text = error.to_string();
    if text.contains("InvalidContentType") {
        return "it does not speak TLS: is [storage] endpoint to begin with http:// instead?"
            .to_owned();
    }
    text.strip_prefix("io: ").unwrap_or(&text).to_owned()
}

/// A text of the store for the log: at most 200 characters, none of them a control character.
fn printable(text: &str) -> String {
    let characters = text.chars().take(200);
    characters
        .map(|character| {
            if character.is_control() {
                ' '
            } else {
                character
            }
        })
        .collect()
}

/// The kind [`io::ErrorKind::ResourceBusy`] says that the store is out of reach, so that the same request may succeed later.
impl From<Failure> for io::Error {
    fn from(failure: Failure) -> Self {
        let kind = match &failure {
            Failure::Refused { status, code, .. }
                if *status == 507 || FULL.contains(&code.as_str()) =>
            {
                io::ErrorKind::StorageFull
            }
            Failure::Untrusted { .. } => io::ErrorKind::ResourceBusy,
            failure if failure.is_transient() => io::ErrorKind::ResourceBusy,
            Failure::Refused { status: 404, .. } => io::ErrorKind::NotFound,
            Failure::Refused {
                status: 401 | 403, ..
            } => io::ErrorKind::PermissionDenied,
            _ => io::ErrorKind::Other,
        };
        Self::new(kind, failure.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::utc_datetime;

    const NOW: UtcDateTime = utc_datetime!(2026-04-05 12:00);

    fn refused(status: u16, code: &str) -> Failure {
        let body = format!(
            "<?xml version=\"1.0\"?>\n<Error><Code>{code}</Code><Message>Why\n not</Message><Key>x</Key></Error>"
        );
        Failure::refused(status, Some("Sun, 05 Apr 2026 12:00:30 GMT"), &body, NOW)
    }

    #[test]
    fn an_error_has_the_code_of_the_store() {
        let failure = refused(403, "AccessDenied");
        assert_eq!(
            failure.to_string(),
            "the access key of [storage] key_file may not do this (status 403, AccessDenied, Why  not)"
        );
        let namespaced = "<Error xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Code>NoSuchBucket</Code></Error>";
        let failure = Failure::refused(404, None, namespaced, NOW);
        assert_eq!(
            failure.to_string(),
            "there is no such bucket (status 404, NoSuchBucket)"
        );
        for body in ["", "<html>", "{}", "<Error>", "<Error/>"] {
            let failure = Failure::refused(403, None, body, NOW);
            assert!(failure.to_string().ends_with("(status 403)"), "{failure}");
        }
    }

    #[test]
    fn clocks_that_differ_are_named_with_both_times() {
        let failure = Failure::refused(403, Some("Sun, 05 Apr 2026 13:00:00 GMT"), "", NOW);
        let text = failure.to_string();
        for needle in ["2026-04-05T12:00:00Z", "2026-04-05T13:00:00Z", "NTP"] {
            assert!(text.contains(needle), "{text}");
        }
        let busy = Failure::refused(503, Some("Sun, 05 Apr 2026 13:00:00 GMT"), "", NOW);
        assert!(!busy.to_string().contains("clock"), "{busy}");
    }

    #[test]
    fn what_may_succeed_later_is_busy_and_nothing_else() {
        for (status, code, kind) in [
            (503, "SlowDown", io::ErrorKind::ResourceBusy),
            (500, "InternalError", io::ErrorKind::ResourceBusy),
            (
                409,
                "ConditionalRequestConflict",
                io::ErrorKind::ResourceBusy,
            ),
            (400, "RequestTimeout", io::ErrorKind::ResourceBusy),
            (507, "", io::ErrorKind::StorageFull),
            (500, "XMinioStorageFull", io::ErrorKind::StorageFull),
            (403, "AccessDenied", io::ErrorKind::PermissionDenied),
            (404, "NoSuchKey", io::ErrorKind::NotFound),
            (400, "BadDigest", io::ErrorKind::Other),
        ] {
            let failure = refused(status, code);
            assert_eq!(
                failure.is_transient(),
                kind == io::ErrorKind::ResourceBusy,
                "{failure}"
            );
            assert_eq!(io::Error::from(failure).kind(), kind, "{status} {code}");
        }
        let unanswered = Failure::Unanswered("a timeout".to_owned());
        assert!(unanswered.is_transient() && unanswered.is_unknown());
    }
}
