//! The calls of the OpenAPI document.

use serde_json::{Map, Value, json};

use super::named;
use super::replies::{self, Call, header_references};
use crate::config::Config;
use crate::export::{Sender, plans_by_size};
use crate::fetch::url::MAX_URL;
use crate::form::MAX_FIELDS;
use crate::image::ImageType;
use crate::image_path::content_type_of;
use crate::metrics;
use crate::plan::{NEVER_EXPIRES, StoreDuration};
use crate::routes::READ_METHODS;

/// `POST /image/v2/`, and what a browser asks before.
pub(super) fn upload(config: &Config, sender: Sender<'_>) -> Value {
    let types = ImageType::ALL.map(content_type_of).join(", ");
    let url_example = json!({
        "client_id": sender.client_id,
        "client_token": sender.client_token,
        "store_duration": sender.duration.code(),
        "image_url": "https://example.com/image.jpg",
    });
    json!({
        "post": {
            "operationId": "uploadImage",
            "tags": ["upload"],
            "summary": "Upload an image, as a file or by its URL",
            "description": "Send either `image` or `image_url`. The type is decided from the bytes; file name and content type of the part \
                            do not matter. When this is answered with 200, the image is on disk and served. The address works without \
                            the slash at its end, too.",
            "requestBody": {
                "required": true,
                "content": {
                    "multipart/form-data": {
                        "schema": { "$ref": "#/components/schemas/UploadForm" },
                        "encoding": { "image": { "contentType": types } },
                    },
                    "application/x-www-form-urlencoded": {
                        "schema": { "$ref": "#/components/schemas/UploadByUrl" },
                        "examples": { "url": { "summary": "An image that is on the web", "value": url_example } },
                    },
                },
            },
            "responses": with(
                json!({
                    "200": {
                        "description": "Stored.",
                        "headers": header_references(true, &[]),
                        "content": {
                            "application/json": {
                                "schema": { "$ref": "#/components/schemas/Stored" },
                                "examples": stored_examples(config),
                            },
                        },
                    },
                }),
                replies::errors(config, Call::Upload),
            ),
        },
        "options": preflight(config, "preflightUpload", "POST, OPTIONS"),
    })
}

fn stored_examples(config: &Config) -> Value {
    let url = config.site.public_url();
    json!({
        "direct": {
            "summary": "A plan whose URLs lead to the image",
            "value": { "status": "success", "url": format!("{url}/p/d/ap5/AbCdEfGhIj.png"), "expires_at": "2025-05-12" },
        },
        "viewer": {
            "summary": "A plan whose URLs lead to the viewer page",
            "value": { "status": "success", "url": format!("{url}/view/?img=d/ap5/AbCdEfGhIj.png"), "expires_at": "2025-05-12" },
        },
        "lifetime": {
            "summary": "Kept for ever",
            "value": { "status": "success", "url": format!("{url}/p/l/ap5/AbCdEfGhIj.png"), "expires_at": NEVER_EXPIRES },
        },
    })
}

/// The preflight request of a browser (Fetch standard, CORS protocol).
pub(super) fn preflight(config: &Config, id: &str, methods: &str) -> Value {
    let header =
        |value: &str| json!({ "required": true, "schema": { "type": "string" }, "example": value });
    json!({
        "operationId": id,
        "tags": ["service"],
        "summary": "What a browser asks before a script of another site may call",
        "responses": with(
            json!({
                "204": {
                    "description": "It may.",
                    "headers": merged(header_references(false, &["Allow"]), json!({
                        "Access-Control-Allow-Methods": header(methods),
                        "Access-Control-Allow-Headers": header("*"),
                        "Access-Control-Max-Age": header("86400"),
                    })),
                },
            }),
            replies::errors(config, Call::Service),
        ),
    })
}

/// `GET /image/v2/health`
pub(super) fn health(config: &Config) -> Value {
    let report = |description: &str| {
        json!({
            "description": description,
            "headers": header_references(false, &[]),
            "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Health" } } },
        })
    };
    let mut responses = with(
        json!({ "200": report("Uploads can be taken.") }),
        replies::errors(config, Call::Service),
    );
    // Two kinds of 503: ours with the report, and the one of a service that is too busy to look.
    responses["503"]["description"] =
        json!("Uploads cannot be taken, or more requests come than can be answered.");
    responses["503"]["content"]["application/json"]["schema"] = json!({
        "anyOf": [
            { "$ref": "#/components/schemas/Health" },
            { "$ref": "#/components/schemas/ServerBusy" },
        ],
    });
    responses["503"]["headers"] = header_references(false, &[]);
    reading("Health", "Whether uploads can be taken", &responses, config)
}

/// `GET /image/v2/metrics`
pub(super) fn metrics(config: &Config) -> Value {
    let not_found = json!({
        "description": "The address that asks is not one of those that may read the metrics.",
        "headers": header_references(false, &[]),
        "content": { "application/json": { "schema": { "$ref": "#/components/schemas/NotFound" } } },
    });
    let text = json!({
        "description": "Counters and histograms in the OpenMetrics format, for Prometheus.",
        "headers": header_references(false, &[]),
        "content": { metrics::MEDIA_TYPE: { "schema": { "type": "string" } } },
    });
    let responses = with(
        json!({ "200": text, "404": not_found }),
        replies::errors(config, Call::Service),
    );
    let mut item = reading(
        "Metrics",
        "What has been uploaded, and how long it took",
        &responses,
        config,
    );
    item["options"]["responses"]["404"] = responses["404"].clone();
    item
}

/// A call that is read, with its HEAD and its preflight.
fn reading(name: &str, summary: &str, responses: &Value, config: &Config) -> Value {
    let mut head = responses.clone();
    if let Some(replies) = head.as_object_mut() {
        for reply in replies.values_mut().filter_map(Value::as_object_mut) {
            reply.remove("content");
        }
    }
    json!({
        "get": {
            "operationId": format!("get{name}"),
            "tags": ["service"],
            "summary": summary,
            "responses": responses,
        },
        "head": {
            "operationId": format!("head{name}"),
            "tags": ["service"],
            "summary": format!("{summary}: the status alone"),
            "responses": head,
        },
        "options": preflight(config, &format!("preflight{name}"), READ_METHODS),
    })
}

/// The bodies that calls take and give.
pub(super) fn schemas(config: &Config, sender: Sender<'_>) -> Map<String, Value> {
    let offered = |duration: &StoreDuration| {
        plans_by_size(config)
            .iter()
            .any(|plan| plan.allows(*duration))
    };
    let durations: Vec<_> = StoreDuration::ALL
        .iter()
        .filter(|duration| offered(duration))
        .map(|duration| duration.code())
        .collect();
    let credentials = json!({
        "client_id": {
            "type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$",
            "description": "Who uploads", "examples": [sender.client_id],
        },
        "client_token": {
            "type": "string", "format": "password", "minLength": 1, "maxLength": 256,
            "description": "The client's token", "examples": [sender.client_token],
        },
        "store_duration": {
            "type": "string", "enum": durations,
            "description": "How long the image is kept: `7D` 7 days, `1M` 1 month, `3M` 3 months, `LTF` for ever, as far as the plan has it",
            "examples": [sender.duration.code()],
        },
    });
    let image_url = json!({
        "type": "string", "format": "uri", "pattern": "^https?://", "maxLength": MAX_URL,
        "description": "The URL of an image, which the server downloads; public addresses only",
        "examples": ["https://example.com/image.jpg"],
    });
    // What a form sends for a field that was left empty counts as absent.
    let image_url_or_none = json!({
        "type": "string", "pattern": "^(https?://.*)?$", "maxLength": MAX_URL,
        "description": image_url["description"], "examples": image_url["examples"],
    });
    let image = json!({
        "type": "string", "format": "binary", "contentMediaType": "application/octet-stream",
        "description": format!("The file, of at most {} bytes or what the plan allows", config.largest_file()),
    });
    let required = ["client_id", "client_token", "store_duration"];
    let with_url = [&required[..], &["image_url"]].concat();
    let form = json!({
        "type": "object",
        "required": required,
        "maxProperties": MAX_FIELDS,
        "properties": merged(credentials.clone(), json!({ "image": image, "image_url": image_url_or_none })),
        "oneOf": [{ "required": ["image"] }, { "required": ["image_url"] }],
    });
    let by_url = json!({
        "type": "object",
        "required": with_url,
        "maxProperties": MAX_FIELDS,
        "properties": merged(credentials, json!({ "image_url": image_url })),
    });
    named([
        ("UploadForm".to_owned(), form),
        ("UploadByUrl".to_owned(), by_url),
        ("Stored".to_owned(), stored()),
        ("Health".to_owned(), health_report()),
    ])
}

fn stored() -> Value {
    json!({
        "type": "object",
        "required": ["status", "url", "expires_at"],
        "properties": {
            "status": { "const": "success" },
            "url": {
                "type": "string", "format": "uri",
                "description": "The image, or its viewer page, as the plan has it",
            },
            "expires_at": {
                "description": "The last day, in UTC, on which the image is served",
                "oneOf": [
                    { "type": "string", "format": "date" },
                    { "const": NEVER_EXPIRES },
                ],
            },
        },
    })
}

fn health_report() -> Value {
    let verdict = |description: &str| json!({ "type": "string", "enum": ["ok", "failed"], "description": description });
    json!({
        "type": "object",
        "required": ["status", "ledger", "docroot", "free_space", "last_sweep"],
        "properties": {
            "status": verdict("All of the following"),
            "ledger": verdict("The ledger answers"),
            "docroot": verdict("The docroot can be written"),
            "free_space": verdict("The disk has room"),
            "last_sweep": {
                "type": ["string", "null"], "format": "date-time",
                "description": "When expired images were deleted last; null if never",
            },
        },
    })
}

/// The fields of the first object, then those of the second.
fn merged(first: Value, second: Value) -> Value {
    match second {
        Value::Object(second) => with(first, second),
        _ => first,
    }
}

/// The fields of the first object, then those of the second that it does not have.
pub(super) fn with(first: Value, more: Map<String, Value>) -> Value {
    match first {
        Value::Object(mut first) => {
            for (key, value) in more {
                first.entry(key).or_insert(value);
            }
            Value::Object(first)
        }
        other => other,
    }
}
