//! Whether the name of the site leads to this host.

use std::net::{IpAddr, ToSocketAddrs};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use super::check::Check;
use crate::fetch::ssrf::is_public;

/// How long the name server may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// `None` if the name has no address or no name server answers, which the first request reports.
pub(super) fn check(host: &str) -> Option<Check> {
    let found = addresses_of(host).filter(|found| !found.is_empty())?;
    Some(compare(host, &found, &own_addresses()))
}

/// The addresses of a name. In a thread of its own, because getaddrinfo(3) has no time limit.
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

/// Whether all addresses in `found` are this host's `own`.
fn compare(host: &str, found: &[IpAddr], own: &[IpAddr]) -> Check {
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
    if elsewhere.is_empty() {
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
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::Verdict::{Ok, Skip, Warn};
    use super::*;

    #[test]
    fn addresses_of_the_name_are_compared_with_those_of_this_host() {
        let ip = |text: &str| -> IpAddr { text.parse().expect("an address") };
        let (own, other, private) = (ip("8.8.4.4"), ip("2606:4700::1111"), ip("10.0.0.4"));
        let check = |found: &[IpAddr], own: &[IpAddr]| compare("cdn.example.com", found, own);
        assert_eq!(check(&[own], &[private, own]).verdict, Ok);
        let elsewhere = check(&[own, other], &[private, own]);
        assert_eq!(elsewhere.verdict, Warn);
        assert_eq!(
            elsewhere.message,
            "cdn.example.com has the address 2606:4700::1111, and this host has 10.0.0.4, 8.8.4.4"
        );
        assert_eq!(check(&[own], &[private, ip("127.0.0.1")]).verdict, Skip);
        assert!(own_addresses().iter().any(IpAddr::is_loopback));
        assert!(
            addresses_of("localhost").is_some_and(|found| found.iter().all(IpAddr::is_loopback))
        );
    }
}
