//! Uploads with an `Idempotency-Key`, and with credentials in headers.

use std::thread;

use serde_json::json;

use crate::refusals::{INVALID_TOKEN, MISSING, is_error};
use support::form::{Form, MULTIPART};
use support::http::{self, Reply};
use support::pictures::{JPEG, PNG, png_of};
use support::site::Site;

const REUSED: &str = r#"{"error":"Idempotency key used for another upload"}"#;
const CONFLICT: &str = r#"{"error":"Conflicting credentials"}"#;

fn post(site: &Site, form: &Form, headers: &[(&str, &str)]) -> Reply {
    let mut all = vec![("Content-Type", MULTIPART)];
    all.extend_from_slice(headers);
    http::request(site.port, "POST", "/image/v2/", &all, &form.body())
}

fn post_with(site: &Site, form: &Form, key: &str) -> Reply {
    post(site, form, &[("Idempotency-Key", key)])
}

/// Makes all uploads so old that none of them can be under way.
fn make_older(site: &Site) {
    site.ledger()
        .execute_batch(
            "UPDATE image SET uploaded_at = uploaded_at - 61; UPDATE upload_key SET uploaded_at = uploaded_at - 61",
        )
        .expect("changed");
}

#[test]
fn a_repeated_upload_is_stored_once_and_gets_the_reply_of_the_first() {
    let site = Site::start();
    let client = site.client("free");
    let form = Form::upload(client, "7D", PNG);
    let first = post_with(&site, &form, "8e03978e-40d5-43dd-bc93-6894a57f9324");
    assert_eq!(first.status, 200, "{first:?}");
    for key in [
        "8e03978e-40d5-43dd-bc93-6894a57f9324",
        "\"8e03978e-40d5-43dd-bc93-6894a57f9324\"",
    ] {
        let again = post_with(&site, &form, key);
        assert_eq!((again.status, again.json()), (200, first.json()));
        assert_eq!(again.header("X-RateLimit-Remaining"), Some("49"));
    }
    assert_eq!((site.holdings().rows, site.holdings().counted), (1, 1));
    site.wait_for_log("repeated=true");

    let key = "8e03978e-40d5-43dd-bc93-6894a57f9324";
    for (other, what) in [
        (Form::upload(client, "7D", JPEG), "another image"),
        (Form::upload(client, "1M", PNG), "another duration"),
    ] {
        is_error(&post_with(&site, &other, key), 422, REUSED, what);
    }
    // The same key of another client, and the same image with another key.
    let others = Form::upload(site.client("3m"), "7D", PNG);
    assert_eq!(post_with(&site, &others, key).status, 200);
    assert_eq!(post_with(&site, &form, "another").status, 200);
    assert_eq!(site.holdings().rows, 3);
    let long = "x".repeat(256);
    for wrong in ["two words", &long] {
        let reply = post_with(&site, &form, wrong);
        is_error(&reply, 400, r#"{"error":"Invalid idempotency key"}"#, wrong);
    }
    // What was refused is not remembered.
    let broken = Form::upload(client, "7D", b"no image");
    assert_eq!(post_with(&site, &broken, "corrected").status, 400);
    assert_eq!(post_with(&site, &form, "corrected").status, 200);
}

#[test]
fn the_last_upload_of_a_quota_can_be_repeated() {
    let site = Site::builder()
        .set("plans.free", "daily_uploads = 1")
        .start();
    let form = Form::upload(site.client("free"), "7D", PNG);
    let first = post_with(&site, &form, "key");
    assert_eq!(first.status, 200, "{first:?}");
    let again = post_with(&site, &form, "key");
    assert_eq!((again.status, again.json()), (200, first.json()));
    assert_eq!(again.header("X-RateLimit-Remaining"), Some("0"));
    assert_eq!(post_with(&site, &form, "other").status, 429);
}

#[test]
fn a_key_of_a_deleted_image_is_free_again() {
    let site = Site::start();
    let form = Form::upload(site.client("free"), "7D", PNG);
    let first = post_with(&site, &form, "key").json();
    let path = first["path"].as_str().expect("a path");
    site.run(&["image", "delete", path]);
    let again = post_with(&site, &form, "key");
    assert_eq!(again.status, 200, "{again:?}");
    assert_ne!(again.json()["path"], first["path"]);
    assert_eq!(site.holdings().rows, 1);
}

#[test]
fn an_upload_that_lost_its_file_is_stored_anew() {
    let site = Site::start();
    let form = Form::upload(site.client("free"), "7D", PNG);
    let first = post_with(&site, &form, "key").json();
    let path = first["path"].as_str().expect("a path");
    std::fs::remove_file(site.file(path)).expect("removed");
    let in_progress = r#"{"error":"Upload in progress"}"#;
    let reply = post_with(&site, &form, "key");
    is_error(&reply, 409, in_progress, "its file may still come");
    assert_eq!(reply.header("Retry-After"), Some("1"));
    make_older(&site);
    let again = post_with(&site, &form, "key");
    assert_eq!(again.status, 200, "{again:?}");
    let holdings = site.holdings();
    assert_eq!((holdings.rows, holdings.files.len()), (1, 1));
}

#[test]
fn a_repetition_does_not_take_an_image_in_quarantine_for_one_without_a_file() {
    let site = Site::start();
    let form = Form::upload(site.client("free"), "7D", PNG);
    let first = post_with(&site, &form, "key").json();
    let path = first["path"].as_str().expect("a path");
    make_older(&site);
    site.run(&["image", "quarantine", path]);
    let again = post_with(&site, &form, "key");
    assert_eq!((again.status, &again.json()["path"]), (200, &first["path"]));
    assert_eq!(site.get(&format!("/p/{path}")).status, 404);
    assert_eq!(
        site.count("SELECT count(*) FROM image WHERE quarantined_at IS NOT NULL"),
        1
    );
}

#[test]
fn regression_a_repetition_keeps_the_row_of_an_image_that_is_being_quarantined() {
    let site = Site::start();
    let form = Form::upload(site.client("free"), "7D", PNG);
    let first = post_with(&site, &form, "key").json();
    let path = first["path"].as_str().expect("a path");
    site.run(&["image", "quarantine", path]);
    // As between the move of its file and the change of its row.
    make_older(&site);
    site.ledger()
        .execute("UPDATE image SET quarantined_at = NULL", [])
        .expect("changed");
    let again = post_with(&site, &form, "key");
    assert_eq!((again.status, &again.json()["path"]), (200, &first["path"]));
    assert_eq!(site.count("SELECT count(*) FROM image"), 1);
}

#[test]
fn of_uploads_with_one_key_at_the_same_time_one_is_stored() {
    let site = Site::start();
    let form = Form::upload(site.client("lifetime"), "7D", &png_of(200_000, 1));
    let statuses: Vec<u16> = thread::scope(|scope| {
        let threads: Vec<_> = (0..16)
            .map(|_| {
                scope.spawn(|| {
                    loop {
                        let reply = post_with(&site, &form, "key");
                        if reply.status != 409 {
                            return reply.status;
                        }
                    }
                })
            })
            .collect();
        let statuses = threads.into_iter().map(thread::ScopedJoinHandle::join);
        statuses.map(|status| status.expect("a status")).collect()
    });
    assert_eq!(statuses, [200; 16]);
    assert_eq!((site.holdings().rows, site.holdings().counted), (1, 1));
}

#[test]
fn credentials_may_come_in_headers() {
    let site = Site::start();
    let client = site.client("free");
    let id = ("X-Client-Id", client.id.as_str());
    let token = ("X-Client-Token", client.token.as_str());
    let form = |fields: &[(&str, &str)]| {
        let form = fields
            .iter()
            .fold(Form::new(), |form, (name, value)| form.text(name, value));
        form.text("store_duration", "7D").image(PNG)
    };
    for (fields, headers) in [
        (&[][..], &[id, token][..]),
        (&[("client_id", client.id.as_str())], &[token]),
        (&[("client_token", &client.token)], &[id, token]),
        (&[("client_id", ""), ("client_token", "")], &[id, token]),
    ] {
        let reply = post(&site, &form(fields), headers);
        assert_eq!(reply.status, 200, "{fields:?} {headers:?}: {reply:?}");
    }
    let stored = site.holdings().rows;
    is_error(&post(&site, &form(&[]), &[id]), 400, MISSING, "no token");
    let wrong = post(&site, &form(&[]), &[id, ("X-Client-Token", "wrong")]);
    is_error(&wrong, 403, INVALID_TOKEN, "a wrong token");
    for conflict in [
        form(&[("client_token", "another")]),
        // After the headers were accepted.
        form(&[]).text("client_id", "another"),
    ] {
        is_error(&post(&site, &conflict, &[id, token]), 400, CONFLICT, "");
    }
    assert_eq!(site.holdings().rows, stored);

    let preflight = http::request(site.port, "OPTIONS", "/image/v2/", &[], b"");
    let allowed = preflight
        .header("Access-Control-Allow-Headers")
        .expect("headers");
    for header in ["Idempotency-Key", "X-Client-Id", "X-Client-Token"] {
        assert!(allowed.split(", ").any(|name| name == header), "{allowed}");
    }
}

#[test]
fn an_address_is_kept_where_it_is_wanted_and_forgotten_in_time() {
    let site = Site::builder()
        .set("abuse", "keep_addresses = \"30d\"")
        .start();
    let path = site.store("free", "7D", PNG);
    let show = |path: &str| -> serde_json::Value {
        serde_json::from_str(&site.run(&["image", "show", path, "--json"])).expect("JSON")
    };
    assert_eq!(show(&path)["address"], json!("127.0.0.1"));
    let sweep = || -> serde_json::Value {
        serde_json::from_str(&site.run(&["sweep", "--json"])).expect("JSON")
    };
    assert_eq!(sweep()["addresses"], json!(0));
    site.ledger()
        .execute_batch("UPDATE image SET uploaded_at = uploaded_at - 86400 * 30 - 1")
        .expect("changed");
    assert_eq!(sweep()["addresses"], json!(1));
    assert_eq!(show(&path)["address"], json!(null));

    let site = Site::start();
    site.store("free", "7D", PNG);
    assert_eq!(site.count("SELECT count(address) FROM image"), 0);
}
