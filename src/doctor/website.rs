//! What visitors of the public URL get: its DNS records, its certificate, and two replies.
//!
//! The requests do not go through the guarded agent of `image_url`: the public URL is the operator's own, and may have a private address.

use std::io::{self, Read};
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use rustls::CertificateError;
use serde_json::Value;
use time::UtcDateTime;
use ureq::Agent;

use super::{Check, INSTALL, Verdict};
use crate::fetch::ssrf::is_public;
use crate::routes::ROOT;

/// How long one reply, or the name server, may take.
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

pub(super) fn checks(url: &str) -> Vec<Check> {
    let host = host_of(url);
    let is_local = host == "localhost"
        || host
            .parse()
            .is_ok_and(|address: IpAddr| address.is_loopback());
    let mut checks = Vec::new();
    if !is_local {
        checks.extend(addresses_of(host).and_then(|found| dns(host, &found, &own_addresses())));
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
    let health = match get(&agent, &format!("{url}{ROOT}/health")) {
        Ok(reply) => health(url, &reply),
        Err(error) => no_reply(url, &error),
    };
    // Where nothing replies, the second request would repeat the first failure.
    let replied = health.verdict != Verdict::Fail;
    checks.push(health);
    if replied && let Ok(reply) = get(&agent, &format!("{url}/p/d/ja1/doctor.png")) {
        checks.push(image_rules(url, &reply));
    }
    if url.starts_with("http://") && !is_local {
        checks.push(Check::warn(
            "https",
            format!("{url} is not encrypted: tokens can be read on the way"),
            "get a certificate for the site, set public_url to https://…, and run `install.sh` again",
        ));
    }
    checks
}

/// The host of a URL, without port and brackets.
fn host_of(url: &str) -> &str {
    let authority = url.split_once("://").map_or(url, |(_, rest)| rest);
    match authority.strip_prefix('[') {
        Some(literal) => literal.split(']').next().unwrap_or(literal),
        None => authority.split(':').next().unwrap_or(authority),
    }
}

/// The addresses of a name; `None` if it has none or no name server answers, which the first request reports. In a thread of its own, because
/// getaddrinfo(3) has no time limit.
fn addresses_of(host: &str) -> Option<Vec<IpAddr>> {
    let (sender, receiver) = channel();
    let host = host.to_owned();
    thread::spawn(move || sender.send((host.as_str(), 443).to_socket_addrs().map(Vec::from_iter)));
    let found = receiver.recv_timeout(TIMEOUT).ok()?.ok()?;
    let mut addresses: Vec<_> = found
        .iter()
        .map(|found| found.ip().to_canonical())
        .collect();
    addresses.dedup();
    Some(addresses)
}

fn own_addresses() -> Vec<IpAddr> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    interfaces.iter().map(if_addrs::Interface::ip).collect()
}

/// Whether the DNS records of the site's name have only addresses of this host.
fn dns(host: &str, found: &[IpAddr], own: &[IpAddr]) -> Option<Check> {
    let name = "dns";
    let list = |addresses: &[IpAddr]| {
        let texts: Vec<_> = addresses.iter().map(ToString::to_string).collect();
        texts.join(", ")
    };
    let elsewhere: Vec<_> = found
        .iter()
        .copied()
        .filter(|address| !own.contains(address))
        .collect();
    let own: Vec<_> = own
        .iter()
        .copied()
        .filter(|address| !address.is_loopback())
        .collect();
    if found.is_empty() {
        return None;
    }
    Some(if elsewhere.is_empty() {
        Check::ok(
            name,
            format!("{host} has an address of this host: {}", list(found)),
        )
    } else if !own.iter().copied().any(is_public) {
        Check::skip(
            name,
            format!(
                "{host} has the address {}, and this host has only private ones ({}): it is behind NAT or a proxy",
                list(found),
                list(&own)
            ),
        )
    } else {
        Check::warn(
            name,
            format!(
                "{host} has the address {}, and this host has {}",
                list(&elsewhere),
                list(&own)
            ),
            "correct the A and AAAA records of the name, unless they are those of a proxy or CDN in front of this host",
        )
    })
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
    if let Some(error) = certificate_error(error) {
        let (fault, advice) = explain(error);
        return Check::fail(
            "certificate",
            format!("the certificate of {url} {fault}"),
            advice,
        );
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

/// The reason for which rustls rejected a certificate, if that is what failed.
fn certificate_error(error: &ureq::Error) -> Option<&CertificateError> {
    let error = match error {
        ureq::Error::Rustls(error) => error,
        ureq::Error::Io(error) => error.get_ref()?.downcast_ref()?,
        _ => return None,
    };
    match error {
        rustls::Error::InvalidCertificate(error) => Some(error),
        _ => None,
    }
}

/// What a rejected certificate is, after "the certificate of URL", and what to do.
fn explain(error: &CertificateError) -> (String, &'static str) {
    use CertificateError as E;
    let day = |time: &rustls::pki_types::UnixTime| {
        let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        UtcDateTime::from_unix_timestamp(seconds)
            .map_or_else(|_| "?".to_owned(), |time| time.date().to_string())
    };
    match error {
        E::ExpiredContext { not_after, .. } => (
            format!("expired on {}", day(not_after)),
            "renew it (`certbot renew`), reload nginx, and check that the timer or cron job that renews it runs",
        ),
        E::NotValidYetContext { not_before, .. } => (
            format!("is not valid before {}", day(not_before)),
            "check the clock of this host",
        ),
        E::NotValidForNameContext { presented, .. } => (
            format!("is for other names: {}", presented.join(", ")),
            "get one for this name (`certbot --nginx -d NAME`), and check that the server block of the site uses it: without a matching \
             server_name nginx serves another site's",
        ),
        E::UnknownIssuer => (
            "is not signed by a public certificate authority: it is self-signed, from an internal authority, or sent without its \
             intermediate certificates"
                .to_owned(),
            "get one from a public authority (`certbot --nginx -d NAME`), and let ssl_certificate name the full chain (fullchain.pem)",
        ),
        E::Revoked => (
            "is revoked".to_owned(),
            "get a new one with a new key, and reload nginx",
        ),
        // A self-signed certificate of `openssl req -x509` is a CA certificate, which may not be a server's.
        E::Other(cause) => (
            format!("is rejected by clients ({cause}); a self-signed certificate is the usual cause"),
            "get one from a public authority (`certbot --nginx -d NAME`)",
        ),
        other => (
            format!("is rejected by clients ({other})"),
            "get a new one from a public authority (`certbot --nginx -d NAME`)",
        ),
    }
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
    match (reply.status, body) {
        (200, Some(body)) if body["status"] == "ok" => Check::ok(name, format!("{url} answers")),
        (503, Some(body)) if body["status"] == "failed" => {
            let failed: Vec<_> = ["ledger", "docroot", "free_space"]
                .into_iter()
                .filter(|&part| body[part] == "failed")
                .collect();
            Check::fail(
                name,
                format!(
                    "the responder reports that uploads fail: {}",
                    failed.join(", ")
                ),
                "read the checks above and the responder's log",
            )
        }
        (status @ (502..=504), Some(_)) => Check::fail(
            name,
            format!("nginx answers {status}: it gets no reply from the responder"),
            "the checks of responder and socket above show whether it runs and whether nginx may connect",
        ),
        (status, Some(_)) => Check::fail(
            name,
            format!("{url}{ROOT}/health answers {status}"),
            "read the responder's log and nginx's error log",
        ),
        (status, None) => Check::fail(
            name,
            format!(
                "{url}{ROOT}/health answers {status} without JSON: another server block or another host has this name"
            ),
            "include corenexis-cdn.server.conf in the server block with this server_name and reload nginx; a `rewrite` or `return` outside \
             the locations of that block comes first",
        ),
    }
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
    use super::super::Verdict::{Fail, Ok, Skip, Warn};
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
        let rules = |status, body| image_rules(URL, &reply(status, body)).verdict;
        assert_eq!(rules(404, "There is no such image: it has expired.\n"), Ok);
        assert_eq!(rules(404, "<html>"), Fail);
        assert_eq!(rules(200, "There is no such image"), Fail);
    }

    #[test]
    fn addresses_of_the_name_are_compared_with_those_of_this_host() {
        let ip = |text: &str| -> IpAddr { text.parse().expect("an address") };
        let (own, other, private) = (ip("8.8.4.4"), ip("2606:4700::1111"), ip("10.0.0.4"));
        let check =
            |found: &[IpAddr], own: &[IpAddr]| dns("cdn.example.com", found, own).expect("a check");
        assert_eq!(check(&[own], &[private, own]).verdict, Ok);
        let elsewhere = check(&[own, other], &[private, own]);
        assert_eq!(elsewhere.verdict, Warn);
        assert_eq!(
            elsewhere.message,
            "cdn.example.com has the address 2606:4700::1111, and this host has 10.0.0.4, 8.8.4.4"
        );
        assert_eq!(check(&[own], &[private, ip("127.0.0.1")]).verdict, Skip);
        assert_eq!(dns("cdn.example.com", &[], &[own]), None);
        assert!(own_addresses().iter().any(IpAddr::is_loopback));
        assert!(
            addresses_of("localhost").is_some_and(|found| found.iter().all(IpAddr::is_loopback))
        );
    }

    #[test]
    fn rejected_certificates_are_explained() {
        use rustls::pki_types::{ServerName, UnixTime};
        let at = |seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let name = ServerName::try_from("cdn.example.com").expect("a name");
        for (error, text) in [
            (
                CertificateError::ExpiredContext {
                    time: at(1_800_000_000),
                    not_after: at(1_775_347_200),
                },
                "expired on 2026-04-05",
            ),
            (
                CertificateError::NotValidYetContext {
                    time: at(0),
                    not_before: at(1_775_347_200),
                },
                "not valid before 2026-04-05",
            ),
            (
                CertificateError::NotValidForNameContext {
                    expected: name,
                    presented: vec!["www.example.com".to_owned()],
                },
                "for other names: www.example.com",
            ),
            (CertificateError::UnknownIssuer, "self-signed"),
            (CertificateError::Revoked, "revoked"),
            (CertificateError::BadSignature, "rejected by clients"),
        ] {
            let wrapped = io::Error::new(
                io::ErrorKind::InvalidData,
                rustls::Error::InvalidCertificate(error),
            );
            let check = no_reply(URL, &ureq::Error::Io(wrapped));
            assert_eq!((check.name, check.verdict), ("certificate", Fail));
            assert!(check.message.contains(text), "{check:?}");
        }
    }

    #[test]
    fn the_host_of_a_url_has_no_port() {
        for (url, host) in [
            ("https://cdn.example.com", "cdn.example.com"),
            ("http://127.0.0.1:8080", "127.0.0.1"),
            ("http://[::1]:8080", "::1"),
        ] {
            assert_eq!(host_of(url), host);
        }
    }
}
