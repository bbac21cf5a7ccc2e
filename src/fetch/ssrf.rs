//! The SSRF rules: which addresses and ports a download may connect to. Addresses are compared as numbers, never as text.
//!
//! The blocks are those of the IANA IPv4 and IPv6 Special-Purpose Address Registries (RFC 6890) and of the IANA multicast and
//! reserved space, as of 2025; the one address that no registry names says so. Blocks that the registry calls globally
//! reachable but that lead to infrastructure and to no web server (AS112, AMT, 6to4) are denied too.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// IPv4 blocks that are never downloaded from: first address, prefix length.
const DENIED_IPV4: [(Ipv4Addr, u32); 19] = [
    (Ipv4Addr::UNSPECIFIED, 8),            // "this network", RFC 791
    (Ipv4Addr::new(10, 0, 0, 0), 8),       // private use, RFC 1918
    (Ipv4Addr::new(100, 64, 0, 0), 10),    // shared address space, RFC 6598
    (Ipv4Addr::new(127, 0, 0, 0), 8),      // loopback, RFC 1122
    (Ipv4Addr::new(169, 254, 0, 0), 16),   // link local, RFC 3927; cloud metadata services
    (Ipv4Addr::new(172, 16, 0, 0), 12),    // private use, RFC 1918
    (Ipv4Addr::new(192, 0, 0, 0), 24),     // IETF protocol assignments, RFC 6890
    (Ipv4Addr::new(192, 0, 2, 0), 24),     // TEST-NET-1, RFC 5737
    (Ipv4Addr::new(192, 31, 196, 0), 24),  // AS112-v4, RFC 7535
    (Ipv4Addr::new(192, 52, 193, 0), 24),  // AMT, RFC 7450
    (Ipv4Addr::new(192, 88, 99, 0), 24),   // 6to4 relay anycast, RFC 7526
    (Ipv4Addr::new(192, 168, 0, 0), 16),   // private use, RFC 1918
    (Ipv4Addr::new(192, 175, 48, 0), 24),  // AS112 direct delegation, RFC 7534
    (Ipv4Addr::new(198, 18, 0, 0), 15),    // benchmarking, RFC 2544
    (Ipv4Addr::new(198, 51, 100, 0), 24),  // TEST-NET-2, RFC 5737
    (Ipv4Addr::new(203, 0, 113, 0), 24),   // TEST-NET-3, RFC 5737
    (Ipv4Addr::new(224, 0, 0, 0), 4),      // multicast, RFC 5771
    (Ipv4Addr::new(240, 0, 0, 0), 4),      // reserved and limited broadcast, RFC 1112, RFC 919
    (Ipv4Addr::new(168, 63, 129, 16), 32), // Azure's platform services; in no registry
];

/// Global unicast, the only IPv6 space that IANA gives out (RFC 4291 section 2.4). Everything outside is denied unnamed:
/// loopback, link local, unique local, multicast, NAT64 (`64:ff9b::/96`), IPv4-compatible addresses.
const GLOBAL_UNICAST: (Ipv6Addr, u32) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);

/// Blocks inside [`GLOBAL_UNICAST`] that are never downloaded from.
const DENIED_IPV6: [(Ipv6Addr, u32); 5] = [
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23), // IETF protocol assignments, Teredo, ORCHID, RFC 2928
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32), // documentation, RFC 3849
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16), // 6to4 carries any IPv4 address, RFC 3056
    (Ipv6Addr::new(0x2620, 0x4f, 0x8000, 0, 0, 0, 0, 0), 48), // AS112 direct delegation, RFC 7534
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20), // documentation, RFC 9637
];

/// The universal/local and individual/group bits of an interface identifier (RFC 4291 appendix A), which ISATAP leaves free.
const UNIVERSAL_AND_GROUP_BITS: u16 = 0x0300;

/// Whether an address belongs to the public Internet. IPv4-mapped IPv6 addresses are canonicalized.
pub fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_public_ipv4(address),
        IpAddr::V6(address) => is_public_ipv6(address),
    }
}

fn is_public_ipv4(address: Ipv4Addr) -> bool {
    !DENIED_IPV4.iter().any(|&(first, length)| {
        // The longest prefix is 32 and the shortest is 4, so the shift is 0 to 28.
        (address.to_bits() ^ first.to_bits()) >> (32 - length) == 0
    })
}

fn is_public_ipv6(address: Ipv6Addr) -> bool {
    let within = |&(first, length): &(Ipv6Addr, u32)| {
        // The longest prefix is 48 and the shortest is 3, so the shift is 80 to 125.
        (address.to_bits() ^ first.to_bits()) >> (128 - length) == 0
    };
    within(&GLOBAL_UNICAST)
        && !DENIED_IPV6.iter().any(within)
        && isatap_ipv4(address).is_none_or(is_public_ipv4)
}

/// The IPv4 address that an ISATAP interface identifier (`::0:5efe:a.b.c.d`, `::200:5efe:a.b.c.d`) tunnels to,
/// RFC 5214 section 6.1.
fn isatap_ipv4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [.., flags, marker, high, low] = address.segments();
    (flags & !UNIVERSAL_AND_GROUP_BITS == 0 && marker == 0x5efe)
        .then(|| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)))
}

/// The ports and exceptions of `[fetch]`.
#[derive(Debug)]
pub(super) struct Rules {
    ports: Vec<u16>,
    allow: Vec<SocketAddr>,
}

impl Rules {
    /// `ports` are open on public addresses; `allow` are exceptions to all rules, for exactly these addresses and ports.
    pub(super) fn new(ports: &[u16], allow: &[SocketAddr]) -> Self {
        Self {
            ports: ports.to_vec(),
            allow: allow.iter().copied().map(canonical).collect(),
        }
    }

    /// Whether any address may be connected to at this port.
    pub(super) fn may_use_port(&self, port: u16) -> bool {
        self.ports.contains(&port) || self.allow.iter().any(|allowed| allowed.port() == port)
    }

    /// Whether `target` may be connected to. `own` are the addresses of this host's interfaces: services there often trust
    /// connections from the host itself, at public addresses too.
    pub(super) fn permits(&self, target: SocketAddr, own: &[IpAddr]) -> bool {
        let target = canonical(target);
        let public = is_public(target.ip())
            && !own
                .iter()
                .any(|address| address.to_canonical() == target.ip());
        self.allow.contains(&target) || (public && self.ports.contains(&target.port()))
    }
}

/// Address and port alone: IPv4 unwrapped from IPv6, without flow label and scope.
pub(super) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests;
