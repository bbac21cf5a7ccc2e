//! Takedowns by the operator: quarantine, the block list, and purges of a CDN in front.

mod clients;

use std::fs;
use std::io::Write;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Output;

use serde_json::{Value, json};
use support::builder::Client;
use support::form::Form;
use support::http::{self, Reply};
use support::machine::{read, until};
use support::origin::{Origin, by_url, whole};
use support::pictures::{JPEG, PNG, png_of};
use support::site::Site;

use crate::refusals::is_error;

const NOT_ALLOWED: &str = r#"{"error":"Image not allowed"}"#;

fn parsed(text: &[u8]) -> Value {
    serde_json::from_slice(text)
        .unwrap_or_else(|error| panic!("no JSON ({error}): {}", String::from_utf8_lossy(text)))
}

/// The program ends with 1, and says these things.
#[track_caller]
fn left(output: &Output, said: &[&str]) {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let message = String::from_utf8_lossy(&output.stderr);
    for text in said {
        assert!(message.contains(text), "{text:?} in {message}");
    }
}

fn status(site: &Site, path: &str) -> u16 {
    site.get(&format!("/p/{path}")).status
}

fn ask(site: &Site, client: &Client, method: &str, call: &str) -> Reply {
    let headers = [
        ("X-Client-Id", client.id.as_str()),
        ("X-Client-Token", &client.token),
    ];
    let target = format!("/image/v2/{call}");
    http::request(site.port, method, &target, &headers, b"")
}

/// A purge command that notes its arguments, or does what `script` says.
struct PurgeScript {
    _directory: tempfile::TempDir,
    program: PathBuf,
    calls: PathBuf,
}

impl PurgeScript {
    fn new(script: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let purge = Self {
            program: directory.path().join("purge"),
            calls: directory.path().join("calls"),
            _directory: directory,
        };
        purge.write(script);
        purge
    }

    fn write(&self, script: &str) {
        let calls = self.calls.display();
        let text = format!("#!/bin/sh\ncalls='{calls}'\n{script}\n");
        // Renamed into place: a program that is being written cannot be started.
        let new = self.program.with_extension("new");
        fs::write(&new, text).expect("written");
        fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).expect("executable");
        fs::rename(&new, &self.program).expect("in place");
    }

    fn setting(&self) -> String {
        format!(
            "purge_command = [\"{}\", \"{{urls}}\"]\n",
            self.program.display()
        )
    }

    fn calls(&self) -> String {
        read(&self.calls)
    }

    fn wait_for(&self, url: &str) {
        until(url, || self.calls().contains(url).then_some(()));
    }
}

const NOTE: &str = "printf '%s\\n' \"$@\" >>\"$calls\"";

/// Neither its client nor the holder of its delete key reaches it.
fn owner_finds_nothing(site: &Site, path: &str, delete_url: Option<&str>) {
    let client = site.client("lifetime");
    for method in ["GET", "DELETE"] {
        let reply = ask(site, client, method, &format!("images/{path}"));
        is_error(&reply, 404, r#"{"error":"Not found"}"#, method);
    }
    let listed = ask(site, client, "GET", "images").json();
    assert_eq!(
        listed["images"].as_array().map(Vec::len),
        Some(1),
        "{listed}"
    );
    if let Some((_, key)) = delete_url.and_then(|url| url.split_once("key=")) {
        let headers = [("X-Delete-Key", key)];
        let target = format!("/image/v2/images/{path}");
        let reply = http::request(site.port, "DELETE", &target, &headers, b"");
        assert_eq!(reply.status, 404, "{reply:?}");
    }
}

/// The first image that is blocked is refused within a second, and then at once.
fn uploads_are_refused(site: &Site, source: &str, digest: &str) {
    let client = site.client("lifetime");
    let before = until("the block list", || {
        let reply = site.upload("lifetime", "7D", PNG);
        (reply.status != 200).then(|| site.holdings())
    });
    is_error(&site.upload("3m", "7D", PNG), 400, NOT_ALLOWED, "a file");
    is_error(&by_url(site, "3m", source), 400, NOT_ALLOWED, "a URL");
    let last = Form::new()
        .file("image", "x.png", PNG)
        .text("client_id", &client.id)
        .text("client_token", &client.token)
        .text("store_duration", "7D");
    is_error(
        &site.post(&last),
        400,
        NOT_ALLOWED,
        "a file before the fields",
    );
    assert_eq!(site.holdings(), before, "nothing is stored or counted");
    assert!(
        site.responder_log()
            .contains(&format!("blocked: sha256 {digest}"))
    );
    site.store("3m", "7D", JPEG);
}

/// Report, show, block, upload again by file and by URL, release.
#[test]
fn an_image_that_was_reported_is_taken_down_for_good() {
    let origin = Origin::start(Ipv4Addr::LOCALHOST, |_, stream| {
        stream.write_all(&whole("image/png", PNG))
    });
    let source = origin.url("/again.png");
    let address = source.trim_start_matches("http://").split('/').next();
    let purge = PurgeScript::new(NOTE);
    let site = Site::builder()
        .set("site", "contact = \"abuse@example.com\"\n")
        .set("site", &purge.setting())
        .set(
            "fetch",
            &format!("allow = [\"{}\"]\n", address.expect("an address")),
        )
        .start();
    let client = site.client("lifetime").clone();
    let reply = site.upload("lifetime", "LTF", PNG);
    let (path, delete_url) = (
        reply.json()["path"].clone(),
        reply.json()["delete_url"].clone(),
    );
    let path = path.as_str().expect("a path");
    let other = site.store("lifetime", "LTF", JPEG);

    let page = site.get(&format!("/view/?img={path}"));
    assert!(
        page.text().contains("abuse@example.com"),
        "a way to report it"
    );
    let viewer = format!("http://127.0.0.1:{}/view/?img={path}", site.port);
    let shown = parsed(site.run(&["image", "show", &viewer, "--json"]).as_bytes());
    assert_eq!(
        (&shown["client"], &shown["quarantine"]),
        (&json!(client.id), &Value::Null)
    );

    let output = site.output(&["image", "block", &viewer, "--reason", "notice 2026-17"]);
    assert!(output.status.success(), "{output:?}");
    let line = String::from_utf8_lossy(&output.stdout).into_owned();
    let digest = line.split_whitespace().last().expect("a digest").to_owned();
    assert!(line.starts_with(&format!("blocked {path} ")), "{line}");
    assert_eq!(status(&site, path), 404);
    assert_eq!(
        status(&site, &format!(".quarantine/{}", path.replace('/', "-"))),
        404
    );
    let facts = site.get(&format!("/view/?img={path}"));
    assert!(
        !facts.text().contains("Dimensions"),
        "the viewer has no details"
    );
    let calls = purge.calls();
    assert!(
        calls.contains(&format!("/p/{path}\n")) && calls.contains(&format!("/view/?img={path}\n")),
        "{calls}"
    );

    let metrics = site.get("/image/v2/metrics");
    let metrics = metrics.text();
    for line in [
        "corenexis_cdn_quarantined_images 1",
        "corenexis_cdn_blocked_digests 1",
        "corenexis_cdn_waiting_purges 0",
    ] {
        assert!(
            metrics.lines().any(|found| found == line),
            "{line}\n{metrics}"
        );
    }
    owner_finds_nothing(&site, path, delete_url.as_str());
    uploads_are_refused(&site, &source, &digest);

    let rows = parsed(site.run(&["image", "show", path, "--json"]).as_bytes());
    assert_eq!(rows["quarantine"]["reason"], "notice 2026-17");
    assert_eq!(rows["quarantine"]["until"], Value::Null);
    let listed = site.run(&["block", "list"]);
    assert!(
        listed.contains(&digest) && listed.contains("notice 2026-17"),
        "{listed}"
    );
    site.run(&["verify"]);
    site.run(&["sweep"]);

    assert_eq!(
        site.run(&["image", "release", path]),
        format!("released {path}\n")
    );
    assert_eq!(status(&site, path), 200);
    is_error(
        &site.upload("3m", "7D", PNG),
        400,
        NOT_ALLOWED,
        "still blocked",
    );
    site.run(&["block", "remove", &digest]);
    until("the block list", || {
        (site.upload("3m", "7D", PNG).status == 200).then_some(())
    });
    site.run(&["verify"]);
    assert_eq!(status(&site, &other), 200);
}

#[test]
fn what_cannot_be_taken_down_is_said_and_the_rest_is_done() {
    let site = Site::start();
    let [first, second] = [1, 2].map(|serial| site.store("3m", "7D", &png_of(900, serial)));
    let unknown = "d/ap5/AbCdEfGhIj.png";
    let foreign = format!("https://elsewhere.example/p/{second}");
    let asked = |verb: &'static str, image: &str, more: &[&str]| {
        let named = ["image", verb, unknown, "nonsense", &foreign, image];
        site.output(&[&named[..], more].concat())
    };
    let said = [
        "d/ap5/AbCdEfGhIj.png is not in the ledger",
        "nonsense is not an image path",
        "a link of elsewhere.example",
        "3 of 4 images",
    ];
    let output = asked("quarantine", &first, &["--dry-run"]);
    left(&output, &said);
    let line = format!("would be quarantined {first}\n");
    assert_eq!(String::from_utf8_lossy(&output.stdout), line);
    assert_eq!(status(&site, &first), 200, "a dry run does nothing");

    left(&asked("quarantine", &first, &["--days", "30"]), &said);
    assert_eq!((status(&site, &first), status(&site, &second)), (404, 200));
    let output = asked("release", &first, &["--json"]);
    left(&output, &said);
    let report = parsed(&output.stdout);
    assert_eq!((&report["done"], &report["left"]), (&json!(1), &json!(3)));
    assert_eq!(
        report["images"][3],
        json!({ "image": first, "outcome": "released" })
    );
    left(
        &site.output(&["image", "release", &first]),
        &["is not in quarantine"],
    );

    // A program that is not asked deletes no evidence.
    site.run(&["image", "quarantine", &first]);
    left(
        &site.output(&["image", "delete", &first, &second]),
        &["--yes deletes it"],
    );
    assert_eq!(
        site.run(&["image", "list", "--json"])
            .matches("\"path\"")
            .count(),
        1
    );
    site.run(&["image", "delete", "--yes", &first]);
    left(
        &site.output(&["image", "delete", &second]),
        &["is not in the ledger"],
    );
    assert_eq!(site.holdings().files, [".identity"; 0]);

    let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let output = site.output(&["block", "add", "abc", digest, "--file", "/nowhere/x.png"]);
    left(
        &output,
        &["abc is not a SHA-256", "/nowhere/x.png cannot be read"],
    );
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        format!("blocked {digest}\n")
    );
    left(
        &site.output(&["block", "remove", &digest.replace('b', "c")]),
        &["not on the block list"],
    );
    assert!(site.run(&["block", "list", "--json"]).contains(digest));
    site.run(&["block", "remove", &digest.to_uppercase()]);
    for usage in [
        &["image", "quarantine"][..],
        &["image", "quarantine", &second, "--days", "0"],
        &["image", "quarantine", &second, "--reason", "two\nlines"],
        &["block", "add"],
        &["image", "delete", &second, "--client", "client-3m"],
        &["image", "delete", &second, "--since", "2026-04-05"],
    ] {
        assert_eq!(site.output(usage).status.code(), Some(2), "{usage:?}");
    }
}

#[test]
fn a_purge_command_that_fails_costs_nothing_and_is_called_again() {
    let purge = PurgeScript::new("head -c 3000000 /dev/zero | tr '\\0' x; echo >&2; exit 7");
    let site = Site::builder().set("site", &purge.setting()).start();
    let client = site.client("3m").clone();
    let paths = [1, 2, 3].map(|serial| site.store("3m", "7D", &png_of(900, serial)));
    let output = site.output(&["image", "quarantine", &paths[0]]);
    assert!(output.status.success(), "{output:?}");
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(
        message.contains("The purge command failed: exit code 7"),
        "{message}"
    );
    assert!(
        message.len() < 8_000,
        "the output of the command is cut off"
    );
    assert_eq!(status(&site, &paths[0]), 404);
    let metrics = site.get("/image/v2/metrics");
    let metrics = metrics.text();
    assert!(
        metrics.contains("corenexis_cdn_waiting_purges 1\n"),
        "{metrics}"
    );

    // The responder's own deletions wait in the queue, too, also while the program hangs or is missing.
    purge.write("sleep 300");
    let reply = ask(&site, &client, "DELETE", &format!("images/{}", paths[1]));
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(site.upload("3m", "7D", PNG).status, 200);
    fs::remove_file(&purge.program).expect("removed");
    let again = "UPDATE purge SET retry_at = 0";
    site.ledger().execute_batch(again).expect("due");
    site.wait_for_log("event=purge_failed");
    assert_eq!(site.upload("3m", "7D", PNG).status, 200);

    purge.write(NOTE);
    site.ledger().execute_batch(again).expect("due");
    for path in &paths[..2] {
        purge.wait_for(&format!("/p/{path}\n"));
    }
    until("an empty queue", || {
        (site.count("SELECT count(*) FROM purge") == 0).then_some(())
    });
    assert!(!purge.calls().contains(&paths[2]), "it is served");
    site.run(&["image", "delete", &paths[2]]);
    purge.wait_for(&format!("/p/{}\n", paths[2]));
}

/// What is stored lacks the position, so its digest is another one: the upload is compared with both.
#[test]
fn an_image_that_lost_its_metadata_is_blocked_with_and_without_it() {
    let position = b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta xmlns:x=\"adobe:ns:meta/\"><rdf:RDF \
        xmlns:rdf=\"http://www.w3.org/1999/02/22-rdf-syntax-ns#\"><rdf:Description \
        xmlns:exif=\"http://ns.adobe.com/exif/1.0/\" exif:GPSLatitude=\"48,51.5N\"/></rdf:RDF></x:xmpmeta>";
    let length = u16::try_from(position.len() + 2).expect("one segment");
    let segment = [&[0xFF, 0xE1][..], &length.to_be_bytes(), position].concat();
    let with_position = [&JPEG[..2], &segment, &JPEG[2..]].concat();
    let site = Site::start();
    let path = site.store("3m", "7D", &with_position);
    let stored = site.get(&format!("/p/{path}")).body;
    assert_ne!(stored, with_position, "the position was removed");
    site.run(&["image", "block", &path]);
    until("the block list", || {
        (site.upload("3m", "7D", &stored).status == 400).then_some(())
    });
    is_error(
        &site.upload("3m", "7D", &with_position),
        400,
        NOT_ALLOWED,
        "with the position",
    );
}
