//! Every error that the API answers with, and what a client does about it.

use serde_json::{Value, json};

use crate::config::Config;
use crate::error::{Fault, Refusal};
use crate::plan::Plan;

/// An error as the documentation describes it.
pub(crate) struct Documented {
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
    fn refused(refusal: &Refusal, when: &'static str, advice: &'static str) -> Self {
        Self {
            status: refusal.status(),
            body: refusal.body(),
            when,
            advice,
        }
    }

    fn failed(fault: &Fault, advice: &'static str) -> Self {
        Self {
            status: 500,
            body: json!({ "error": fault.message() }),
            when: "Something went wrong on our side",
            advice,
        }
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
            &Refusal::MissingParameters,
            "A parameter is absent or empty, or there is neither <code>image</code> nor <code>image_url</code>",
            "Send all of them, under exactly these names",
        ),
        Documented::refused(
            &Refusal::BothSources,
            "<code>image</code> and <code>image_url</code> together",
            "Leave one of them out",
        ),
        Documented::refused(
            &Refusal::InvalidDuration {
                allowed: example.map_or_else(Vec::new, |plan| plan.durations.clone()),
            },
            "Not a duration of your plan",
            "Send one of <code>allowed</code>, in capitals",
        ),
        Documented::refused(
            &Refusal::FileTooLarge {
                max_size: example.map_or(0, |plan| plan.max_file_size),
            },
            "Larger than your plan takes",
            "Make it smaller than <code>max_size</code> bytes, or ask for a larger plan",
        ),
        Documented::refused(
            &Refusal::InvalidFileType,
            "Not an image of these types, or a broken one",
            "Convert it to one of <code>allowed</code>; check that the file opens",
        ),
        Documented::refused(
            &Refusal::DimensionsTooLarge {
                max_side: config.images.max_side,
                max_megapixels: config.images.max_megapixels,
            },
            "More pixels than are taken",
            "Scale it down to fit both numbers",
        ),
        Documented::refused(
            &Refusal::DownloadFailed,
            "Nothing could be fetched from <code>image_url</code>",
            "Check that the address opens from the internet without signing in, or upload the file",
        ),
        Documented::refused(
            &Refusal::Malformed(""),
            "The body is not a form, or not a whole one",
            "Let a library build the form, and do not set <code>Content-Type</code> yourself",
        ),
        Documented::refused(
            &Refusal::InvalidQuery { parameter: "day" },
            "A <code>parameter</code> of the address is not what the call takes",
            "Write a day as 2026-04-05, a limit as a number up to 1000, <code>after</code> as the last reply's <code>next</code>",
        ),
    ]
}

fn of_access(config: &Config) -> Vec<Documented> {
    let mut errors = vec![
        Documented::refused(
            &Refusal::InvalidClientId,
            "There is no such client",
            "Check the ID for missing letters and spaces; do not retry",
        ),
        Documented::refused(
            &Refusal::InvalidClientToken,
            "Not the token of this client",
            "Check the token, or ask for a new one; do not retry",
        ),
        Documented::refused(
            &Refusal::ClientDisabled,
            "The client has been disabled",
            "Write to support",
        ),
        Documented::refused(
            &Refusal::NotFound,
            "There is nothing at this address",
            "Check the path of the request",
        ),
        Documented::refused(
            &Refusal::MethodNotAllowed { allow: "POST" },
            "Another method than the call has",
            "Use one of those in the header <code>Allow</code>",
        ),
        Documented::refused(
            &Refusal::QuotaExhausted { retry_after: 0 },
            "All uploads of the day are used up",
            "Go on after midnight UTC, in <code>Retry-After</code> seconds, or ask for a larger plan",
        ),
    ];
    if config.limits.failed_attempts_per_minute > 0 {
        errors.push(Documented::refused(
            &Refusal::TooManyFailedAttempts { retry_after: 0 },
            "Too many wrong IDs or tokens from your address",
            "Mend the credentials, then wait for <code>Retry-After</code>",
        ));
    }
    if config.limits.requests_per_second > 0 {
        errors.push(Documented {
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
        Documented::failed(&Fault::CreateDirectory(cause()), retry),
        Documented::failed(&Fault::SaveImage(cause()), retry),
        Documented::failed(&Fault::InsufficientStorage { free: 0 }, tell),
        Documented::failed(&Fault::Internal(String::new()), tell),
        Documented::refused(
            &Refusal::ServerBusy,
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
