//! `max_storage`: the bytes that a client may have stored at once.

use serde_json::{Value, json};

use crate::refusals::is_error;
use support::pictures::{PNG, png_of};
use support::site::Site;

#[test]
fn a_client_stores_what_its_plan_allows_at_once() {
    let site = Site::builder()
        .set("plans.3m", "max_storage = \"100KiB\"")
        .set("plans.lifetime", "")
        .start();
    let refused = r#"{"error":"Storage limit reached","max_storage":102400}"#;
    let first = site.store("3m", "7D", &png_of(50_000, 1));
    site.store("3m", "7D", &png_of(50_000, 2));
    let too_large = site.upload("3m", "7D", &png_of(2_401, 3));
    is_error(&too_large, 403, refused, "one byte too many");
    assert_eq!(too_large.header("X-RateLimit-Remaining"), Some("998"));
    let fits = png_of(2_400, 4);
    site.store("3m", "7D", &fits);
    // Refused before the file is read.
    is_error(&site.upload("3m", "7D", PNG), 403, refused, "full");
    let holdings = site.holdings();
    assert_eq!((holdings.rows, holdings.counted), (3, 3));
    assert_eq!(holdings.spooled, 0);

    let usage: Value =
        serde_json::from_str(&site.run(&["client", "show", &site.client("3m").id, "--json"]))
            .expect("JSON");
    assert_eq!(usage["stored"], json!({ "images": 3, "bytes": 102_400 }));

    site.run(&["image", "delete", &first]);
    site.store("3m", "7D", &png_of(50_000, 5));
    // Others have no limit.
    site.store("lifetime", "7D", &png_of(200_000, 6));
}

#[test]
fn verify_repairs_the_count_of_what_is_stored() {
    let site = Site::start();
    site.store("3m", "7D", &png_of(5_000, 1));
    let id = site.client("3m").id.clone();
    site.ledger()
        .execute_batch("UPDATE client SET stored_bytes = 7, stored_images = -1 WHERE plan = '3m'")
        .expect("changed");
    let found = site.output(&["verify"]);
    let text = String::from_utf8_lossy(&found.stdout);
    let line = format!("storage {id}: 1 images of 5000 bytes, 0 of 7 bytes by the count\n");
    assert!(text.contains(&line), "{text}");
    assert_eq!(found.status.code(), Some(1));
    let repaired = site.run(&["verify", "--repair"]);
    assert!(repaired.contains("(repaired)"), "{repaired}");
    assert!(site.output(&["verify"]).status.success());
    assert_eq!(
        site.count("SELECT stored_bytes FROM client WHERE plan = '3m'"),
        5_000
    );
}
