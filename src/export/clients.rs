//! Settings of programs that people upload with: a Postman collection, a ShareX uploader and a PicGo configuration.

use serde_json::{Value, json};

use crate::api::ROOT;
use crate::config::Config;
use crate::error::Refusal;
use crate::plan::StoreDuration;

/// Who uploads; placeholders where the files are for everybody.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Credentials<'a> {
    pub(crate) client_id: &'a str,
    pub(crate) client_token: &'a str,
}

impl Default for Credentials<'_> {
    fn default() -> Self {
        Self {
            client_id: "YOUR_CLIENT_ID",
            client_token: "YOUR_CLIENT_TOKEN",
        }
    }
}

fn endpoint(config: &Config) -> String {
    format!("{}{ROOT}/", config.site.public_url())
}

fn host(config: &Config) -> &str {
    let url = config.site.public_url();
    url.split_once("://").map_or(url, |(_, host)| host)
}

/// The shortest duration of any plan: what most clients may ask for.
fn duration(config: &Config) -> &'static str {
    let durations = config
        .plans
        .values()
        .filter_map(|plan| plan.durations.first());
    durations
        .min()
        .copied()
        .unwrap_or(StoreDuration::Days7)
        .code()
}

/// A ShareX custom uploader (ShareX 13.7.1 and later, `.sxcu`).
pub(crate) fn sharex(config: &Config, credentials: Credentials<'_>) -> Value {
    json!({
        "Version": "14.1.0",
        "Name": host(config),
        "DestinationType": "ImageUploader",
        "RequestMethod": "POST",
        "RequestURL": endpoint(config),
        "Body": "MultipartFormData",
        "Arguments": {
            "client_id": credentials.client_id,
            "client_token": credentials.client_token,
            "store_duration": duration(config),
        },
        "FileFormName": "image",
        "URL": "{json:url}",
        "ErrorMessage": "{json:error}",
    })
}

/// A PicGo configuration for its plugin `web-uploader`, whose own values are JSON inside strings.
pub(crate) fn picgo(config: &Config, credentials: Credentials<'_>) -> Value {
    let body = json!({
        "client_id": credentials.client_id,
        "client_token": credentials.client_token,
        "store_duration": duration(config),
    });
    json!({
        "picBed": {
            "current": "web-uploader",
            "uploader": "web-uploader",
            "web-uploader": {
                "url": endpoint(config),
                "paramName": "image",
                "jsonPath": "url",
                "customHeader": "",
                "customBody": body.to_string(),
            },
        },
        "picgoPlugins": { "picgo-plugin-web-uploader": true },
    })
}

/// A Postman collection (format 2.1): the documented requests, the refusals that need no image, and tests for each.
pub(crate) fn postman(config: &Config, credentials: Credentials<'_>) -> Value {
    let success = [
        "pm.test('stored', () => pm.response.to.have.status(200));",
        "const reply = pm.response.json();",
        "pm.test('says where the image is', () => pm.expect(reply.url).to.match(/^https?:/));",
        "pm.test('says how long it stays', () => pm.expect(reply.expires_at).to.be.a('string'));",
    ];
    let all = [ID, TOKEN, DURATION];
    let refusals = [
        ("No duration", vec![ID, TOKEN], Refusal::MissingParameters),
        (
            "Unknown client",
            vec![("client_id", "nobody"), TOKEN, DURATION],
            Refusal::InvalidClientId,
        ),
        (
            "Wrong token",
            vec![ID, ("client_token", "wrong"), DURATION],
            Refusal::InvalidClientToken,
        ),
        ("No image", all.to_vec(), Refusal::MissingParameters),
        (
            "An address inside a network",
            [&all[..], &[("image_url", "http://127.0.0.1/")]].concat(),
            Refusal::DownloadFailed,
        ),
    ];
    let mut file = form(&all);
    file.push(json!({ "key": "image", "type": "file", "src": [] }));
    let mut requests = vec![
        request("Upload a file", &file, &success.map(str::to_owned)),
        request(
            "Upload from a URL",
            &form(&[&all[..], &[("image_url", "{{image_url}}")]].concat()),
            &success.map(str::to_owned),
        ),
    ];
    requests.extend(refusals.map(|(name, fields, refusal)| {
        let status = refusal.status();
        let message = refusal.message();
        let tests = [
            format!("pm.test('status {status}', () => pm.response.to.have.status({status}));"),
            format!("pm.test('{message}', () => pm.expect(pm.response.json().error).to.eql('{message}'));"),
        ];
        request(name, &form(&fields), &tests)
    }));
    let variable = |key: &str, value: &str| json!({ "key": key, "value": value });
    json!({
        "info": {
            "name": format!("{} image upload", host(config)),
            "schema": "https://schema.getpostman.com/json/collection/v2.1.0/collection.json",
        },
        "item": requests,
        "variable": [
            variable("base_url", config.site.public_url()),
            variable("client_id", credentials.client_id),
            variable("client_token", credentials.client_token),
            variable("store_duration", duration(config)),
            variable("image_url", "https://example.com/image.jpg"),
        ],
    })
}

const ID: (&str, &str) = ("client_id", "{{client_id}}");
const TOKEN: (&str, &str) = ("client_token", "{{client_token}}");
const DURATION: (&str, &str) = ("store_duration", "{{store_duration}}");

fn form(fields: &[(&str, &str)]) -> Vec<Value> {
    let text = |(key, value): &(&str, &str)| json!({ "key": key, "value": value, "type": "text" });
    fields.iter().map(text).collect()
}

fn request(name: &str, form: &[Value], tests: &[String]) -> Value {
    json!({
        "name": name,
        "request": {
            "method": "POST",
            "header": [],
            "body": { "mode": "formdata", "formdata": form },
            "url": format!("{{{{base_url}}}}{ROOT}/"),
        },
        "event": [{ "listen": "test", "script": { "type": "text/javascript", "exec": tests } }],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        Config::from_toml("[site]\npublic_url = \"https://cdn.example.com\"").expect("valid")
    }

    #[test]
    fn picgo_reads_its_fields_from_a_string() {
        let hostile = Credentials {
            client_id: "a",
            client_token: "quote\"and\\slash",
        };
        let picgo = picgo(&config(), hostile);
        let body = picgo["picBed"]["web-uploader"]["customBody"]
            .as_str()
            .expect("a string");
        let body: Value = serde_json::from_str(body).expect("JSON inside");
        assert_eq!(body["client_token"], "quote\"and\\slash");
        assert_eq!(body["store_duration"], "7D");
    }

    #[test]
    fn sharex_names_the_field_and_the_reply() {
        let sharex = sharex(&config(), Credentials::default());
        assert_eq!(sharex["RequestURL"], "https://cdn.example.com/image/v2/");
        assert_eq!(sharex["FileFormName"], "image");
        assert_eq!(sharex["URL"], "{json:url}");
    }

    #[test]
    fn every_postman_request_is_tested() {
        let postman = postman(&config(), Credentials::default());
        let requests = postman["item"].as_array().expect("requests");
        assert_eq!(requests.len(), 7);
        for request in requests {
            assert_eq!(request["request"]["url"], "{{base_url}}/image/v2/");
            assert!(
                !request["event"][0]["script"]["exec"]
                    .as_array()
                    .expect("tests")
                    .is_empty()
            );
        }
    }
}
