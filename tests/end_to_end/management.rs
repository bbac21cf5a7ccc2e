//! The calls of a client for its own usage and images, authenticated by headers.

use serde_json::{Value, json};
use time::UtcDateTime;

use crate::refusals::{INVALID_ID, INVALID_TOKEN, is_error};
use support::builder::Client;
use support::form::Form;
use support::http::{self, Reply};
use support::pictures::{JPEG, PNG, png_of};
use support::site::Site;

const NOT_FOUND: &str = r#"{"error":"Not found"}"#;

fn ask(site: &Site, client: &Client, method: &str, call: &str) -> Reply {
    let headers = [
        ("X-Client-Id", client.id.as_str()),
        ("X-Client-Token", &client.token),
    ];
    http::request(
        site.port,
        method,
        &format!("/image/v2/{call}"),
        &headers,
        b"",
    )
}

fn today() -> String {
    UtcDateTime::now().date().to_string()
}

fn paths(listing: &Value) -> Vec<&str> {
    let images = listing["images"].as_array().expect("images");
    images
        .iter()
        .map(|image| image["path"].as_str().expect("a path"))
        .collect()
}

#[test]
fn usage_shows_quota_and_plan_of_the_client() {
    let site = Site::start();
    site.store("3m", "7D", PNG);
    site.store("3m", "3M", &png_of(5_000, 1));
    site.store("free", "7D", JPEG);
    let bytes =
        site.count("SELECT sum(bytes) FROM usage JOIN client ON client = key WHERE plan = '3m'");

    let reply = ask(&site, site.client("3m"), "GET", "usage");
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(reply.header("X-RateLimit-Limit"), Some("1000"));
    assert_eq!(reply.header("X-RateLimit-Remaining"), Some("998"));
    assert_eq!(reply.header("Cache-Control"), Some("no-store"));
    let usage = reply.json();
    assert_eq!(
        usage["plan"],
        json!({ "name": "3m", "daily_uploads": 1000, "max_file_size": 5 << 20, "max_storage": null, "durations": ["7D", "1M", "3M"], "url": "direct" })
    );
    assert_eq!(
        usage["today"],
        json!({
            "day": today(), "uploads": 2, "bytes": bytes, "remaining": 998,
            "resets_at": usage["today"]["resets_at"],
        })
    );
    let resets_at = usage["today"]["resets_at"].as_str().expect("a time");
    let tomorrow = UtcDateTime::now().date().next_day().expect("a day");
    assert_eq!(resets_at, format!("{tomorrow}T00:00:00Z"));
    assert_eq!(usage["stored"], json!({ "images": 2, "bytes": bytes }));
    let month = format!("{}-01", &today()[..7]);
    assert_eq!(
        usage["month"],
        json!({ "since": month, "uploads": 2, "bytes": bytes })
    );

    let other = ask(&site, site.client("lifetime"), "GET", "usage").json();
    assert_eq!(
        (&other["today"]["uploads"], &other["month"]["bytes"]),
        (&json!(0), &json!(0))
    );
    let head = ask(&site, site.client("3m"), "HEAD", "usage");
    assert_eq!((head.status, head.text()), (200, ""));
}

#[test]
fn a_client_lists_its_own_images_newest_first_in_pages() {
    let site = Site::start();
    let client = site.client("lifetime");
    let mut own: Vec<_> = ["7D", "LTF", "1M", "3M", "7D"]
        .into_iter()
        .zip(0..)
        .map(|(duration, serial)| site.store("lifetime", duration, &png_of(900, serial)))
        .collect();
    site.store("3m", "7D", PNG);
    // The second one is of the day before, the last two are of the same second.
    let now = UtcDateTime::now().unix_timestamp();
    for (path, age) in own.iter().zip([60, 90_000, 40, 20, 20]) {
        let uploaded_at = now - age;
        let update = format!("UPDATE image SET uploaded_at = {uploaded_at} WHERE path = '{path}'");
        site.ledger().execute_batch(&update).expect("changed");
    }
    own[3..].sort_unstable();
    let [older, oldest, newer, same_second @ ..] = &own[..] else {
        panic!("five images");
    };
    let own = [&same_second[1], &same_second[0], newer, older, oldest];

    let all = ask(&site, client, "GET", "images").json();
    assert_eq!(paths(&all), own);
    assert_eq!(
        (&all["day"], &all["next"], &all["previous"]),
        (&Value::Null, &Value::Null, &Value::Null)
    );

    // An upload and a deletion between two pages change neither what follows nor its order.
    let first = ask(&site, client, "GET", "images?limit=2").json();
    assert_eq!(paths(&first), own[..2]);
    let added = site.store("lifetime", "7D", PNG);
    let reply = ask(&site, client, "DELETE", &format!("images/{}", own[1]));
    assert_eq!(reply.status, 200, "{reply:?}");
    let next = |page: &Value| page["next"].as_str().expect("more").to_owned();
    let second = format!("images?limit=2&after={}", next(&first));
    let second = ask(&site, client, "GET", &second).json();
    assert_eq!(paths(&second), own[2..4]);
    let encoded = next(&second)
        .replace('/', "%2F")
        .replace(':', "%3A")
        .replace('@', "%40");
    let third = ask(&site, client, "GET", &format!("images?after={encoded}")).json();
    assert_eq!(
        (paths(&third), &third["next"]),
        (vec![&own[4][..]], &Value::Null)
    );

    let before = third["previous"].as_str().expect("newer ones");
    let back = ask(
        &site,
        client,
        "GET",
        &format!("images?limit=1&before={before}"),
    )
    .json();
    assert_eq!(paths(&back), [own[3]]);
    assert!(back["previous"].is_string(), "{back}");
    let newest = format!(
        "{}@{}",
        own[0],
        first["images"][0]["uploaded_at"].as_str().expect("a time")
    );
    let new = ask(&site, client, "GET", &format!("images?before={newest}")).json();
    assert_eq!(paths(&new), [&added]);
    assert_eq!(new["previous"], Value::Null);

    let day = &today();
    let of_today = ask(&site, client, "GET", &format!("images?day={day}")).json();
    assert_eq!(of_today["day"], json!(day));
    assert!(!paths(&of_today).contains(&&oldest[..]), "{of_today}");
    // The same day of last year has the same directory, but other images.
    let year: i32 = day[..4].parse().expect("a year");
    let last_year = format!(
        "images?day={}{}",
        year - 1,
        if &day[4..] == "-02-29" {
            "-02-28"
        } else {
            &day[4..]
        }
    );
    assert_eq!(
        paths(&ask(&site, client, "GET", &last_year).json()),
        [""; 0]
    );

    let image = ask(&site, client, "GET", &format!("images/{}", own[0])).json();
    assert_eq!(image, all["images"][0]);
    let served = image["url"].as_str().expect("a URL");
    let target = &served[served.find("/p/").expect("a path")..];
    assert_eq!(image["bytes"], json!(site.get(target).body.len()));
    assert!(
        image["expires_at"]
            .as_str()
            .is_some_and(|date| date.len() == 10),
        "{image}"
    );

    for (query, parameter) in [
        ("day=2025-02-29", "day"),
        ("limit=1001", "limit"),
        ("after=x", "after"),
        ("before=d/ap5/AbCdEf.png", "before"),
    ] {
        let reply = ask(&site, client, "GET", &format!("images?{query}"));
        let body = json!({ "error": "Invalid query", "parameter": parameter }).to_string();
        is_error(&reply, 400, &body, query);
    }
}

#[test]
fn a_client_deletes_its_own_images_and_no_other() {
    let site = Site::start();
    let (own, others) = (site.store("3m", "7D", PNG), site.store("free", "7D", JPEG));
    let client = site.client("3m");
    for path in [
        &others,
        "d/ap5/NoSuchImage.png",
        "d/ap5/NoSuch.php",
        "../../etc/passwd",
    ] {
        for method in ["DELETE", "GET"] {
            let reply = ask(&site, client, method, &format!("images/{path}"));
            is_error(&reply, 404, NOT_FOUND, path);
        }
    }
    assert_eq!(site.holdings().rows, 2);

    let counted = site.holdings().counted;
    let reply = ask(&site, client, "DELETE", &format!("images/{own}"));
    assert_eq!(reply.json(), json!({ "status": "success", "deleted": own }));
    assert!(!site.file(&own).exists());
    assert_eq!(site.get(&format!("/p/{own}")).status, 404);
    assert!(site.file(&others).exists());
    let holdings = site.holdings();
    assert_eq!(
        (holdings.rows, holdings.counted),
        (1, counted),
        "no quota is given back"
    );
    site.wait_for_log(&own);

    let again = ask(&site, client, "DELETE", &format!("images/{own}"));
    is_error(&again, 404, NOT_FOUND, "deleted already");
}

#[test]
fn every_call_describes_an_image_alike() {
    let site = Site::start();
    for plan in ["free", "3m"] {
        let client = site.client(plan);
        let uploaded = site.upload(plan, "7D", PNG).json();
        let mut object = uploaded.as_object().expect("an object").clone();
        assert_eq!(object.shift_remove("status"), Some(json!("success")));
        let path = object["path"].as_str().expect("a path").to_owned();
        let shown = ask(&site, client, "GET", &format!("images/{path}")).json();
        assert_eq!(shown, Value::Object(object), "{plan}");
        let listed = ask(&site, client, "GET", "images").json();
        assert_eq!(listed["images"], json!([shown]), "{plan}");

        let file = std::fs::read(site.file(&path)).expect("the stored file");
        let base = format!("http://127.0.0.1:{}", site.port);
        for (key, expected) in [
            ("direct", json!(format!("{base}/p/{path}"))),
            ("viewer", json!(format!("{base}/view/?img={path}"))),
            ("bytes", json!(file.len())),
            ("type", json!("image/png")),
        ] {
            assert_eq!(shown[key], expected, "{key} of {plan}");
        }
        let url = if plan == "free" { "viewer" } else { "direct" };
        assert_eq!(shown["url"], shown[url], "{plan}");
    }
}

/// The reply to a deletion with a key.
fn delete_with(site: &Site, path: &str, key: &str) -> Reply {
    let call = format!("/image/v2/images/{path}");
    http::request(site.port, "DELETE", &call, &[("X-Delete-Key", key)], b"")
}

#[test]
fn a_delete_url_deletes_its_image_and_no_other() {
    let site = Site::start();
    let [one, two] = [1, 2].map(|serial| site.upload("3m", "7D", &png_of(900, serial)).json());
    let [path, other] = [&one, &two].map(|image| image["path"].as_str().expect("a path"));
    let url = one["delete_url"].as_str().expect("a URL");
    let (page, key) = url.split_once("#delete=").expect("a key behind #");
    assert_eq!(page, one["viewer"]);
    let key_of_other = two["delete_url"]
        .as_str()
        .and_then(|url| url.rsplit('=').next());

    for (wrong, why) in [
        (key_of_other.expect("a key"), "of another image"),
        (&key[..30], "shortened"),
        ("00000000000000000000000000000000", "guessed"),
        ("../..", "no key at all"),
    ] {
        let refused = r#"{"error":"Invalid delete key"}"#;
        is_error(&delete_with(&site, path, wrong), 403, refused, why);
    }
    let unknown = delete_with(&site, "d/ap5/NoSuchImage.png", key);
    is_error(
        &unknown,
        403,
        r#"{"error":"Invalid delete key"}"#,
        "tells nothing",
    );
    // Opening the URL, as a preview robot does, deletes nothing; the key does not even reach the server.
    for call in [
        format!("/view/?img={path}"),
        format!("/image/v2/images/{path}"),
    ] {
        http::request(site.port, "GET", &call, &[("X-Delete-Key", key)], b"");
    }
    assert_eq!(site.holdings().rows, 2);

    let deleted = delete_with(&site, path, key);
    assert_eq!(
        deleted.json(),
        json!({ "status": "success", "deleted": path })
    );
    assert!(!site.file(path).exists() && site.file(other).exists());
    is_error(
        &delete_with(&site, path, key),
        404,
        NOT_FOUND,
        "deleted already",
    );
    site.wait_for_log(path);
    let log = site.responder_log();
    assert!(!log.contains(key), "{log}");
}

#[test]
fn a_delete_url_outlives_a_restart() {
    let mut site = Site::start();
    let image = site.upload("3m", "7D", PNG).json();
    let path = image["path"].as_str().expect("a path");
    let (_, key) = image["delete_url"]
        .as_str()
        .and_then(|url| url.split_once("#delete="))
        .expect("a key");
    site.stop();
    site.start_responder();
    let again = ask(&site, site.client("3m"), "GET", &format!("images/{path}")).json();
    assert_eq!(again["delete_url"], image["delete_url"]);
    assert_eq!(delete_with(&site, path, key).status, 200);
}

#[test]
fn a_new_client_with_the_id_of_a_removed_one_has_no_images() {
    let site = Site::start();
    let old = site.store("3m", "7D", PNG);
    let id = site.client("3m").id.clone();
    site.run(&["client", "remove", &id, "--yes"]);
    let client = Client::printed(&site.run(&["client", "add", &id, "--plan", "3m"]));
    assert_eq!(paths(&ask(&site, &client, "GET", "images").json()), [""; 0]);
    let usage = ask(&site, &client, "GET", "usage").json();
    assert_eq!(usage["month"]["uploads"], json!(0));
    let reply = ask(&site, &client, "DELETE", &format!("images/{old}"));
    is_error(&reply, 404, NOT_FOUND, "another's");
    assert!(site.file(&old).exists());
}

#[test]
fn header_credentials_are_checked_like_those_of_an_upload() {
    let site = Site::builder()
        .set(
            "limits",
            "requests_per_second = 0\nfailed_attempts_per_minute = 4",
        )
        .start();
    let right = site.client("free");
    let path = site.store("free", "7D", PNG);
    let wrong = |id: &str, token: &str| Client {
        id: id.to_owned(),
        token: token.to_owned(),
    };
    for call in ["usage", "images", &format!("images/{path}")] {
        for client in [wrong("", ""), wrong(&right.id, ""), wrong("", &right.token)] {
            let reply = ask(&site, &client, "GET", call);
            is_error(&reply, 401, r#"{"error":"Missing credentials"}"#, call);
            let challenge = reply.header("WWW-Authenticate");
            assert_eq!(challenge, Some("ClientToken realm=\"image\""));
        }
        let query = format!("{call}?client_id={}&client_token={}", right.id, right.token);
        let reply = site.get(&format!("/image/v2/{query}"));
        is_error(
            &reply,
            401,
            r#"{"error":"Missing credentials"}"#,
            "credentials in the query",
        );
    }
    site.run(&["client", "disable", &right.id]);
    let disabled = r#"{"error":"Client disabled"}"#;
    is_error(
        &ask(&site, right, "GET", "usage"),
        403,
        disabled,
        "disabled",
    );
    site.run(&["client", "enable", &right.id]);

    is_error(
        &ask(&site, &wrong("nobody", &right.token), "GET", "usage"),
        403,
        INVALID_ID,
        "id",
    );
    is_error(
        &ask(
            &site,
            &wrong(&right.id, "x"),
            "DELETE",
            &format!("images/{path}"),
        ),
        403,
        INVALID_TOKEN,
        "token",
    );
    assert!(site.file(&path).exists());
    // Failed attempts count together over all calls.
    for _ in 0..3 {
        assert_eq!(
            site.post(&Form::upload(&wrong(&right.id, "x"), "7D", PNG))
                .status,
            403
        );
    }
    let reply = ask(&site, &wrong(&right.id, "x"), "GET", "usage");
    is_error(
        &reply,
        429,
        r#"{"error":"Too many failed attempts"}"#,
        "after four guesses",
    );
    assert!(reply.number("Retry-After") >= 1);
    assert!(
        !site.responder_log().contains(&right.token),
        "a token in the log"
    );
}

#[test]
fn each_call_lists_its_methods_in_allow() {
    let site = Site::start();
    let client = site.client("free");
    let image = "GET, HEAD, DELETE, OPTIONS";
    for (call, methods) in [
        ("usage", "GET, HEAD, OPTIONS"),
        ("images", "GET, HEAD, OPTIONS"),
        ("images/d/ap5/AbCdEf.png", image),
    ] {
        for method in ["POST", "PUT", "PATCH", "TRACE"] {
            let reply = ask(&site, client, method, call);
            is_error(&reply, 405, r#"{"error":"Method not allowed"}"#, call);
            assert_eq!(reply.header("Allow"), Some(methods), "{method} {call}");
        }
        // A CORS preflight has no credentials.
        let preflight = http::request(site.port, "OPTIONS", &format!("/image/v2/{call}"), &[], b"");
        assert_eq!(preflight.status, 204);
        assert_eq!(
            preflight.header("Access-Control-Allow-Methods"),
            Some(methods)
        );
        let headers = preflight.header("Access-Control-Allow-Headers");
        assert!(
            headers.is_some_and(|names| names.starts_with('*')),
            "{headers:?}"
        );
    }
    let reply = http::request(site.port, "TRACE", "/image/v2/", &[], b"");
    assert_eq!(reply.header("Allow"), Some("POST, OPTIONS"));
}
