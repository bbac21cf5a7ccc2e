//! The documentation page.

use super::DemoClient;
use super::highlight::highlighted;
use crate::config::{ByteSize, Config};
use crate::expiry::StoreDuration;
use crate::export::contact::Contact;
use crate::export::errors::documented;
use crate::export::{durations, host, plans_by_size};
use crate::image::ImageType;
use crate::image::metadata::Policy;
use crate::image_path::{content_type_of, format_name};
use crate::plan::{Plan, UrlKind};
use crate::template::{Escaped, Template};

/// Seconds that the timeout of a client exceeds the one of the download.
const CLIENT_MARGIN: u64 = 40;

/// An example of the page: its placeholder and its file, which editors highlight by the file name extension.
macro_rules! example {
    ($placeholder:literal, $file:literal) => {
        (
            $placeholder,
            include_str!(concat!("../../www/image/docs/examples/", $file)),
        )
    };
}

const EXAMPLES: [(&str, &str); 20] = [
    example!("QUICK", "quick.sh"),
    example!("CURL_FILE", "curl-file.sh"),
    example!("CURL_URL", "curl-url.sh"),
    example!("JAVASCRIPT_FORM", "javascript-form.html"),
    example!("JAVASCRIPT_FILE", "javascript-file.js"),
    example!("JAVASCRIPT_URL", "javascript-url.js"),
    example!("PYTHON_FILE", "python-file.py"),
    example!("PYTHON_SHORT", "python-short.py"),
    example!("PYTHON_URL", "python-url.py"),
    example!("PHP_FILE", "php-file.php"),
    example!("PHP_SHORT", "php-short.php"),
    example!("PHP_URL", "php-url.php"),
    example!("GO_FILE", "go-file.go"),
    example!("JAVA_FILE", "java-file.java"),
    example!("CSHARP_FILE", "csharp-file.cs"),
    example!("RUST_FILE", "rust-file.rs"),
    example!("REPLY_DIRECT", "reply-direct.json"),
    example!("REPLY_VIEWER", "reply-viewer.json"),
    example!("LIMIT_HEADERS", "limit-headers.txt"),
    example!("SHOW_IMAGE", "show-image.html"),
];

pub(super) fn documentation(config: &Config, demo: Option<&DemoClient>) -> String {
    let plans = plans_by_size(config);
    let contact = Contact::of(config);
    let href = contact.href();
    let (id, token) = demo.map_or(("YOUR_CLIENT_ID", "YOUR_CLIENT_TOKEN"), |client| {
        (client.id.as_str(), client.token.as_str())
    });
    let (try_id, try_token) = demo.map_or(("", ""), |client| (&client.id, &client.token));
    let durations = durations(&plans);
    let shortest = durations.first().map_or("", |duration| duration.code());
    let limit = plans.last().map_or(0, |plan| plan.daily_uploads);
    // Values of the text and of the code.
    let shared = [
        ("HOST", host(config).to_owned()),
        ("PUBLIC_URL", config.site.public_url().to_owned()),
        ("CLIENT_ID", id.to_owned()),
        ("CLIENT_TOKEN", token.to_owned()),
        ("FIRST_DURATION", shortest.to_owned()),
    ];
    let code_only = [
        ("DURATION_LIST", duration_list(&durations)),
        ("LIMIT_EXAMPLE", limit.to_string()),
        ("REMAINING_EXAMPLE", limit.saturating_sub(1).to_string()),
    ];
    let code_values: Vec<_> = shared.iter().chain(&code_only).collect();
    let download = config.fetch.timeout().as_secs();
    let own = [
        ("METADATA", Escaped::html(&metadata_note(&plans))),
        ("TRY_ID", Escaped::html(try_id)),
        ("TRY_TOKEN", Escaped::html(try_token)),
        ("CONTACT", Escaped::html(&config.site.contact)),
        (
            "CONTACT_HREF",
            Escaped::html(href.as_deref().unwrap_or_default()),
        ),
        ("PLAN_ROWS", plan_rows(&plans)),
        ("ERROR_ROWS", error_rows(config, &plans)),
        ("DURATIONS", durations_offered(&durations)),
        ("DURATION_OPTIONS", duration_options(&durations)),
        ("DURATION_RANGE", duration_range(&durations)),
        ("NEVER_NOTE", never_note(&durations)),
        ("FORMATS", Escaped::written(formats())),
        ("ACCEPT", Escaped::html(&accept())),
        (
            "LARGEST_FILE",
            Escaped::html(&size_words(config.largest_file())),
        ),
        ("MAX_SIDE", Escaped::grouped(config.images.max_side)),
        (
            "MAX_MEGAPIXELS",
            Escaped::grouped(config.images.max_megapixels),
        ),
        ("FETCH_SECONDS", Escaped::number(download)),
        (
            "URL_TIMEOUT",
            Escaped::number(download.saturating_add(CLIENT_MARGIN)),
        ),
        (
            "REQUESTS_PER_SECOND",
            Escaped::number(config.limits.requests_per_second),
        ),
        ("BURST", Escaped::number(config.limits.burst)),
        (
            "CONCURRENT_REQUESTS",
            Escaped::number(config.limits.concurrent_requests),
        ),
        (
            "ATTEMPTS",
            Escaped::number(config.limits.failed_attempts_per_minute),
        ),
    ];
    let has_kind = |kind| plans.iter().any(|plan| plan.url == kind);
    let page_wide = shared
        .iter()
        .map(|(name, value)| (*name, Escaped::html(value)));
    let code = examples(&code_values, has_kind(UrlKind::Direct));
    let values: Vec<_> = page_wide.chain(own).chain(code).collect();
    Template {
        text: include_str!("../../www/image/docs/index.html"),
        values: &values,
        sections: &[
            ("DEMO", demo.is_some()),
            ("DIRECT", has_kind(UrlKind::Direct)),
            ("VIEWER", has_kind(UrlKind::Viewer)),
            ("REQUEST_LIMIT", config.limits.requests_per_second > 0),
            ("CONCURRENCY_LIMIT", config.limits.concurrent_requests > 0),
            (
                "ATTEMPT_LIMIT",
                config.limits.failed_attempts_per_minute > 0,
            ),
            ("CONTACT_LINK", href.is_some()),
            ("CONTACT_TEXT", matches!(contact, Contact::Text)),
            ("NO_CONTACT", matches!(contact, Contact::None)),
        ],
    }
    .fill()
}

/// What becomes of the metadata of an image: a sentence for all plans, or one for each.
fn metadata_note(plans: &[&Plan]) -> String {
    let sentence = |policy| match policy {
        Policy::Keep => "The file is stored unchanged, with its metadata.",
        Policy::StripLocation => {
            "Positions and names of places are removed from its metadata, with maker notes and other blocks that may hold them; orientation, \
             colour profile and the rest of the metadata stay, and the pixels are untouched. A file without metadata is stored unchanged."
        }
        Policy::Strip => {
            "Its metadata are removed, except the orientation and the colour profile; the pixels are untouched."
        }
    };
    let first = plans
        .first()
        .map_or(Policy::StripLocation, |plan| plan.metadata);
    if plans.iter().all(|plan| plan.metadata == first) {
        return sentence(first).to_owned();
    }
    let notes: Vec<_> = plans
        .iter()
        .map(|plan| format!("Plan {}: {}", plan.name, sentence(plan.metadata)))
        .collect();
    notes.join(" ")
}

/// The highlighted code by placeholder; `REPLY` is a direct link if any plan has them.
fn examples(values: &[&(&str, String)], has_direct_links: bool) -> Vec<(&'static str, Escaped)> {
    let mut examples: Vec<_> = EXAMPLES
        .iter()
        .map(|&(name, text)| (name, example(text, values)))
        .collect();
    let reply = if has_direct_links {
        "REPLY_DIRECT"
    } else {
        "REPLY_VIEWER"
    };
    let first = examples.iter().find(|(name, _)| *name == reply);
    let first = first.map(|(_, code)| ("REPLY", code.clone()));
    examples.extend(first);
    examples
}

/// The highlighted code of an example. It is filled first, so that values are highlighted with the code around them.
fn example(text: &str, values: &[&(&str, String)]) -> Escaped {
    let used: Vec<_> = values
        .iter()
        .filter(|(name, _)| text.contains(&format!("@{name}@")))
        .map(|(name, value)| (*name, Escaped::written(&**value)))
        .collect();
    let code = Template {
        text: text.trim_end(),
        values: &used,
        sections: &[],
    }
    .fill();
    highlighted(&code)
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
                "<tr role=\"row\"><th role=\"rowheader\" scope=\"row\">{}</th><td role=\"cell\" data-label=\"Uploads per day\">{}</td><td role=\"cell\" data-label=\"Largest file\">{}</td><td role=\"cell\" data-label=\"Storage durations\">{}</td><td role=\"cell\" data-label=\"URL leads to\">{target}</td></tr>",
                Escaped::html(&plan.name),
                Escaped::grouped(plan.daily_uploads),
                Escaped::html(&size_words(plan.max_file_size)),
                Escaped::html(&durations.join(", ")),
            )
        })
        .collect();
    Escaped::written(rows.join("\n"))
}

fn durations_offered(durations: &[StoreDuration]) -> Escaped {
    let offered: Vec<_> = durations
        .iter()
        .map(|&duration| format!("<code>{}</code> ({})", duration.code(), words(duration)))
        .collect();
    Escaped::written(offered.join(", "))
}

pub(super) fn duration_options(durations: &[StoreDuration]) -> Escaped {
    let option = |&duration: &StoreDuration| {
        format!(
            "<option value=\"{}\">{}</option>",
            duration.code(),
            words(duration)
        )
    };
    Escaped::written(durations.iter().map(option).collect::<String>())
}

/// `'7D', '1M', or 'LTF'`, for the comments of the examples.
fn duration_list(durations: &[StoreDuration]) -> String {
    let codes: Vec<_> = durations
        .iter()
        .map(|duration| format!("'{}'", duration.code()))
        .collect();
    match codes.as_slice() {
        [first @ .., last] if first.len() > 1 => format!("{}, or {last}", first.join(", ")),
        few => few.join(" or "),
    }
}

/// `storage: 7 days to lifetime`: the shortest and the longest duration.
fn duration_range(durations: &[StoreDuration]) -> Escaped {
    let (Some(&first), Some(&last)) = (durations.first(), durations.last()) else {
        return Escaped::written("");
    };
    Escaped::written(if first == last {
        format!("storage: {}", words(first))
    } else {
        format!("storage: {} to {}", words(first), words(last))
    })
}

fn never_note(durations: &[StoreDuration]) -> Escaped {
    Escaped::written(if durations.contains(&StoreDuration::Lifetime) {
        ", or <code>&quot;Never (Lifetime)&quot;</code>"
    } else {
        ""
    })
}

/// The media types, for the `accept` of a file field.
pub(super) fn accept() -> String {
    ImageType::ALL.map(content_type_of).join(",")
}

/// `JPEG, PNG, GIF and WebP`.
pub(super) fn formats() -> String {
    let names = ImageType::ALL.map(format_name);
    let [first @ .., last] = names;
    format!("{} and {last}", first.join(", "))
}

/// The rows of the error table. The roles keep it a table for screen readers where the style shows cards.
fn error_rows(config: &Config, plans: &[&Plan]) -> Escaped {
    let rows: Vec<_> = documented(config, plans.first().copied())
        .iter()
        .map(|error| {
            format!(
                "<tr role=\"row\"><td role=\"cell\"><span class=\"status {}\">{}</span></td><td role=\"cell\"><code>{}</code></td><td role=\"cell\">{}</td><td role=\"cell\">{}</td></tr>",
                status_class(error.status),
                error.status,
                // Lines break between keys, not inside words.
                Escaped::html(&error.body.to_string()).as_str().replace(',', ",<wbr>"),
                error.when,
                error.advice,
            )
        })
        .collect();
    Escaped::written(rows.join("\n"))
}

/// The class of the style sheet: errors of the client, errors to retry after a while, errors of the server.
const fn status_class(status: u16) -> &'static str {
    match status {
        429 | 503 => "wait",
        500.. => "ours",
        _ => "yours",
    }
}

const fn words(duration: StoreDuration) -> &'static str {
    match duration {
        StoreDuration::Days7 => "7 days",
        StoreDuration::Month1 => "1 month",
        StoreDuration::Months3 => "3 months",
        StoreDuration::Lifetime => "lifetime",
    }
}

/// `2 MiB` or `1,500 bytes`.
fn size_words(bytes: u64) -> String {
    let text = ByteSize(bytes).to_string();
    let digits = text.trim_end_matches(|character: char| !character.is_ascii_digit());
    match &text[digits.len()..] {
        "B" => format!("{} bytes", Escaped::grouped(bytes)),
        unit => format!("{digits} {unit}"),
    }
}
