//! What `image_url` may name.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use corenexis_cdn::fetch::ssrf::is_public;
use corenexis_cdn::fetch::url::{MAX_URL, Target};

/// The first line is a URL, every other a `Location` that its server answers with.
pub fn url(data: &[u8]) {
    let mut lines = data.split(|&byte| byte == b'\n');
    let Some(first) = lines.next() else {
        return;
    };
    let Ok(mut target) = Target::parse(first) else {
        return;
    };
    check(&target);
    for location in lines {
        let Ok(next) = target.redirect(location) else {
            return;
        };
        check(&next);
        let downgraded =
            target.to_string().starts_with("https:") && next.to_string().starts_with("http:");
        assert!(!downgraded, "{target} leads to {next}");
        target = next;
    }
}

/// The properties of every target, whatever it was made from.
fn check(target: &Target) {
    let text = target.to_string();
    assert!(text.len() <= MAX_URL, "{text}");
    assert!(
        text.bytes()
            .all(|byte| byte.is_ascii_graphic() && !b"\\#".contains(&byte)),
        "{text}"
    );
    let uri = target.uri().expect("checked when it was parsed");
    assert!(matches!(uri.scheme_str(), Some("http" | "https")));
    let authority = uri.authority().expect("an authority").as_str();
    assert!(
        !authority.contains('@') && !authority.contains('%'),
        "{text}"
    );
    let default = if uri.scheme_str() == Some("https") {
        443
    } else {
        80
    };
    assert_eq!(uri.port_u16().unwrap_or(default), target.port(), "{text}");
    assert_eq!(
        Target::parse(text.as_bytes()).as_ref(),
        Ok(target),
        "{text}"
    );
    check_host(uri.host().expect("a host"));
}

/// No host is left that a resolver reads as a number in another notation than the usual one.
fn check_host(host: &str) {
    if let Some(literal) = host.strip_prefix('[') {
        let address = literal.trim_end_matches(']').parse::<Ipv6Addr>();
        assert!(address.is_ok(), "{host}");
        return;
    }
    let last = host.trim_end_matches('.').rsplit('.').next();
    let last = last.expect("split gives at least one");
    let number = last.strip_prefix("0x").map_or_else(
        || !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit()),
        |digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
    );
    if number {
        assert!(host.parse::<Ipv4Addr>().is_ok(), "{host}");
    }
}

/// Four or sixteen bytes of an address.
pub fn address(data: &[u8]) {
    if let Some(&bytes) = data.first_chunk::<4>() {
        let address = Ipv4Addr::from(bytes);
        let public = is_public(IpAddr::V4(address));
        assert_eq!(is_public(IpAddr::V6(address.to_ipv6_mapped())), public);
        assert!(!public || is_global(IpAddr::V4(address)), "{address}");
        for carrier in [
            address.to_ipv6_compatible(),
            nat64(address),
            six_to_four(address),
        ] {
            assert!(!is_public(IpAddr::V6(carrier)), "{carrier}");
        }
    }
    if let Some(&bytes) = data.first_chunk::<16>() {
        let address = Ipv6Addr::from(bytes);
        let public = is_public(IpAddr::V6(address));
        let canonical = IpAddr::V6(address).to_canonical();
        assert_eq!(is_public(canonical), public);
        assert!(!public || is_global(canonical), "{address}");
    }
}

fn nat64(address: Ipv4Addr) -> Ipv6Addr {
    Ipv6Addr::from_bits((0x0064_ff9b << 96) | u128::from(address.to_bits()))
}

fn six_to_four(address: Ipv4Addr) -> Ipv6Addr {
    Ipv6Addr::from_bits((0x2002 << 112) | (u128::from(address.to_bits()) << 80) | 1)
}

/// The standard library's own reading of the IANA registries.
#[cfg(fuzzing)]
fn is_global(address: IpAddr) -> bool {
    address.is_global() && !address.is_multicast()
}

/// Only the nightly compiler has it.
#[cfg(not(fuzzing))]
fn is_global(_: IpAddr) -> bool {
    true
}
