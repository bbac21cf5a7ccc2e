//! The replies of the responder to requests of nginx itself: facts about an image, which nginx includes in the viewer page by SSI,
//! redirects of links whose path is percent-encoded, and for images in a bucket whether there is one, and signed requests for it.
//!
//! nginx serves the page itself. Without the responder, or for an image that the ledger does not have, the page has the facts that
//! follow from the path, and its script reads the others from the headers of the image.

use time::UtcDateTime;

use crate::app::App;
use crate::byte_size::rounded;
use crate::error::{Fault, Refusal};
use crate::expiry::Expiry;
use crate::fastcgi::params::Params;
use crate::image_path::{ImagePath, format_name};
use crate::ledger::ImageRow;
use crate::response::Response;
use crate::timestamp::Timestamp;

/// The FastCGI parameter of a request for the viewer. Only nginx can set it: the names of request headers begin with `HTTP_`.
const PART: &str = "VIEWER_PART";
/// The FastCGI parameter with the value of `img`, as it stands in the query.
const IMAGE: &str = "VIEWER_IMAGE";
const MEDIA_TYPE: &str = "text/html; charset=utf-8";

/// The reply to a request for the viewer; `None` for any other request.
pub(crate) fn reply(app: &App, params: &Params) -> Option<Response> {
    let part = params.get(PART)?;
    let value = params.get(IMAGE).unwrap_or_default();
    let path = str::from_utf8(value).ok().map(ImagePath::from_query_value);
    let path = path.and_then(Result::ok);
    if part == b"link" {
        // Relative: right behind a proxy that ends TLS or listens on another port.
        let location = path.map(|path| path.viewer_url(""));
        return Some(match location {
            Some(location) => Response::moved(location),
            None => Response::refusal(&Refusal::NotFound),
        });
    }
    if part == b"page" {
        return Some(page(app, path));
    }
    if part == b"object" {
        return Some(object(app, path));
    }
    let image = path.and_then(|path| app.ledger.image(&path).ok().flatten());
    let image = image.filter(|image| image.quarantine.is_none());
    let html = image
        .zip(Part::named(part))
        .map(|(image, part)| part.html(&image, (app.clock)()));
    Some(Response::text(MEDIA_TYPE, html.unwrap_or_default()))
}

/// Redirects to the viewer page of an image that is served. nginx shows the page as well if the ledger cannot be read.
fn page(app: &App, path: Option<ImagePath>) -> Response {
    let image = path.map(|path| app.ledger.image(&path)).transpose();
    match image.map(Option::flatten) {
        Ok(Some(image)) if image.quarantine.is_none() => {
            Response::internal_redirect(format!("/view/.page?img={}", image.path))
        }
        Ok(_) => Response::refusal(&Refusal::NotFound),
        Err(error) => Response::fault(&Fault::from(error)),
    }
}

/// Redirects to the object of an image, with the headers by which nginx may read it. Only the path is looked at: the store says whether
/// there is an object.
fn object(app: &App, path: Option<ImagePath>) -> Response {
    let signed = path.and_then(|path| app.store.sign_read(&path, (app.clock)()));
    match signed {
        Some(signed) => Response::internal_redirect("/p/.signed")
            .with("X-Store-Date", signed.date)
            .with("X-Store-Authorization", signed.authorization),
        None => Response::refusal(&Refusal::NotFound),
    }
}

/// A part of the viewer page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// The OpenGraph dimensions (<https://ogp.me/#structured>).
    Meta,
    /// Dimensions, format, size and expiry.
    Facts,
}

impl Part {
    const fn named(name: &[u8]) -> Option<Self> {
        match name {
            b"meta" => Some(Self::Meta),
            b"facts" => Some(Self::Facts),
            _ => None,
        }
    }

    /// The part as HTML.
    fn html(self, image: &ImageRow, now: UtcDateTime) -> String {
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
        None => "<dt>Availability</dt><dd>Never expires</dd>".to_owned(),
        Some(instant) => match Expiry::from_instant(instant) {
            Some(expiry) => format!("<dt>Expires</dt><dd>{}</dd>", expires(expiry, now)),
            None => return String::new(),
        },
    };
    let fact = |name: &str, value: &str| format!("<div><dt>{name}</dt><dd>{value}</dd></div>\n");
    [
        fact("Dimensions", &format!("{} × {}", image.width, image.height)),
        fact("Format", format_name(image.path.image_type())),
        fact("Size", &rounded(image.size)),
        format!("<div id=\"expiry\">{expiry}</div>\n"),
        uploaded(image.uploaded_at),
    ]
    .concat()
}

/// `5 April 2026`: the UTC day of the upload; empty if the instant is no date.
fn uploaded(at: Timestamp) -> String {
    let Some(day) = at.date() else {
        return String::new();
    };
    format!(
        "<div id=\"uploaded\"><dt>Uploaded</dt><dd><time datetime=\"{at}\">{} {} {}</time></dd></div>",
        day.day(),
        day.month(),
        day.year()
    )
}

/// `1 December 2026 · in 6 days`: the last day, and the time left to the midnight that ends it.
fn expires(expiry: Expiry, now: UtcDateTime) -> String {
    let day = expiry.last_day();
    format!(
        "<time datetime=\"{expiry}\">{} {} {}</time> <span class=\"left\">{}</span>",
        day.day(),
        day.month(),
        day.year(),
        distance(expiry.instant().0 - now.unix_timestamp())
    )
}

/// `in 6 days`: days from 48 hours on, hours from one hour on, else minutes.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::ClientKey;

    fn row(expires_at: Option<Timestamp>) -> ImageRow {
        ImageRow {
            path: "d/ap5/AbCdEf.webp".parse().expect("a path"),
            client: "shop".to_owned(),
            owner: ClientKey(1),
            client_removed_at: None,
            size: 2_202_010,
            width: 1200,
            height: 675,
            uploaded_at: Timestamp(0),
            expires_at,
            address: None,
            quarantine: None,
        }
    }

    #[test]
    fn the_facts_say_the_last_day_and_what_is_left() {
        // 2026-04-13T00:00:00Z ends the last day; now is 2026-04-06T08:00:00Z.
        let now = UtcDateTime::from_unix_timestamp(1_775_462_400).expect("a time");
        let facts = Part::Facts.html(&row(Some(Timestamp(1_776_038_400))), now);
        assert_eq!(
            facts,
            "<div><dt>Dimensions</dt><dd>1200 × 675</dd></div>\n<div><dt>Format</dt><dd>WebP</dd></div>\n\
             <div><dt>Size</dt><dd>2.1 MiB</dd></div>\n\
             <div id=\"expiry\"><dt>Expires</dt><dd><time datetime=\"2026-04-12\">12 April 2026</time> \
             <span class=\"left\">in 6 days</span></dd></div>\n\
             <div id=\"uploaded\"><dt>Uploaded</dt><dd><time datetime=\"1970-01-01T00:00:00Z\">1 January 1970</time></dd></div>"
        );
        assert!(
            Part::Facts
                .html(&row(None), now)
                .contains("<dt>Availability</dt><dd>Never expires</dd>")
        );
        // Not a midnight, so no expiry of an image.
        assert_eq!(Part::Facts.html(&row(Some(Timestamp(1))), now), "");
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
    }

    #[test]
    fn opengraph_has_the_dimensions() {
        let meta = Part::Meta.html(&row(None), UtcDateTime::UNIX_EPOCH);
        assert!(meta.contains("og:image:width\" content=\"1200\""));
        assert!(meta.contains("og:image:height\" content=\"675\""));
        assert_eq!(Part::named(b"other"), None);
    }
}
