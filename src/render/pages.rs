//! The pages: the viewer, its 404 page and the documentation.

use super::DemoClient;
use super::escape::{Escaped, percent_encoded};
use super::template::Template;
use crate::config::{ByteSize, Config};
use crate::error::{Fault, Refusal};
use crate::plan::{Plan, StoreDuration, UrlKind};

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

pub(super) fn documentation(config: &Config, demo: Option<&DemoClient>) -> String {
    let plans = by_size(config);
    let contact = Contact::of(config);
    let href = match &contact {
        Contact::Mail(address) => mailto(address),
        Contact::Url(url) => (*url).to_owned(),
        Contact::Text | Contact::None => String::new(),
    };
    let (id, token) = demo.map_or(("YOUR_CLIENT_ID", "YOUR_CLIENT_TOKEN"), |client| {
        (client.id.as_str(), client.token.as_str())
    });
    let shortest = plans
        .iter()
        .filter_map(|plan| plan.durations.first())
        .min()
        .map_or("", |duration| duration.code());
    Template {
        text: include_str!("../../www/image/docs/index.html"),
        values: &[
            ("HOST", host(config)),
            ("PUBLIC_URL", Escaped::html(config.site.public_url())),
            ("CLIENT_ID", Escaped::html(id)),
            ("CLIENT_TOKEN", Escaped::html(token)),
            ("FIRST_DURATION", Escaped::html(shortest)),
            ("CONTACT", Escaped::html(&config.site.contact)),
            ("CONTACT_HREF", Escaped::html(&href)),
            ("PLAN_ROWS", plan_rows(&plans)),
            ("ERROR_ROWS", error_rows(config, &plans)),
            ("DURATIONS", durations_offered(&plans)),
            ("MAX_SIDE", Escaped::grouped(config.images.max_side)),
            (
                "MAX_MEGAPIXELS",
                Escaped::grouped(config.images.max_megapixels),
            ),
            (
                "FETCH_SECONDS",
                Escaped::number(config.fetch.timeout().as_secs()),
            ),
        ],
        sections: &[
            ("DEMO", demo.is_some()),
            ("CONTACT_LINK", contact.has_link()),
            ("CONTACT_TEXT", matches!(contact, Contact::Text)),
        ],
    }
    .fill()
}

/// How `[site] contact` can be shown. Only these two kinds become links: a browser would run what follows `javascript:`.
enum Contact<'a> {
    Mail(&'a str),
    Url(&'a str),
    Text,
    None,
}

impl<'a> Contact<'a> {
    fn of(config: &'a Config) -> Self {
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

    const fn has_link(&self) -> bool {
        matches!(self, Self::Mail(_) | Self::Url(_))
    }
}

fn mailto(address: &str) -> String {
    format!("mailto:{}", percent_encoded(address, b"@+"))
}

/// Name and port of the site, which is what people call it.
fn host(config: &Config) -> Escaped {
    let url = config.site.public_url();
    Escaped::html(url.split_once("://").map_or(url, |(_, host)| host))
}

/// The plans as people compare them, smallest first.
fn by_size(config: &Config) -> Vec<&Plan> {
    let mut plans: Vec<_> = config.plans.values().collect();
    plans.sort_by_key(|plan| (plan.daily_uploads, plan.max_file_size, &plan.name));
    plans
}

fn plan_rows(plans: &[&Plan]) -> Escaped {
    let rows: Vec<_> = plans
        .iter()
        .map(|plan| {
            let durations: Vec<_> = plan.durations.iter().map(|&duration| words(duration)).collect();
            let target = match plan.url {
                UrlKind::Viewer => "the viewer page",
                UrlKind::Direct => "the image itself",
            };
            format!(
                "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td><td>{}</td><td>{target}</td></tr>",
                Escaped::html(&plan.name),
                Escaped::grouped(plan.daily_uploads),
                Escaped::html(&size_words(plan.max_file_size)),
                Escaped::html(&durations.join(", ")),
            )
        })
        .collect();
    Escaped::written(rows.join("\n"))
}

fn durations_offered(plans: &[&Plan]) -> Escaped {
    let offered: Vec<_> = StoreDuration::ALL
        .into_iter()
        .filter(|&duration| plans.iter().any(|plan| plan.allows(duration)))
        .map(|duration| format!("<code>{}</code> ({})", duration.code(), words(duration)))
        .collect();
    Escaped::written(offered.join(", "))
}

/// The error table. Status and body are those of the program itself.
fn error_rows(config: &Config, plans: &[&Plan]) -> Escaped {
    let example = plans.first();
    let refusals = [
        (
            Refusal::MissingParameters,
            "A field is absent or empty, or there is no image",
        ),
        (
            Refusal::BothSources,
            "<code>image</code> and <code>image_url</code> together",
        ),
        (
            Refusal::InvalidDuration {
                allowed: example.map_or_else(Vec::new, |plan| plan.durations.clone()),
            },
            "Not a duration of your plan, which <code>allowed</code> lists",
        ),
        (
            Refusal::FileTooLarge {
                max_size: example.map_or(0, |plan| plan.max_file_size),
            },
            "Larger than <code>max_size</code> bytes, the limit of your plan",
        ),
        (
            Refusal::InvalidFileType,
            "Not an image of these types, or a broken one",
        ),
        (
            Refusal::DimensionsTooLarge {
                max_side: config.images.max_side,
                max_megapixels: config.images.max_megapixels,
            },
            "More pixels than are taken",
        ),
        (
            Refusal::DownloadFailed,
            "There is nothing to be had at <code>image_url</code>",
        ),
        (
            Refusal::Malformed(""),
            "The body is not a form, or not a whole one",
        ),
        (Refusal::InvalidClientId, "There is no such client"),
        (Refusal::InvalidClientToken, "Not the token of this client"),
        (Refusal::ClientDisabled, "The client has been disabled"),
        (Refusal::NotFound, "There is nothing at this address"),
        (
            Refusal::MethodNotAllowed { allow: "POST" },
            "Uploads are sent with POST",
        ),
        (
            Refusal::QuotaExhausted { retry_after: 0 },
            "All uploads of the day are used up",
        ),
        (
            Refusal::TooManyFailedAttempts { retry_after: 0 },
            "Too many wrong IDs or tokens from your address",
        ),
    ];
    let mut rows: Vec<_> = refusals
        .iter()
        .map(|(refusal, when)| error_row(refusal.status(), &refusal.body().to_string(), when))
        .collect();
    if config.limits.requests_per_second > 0 {
        let body = r#"{"error":"Too many requests"}"#;
        rows.push(error_row(
            429,
            body,
            "Too many requests at once from your address",
        ));
    }
    let faults = [
        Fault::CreateDirectory(std::io::ErrorKind::Other.into()),
        Fault::SaveImage(std::io::ErrorKind::Other.into()),
        Fault::InsufficientStorage { free: 0 },
        Fault::Internal(String::new()),
    ];
    rows.extend(faults.iter().map(|fault| {
        let body = serde_json::json!({ "error": fault.message() }).to_string();
        error_row(500, &body, "Something went wrong on our side")
    }));
    rows.push(error_row(
        Refusal::ServerBusy.status(),
        &Refusal::ServerBusy.body().to_string(),
        "More requests than can be taken at the moment",
    ));
    Escaped::written(rows.join("\n"))
}

fn error_row(status: u16, body: &str, when: &str) -> String {
    format!(
        "<tr><td>{status}</td><td><code>{}</code></td><td>{when}</td></tr>",
        Escaped::html(body)
    )
}

const fn words(duration: StoreDuration) -> &'static str {
    match duration {
        StoreDuration::Days7 => "7 days",
        StoreDuration::Month1 => "1 month",
        StoreDuration::Months3 => "3 months",
        StoreDuration::Lifetime => "lifetime",
    }
}

/// A size as people read it: `2 MiB`, `1,500 bytes`.
fn size_words(bytes: u64) -> String {
    let text = ByteSize(bytes).to_string();
    let digits = text.trim_end_matches(|character: char| !character.is_ascii_digit());
    match &text[digits.len()..] {
        "B" => format!("{} bytes", Escaped::grouped(bytes)),
        unit => format!("{digits} {unit}"),
    }
}
