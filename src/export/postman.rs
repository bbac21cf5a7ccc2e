//! The Postman collection, format 2.1: `www/image/docs/corenexis-cdn.postman_collection.json`, filled with the limits of the
//! configuration and the errors of the code.
//!
//! It has the documented requests, the errors that a request can cause, and tests of each reply. One request needs a file; all others
//! have their data in them, so that `newman` runs the whole collection with one image. It does not exceed the quota or the limits per IP
//! address, which would lock its user out.

use serde_json::{Value, json};

use super::errors::{self, Documented};
use super::{Credentials, host};
use crate::config::Config;
use crate::image::ImageType;
use crate::image_path::content_type_of;
use crate::template::{Escaped, Template};

/// Width and height in pixels of the image that is too large: the largest number whose two bytes are ASCII, which is all that a text field
/// can carry unchanged.
const WIDE: u32 = 0x7F7F;

/// The collection, as JSON.
pub(crate) fn collection(config: &Config, credentials: Credentials<'_>) -> String {
    let text = Escaped::json_text;
    let template = include_str!("../../www/image/docs/corenexis-cdn.postman_collection.json");
    let types = json!(ImageType::ALL.map(content_type_of));
    let limits = json!({
        "max_side": config.images.max_side,
        "max_megapixels": config.images.max_megapixels,
    });
    let expectations: Vec<_> = errors::documented(config, None)
        .iter()
        .map(|error| (placeholder(error), expectation(error)))
        .filter(|(name, _)| template.contains(&format!("@{name}@")))
        .collect();
    let values = [
        ("HOST", text(host(config))),
        ("PUBLIC_URL", text(config.site.public_url())),
        ("CLIENT_ID", text(credentials.client_id)),
        ("CLIENT_TOKEN", text(credentials.client_token)),
        ("DURATION", text(credentials.duration.code())),
        ("IMAGE_TYPES", text(&types.to_string())),
        ("TOO_LARGE", Escaped::number(config.largest_file() + 1)),
        ("LIMITS", text(&limits.to_string())),
    ];
    let expectations = expectations
        .iter()
        .map(|(name, lines)| (name.as_str(), lines.clone()));
    Template {
        text: template,
        values: &values.into_iter().chain(expectations).collect::<Vec<_>>(),
        sections: &[("WIDE_IMAGE", config.images.refuses(WIDE, WIDE))],
    }
    .fill()
}

/// `EXPECT_FILE_TOO_LARGE` for `File too large`.
fn placeholder(error: &Documented) -> String {
    let text = error.text().to_ascii_uppercase();
    let words = text
        .split(|character: char| !character.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty());
    words.fold("EXPECT".to_owned(), |name, word| name + "_" + word)
}

/// The lines of a test script that expect the status and the text of the error.
fn expectation(error: &Documented) -> Escaped {
    let (status, text) = (error.status, error.text());
    let lines = [
        format!("pm.test('status {status}', () => pm.response.to.have.status({status}));"),
        format!("pm.test('{text}', () => pm.expect(pm.response.json().error).to.eql('{text}'));"),
    ];
    Escaped::written(lines.map(|line| Value::from(line).to_string()).join(",\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Refusal;

    fn all(items: &Value, requests: &mut Vec<Value>) {
        for item in items.as_array().expect("items") {
            match item.get("item") {
                Some(inner) => all(inner, requests),
                None => requests.push(item.clone()),
            }
        }
    }

    fn requests_of(config: &Config) -> Vec<Value> {
        let mut requests = Vec::new();
        let text = collection(config, Credentials::placeholders(config));
        let collection: Value = serde_json::from_str(&text).expect("JSON");
        all(&collection["item"], &mut requests);
        requests
    }

    fn config(more: &str) -> Config {
        Config::from_toml(&format!(
            "[site]\npublic_url = \"https://cdn.example.com\"\n{more}"
        ))
        .expect("valid")
    }

    #[test]
    fn credentials_are_escaped() {
        let config = config("");
        let credentials = Credentials {
            client_id: "@HOST@",
            client_token: "q\"uo\\te\n@[WIDE_IMAGE]\n{{x}}",
            ..Credentials::placeholders(&config)
        };
        let collection: Value =
            serde_json::from_str(&collection(&config, credentials)).expect("JSON");
        assert_eq!(collection["variable"][1]["value"], credentials.client_id);
        assert_eq!(collection["variable"][2]["value"], credentials.client_token);
    }

    #[test]
    fn every_request_is_tested() {
        let requests = requests_of(&config(""));
        assert!(requests.len() >= 20, "{}", requests.len());
        for request in &requests {
            let events = request["event"].as_array().expect("events");
            assert!(
                events.iter().any(|event| event["listen"] == "test"
                    && !event["script"]["exec"]
                        .as_array()
                        .expect("lines")
                        .is_empty()),
                "{request}"
            );
        }
    }

    #[test]
    fn every_error_that_one_request_can_cause_has_a_request() {
        let text = serde_json::to_string(&requests_of(&config(""))).expect("text");
        for refusal in [
            Refusal::MissingParameters(Vec::new()),
            Refusal::ConflictingCredentials,
            Refusal::MissingCredentials,
            Refusal::InvalidKey,
            Refusal::KeyReused,
            Refusal::BothSources,
            Refusal::InvalidDuration {
                allowed: Vec::new(),
            },
            Refusal::FileTooLarge { max_size: 0 },
            Refusal::InvalidFileType,
            Refusal::DimensionsTooLarge {
                max_side: 0,
                max_megapixels: 0,
            },
            Refusal::DownloadFailed,
            Refusal::Malformed(""),
            Refusal::InvalidClientId,
            Refusal::InvalidClientToken,
            Refusal::InvalidQuery { parameter: "" },
            Refusal::NotFound,
            Refusal::MethodNotAllowed { allow: "" },
        ] {
            let expected = format!("error).to.eql('{}')", refusal.message());
            assert!(text.contains(&expected), "{expected}");
        }
    }

    #[test]
    fn the_image_of_too_many_pixels_is_left_out_if_the_limit_is_larger() {
        let has_pixels = |config: &Config| {
            requests_of(config)
                .iter()
                .any(|request| request["name"] == "Too many pixels")
        };
        assert!(has_pixels(&config("")));
        assert!(!has_pixels(&config(
            "[images]\nmax_side = 65535\nmax_megapixels = 2000"
        )));
    }
}
