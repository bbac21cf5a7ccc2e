//! The OpenAPI 3.1 document: `www/image/docs/openapi.json`, filled with the limits of the configuration and the errors of the code.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::contact::Contact;
use super::errors::{self, Documented, Scope};
use super::{Credentials, durations, host, plans_by_size};
use crate::config::{ByteSize, Config};
use crate::expiry::NEVER_EXPIRES;
use crate::fetch::url::MAX_URL;
use crate::form::MAX_FIELDS;
use crate::idempotency::MAX_KEY;
use crate::image::ImageType;
use crate::image_path::{NAME_LENGTHS, content_type_of};
use crate::metrics;
use crate::plan::{Plan, UrlKind};
use crate::response::{ALLOWED_HEADERS, CHALLENGE};
use crate::routes::{Call, IMAGE_METHODS, MAX_PAGE, PAGE, READ_METHODS};
use crate::template::{Escaped, Template};

const CLASS: &str = "(d|m|mm|l)";
const DAY: &str = "(ja|fe|ma|ap|ju|au|se|oc|no|de)([1-9]|[12][0-9]|3[01])";

/// RFC 3339, to the second, in UTC.
const TIME: &str =
    "[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z";

/// The headers of every reply.
const ALWAYS: [&str; 3] = [
    "Access-Control-Allow-Origin",
    "Access-Control-Expose-Headers",
    "X-Request-Id",
];

/// The headers of every reply to an authenticated request.
const QUOTA: [&str; 3] = [
    "X-RateLimit-Limit",
    "X-RateLimit-Remaining",
    "X-RateLimit-Reset",
];

/// The placeholders of the errors of each call, by scope. `HEAD_`: without content.
const CALLS: [(&str, &[Scope]); 13] = {
    use Scope::{Authenticated, Busy, Delete, Every, Image, Own, Query, Upload};
    [
        ("UPLOAD_ERRORS", &[Every, Busy, Authenticated, Upload]),
        ("USAGE_ERRORS", &[Every, Busy, Authenticated, Own]),
        ("HEAD_USAGE_ERRORS", &[Every, Busy, Authenticated, Own]),
        ("IMAGES_ERRORS", &[Every, Busy, Authenticated, Own, Query]),
        (
            "HEAD_IMAGES_ERRORS",
            &[Every, Busy, Authenticated, Own, Query],
        ),
        ("IMAGE_ERRORS", &[Every, Busy, Authenticated, Own, Image]),
        (
            "HEAD_IMAGE_ERRORS",
            &[Every, Busy, Authenticated, Own, Image],
        ),
        (
            "DELETE_IMAGE_ERRORS",
            &[Every, Busy, Authenticated, Own, Image, Delete],
        ),
        ("PREFLIGHT_IMAGE_ERRORS", &[Every, Busy, Image]),
        ("SERVICE_ERRORS", &[Every, Busy]),
        ("HEAD_SERVICE_ERRORS", &[Every, Busy]),
        ("HEALTH_ERRORS", &[Every]),
        ("HEAD_HEALTH_ERRORS", &[Every]),
    ]
};

/// The document, as JSON.
pub(crate) fn document(config: &Config, credentials: Credentials<'_>) -> String {
    let plans = plans_by_size(config);
    let mut errors = errors::documented(config, plans.first().copied());
    errors.extend(errors::of_the_web_server());
    let rows: Vec<_> = plans.iter().copied().map(plan_row).collect();
    let codes: Vec<_> = durations(&plans).iter().map(|it| it.code()).collect();
    let listed: Vec<_> = plans.iter().copied().map(Plan::to_json).collect();
    let contact = match Contact::of(config) {
        Contact::Mail(address) => Some(json!({ "email": address })),
        Contact::Url(url) => Some(json!({ "url": url })),
        Contact::Text | Contact::None => None,
    };
    let file = format!(
        "[A-Za-z0-9]{{{},{}}}[.](jpg|png|gif|webp)",
        NAME_LENGTHS.start(),
        NAME_LENGTHS.end()
    );
    let text = Escaped::json_text;
    let mut values = vec![
        ("HOST", text(host(config))),
        ("PUBLIC_URL", text(config.site.public_url())),
        ("VERSION", text(env!("CARGO_PKG_VERSION"))),
        ("CONTACT", Escaped::json(&json!(contact))),
        ("CLIENT_ID", text(credentials.client_id)),
        ("CLIENT_TOKEN", text(credentials.client_token)),
        ("DURATION", text(credentials.duration.code())),
        ("DURATIONS", Escaped::json(&json!(codes))),
        ("PLANS", Escaped::json(&json!(listed))),
        ("PLAN_ROWS", text(&rows.join("\n"))),
        ("NEVER", text(NEVER_EXPIRES)),
        (
            "IMAGE_TYPES",
            text(&ImageType::ALL.map(content_type_of).join(", ")),
        ),
        ("MAX_FILE", Escaped::number(config.largest_file())),
        ("MAX_FIELDS", Escaped::json(&json!(MAX_FIELDS))),
        ("MAX_URL", Escaped::json(&json!(MAX_URL))),
        ("MAX_KEY", Escaped::json(&json!(MAX_KEY))),
        ("CHALLENGE", text(CHALLENGE)),
        ("PAGE", Escaped::number(PAGE)),
        ("MAX_PAGE", Escaped::number(MAX_PAGE)),
        ("CLASS", text(CLASS)),
        ("DAY", text(DAY)),
        ("FILE", text(&file)),
        ("POSITION", text(&format!("{CLASS}/{DAY}/{file}@{TIME}"))),
        ("METRICS_TYPE", text(metrics::MEDIA_TYPE)),
        ("UPLOAD_METHODS", text(Call::Upload.methods())),
        ("ALLOWED_HEADERS", text(ALLOWED_HEADERS)),
        ("READ_METHODS", text(READ_METHODS)),
        ("IMAGE_METHODS", text(IMAGE_METHODS)),
        (
            "HEADERS",
            Escaped::json(&Value::Object(header_references(false, &[]))),
        ),
        (
            "QUOTA_HEADERS",
            Escaped::json(&Value::Object(header_references(true, &[]))),
        ),
        ("HEADER_LIST", members(&header_references(false, &[]))),
        ("ERROR_SCHEMAS", members(&schemas(&errors))),
    ];
    for (placeholder, scopes) in CALLS {
        let mut replies = replies(&errors, scopes);
        if placeholder.starts_with("HEAD_") {
            for reply in replies.values_mut().filter_map(Value::as_object_mut) {
                reply.remove("content");
            }
        }
        values.push((placeholder, members(&replies)));
    }
    Template {
        text: include_str!("../../www/image/docs/openapi.json"),
        values: &values,
        sections: &[("CONTACT", contact.is_some())],
    }
    .fill()
}

/// A row of the plan table, in Markdown.
fn plan_row(plan: &Plan) -> String {
    let durations: Vec<_> = plan
        .durations
        .iter()
        .map(|duration| format!("`{}`", duration.code()))
        .collect();
    let url = match plan.url {
        UrlKind::Viewer => "the viewer page",
        UrlKind::Direct => "the image",
    };
    format!(
        "| {} | {} | {} | {} | {url} |",
        plan.name,
        plan.daily_uploads,
        ByteSize(plan.max_file_size),
        durations.join(" ")
    )
}

/// The members of a JSON object without its braces.
fn members(object: &Map<String, Value>) -> Escaped {
    let members: Vec<_> = object
        .iter()
        .map(|(key, value)| format!("{}: {value}", Value::from(key.as_str())))
        .collect();
    Escaped::written(members.join(",\n"))
}

/// References to the headers of a reply, by name.
fn header_references(with_quota: bool, more: &[&str]) -> Map<String, Value> {
    let quota = if with_quota { &QUOTA[..] } else { &[] };
    let reference = |name: &&str| {
        (
            (*name).to_owned(),
            json!({ "$ref": format!("#/components/headers/{name}") }),
        )
    };
    ALWAYS
        .iter()
        .chain(quota)
        .chain(more)
        .map(reference)
        .collect()
}

/// The errors of these scopes as replies, one for each status.
fn replies(errors: &[Documented], scopes: &[Scope]) -> Map<String, Value> {
    let mut by_status: BTreeMap<u16, Vec<&Documented>> = BTreeMap::new();
    for error in errors.iter().filter(|error| scopes.contains(&error.scope)) {
        by_status.entry(error.status).or_default().push(error);
    }
    let authenticated = scopes.contains(&Scope::Authenticated);
    by_status
        .into_iter()
        .map(|(status, errors)| (status.to_string(), reply(status, &errors, authenticated)))
        .collect()
}

/// The reply of one status.
fn reply(status: u16, errors: &[&Documented], authenticated: bool) -> Value {
    let references: Vec<_> = errors
        .iter()
        .map(|error| json!({ "$ref": format!("#/components/schemas/{}", error.name()) }))
        .collect();
    let schema = match references.as_slice() {
        [only] => only.clone(),
        _ => json!({ "oneOf": references }),
    };
    let example = |error: &&Documented| {
        let value = json!({ "summary": markdown(error.when), "value": error.body });
        (error.name(), value)
    };
    let description: Vec<_> = errors
        .iter()
        .map(|error| {
            let (when, advice) = (markdown(error.when), markdown(error.advice));
            format!("- `{}`: {when}. {advice}.", error.text())
        })
        .collect();
    let more: &[&str] = match status {
        401 => &["WWW-Authenticate"],
        405 => &["Allow"],
        409 | 429 | 503 => &["Retry-After"],
        _ => &[],
    };
    let with_quota = authenticated && matches!(status, 400 | 403 | 409 | 422 | 429 | 500);
    json!({
        "description": description.join("\n"),
        "headers": header_references(with_quota, more),
        "content": {
            "application/json": {
                "schema": schema,
                "examples": errors.iter().map(example).collect::<Map<_, _>>(),
            },
        },
    })
}

/// The schema of each error's body. Values besides the text depend on plan and configuration.
fn schemas(errors: &[Documented]) -> Map<String, Value> {
    let property = |(key, value): (&String, &Value)| {
        let schema = match value {
            Value::String(text) if key == "error" => json!({ "const": text }),
            Value::Number(_) => json!({ "type": "integer", "minimum": 0 }),
            Value::Array(_) => json!({ "type": "array", "items": { "type": "string" } }),
            _ => json!({ "type": "string" }),
        };
        (key.clone(), schema)
    };
    let schema = |error: &Documented| {
        let body = error.body.as_object().cloned().unwrap_or_default();
        json!({
            "type": "object",
            "required": body.keys().collect::<Vec<_>>(),
            "properties": body.iter().map(property).collect::<Map<_, _>>(),
        })
    };
    errors
        .iter()
        .map(|error| (error.name(), schema(error)))
        .collect()
}

/// The HTML of [`Documented`] as Markdown.
fn markdown(html: &str) -> String {
    html.replace("<code>", "`").replace("</code>", "`")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image_path::Directory;

    fn document_of(more: &str) -> Value {
        let toml = format!("[site]\npublic_url = \"https://cdn.example.com\"\n{more}");
        let config = Config::from_toml(&toml).expect("valid");
        serde_json::from_str(&document(&config, Credentials::placeholders(&config))).expect("JSON")
    }

    /// Every `$ref` below a value.
    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                for (key, inner) in fields {
                    match inner.as_str() {
                        Some(target) if key == "$ref" => found.push(target.to_owned()),
                        _ => references(inner, found),
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            _ => {}
        }
    }

    #[test]
    fn every_reference_leads_somewhere_and_every_component_is_used() {
        let document = document_of("");
        let mut found = Vec::new();
        references(&document, &mut found);
        for target in &found {
            let pointer = target.strip_prefix('#').expect("within the document");
            assert!(document.pointer(pointer).is_some(), "{target}");
        }
        for kind in ["schemas", "headers"] {
            let components = document["components"][kind]
                .as_object()
                .expect("components");
            for name in components.keys() {
                let target = format!("#/components/{kind}/{name}");
                assert!(found.contains(&target), "{target} is not used");
            }
        }
    }

    #[test]
    fn what_the_configuration_says_is_in_the_document() {
        let document = document_of(
            "contact = \"https://example.com/help\"\n[plans.tiny]\ndaily_uploads = 3\nmax_file_size = \"1KiB\"\ndurations = [\"3M\"]\nurl = \"viewer\"",
        );
        assert_eq!(document["servers"][0]["url"], "https://cdn.example.com");
        assert_eq!(
            document["info"]["contact"]["url"],
            "https://example.com/help"
        );
        assert_eq!(
            document["x-plans"],
            json!([{ "name": "tiny", "daily_uploads": 3, "max_file_size": 1024, "max_storage": null, "durations": ["3M"], "url": "viewer" }])
        );
        let text = document.to_string();
        assert!(
            text.contains("| tiny | 3 | 1KiB | `3M` | the viewer page |"),
            "{text}"
        );
        assert_eq!(
            document["components"]["schemas"]["UploadForm"]["properties"]["store_duration"]["enum"],
            json!(["3M"])
        );
    }

    #[test]
    fn a_contact_that_is_neither_address_nor_url_is_left_out() {
        for (contact, expected) in [
            ("at the desk", Value::Null),
            ("javascript:alert(1)@x", Value::Null),
            ("a@example.com", json!({ "email": "a@example.com" })),
            ("q\\\"@example.com", json!({ "email": "q\"@example.com" })),
        ] {
            let document = document_of(&format!("contact = \"{contact}\""));
            assert_eq!(document["info"]["contact"], expected, "{contact}");
        }
    }

    #[test]
    fn the_patterns_take_every_directory() {
        for directory in Directory::all() {
            let directory = directory.to_string();
            let (class, day) = directory.split_once('/').expect("class and day");
            let known = |pattern: &str, text: &str| {
                let group = pattern[1..].split(')').next().expect("a group");
                group.split('|').any(|known| known == text)
            };
            assert!(known(CLASS, class) && known(DAY, &day[..2]), "{directory}");
        }
    }

    #[test]
    fn a_call_documents_the_errors_that_it_can_reply_with() {
        let document = document_of("");
        let texts = |path: &str, method: &str, status: &str| {
            let reply = &document["paths"][path][method]["responses"][status];
            let examples = reply["content"]["application/json"]["examples"].as_object();
            examples.map_or_else(Vec::new, |examples| {
                let text = |example: &Value| example["value"]["error"].as_str().map(str::to_owned);
                examples.values().filter_map(text).collect::<Vec<_>>()
            })
        };
        let image = "/image/v2/images/{class}/{day}/{file}";
        assert_eq!(texts(image, "delete", "404"), ["Not found"]);
        assert_eq!(texts("/image/v2/", "post", "404"), [""; 0]);
        assert_eq!(
            texts("/image/v2/images", "get", "400"),
            ["Malformed request body", "Invalid query"]
        );
        assert_eq!(
            texts("/image/v2/usage", "get", "429"),
            ["Too many failed attempts", "Too many requests"]
        );
        assert_eq!(
            texts("/image/v2/health", "get", "429"),
            ["Too many requests"]
        );
        assert!(
            texts("/image/v2/", "post", "429").contains(&"Daily upload limit reached".to_owned())
        );
    }
}
