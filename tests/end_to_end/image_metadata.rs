//! What becomes of the metadata of an image. `tests/images/metadata` has every form of them.

use std::fs;

use support::pictures::{GIF, JPEG, PNG, WEBP};
use support::site::Site;

/// Exif with an orientation and a description, and a GPS directory whose only value is "Ottobrunn".
const EXIF: &[u8] = b"MM\0*\0\0\0\x08\
    \0\x03\
    \x01\x0E\0\x02\0\0\0\x08\0\0\0\x44\
    \x01\x12\0\x03\0\0\0\x01\0\x06\0\0\
    \x88\x25\0\x04\0\0\0\x01\0\0\0\x32\
    \0\0\0\0\
    \0\x01\
    \0\x1B\0\x02\0\0\0\x0A\0\0\0\x4C\
    \0\0\0\0\
    evening\0Ottobrunn\0";

/// The photograph with [`EXIF`].
fn located() -> Vec<u8> {
    let length = u16::try_from(2 + 6 + EXIF.len()).expect("a short segment");
    let (head, rest) = JPEG.split_at(2);
    [
        head,
        b"\xFF\xE1",
        &length.to_be_bytes(),
        b"Exif\0\0",
        EXIF,
        rest,
    ]
    .concat()
}

fn contains(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|window| window == text)
}

/// A site whose plan `3m` has this `metadata`.
fn site(metadata: &str) -> Site {
    let lines = if metadata.is_empty() {
        String::new()
    } else {
        format!("metadata = \"{metadata}\"")
    };
    Site::builder()
        .set("plans.free", "")
        .set("plans.lifetime", "")
        .set("plans.3m", &lines)
        .start()
}

#[test]
fn a_plan_says_what_is_removed() {
    let image = located();
    for (metadata, has_place, has_description) in [
        ("", false, true),
        ("strip-location", false, true),
        ("strip", false, false),
        ("keep", true, true),
    ] {
        let site = site(metadata);
        let path = site.store("3m", "7D", &image);
        let stored = fs::read(site.file(&path)).expect("the image");
        assert_eq!(contains(&stored, b"Ottobrunn"), has_place, "{metadata}");
        assert_eq!(contains(&stored, b"evening"), has_description, "{metadata}");
        assert_eq!(site.get(&format!("/p/{path}")).body, stored);
        // The coded image is untouched, and the row says what is stored: the picture is turned by the orientation.
        assert!(stored.ends_with(&JPEG[JPEG.len() - 1000..]), "{metadata}");
        let row = format!(
            "SELECT count(*) FROM image WHERE size = {} AND width < height",
            stored.len()
        );
        assert_eq!(site.count(&row), 1, "{metadata}");
        // A video behind the picture, as cameras append it.
        let motion = [&image[..], b"\0\0\0\x18ftypmp42 +48.06+011.66/"].concat();
        let path = site.store("3m", "7D", &motion);
        let stored = fs::read(site.file(&path)).expect("the image");
        assert_eq!(contains(&stored, b"+48.06"), has_place, "{metadata}");
    }
}

#[test]
fn an_image_without_metadata_is_stored_byte_for_byte() {
    let site = site("");
    for image in [PNG, GIF, WEBP, JPEG, &[JPEG, b"more"].concat()] {
        let path = site.store("3m", "7D", image);
        assert_eq!(
            fs::read(site.file(&path)).expect("the image"),
            image,
            "{path}"
        );
    }
}
