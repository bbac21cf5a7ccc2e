//! What the viewer page says about an image beyond its address: nginx includes it into the page (SSI).
//!
//! The page itself is a file and is served without this program. When this program is not there, or the ledger does not know the
//! image, nginx shows what the address alone says, and a script asks the image for the rest.

use time::UtcDateTime;

use crate::image::ImageType;
use crate::ledger::ImageRow;
use crate::plan::Expiry;

/// The parameter by which nginx asks for a part of the page, and only nginx can: the headers of a client become other parameters.
pub(crate) const PART: &str = "VIEWER_PART";
/// The parameter that names the image.
pub(crate) const IMAGE: &str = "VIEWER_IMAGE";
/// What the parts are made of.
pub(crate) const MEDIA_TYPE: &str = "text/html; charset=utf-8";

/// A part of the viewer page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// Its size, for the services that show a preview before they have fetched the image (<https://ogp.me/#structured>).
    Meta,
    /// Dimensions, format, size and expiry, for people.
    Facts,
}

impl Part {
    pub(crate) const fn named(name: &[u8]) -> Option<Self> {
        match name {
            b"meta" => Some(Self::Meta),
            b"facts" => Some(Self::Facts),
            _ => None,
        }
    }

    /// The part as HTML. Nothing in it comes from a client.
    pub(crate) fn html(self, image: &ImageRow, now: UtcDateTime) -> String {
        match self {
            Self::Meta => format!(
                "<meta property=\"og:image:width\" content=\"{}\">\n<meta property=\"og:image:height\" content=\"{}\">",
                image.width, image.height
            ),
            Self::Facts => facts(image, now),
        }
    }
}

fn facts(image: &ImageRow, now: UtcDateTime) -> String {
    let expiry = match image.expires_at {
        None => "<dt>Availability</dt><dd>Kept for good</dd>".to_owned(),
        Some(instant) => match Expiry::from_instant(instant) {
            Some(expiry) => format!("<dt>Expires</dt><dd>{}</dd>", expires(expiry, now)),
            None => return String::new(),
        },
    };
    let fact = |name: &str, value: &str| format!("<div><dt>{name}</dt><dd>{value}</dd></div>\n");
    [
        fact("Dimensions", &format!("{} × {}", image.width, image.height)),
        fact("Format", format_name(image.path.image_type())),
        fact("Size", &size(image.size)),
        format!("<div id=\"expiry\">{expiry}</div>"),
    ]
    .concat()
}

/// `1 December 2026, in 6 days`: the last day, and how long it still is to the midnight that ends it.
fn expires(expiry: Expiry, now: UtcDateTime) -> String {
    let day = expiry.last_day();
    format!(
        "<time datetime=\"{expiry}\">{} {} {}</time> <span class=\"left\">{}</span>",
        day.day(),
        day.month(),
        day.year(),
        distance(expiry.instant() - now.unix_timestamp())
    )
}

/// The time left in the unit that says most.
fn distance(seconds: i64) -> String {
    let (number, unit) = match seconds {
        ..=0 => return "just now".to_owned(),
        1..3600 => ((seconds / 60).max(1), "minute"),
        3600..172_800 => (seconds / 3600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    let plural = if number == 1 { "" } else { "s" };
    format!("in {number} {unit}{plural}")
}

/// A size in the unit people read it in. Fractions are cut, not rounded up: a file of 2 MiB is not said to be larger.
fn size(bytes: u64) -> String {
    const KIB: u64 = 1 << 10;
    const MIB: u64 = 1 << 20;
    match bytes {
        ..KIB => format!("{bytes} bytes"),
        KIB..MIB => format!("{} KiB", bytes / KIB),
        _ => format!("{}.{} MiB", bytes / MIB, bytes % MIB * 10 / MIB),
    }
}

/// The name of an image type as people say it.
pub(crate) const fn format_name(image_type: ImageType) -> &'static str {
    match image_type {
        ImageType::Jpeg => "JPEG",
        ImageType::Png => "PNG",
        ImageType::Gif => "GIF",
        ImageType::WebP => "WebP",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::ClientKey;

    fn row(expires_at: Option<i64>) -> ImageRow {
        ImageRow {
            path: "d/ap5/AbCdEf.webp".parse().expect("a path"),
            client: "shop".to_owned(),
            owner: ClientKey(1),
            size: 2_202_010,
            width: 1200,
            height: 675,
            uploaded_at: 0,
            expires_at,
        }
    }

    #[test]
    fn the_facts_say_the_last_day_and_what_is_left() {
        // 2025-04-13T00:00:00Z ends the last day; now is 2025-04-06T08:00:00Z.
        let now = UtcDateTime::from_unix_timestamp(1_743_926_400).expect("a time");
        let facts = Part::Facts.html(&row(Some(1_744_502_400)), now);
        assert_eq!(
            facts,
            "<div><dt>Dimensions</dt><dd>1200 × 675</dd></div>\n<div><dt>Format</dt><dd>WebP</dd></div>\n\
             <div><dt>Size</dt><dd>2.1 MiB</dd></div>\n\
             <div id=\"expiry\"><dt>Expires</dt><dd><time datetime=\"2025-04-12\">12 April 2025</time> \
             <span class=\"left\">in 6 days</span></dd></div>"
        );
        assert!(
            Part::Facts
                .html(&row(None), now)
                .contains("<dt>Availability</dt><dd>Kept for good</dd>")
        );
        // No instant of ours: the page says what the address says.
        assert_eq!(Part::Facts.html(&row(Some(1)), now), "");
    }

    #[test]
    fn what_is_left_is_never_overstated() {
        for (seconds, expected) in [
            (-5, "just now"),
            (0, "just now"),
            (1, "in 1 minute"),
            (119, "in 1 minute"),
            (3599, "in 59 minutes"),
            (3600, "in 1 hour"),
            (172_799, "in 47 hours"),
            (172_800, "in 2 days"),
            (7_776_000, "in 90 days"),
        ] {
            assert_eq!(distance(seconds), expected, "{seconds}");
        }
        for (bytes, expected) in [
            (1023, "1023 bytes"),
            (1024, "1 KiB"),
            (1_048_575, "1023 KiB"),
            (1_048_576, "1.0 MiB"),
            (10_485_759, "9.9 MiB"),
        ] {
            assert_eq!(size(bytes), expected);
        }
    }

    #[test]
    fn services_that_preview_learn_the_dimensions() {
        let meta = Part::Meta.html(&row(None), UtcDateTime::UNIX_EPOCH);
        assert!(meta.contains("og:image:width\" content=\"1200\""));
        assert!(meta.contains("og:image:height\" content=\"675\""));
        assert_eq!(Part::named(b"other"), None);
    }
}
