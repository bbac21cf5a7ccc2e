//! The parts of the nginx files for images in a bucket, `[storage] kind = "s3"`: the upstream, the cache and the requests to the store.

use crate::authorities;
use crate::config::{Config, S3, Serve};
use crate::expiry::StoreDuration;
use crate::image_path::class_of;
use crate::template::{Escaped, Template};

use super::image_pattern;

/// The directory of the cache. nginx makes it and gives it to its workers.
pub(super) const CACHE: &str = "/var/cache/corenexis-cdn";

/// The same below the prefix of an nginx of this site alone.
const OWN_CACHE: &str = "run/images";

/// The size of an image that the zone of keys is made for: 8,000 keys take 1 MiB (ngx_http_proxy_module, `proxy_cache_path`).
const TYPICAL_IMAGE: u64 = 64 << 10;
const KEYS_PER_MEBIBYTE: u64 = 8000;

/// SHA-256 of no bytes, the body of a GET request.
const EMPTY_SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Whether nginx needs a signature to read the bucket.
pub(super) fn is_signed(config: &Config) -> bool {
    let s3 = config.storage.s3.as_ref();
    s3.is_some_and(|s3| s3.serve == Serve::Signed)
}

/// The directives for the http context; none if the images lie in the docroot.
pub(super) fn http_part(config: &Config, has_own_nginx: bool) -> String {
    let Some(s3) = &config.storage.s3 else {
        return String::new();
    };
    let cache = if has_own_nginx { OWN_CACHE } else { CACHE };
    let zone = (s3.cache() / TYPICAL_IMAGE / KEYS_PER_MEBIBYTE).clamp(10, 512);
    let text = Template {
        text: include_str!("../../../nginx/corenexis-cdn.bucket.conf"),
        values: &[
            ("STORE_SERVER", Escaped::written(s3.address())),
            ("CACHE_PATH", Escaped::written(cache)),
            ("ZONE", Escaped::number(zone)),
            ("CACHE", Escaped::number(s3.cache())),
            ("MIN_FREE", Escaped::number(2 * config.storage.min_free())),
            ("ANY_IMAGE", image_pattern(|_| true, "/")),
            (
                "LIFETIME",
                Escaped::written(class_of(StoreDuration::Lifetime)),
            ),
        ],
        sections: &[
            ("FIXED", s3.resolver.is_empty()),
            ("SIGNED", is_signed(config)),
        ],
    }
    .fill();
    text.trim_end().to_owned() + "\n"
}

/// The values of the location of the images.
pub(super) fn values(config: &Config) -> [(&'static str, Escaped); 4] {
    let s3 = config.storage.s3.as_ref();
    [
        (
            "STORE_REQUEST",
            Escaped::written(s3.map_or_else(String::new, store_request)),
        ),
        (
            "STORE_NAME",
            Escaped::written(s3.map_or_else(String::new, S3::host_name)),
        ),
        (
            "CA_FILE",
            Escaped::nginx(&s3.map_or_else(String::new, ca_file)),
        ),
        ("EMPTY_SHA256", Escaped::written(EMPTY_SHA256)),
    ]
}

/// The request to the store and what becomes of its errors.
fn store_request(s3: &S3) -> String {
    let scheme = if s3.is_https() { "https" } else { "http" };
    let resolver: Vec<_> = s3.resolver.iter().map(address).collect();
    let is_fixed = resolver.is_empty();
    let name = if is_fixed {
        "corenexis_store"
    } else {
        "$corenexis_store"
    };
    let text = Template {
        text: include_str!("../../../nginx/corenexis-cdn.store-request.conf"),
        values: &[
            ("RESOLVER", Escaped::written(resolver.join(" "))),
            ("STORE_SERVER", Escaped::written(s3.address())),
            ("STORE_HOST", Escaped::written(s3.host())),
            (
                "STORE",
                Escaped::written(format!("{scheme}://{name}{}", s3.path_of_keys())),
            ),
        ],
        sections: &[("RESOLVER", !is_fixed)],
    };
    super::indented(&text.fill(), 8)
}

/// The file of the authorities by which nginx verifies the store.
fn ca_file(s3: &S3) -> String {
    let file = authorities::file_or_usual(s3.ca_file.as_deref());
    file.to_string_lossy().into_owned()
}

/// An address as nginx writes it.
fn address(address: &std::net::IpAddr) -> String {
    match address {
        std::net::IpAddr::V4(address) => address.to_string(),
        std::net::IpAddr::V6(address) => format!("[{address}]"),
    }
}
