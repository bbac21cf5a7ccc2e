//! Full and read-only disks.

use std::fs;

use crate::invariants::{Installation, assert_invariants};
use crate::times;
use crate::uploads::{Uploads, unlimited, until_checkpointed};
use crate::volume::Volume;

/// The documented replies for a disk that cannot be written.
const DOCUMENTED: [&str; 3] = [
    r#"500 {"error":"Insufficient storage"}"#,
    r#"500 {"error":"Failed to save image"}"#,
    r#"500 {"error":"Failed to create directory"}"#,
];

#[test]
fn a_disk_may_be_full_at_any_point_of_an_upload() {
    let points = times("FAULTS_FILL_POINTS", 24);
    // Each point takes up to 300 KiB for good.
    let Some(volume) = Volume::make(32 + u64::from(points) / 3) else {
        return;
    };
    // Without `min_free`, so that the disk itself is full.
    let site = unlimited()
        .set("storage", "min_free = 0")
        .docroot(&volume.directory("docroot"))
        .ledger(&volume.directory("ledger"))
        .start();
    let mut installation = Installation::of(&site);
    let uploads = Uploads::default();
    let mut refused = 0;
    for point in 0..points {
        let before = uploads.len();
        // From 0 to 300 KiB, in steps unrelated to the sizes of ledger pages and images.
        volume.leave(u64::from(point) * 300 * 1024 / u64::from(points));
        for size in [100, 2_000, 9_000, 40_000, 90_000] {
            uploads.upload(&site, size);
        }
        uploads.during(&site, 4, 20_000, || {
            std::thread::sleep(std::time::Duration::from_millis(40));
        });
        for (answer, count) in uploads.take_refusals() {
            assert!(DOCUMENTED.contains(&answer.as_str()), "{answer}");
            refused += count;
        }
        assert_invariants(&mut installation, &uploads.acknowledged(before));
        volume.free_again();
        assert_eq!(uploads.upload(&site, 9_000), 200, "there is space again");
    }
    assert!(refused > 0, "the disk was never full");
    assert_invariants(&mut installation, &uploads.acknowledged(0));
    installation.sweep_removes_leftovers();
    eprintln!(
        "{points} fill points: {} images acknowledged and kept, {refused} uploads refused",
        uploads.len()
    );
}

#[test]
fn uploads_are_refused_below_min_free_and_the_sweep_works_on_a_full_disk() {
    let Some(volume) = Volume::make(32) else {
        return;
    };
    let mut site = unlimited()
        .set("storage", "min_free = \"4MiB\"")
        .docroot(&volume.directory("docroot"))
        .ledger(&volume.directory("ledger"))
        .start();
    let installation = Installation::of(&site);
    let uploads = Uploads::default();
    for _ in 0..40 {
        assert_eq!(uploads.upload(&site, 20_000), 200);
    }
    // A checkpoint makes the ledger larger.
    until_checkpointed(&site);
    volume.leave(3 << 20);
    let before = volume.free();
    assert_eq!(uploads.upload(&site, 500_000), 500);
    let refusals = uploads.take_refusals();
    assert!(refusals.contains_key(DOCUMENTED[0]), "{refusals:?}");
    assert_eq!(
        (volume.free(), installation.spooled()),
        (before, 0),
        "nothing was taken in"
    );
    assert_eq!(site.get("/image/v2/health").status, 503);

    // Half of the images expire while the responder runs, half after it stopped; the disk has no free byte.
    for (responder, half) in [("runs", 20), ("has stopped", 20)] {
        site.ledger()
            .execute(
                "UPDATE image SET expires_at = unixepoch() - 60 WHERE path IN (SELECT path FROM image LIMIT ?1)",
                [half],
            )
            .map(|updated| assert_eq!(updated, half))
            .expect("the rows are updated");
        if responder == "has stopped" {
            site.stop();
        }
        volume.leave(0);
        assert_eq!(volume.free(), 0);
        let output = installation.run(&["sweep", "--json"]);
        assert!(
            output.status.success(),
            "the responder {responder}: {output:?}"
        );
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!(
            (&report["expired"], &report["failed"]),
            (&half.into(), &0.into())
        );
        assert!(volume.free() > 200_000, "the responder {responder}");
    }
    assert_eq!(installation.files(), [""; 0]);
    volume.free_again();
    site.start_responder();
    assert_eq!(uploads.upload(&site, 9_000), 200);
}

#[test]
fn a_read_only_docroot_serves_images_and_refuses_uploads() {
    let Some(volume) = Volume::make(32) else {
        return;
    };
    let site = unlimited().docroot(&volume.directory("docroot")).start();
    let mut installation = Installation::of(&site);
    let uploads = Uploads::default();
    for _ in 0..3 {
        assert_eq!(uploads.upload(&site, 9_000), 200);
        volume.remount("ro");
        assert_eq!(uploads.upload(&site, 9_000), 500);
        let refusals = uploads.take_refusals();
        assert!(refusals.contains_key(DOCUMENTED[1]), "{refusals:?}");
        let image = &uploads.acknowledged(0)[0].path;
        assert_eq!(
            site.get(&format!("/p/{image}")).status,
            200,
            "images are served"
        );
        assert_eq!(site.get("/image/v2/health").status, 503);
        volume.remount("rw");
    }
    assert_eq!(uploads.upload(&site, 9_000), 200);
    assert_invariants(&mut installation, &uploads.acknowledged(0));
    assert_eq!(installation.spooled(), 0);
    assert!(fs::exists(site.docroot().join("p")).expect("looked at"));
    installation.sweep_removes_leftovers();
}
