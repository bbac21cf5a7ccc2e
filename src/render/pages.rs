//! The viewer page, its 404 page, and the upload page.

use super::DemoClient;
use super::docs::{accept, duration_options, formats};
use crate::config::Config;
use crate::export::contact::Contact;
use crate::export::{durations, host, plans_by_size};
use crate::template::{Escaped, Template, percent_encoded};

/// The files without placeholders, by their path below the target directory.
pub(super) const STATIC: [(&str, &str); 14] = [
    ("www/view/view.css", include_str!("../../www/view/view.css")),
    ("www/view/view.js", include_str!("../../www/view/view.js")),
    ("www/view/text.js", include_str!("../../www/view/text.js")),
    ("www/view/copy.js", include_str!("../../www/view/copy.js")),
    (
        "www/image/upload/upload.css",
        include_str!("../../www/image/upload/upload.css"),
    ),
    (
        "www/image/upload/page.js",
        include_str!("../../www/image/upload/page.js"),
    ),
    (
        "www/image/upload/api.js",
        include_str!("../../www/image/upload/api.js"),
    ),
    (
        "www/image/upload/account.js",
        include_str!("../../www/image/upload/account.js"),
    ),
    (
        "www/image/upload/links.js",
        include_str!("../../www/image/upload/links.js"),
    ),
    (
        "www/image/upload/uploads.js",
        include_str!("../../www/image/upload/uploads.js"),
    ),
    (
        "www/image/upload/images.js",
        include_str!("../../www/image/upload/images.js"),
    ),
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

/// The translations of the pages' texts, by the language's ISO 639-1 code. Without one, and without JavaScript, the pages are English.
/// Each is served as `/view/CODE.json`; `www/view/text.js` chooses one.
pub(super) const LANGUAGES: [(&str, &str, &str); 3] = [
    (
        "de",
        "www/view/de.json",
        include_str!("../../www/view/de.json"),
    ),
    (
        "es",
        "www/view/es.json",
        include_str!("../../www/view/es.json"),
    ),
    (
        "zh",
        "www/view/zh.json",
        include_str!("../../www/view/zh.json"),
    ),
];

/// The codes of the languages, for the script.
fn languages() -> String {
    LANGUAGES.map(|(code, _, _)| code).join(" ")
}

/// The SSI directive for the path of the image, which has only letters, digits, `/` and `.`.
const IMAGE_PATH: &str = r#"<!--# echo var="corenexis_image" -->"#;

pub(super) fn viewer(config: &Config) -> String {
    let contact = Contact::of(config);
    Template {
        text: include_str!("../../www/view/page.html"),
        values: &[
            ("LANGUAGES", Escaped::html(&languages())),
            ("HOST", Escaped::html(host(config))),
            ("PUBLIC_URL", Escaped::html(config.site.public_url())),
            (
                "PUBLIC_URL_ENCODED",
                Escaped::html(&percent_encoded(config.site.public_url(), b"")),
            ),
            ("REPORT_LINK", Escaped::written(report_link(config))),
            ("CONTACT", Escaped::html(&config.site.contact)),
        ],
        sections: &[
            ("REPORT", contact.href().is_some()),
            ("REPORT_TEXT", matches!(contact, Contact::Text)),
            ("NOINDEX", !config.site.index),
        ],
    }
    .fill()
}

/// The link for a report, with the path of the image filled in: a mail with subject and body, or the contact's URL with the query
/// parameter `image`.
fn report_link(config: &Config) -> String {
    let contact = Contact::of(config);
    let href = contact.href().unwrap_or_default();
    if matches!(contact, Contact::Mail(_)) {
        let viewer = format!("{}/view/?img=", config.site.public_url());
        return format!(
            "{}?subject=Report:%20{IMAGE_PATH}&amp;body={}{IMAGE_PATH}{}",
            Escaped::html(&href),
            percent_encoded(&viewer, b""),
            percent_encoded("\r\n\r\nWhat is wrong with this image:\r\n", b""),
        );
    }
    // The fragment comes after the query (RFC 3986, section 3).
    let (url, fragment) = match href.split_once('#') {
        Some((url, fragment)) => (url, format!("#{fragment}")),
        None => (&*href, String::new()),
    };
    let separator = if url.contains('?') { '&' } else { '?' };
    format!(
        "{}{IMAGE_PATH}{}",
        Escaped::html(&format!("{url}{separator}image=")),
        Escaped::html(&fragment)
    )
}

pub(super) fn upload(config: &Config, demo: Option<&DemoClient>) -> String {
    let href = Contact::of(config).href();
    let plans = plans_by_size(config);
    let (id, token) = demo.map_or(("", ""), |client| (&client.id, &client.token));
    Template {
        text: include_str!("../../www/image/upload/index.html"),
        values: &[
            ("HOST", Escaped::html(host(config))),
            ("PUBLIC_URL", Escaped::html(config.site.public_url())),
            ("LANGUAGES", Escaped::html(&languages())),
            ("FORMATS", Escaped::written(formats())),
            ("ACCEPT", Escaped::html(&accept())),
            ("DURATION_OPTIONS", duration_options(&durations(&plans))),
            ("TRY_ID", Escaped::html(id)),
            ("TRY_TOKEN", Escaped::html(token)),
            (
                "CONTACT_HREF",
                Escaped::html(href.as_deref().unwrap_or_default()),
            ),
        ],
        sections: &[("DEMO", demo.is_some()), ("CONTACT_LINK", href.is_some())],
    }
    .fill()
}

/// The page of a missing image.
pub(super) fn missing_image(config: &Config) -> String {
    missing(config, include_str!("../../www/view/404.html"))
}

/// The page of a dead link below `/image/docs/`.
pub(super) fn missing_document(config: &Config) -> String {
    missing(config, include_str!("../../www/image/docs/404.html"))
}

fn missing(config: &Config, text: &str) -> String {
    Template {
        text,
        values: &[("HOST", Escaped::html(host(config)))],
        sections: &[],
    }
    .fill()
}
