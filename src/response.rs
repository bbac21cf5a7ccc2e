//! Replies: status, headers and body, written as a CGI response (RFC 3875, section 6).

use std::io::Write;

use serde_json::{Value, json};

use crate::error::{Error, Fault, Refusal};
use crate::quota::Quota;

/// Headers that scripts of another origin may read (CORS).
const EXPOSED: &str =
    "X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, Retry-After, X-Request-Id";

/// Request headers that a script of another origin may set. `*` does not count for a request with credentials (Fetch standard, CORS
/// protocol), and never covers `Authorization`.
pub(crate) const ALLOWED_HEADERS: &str = "*, Authorization, Cache-Control, Content-Type, Idempotency-Key, X-Client-Id, X-Client-Token, X-Delete-Key, X-Requested-With";

/// The challenge of a reply with status 401 (RFC 9110, section 11.6.1): the credentials are headers of this API. Browsers do not know the
/// scheme, so they show no password dialog.
pub(crate) const CHALLENGE: &str = "ClientToken realm=\"image\"";

/// A reply.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Response {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Option<Body>,
    /// Whether only nginx reads it.
    is_internal: bool,
}

#[derive(Debug, Clone, PartialEq)]
enum Body {
    Json(Value),
    Text {
        media_type: &'static str,
        text: String,
    },
}

impl Body {
    const fn media_type(&self) -> &'static str {
        match self {
            Self::Json(_) => "application/json",
            Self::Text { media_type, .. } => media_type,
        }
    }
}

impl Response {
    /// A reply with a JSON body.
    pub(crate) const fn json(status: u16, body: Value) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Some(Body::Json(body)),
            is_internal: false,
        }
    }

    /// A reply with status 200 and a text.
    pub(crate) const fn text(media_type: &'static str, text: String) -> Self {
        Self {
            status: 200,
            headers: Vec::new(),
            body: Some(Body::Text { media_type, text }),
            is_internal: false,
        }
    }

    /// A permanent redirect to a URL or an absolute path.
    pub(crate) fn moved(location: String) -> Self {
        Self::empty(301).with("Location", location)
    }

    /// A reply that nginx replaces by that of an internal location (`X-Accel-Redirect`). nginx would carry the other headers of every
    /// reply over to it, so it has none.
    pub(crate) fn internal_redirect(location: impl Into<String>) -> Self {
        Self {
            is_internal: true,
            ..Self::empty(200).with("X-Accel-Redirect", location)
        }
    }

    const fn empty(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: None,
            is_internal: false,
        }
    }

    /// The reply to a CORS preflight request (Fetch standard): any header may be sent, with the methods `allow`.
    pub(crate) fn preflight(allow: &'static str) -> Self {
        Self::empty(204)
            .with("Allow", allow)
            .with("Access-Control-Allow-Methods", allow)
            .with("Access-Control-Allow-Headers", ALLOWED_HEADERS)
            .with("Access-Control-Max-Age", "86400")
    }

    /// The documented reply to an error.
    pub(crate) fn error(error: &Error) -> Self {
        match error {
            Error::Refusal(refusal) => Self::refusal(refusal),
            Error::Fault(fault) => Self::fault(fault),
        }
    }

    /// The documented reply to a refusal.
    pub(crate) fn refusal(refusal: &Refusal) -> Self {
        let reply = Self::json(refusal.status(), refusal.body());
        let reply = match refusal.retry_after() {
            Some(seconds) => reply.with("Retry-After", seconds.to_string()),
            None => reply,
        };
        match refusal {
            Refusal::MethodNotAllowed { allow } => reply.with("Allow", *allow),
            Refusal::MissingCredentials => reply.with("WWW-Authenticate", CHALLENGE),
            _ => reply,
        }
    }

    /// The documented reply to a fault; its cause is for the log only.
    pub(crate) fn fault(fault: &Fault) -> Self {
        let reply = Self::json(fault.status(), json!({ "error": fault.message() }));
        match fault.retry_after() {
            Some(seconds) => reply.with("Retry-After", seconds.to_string()),
            None => reply,
        }
    }

    /// Adds a header. `value` must be free of line breaks.
    #[must_use]
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Adds the `X-RateLimit` headers.
    #[must_use]
    pub(crate) fn with_quota(self, quota: Quota) -> Self {
        self.with("X-RateLimit-Limit", quota.limit.to_string())
            .with("X-RateLimit-Remaining", quota.remaining().to_string())
            .with("X-RateLimit-Reset", quota.resets_at.0.to_string())
    }

    /// The HTTP status.
    pub(crate) const fn status(&self) -> u16 {
        self.status
    }

    /// The bytes of a CGI response, with the headers of every reply to a client.
    pub(crate) fn to_cgi(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(768);
        let mut header = |name: &str, value: &str| {
            // A line break would allow header injection; no value here can have one.
            debug_assert!(!value.contains(['\r', '\n']), "{name}: {value:?}");
            let _ = write!(out, "{name}: {value}\r\n");
        };
        header(
            "Status",
            &format!("{} {}", self.status, reason_phrase(self.status)),
        );
        if let Some(body) = &self.body {
            header("Content-Type", body.media_type());
        }
        if !self.is_internal {
            header("Access-Control-Allow-Origin", "*");
            header("Access-Control-Expose-Headers", EXPOSED);
            header("Cache-Control", "no-store");
            header("X-Content-Type-Options", "nosniff");
        }
        for (name, value) in &self.headers {
            header(name, value);
        }
        let body = match &self.body {
            Some(Body::Json(value)) => value.to_string(),
            Some(Body::Text { text, .. }) => text.clone(),
            None => String::new(),
        };
        if self.body.is_some() {
            header("Content-Length", &body.len().to_string());
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(body.as_bytes());
        out
    }
}

/// The reason phrase of a status (RFC 9110, section 15).
const fn reason_phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        204 => "No Content",
        301 => "Moved Permanently",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        409 => "Conflict",
        422 => "Unprocessable Content",
        429 => "Too Many Requests",
        503 => "Service Unavailable",
        _ => "Internal Server Error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timestamp::Timestamp;

    fn text(response: &Response) -> String {
        String::from_utf8(response.to_cgi()).expect("UTF-8")
    }

    #[test]
    fn a_reply_is_a_cgi_response() {
        let reply = text(&Response::json(
            200,
            json!({ "status": "success", "url": "https://a/p/d/ap5/AbCdEf.png" }),
        ));
        let (head, body) = reply.split_once("\r\n\r\n").expect("a head and a body");
        assert_eq!(
            body,
            r#"{"status":"success","url":"https://a/p/d/ap5/AbCdEf.png"}"#
        );
        assert!(
            head.starts_with("Status: 200 OK\r\nContent-Type: application/json\r\n"),
            "{head}"
        );
        assert!(
            head.contains(&format!("Content-Length: {}", body.len())),
            "{head}"
        );
        assert!(head.contains("Access-Control-Allow-Origin: *"), "{head}");
    }

    #[test]
    fn refusals_carry_their_headers() {
        let reply = text(
            &Response::refusal(&Refusal::QuotaExhausted { retry_after: 77 }).with_quota(Quota {
                limit: 50,
                used: 60,
                resets_at: Timestamp(1_700_000_000),
            }),
        );
        for line in [
            "Status: 429 Too Many Requests",
            "Retry-After: 77",
            "X-RateLimit-Limit: 50",
            "X-RateLimit-Remaining: 0",
            "X-RateLimit-Reset: 1700000000",
        ] {
            assert!(
                reply.contains(&format!("{line}\r\n")),
                "{line} is not in {reply}"
            );
        }
        let reply = text(&Response::refusal(&Refusal::MethodNotAllowed {
            allow: "POST, OPTIONS",
        }));
        assert!(reply.contains("Allow: POST, OPTIONS\r\n"), "{reply}");
    }

    #[test]
    fn a_fault_tells_the_client_nothing_of_its_cause() {
        let reply = text(&Response::fault(&Fault::Internal(
            "disk /dev/sda1 is on fire".to_owned(),
        )));
        assert!(
            reply.ends_with(r#"{"error":"Internal server error"}"#),
            "{reply}"
        );
        assert!(!reply.contains("fire"), "{reply}");
    }

    #[test]
    fn a_preflight_has_no_body() {
        let reply = text(&Response::preflight("POST, OPTIONS"));
        assert!(
            reply.starts_with("Status: 204 No Content\r\nAccess-Control-Allow-Origin: *\r\n"),
            "{reply}"
        );
        assert!(
            reply.ends_with("\r\n\r\n") && !reply.contains("\r\nContent-Type"),
            "{reply}"
        );
    }
}
