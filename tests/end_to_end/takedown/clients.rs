//! Takedowns of all images of a client: suspension, deletion by day, removal.

use serde_json::{Value, json};
use support::builder::Client;
use support::form::Form;
use support::pictures::{JPEG, PNG, png_of};
use support::site::Site;

use super::{left, parsed, status};
use crate::refusals::is_error;

#[test]
fn a_suspended_client_and_its_images_come_back() {
    let site = Site::start();
    let client = site.client("lifetime").clone();
    let paths = [1, 2, 3].map(|serial| site.store("lifetime", "LTF", &png_of(900, serial)));
    let other = site.store("3m", "7D", PNG);
    site.run(&["image", "quarantine", &paths[0], "--reason", "notice"]);
    let suspended = site.output(&["client", "suspend", &client.id, "--quarantine-images"]);
    assert!(suspended.status.success(), "{suspended:?}");
    assert_eq!(paths.each_ref().map(|path| status(&site, path)), [404; 3]);
    assert_eq!(status(&site, &other), 200);
    let refused = site.upload("lifetime", "LTF", PNG);
    is_error(&refused, 403, r#"{"error":"Client disabled"}"#, "suspended");
    site.run(&["client", "resume", &client.id, "--release-images"]);
    assert_eq!(
        paths.each_ref().map(|path| status(&site, path)),
        [404, 200, 200],
        "the one with a notice stays"
    );
    assert_eq!(site.upload("lifetime", "LTF", PNG).status, 200);
    site.run(&["client", "disable", &client.id]);
    site.run(&["client", "enable", &client.id]);
    site.run(&["verify"]);
}

#[test]
fn the_images_of_a_client_are_deleted_by_day() {
    let site = Site::start();
    let paths = [1, 2, 3].map(|serial| site.store("3m", "7D", &png_of(900, serial)));
    let other = site.store("lifetime", "7D", PNG);
    site.run(&["image", "quarantine", &paths[2]]);
    let days_ago = "UPDATE image SET uploaded_at = uploaded_at - 3 * 86400 WHERE path = ?1";
    site.ledger().execute(days_ago, [&paths[0]]).expect("aged");
    let day = time::UtcDateTime::now().date() - time::Duration::days(2);
    let until_then = [
        "image",
        "delete",
        "--client",
        "client-3m",
        "--until",
        &day.to_string(),
    ];
    let would = site.run(&[&until_then[..], &["--dry-run"]].concat());
    assert_eq!(would, "would delete 1 images of client-3m (900 bytes)\n");
    let unasked = site.output(&until_then);
    assert_eq!(unasked.status.code(), Some(2), "{unasked:?}");
    assert_eq!(status(&site, &paths[0]), 200);
    site.run(&[&until_then[..], &["--yes"]].concat());
    assert_eq!(
        paths.each_ref().map(|path| status(&site, path)),
        [404, 200, 404]
    );
    let rest = [
        "image",
        "delete",
        "--client",
        "client-3m",
        "--yes",
        "--json",
    ];
    let report = parsed(site.run(&rest).as_bytes());
    assert_eq!(
        (&report["images"], &report["failed"]),
        (&json!(1), &json!(0))
    );
    assert_eq!(status(&site, &other), 200);
    let kept = parsed(
        site.run(&["image", "list", "--client", "client-3m", "--json"])
            .as_bytes(),
    );
    assert_eq!(
        kept.as_array().map(Vec::len),
        Some(1),
        "the one in quarantine: {kept}"
    );
    left(
        &site.output(&["image", "delete", "--client", "nobody", "--yes"]),
        &["no client"],
    );
}

#[test]
fn a_removed_client_and_a_later_one_of_its_id_are_told_apart() {
    let site = Site::start();
    let id = site.client("3m").id.clone();
    let old = site.store("3m", "7D", PNG);
    let kept = site.output(&["client", "remove", &id]);
    assert_eq!(kept.status.code(), Some(2), "nobody was asked: {kept:?}");
    assert!(
        site.run(&["client", "remove", &id, "--dry-run"])
            .contains("would remove")
    );
    site.run(&["client", "remove", &id, "--yes"]);
    assert_eq!(status(&site, &old), 200);
    let today = time::UtcDateTime::now().date().to_string();
    let gone = site.output(&["image", "delete", "--client", &id, "--yes"]);
    left(&gone, &[&format!("{id}@{today}")]);

    let client = Client::printed(&site.run(&["client", "add", &id, "--plan", "3m"]));
    let new = site.post(&Form::upload(&client, "7D", JPEG)).url();
    let new = support::machine::path_of(&new);
    let listed = site.run(&["image", "list"]);
    assert!(
        listed.contains(&format!("{id} (removed {today})")),
        "{listed}"
    );
    let usage = parsed(site.run(&["usage", "--by", "client", "--json"]).as_bytes());
    let (present, removed) = (&usage[0], &usage[1]);
    assert_eq!(
        (
            &present["bytes"],
            &present["stored_bytes"],
            &present["client_removed_at"]
        ),
        (&json!(JPEG.len()), &json!(JPEG.len()), &Value::Null)
    );
    assert_eq!(
        (&removed["bytes"], &removed["stored_bytes"]),
        (&json!(PNG.len()), &Value::Null)
    );
    let removed_at = removed["client_removed_at"].as_str().expect("a time");
    assert!(removed_at.starts_with(&today), "{usage}");
    site.run(&[
        "image",
        "delete",
        "--client",
        &format!("{id}@{today}"),
        "--yes",
    ]);
    assert_eq!((status(&site, &old), status(&site, new)), (404, 200));
    site.run(&["client", "remove", &id, "--images", "delete", "--yes"]);
    assert_eq!(status(&site, new), 404);
    let both = site.output(&[
        "image",
        "delete",
        "--client",
        &format!("{id}@{today}"),
        "--yes",
    ]);
    left(&both, &["several clients", &format!("{id}@{today}T")]);
}
