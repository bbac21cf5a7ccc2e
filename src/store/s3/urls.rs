//! The URLs of objects, and their signatures (AWS Signature Version 4, in the query string).

use std::io;
use std::time::Duration;

use rusty_s3::{Bucket, Credentials, S3Action, UrlStyle};
use url::Url;

use super::key;
use crate::config::S3;
use crate::image_path::ImagePath;

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

/// Signs URLs by which an image can be read from a bucket that is not public.
#[derive(Debug, Clone)]
#[allow(dead_code, reason = "for the route of [storage] serve = \"signed\"")]
pub(crate) struct Presigner {
    bucket: Bucket,
    credentials: Credentials,
}

#[allow(dead_code, reason = "for the route of [storage] serve = \"signed\"")]
impl Presigner {
    /// Reads the key file.
    pub(crate) fn open(s3: &S3) -> io::Result<Self> {
        Ok(Self {
            bucket: bucket(s3)?,
            credentials: key::read(&s3.key_file)?,
        })
    }

    /// The path and the query of a GET request for an image, which anyone may send within `valid_for` to the host of the bucket's URL. It
    /// holds a signature, so it belongs in no log.
    pub(crate) fn path_and_query(&self, image: &ImagePath, valid_for: Duration) -> String {
        let action = self
            .bucket
            .get_object(Some(&self.credentials), image.as_str());
        let url = action.sign(valid_for);
        format!("{}?{}", url.path(), url.query().unwrap_or_default())
    }
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

    #[test]
    fn a_signed_path_names_key_region_and_validity() {
        let presigner = Presigner {
            bucket: bucket(&s3(true)).expect("a URL"),
            credentials: Credentials::new("AK", "secret"),
        };
        let image = "d/ap5/AbCdEf.png".parse().expect("a path");
        let signed = presigner.path_and_query(&image, Duration::from_mins(1));
        assert!(
            signed.starts_with(
                "/images/d/ap5/AbCdEf.png?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AK%2F"
            ),
            "{signed}"
        );
        assert!(signed.contains("%2Feu-1%2Fs3%2Faws4_request"), "{signed}");
        assert!(
            signed.contains("&X-Amz-Expires=60&X-Amz-SignedHeaders=host&X-Amz-Signature="),
            "{signed}"
        );
        assert!(!signed.contains("secret"), "{signed}");
    }
}
