//! Replies of the OpenAPI document: their headers, and the errors by status.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::named;
use crate::config::Config;
use crate::export::errors::{self, Documented};
use crate::export::plans_by_size;

/// Which errors a call can answer with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    /// The upload.
    Upload,
    /// A call that says how the service is.
    Service,
    /// A call by which a client sees what is its own.
    Own {
        /// Whether it has a query.
        query: bool,
        /// Whether it names an image.
        image: bool,
    },
}

impl Call {
    /// Whether it can answer with the error, besides what every call can answer with.
    fn answers(self, error: &Documented) -> bool {
        let text = error.body["error"].as_str().unwrap_or_default();
        match self {
            Self::Upload => error.status != 404 && text != "Invalid query",
            Self::Service => false,
            Self::Own { query, image } => match text {
                "Invalid query" => query,
                "Not found" => image,
                "Missing required parameters" | "Too many failed attempts" => true,
                _ => error.status == 403,
            },
        }
    }
}

/// The headers of every reply.
const ALWAYS: [&str; 3] = [
    "Access-Control-Allow-Origin",
    "Access-Control-Expose-Headers",
    "X-Request-Id",
];

/// The headers of replies to a right token.
const QUOTA: [&str; 3] = [
    "X-RateLimit-Limit",
    "X-RateLimit-Remaining",
    "X-RateLimit-Reset",
];

const RETRY: &str = "Retry-After";
const ALLOW: &str = "Allow";

/// The headers as components.
pub(super) fn headers() -> Value {
    let text = |description: &str, required: bool, schema: Value| json!({ "description": description, "required": required, "schema": schema });
    let number = |least: u32| json!({ "type": "integer", "minimum": least });
    json!({
        ALWAYS[0]: text("Every site may read the reply", true, json!({ "const": "*" })),
        ALWAYS[1]: text("The headers that a script of another site may read", true, json!({ "type": "string" })),
        ALWAYS[2]: text("The name of the request in our log: quote it when you report a problem", true, json!({ "type": "string", "pattern": "^[A-Za-z0-9]{8,64}$" })),
        QUOTA[0]: text("Uploads a UTC day of the plan. In replies to a right token, errors too", false, number(0)),
        QUOTA[1]: text("Uploads left today", false, number(0)),
        QUOTA[2]: text("The next UTC midnight, in Unix seconds", false, number(0)),
        RETRY: text("Seconds to wait before the next try", true, number(1)),
        ALLOW: text("The methods that the call has", true, json!({ "type": "string" })),
    })
}

/// References to headers of the document.
pub(super) fn header_references(with_quota: bool, more: &[&str]) -> Value {
    let quota = if with_quota { &QUOTA[..] } else { &[] };
    let names = ALWAYS.iter().chain(quota).chain(more);
    let reference = |name: &&str| {
        (
            (*name).to_owned(),
            json!({ "$ref": format!("#/components/headers/{name}") }),
        )
    };
    Value::Object(named(names.map(reference)))
}

/// Every error as a schema of its own.
pub(super) fn error_schemas(config: &Config) -> Map<String, Value> {
    named(
        all(config)
            .iter()
            .map(|error| (schema_name(error), schema(error))),
    )
}

/// The errors of a call, a reply for each status.
pub(super) fn errors(config: &Config, call: Call) -> Map<String, Value> {
    let mut by_status: BTreeMap<u16, Vec<Documented>> = BTreeMap::new();
    for error in all(config) {
        if call.answers(&error) || is_general(&error) {
            by_status.entry(error.status).or_default().push(error);
        }
    }
    let reply = |(status, errors): (u16, Vec<Documented>)| {
        (
            status.to_string(),
            reply(status, &errors, call != Call::Service),
        )
    };
    named(by_status.into_iter().map(reply))
}

/// Whether every call can answer with the error.
fn is_general(error: &Documented) -> bool {
    let text = error.body["error"].as_str();
    matches!(error.status, 405 | 408 | 414 | 431 | 501..=505)
        || matches!(
            text,
            Some(
                "Malformed request body"
                    | "Forbidden"
                    | "Too many requests"
                    | "Internal server error"
            )
        )
}

fn all(config: &Config) -> Vec<Documented> {
    let example = plans_by_size(config).first().copied();
    let mut all = errors::documented(config, example);
    all.extend(errors::of_the_web_server());
    all
}

/// One reply with the errors of one status.
pub(super) fn reply(status: u16, errors: &[Documented], with_quota: bool) -> Value {
    let references: Vec<_> = errors
        .iter()
        .map(|error| json!({ "$ref": format!("#/components/schemas/{}", schema_name(error)) }))
        .collect();
    let schema = match references.as_slice() {
        [only] => only.clone(),
        _ => json!({ "oneOf": references }),
    };
    let example = |error: &Documented| {
        (
            schema_name(error),
            json!({ "summary": markdown(error.when), "value": error.body }),
        )
    };
    let what: Vec<_> = errors
        .iter()
        .map(|error| {
            format!(
                "- `{}`: {}. {}.",
                error.body["error"].as_str().unwrap_or_default(),
                markdown(error.when),
                markdown(error.advice)
            )
        })
        .collect();
    let more: &[&str] = match status {
        405 => &[ALLOW],
        429 | 503 => &[RETRY],
        _ => &[],
    };
    let authenticated = with_quota && matches!(status, 400 | 403 | 429 | 500);
    json!({
        "description": what.join("\n"),
        "headers": header_references(authenticated, more),
        "content": {
            "application/json": {
                "schema": schema,
                "examples": named(errors.iter().map(example)),
            },
        },
    })
}

/// `File too large` as a name: `FileTooLarge`.
fn schema_name(error: &Documented) -> String {
    let text = error.body["error"].as_str().unwrap_or_default();
    text.split(|character: char| !character.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(|word| word[..1].to_ascii_uppercase() + &word[1..])
        .collect()
}

/// What the body of an error always is. Values besides the text depend on plan and configuration.
fn schema(error: &Documented) -> Value {
    let Some(body) = error.body.as_object() else {
        return json!({});
    };
    let property = |(key, value): (&String, &Value)| {
        let schema = match value {
            Value::String(text) if key == "error" => json!({ "const": text }),
            Value::String(_) => json!({ "type": "string" }),
            Value::Number(_) => json!({ "type": "integer", "minimum": 0 }),
            Value::Array(_) => json!({ "type": "array", "items": { "type": "string" } }),
            _ => json!({}),
        };
        (key.clone(), schema)
    };
    json!({
        "type": "object",
        "required": body.keys().collect::<Vec<_>>(),
        "properties": named(body.iter().map(property)),
    })
}

/// The documentation's texts are HTML without values from outside; here they are Markdown.
fn markdown(html: &str) -> String {
    html.replace("<code>", "`").replace("</code>", "`")
}
