//! An object: what its headers say.

use ureq::http::HeaderMap;

use super::date;
use crate::expiry::Expiry;
use crate::image_path::{ImagePath, content_type_of};
use crate::store::{NO_EXPIRY, Stored};
use crate::timestamp::Timestamp;

/// Metadata with the expiry, beside `Expires`, which some stores drop.
const EXPIRES_AT: &str = "x-amz-meta-expires-at";

/// Metadata with the instant of the upload, which copies keep.
const PUBLISHED_AT: &str = "x-amz-meta-published-at";

/// An object of the bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Object {
    /// Size, expiry and publication.
    pub(super) stored: Stored,
    /// The hash that the store gives it, without quotes: the MD5 digest of its bytes at most stores.
    pub(super) etag: String,
    /// When it was written or copied.
    pub(super) modified_at: Timestamp,
}

impl Object {
    /// Reads the headers of a reply to HEAD or GET; `None` if the size or the date is missing.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let text = |name: &str| headers.get(name)?.to_str().ok();
        let instant = |name: &str| text(name)?.parse::<Timestamp>().ok();
        let modified_at = date::parse(text("last-modified")?)?;
        Some(Self {
            stored: Stored {
                size: text("content-length")?.parse().ok()?,
                expires_at: instant(EXPIRES_AT)
                    .or_else(|| date::parse(text("expires")?))
                    .unwrap_or(NO_EXPIRY),
                published_at: instant(PUBLISHED_AT).unwrap_or(modified_at),
            },
            etag: unquoted(text("etag").unwrap_or_default()).to_owned(),
            modified_at,
        })
    }
}

/// An entity tag without its quotes.
pub(super) fn unquoted(etag: &str) -> &str {
    etag.trim_matches('"')
}

/// What is written with the bytes of an image: its type, when it expires (never `max-age`, which would count from each reader's own
/// request) and when it was published.
#[derive(Debug)]
pub(super) struct Metadata {
    content_type: &'static str,
    expires: Option<(String, String)>,
    published_at: String,
}

impl Metadata {
    pub(super) fn new(path: &ImagePath, expiry: Option<Expiry>, published_at: Timestamp) -> Self {
        let expires = expiry.and_then(|expiry| {
            let instant = expiry.instant();
            Some((date::format(instant)?, instant.to_string()))
        });
        Self {
            content_type: content_type_of(path.image_type()),
            expires,
            published_at: published_at.to_string(),
        }
    }

    /// The headers, all of which have to be signed.
    pub(super) fn headers(&self) -> Vec<(&'static str, &str)> {
        let mut headers = vec![
            ("content-type", self.content_type),
            (PUBLISHED_AT, self.published_at.as_str()),
        ];
        if let Some((expires, expires_at)) = &self.expires {
            headers.push(("expires", expires));
            headers.push((EXPIRES_AT, expires_at));
        }
        headers
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expiry::StoreDuration;
    use time::macros::utc_datetime;
    use ureq::http::HeaderValue;

    fn headers<'a>(pairs: impl IntoIterator<Item = (&'static str, &'a str)>) -> HeaderMap {
        let value = |text| HeaderValue::from_str(text).expect("a value");
        let pairs = pairs.into_iter();
        pairs
            .map(|(name, text)| (name.parse().expect("a name"), value(text)))
            .collect()
    }

    const GIVEN: [(&str, &str); 3] = [
        ("content-length", "12"),
        ("etag", "\"abc\""),
        ("last-modified", "Sun, 05 Apr 2026 12:00:00 GMT"),
    ];

    #[test]
    fn metadata_that_is_written_is_read() {
        let now = utc_datetime!(2026-04-05 11:00);
        let path = "d/ap5/AbCdEf.png".parse().expect("a path");
        let expiry = StoreDuration::Days7.expiry(now);
        let metadata = Metadata::new(&path, expiry, now.into());
        let written = metadata.headers();
        assert!(written.contains(&("content-type", "image/png")));
        assert!(written.contains(&("expires", "Mon, 13 Apr 2026 00:00:00 GMT")));
        let expected = Stored {
            size: 12,
            expires_at: expiry.expect("expires").instant(),
            published_at: now.into(),
        };
        for dropped in ["", "expires", EXPIRES_AT] {
            let kept = written.iter().copied().filter(|(name, _)| *name != dropped);
            let object = Object::of(&headers(GIVEN.into_iter().chain(kept))).expect("an object");
            assert_eq!(object.stored, expected, "without {dropped}");
            assert_eq!(object.etag, "abc");
        }
    }

    #[test]
    fn an_object_of_another_program_has_the_time_of_its_writing_and_no_expiry() {
        let object = Object::of(&headers(GIVEN)).expect("an object");
        assert_eq!(object.stored.published_at, object.modified_at);
        assert_eq!(Expiry::from_instant(object.stored.expires_at), None);
        assert_eq!(Object::of(&headers([GIVEN[0]])), None);
    }
}
