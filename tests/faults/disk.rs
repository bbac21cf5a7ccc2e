//! Disks that are full, or cannot be written any more.

use std::fs;

use rustix::process::Signal;

use crate::promise::{Place, holds};
use crate::times;
use crate::uploads::{Uploads, endless};
use crate::volume::Volume;

/// Answers that the documentation has for a disk that takes nothing.
const DOCUMENTED: [&str; 3] = [
    r#"500 {"error":"Insufficient storage"}"#,
    r#"500 {"error":"Failed to save image"}"#,
    r#"500 {"error":"Failed to create directory"}"#,
];

#[test]
fn disks_that_are_full_at_any_point() {
    let Some(volume) = Volume::make(32) else {
        return;
    };
    // The guard is off: here the disk itself says no.
    let site = endless()
        .set("storage", "min_free = 0")
        .docroot(&volume.directory("docroot"))
        .ledger(&volume.directory("ledger"))
        .start();
    let mut place = Place::of(&site);
    let uploads = Uploads::default();
    let points = times("FAULTS_FILL_POINTS", 24);
    let mut refused = 0;
    for point in 0..points {
        let before = uploads.len();
        // From nothing at all to 300 KiB, in steps that are no multiples of what the ledger or an image takes.
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
        holds(&mut place, &uploads.acknowledged(before));
        volume.free_again();
        assert_eq!(uploads.upload(&site, 9_000), 200, "there is space again");
    }
    assert!(refused > 0, "the disk was never full");
    holds(&mut place, &uploads.acknowledged(0));
    place.sweep_clears_what_was_left();
    eprintln!(
        "{points} fill points: {} images acknowledged and kept, {refused} uploads refused",
        uploads.len()
    );
}

#[test]
fn the_guard_refuses_before_the_disk_is_full_and_the_sweep_works_on_a_full_one() {
    let Some(volume) = Volume::make(32) else {
        return;
    };
    let mut site = endless()
        .set("storage", "min_free = \"4MiB\"")
        .docroot(&volume.directory("docroot"))
        .ledger(&volume.directory("ledger"))
        .start();
    let place = Place::of(&site);
    let uploads = Uploads::default();
    for _ in 0..40 {
        assert_eq!(uploads.upload(&site, 20_000), 200);
    }
    volume.leave(3 << 20);
    let before = volume.free();
    assert_eq!(uploads.upload(&site, 500_000), 500);
    let refusals = uploads.take_refusals();
    assert!(refusals.contains_key(DOCUMENTED[0]), "{refusals:?}");
    assert_eq!(
        (volume.free(), place.spooled()),
        (before, 0),
        "nothing was taken in"
    );
    assert_eq!(site.get("/image/v2/health").status, 503);

    // Half of the images, and later the other half, have come to their ends, and something else has taken all the rest of the disk.
    for (responder, half) in [("runs", 20), ("has stopped", 20)] {
        site.ledger()
            .execute(
                "UPDATE image SET expires_at = unixepoch() - 60 WHERE path IN (SELECT path FROM image LIMIT ?1)",
                [half],
            )
            .map(|updated| assert_eq!(updated, half))
            .expect("the rows are updated");
        if responder == "has stopped" {
            site.signal(Signal::TERM);
            assert!(site.wait_for_end().success());
        }
        volume.leave(0);
        assert_eq!(volume.free(), 0);
        let output = place.run(&["sweep", "--json"]);
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
    assert_eq!(place.files(), [""; 0]);
    volume.free_again();
    site.start_responder();
    assert_eq!(uploads.upload(&site, 9_000), 200);
}

#[test]
fn a_docroot_that_is_read_only() {
    let Some(volume) = Volume::make(32) else {
        return;
    };
    let site = endless().docroot(&volume.directory("docroot")).start();
    let mut place = Place::of(&site);
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
    holds(&mut place, &uploads.acknowledged(0));
    assert_eq!(place.spooled(), 0);
    assert!(fs::exists(site.docroot().join("p")).expect("looked at"));
    place.sweep_clears_what_was_left();
}
