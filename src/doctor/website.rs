//! Two requests to the public URL, as clients send them.
//!
//! The requests do not go through the guarded agent of `image_url`: the public URL is the operator's own, and may have a private address.

use std::io::{self, Read};
use std::net::IpAddr;
use std::time::Duration;

use serde_json::Value;
use ureq::Agent;
use ureq::http::Uri;

use super::check::{Check, INSTALL, Verdict};
use super::{certificate, dns};
use crate::config::Config;
use crate::routes::ROOT;

/// How long one reply may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// How much of a body is read, in bytes.
const MAX_BODY: u64 = 16 << 10;

/// An HTTP reply.
#[derive(Debug)]
struct Reply {
    status: u16,
    /// The `Location` of a redirect.
    location: Option<String>,
    /// The beginning of the body.
    body: String,
}

pub(super) fn checks(config: &Config) -> Vec<Check> {
    let url = config.site.public_url();
    let uri: Uri = url.parse().unwrap_or_default();
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let address: Option<IpAddr> = host.parse().ok();
    let is_local = host == "localhost" || address.is_some_and(|address| address.is_loopback());
    let mut checks = Vec::new();
    if !is_local {
        checks.extend(dns::check(host));
    }
    let agent = Agent::new_with_config(
        Agent::config_builder()
            .proxy(None)
            .max_redirects(0)
            .http_status_as_error(false)
            .timeout_global(Some(TIMEOUT))
            .user_agent(concat!("corenexis-cdn-doctor/", env!("CARGO_PKG_VERSION")))
            .build(),
    );
    let (health, proxy) = match get(&agent, &format!("{url}{ROOT}/health")) {
        Ok(reply) => (health(url, &reply), proxy(url, &reply)),
        Err(error) => (no_reply(url, &error), None),
    };
    // Where nothing replies, the second request would repeat the first failure.
    let replied = health.verdict != Verdict::Fail;
    checks.push(health);
    checks.extend(proxy);
    if replied && let Ok(reply) = get(&agent, &format!("{url}/p/d/ja1/doctor.png")) {
        checks.push(image_rules(url, &reply));
    }
    if url.starts_with("http://") && !is_local {
        checks.push(Check::warn(
            "https",
            format!("{url} is not encrypted: tokens can be read on the way"),
            "run `install.sh --https`: it gets a certificate and changes public_url",
        ));
    }
    checks
}

fn get(agent: &Agent, url: &str) -> Result<Reply, ureq::Error> {
    let mut reply = agent.get(url).call()?;
    let mut body = Vec::new();
    // What arrived before an error is enough.
    let _ = reply
        .body_mut()
        .as_reader()
        .take(MAX_BODY)
        .read_to_end(&mut body);
    let location = reply.headers().get("location");
    Ok(Reply {
        status: reply.status().as_u16(),
        location: location.and_then(|location| Some(location.to_str().ok()?.to_owned())),
        body: String::from_utf8_lossy(&body).into_owned(),
    })
}

fn no_reply(url: &str, error: &ureq::Error) -> Check {
    let name = "public url";
    if let Some(check) = certificate::check(url, error) {
        return check;
    }
    let advice = match error {
        ureq::Error::HostNotFound => {
            "create an A or AAAA record for the name, or correct [site] public_url"
        }
        ureq::Error::Io(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            "start nginx, and add a `listen` directive for this port to the server block of the site"
        }
        ureq::Error::Timeout(_) => {
            "check that the firewall lets this port through and that the name has this host's address"
        }
        _ => "check nginx's error log, the firewall, and the DNS records of the name",
    };
    Check::fail(name, format!("{url} does not answer: {error}"), advice)
}

/// Judges the reply of the responder's health check.
fn health(url: &str, reply: &Reply) -> Check {
    let name = "public url";
    if let Some(location) = &reply.location {
        return Check::fail(
            name,
            format!(
                "{url} redirects to {location}, and clients do not repeat an upload after a redirect"
            ),
            "set public_url to the URL that answers without a redirect",
        );
    }
    let body: Option<Value> = serde_json::from_str(&reply.body).ok();
    let path = format!("{url}{ROOT}/health");
    let (message, advice) = match (reply.status, body) {
        (200, Some(body)) if body["status"] == "ok" => {
            return Check::ok(name, format!("{url} answers"));
        }
        (503, Some(body)) if body["status"] == "failed" => {
            let mut parts = vec!["ledger", "docroot", "bucket", "free_space"];
            parts.retain(|part| body[*part] == "failed");
            (
                format!(
                    "the responder reports that uploads fail: {}",
                    parts.join(", ")
                ),
                "read the checks above and the responder's log",
            )
        }
        (status @ (502..=504), Some(_)) => (
            format!("nginx answers {status}: it gets no reply from the responder"),
            "the checks of responder and socket above show whether it runs and whether nginx may connect",
        ),
        (status, Some(_)) => (
            format!("{path} answers {status}"),
            "read the responder's log and nginx's error log",
        ),
        (status, None) => (
            format!(
                "{path} answers {status} without JSON: another server block or another host has this name"
            ),
            "include corenexis-cdn.server.conf in the server block with this server_name and reload nginx; a `rewrite` or `return` outside \
             the locations of that block comes first",
        ),
    };
    Check::fail(name, message, advice)
}

/// A warning if the request came through a proxy whose address nginx takes for the client's.
fn proxy(url: &str, reply: &Reply) -> Option<Check> {
    let body: Value = serde_json::from_str(&reply.body).ok()?;
    (body["client_address"] == "proxy").then(|| {
        Check::warn(
            "proxy",
            format!(
                "requests to {url} come through a proxy, and nginx takes its address for the client's: all visitors share one address and \
                 its limits, and the metrics are not shown to them"
            ),
            "set up nginx's realip module in the server block of the site: `set_real_ip_from` with the proxy's addresses, and \
             `real_ip_header X-Forwarded-For`",
        )
    })
}

/// Judges the reply for an image that does not exist.
fn image_rules(url: &str, reply: &Reply) -> Check {
    let name = "image rules";
    if reply.status == 404 && reply.body.starts_with("There is no such image") {
        return Check::ok(
            name,
            format!("{url}/p/ is served by the rendered locations"),
        );
    }
    Check::fail(
        name,
        format!(
            "{url}/p/ is not served by the rendered locations: an image that does not exist answers {}",
            reply.status
        ),
        format!(
            "uploads could be run as programs there: remove a proxy rule or a rewrite that takes /p/, or {INSTALL}"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::super::check::Verdict::{Fail, Ok, Warn};
    use super::*;

    const URL: &str = "https://cdn.example.com";

    fn reply(status: u16, body: &str) -> Reply {
        Reply {
            status,
            location: None,
            body: body.to_owned(),
        }
    }

    #[test]
    fn replies_of_the_public_url_are_judged() {
        let redirect = Reply {
            location: Some("https://www.example.com/".to_owned()),
            ..reply(301, "")
        };
        let unwell = r#"{"status":"failed","ledger":"ok","docroot":"failed","free_space":"ok"}"#;
        for (reply, verdict, text) in [
            (reply(200, r#"{"status":"ok"}"#), Ok, "answers"),
            (redirect, Fail, "redirects to https://www"),
            (reply(503, unwell), Fail, "uploads fail: docroot"),
            (reply(502, r#"{"error":"Bad gateway"}"#), Fail, "502"),
            (reply(404, "<html>"), Fail, "without JSON"),
            (reply(200, r#"{"status":"fine"}"#), Fail, "answers 200"),
        ] {
            let check = health(URL, &reply);
            assert_eq!(check.verdict, verdict, "{check:?}");
            assert!(check.message.contains(text), "{check:?}");
        }
        let passed_on = |body| proxy(URL, &reply(200, body)).map(|check| check.verdict);
        assert_eq!(passed_on(r#"{"client_address":"proxy"}"#), Some(Warn));
        for direct in [r#"{"client_address":"ok"}"#, r#"{"status":"ok"}"#, "<html>"] {
            assert_eq!(passed_on(direct), None);
        }
        let rules = |status, body| image_rules(URL, &reply(status, body)).verdict;
        assert_eq!(rules(404, "There is no such image: it has expired.\n"), Ok);
        assert_eq!(rules(404, "<html>"), Fail);
        assert_eq!(rules(200, "There is no such image"), Fail);
    }
}
