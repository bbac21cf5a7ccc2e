//! A Postman collection, format 2.1: the documented requests, every error that can be provoked from outside, and tests for each.
//!
//! What needs a file of the person's is one request. Everything else makes what it sends by itself, so that the whole collection runs
//! in `newman` with one image. What is not provoked: a disabled client and an exhausted quota, which nobody brings about in passing,
//! and the limits for each address, which would lock whoever runs the collection out for a while.

use serde_json::{Value, json};

use super::{Sender, endpoint, host};
use crate::config::Config;
use crate::error::Refusal;
use crate::image::ImageType;
use crate::image_path::content_type_of;
use crate::routes::ROOT;

const FIELDS: [(&str, &str); 3] = [
    ("client_id", "{{client_id}}"),
    ("client_token", "{{client_token}}"),
    ("store_duration", "{{store_duration}}"),
];

/// The size in pixels of the image that is too large: the largest number whose two bytes are ASCII, which is all that a text field can
/// carry unchanged.
const WIDE: u32 = 0x7F7F;

/// What a script does before its request is sent.
type Script = Vec<String>;

/// The collection.
pub(crate) fn collection(config: &Config, sender: Sender<'_>) -> Value {
    let variable = |key: &str, value: &str| json!({ "key": key, "value": value, "type": "string" });
    json!({
        "info": {
            "name": format!("{} image upload", host(config)),
            "description": description(config),
            "schema": "https://schema.getpostman.com/json/collection/v2.1.0/collection.json",
        },
        "item": [
            { "name": "Upload", "item": uploads() },
            { "name": "Your images", "item": own() },
            { "name": "Errors", "item": errors(config) },
            { "name": "Service", "item": service() },
        ],
        "event": [script("test", &on_every_reply())],
        "variable": [
            variable("base_url", config.site.public_url()),
            variable("client_id", sender.client_id),
            variable("client_token", sender.client_token),
            variable("store_duration", sender.duration.code()),
            variable("image_url", "https://example.com/image.jpg"),
            variable("uploaded_url", config.site.public_url()),
            variable("uploaded_path", "d/ap5/AbCdEfGhIj.png"),
        ],
    })
}

fn description(config: &Config) -> String {
    format!(
        "Uploads to {}. Enter your `client_id` and `client_token` under *Variables*, and choose an image in the body of *Upload a file*. \
         Each request has tests. In a terminal: `newman run FILE --working-dir DIR --env-var client_id=… --env-var client_token=…`, where \
         DIR holds an `image.jpg`.\n\nDocumentation: {}/image/docs/",
        endpoint(config),
        config.site.public_url()
    )
}

/// Tests of the collection as a whole.
fn on_every_reply() -> Script {
    lines(&[
        "if (!pm.variables.get('outside_the_api')) {",
        "  pm.test('names the request', () => pm.expect(pm.response.headers.get('X-Request-Id')).to.match(/^\\w+$/));",
        "  pm.test('may be read by every site', () => pm.expect(pm.response.headers.get('Access-Control-Allow-Origin')).to.eql('*'));",
        "}",
    ])
}

fn uploads() -> Vec<Value> {
    let stored = lines(&[
        "pm.test('stored', () => pm.response.to.have.status(200));",
        "const reply = pm.response.json();",
        "pm.test('says so', () => pm.expect(reply.status).to.eql('success'));",
        "pm.test('says where the image is', () => pm.expect(reply.url).to.match(/^https?:\\/\\/.*[A-Za-z0-9]{6,32}\\.(jpg|png|gif|webp)$/));",
        "pm.test('says how long it stays', () => pm.expect(reply.expires_at).to.match(/^(\\d{4}-\\d{2}-\\d{2}|Never \\(Lifetime\\))$/));",
        "pm.test('says what is left today', () => pm.expect(Number(pm.response.headers.get('X-RateLimit-Remaining'))).to.be.at.least(0));",
        "pm.collectionVariables.set('uploaded_url', reply.url);",
        "pm.collectionVariables.set('uploaded_path', reply.url.split(/\\/p\\/|\\?img=/)[1]);",
    ]);
    let mut file = form(&FIELDS);
    file.push(json!({ "key": "image", "type": "file", "src": "image.jpg" }));
    vec![
        Request::upload("Upload a file", &file).tested(stored.clone()),
        Request::upload("Upload from a URL", &form(&with(&FIELDS, &[("image_url", "{{image_url}}")])),
        )
        .tested(stored.clone()),
        Request::upload("Upload from a URL, as application/x-www-form-urlencoded", &[],
        )
        .body(json!({
            "mode": "urlencoded",
            "urlencoded": form(&with(&FIELDS, &[("image_url", "{{image_url}}")])),
        }))
        .tested(stored),
        Request::new("Fetch what was uploaded", "GET", "{{uploaded_url}}")
            .prepared(lines(&["pm.variables.set('outside_the_api', true);"]))
            .tested(lines(&[
                "pm.test('served', () => pm.response.to.have.status(200));",
                "pm.test('as an image or its page', () => pm.expect(pm.response.headers.get('Content-Type')).to.match(/^(image\\/|text\\/html)/));",
            ])),
    ]
    .into_iter()
    .map(Request::into_value)
    .collect()
}

/// What belongs to the client. The last image that was uploaded is deleted at the end.
fn own() -> Vec<Value> {
    let image = format!("{{{{base_url}}}}{ROOT}/images/{{{{uploaded_path}}}}");
    let call = |call: &str| format!("{{{{base_url}}}}{ROOT}/{call}");
    let done = "pm.test('done', () => pm.response.to.have.status(200));";
    vec![
        Request::new("What is used and left", "GET", &call("usage"))
            .with_credentials()
            .tested(lines(&[
                done,
                "pm.test('counts today', () => pm.expect(pm.response.json().today.uploads).to.be.above(0));",
                "pm.test('names the plan', () => pm.expect(pm.response.json().plan.name).to.be.a('string'));",
            ])),
        Request::new("The images of a day", "GET", &call("images?limit=10"))
            .with_credentials()
            .tested(lines(&[
                done,
                "const { images, next } = pm.response.json();",
                "pm.test('has some', () => pm.expect(images.length).to.be.within(1, 10));",
                "pm.test('says where the next page begins', () => pm.expect(next === null || next === images.at(-1).path).to.be.true);",
            ])),
        Request::new("One image", "GET", &image)
            .with_credentials()
            .tested(lines(&[
                done,
                "pm.test('says its size', () => pm.expect(pm.response.json().width).to.be.above(0));",
            ])),
        Request::new("Delete an image", "DELETE", &image)
            .with_credentials()
            .tested(lines(&[
                done,
                "pm.test('says which', () => pm.expect(pm.response.json().deleted).to.eql(pm.variables.get('uploaded_path')));",
            ])),
        Request::new("An image that is not there", "DELETE", &image)
            .with_credentials()
            .refused(&Refusal::NotFound),
        Request::new("A day that is none", "GET", &call("images?day=today"))
            .with_credentials()
            .refused(&Refusal::InvalidQuery { parameter: "day" }),
        Request::new("Without credentials", "GET", &call("usage"))
            .refused(&Refusal::MissingParameters),
    ]
    .into_iter()
    .map(Request::into_value)
    .collect()
}

fn errors(config: &Config) -> Vec<Value> {
    let mut requests = of_fields();
    requests.extend(of_images(config));
    requests.push(
        Request::upload("A body that is no form", &[])
            .body(json!({ "mode": "raw", "raw": "no form at all" }))
            .header("Content-Type", "text/plain")
            .refused(&Refusal::Malformed("")),
    );
    requests.push(
        Request::new(
            "An address that is none",
            "GET",
            &format!("{{{{base_url}}}}{ROOT}/nothing"),
        )
        .refused(&Refusal::NotFound),
    );
    requests.push(
        Request::new(
            "A method that is none",
            "GET",
            &format!("{{{{base_url}}}}{ROOT}/"),
        )
        .refused(&Refusal::MethodNotAllowed { allow: "" })
        .tested(lines(&[
            "pm.test('names those that are', () => pm.expect(pm.response.headers.get('Allow')).to.include('POST'));",
        ])),
    );
    requests.into_iter().map(Request::into_value).collect()
}

/// Errors that the text fields alone bring about.
fn of_fields() -> Vec<Request> {
    let mut requests = Vec::new();
    for (position, (name, _)) in FIELDS.iter().enumerate() {
        let mut fields = FIELDS.to_vec();
        fields.remove(position);
        requests.push(
            Request::upload(&format!("No {name}"), &form(&fields))
                .refused(&Refusal::MissingParameters),
        );
    }
    let instead = |name: &str, value: &'static str| {
        FIELDS.map(|(key, old)| (key, if key == name { value } else { old }))
    };
    let both = [("image_url", "{{image_url}}"), ("image", "not an image")];
    requests.extend([
        Request::upload("No image", &form(&FIELDS)).refused(&Refusal::MissingParameters),
        Request::upload("Unknown client", &form(&instead("client_id", "nobody")))
            .refused(&Refusal::InvalidClientId),
        Request::upload("Wrong token", &form(&instead("client_token", "wrong")))
            .refused(&Refusal::InvalidClientToken),
        Request::upload("Unknown duration", &form(&instead("store_duration", "2W")))
            .refused(&Refusal::InvalidDuration {
                allowed: Vec::new(),
            })
            .tested(lines(&[
                "pm.test('lists those of the plan', () => pm.expect(pm.response.json().allowed).to.be.an('array').that.is.not.empty);",
            ])),
        Request::upload("A file and a URL", &form(&with(&FIELDS, &both)))
            .refused(&Refusal::BothSources),
        Request::upload("An address inside a network", &form(&with(&FIELDS, &[("image_url", "http://127.0.0.1:1/image.jpg")])),
        )
        .refused(&Refusal::DownloadFailed),
    ]);
    requests
}

/// Errors that an image brings about. Its bytes are text, made by the request.
fn of_images(config: &Config) -> Vec<Request> {
    let types = ImageType::ALL.map(content_type_of);
    let mut requests = vec![
        Request::upload("Not an image", &form(&with(&FIELDS, &[("image", "not an image")])),
        )
        .refused(&Refusal::InvalidFileType)
        .tested(vec![format!(
            "pm.test('lists the types', () => pm.expect(pm.response.json().allowed).to.eql({}));",
            json!(types)
        )]),
        Request::upload("A file that is too large", &form(&with(&FIELDS, &[("image", "{{large_file}}")])),
        )
        .prepared(vec![format!(
            "pm.variables.set('large_file', 'x'.repeat({}));",
            config.largest_file() + 1
        )])
        .refused(&Refusal::FileTooLarge { max_size: 0 })
        .tested(lines(&[
            "pm.test('says the limit', () => pm.expect(pm.response.json().max_size).to.be.above(0));",
        ])),
    ];
    if config.images.max_side < WIDE {
        // A whole GIF of one pixel on a screen of 32,639 by 32,639, without one byte that UTF-8 would change.
        let gif = r"GIF89a\u007f\u007f\u007f\u007f\u0000\u0000\u0000,\u0000\u0000\u0000\u0000\u0001\u0000\u0001\u0000\u0000\u0002\u0002D\u0001\u0000;";
        requests.push(
            Request::upload(
                "Too many pixels",
                &form(&with(&FIELDS, &[("image", "{{wide_image}}")])),
            )
            .prepared(vec![format!("pm.variables.set('wide_image', '{gif}');")])
            .refused(&Refusal::DimensionsTooLarge {
                max_side: 0,
                max_megapixels: 0,
            })
            .tested(vec![format!(
                "pm.test('says the limits', () => pm.expect(pm.response.json()).to.include({}));",
                json!({
                    "max_side": config.images.max_side,
                    "max_megapixels": config.images.max_megapixels,
                })
            )]),
        );
    }
    requests
}

fn service() -> Vec<Value> {
    let root = |call: &str| format!("{{{{base_url}}}}{ROOT}/{call}");
    vec![
        Request::new("What a browser asks first", "OPTIONS", &root(""))
            .header("Origin", "https://example.com")
            .header("Access-Control-Request-Method", "POST")
            .tested(lines(&[
                "pm.test('allowed', () => pm.response.to.have.status(204));",
                "pm.test('names the methods', () => pm.expect(pm.response.headers.get('Access-Control-Allow-Methods')).to.include('POST'));",
            ])),
        Request::new("Health", "GET", &root("health")).tested(lines(&[
            "pm.test('answers', () => pm.expect(pm.response.code).to.be.oneOf([200, 503]));",
            "pm.test('says what works', () => pm.expect(pm.response.json()).to.include.keys('status', 'ledger', 'docroot', 'free_space'));",
        ])),
        Request::new("Metrics, from the addresses that may read them", "GET", &root("metrics")).tested(lines(&[
            "pm.test('answers, or hides', () => pm.expect(pm.response.code).to.be.oneOf([200, 404]));",
        ])),
    ]
    .into_iter()
    .map(Request::into_value)
    .collect()
}

/// One request of the collection.
struct Request {
    name: String,
    method: &'static str,
    url: String,
    headers: Vec<Value>,
    body: Option<Value>,
    before: Script,
    tests: Script,
}

impl Request {
    fn new(name: &str, method: &'static str, url: &str) -> Self {
        Self {
            name: name.to_owned(),
            method,
            url: url.to_owned(),
            headers: Vec::new(),
            body: None,
            before: Script::new(),
            tests: Script::new(),
        }
    }

    fn upload(name: &str, form: &[Value]) -> Self {
        Self::new(name, "POST", &format!("{{{{base_url}}}}{ROOT}/"))
            .body(json!({ "mode": "formdata", "formdata": form }))
    }

    fn body(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }

    fn header(mut self, key: &str, value: &str) -> Self {
        self.headers.push(json!({ "key": key, "value": value }));
        self
    }

    fn with_credentials(self) -> Self {
        self.header("X-Client-Id", "{{client_id}}")
            .header("X-Client-Token", "{{client_token}}")
    }

    fn prepared(mut self, script: Script) -> Self {
        self.before.extend(script);
        self
    }

    fn tested(mut self, script: Script) -> Self {
        self.tests.extend(script);
        self
    }

    /// Expects the documented reply to a refusal.
    fn refused(self, refusal: &Refusal) -> Self {
        let status = refusal.status();
        let message = refusal.message();
        self.tested(vec![
            format!("pm.test('status {status}', () => pm.response.to.have.status({status}));"),
            format!(
                "pm.test('{message}', () => pm.expect(pm.response.json().error).to.eql('{message}'));"
            ),
        ])
    }

    fn into_value(self) -> Value {
        let mut request = json!({
            "method": self.method,
            "header": self.headers,
            "url": self.url,
        });
        if let Some(body) = self.body {
            request["body"] = body;
        }
        let events: Vec<_> = [("prerequest", &self.before), ("test", &self.tests)]
            .into_iter()
            .filter(|(_, lines)| !lines.is_empty())
            .map(|(listen, lines)| script(listen, lines))
            .collect();
        json!({ "name": self.name, "request": request, "event": events })
    }
}

fn script(listen: &str, lines: &Script) -> Value {
    json!({ "listen": listen, "script": { "type": "text/javascript", "exec": lines } })
}

fn lines(lines: &[&str]) -> Script {
    lines.iter().map(|&line| line.to_owned()).collect()
}

fn with<'a>(fields: &[(&'a str, &'a str)], more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [fields, more].concat()
}

fn form(fields: &[(&str, &str)]) -> Vec<Value> {
    let text = |(key, value): &(&str, &str)| json!({ "key": key, "value": value, "type": "text" });
    fields.iter().map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

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
        all(
            &collection(config, Sender::anybody(config))["item"],
            &mut requests,
        );
        requests
    }

    fn config(more: &str) -> Config {
        Config::from_toml(&format!(
            "[site]\npublic_url = \"https://cdn.example.com\"\n{more}"
        ))
        .expect("valid")
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
    fn every_error_that_one_request_can_provoke_is_there() {
        let text = serde_json::to_string(&requests_of(&config(""))).expect("text");
        for refusal in [
            Refusal::MissingParameters,
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
    fn an_image_that_is_not_too_large_provokes_nothing() {
        let has_pixels = |config: &Config| {
            requests_of(config)
                .iter()
                .any(|request| request["name"] == "Too many pixels")
        };
        assert!(has_pixels(&config("")));
        assert!(!has_pixels(&config("[images]\nmax_side = 65535")));
    }
}
