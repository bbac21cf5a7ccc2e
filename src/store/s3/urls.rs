//! The URLs of objects.

use std::io;

use rusty_s3::{Bucket, UrlStyle};
use url::Url;

use crate::config::S3;

/// The bucket of the configuration. Its `base_url` has the scheme and host of every request, and the path in front of a key.
pub(crate) fn bucket(s3: &S3) -> io::Result<Bucket> {
    let invalid = |cause: &dyn std::fmt::Debug| {
        let text = format!("no URL can be made for the {}: {cause:?}", s3.place());
        io::Error::new(io::ErrorKind::InvalidInput, text)
    };
    let endpoint = Url::parse(&s3.endpoint).map_err(|error| invalid(&error))?;
    let style = if s3.path_style {
        UrlStyle::Path
    } else {
        UrlStyle::VirtualHost
    };
    Bucket::new(endpoint, style, s3.bucket.clone(), s3.region.clone())
        .map_err(|error| invalid(&error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn s3(path_style: bool) -> S3 {
        let text = format!(
            "[site]\npublic_url = \"https://cdn.example.com\"\n[storage]\nkind = \"s3\"\nendpoint = \"https://s3.example.net:8443\"\n\
             bucket = \"images\"\nregion = \"eu-1\"\nkey_file = \"/k\"\npath_style = {path_style}"
        );
        let config = Config::from_toml(&text).expect("a configuration");
        config.storage.s3.expect("a bucket")
    }

    #[test]
    fn a_bucket_is_named_in_the_path_or_in_the_host() {
        for (path_style, url) in [
            (true, "https://s3.example.net:8443/images/d/ap5/AbCdEf.png"),
            (false, "https://images.s3.example.net:8443/d/ap5/AbCdEf.png"),
        ] {
            let bucket = bucket(&s3(path_style)).expect("a URL");
            assert_eq!(bucket.object_url("d/ap5/AbCdEf.png").as_str(), url);
        }
    }
}
