//! Uploads that are refused for what they are or for who sends them, and that none of them leaves a trace.

use serde_json::{Value, json};
use support::builder::Client;
use support::form::{Form, MULTIPART, URLENCODED, urlencoded};
use support::http::{self, Reply};
use support::pictures::{GIF, JPEG, PNG, WEBP, png, png_of};
use support::site::{NOTHING, Site};

pub(crate) const MISSING: &str = r#"{"error":"Missing required parameters"}"#;
pub(crate) const MALFORMED: &str = r#"{"error":"Malformed request body"}"#;
pub(crate) const INVALID_TYPE: &str = r#"{"error":"Invalid file type","allowed":["image/jpeg","image/png","image/gif","image/webp"]}"#;
pub(crate) const INVALID_ID: &str = r#"{"error":"Invalid client ID"}"#;
pub(crate) const INVALID_TOKEN: &str = r#"{"error":"Invalid client token"}"#;
pub(crate) const BOTH: &str = r#"{"error":"Provide either image or image_url, not both"}"#;

/// Asserts that a reply is this error, with what every reply has, and that nothing was stored or counted for it.
#[track_caller]
pub(crate) fn refused(site: &Site, reply: &Reply, status: u16, body: &str, case: &str) {
    is_error(reply, status, body, case);
    assert_eq!(site.holdings(), NOTHING, "{case}");
}

#[track_caller]
pub(crate) fn is_error(reply: &Reply, status: u16, body: &str, case: &str) {
    assert_eq!((reply.status, reply.text()), (status, body), "{case}");
    assert_eq!(
        reply.header("Content-Type"),
        Some("application/json"),
        "{case}"
    );
    assert_eq!(
        reply.header("Access-Control-Allow-Origin"),
        Some("*"),
        "{case}"
    );
    let exposed = reply.header("Access-Control-Expose-Headers");
    assert!(
        exposed.is_some_and(|names| names.contains("X-RateLimit-Remaining")),
        "{case}: {reply:?}"
    );
    assert!(
        reply
            .header("X-Request-Id")
            .is_some_and(|id| id.len() == 32),
        "{case}: {reply:?}"
    );
}

pub(crate) fn too_large(max_size: u64) -> String {
    json!({ "error": "File too large", "max_size": max_size }).to_string()
}

/// The fields of an upload but one.
fn without(client: &Client, missing: &str, empty: bool) -> Form {
    let fields = [
        ("client_id", client.id.as_str()),
        ("client_token", &client.token),
        ("store_duration", "7D"),
    ];
    fields
        .into_iter()
        .filter(|(name, _)| empty || *name != missing)
        .fold(Form::new(), |form, (name, value)| {
            form.text(name, if name == missing { "" } else { value })
        })
}

#[test]
fn missing_parameters() {
    let site = Site::start();
    let client = site.client("3m");
    for name in ["client_id", "client_token", "store_duration"] {
        for empty in [false, true] {
            let form = without(client, name, empty).image(PNG);
            let case = format!("{name}, empty: {empty}");
            refused(&site, &site.post(&form), 400, MISSING, &case);
        }
    }
    let no_image = Form::of(client, "7D");
    refused(&site, &site.post(&no_image), 400, MISSING, "no image");
    let unused_inputs = no_image.file("image", "", b"").text("image_url", "");
    let reply = site.post(&unused_inputs);
    refused(&site, &reply, 400, MISSING, "a browser's empty inputs");
    // The client was known by then, so it is told its quota.
    assert_eq!(reply.number("X-RateLimit-Remaining"), 1_000);
    let empty_form = Form::new();
    refused(
        &site,
        &site.post(&empty_form),
        400,
        MISSING,
        "an empty form",
    );
    for fields in [
        "client_token",
        "image or image_url",
        "client_id, client_token, store_duration",
    ] {
        site.wait_for_log(&format!("cause=\"missing or empty: {fields}\""));
    }
    let reply = site.post_as(URLENCODED, b"");
    refused(&site, &reply, 400, MISSING, "an empty body");
    let reply = site.post_as(
        URLENCODED,
        &urlencoded(&[("client_id", &client.id), ("store_duration", "7D")]),
    );
    refused(&site, &reply, 400, MISSING, "urlencoded without a token");
    assert_eq!(reply.header("X-RateLimit-Remaining"), None);
}

#[test]
fn both_sources() {
    let site = Site::start();
    let url = "http://127.0.0.1:9/x.png";
    let client = site.client("3m");
    let first = Form::of(client, "7D").image(PNG).text("image_url", url);
    refused(&site, &site.post(&first), 400, BOTH, "the file first");
    let last = Form::of(client, "7D").text("image_url", url).image(PNG);
    refused(&site, &site.post(&last), 400, BOTH, "the file last");
    let empty = Form::of(client, "7D").text("image_url", url).image(b"");
    refused(&site, &site.post(&empty), 400, BOTH, "an empty file");
}

#[test]
fn durations_that_are_not_of_the_plan() {
    let site = Site::start();
    let refusal =
        |allowed: Value| json!({ "error": "Invalid storage duration", "allowed": allowed });
    let cases = [
        ("free", "3M", json!(["7D", "1M"])),
        ("free", "LTF", json!(["7D", "1M"])),
        ("3m", "LTF", json!(["7D", "1M", "3M"])),
        ("lifetime", "2M", json!(["7D", "1M", "3M", "LTF"])),
        ("lifetime", "7d", json!(["7D", "1M", "3M", "LTF"])),
        ("lifetime", "L TF", json!(["7D", "1M", "3M", "LTF"])),
    ];
    for (plan, duration, allowed) in cases {
        let reply = site.upload(plan, duration, PNG);
        let case = format!("{plan} {duration:?}");
        refused(&site, &reply, 400, &refusal(allowed).to_string(), &case);
        assert!(reply.header("X-RateLimit-Limit").is_some(), "{case}");
    }
}

#[test]
fn files_larger_than_the_plan_allows() {
    let site = Site::builder()
        .expect("client intended to send too large")
        .start();
    for (plan, limit) in [
        ("free", 2_097_152),
        ("3m", 5_242_880),
        ("lifetime", 10_485_760),
    ] {
        let image = png_of(limit + 1, 1);
        let expected = too_large(limit as u64);
        let client = site.client(plan);
        let reply = site.post(&Form::upload(client, "7D", &image));
        refused(&site, &reply, 400, &expected, plan);
        let file_first = Form::new()
            .image(&image)
            .text("client_id", &client.id)
            .text("client_token", &client.token)
            .text("store_duration", "7D");
        let reply = site.post(&file_first);
        refused(
            &site,
            &reply,
            400,
            &expected,
            &format!("{plan}, file first"),
        );
    }
    // Over every plan's limit, the reply still names the client's own.
    let reply = site.upload("3m", "7D", &png_of(12 << 20, 1));
    let over_every_plan = "over every plan's limit";
    refused(&site, &reply, 400, &too_large(5_242_880), over_every_plan);
    // Far over it, nginx refuses without knowing the plan, and names the largest.
    let reply = site.upload("3m", "7D", &png_of(21 << 20, 1));
    refused(
        &site,
        &reply,
        400,
        &too_large(10_485_760),
        "over the body limit",
    );
    let chunked = [
        format!(
            "POST /image/v2 HTTP/1.1\r\nHost: x\r\nContent-Type: {MULTIPART}\r\n\
             Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n1500000\r\n"
        )
        .as_bytes(),
        &png_of(0x150_0000, 1),
        b"\r\n0\r\n\r\n",
    ]
    .concat();
    let reply = http::exchange(site.port, &chunked).expect("a reply");
    refused(&site, &reply, 400, &too_large(10_485_760), "chunked");
}

#[test]
fn files_that_are_no_image() {
    let site = Site::start();
    let mut wrong_crc = PNG.to_vec();
    wrong_crc[29] ^= 1;
    let no_last_row = &PNG[..PNG.len() - 12 - 4 - 4 - 3];
    let mut lossless = JPEG.to_vec();
    let frame = JPEG.windows(2).position(|marker| marker == [0xFF, 0xC0]);
    lossless[frame.expect("a baseline frame") + 1] = 0xC3;
    let cases: [(&str, &[u8]); 17] = [
        ("an empty file", b""),
        ("text", b"hello"),
        ("a page", b"<!DOCTYPE html><script>alert(1)</script>"),
        ("a drawing", b"<svg xmlns=\"http://www.w3.org/2000/svg\"/>"),
        ("the head of a GIF", b"GIF"),
        (
            "the head of a GIF, and a script",
            b"GIF89a<?php system($_GET[0]); ?>",
        ),
        ("the head of a JPEG", b"\xff\xd8\xff<?php echo 1; ?>"),
        (
            "the head of a WebP",
            b"RIFF\x10\0\0\0WEBP<script>alert(1)</script>",
        ),
        ("the head of a PNG", b"\x89PNG\r\n\x1a\n<?php echo 1; ?>"),
        ("a cut PNG", &PNG[..PNG.len() / 2]),
        ("a cut JPEG", &JPEG[..JPEG.len() / 2]),
        ("a cut GIF", &GIF[..GIF.len() / 2]),
        ("a cut WebP", &WEBP[..WEBP.len() / 2]),
        ("a PNG with a wrong CRC", &wrong_crc),
        ("a PNG without its last row", no_last_row),
        ("a lossless JPEG, which no browser shows", &lossless),
        (
            "another image type",
            b"BM\x3a\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0\x01\0\0\0\x01\0\0\0\x01\0\x18\0",
        ),
    ];
    for (case, bytes) in cases {
        refused(
            &site,
            &site.upload("3m", "7D", bytes),
            400,
            INVALID_TYPE,
            case,
        );
    }
    let no_width = png(0, 1);
    refused(
        &site,
        &site.upload("3m", "7D", &no_width),
        400,
        INVALID_TYPE,
        "no width",
    );
}

#[test]
fn a_damaged_end_behind_whole_image_data_is_accepted() {
    let site = Site::start();
    let without_eoi = &JPEG[..JPEG.len() - 2];
    for (case, bytes) in [
        ("a PNG without IEND", PNG[..PNG.len() - 12].to_vec()),
        ("a GIF without trailer", GIF[..GIF.len() - 1].to_vec()),
        (
            "a JPEG with a trailer instead of EOI",
            [without_eoi, b"SEFT trailer"].concat(),
        ),
    ] {
        let path = site.store("3m", "7D", &bytes);
        assert_eq!(
            std::fs::read(site.file(&path)).expect("a file"),
            bytes,
            "{case}"
        );
    }
}

#[test]
fn width_and_height_are_those_that_browsers_show() {
    let site = Site::start();
    let size = |bytes: &[u8]| {
        let path = site.store("3m", "7D", bytes);
        let shown = site.run(&["image", "show", &path, "--json"]);
        let shown: Value = serde_json::from_str(&shown).expect("JSON");
        (shown["width"].clone(), shown["height"].clone())
    };
    let (width, height) = size(JPEG);
    assert_ne!(width, height);
    // Exif orientation 6: a quarter turn.
    let exif =
        b"\xFF\xE1\0\x22Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
    assert_eq!(
        size(&[&JPEG[..2], exif, &JPEG[2..]].concat()),
        (height, width)
    );
}

#[test]
fn images_of_too_many_pixels() {
    let site = Site::builder()
        .set("images", "max_side = 2000\nmax_megapixels = 3")
        .start();
    let expected = r#"{"error":"Image dimensions too large","max_side":2000,"max_megapixels":3}"#;
    for (width, height) in [(2_001, 1), (1, 2_001), (2_000, 1_501), (1 << 30, 1 << 30)] {
        let reply = site.upload("3m", "7D", &png(width, height));
        refused(&site, &reply, 400, expected, &format!("{width} × {height}"));
    }
    for (width, height) in [(2_000, 1_500), (2_000, 1), (1, 2_000)] {
        let reply = site.upload("3m", "7D", &png(width, height));
        assert_eq!(reply.status, 200, "{width} × {height}: {}", reply.text());
    }
}

#[test]
fn the_default_limits_of_pixels() {
    let site = Site::start();
    let expected = r#"{"error":"Image dimensions too large","max_side":32768,"max_megapixels":64}"#;
    for (width, height) in [(32_769, 1), (1, 32_769), (8_000, 8_001)] {
        let reply = site.upload("3m", "7D", &png(width, height));
        refused(&site, &reply, 400, expected, &format!("{width} × {height}"));
    }
    for (width, height) in [(8_000, 8_000), (8_160, 6_144), (1_080, 20_000)] {
        let reply = site.upload("3m", "7D", &png(width, height));
        assert_eq!(reply.status, 200, "{width} × {height}: {}", reply.text());
    }
}

#[test]
fn bodies_that_are_not_what_they_say() {
    let site = Site::start();
    let client = site.client("3m");
    let whole = Form::upload(client, "7D", PNG).body();
    let long = "x".repeat(300);
    let too_many = (0..61).fold(Form::upload(client, "7D", PNG), |form, number| {
        form.text(&format!("other{number}"), "x")
    });
    let cases: [(&str, &str, Vec<u8>); 14] = [
        (
            "cut in the file",
            MULTIPART,
            whole[..whole.len() - 500].to_vec(),
        ),
        (
            "no closing delimiter",
            MULTIPART,
            whole[..whole.len() - 4].to_vec(),
        ),
        (
            "half a closing delimiter",
            MULTIPART,
            whole[..whole.len() - 3].to_vec(),
        ),
        ("no part at all", MULTIPART, b"client_id=x".to_vec()),
        (
            "another boundary",
            "multipart/form-data; boundary=other",
            whole.clone(),
        ),
        ("no boundary", "multipart/form-data", whole.clone()),
        (
            "an empty boundary",
            "multipart/form-data; boundary=\"\"",
            whole.clone(),
        ),
        ("JSON", "application/json", b"{}".to_vec()),
        ("a bare image", "image/png", PNG.to_vec()),
        ("an empty content type", "", whole.clone()),
        (
            "a long field",
            MULTIPART,
            Form::new().text("client_id", &long).body(),
        ),
        (
            "a field twice",
            MULTIPART,
            without(client, "store_duration", false)
                .text("client_id", "x")
                .body(),
        ),
        (
            "a file twice",
            MULTIPART,
            Form::new().image(PNG).image(PNG).body(),
        ),
        (
            "65 parts",
            MULTIPART,
            Form::body(&too_many.text("last", "x")),
        ),
    ];
    for (case, content_type, body) in cases {
        refused(
            &site,
            &site.post_as(content_type, &body),
            400,
            MALFORMED,
            case,
        );
    }
    let without_type = http::request(site.port, "POST", "/image/v2/", &[], &whole);
    refused(&site, &without_type, 400, MALFORMED, "no content type");
    let urlencoded = [
        ("a field twice", b"client_id=a&client_id=b".to_vec()),
        ("too long a body", [b"x=", &vec![b'a'; 17_000][..]].concat()),
    ];
    for (case, body) in urlencoded {
        refused(
            &site,
            &site.post_as(URLENCODED, &body),
            400,
            MALFORMED,
            case,
        );
    }
}

#[test]
fn credentials_that_are_wrong() {
    let site = Site::start();
    let client = site.client("3m").clone();
    let as_client = |id: &str, token: &str| {
        let client = Client {
            id: id.to_owned(),
            token: token.to_owned(),
        };
        site.post(&Form::upload(&client, "7D", PNG))
    };
    for id in ["nobody", "client -3m", "CLIENT-3M", "' OR 1=1 --", "é"] {
        let reply = as_client(id, &client.token);
        refused(&site, &reply, 403, INVALID_ID, id);
        assert_eq!(reply.header("X-RateLimit-Limit"), None);
    }
    let upper = client.token.to_uppercase();
    let other = &site.client("free").token;
    for token in ["wrong", &client.token[1..], &upper, other] {
        let reply = as_client(&client.id, token);
        if token == client.token {
            continue;
        }
        refused(&site, &reply, 403, INVALID_TOKEN, "a wrong token");
        assert_eq!(reply.header("X-RateLimit-Limit"), None);
    }
    let log = site.responder_log();
    assert!(
        !log.contains(&client.token) && !log.contains(other.as_str()),
        "a token is in the log"
    );

    site.run(&["client", "disable", &client.id]);
    let disabled = r#"{"error":"Client disabled"}"#;
    let reply = as_client(&client.id, &client.token);
    refused(&site, &reply, 403, disabled, "disabled");
    let reply = as_client(&client.id, "wrong");
    refused(
        &site,
        &reply,
        403,
        INVALID_TOKEN,
        "disabled, with a wrong token",
    );
    site.run(&["client", "enable", &client.id]);
    assert_eq!(as_client(&client.id, &client.token).status, 200);
}
