//! The calls by which a client sees and deletes what is its own.

use serde_json::{Map, Value, json};

use super::named;
use super::operations::{preflight, with};
use super::replies::{self, Call, header_references};
use crate::config::Config;
use crate::export::Sender;
use crate::image_path::NAME_LENGTHS;
use crate::plan::NEVER_EXPIRES;
use crate::routes::{IMAGE_METHODS, MAX_PAGE, PAGE, READ_METHODS};

/// The headers that say who asks. They are parameters and no security scheme, because the API answers their absence like that of any
/// parameter, by 400.
pub(super) fn parameters(sender: Sender<'_>) -> Value {
    let header = |name: &str, description: &str, schema: Value, example: &str| {
        json!({
            "name": name, "in": "header", "required": true, "description": description,
            "schema": schema, "example": example,
        })
    };
    json!({
        "ClientId": header("X-Client-Id", "Your client ID", json!({ "type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$" }), sender.client_id),
        "ClientToken": header("X-Client-Token", "Your client token", json!({ "type": "string", "pattern": "^[!-~]{1,256}$" }), sender.client_token),
    })
}

fn credentials() -> Vec<Value> {
    ["ClientId", "ClientToken"]
        .map(|name| json!({ "$ref": format!("#/components/parameters/{name}") }))
        .into()
}

/// `GET /image/v2/usage`
pub(super) fn usage(config: &Config) -> Value {
    let call = Call::Own {
        query: false,
        image: false,
    };
    let get = operation(
        config,
        call,
        "Usage",
        "What you have stored today and this month, and what your plan allows",
    );
    reading(config, "Usage", &get, READ_METHODS)
}

/// `GET /image/v2/images`
pub(super) fn images(config: &Config) -> Value {
    let call = Call::Own {
        query: true,
        image: false,
    };
    let mut get = operation(
        config,
        call,
        "Images",
        "Your images of one day, in the order of their paths",
    );
    let parameter = |name: &str, description: &str, schema: Value| json!({ "name": name, "in": "query", "description": description, "schema": schema });
    let query = [
        parameter(
            "day",
            "The UTC day of the upload; today if absent",
            json!({ "type": "string", "format": "date" }),
        ),
        parameter(
            "after",
            "`next` of the page before",
            json!({ "type": "string", "pattern": path_pattern() }),
        ),
        parameter(
            "limit",
            "Images of a page",
            json!({ "type": "integer", "minimum": 1, "maximum": MAX_PAGE, "default": PAGE }),
        ),
    ];
    get["parameters"] = json!([credentials(), query.to_vec()].concat());
    reading(config, "Images", &get, READ_METHODS)
}

/// `GET` and `DELETE /image/v2/images/{class}/{day}/{file}`
pub(super) fn image(config: &Config) -> Value {
    let call = Call::Own {
        query: false,
        image: true,
    };
    let get = operation(config, call, "Image", "One of your images");
    let mut item = reading(config, "Image", &get, IMAGE_METHODS);
    let mut delete = operation(
        config,
        call,
        "Deleted",
        "Delete one of your images now; no quota is given back, and copies in caches live until they expire",
    );
    delete["operationId"] = json!("deleteImage");
    item["delete"] = delete;
    let parameter = |name: &str, pattern: &str, example: &str| {
        json!({
            "name": name, "in": "path", "required": true, "example": example,
            "schema": { "type": "string", "pattern": format!("^{pattern}$") },
        })
    };
    item["parameters"] = json!([
        parameter("class", CLASS, "d"),
        parameter("day", DAY, "ap5"),
        parameter("file", &file_pattern(), "AbCdEfGhIj.png"),
    ]);
    // What no image can be called is not found, whatever the method.
    item["options"]["responses"]["404"] = item["get"]["responses"]["404"].clone();
    item
}

const CLASS: &str = "(d|m|mm|l)";
const DAY: &str = "(ja|fe|ma|ap|ju|au|se|oc|no|de)([1-9]|[12][0-9]|3[01])";

fn file_pattern() -> String {
    format!(
        "[A-Za-z0-9]{{{},{}}}[.](jpg|png|gif|webp)",
        NAME_LENGTHS.start(),
        NAME_LENGTHS.end()
    )
}

fn path_pattern() -> String {
    format!("^{CLASS}/{DAY}/{}$", file_pattern())
}

/// A call whose reply is the schema `name`.
fn operation(config: &Config, call: Call, name: &str, summary: &str) -> Value {
    json!({
        "operationId": format!("get{name}"),
        "tags": ["own"],
        "summary": summary,
        "parameters": credentials(),
        "responses": with(
            json!({
                "200": {
                    "description": "Done.",
                    "headers": header_references(true, &[]),
                    "content": {
                        "application/json": { "schema": { "$ref": format!("#/components/schemas/{name}") } },
                    },
                },
            }),
            replies::errors(config, call),
        ),
    })
}

fn reading(config: &Config, name: &str, get: &Value, methods: &str) -> Value {
    let mut head = get.clone();
    head["operationId"] = json!(format!("head{name}"));
    if let Some(responses) = head["responses"].as_object_mut() {
        for response in responses.values_mut().filter_map(Value::as_object_mut) {
            response.remove("content");
        }
    }
    json!({
        "get": get,
        "head": head,
        "options": preflight(config, &format!("preflight{name}"), methods),
    })
}

/// The bodies of the replies.
pub(super) fn schemas() -> Map<String, Value> {
    let number = || json!({ "type": "integer", "minimum": 0 });
    let day = || json!({ "type": "string", "format": "date" });
    let image = object(&[
        (
            "path",
            json!({ "type": "string", "pattern": path_pattern() }),
        ),
        (
            "url",
            json!({ "type": "string", "format": "uri", "description": "The image itself" }),
        ),
        (
            "viewer",
            json!({ "type": "string", "format": "uri", "description": "Its viewer page" }),
        ),
        ("bytes", number()),
        ("width", number()),
        ("height", number()),
        (
            "uploaded_at",
            json!({ "type": "string", "format": "date-time" }),
        ),
        (
            "expires_at",
            json!({ "oneOf": [day(), { "const": NEVER_EXPIRES }], "description": "As in the reply to the upload" }),
        ),
    ]);
    let plan = object(&[
        ("name", json!({ "type": "string" })),
        ("daily_uploads", number()),
        ("max_file_size", number()),
        (
            "durations",
            json!({ "type": "array", "items": { "type": "string" } }),
        ),
        ("url", json!({ "enum": ["viewer", "direct"] })),
    ]);
    let today = object(&[
        ("day", day()),
        ("uploads", number()),
        ("bytes", number()),
        ("remaining", number()),
        (
            "resets_at",
            json!({ "type": "integer", "description": "The next UTC midnight, in Unix seconds" }),
        ),
    ]);
    let month = object(&[("since", day()), ("uploads", number()), ("bytes", number())]);
    let listing = object(&[
        ("day", day()),
        (
            "images",
            json!({ "type": "array", "items": { "$ref": "#/components/schemas/Image" } }),
        ),
        (
            "next",
            json!({ "type": ["string", "null"], "description": "For `after`, if there are more" }),
        ),
    ]);
    named([
        (
            "Usage".to_owned(),
            object(&[("plan", plan), ("today", today), ("month", month)]),
        ),
        ("Images".to_owned(), listing),
        ("Image".to_owned(), image),
        (
            "Deleted".to_owned(),
            object(&[
                ("status", json!({ "const": "success" })),
                ("deleted", json!({ "type": "string" })),
            ]),
        ),
    ])
}

/// An object that always has these properties.
fn object(properties: &[(&str, Value)]) -> Value {
    let names: Vec<_> = properties.iter().map(|(name, _)| name).collect();
    let owned = properties
        .iter()
        .map(|(name, schema)| ((*name).to_owned(), schema.clone()));
    json!({ "type": "object", "required": names, "properties": named(owned) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image_path::directories;

    #[test]
    fn the_patterns_take_every_directory() {
        for directory in directories() {
            let (class, day) = directory.split_once('/').expect("class and day");
            assert!(
                CLASS[1..CLASS.len() - 1]
                    .split('|')
                    .any(|known| known == class)
            );
            let letters = DAY[1..].split(')').next().expect("letters");
            assert!(letters.split('|').any(|known| known == &day[..2]), "{day}");
        }
    }
}
