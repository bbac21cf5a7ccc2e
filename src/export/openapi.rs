//! The API as an OpenAPI 3.1 document: every call, every error with an example, the headers and the plans.
//!
//! Texts of errors, limits, types and durations come from the code and the configuration that answer requests, so that the document
//! says what the service does.

mod operations;
mod own;
mod replies;

use serde_json::{Map, Value, json};

use super::{Sender, host, plans_by_size};
use crate::config::{ByteSize, Config};
use crate::plan::{Plan, UrlKind};
use crate::routes::ROOT;

/// The document.
pub(crate) fn document(config: &Config, sender: Sender<'_>) -> Value {
    let mut info = json!({
        "title": format!("{} image upload", host(config)),
        "version": env!("CARGO_PKG_VERSION"),
        "summary": "Upload images, get URLs that expire by themselves",
        "description": description(config),
    });
    if let Some(contact) = contact(&config.site.contact) {
        info["contact"] = contact;
    }
    json!({
        "openapi": "3.1.0",
        "info": info,
        "servers": [{ "url": config.site.public_url() }],
        "externalDocs": {
            "description": "The documentation for people",
            "url": format!("{}/image/docs/", config.site.public_url()),
        },
        "tags": [
            { "name": "upload", "description": "Put images on the CDN" },
            { "name": "own", "description": "See and delete what you have uploaded. Credentials come in headers" },
            { "name": "service", "description": "How the service is" },
        ],
        "paths": paths(config, sender),
        "components": {
            "schemas": schemas(config, sender),
            "headers": replies::headers(),
            "parameters": own::parameters(sender),
        },
        "x-plans": plans_by_size(config).into_iter().map(Plan::to_json).collect::<Vec<_>>(),
    })
}

/// A mail address or a URL, as the format wants them told apart; other text has no place in it.
fn contact(text: &str) -> Option<Value> {
    let text = text.trim();
    if text.is_empty() || text.contains(char::is_whitespace) {
        None
    } else if text.starts_with("https://") || text.starts_with("http://") {
        Some(json!({ "url": text }))
    } else if text.contains('@') && !text.contains(':') {
        Some(json!({ "email": text }))
    } else {
        None
    }
}

fn description(config: &Config) -> String {
    let row = |plan: &Plan| {
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
    };
    let rows: Vec<_> = plans_by_size(config).into_iter().map(row).collect();
    let rows = rows.join("\n");
    format!(
        "Every reply is JSON, errors too, and every site may read it (CORS). Ignore keys that you do not know: more may be added. Days \
         are UTC days.\n\n| plan | uploads a day | largest file | durations | `url` leads to |\n|---|--:|--:|---|---|\n{rows}\n"
    )
}

fn paths(config: &Config, sender: Sender<'_>) -> Value {
    json!({
        format!("{ROOT}/"): operations::upload(config, sender),
        format!("{ROOT}/usage"): own::usage(config),
        format!("{ROOT}/images"): own::images(config),
        format!("{ROOT}/images/{{class}}/{{day}}/{{file}}"): own::image(config),
        format!("{ROOT}/health"): operations::health(config),
        format!("{ROOT}/metrics"): operations::metrics(config),
    })
}

fn schemas(config: &Config, sender: Sender<'_>) -> Value {
    let mut schemas = operations::schemas(config, sender);
    schemas.extend(own::schemas());
    schemas.extend(replies::error_schemas(config));
    Value::Object(schemas)
}

/// An object of named values.
fn named(values: impl IntoIterator<Item = (String, Value)>) -> Map<String, Value> {
    values.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document_of(more: &str) -> Value {
        let toml = format!("[site]\npublic_url = \"https://cdn.example.com\"\n{more}");
        let config = Config::from_toml(&toml).expect("valid");
        document(&config, Sender::anybody(&config))
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
        for kind in ["schemas", "headers", "parameters"] {
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
            json!([{ "name": "tiny", "daily_uploads": 3, "max_file_size": 1024, "durations": ["3M"], "url": "viewer" }])
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
        assert_eq!(contact("at the desk"), None);
        assert_eq!(contact("javascript:alert(1)@x"), None);
        assert_eq!(
            contact("a@example.com"),
            Some(json!({ "email": "a@example.com" }))
        );
    }
}
