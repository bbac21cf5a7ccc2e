//! `[storage] kind = "s3"`: uploads into a bucket of a real SeaweedFS, the commands over it, and refused starts.

use std::fs;
use std::process::Output;
use std::thread;

use serde_json::Value;
use support::http::{self, Reply};
use support::http_proxy::{Disturbance, HttpProxy, slow_down};
use support::machine::{fake, faketime};
use support::pictures::{PNG, png_of};
use support::seaweedfs::{Access, Bucket};
use support::site::Site;

/// Bytes of an image that no write-ahead log would take.
const LARGE: usize = 700_000;

fn site_in(bucket: &Bucket) -> Site {
    Site::builder().set("storage", &bucket.storage()).start()
}

/// The reply of the store itself to a reader without a key.
fn object(bucket: &Bucket, key: &str) -> Reply {
    let port = bucket.endpoint.rsplit(':').next().expect("a port");
    let port = port.parse().expect("a number");
    http::get(port, &format!("/{}/{key}", bucket.name))
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn files_below(directory: &std::path::Path) -> usize {
    let entries = fs::read_dir(directory).into_iter().flatten();
    entries
        .map(|entry| entry.expect("an entry").path())
        .map(|path| if path.is_dir() { files_below(&path) } else { 1 })
        .sum()
}

#[test]
fn an_upload_is_an_object_with_its_type_and_expiry_and_nothing_stays_on_the_host() {
    let Some(bucket) = Bucket::new(Access::Public) else {
        return;
    };
    let site = site_in(&bucket);
    for (plan, duration, image) in [
        ("free", "7D", PNG.to_vec()),
        ("3m", "3M", png_of(LARGE, 1)),
        ("lifetime", "LTF", PNG.to_vec()),
    ] {
        let path = site.store(plan, duration, &image);
        let stored = object(&bucket, &path);
        assert_eq!(stored.status, 200, "{stored:?}");
        assert!(stored.body == image, "{path}");
        assert_eq!(stored.header("Content-Type"), Some("image/png"));
        let query = format!("SELECT coalesce(expires_at, 0) FROM image WHERE path = '{path}'");
        let expires_at = site.count(&query);
        let has_expiry = stored.header("Expires").is_some();
        assert_eq!(has_expiry, expires_at > 0, "{stored:?}");
    }
    assert_eq!(files_below(&site.docroot().join("p")), 0);
    assert_eq!(files_below(&bucket.directory.path().join("spool")), 0);
    assert!(
        !site.ledger_file().with_extension("db-log").exists(),
        "no write-ahead log"
    );
    let verified = site.run(&["verify"]);
    assert!(verified.contains('3'), "{verified}");
    let health = site.get("/image/v2/health");
    assert_eq!(health.json()["bucket"], "ok", "{health:?}");
}

#[test]
fn a_store_out_of_reach_answers_busy_and_counts_nothing() {
    let Some(bucket) = Bucket::new(Access::Private) else {
        return;
    };
    let proxy = HttpProxy::start(&bucket.endpoint);
    let storage = bucket.storage_at(&proxy.endpoint(), "responder");
    let site = Site::builder().set("storage", &storage).start();
    let path = site.store("free", "7D", PNG);
    for disturbance in [Disturbance::Answer(slow_down()), Disturbance::LoseRequest] {
        proxy.disturb(move |_| disturbance.clone());
        let refused = site.upload("free", "7D", PNG);
        assert_eq!(refused.status, 503, "{refused:?}");
        assert_eq!(refused.text(), r#"{"error":"Server busy"}"#);
        assert!(refused.number("Retry-After") > 0);
        let holdings = site.holdings();
        assert_eq!((holdings.rows, holdings.counted), (1, 1));
        let health = site.get("/image/v2/health");
        assert_eq!(
            (health.status, &health.json()["bucket"]),
            (503, &Value::from("failed"))
        );
        let deleted = site.output(&["image", "delete", &path]);
        assert_eq!(deleted.status.code(), Some(4), "{deleted:?}");
    }
    proxy.disturb(|_| Disturbance::None);
    site.store("free", "7D", PNG);
    assert_eq!(site.holdings().counted, 2);
    assert_eq!(files_below(&bucket.directory.path().join("spool")), 0);
}

#[test]
fn expired_deleted_and_lost_images_are_swept_and_verified() {
    let Some(bucket) = Bucket::new(Access::Public) else {
        return;
    };
    let site = site_in(&bucket);
    let [expired, deleted, lost, kept] = [(); 4].map(|()| site.store("3m", "1M", PNG));
    let ledger = site.ledger();
    ledger
        .execute(
            "UPDATE image SET expires_at = 86400 WHERE path = ?1",
            [&expired],
        )
        .expect("expired");
    site.run(&["image", "delete", &deleted]);
    let filer = bucket.delete_object(&lost);
    assert!(filer.status < 300, "{filer:?}");
    let verified = site.output(&["verify"]);
    assert_eq!(verified.status.code(), Some(1), "{verified:?}");
    let swept: Value = serde_json::from_str(&site.run(&["sweep", "--json"])).expect("JSON");
    assert_eq!(swept["expired"], 1, "{swept}");
    ledger
        .execute("UPDATE image SET uploaded_at = uploaded_at - 3600", [])
        .expect("older");
    let repaired = site.output(&["verify", "--repair"]);
    assert!(repaired.status.success(), "{repaired:?}");
    for (path, status) in [(&expired, 404), (&deleted, 404), (&lost, 404), (&kept, 200)] {
        let reply = object(&bucket, path);
        // The store does not say that an object is missing to those who may not list.
        let status_here = if reply.status == 403 {
            404
        } else {
            reply.status
        };
        assert_eq!(status_here, status, "{reply:?}");
    }
    assert_eq!(site.holdings().rows, 1);
    site.run(&["verify"]);
}

#[test]
fn an_image_in_quarantine_is_out_of_reach_and_can_be_released() {
    let Some(bucket) = Bucket::new(Access::Public) else {
        return;
    };
    let site = site_in(&bucket);
    let path = site.store("3m", "1M", PNG);
    let before = object(&bucket, &path);
    site.run(&["image", "quarantine", &path]);
    assert_ne!(object(&bucket, &path).status, 200);
    assert_ne!(object(&bucket, &format!(".quarantine/{path}")).status, 200);
    site.run(&["sweep"]);
    site.run(&["verify"]);
    site.run(&["image", "release", &path]);
    let after = object(&bucket, &path);
    assert_eq!((after.status, &after.body), (200, &before.body));
    assert_eq!(after.header("Expires"), before.header("Expires"));
    site.run(&["verify"]);
}

#[test]
fn regression_a_quarantine_and_a_release_at_once_deleted_the_copies_of_each_other() {
    let Some(bucket) = Bucket::new(Access::Private) else {
        return;
    };
    let site = site_in(&bucket);
    let path = site.store("3m", "7D", PNG);
    for _ in 0..3 {
        thread::scope(|scope| {
            for command in ["quarantine", "release"].repeat(3) {
                let (site, path) = (&site, &path);
                scope.spawn(move || site.output(&["image", command, path]));
            }
        });
        let kept = bucket.objects();
        assert!(
            kept == [path.clone()] || kept == [format!(".quarantine/{path}")],
            "{kept:?}"
        );
    }
    site.run(&["verify"]);
}

#[test]
fn a_bucket_that_cannot_be_used_is_one_sentence_and_leaves_nothing() {
    let Some(bucket) = Bucket::new(Access::Private) else {
        return;
    };
    let closed = format!("http://127.0.0.1:{}", support::machine::free_port());
    let endpoint = &bucket.endpoint;
    for (storage, needle) in [
        (
            bucket.storage().replace(&bucket.name, "no-such-bucket"),
            "there is no such bucket",
        ),
        (
            bucket.storage_at(endpoint, "stranger"),
            "does not know the access key",
        ),
        (bucket.storage_at(endpoint, "reader"), "may not do this"),
        (bucket.storage_at(&closed, "responder"), "did not answer"),
        (bucket.storage_at(endpoint, "nobody"), "nobody.key"),
    ] {
        let site = Site::builder()
            .set("storage", &bucket.storage())
            .launch(support::builder::Launch::Absent)
            .start();
        for file in fs::read_dir(site.root.join("ledger")).expect("readable") {
            fs::remove_file(file.expect("an entry").path()).expect("removed");
        }
        bucket.delete_object(".identity");
        site.edit_config(|text| text.replace(&bucket.storage(), &storage));
        for command in [
            &["client", "add", "new", "--plan", "free"][..],
            &["serve"],
            &["sweep"],
        ] {
            let refused = site.output(command);
            assert_eq!(refused.status.code(), Some(4), "{command:?}: {refused:?}");
            let text = stderr(&refused);
            assert!(text.contains(needle) && text.contains("bucket"), "{text}");
            assert_eq!(text.trim().lines().count(), 1, "{text}");
            assert_eq!(files_below(&site.root.join("ledger")), 0, "{command:?}");
        }
    }
}

#[test]
fn a_bucket_of_another_ledger_is_refused() {
    let Some(bucket) = Bucket::new(Access::Private) else {
        return;
    };
    let Some(others) = Bucket::new(Access::Private) else {
        return;
    };
    let mut site = site_in(&bucket);
    let path = site.store("3m", "1M", PNG);
    let other = site_in(&others);
    other.store("3m", "1M", PNG);
    site.stop();
    site.edit_config(|text| text.replace(&bucket.name, &others.name));
    for command in [&["serve"][..], &["sweep"], &["image", "delete", &path]] {
        let refused = site.output(command);
        let text = stderr(&refused);
        assert_eq!(refused.status.code(), Some(4), "{text}");
        assert!(text.contains(&format!("bucket {}", others.name)), "{text}");
        assert!(text.contains("do not belong together"), "{text}");
    }
    other.run(&["verify"]);
    site.edit_config(|text| text.replace(&others.name, &bucket.name));
    site.start_responder();
    site.run(&["verify"]);
}

#[test]
fn a_clock_that_is_wrong_is_named_with_both_times() {
    let Some(library) = faketime() else { return };
    let Some(bucket) = Bucket::new(Access::Private) else {
        return;
    };
    let site = site_in(&bucket);
    let mut command = site.command(&["sweep"]);
    // A clock that is ahead is not refused by this store; doctor compares the clocks.
    fake(&mut command, &library, "2020-01-02 03:04:05");
    let refused = command.output().expect("the sweep runs");
    let text = stderr(&refused);
    assert_eq!(refused.status.code(), Some(4), "{text}");
    let here = "the clock of this host says 2020-01-02T03:04:";
    assert!(
        text.contains(here) && text.contains("that of the store 20"),
        "{text}"
    );
}

fn doctor(site: &Site) -> Value {
    let output = site.output(&["doctor", "--json"]);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
}

#[track_caller]
fn verdict(report: &Value, check: &str, expected: &str) {
    let findings = report["findings"].as_array().expect("findings");
    let found = findings.iter().find(|finding| finding["check"] == check);
    let found = found.unwrap_or_else(|| panic!("no {check} in {report:#}"));
    assert_eq!(found["verdict"], expected, "{found:#}");
    assert!(expected == "ok" || found["advice"].is_string(), "{found:#}");
}

#[test]
fn doctor_tries_what_is_needed_of_the_bucket() {
    let Some(bucket) = Bucket::new(Access::Public) else {
        return;
    };
    let proxy = HttpProxy::start(&bucket.endpoint);
    let storage = bucket.storage_at(&proxy.endpoint(), "responder");
    let site = Site::builder().set("storage", &storage).start();
    let report = doctor(&site);
    let checks = [
        "bucket",
        "bucket clock",
        "bucket list",
        "bucket write",
        "bucket condition",
        "bucket hashes",
        "bucket expiry",
        "bucket public",
        "bucket delete",
        "spool",
    ];
    for check in checks {
        verdict(&report, check, "ok");
    }
    let verified = site.run(&["verify"]);
    assert!(
        verified.starts_with(
            "compared 0 images (0 bytes): 0 rows without files, 0 files without rows,"
        ),
        "{verified}"
    );
    proxy.disturb(|_| Disturbance::Strip("if-none-match"));
    verdict(&doctor(&site), "bucket condition", "warn");
    proxy.disturb(|_| Disturbance::StripReply("expires"));
    verdict(&doctor(&site), "bucket expiry", "warn");
    proxy.disturb(|_| Disturbance::StripReply("x-amz-meta-expires-at"));
    verdict(&doctor(&site), "bucket expiry", "fail");
    proxy.disturb(|_| Disturbance::LoseRequest);
    verdict(&doctor(&site), "bucket", "fail");
    proxy.disturb(|head| match head.method() {
        "POST" => Disturbance::Answer(
            b"HTTP/1.1 501 Not Implemented\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                .to_vec(),
        ),
        _ => Disturbance::None,
    });
    verdict(&doctor(&site), "bucket delete", "fail");
    proxy.disturb(|_| Disturbance::None);
    site.edit_config(|text| text.replace("responder.key", "reader.key"));
    verdict(&doctor(&site), "bucket write", "fail");
}

#[test]
fn doctor_sees_who_may_read_the_bucket() {
    for (access, serve, expected) in [
        (Access::Open, "public", "fail"),
        (Access::Private, "public", "fail"),
        (Access::Private, "signed", "ok"),
        (Access::Open, "signed", "warn"),
        (Access::Listed, "public", "fail"),
    ] {
        let Some(bucket) = Bucket::new(access) else {
            return;
        };
        let storage = format!("{}serve = \"{serve}\"\n", bucket.storage());
        let site = Site::builder().set("storage", &storage).start();
        let report = doctor(&site);
        verdict(&report, "bucket public", expected);
        let is_listed = report.to_string().contains("everybody can list the bucket");
        assert_eq!(is_listed, access == Access::Listed, "{report:#}");
        if is_listed {
            verdict(&report, "bucket public list", "warn");
        }
    }
}
