//! Which addresses a download may reach: pure rules over numbers, never over the text of an address.
//!
//! The blocks are those of the IANA IPv4 and IPv6 Special-Purpose Address Registries (RFC 6890) and of the IANA multicast and
//! reserved space, as of 2025; the one address that no registry names says so. Blocks that the registry calls globally
//! reachable but that lead to somebody's infrastructure rather than to a web server (AS112, AMT, 6to4) are denied too.

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

/// Whether an address belongs to the public Internet. `::ffff:a.b.c.d` is judged as the IPv4 address that it is.
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

/// Where the operator lets downloads go.
#[derive(Debug)]
pub(super) struct Rules {
    ports: Vec<u16>,
    allow: Vec<SocketAddr>,
}

impl Rules {
    /// `ports` for everybody's addresses, `allow` for exactly these addresses and ports whatever else is said of them.
    pub(super) fn new(ports: &[u16], allow: &[SocketAddr]) -> Self {
        Self {
            ports: ports.to_vec(),
            allow: allow.iter().copied().map(canonical).collect(),
        }
    }

    /// Whether there is any address that may be reached at this port.
    pub(super) fn may_use_port(&self, port: u16) -> bool {
        self.ports.contains(&port) || self.allow.iter().any(|allowed| allowed.port() == port)
    }

    /// Whether `target` may be connected to. `own` are the addresses of this host's interfaces: what listens there often
    /// trusts whoever reaches it from the host itself, public address or not.
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
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The same rules written a second time: as text, compared digit by digit in base two.
    const DENIED: [&str; 24] = [
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "168.63.129.16/32",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "2001::/23",
        "2001:db8::/32",
        "2002::/16",
        "2620:4f:8000::/48",
        "3fff::/20",
    ];

    fn digits(address: IpAddr) -> String {
        match address {
            IpAddr::V4(address) => format!("4{:032b}", u32::from(address)),
            IpAddr::V6(address) => format!("6{:0128b}", u128::from(address)),
        }
    }

    fn prefix(block: &str) -> String {
        let (address, length) = block.split_once('/').expect("a block");
        let mut digits = digits(address.parse().expect("an address"));
        digits.truncate(1 + length.parse::<usize>().expect("a length"));
        digits
    }

    fn expected(address: IpAddr) -> bool {
        let text = digits(address);
        let in_block = |text: &str| DENIED.iter().any(|block| text.starts_with(&prefix(block)));
        if address.is_ipv4() {
            return !in_block(&text);
        }
        if let Some(ipv4) = text.strip_prefix(&prefix("::ffff:0.0.0.0/96")) {
            return !in_block(&format!("4{ipv4}"));
        }
        let identifier = &text[65..];
        let isatap = identifier.starts_with("000000")
            && identifier[8..].starts_with("000000000101111011111110");
        text.starts_with("6001")
            && !in_block(&text)
            && !(isatap && in_block(&format!("4{}", &identifier[32..])))
    }

    fn edges(block: &str) -> [Option<IpAddr>; 4] {
        let (first, length) = block.split_once('/').expect("a block");
        let length: u32 = length.parse().expect("a length");
        match first.parse().expect("an address") {
            IpAddr::V4(first) => {
                let first = first.to_bits();
                let last = first | u32::MAX.checked_shr(length).unwrap_or(0);
                [
                    first.checked_sub(1),
                    Some(first),
                    Some(last),
                    last.checked_add(1),
                ]
                .map(|bits| bits.map(|bits| IpAddr::V4(bits.into())))
            }
            IpAddr::V6(first) => {
                let first = first.to_bits();
                let last = first | u128::MAX >> length;
                [
                    first.checked_sub(1),
                    Some(first),
                    Some(last),
                    last.checked_add(1),
                ]
                .map(|bits| bits.map(|bits| IpAddr::V6(bits.into())))
            }
        }
    }

    #[test]
    fn every_block_ends_where_the_registry_says() {
        for block in DENIED {
            let [before, first, last, after] = edges(block);
            assert!(!is_public(first.expect("first")), "first of {block}");
            assert!(!is_public(last.expect("last")), "last of {block}");
            // Multicast and reserved space touch; 0/8 begins and 240/4 ends the address space.
            if let Some(before) = before
                && block != "240.0.0.0/4"
            {
                assert!(is_public(before), "{before}, before {block}");
            }
            if let Some(after) = after
                && block != "224.0.0.0/4"
            {
                assert!(is_public(after), "{after}, after {block}");
            }
        }
        let [before, first, last, after] = edges("2000::/3");
        for (address, public) in [(before, false), (first, true), (last, true), (after, false)] {
            let address = address.expect("an address");
            assert_eq!(is_public(address), public, "{address}");
        }
    }

    #[test]
    fn known_addresses_are_judged_as_known() {
        for (address, public) in [
            ("8.8.8.8", true),
            ("1.1.1.1", true),
            ("172.32.0.0", true),
            ("2606:4700:4700::1111", true),
            ("2001:4860:4860::8888", true),
            ("::ffff:8.8.8.8", true),
            ("2a00:1450::5efe:808:808", true),
            ("2a00:1450::200:5efe:8.8.8.8", true),
            ("0.0.0.0", false),
            ("127.0.0.1", false),
            ("169.254.169.254", false),
            ("100.100.100.200", false),
            ("192.0.0.192", false),
            ("255.255.255.255", false),
            ("::", false),
            ("::1", false),
            ("::127.0.0.1", false),
            ("::8.8.8.8", false),
            ("::ffff:127.0.0.1", false),
            ("::ffff:10.0.0.1", false),
            ("::ffff:0:8.8.8.8", false),
            ("64:ff9b::8.8.8.8", false),
            ("64:ff9b:1::1", false),
            ("100::1", false),
            ("fc00::1", false),
            ("fd00:ec2::254", false),
            ("fe80::1", false),
            ("fec0::1", false),
            ("ff02::1", false),
            ("2001::1", false),
            ("2002:7f00:1::", false),
            ("2a00:1450::5efe:10.0.0.1", false),
            ("2a00:1450::200:5efe:127.0.0.1", false),
            ("2a00:1450::100:5efe:127.0.0.1", false),
            ("2a00:1450::400:5efe:127.0.0.1", true),
        ] {
            assert_eq!(
                is_public(address.parse().expect("an address")),
                public,
                "{address}"
            );
        }
    }

    fn any_address() -> impl Strategy<Value = IpAddr> {
        let near_a_block = (0..DENIED.len(), any::<u128>(), 0u32..128).prop_map(
            |(block, noise, kept): (usize, u128, u32)| {
                let (first, _) = DENIED[block].split_once('/').expect("a block");
                match first.parse().expect("an address") {
                    IpAddr::V4(first) => {
                        let noise = u32::try_from(noise >> 96).expect("32 bits") >> (kept % 32);
                        IpAddr::V4((first.to_bits() ^ noise).into())
                    }
                    IpAddr::V6(first) => IpAddr::V6((first.to_bits() ^ noise >> kept).into()),
                }
            },
        );
        let carried = |prefix: u128, ipv4: IpAddr| match ipv4 {
            IpAddr::V4(ipv4) => IpAddr::V6((prefix | u128::from(ipv4.to_bits())).into()),
            IpAddr::V6(_) => ipv4,
        };
        prop_oneof![
            any::<u32>().prop_map(|bits| IpAddr::V4(bits.into())),
            any::<u128>().prop_map(|bits| IpAddr::V6(bits.into())),
            any::<u128>().prop_map(|bits| IpAddr::V6((bits >> 3 | 1 << 125).into())),
            near_a_block.clone(),
            near_a_block
                .clone()
                .prop_map(move |ipv4| carried(0xffff << 32, ipv4)),
            (near_a_block, 0u128..0x800).prop_map(move |(ipv4, flags)| {
                carried(0x2a00 << 112 | flags << 48 | 0x5efe << 32, ipv4)
            }),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn arithmetic_and_text_agree(address in any_address()) {
            prop_assert_eq!(is_public(address), expected(address), "{}", address);
        }
    }

    fn socket(text: &str) -> SocketAddr {
        text.parse().expect("an address and a port")
    }

    #[test]
    fn ports_and_own_addresses_are_rules_too() {
        let rules = Rules::new(&[80, 443], &[]);
        let own =
            ["203.0.114.7", "2a01:4f8::7"].map(|address| address.parse().expect("an address"));
        for (target, permitted) in [
            ("203.0.114.8:80", true),
            ("203.0.114.8:443", true),
            ("203.0.114.8:8080", false),
            ("203.0.114.7:80", false),
            ("[::ffff:203.0.114.7]:80", false),
            ("[2a01:4f8::7]:443", false),
            ("[2a01:4f8::8]:443", true),
            ("127.0.0.1:80", false),
        ] {
            assert_eq!(rules.permits(socket(target), &own), permitted, "{target}");
        }
        assert!(rules.may_use_port(443) && !rules.may_use_port(22));
    }

    #[test]
    fn an_exception_is_for_one_address_and_port() {
        let rules = Rules::new(
            &[80],
            &[socket("127.0.0.1:8080"), socket("[::ffff:10.0.0.9]:22")],
        );
        let own = ["127.0.0.1".parse().expect("an address")];
        for (target, permitted) in [
            ("127.0.0.1:8080", true),
            ("[::ffff:127.0.0.1]:8080", true),
            ("10.0.0.9:22", true),
            ("127.0.0.1:80", false),
            ("127.0.0.2:8080", false),
            ("8.8.8.8:8080", false),
            ("[::1]:8080", false),
            ("8.8.8.8:80", true),
        ] {
            assert_eq!(rules.permits(socket(target), &own), permitted, "{target}");
        }
        assert!(rules.may_use_port(8080) && rules.may_use_port(22) && !rules.may_use_port(23));
    }
}
