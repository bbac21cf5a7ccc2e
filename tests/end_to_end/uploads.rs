//! Successful uploads: every type, duration, plan and body type, and the file and row of an upload.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::thread::ScopedJoinHandle;

use serde_json::Value;
use support::form::{Form, MULTIPART};
use support::http;
use support::machine::{faketime_multithreaded, path_of};
use support::pictures::{GIF, JPEG, PNG, WEBP, png, png_of};
use support::site::Site;
use time::{Date, Duration, Month, UtcDateTime};

/// The last day on which an image of this duration is served.
fn last_day(uploaded: Date, duration: &str) -> Option<Date> {
    let months = match duration {
        "7D" => return Some(uploaded + Duration::days(7)),
        "1M" => 1,
        "3M" => 3,
        _ => return None,
    };
    let month = u8::from(uploaded.month()) - 1 + months;
    let year = uploaded.year() + i32::from(month / 12);
    let month = Month::try_from(month % 12 + 1).expect("a month");
    let day = uploaded.day().min(month.length(year));
    Some(Date::from_calendar_date(year, month, day).expect("a date"))
}

/// The keys of a reply: the documented three, then the rest of the image object.
const REPLY_KEYS: [&str; 12] = [
    "status",
    "url",
    "expires_at",
    "path",
    "direct",
    "viewer",
    "bytes",
    "type",
    "width",
    "height",
    "uploaded_at",
    "delete_url",
];

fn today() -> Date {
    UtcDateTime::now().date()
}

#[test]
fn each_plan_and_duration_has_its_url_and_expiry() {
    let site = Site::start();
    let cases = [
        ("free", &["7D", "1M"][..], "/view/?img="),
        ("3m", &["7D", "1M", "3M"], "/p/"),
        ("lifetime", &["7D", "1M", "3M", "LTF"], "/p/"),
    ];
    for (plan, durations, route) in cases {
        for &duration in durations {
            let days = [today()];
            let reply = site.upload(plan, duration, PNG);
            let days = [days[0], today()];
            let json = reply.json();
            let keys: Vec<_> = json.as_object().expect("an object").keys().collect();
            assert_eq!(keys, REPLY_KEYS, "{plan} {duration}");
            assert_eq!(json["status"], "success");
            let class = match duration {
                "7D" => "d",
                "1M" => "m",
                "3M" => "mm",
                _ => "l",
            };
            let begins = format!("http://127.0.0.1:{}{route}{class}/", site.port);
            let url = reply.url();
            assert!(url.starts_with(&begins), "{url} for {plan} {duration}");
            let expected = days.map(|day| {
                last_day(day, duration).map_or("Never (Lifetime)".to_owned(), |day| day.to_string())
            });
            let expires_at = json["expires_at"].as_str().expect("a text").to_owned();
            assert!(expected.contains(&expires_at), "{expires_at}: {expected:?}");
            assert!(!reply.text().contains("\\/"), "{}", reply.text());
        }
    }
    assert_eq!(site.holdings().rows, 9);
}

#[test]
fn an_expiry_is_clamped_to_the_last_day_of_its_month() {
    if faketime_multithreaded().is_none() {
        return;
    }
    let cases = [
        (
            "2025-01-31 12:00:00",
            ["2025-02-07", "2025-02-28", "2025-04-30"],
            "ja31",
        ),
        (
            "2027-11-30 23:00:00",
            ["2027-12-07", "2027-12-30", "2028-02-29"],
            "no30",
        ),
    ];
    for (now, expected, day) in cases {
        let site = Site::builder().clock(now).start();
        for (duration, expected) in ["7D", "1M", "3M"].into_iter().zip(expected) {
            let reply = site.upload("3m", duration, PNG);
            assert_eq!(reply.json()["expires_at"], expected, "{duration} at {now}");
            assert!(reply.url().contains(&format!("/{day}/")), "{}", reply.url());
        }
    }
}

#[test]
fn the_type_comes_from_the_bytes_and_they_are_served_unchanged() {
    let site = Site::start();
    let cases = [
        (JPEG, "jpg", "image/jpeg"),
        (PNG, "png", "image/png"),
        (GIF, "gif", "image/gif"),
        (WEBP, "webp", "image/webp"),
    ];
    for (bytes, extension, content_type) in cases {
        // Whatever file name and type the client sends.
        let form = Form::of(site.client("3m"), "7D").file("image", "../../evil.php", bytes);
        let path = path_of(&site.post(&form).url()).to_owned();
        assert!(path.ends_with(&format!(".{extension}")), "{path}");
        let reply = site.get(&format!("/p/{path}"));
        assert_eq!(reply.status, 200);
        assert_eq!(reply.header("Content-Type"), Some(content_type));
        assert_eq!(reply.body, bytes, "{path} came back changed");
    }
}

#[test]
fn replies_have_the_documented_headers() {
    let site = Site::start();
    let midnight = |date: Date| date.midnight().as_utc().unix_timestamp() + 86_400;
    let first = today();
    for (uploads, route) in [(1, "/image/v2/"), (2, "/image/v2")] {
        let body = Form::upload(site.client("free"), "7D", PNG).body();
        let headers = [
            ("Content-Type", MULTIPART),
            ("Origin", "https://example.org"),
        ];
        let reply = http::request(site.port, "POST", route, &headers, &body);
        assert_eq!(reply.status, 200, "{route}: {}", reply.text());
        let expected = [
            ("Content-Type", "application/json"),
            ("Access-Control-Allow-Origin", "*"),
            (
                "Access-Control-Expose-Headers",
                "X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, Retry-After, X-Request-Id",
            ),
            ("X-RateLimit-Limit", "50"),
            ("X-Content-Type-Options", "nosniff"),
            ("Cache-Control", "no-store"),
        ];
        for (name, value) in expected {
            assert_eq!(reply.header(name), Some(value), "{name} of {reply:?}");
        }
        assert_eq!(reply.number("X-RateLimit-Remaining"), 50 - uploads);
        let resets = [first, today()].map(midnight);
        assert!(resets.contains(&reply.number("X-RateLimit-Reset")));
        let id = reply.header("X-Request-Id").expect("an id");
        assert!(
            id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()),
            "{id}"
        );
        assert!(
            site.responder_log().contains(&format!("request={id}")),
            "the log does not know {id}"
        );
        assert_eq!(reply.header("X-Powered-By"), None);
    }
}

#[test]
fn fields_may_be_in_any_order_and_among_unknown_ones() {
    let site = Site::start();
    let client = site.client("3m");
    let before = Form::upload(client, "1M", PNG);
    let after = Form::new()
        .image(PNG)
        .text("client_id", &client.id)
        .text("client_token", &client.token)
        .text("store_duration", "1M");
    let between = Form::new()
        .text("client_token", &client.token)
        .image(PNG)
        .text("store_duration", "1M")
        .text("client_id", &client.id);
    // A browser's form sends both sources, one of them empty.
    let with_others = Form::of(client, "1M")
        .text("", "nameless")
        .text("Image", "another name")
        .text("image_url", "")
        .file("document", "x.pdf", b"%PDF")
        .image(PNG);
    for (form, named) in [
        (before, "before"),
        (after, "after"),
        (between, "between"),
        (with_others, "with others"),
    ] {
        let reply = site.post(&form);
        assert_eq!(reply.status, 200, "{named}: {}", reply.text());
    }
    let holdings = site.holdings();
    assert_eq!(
        (holdings.rows, holdings.counted, holdings.spooled),
        (4, 4, 0)
    );
}

/// Size, width, height, upload time, expiry and client id of a row.
type Row = (i64, i64, i64, i64, Option<i64>, String);

#[test]
fn row_and_file_of_an_upload_agree() {
    let site = Site::start();
    let image = png(640, 480);
    let days = [today()];
    let expiring = site.store("lifetime", "7D", &image);
    let lasting = site.store("lifetime", "LTF", PNG);
    let days = [days[0], today()];

    let row = |path: &str| -> Row {
        let query = "SELECT size, width, height, uploaded_at, expires_at, client.id
                     FROM image JOIN client ON client.key = image.client WHERE path = ?1";
        site.ledger()
            .query_row(query, [path], |row| {
                Ok((
                    row.get(0)?,
                    row.get(1)?,
                    row.get(2)?,
                    row.get(3)?,
                    row.get(4)?,
                    row.get(5)?,
                ))
            })
            .expect("a row")
    };
    let (size, width, height, uploaded_at, expires_at, client) = row(&expiring);
    assert_eq!(usize::try_from(size), Ok(image.len()));
    assert_eq!((width, height), (640, 480));
    assert_eq!(client, site.client("lifetime").id);
    assert!((uploaded_at - UtcDateTime::now().unix_timestamp()).abs() < 600);
    let ends = days.map(|day| {
        let next = day + Duration::days(8);
        next.midnight().as_utc().unix_timestamp()
    });
    let expires_at = expires_at.expect("an expiry");
    assert!(ends.contains(&expires_at), "{expires_at}: {ends:?}");
    let metadata = fs::metadata(site.file(&expiring)).expect("a file");
    assert_eq!(
        metadata.mtime(),
        expires_at - 1,
        "the file tells its expiry"
    );
    assert_eq!(metadata.permissions().mode() & 0o777, 0o644);
    assert_eq!(row(&lasting).4, None);
    let metadata = fs::metadata(site.file(&lasting)).expect("a file");
    assert!((metadata.mtime() - UtcDateTime::now().unix_timestamp()).abs() < 600);

    let holdings = site.holdings();
    let mut paths = vec![expiring, lasting];
    paths.sort();
    assert_eq!(holdings.files, paths);
    assert_eq!((holdings.counted, holdings.spooled), (2, 0));
}

#[test]
fn an_image_of_exactly_the_largest_size_is_stored() {
    let site = Site::start();
    for (plan, mebibytes) in [("free", 2), ("3m", 5), ("lifetime", 10)] {
        let image = png_of(mebibytes << 20, 1);
        let path = site.store(plan, "7D", &image);
        assert_eq!(site.get(&format!("/p/{path}")).body, image, "{plan}");
    }
}

#[test]
fn concurrent_uploads_are_not_mixed_up() {
    let site = Site::start();
    let stored: Vec<_> = std::thread::scope(|scope| {
        let uploads: Vec<_> = (0..40_u64)
            .map(|serial| {
                let size = 1_000 + usize::try_from(serial).expect("small") * 3_001;
                let site = &site;
                scope.spawn(move || {
                    let image = png_of(size, serial);
                    (site.store("3m", "3M", &image), image)
                })
            })
            .collect();
        let joined = uploads.into_iter().map(ScopedJoinHandle::join);
        joined.map(|upload| upload.expect("an upload")).collect()
    });
    for (path, image) in stored {
        assert_eq!(site.get(&format!("/p/{path}")).body, image, "{path}");
    }
    let holdings = site.holdings();
    assert_eq!((holdings.rows, holdings.files.len()), (40, 40));
}

#[test]
fn health_checks_what_uploads_need() {
    let site = Site::start();
    let reply = site.get("/image/v2/health");
    assert_eq!(reply.status, 200, "{}", reply.text());
    let json = reply.json();
    for key in ["status", "ledger", "docroot", "free_space"] {
        assert_eq!(json[key], "ok", "{json}");
    }
    assert_eq!(json["last_sweep"], Value::Null);
    site.run(&["sweep"]);
    let json = site.get("/image/v2/health").json();
    assert!(json["last_sweep"].is_string(), "{json}");
    assert_eq!(site.holdings().spooled, 0, "the check leaves nothing");
}
