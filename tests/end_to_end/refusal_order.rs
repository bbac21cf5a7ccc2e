//! The order of refusals for a request with several errors.

use time::UtcDateTime;

use crate::refusals::{BOTH, INVALID_ID, INVALID_TOKEN, MALFORMED, MISSING, refused};
use support::builder::Client;
use support::form::{Form, MULTIPART};
use support::pictures::{PNG, png_of};
use support::site::Site;

#[test]
#[expect(
    clippy::too_many_lines,
    reason = "one table, a row for each pair of refusals"
)]
fn the_first_refusal_in_the_documented_order_is_answered() {
    let site = Site::builder()
        .set("plans.free", "daily_uploads = 0")
        .set("plans.3m", "")
        .set("plans.lifetime", "")
        .start();
    let client = site.client("3m").clone();
    let nobody = Client {
        id: "nobody".to_owned(),
        ..client.clone()
    };
    let wrong = Client {
        token: "wrong".to_owned(),
        ..client.clone()
    };
    let duration = r#"{"error":"Invalid storage duration","allowed":["7D","1M","3M"]}"#;
    let exhausted = r#"{"error":"Daily upload limit reached"}"#;
    let cut = |form: Form| {
        let body = form.body();
        body[..body.len() - 30].to_vec()
    };
    let free = site.client("free").clone();
    let large = png_of((5 << 20) + 1, 1);
    let url = "http://127.0.0.1:9/x.png";
    let cases: [(&str, Vec<u8>, u16, &str); 13] = [
        (
            "missing before the id",
            Form::new().text("client_id", "nobody").image(PNG).body(),
            400,
            MISSING,
        ),
        (
            "the id before the token",
            Form::upload(
                &Client {
                    id: "nobody".to_owned(),
                    token: "wrong".to_owned(),
                },
                "7D",
                PNG,
            )
            .body(),
            403,
            INVALID_ID,
        ),
        (
            "the id before a cut file",
            cut(Form::upload(&nobody, "7D", PNG)),
            403,
            INVALID_ID,
        ),
        (
            "the token before a cut file",
            cut(Form::upload(&wrong, "7D", PNG)),
            403,
            INVALID_TOKEN,
        ),
        (
            "the token before the duration",
            Form::upload(&wrong, "LTF", PNG).body(),
            403,
            INVALID_TOKEN,
        ),
        (
            "the duration before a cut file",
            cut(Form::upload(&client, "LTF", PNG)),
            400,
            duration,
        ),
        (
            "the duration before the quota",
            Form::upload(&free, "LTF", PNG).body(),
            400,
            r#"{"error":"Invalid storage duration","allowed":["7D","1M"]}"#,
        ),
        (
            "the quota before the source",
            Form::of(&free, "7D").body(),
            429,
            exhausted,
        ),
        (
            "the quota before both sources",
            Form::of(&free, "7D")
                .image(PNG)
                .text("image_url", url)
                .body(),
            429,
            exhausted,
        ),
        (
            "the quota before the type",
            Form::upload(&free, "7D", b"text").body(),
            429,
            exhausted,
        ),
        (
            "the sources before the size",
            Form::of(&client, "7D")
                .text("image_url", url)
                .image(&large)
                .body(),
            400,
            BOTH,
        ),
        (
            "the size before the type",
            Form::upload(&client, "7D", &vec![b'x'; (5 << 20) + 1]).body(),
            400,
            r#"{"error":"File too large","max_size":5242880}"#,
        ),
        (
            "a cut file before the token that should follow",
            cut(Form::new().text("client_id", "nobody").image(PNG)),
            400,
            MALFORMED,
        ),
    ];
    for (case, body, status, expected) in cases {
        refused(
            &site,
            &site.post_as(MULTIPART, &body),
            status,
            expected,
            case,
        );
    }
    site.run(&["client", "disable", &client.id]);
    let disabled = r#"{"error":"Client disabled"}"#;
    let reply = site.upload("3m", "LTF", PNG);
    refused(&site, &reply, 403, disabled, "disabled before the duration");
    let reply = site.upload("free", "7D", PNG);
    refused(&site, &reply, 429, exhausted, "a plan without uploads");
    let midnight = reply.number("X-RateLimit-Reset");
    let left = midnight - UtcDateTime::now().unix_timestamp();
    let retry = reply.number("Retry-After");
    assert!(
        (left..=left + 5).contains(&retry),
        "{retry}, {left} are left"
    );
    assert_eq!(reply.header("X-RateLimit-Limit"), Some("0"));
    assert_eq!(reply.header("X-RateLimit-Remaining"), Some("0"));
}
