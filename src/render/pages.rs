//! The viewer page and its 404 page.

use crate::config::Config;
use crate::export::contact::Contact;
use crate::export::host;
use crate::template::{Escaped, Template, percent_encoded};

/// The files without placeholders, by their path below the target directory.
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

/// The SSI directive for the path of the image, which has only letters, digits, `/` and `.`.
const IMAGE_PATH: &str = r#"<!--# echo var="corenexis_image" -->"#;

pub(super) fn viewer(config: &Config) -> String {
    let contact = Contact::of(config);
    let mut link = Escaped::html(&contact.href().unwrap_or_default()).to_string();
    if matches!(contact, Contact::Mail(_)) {
        link.push_str("?subject=Report:%20");
        link.push_str(IMAGE_PATH);
    }
    Template {
        text: include_str!("../../www/view/page.html"),
        values: &[
            ("HOST", Escaped::html(host(config))),
            ("PUBLIC_URL", Escaped::html(config.site.public_url())),
            (
                "PUBLIC_URL_ENCODED",
                Escaped::html(&percent_encoded(config.site.public_url(), b"")),
            ),
            ("REPORT_LINK", Escaped::written(link)),
            ("CONTACT", Escaped::html(&config.site.contact)),
        ],
        sections: &[
            ("REPORT", contact.href().is_some()),
            ("REPORT_TEXT", matches!(contact, Contact::Text)),
        ],
    }
    .fill()
}

pub(super) fn missing(config: &Config) -> String {
    Template {
        text: include_str!("../../www/view/404.html"),
        values: &[("HOST", Escaped::html(host(config)))],
        sections: &[],
    }
    .fill()
}
