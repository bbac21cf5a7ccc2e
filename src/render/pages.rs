//! The viewer page and its 404 page.

use super::escape::{Escaped, percent_encoded};
use super::template::Template;
use crate::config::Config;

/// The files that are the same everywhere, by their path below the target directory.
pub(super) const STATIC: [(&str, &str); 5] = [
    ("www/view/view.css", include_str!("../../www/view/view.css")),
    ("www/view/view.js", include_str!("../../www/view/view.js")),
    ("www/view/icon.svg", include_str!("../../www/view/icon.svg")),
    (
        "www/image/docs/docs.css",
        include_str!("../../www/image/docs/docs.css"),
    ),
    (
        "www/image/docs/docs.js",
        include_str!("../../www/image/docs/docs.js"),
    ),
];

/// The SSI directive by which nginx writes the path of the image, which holds only letters, digits, `/` and `.`.
const IMAGE_PATH: &str = r#"<!--# echo var="corenexis_image" -->"#;

pub(super) fn viewer(config: &Config) -> String {
    let contact = Contact::of(config);
    let link = match &contact {
        Contact::Mail(address) => format!(
            "{}?subject=Report:%20{IMAGE_PATH}",
            Escaped::html(&mailto(address))
        ),
        Contact::Url(url) => Escaped::html(url).to_string(),
        Contact::Text | Contact::None => String::new(),
    };
    Template {
        text: include_str!("../../www/view/page.html"),
        values: &[
            ("HOST", host(config)),
            ("PUBLIC_URL", Escaped::html(config.site.public_url())),
            (
                "PUBLIC_URL_ENCODED",
                Escaped::html(&percent_encoded(config.site.public_url(), b"")),
            ),
            ("REPORT_LINK", Escaped::written(link)),
            ("CONTACT", Escaped::html(&config.site.contact)),
        ],
        sections: &[
            ("REPORT", contact.has_link()),
            ("REPORT_TEXT", matches!(contact, Contact::Text)),
        ],
    }
    .fill()
}

pub(super) fn missing(config: &Config) -> String {
    Template {
        text: include_str!("../../www/view/404.html"),
        values: &[("HOST", host(config))],
        sections: &[],
    }
    .fill()
}

/// How `[site] contact` can be shown. Only these two kinds become links: a browser would run what follows `javascript:`.
pub(super) enum Contact<'a> {
    Mail(&'a str),
    Url(&'a str),
    Text,
    None,
}

impl<'a> Contact<'a> {
    pub(super) fn of(config: &'a Config) -> Self {
        let contact = config.site.contact.trim();
        let one_word = !contact.contains(char::is_whitespace);
        if contact.is_empty() {
            Self::None
        } else if one_word && (contact.starts_with("https://") || contact.starts_with("http://")) {
            Self::Url(contact)
        } else if one_word && contact.contains('@') && !contact.contains(':') {
            Self::Mail(contact)
        } else {
            Self::Text
        }
    }

    pub(super) const fn has_link(&self) -> bool {
        matches!(self, Self::Mail(_) | Self::Url(_))
    }
}

pub(super) fn mailto(address: &str) -> String {
    format!("mailto:{}", percent_encoded(address, b"@+"))
}

fn host(config: &Config) -> Escaped {
    Escaped::html(host_name(config))
}

/// Name and port of the site, which is what people call it.
pub(super) fn host_name(config: &Config) -> &str {
    let url = config.site.public_url();
    url.split_once("://").map_or(url, |(_, host)| host)
}
