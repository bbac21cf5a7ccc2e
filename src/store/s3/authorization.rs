//! The `Authorization` header of a GET request for an object (AWS Signature Version 4,
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html>).
//!
//! nginx sends it with its request for an object of a bucket that is not public. A signed URL, the only thing that `rusty-s3` makes, would
//! stand in nginx's error log whenever such a request fails.

use hmac::{Hmac, KeyInit, Mac};
use rusty_s3::Credentials;
use sha2::{Digest, Sha256};
use time::UtcDateTime;

use crate::config::S3;
use crate::image_path::ImagePath;
use crate::store::SignedRead;

/// The headers that are signed, beside the path.
const SIGNED_HEADERS: &str = "host;x-amz-content-sha256;x-amz-date";

/// Signs requests of nginx with the access key.
#[derive(Debug)]
pub(super) struct Signer {
    host: String,
    path_of_keys: String,
    region: String,
    credentials: Credentials,
}

impl Signer {
    pub(super) fn new(s3: &S3, credentials: Credentials) -> Self {
        Self {
            host: s3.host(),
            path_of_keys: s3.path_of_keys(),
            region: s3.region.clone(),
            credentials,
        }
    }

    /// Signs a request for an image at `now`. The store accepts it for some minutes.
    pub(super) fn sign(&self, image: &ImagePath, now: UtcDateTime) -> SignedRead {
        let day = format!(
            "{:04}{:02}{:02}",
            now.year(),
            u8::from(now.month()),
            now.day()
        );
        let date = format!(
            "{day}T{:02}{:02}{:02}Z",
            now.hour(),
            now.minute(),
            now.second()
        );
        let scope = format!("{day}/{}/s3/aws4_request", self.region);
        let no_body = hex(&Sha256::digest(b""));
        // Bucket and key have no character that is percent-encoded.
        let request = format!(
            "GET\n{}{image}\n\nhost:{}\nx-amz-content-sha256:{no_body}\nx-amz-date:{date}\n\n{SIGNED_HEADERS}\n{no_body}",
            self.path_of_keys, self.host,
        );
        let digest = hex(&Sha256::digest(request.as_bytes()));
        let to_sign = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{digest}");
        let secret = format!("AWS4{}", self.credentials.secret());
        let key = [day.as_str(), &self.region, "s3", "aws4_request"]
            .into_iter()
            .fold(secret.into_bytes(), |key, text| mac(&key, text));
        let signature = hex(&mac(&key, &to_sign));
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={SIGNED_HEADERS}, Signature={signature}",
            self.credentials.key()
        );
        SignedRead {
            date,
            authorization,
        }
    }
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    // A key of any length is valid (RFC 2104, section 2); the error has no case.
    Hmac::<Sha256>::new_from_slice(key)
        .map(|mac| mac.chain_update(text).finalize().into_bytes().to_vec())
        .unwrap_or_default()
}

fn hex(bytes: &[u8]) -> String {
    base16ct::lower::encode_string(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use time::macros::utc_datetime;

    fn signed(path_style: bool, endpoint: &str) -> SignedRead {
        let text = format!(
            "[site]\npublic_url = \"https://cdn.example.com\"\n[storage]\nkind = \"s3\"\nendpoint = \"{endpoint}\"\n\
             bucket = \"images\"\nregion = \"eu-1\"\nkey_file = \"/k\"\npath_style = {path_style}"
        );
        let config = Config::from_toml(&text).expect("a configuration");
        let s3 = config.storage.s3.expect("a bucket");
        Signer::new(&s3, Credentials::new("AK", "secret")).sign(
            &"d/ap5/AbCdEf.png".parse().expect("a path"),
            utc_datetime!(2026-04-05 06:07:08),
        )
    }

    /// The signatures are those of botocore 1.43 (`S3SigV4Auth`).
    #[test]
    fn the_signature_is_that_of_other_implementations() {
        for (path_style, endpoint, signature) in [
            (
                true,
                "https://s3.example.net:8443",
                "d6ca7c5a76bfc4097c2c04c27ae552013816775f7b68f7ef5aa5703816135f70",
            ),
            (
                false,
                "https://s3.example.net",
                "f6051d849a1e723a32e9fb041ea543f1c3d101a7e41fc58e71c4819624a2e03a",
            ),
            (
                false,
                "https://s3.example.net:443",
                "f6051d849a1e723a32e9fb041ea543f1c3d101a7e41fc58e71c4819624a2e03a",
            ),
        ] {
            let signed = signed(path_style, endpoint);
            assert_eq!(signed.date, "20260405T060708Z");
            assert_eq!(
                signed.authorization,
                format!(
                    "AWS4-HMAC-SHA256 Credential=AK/20260405/eu-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, \
                     Signature={signature}"
                ),
                "{endpoint}"
            );
        }
    }
}
