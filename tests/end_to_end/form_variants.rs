//! Forms as real clients write them, and malformed ones with their cause in the log.

use support::form::{URLENCODED, urlencoded};
use support::pictures::PNG;
use support::site::Site;

use crate::refusals::{MALFORMED, refused};

/// A form whose parts have these headers and values; `$` stands for the client's id, `%` for its token.
fn upload(site: &Site, boundary: &str, parts: &[(&str, &[u8])]) -> Vec<u8> {
    let client = site.client("3m");
    let mut body = Vec::new();
    for (headers, value) in parts {
        body.extend(format!("--{boundary}\r\n{headers}\r\n\r\n").into_bytes());
        match *value {
            b"$" => body.extend(client.id.as_bytes()),
            b"%" => body.extend(client.token.as_bytes()),
            value => body.extend(value),
        }
        body.extend(b"\r\n");
    }
    body.extend(format!("--{boundary}--\r\n").into_bytes());
    body
}

const CREDENTIALS: [(&str, &[u8]); 3] = [
    ("Content-Disposition: form-data; name=\"client_id\"", b"$"),
    (
        "Content-Disposition: form-data; name=\"client_token\"",
        b"%",
    ),
    (
        "Content-Disposition: form-data; name=\"store_duration\"",
        b"7D",
    ),
];

const IMAGE: &str = "Content-Disposition: form-data; name=\"image\"; filename=\"a.png\"";

#[test]
fn unusual_boundaries_are_read() {
    let site = Site::start();
    let longest = "x".repeat(200);
    for (written, boundary) in [
        ("*****", "*****"),
        ("{8F6E4A11-0B8E}", "{8F6E4A11-0B8E}"),
        ("\"{8F6E4A11-0B8E}\"", "{8F6E4A11-0B8E}"),
        ("\"a b;c,d\"", "a b;c,d"),
        ("\"a\\\"b\"; charset=utf-8", "a\"b"),
        ("größe", "größe"),
        (&longest, &longest),
    ] {
        let body = upload(
            &site,
            boundary,
            &[&CREDENTIALS[..], &[(IMAGE, PNG)]].concat(),
        );
        let content_type = format!("multipart/form-data; boundary={written}");
        let reply = site.post_as(&content_type, &body);
        assert_eq!(reply.status, 200, "{written}: {}", reply.text());
    }
}

#[test]
fn unusual_part_headers_are_read() {
    let site = Site::start();
    for image in [
        "Content-Disposition: attachment; name=\"image\"; filename=\"a.png\"",
        "Content-Disposition: form-data; name=\"image\"; filename=\"my \"cool\" photo.png\"",
        "Content-Disposition: form-data; name=\"image\"; filename=\"27\" screen.png\"\r\nContent-Type: image/png",
        "Content-Disposition: form-data;\r\n name=\"image\";\r\n\tfilename=\"a.png\"",
        "Content-Type: image/png;\r\n name=\"a.png\"\r\nContent-Disposition: form-data; name=\"image\"",
    ] {
        let body = upload(&site, "b", &[&CREDENTIALS[..], &[(image, PNG)]].concat());
        let reply = site.post_as("multipart/form-data; boundary=b", &body);
        assert_eq!(reply.status, 200, "{image}: {}", reply.text());
    }
}

#[test]
fn white_space_around_text_fields_is_no_part_of_them() {
    let site = Site::start();
    let client = site.client("3m");
    for (before, after) in [
        ("", "\n"),
        (" ", "\r\n"),
        ("\t ", " "),
        ("\u{a0}", "\u{3000}"),
    ] {
        let around = |value: &str| format!("{before}{value}{after}");
        let (id, token, duration) = (around(&client.id), around(&client.token), around("7D"));
        let parts = [
            (CREDENTIALS[0].0, id.as_bytes()),
            (CREDENTIALS[1].0, token.as_bytes()),
            (CREDENTIALS[2].0, duration.as_bytes()),
            (IMAGE, PNG),
        ];
        let body = upload(&site, "b", &parts);
        let reply = site.post_as("multipart/form-data; boundary=b", &body);
        assert_eq!(reply.status, 200, "{before:?}: {}", reply.text());
        // Authenticated, so that only the image is missing.
        let fields = [
            ("client_id", id.as_str()),
            ("client_token", &token),
            ("store_duration", &duration),
            ("image_url", &around("")),
        ];
        let reply = site.post_as(URLENCODED, &urlencoded(&fields));
        assert_eq!(reply.number("X-RateLimit-Limit"), 1_000);
        assert!(reply.text().contains("Missing required parameters"));
    }
}

#[test]
fn malformed_forms_have_their_cause_in_the_log() {
    let site = Site::start();
    let whole = upload(&site, "b", &[&CREDENTIALS[..], &[(IMAGE, b"GIF")]].concat());
    let whole = String::from_utf8(whole).expect("text");
    let other_name = "form-data; filename=\"a\"b\"; name=\"image\"";
    for (body, cause) in [
        (
            whole.replace("\r\n", "\n"),
            "a delimiter line that ends in LF instead of CR LF",
        ),
        (
            whole.replace(
                "form-data; name=\"client_id\"\r\n",
                "form-data; name=\"client_id\"\n",
            ),
            "a header line that ends in LF instead of CR LF",
        ),
        (
            whole.replace(IMAGE, "Content-Type: image/png"),
            "a part without Content-Disposition",
        ),
        (
            whole.replace(IMAGE, &format!("Content-Disposition: {other_name}")),
            "an unescaped quote in a file name that makes the part's name ambiguous",
        ),
        (
            whole.replace("--b--\r\n", ""),
            "a body that ends before the closing delimiter",
        ),
    ] {
        let reply = site.post_as("multipart/form-data; boundary=b", body.as_bytes());
        refused(&site, &reply, 400, MALFORMED, cause);
        site.wait_for_log(&format!("cause=\"{cause}\""));
    }
}
