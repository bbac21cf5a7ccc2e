//! The nginx files.

mod bucket;

use super::{Cgi, OwnNginx, Site, Tls};
use crate::config::{Config, Listen, S3};
use crate::error::Refusal;
use crate::expiry::StoreDuration;
use crate::export::host;
use crate::image::ImageType;
use crate::image_path::{NAME_LENGTHS, class_of, extension_of, months};
use crate::template::{Escaped, Template};

/// Bytes for the fields, part headers and boundaries of a form.
const FORM_OVERHEAD: u64 = 64 << 10;

/// Seconds that nginx waits longer than a download may take, for the checks and the storage of the image.
const REPLY_MARGIN: u64 = 15;

/// The file for the http context; `has_own_nginx` if nginx is an instance for this site alone.
pub(super) fn http_conf(config: &Config, cgi: Option<&Cgi>, has_own_nginx: bool) -> String {
    let server = match cgi.map_or(&config.server.listen, |cgi| &cgi.wrapper) {
        Listen::Unix(path) => Escaped::nginx_literal(&format!("unix:{}", path.display())),
        Listen::Tcp(address) => Escaped::nginx_literal(&address.to_string()),
    };
    // The number is per worker process, and there may be many: each gets an eighth of the responder's cap.
    let keepalive = (config.server.max_connections / 8).clamp(1, 32);
    let class = |duration| Escaped::written(class_of(duration));
    let error = |refusal: &Refusal| Escaped::nginx(&refusal.body().to_string());
    let internal = r#"{"error":"Internal server error"}"#;
    Template {
        text: include_str!("../../nginx/corenexis-cdn.http.conf"),
        values: &[
            ("RESPONDER", server),
            ("KEEPALIVE", Escaped::written(keepalive.to_string())),
            (
                "REQUESTS_PER_SECOND",
                Escaped::number(config.limits.requests_per_second),
            ),
            ("ANY_IMAGE", image_pattern(|_| true, "/")),
            ("ENCODED_IMAGE", image_pattern(|_| true, "(?:/|%2[Ff])")),
            ("DAYS_7", class(StoreDuration::Days7)),
            ("MONTH_1", class(StoreDuration::Month1)),
            ("MONTHS_3", class(StoreDuration::Months3)),
            ("LIFETIME", class(StoreDuration::Lifetime)),
            (
                "ERROR_MALFORMED",
                error(&Refusal::Malformed("refused by nginx")),
            ),
            ("ERROR_NOT_FOUND", error(&Refusal::NotFound)),
            (
                "ERROR_METHOD",
                error(&Refusal::MethodNotAllowed { allow: "" }),
            ),
            (
                "ERROR_TOO_LARGE",
                error(&Refusal::FileTooLarge {
                    max_size: config.largest_file(),
                }),
            ),
            ("ERROR_BUSY", error(&Refusal::BUSY)),
            ("ERROR_INTERNAL", Escaped::nginx(internal)),
            (
                "BUCKET_OF_IMAGES",
                Escaped::written(bucket::http_part(config, has_own_nginx)),
            ),
        ],
        sections: &[
            ("DOCROOT", config.storage.s3.is_none()),
            ("BUCKET", config.storage.s3.is_some()),
            ("KEPT", cgi.is_none()),
            ("CGI", cgi.is_some()),
            (
                "LIMIT_BY_ADDRESS",
                has_rate_limit(config) || has_concurrency_limit(config),
            ),
            ("LIMIT_RATE", has_rate_limit(config)),
            ("LIMIT_CONCURRENT", has_concurrency_limit(config)),
            ("REFERERS", !config.site.referers.is_empty()),
            (
                "DOLLAR",
                config.storage.docroot.to_string_lossy().contains('$'),
            ),
        ],
    }
    .fill()
}

pub(super) fn server_conf(config: &Config, cgi: Option<&Cgi>) -> String {
    let script = cgi.map_or("", |cgi| &cgi.script);
    let burst = match config.limits.burst {
        0 => String::new(),
        burst => format!(" burst={burst} nodelay"),
    };
    let is_bucket = config.storage.s3.is_some();
    let request = |part, image| {
        let text = viewer_request(cgi, part, image);
        Escaped::written(indented(&text, 8))
    };
    Template {
        text: include_str!("../../nginx/corenexis-cdn.server.conf"),
        values: &[
            (
                "DOCROOT",
                Escaped::nginx(&config.storage.docroot.to_string_lossy()),
            ),
            (
                "MAX_BODY",
                Escaped::number(2 * config.largest_file() + FORM_OVERHEAD),
            ),
            (
                "READ_TIMEOUT",
                Escaped::number(config.fetch.timeout().as_secs() + REPLY_MARGIN),
            ),
            ("CGI_SCRIPT", Escaped::nginx(script)),
            ("LIMIT_BURST", Escaped::written(burst)),
            (
                "CONCURRENT_REQUESTS",
                Escaped::number(config.limits.concurrent_requests),
            ),
            ("REFERERS", Escaped::written(referers(config))),
            ("IMAGES", Escaped::written(images(config, cgi))),
            ("ASK_PAGE", request("page", "$corenexis_image")),
            ("ASK_PART", request("$arg_part", "$arg_img")),
            ("ASK_LINK", request("link", "$arg_img")),
            (
                "OVER_LIMIT",
                // Where images lie in the docroot, the limit refuses no page.
                Escaped::written(if is_bucket {
                    "REJECTED"
                } else {
                    "REJECTED_DRY_RUN"
                }),
            ),
        ],
        sections: &[
            ("KEPT", cgi.is_none()),
            ("CGI", cgi.is_some()),
            ("LIMIT_RATE", has_rate_limit(config)),
            ("LIMIT_CONCURRENT", has_concurrency_limit(config)),
            ("REFERERS", !config.site.referers.is_empty()),
            ("NOINDEX", !config.site.index),
            ("DOCROOT", !is_bucket),
            ("BUCKET", is_bucket),
        ],
    }
    .fill()
}

/// The locations of the images.
fn images(config: &Config, cgi: Option<&Cgi>) -> String {
    let s3 = config.storage.s3.as_ref();
    let values = [
        (
            "DOCROOT_PATH",
            Escaped::nginx(&config.storage.docroot.to_string_lossy()),
        ),
        ("REFERERS", Escaped::written(referers(config))),
        (
            "EXPIRING_IMAGE",
            image_pattern(|duration| duration != StoreDuration::Lifetime, "/"),
        ),
        (
            "LASTING_IMAGE",
            image_pattern(|duration| duration == StoreDuration::Lifetime, "/"),
        ),
        (
            "SIGN",
            Escaped::written(indented(
                &viewer_request(cgi, "object", "$corenexis_object"),
                4,
            )),
        ),
    ];
    let text = Template {
        text: include_str!("../../nginx/corenexis-cdn.images.conf"),
        values: &[&values[..], &bucket::values(config)].concat(),
        sections: &[
            ("DOCROOT", s3.is_none()),
            ("BUCKET", s3.is_some()),
            ("TLS", s3.is_some_and(S3::is_https)),
            ("SIGNED", bucket::is_signed(config)),
            ("UNSIGNED", !bucket::is_signed(config)),
            ("REFERERS", !config.site.referers.is_empty()),
            ("NOINDEX", !config.site.index),
        ],
    };
    text.fill().trim_end().to_owned() + "\n"
}

/// A request of nginx to the responder, which is none of a client. `part` and `image` are arguments of directives.
fn viewer_request(cgi: Option<&Cgi>, part: &str, image: &str) -> String {
    let script = cgi.map_or("", |cgi| &cgi.script);
    Template {
        text: include_str!("../../nginx/corenexis-cdn.viewer-request.conf"),
        values: &[
            ("CGI_SCRIPT", Escaped::nginx(script)),
            ("PART", Escaped::written(part)),
            ("IMAGE", Escaped::written(image)),
        ],
        sections: &[("KEPT", cgi.is_none()), ("CGI", cgi.is_some())],
    }
    .fill()
}

/// The lines of `text` with so many spaces in front, without the last line break.
fn indented(text: &str, spaces: usize) -> String {
    let lines: Vec<_> = text
        .lines()
        .map(|line| format!("{:spaces$}{line}", ""))
        .collect();
    lines.join("\n")
}

pub(super) fn own_conf(own: &OwnNginx) -> String {
    Template {
        text: include_str!("../../nginx/nginx.conf"),
        values: &[
            ("LISTEN", Escaped::written(own.listen.to_string())),
            (
                "WORKER_USER",
                Escaped::written(own.worker_user.clone().unwrap_or_default()),
            ),
        ],
        sections: &[("USER", own.worker_user.is_some())],
    }
    .fill()
}

/// The location of ACME challenges, below the docroot.
pub(super) fn acme_conf(config: &Config) -> String {
    Template {
        text: include_str!("../../nginx/corenexis-cdn.acme.conf"),
        values: &[(
            "DOCROOT",
            Escaped::nginx(&config.storage.docroot.to_string_lossy()),
        )],
        sections: &[],
    }
    .fill()
}

pub(super) fn site_conf(config: &Config, site: &Site) -> String {
    let lines = |listen: &[String], parameter: &str| {
        let lines: Vec<_> = listen
            .iter()
            .map(|listen| format!("    listen {listen}{parameter};"))
            .collect();
        Escaped::written(lines.join("\n"))
    };
    let tls = site.tls.as_ref();
    let file = |path: fn(&Tls) -> &String| {
        Escaped::nginx_literal(tls.map_or("", |tls| path(tls).as_str()))
    };
    let acme = acme_conf(config).replace('\n', "\n    ");
    Template {
        text: include_str!("../../nginx/corenexis-cdn.site.conf"),
        values: &[
            ("LISTEN", lines(&site.listen, "")),
            (
                "TLS_LISTEN",
                lines(tls.map_or(&[], |tls| &tls.listen), " ssl"),
            ),
            ("CERTIFICATE", file(|tls| &tls.certificate)),
            ("KEY", file(|tls| &tls.key)),
            ("ACME", Escaped::written(acme.trim_end().to_owned())),
            ("SERVER_NAME", Escaped::written(&*site.name)),
            ("SNIPPET", Escaped::nginx_literal(&site.snippet)),
        ],
        sections: &[
            ("PLAIN", tls.is_none()),
            ("TLS", tls.is_some()),
            ("REDIRECT", tls.is_some_and(|tls| !tls.beside)),
            ("ALONE", tls.is_none_or(|tls| !tls.beside)),
            ("BESIDE", tls.is_some_and(|tls| tls.beside)),
        ],
    }
    .fill()
}

const fn has_rate_limit(config: &Config) -> bool {
    config.limits.requests_per_second > 0
}

const fn has_concurrency_limit(config: &Config) -> bool {
    config.limits.concurrent_requests > 0
}

/// The host names for `valid_referers`, each after a space: the site's own, and those of `[site] referers`. nginx compares names without
/// ports, so an IPv6 address is left to `server_names`.
fn referers(config: &Config) -> String {
    let own = host(config);
    let own = match own.rsplit_once(':') {
        Some((name, _port)) => name,
        None => own,
    };
    let own = (!own.contains(':')).then_some(own);
    own.into_iter()
        .chain(config.site.referers.iter().map(String::as_str))
        .flat_map(|name| [" ", name])
        .collect()
}

/// A regular expression without captures for the [image paths](crate::image_path::ImagePath) of the durations that `wanted` selects,
/// for a quoted nginx string. `slash` is the expression of a path separator.
fn image_pattern(wanted: impl Fn(StoreDuration) -> bool, slash: &str) -> Escaped {
    let classes: Vec<_> = StoreDuration::ALL
        .into_iter()
        .filter(|&duration| wanted(duration))
        .map(class_of)
        .collect();
    let months: Vec<_> = months().collect();
    Escaped::written(format!(
        r"(?:{}){slash}(?:{})(?:[1-9]|[12][0-9]|3[01]){slash}[A-Za-z0-9]{{{},{}}}\.(?:{})",
        classes.join("|"),
        months.join("|"),
        NAME_LENGTHS.start(),
        NAME_LENGTHS.end(),
        ImageType::ALL.map(extension_of).join("|"),
    ))
}
