//! The documentation of the errors of the API: causes, and what clients do.

use serde_json::{Value, json};

use crate::config::Config;
use crate::error::{Fault, Refusal};
use crate::plan::Plan;

/// The calls that can reply with an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Every call.
    Every,
    /// Every call but the health report, whose 503 has a body of its own.
    Busy,
    /// The calls that need credentials.
    Authenticated,
    /// The upload.
    Upload,
    /// The calls whose credentials are headers.
    Own,
    /// The calls with query parameters.
    Query,
    /// The calls for one image.
    Image,
    /// The deletion of an image.
    Delete,
}

/// An error as the documentation describes it.
pub(crate) struct Documented {
    /// The calls that can reply with it.
    pub(crate) scope: Scope,
    /// The HTTP status.
    pub(crate) status: u16,
    /// The JSON body.
    pub(crate) body: Value,
    /// The cause, as HTML.
    pub(crate) when: &'static str,
    /// What the client does, as HTML.
    pub(crate) advice: &'static str,
}

impl Documented {
    fn refused(scope: Scope, refusal: &Refusal, when: &'static str, advice: &'static str) -> Self {
        Self {
            scope,
            status: refusal.status(),
            body: refusal.body(),
            when,
            advice,
        }
    }

    fn failed(scope: Scope, fault: &Fault, advice: &'static str) -> Self {
        Self {
            scope,
            status: 500,
            body: json!({ "error": fault.message() }),
            when: "The server failed",
            advice,
        }
    }

    /// The text of the `error` key.
    pub(crate) fn text(&self) -> &str {
        self.body["error"].as_str().unwrap_or_default()
    }

    /// The text as a name: `File too large` is `FileTooLarge`.
    pub(crate) fn name(&self) -> String {
        self.text()
            .split(|character: char| !character.is_ascii_alphanumeric())
            .filter(|word| !word.is_empty())
            .map(|word| word[..1].to_ascii_uppercase() + &word[1..])
            .collect()
    }
}

/// The errors, by status. Bodies that depend on the plan are those of `example`.
pub(crate) fn documented(config: &Config, example: Option<&Plan>) -> Vec<Documented> {
    let mut errors = of_uploads(config, example);
    errors.extend(of_access(config, example));
    errors.extend(of_the_server());
    errors
}

fn of_uploads(config: &Config, example: Option<&Plan>) -> Vec<Documented> {
    vec![
        Documented::refused(
            Scope::Upload,
            &Refusal::MissingParameters(Vec::new()),
            "A parameter is missing or empty, or there is neither <code>image</code> nor <code>image_url</code>",
            "Send all parameters, with exactly these names",
        ),
        Documented::refused(
            Scope::Upload,
            &Refusal::ConflictingCredentials,
            "ID or token differ between the fields and the headers <code>X-Client-Id</code> and <code>X-Client-Token</code>",
            "Send them in one place",
        ),
        Documented::refused(
            Scope::Upload,
            &Refusal::InvalidKey,
            "The header <code>Idempotency-Key</code> is longer than 255 characters, or has others than visible ASCII",
            "Send a random one, such as a UUID",
        ),
        Documented::refused(
            Scope::Upload,
            &Refusal::BothSources,
            "The request has both <code>image</code> and <code>image_url</code>",
            "Send one of them",
        ),
        Documented::refused(
            Scope::Upload,
            &Refusal::InvalidDuration {
                allowed: example.map_or_else(Vec::new, |plan| plan.durations.clone()),
            },
            "Your plan does not have this duration",
            "Send one of <code>allowed</code>, in capitals",
        ),
        Documented::refused(
            Scope::Upload,
            &Refusal::FileTooLarge {
                max_size: example.map_or(0, |plan| plan.max_file_size),
            },
            "The file is larger than your plan allows",
            "Send at most <code>max_size</code> bytes, or ask for a larger plan. A body over twice the largest plan's limit is refused before your plan is known; <code>max_size</code> is then that limit",
        ),
        Documented::refused(
            Scope::Upload,
            &Refusal::InvalidFileType,
            "The file is not an image of these types, or is damaged",
            "Convert the image to one of <code>allowed</code>; check that it opens in a browser",
        ),
        Documented::refused(
            Scope::Upload,
            &Refusal::DimensionsTooLarge {
                max_side: config.images.max_side,
                max_megapixels: config.images.max_megapixels,
            },
            "The image has too many pixels",
            "Scale the image down to both limits",
        ),
        Documented::refused(
            Scope::Upload,
            &Refusal::ImageNotAllowed,
            "The operator has blocked this image",
            "Do not upload it again; ask support if you think that this is a mistake",
        ),
        Documented::refused(
            Scope::Upload,
            &Refusal::DownloadFailed,
            "The server could not download <code>image_url</code>",
            "Check that the URL opens without signing in, from anywhere on the internet, or upload the file",
        ),
        Documented::refused(
            Scope::Every,
            &Refusal::Malformed(""),
            "The body is not a form, or is incomplete",
            "Let a library make the form, and do not set <code>Content-Type</code> yourself",
        ),
        Documented::refused(
            Scope::Query,
            &Refusal::InvalidQuery { parameter: "day" },
            "The value of the query parameter <code>parameter</code> is invalid",
            "<code>day</code> is a date such as 2026-04-05, <code>limit</code> a number up to 1000, <code>after</code> the <code>next</code> and <code>before</code> the <code>previous</code> of a page, of which a request has one",
        ),
    ]
}

fn of_access(config: &Config, example: Option<&Plan>) -> Vec<Documented> {
    let mut errors = vec![
        Documented::refused(
            Scope::Own,
            &Refusal::MissingCredentials,
            "The headers <code>X-Client-Id</code> and <code>X-Client-Token</code> are missing or empty",
            "Send both",
        ),
        Documented::refused(
            Scope::Authenticated,
            &Refusal::InvalidClientId,
            "No client has this ID",
            "Check the ID; do not retry",
        ),
        Documented::refused(
            Scope::Authenticated,
            &Refusal::InvalidClientToken,
            "The token is not the one of this client",
            "Check the token, or ask for a new one; do not retry",
        ),
        Documented::refused(
            Scope::Authenticated,
            &Refusal::ClientDisabled,
            "The operator has disabled the client",
            "Ask support",
        ),
        Documented::refused(
            Scope::Delete,
            &Refusal::InvalidDeleteKey,
            "The key is not the one of this image",
            "Use the whole <code>delete_url</code> of the image, unchanged",
        ),
        Documented::refused(
            Scope::Image,
            &Refusal::NotFound,
            "Nothing has this URL",
            "Check the path",
        ),
        Documented::refused(
            Scope::Every,
            &Refusal::MethodNotAllowed { allow: "POST" },
            "The call does not have this method",
            "Use a method of the header <code>Allow</code>",
        ),
        Documented::refused(
            Scope::Upload,
            &Refusal::UploadInProgress,
            "An upload with the same <code>Idempotency-Key</code> has not ended",
            "Repeat the request after <code>Retry-After</code> seconds; it gets the reply of the first",
        ),
        Documented::refused(
            Scope::Upload,
            &Refusal::KeyReused,
            "Within a day, another image or duration was uploaded with the same <code>Idempotency-Key</code>",
            "Make a new key for each upload",
        ),
        Documented::refused(
            Scope::Upload,
            &Refusal::QuotaExhausted { retry_after: 0 },
            "The daily uploads of the plan are used up",
            "Continue after midnight UTC, in <code>Retry-After</code> seconds, or ask for a larger plan",
        ),
    ];
    let max_storage = example
        .and_then(|plan| plan.max_storage)
        .or_else(|| config.plans.values().find_map(|plan| plan.max_storage));
    if let Some(max_storage) = max_storage {
        errors.push(Documented::refused(
            Scope::Upload,
            &Refusal::StorageExceeded { max_storage },
            "With this image you would have more stored than your plan allows",
            "Delete images or wait until some expire, or ask for a larger plan; <code>max_storage</code> is in bytes",
        ));
    }
    if config.limits.failed_attempts_per_minute > 0 {
        errors.push(Documented::refused(
            Scope::Authenticated,
            &Refusal::TooManyFailedAttempts { retry_after: 0 },
            "Too many wrong IDs, or wrong tokens for this ID, came from your IP address",
            "Correct the credentials, then wait <code>Retry-After</code> seconds",
        ));
    }
    if config.limits.requests_per_second > 0 || config.limits.concurrent_requests > 0 {
        errors.push(Documented {
            scope: Scope::Every,
            status: 429,
            body: json!({ "error": "Too many requests" }),
            when: "Too many requests came from your IP address, or are under way at once",
            advice: "Wait <code>Retry-After</code> seconds, then send fewer requests at a time",
        });
    }
    errors
}

fn of_the_server() -> [Documented; 5] {
    let retry = "Retry, with longer waits each time";
    let tell = "Retry later; if it continues, tell support";
    let cause = || std::io::ErrorKind::Other.into();
    [
        Documented::failed(Scope::Upload, &Fault::CreateDirectory(cause()), retry),
        Documented::failed(Scope::Upload, &Fault::SaveImage(cause()), retry),
        Documented::failed(Scope::Upload, &Fault::InsufficientStorage { free: 0 }, tell),
        Documented::failed(Scope::Every, &Fault::Internal(String::new()), tell),
        Documented::refused(
            Scope::Busy,
            &Refusal::BUSY,
            "The server has too many connections or cannot reach its storage, or your client has too many downloads",
            "Retry after <code>Retry-After</code> seconds",
        ),
    ]
}

/// The errors of nginx that the responder does not have.
pub(crate) fn of_the_web_server() -> Vec<Documented> {
    let again = "Retry, with longer waits each time";
    [
        (
            403,
            "Forbidden",
            "The site refuses your IP address",
            "Ask support",
        ),
        (
            408,
            "Request timed out",
            "The request did not arrive in time",
            again,
        ),
        (
            414,
            "URI too long",
            "The URL is too long",
            "Send the parameters in the body",
        ),
        (
            431,
            "Request header too large",
            "The request headers are too large",
            "Send fewer cookies and other headers",
        ),
        (
            501,
            "Not implemented",
            "The server does not support this transfer coding",
            "Send the body without one, or chunked",
        ),
        (502, "Bad gateway", "The server is restarting", again),
        (
            504,
            "Gateway timeout",
            "The server did not answer in time",
            again,
        ),
        (
            505,
            "HTTP version not supported",
            "The server does not support this HTTP version",
            "Use HTTP/1.1 or HTTP/2",
        ),
    ]
    .map(|(status, error, when, advice)| Documented {
        scope: Scope::Every,
        status,
        body: json!({ "error": error }),
        when,
        advice,
    })
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nginx_sends_the_documented_errors() {
        let nginx = include_str!("../../nginx/corenexis-cdn.http.conf");
        for error in of_the_web_server() {
            let line = format!("/image/.error/{} '{}';", error.status, error.body);
            assert!(nginx.contains(&line), "{line}");
        }
    }
}
