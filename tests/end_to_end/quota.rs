//! The daily quota: exact under concurrency, counting stored images only.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::thread::{self, ScopedJoinHandle};

use support::form::Form;
use support::http::Reply;
use support::pictures::{PNG, png_of};
use support::site::Site;
use support::skip;
use time::UtcDateTime;

const EXHAUSTED: &str = r#"{"error":"Daily upload limit reached"}"#;

fn to_midnight() -> i64 {
    86_400 - UtcDateTime::now().unix_timestamp().rem_euclid(86_400)
}

/// Sends 200 concurrent uploads of the plan `free`, in turn to each of the sites, and asserts that exactly 50 are stored. Returns the replies
/// and the seconds to midnight meanwhile; `None` if midnight came.
pub(crate) fn race_for_50(sites: &[&Site]) -> Option<(Vec<Reply>, RangeInclusive<i64>)> {
    let before = to_midnight();
    let replies: Vec<_> = thread::scope(|scope| {
        let uploads: Vec<_> = (0..200)
            .zip(sites.iter().cycle())
            .map(|(serial, site)| {
                scope.spawn(move || site.upload("free", "1M", &png_of(20_000, serial)))
            })
            .collect();
        let joined = uploads.into_iter().map(ScopedJoinHandle::join);
        joined.map(|reply| reply.expect("a reply")).collect()
    });
    let after = to_midnight();
    if after > before {
        skip("midnight came during the test, and with it another quota");
        return None;
    }
    let mut statuses = BTreeMap::new();
    for reply in &replies {
        *statuses.entry(reply.status).or_insert(0) += 1;
    }
    assert_eq!(statuses, BTreeMap::from([(200, 50), (429, 150)]));
    Some((replies, after..=before))
}

#[test]
fn of_200_concurrent_uploads_a_free_client_stores_exactly_50() {
    let site = Site::start();
    let Some((replies, to_midnight)) = race_for_50(&[&site]) else {
        return;
    };
    let mut left = Vec::new();
    for reply in &replies {
        assert_eq!(reply.header("X-RateLimit-Limit"), Some("50"));
        if reply.status == 200 {
            left.push(reply.number("X-RateLimit-Remaining"));
            assert_eq!(reply.header("Retry-After"), None);
        } else {
            assert_eq!(reply.text(), EXHAUSTED);
            assert_eq!(reply.header("X-RateLimit-Remaining"), Some("0"));
            let retry = reply.number("Retry-After");
            assert!(to_midnight.contains(&retry), "{retry}");
        }
    }
    left.sort_unstable();
    assert!(left.into_iter().eq(0..50), "each was told what it left");
    let holdings = site.holdings();
    assert_eq!(
        (
            holdings.rows,
            holdings.counted,
            holdings.files.len(),
            holdings.spooled
        ),
        (50, 50, 50, 0)
    );
    assert_eq!(site.upload("3m", "1M", PNG).status, 200, "another client");
}

#[test]
fn only_stored_images_count() {
    let site = Site::builder()
        .set("plans.free", "daily_uploads = 2")
        .start();
    let client = site.client("free");
    for form in [
        Form::upload(client, "7D", b"text"),
        Form::upload(client, "3M", PNG),
        Form::of(client, "7D"),
        Form::upload(client, "7D", &png_of((2 << 20) + 1, 1)),
        Form::of(client, "7D").text("image_url", "http://127.0.0.1/x.png"),
    ] {
        let reply = site.post(&form);
        assert_eq!(reply.status, 400, "{}", reply.text());
        assert_eq!(reply.header("X-RateLimit-Remaining"), Some("2"));
    }
    let first = site.upload("free", "7D", PNG);
    assert_eq!(first.header("X-RateLimit-Remaining"), Some("1"));
    let second = site.upload("free", "7D", PNG);
    assert_eq!(second.header("X-RateLimit-Remaining"), Some("0"));
    assert_eq!(site.upload("free", "7D", PNG).status, 429);
    // Deleting images or rotating the token refunds nothing.
    site.run(&["image", "delete", &first.url(), &second.url()]);
    let holdings = site.holdings();
    assert_eq!(
        (holdings.rows, holdings.files.len(), holdings.counted),
        (0, 0, 2)
    );
    let reply = site.upload("free", "7D", PNG);
    assert_eq!((reply.status, reply.text()), (429, EXHAUSTED));
}

#[test]
fn a_client_removed_and_added_again_has_its_whole_quota() {
    let site = Site::builder()
        .set("plans.free", "daily_uploads = 1")
        .start();
    let path = site.store("free", "7D", PNG);
    assert_eq!(site.upload("free", "7D", PNG).status, 429);
    site.run(&["client", "remove", "client-free", "--yes"]);
    assert_eq!(
        site.upload("free", "7D", PNG).text(),
        r#"{"error":"Invalid client ID"}"#
    );
    let added = site.run(&["client", "add", "client-free", "--plan", "free"]);
    let client = support::builder::Client::printed(&added);
    assert_eq!(site.post(&Form::upload(&client, "7D", PNG)).status, 200);
    assert_eq!(
        site.get(&format!("/p/{path}")).status,
        200,
        "its image lives on"
    );
}

#[test]
fn a_failed_save_is_refunded() {
    let site = Site::builder()
        .set("plans.free", "daily_uploads = 1")
        .start();
    let class = site.docroot().join("p/d");
    let _ = std::fs::remove_dir_all(&class);
    std::fs::write(&class, b"in the way").expect("a file");
    assert_eq!(site.upload("free", "7D", PNG).status, 500);
    std::fs::remove_file(&class).expect("removed");
    assert_eq!(site.upload("free", "7D", PNG).status, 200);
    assert_eq!(site.upload("free", "7D", PNG).status, 429);
}
