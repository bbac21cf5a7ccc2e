//! Keys that delete one image: HMAC-SHA256 (RFC 2104) over the path of the image, with a secret of the ledger.
//!
//! Nothing is stored for an image, and a key is worthless for another one. The key stands behind the `#` of `delete_url`, which browsers
//! send to no server; the viewer page sends it in a header of the call that deletes.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::image_path::ImagePath;

/// Bytes of a key: 128 bits of the 256 that HMAC gives (RFC 2104, section 5).
const KEY_BYTES: usize = 16;

/// Bytes of the secret: one block of SHA-256, the longest key that HMAC does not hash first (RFC 2104, section 3).
pub(crate) const SECRET_BYTES: usize = 64;

/// Makes and checks the keys of a site. It has no `Debug`, so that no log can contain the secret.
pub(crate) struct DeleteKeys(Hmac<Sha256>);

impl DeleteKeys {
    /// The keys that this secret makes.
    pub(crate) fn new(secret: &[u8; SECRET_BYTES]) -> Self {
        Self(Hmac::new(secret.into()))
    }

    /// The key of an image: 32 hexadecimal characters.
    pub(crate) fn key(&self, path: &ImagePath) -> String {
        let code = self.code(path).finalize().into_bytes();
        base16ct::lower::encode_string(&code[..KEY_BYTES])
    }

    /// Whether `key` deletes the image; compared in constant time.
    pub(crate) fn accepts(&self, path: &ImagePath, key: &[u8]) -> bool {
        let mut bytes = [0; KEY_BYTES];
        let is_whole =
            base16ct::mixed::decode(key, &mut bytes).is_ok_and(|it| it.len() == KEY_BYTES);
        is_whole && self.code(path).verify_truncated_left(&bytes).is_ok()
    }

    /// The URL of the viewer page that asks whether to delete the image; `public_url` without a slash at its end.
    pub(crate) fn url(&self, path: &ImagePath, public_url: &str) -> String {
        format!("{}#delete={}", path.viewer_url(public_url), self.key(path))
    }

    fn code(&self, path: &ImagePath) -> Hmac<Sha256> {
        self.0.clone().chain_update(path.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> ImagePath {
        text.parse().expect("a path")
    }

    #[test]
    fn a_key_is_the_hmac_of_the_path() {
        let keys = DeleteKeys::new(&[7; SECRET_BYTES]);
        // Computed with: printf d/ap5/AbCdEf.png | openssl dgst -sha256 -mac HMAC -macopt hexkey:0707…
        assert_eq!(
            keys.key(&path("d/ap5/AbCdEf.png")),
            "b3646bada861515e23e3e27ffdadb747"
        );
        assert_eq!(
            keys.url(&path("d/ap5/AbCdEf.png"), "https://cdn.example.com"),
            format!(
                "https://cdn.example.com/view/?img=d/ap5/AbCdEf.png#delete={}",
                "b3646bada861515e23e3e27ffdadb747"
            )
        );
    }

    #[test]
    fn a_key_deletes_its_own_image_only() {
        let keys = DeleteKeys::new(&[7; SECRET_BYTES]);
        let own = path("d/ap5/AbCdEf.png");
        let key = keys.key(&own);
        assert!(keys.accepts(&own, key.as_bytes()));
        assert!(
            keys.accepts(&own, key.to_uppercase().as_bytes()),
            "hexadecimal has two cases"
        );
        for other in [
            "d/ap5/AbCdEg.png",
            "d/ap6/AbCdEf.png",
            "m/ap5/AbCdEf.png",
            "d/ap5/AbCdEf.jpg",
        ] {
            assert!(!keys.accepts(&path(other), key.as_bytes()), "{other}");
        }
        let other_site = DeleteKeys::new(&[8; SECRET_BYTES]);
        assert!(!other_site.accepts(&own, key.as_bytes()));
    }

    #[test]
    fn a_part_of_a_key_is_no_key() {
        let keys = DeleteKeys::new(&[7; SECRET_BYTES]);
        let own = path("d/ap5/AbCdEf.png");
        let key = keys.key(&own);
        let longer = format!("{key}00");
        for wrong in [
            "",
            "0",
            &key[..2],
            &key[..30],
            &key[..31],
            longer.as_str(),
            "not hexadecimal at all, 32 chars",
        ] {
            assert!(!keys.accepts(&own, wrong.as_bytes()), "{wrong:?}");
        }
    }
}
