//! Settings of upload programs: ShareX, PicGo, uPic, and environment variables for scripts.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{Credentials, endpoint, host};
use crate::config::Config;

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
            "client_id": sharex_text(credentials.client_id),
            "client_token": sharex_text(credentials.client_token),
            "store_duration": credentials.duration.code(),
        },
        "FileFormName": "image",
        "URL": "{json:url}",
        "ThumbnailURL": "{json:direct}",
        "DeletionURL": "{json:delete_url}",
        "ErrorMessage": "{json:error}",
    })
}

/// Text escaped for ShareX: since 13.7.1, braces call functions and a backslash escapes.
fn sharex_text(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if matches!(character, '{' | '}' | '|' | '\\') {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

/// A PicGo configuration for its plugin `web-uploader`, whose body is JSON in a string.
pub(crate) fn picgo(config: &Config, credentials: Credentials<'_>) -> Value {
    let body = json!({
        "client_id": credentials.client_id,
        "client_token": credentials.client_token,
        "store_duration": credentials.duration.code(),
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

/// A custom host for *Import* of uPic: a list of strings with a host each as JSON, whose values are JSON in strings.
pub(crate) fn upic(config: &Config, credentials: Credentials<'_>) -> Value {
    let field = |key: &str, value: &str| json!({ "key": key, "value": value });
    let fields = json!([
        field("client_id", credentials.client_id),
        field("client_token", credentials.client_token),
        field("store_duration", credentials.duration.code()),
    ]);
    let data = json!({
        "url": endpoint(config),
        "method": "POST",
        "field": "image",
        "bodys": fields.to_string(),
        "headers": "[]",
        "resultPath": "[\"url\"]",
        "domain": "",
        "saveKeyPath": "",
        "suffix": "",
        "useBase64": false,
    });
    let custom_host = json!({
        "id": upic_id(config),
        "name": host(config),
        "type": "custom",
        "data": data.to_string(),
    });
    json!([custom_host.to_string()])
}

/// The identifier of a host in uPic, a number in a string. It depends on the site, so that a later import replaces the first.
fn upic_id(config: &Config) -> String {
    let digest = Sha256::digest(endpoint(config));
    let number = digest
        .iter()
        .take(4)
        .fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    (1_000_000_000 + number).to_string()
}

/// Shell variables: the settings of `corenexis-upload`.
pub(crate) fn environment(config: &Config, credentials: Credentials<'_>) -> String {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', r"'\''"));
    format!(
        "CORENEXIS_URL={}\nCORENEXIS_CLIENT_ID={}\nCORENEXIS_CLIENT_TOKEN={}\nCORENEXIS_STORE_DURATION={}\n",
        quoted(config.site.public_url()),
        quoted(credentials.client_id),
        quoted(credentials.client_token),
        credentials.duration.code()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expiry::StoreDuration;

    const HOSTILE: Credentials<'_> = Credentials {
        client_id: "a",
        client_token: r#"q"uo'te\{json:x}|$(id)`"#,
        duration: StoreDuration::Month1,
    };

    fn config() -> Config {
        Config::from_toml("[site]\npublic_url = \"https://cdn.example.com\"").expect("valid")
    }

    fn inner(value: &Value) -> Value {
        serde_json::from_str(value.as_str().expect("a string")).expect("JSON inside")
    }

    #[test]
    fn picgo_has_its_fields_in_a_string() {
        let picgo = picgo(&config(), HOSTILE);
        let body = inner(&picgo["picBed"]["web-uploader"]["customBody"]);
        assert_eq!(body["client_token"], HOSTILE.client_token);
        assert_eq!(body["store_duration"], "1M");
    }

    #[test]
    fn sharex_has_the_fields_of_request_and_reply() {
        let sharex = sharex(&config(), Credentials::placeholders(&config()));
        assert_eq!(sharex["RequestURL"], "https://cdn.example.com/image/v2/");
        assert_eq!(sharex["FileFormName"], "image");
        assert_eq!(sharex["URL"], "{json:url}");
        assert_eq!(sharex["Arguments"]["store_duration"], "7D");
    }

    #[test]
    fn sharex_does_not_evaluate_a_token() {
        let sharex = sharex(&config(), HOSTILE);
        assert_eq!(
            sharex["Arguments"]["client_token"],
            r#"q"uo'te\\\{json:x\}\|$(id)`"#
        );
    }

    #[test]
    fn upic_has_json_in_strings_in_a_list() {
        let upic = upic(&config(), HOSTILE);
        let host = inner(&upic[0]);
        assert_eq!(host["type"], "custom");
        assert_eq!(host["name"], "cdn.example.com");
        let data = inner(&host["data"]);
        assert_eq!(data["url"], "https://cdn.example.com/image/v2/");
        assert_eq!(data["field"], "image");
        assert_eq!(inner(&data["resultPath"]), json!(["url"]));
        let fields = inner(&data["bodys"]);
        assert_eq!(
            fields[1],
            json!({ "key": "client_token", "value": HOSTILE.client_token })
        );
    }

    #[test]
    fn the_environment_is_quoted_for_a_shell() {
        let environment = environment(&config(), HOSTILE);
        assert_eq!(
            environment,
            "CORENEXIS_URL='https://cdn.example.com'\nCORENEXIS_CLIENT_ID='a'\n\
             CORENEXIS_CLIENT_TOKEN='q\"uo'\\''te\\{json:x}|$(id)`'\nCORENEXIS_STORE_DURATION=1M\n"
        );
    }
}
