//! `[images] scan_command`: the program that judges images before they are published.

use crate::refusals::is_error;
use support::pictures::{GIF, PNG};
use support::site::{NOTHING, Site};

const BUSY: &str = r#"{"error":"Server busy"}"#;

/// A site that runs this shell script for each image.
fn site(script: &str, settings: &str) -> Site {
    let command = format!("scan_command = [\"/bin/sh\", \"-c\", {script:?}]\n{settings}");
    Site::builder().set("images", &command).start()
}

#[test]
fn the_program_decides_by_the_image() {
    let site = site("if grep -q GIF89a; then echo a spinner >&2; exit 1; fi", "");
    site.store("3m", "7D", PNG);
    let before = site.holdings();
    let reply = site.upload("3m", "7D", GIF);
    is_error(&reply, 400, r#"{"error":"Image not allowed"}"#, "refused");
    assert_eq!(site.holdings(), before);
    site.wait_for_log("a spinner");
    let metrics = site.get("/image/v2/metrics");
    for line in [
        "corenexis_cdn_scans_total{result=\"passed\"} 1",
        "corenexis_cdn_scans_total{result=\"refused\"} 1",
    ] {
        assert!(metrics.text().contains(line), "{line}");
    }
}

#[test]
fn a_program_that_fails_costs_no_upload_its_answer() {
    for (script, what) in [
        ("exit 2", "fails"),
        ("kill -9 $$", "dies"),
        ("exec sleep 600", "hangs"),
        ("sleep 600 & wait", "hangs in a child"),
        ("head -c 5000000 /dev/zero; exit 3", "prints megabytes"),
        ("exec /nowhere/scanner", "is missing"),
    ] {
        let site_that = |settings| site(script, &format!("scan_timeout = \"1s\"\n{settings}"));
        let refusing = site_that("");
        let reply = refusing.upload("3m", "7D", PNG);
        is_error(&reply, 503, BUSY, what);
        assert_eq!(reply.header("Retry-After"), Some("10"), "{what}");
        assert_eq!(refusing.holdings(), NOTHING, "{what}");
        assert!(
            refusing.responder_log().contains("scan_command: "),
            "{what}"
        );
        let publishing = site_that("scan_on_error = \"publish\"");
        publishing.store("3m", "7D", PNG);
        assert!(
            publishing.responder_log().contains("event=scan_failed"),
            "{what}"
        );
    }
}

#[test]
fn doctor_says_whether_the_program_can_be_run() {
    let site = Site::builder()
        .set("images", "scan_command = [\"/nowhere/scanner\"]")
        .start();
    let output = site.output(&["doctor", "--json"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("/nowhere/scanner: No such file"), "{text}");
    assert!(text.contains("every upload is answered with 503"), "{text}");
}
