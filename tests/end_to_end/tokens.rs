//! Tokens of a client by name.

use std::fs;

use serde_json::Value;
use support::builder::Client;
use support::machine::until;
use support::site::Site;

use crate::commands::{failed, parsed, status};

#[test]
fn a_client_has_tokens_by_name() {
    let site = Site::start();
    let first = site.client("3m").clone();
    let id = first.id.as_str();
    let list = || parsed(&site.run(&["client", "token", "list", id, "--json"]));
    let names = || -> Vec<String> {
        let tokens = list();
        let names = tokens.as_array().expect("an array").iter();
        names
            .map(|token| token["name"].as_str().expect("a name").to_owned())
            .collect()
    };
    assert_eq!(names(), ["default"]);
    assert_eq!(list()[0]["last_used_at"], Value::Null);
    assert!(site.run(&["client", "token", "list", id]).contains("never"));
    let remove = |name: &str| site.output(&["client", "token", "remove", id, name, "--yes"]);
    let message = failed(&remove("default"), 1);
    assert!(message.contains("client suspend"), "{message}");

    let ci = Client::printed(&site.run(&["client", "token", "add", id, "--name", "ci"]));
    assert_eq!((status(&site, &first), status(&site, &ci)), (200, 200));
    let message = failed(
        &site.output(&["client", "token", "add", id, "--name", "ci"]),
        1,
    );
    assert!(message.contains("--name ci"), "{message}");
    for name in ["", "a b", "é", &"x".repeat(33)] {
        failed(
            &site.output(&["client", "token", "add", id, "--name", name]),
            2,
        );
    }
    failed(
        &site.output(&["client", "token", "add", "nobody", "--name", "ci"]),
        1,
    );
    failed(&site.output(&["client", "token", "list", "nobody"]), 1);
    failed(&site.output(&["client", "rotate", id, "--name", "web"]), 1);
    let file = site.root.join("token");
    fs::write(&file, &ci.token).expect("written");
    let known = [
        "client",
        "token",
        "add",
        id,
        "--name",
        "web",
        "--token-file",
    ];
    let file = file.display().to_string();
    let message = failed(&site.output(&[&known[..], &[&file]].concat()), 1);
    assert!(message.contains("by the name ci"), "{message}");

    // The responder notes the hour after the upload.
    until("the use of both tokens is noted", || {
        (site.count("SELECT count(*) FROM token WHERE last_used_at IS NOT NULL") == 2).then_some(())
    });
    let used = list()[0]["last_used_at"].to_string();
    assert!(used.ends_with(":00:00Z\""), "{used}");

    // A rotation replaces the token of one name.
    let newer = Client::printed(&site.run(&["client", "rotate", id, "--name", "ci"]));
    assert_eq!(
        [&first, &ci, &newer].map(|client| status(&site, client)),
        [200, 403, 200]
    );
    let newest = Client::printed(&site.run(&["client", "rotate", id, "--overlap", "1h"]));
    assert_eq!(names(), ["ci", "default", "default"]);
    let ends = list();
    assert!(ends[1]["expires_at"].is_null() && ends[2]["expires_at"].is_string());

    let unasked = ["client", "token", "remove", id, "ci"];
    failed(&site.output(&unasked), 2);
    let would = site.run(&[&unasked[..], &["--dry-run"]].concat());
    assert!(would.contains("would remove the token ci"), "{would}");
    assert_eq!(status(&site, &newer), 200);
    site.run(&[&unasked[..], &["--yes"]].concat());
    assert_eq!(
        [&first, &newer, &newest].map(|client| status(&site, client)),
        [200, 403, 200]
    );
    failed(&remove("ci"), 1);
    failed(&remove("default"), 1);
    assert_eq!(status(&site, &newest), 200);
}
