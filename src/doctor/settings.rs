//! Settings that are valid and risky.

use super::check::Check;
use super::installation::Installation;
use crate::config::{Config, Durability, Listen};
use crate::export::contact::Contact;

pub(super) fn checks(installation: &Installation) -> Vec<Check> {
    let config = &installation.config;
    let plans: Vec<_> = config.plans.keys().map(String::as_str).collect();
    let mut checks = vec![Check::ok(
        "configuration",
        format!(
            "{} is valid, with the plans {}",
            installation.config_file.display(),
            plans.join(", ")
        ),
    )];
    checks.push(contact(config));
    if config.storage.durability == Durability::Relaxed {
        checks.push(Check::warn(
            "durability",
            "[storage] durability is \"relaxed\": a power cut may lose uploads that were acknowledged",
            "set it to \"full\", unless every image can be uploaded again",
        ));
    }
    if !config.fetch.allow.is_empty() {
        let allowed: Vec<_> = config.fetch.allow.iter().map(ToString::to_string).collect();
        checks.push(Check::warn(
            "fetch",
            format!(
                "[fetch] allow lets clients download from {} through this host",
                allowed.join(", ")
            ),
            "remove each address that image_url does not need",
        ));
    }
    if let Listen::Tcp(address) = config.server.listen
        && !address.ip().is_loopback()
    {
        checks.push(Check::warn(
            "listen",
            format!(
                "[server] listen is tcp:{address}: FastCGI has no authentication, so all who reach this port evade nginx's limits and \
                 can claim any client address"
            ),
            "set it to unix:/run/corenexis-cdn.sock, or to an address of 127.0.0.0/8, and run `install.sh` again",
        ));
    }
    checks
}

/// Whether people can report an image.
fn contact(config: &Config) -> Check {
    let name = "contact";
    let contact = &config.site.contact;
    let advice = "set it to a mail address or an http(s) URL, and run `install.sh` again";
    match Contact::of(config) {
        Contact::Mail(_) | Contact::Url(_) => Check::ok(name, contact),
        Contact::Text => Check::warn(
            name,
            format!("[site] contact is {contact:?}, which pages show as text without a link"),
            advice,
        ),
        Contact::None => Check::warn(
            name,
            "[site] contact is empty: viewer pages do not say where people can report an image",
            advice,
        ),
    }
}
