//! Every error that the API answers with, and what a client does about it.

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
    /// The calls with query parameters.
    Query,
    /// The calls for one image.
    Image,
}

/// An error as the documentation describes it.
pub(crate) struct Documented {
    /// The calls that can reply with it.
    pub(crate) scope: Scope,
    /// The HTTP status.
    pub(crate) status: u16,
    /// The JSON body, from the program itself.
    pub(crate) body: Value,
    /// What happened: HTML without values from outside.
    pub(crate) when: &'static str,
    /// What a client does about it: HTML without values from outside.
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
            when: "Something went wrong on our side",
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

/// The errors in the order of their status. Where a body depends on the plan, it is that of `example`.
pub(crate) fn documented(config: &Config, example: Option<&Plan>) -> Vec<Documented> {
    let mut errors = of_uploads(config, example);
    errors.extend(of_access(config));
    errors.extend(of_the_server());
    errors
}

fn of_uploads(config: &Config, example: Option<&Plan>) -> Vec<Documented> {
    vec![
        Documented::refused(
            Scope::Authenticated,
            &Refusal::MissingParameters(Vec::new()),
            "A parameter is absent or empty, or there is neither <code>image</code> nor <code>image_url</code>",
            "Send all of them, under exactly these names",
        ),
        Documented::refused(
            Scope::Upload,
            &Refusal::BothSources,
            "<code>image</code> and <code>image_url</code> together",
            "Leave one of them out",
        ),
        Documented::refused(
            Scope::Upload,
            &Refusal::InvalidDuration {
                allowed: example.map_or_else(Vec::new, |plan| plan.durations.clone()),
            },
            "Not a duration of your plan",
            "Send one of <code>allowed</code>, in capitals",
        ),
        Documented::refused(
            Scope::Upload,
            &Refusal::FileTooLarge {
                max_size: example.map_or(0, |plan| plan.max_file_size),
            },
            "Larger than your plan takes",
            "Make it smaller than <code>max_size</code> bytes, or ask for a larger plan",
        ),
        Documented::refused(
            Scope::Upload,
            &Refusal::InvalidFileType,
            "Not an image of these types, or a broken one",
            "Convert it to one of <code>allowed</code>; check that the file opens",
        ),
        Documented::refused(
            Scope::Upload,
            &Refusal::DimensionsTooLarge {
                max_side: config.images.max_side,
                max_megapixels: config.images.max_megapixels,
            },
            "More pixels than are taken",
            "Scale it down to fit both numbers",
        ),
        Documented::refused(
            Scope::Upload,
            &Refusal::DownloadFailed,
            "Nothing could be fetched from <code>image_url</code>",
            "Check that the address opens from the internet without signing in, or upload the file",
        ),
        Documented::refused(
            Scope::Every,
            &Refusal::Malformed(""),
            "The body is not a form, or not a whole one",
            "Let a library build the form, and do not set <code>Content-Type</code> yourself",
        ),
        Documented::refused(
            Scope::Query,
            &Refusal::InvalidQuery { parameter: "day" },
            "A <code>parameter</code> of the address is not what the call takes",
            "Write a day as 2026-04-05, a limit as a number up to 1000, <code>after</code> as the last reply's <code>next</code>",
        ),
    ]
}

fn of_access(config: &Config) -> Vec<Documented> {
    let mut errors = vec![
        Documented::refused(
            Scope::Authenticated,
            &Refusal::InvalidClientId,
            "There is no such client",
            "Check the ID for missing letters and spaces; do not retry",
        ),
        Documented::refused(
            Scope::Authenticated,
            &Refusal::InvalidClientToken,
            "Not the token of this client",
            "Check the token, or ask for a new one; do not retry",
        ),
        Documented::refused(
            Scope::Authenticated,
            &Refusal::ClientDisabled,
            "The client has been disabled",
            "Write to support",
        ),
        Documented::refused(
            Scope::Image,
            &Refusal::NotFound,
            "There is nothing at this address",
            "Check the path of the request",
        ),
        Documented::refused(
            Scope::Every,
            &Refusal::MethodNotAllowed { allow: "POST" },
            "Another method than the call has",
            "Use one of those in the header <code>Allow</code>",
        ),
        Documented::refused(
            Scope::Upload,
            &Refusal::QuotaExhausted { retry_after: 0 },
            "All uploads of the day are used up",
            "Go on after midnight UTC, in <code>Retry-After</code> seconds, or ask for a larger plan",
        ),
    ];
    if config.limits.failed_attempts_per_minute > 0 {
        errors.push(Documented::refused(
            Scope::Authenticated,
            &Refusal::TooManyFailedAttempts { retry_after: 0 },
            "Too many wrong IDs or tokens from your address",
            "Mend the credentials, then wait for <code>Retry-After</code>",
        ));
    }
    if config.limits.requests_per_second > 0 {
        errors.push(Documented {
            scope: Scope::Every,
            status: 429,
            body: json!({ "error": "Too many requests" }),
            when: "Too many requests at once from your address",
            advice: "Wait for <code>Retry-After</code>, then send fewer at a time",
        });
    }
    errors
}

fn of_the_server() -> [Documented; 5] {
    let retry = "Try again a little later, waiting longer each time";
    let tell = "Try again later; if it lasts, tell support";
    let cause = || std::io::ErrorKind::Other.into();
    [
        Documented::failed(Scope::Upload, &Fault::CreateDirectory(cause()), retry),
        Documented::failed(Scope::Upload, &Fault::SaveImage(cause()), retry),
        Documented::failed(Scope::Upload, &Fault::InsufficientStorage { free: 0 }, tell),
        Documented::failed(Scope::Every, &Fault::Internal(String::new()), tell),
        Documented::refused(
            Scope::Busy,
            &Refusal::BUSY,
            "More requests than can be taken at the moment",
            "Try again after <code>Retry-After</code> seconds",
        ),
    ]
}

/// What nginx itself refuses before the responder sees it, besides the errors that it shares with the responder.
pub(crate) fn of_the_web_server() -> Vec<Documented> {
    let again = "Try again a little later, waiting longer each time";
    [
        (
            403,
            "Forbidden",
            "The site does not let your address in",
            "Write to support",
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
            "The address of the request is too long",
            "Send the parameters in the body",
        ),
        (
            431,
            "Request header too large",
            "The headers of the request are too large",
            "Send fewer cookies and other headers",
        ),
        (
            501,
            "Not implemented",
            "The body is encoded in a way that is not known",
            "Send it as it is, or chunked",
        ),
        (502, "Bad gateway", "The service is being restarted", again),
        (
            504,
            "Gateway timeout",
            "The service did not answer in time",
            again,
        ),
        (
            505,
            "HTTP version not supported",
            "A version of HTTP that is not known",
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
    fn the_web_server_says_what_is_documented() {
        let nginx = include_str!("../../nginx/corenexis-cdn.http.conf");
        for error in of_the_web_server() {
            let line = format!("/image/.error/{} '{}';", error.status, error.body);
            assert!(nginx.contains(&line), "{line}");
        }
    }
}
