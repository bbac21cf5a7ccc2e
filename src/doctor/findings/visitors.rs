//! What visitors of the site get.

use serde_json::Value;

use super::super::facts::{Answer, Facts};
use super::super::{Finding, Verdict};
use super::RENDER;

/// What visitors get.
pub(super) fn findings(facts: &Facts) -> Vec<Finding> {
    let url = facts.config.site.public_url();
    let health = judge_health(url, &facts.public.health);
    // Where nothing answers, the second question would only say so again.
    let answered = health.verdict != Verdict::Fail;
    let mut findings = vec![health];
    if answered {
        findings.extend(missing_image(url, &facts.public.missing_image));
    }
    if url.starts_with("http://") && !is_local(host_of(url)) {
        findings.push(Finding::warn(
            "https",
            format!("{url} is not encrypted: tokens can be read on the way"),
            "get a certificate for the site, and change public_url to https://",
        ));
    }
    findings
}

fn judge_health(url: &str, answer: &Result<Answer, String>) -> Finding {
    let check = "public url";
    let answer = match answer {
        Ok(answer) => answer,
        Err(why) => {
            return Finding::fail(
                check,
                format!("{url} does not answer: {why}"),
                "does the name lead to this host, does nginx listen there, does the firewall let it through, is the certificate valid?",
            );
        }
    };
    if let Some(location) = &answer.location {
        return Finding::fail(
            check,
            format!("{url} redirects to {location}, and a redirected upload is lost"),
            "set public_url to the address that answers by itself",
        );
    }
    let body: Option<Value> = serde_json::from_str(&answer.body).ok();
    match (answer.status, body) {
        (200, Some(body)) if body["status"] == "ok" => {
            Finding::ok(check, format!("{url} is healthy"))
        }
        (503, Some(body)) if body["status"] == "failed" => {
            let failed: Vec<_> = ["ledger", "docroot", "free_space"]
                .into_iter()
                .filter(|&part| body[part] == "failed")
                .collect();
            Finding::fail(
                check,
                format!(
                    "the responder says that uploads fail: {}",
                    failed.join(", ")
                ),
                "its log says why, and so may the lines above",
            )
        }
        (status @ (502..=504), Some(_)) => Finding::fail(
            check,
            format!("nginx answers {status}: it gets no reply from the responder"),
            "the lines above say whether the responder runs and whether nginx may connect",
        ),
        (status, Some(_)) => Finding::fail(
            check,
            format!("{url}/image/v2/health answers {status}"),
            "its log and nginx's error log say why",
        ),
        (status, None) => Finding::fail(
            check,
            format!(
                "{url}/image/v2/health answers {status} without JSON: something else has that URL"
            ),
            "include corenexis-cdn.server.conf in the server that has that name, and reload nginx; a `rewrite` or `return` of the site \
             outside its locations comes first",
        ),
    }
}

fn missing_image(url: &str, answer: &Result<Answer, String>) -> Option<Finding> {
    let check = "image rules";
    let answer = answer.as_ref().ok()?;
    Some(
        if answer.status == 404 && answer.body.starts_with("There is no such image") {
            Finding::ok(check, format!("{url}/p/ is served by the rendered rules"))
        } else {
            Finding::fail(
                check,
                format!(
                    "{url}/p/ is served by other rules than the rendered ones (status {} for an image that does not exist)",
                    answer.status
                ),
                format!(
                    "uploads could be run as programs there. Is a proxy or a rewrite in front? Else {RENDER}"
                ),
            )
        },
    )
}

/// The host of a URL, without scheme and port.
pub(super) fn host_of(url: &str) -> &str {
    let authority = url.split_once("://").map_or(url, |(_, rest)| rest);
    match authority.strip_prefix('[') {
        Some(literal) => literal.split(']').next().unwrap_or(literal),
        None => authority.split(':').next().unwrap_or(authority),
    }
}

fn is_local(host: &str) -> bool {
    host == "localhost" || host == "::1" || host.starts_with("127.")
}
