use super::*;
use ipnet::IpNet;

/// The registries themselves, every row of them, overlapping ones too, as IANA publishes them
/// (<https://www.iana.org/assignments/iana-ipv4-special-registry>, <https://www.iana.org/assignments/iana-ipv6-special-registry>), whether
/// they call a block globally reachable or not.
const REGISTRY: [&str; 52] = [
    "0.0.0.0/8",
    "0.0.0.0/32",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.0.0/29",
    "192.0.0.8/32",
    "192.0.0.9/32",
    "192.0.0.10/32",
    "192.0.0.170/32",
    "192.0.0.171/32",
    "192.0.2.0/24",
    "192.31.196.0/24",
    "192.52.193.0/24",
    "192.88.99.0/24",
    "192.88.99.2/32",
    "192.168.0.0/16",
    "192.175.48.0/24",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "240.0.0.0/4",
    "255.255.255.255/32",
    "::1/128",
    "::/128",
    "64:ff9b::/96",
    "64:ff9b:1::/48",
    "100::/64",
    "100:0:0:1::/64",
    "2001::/23",
    "2001::/32",
    "2001:1::1/128",
    "2001:1::2/128",
    "2001:1::3/128",
    "2001:2::/48",
    "2001:3::/32",
    "2001:4:112::/48",
    "2001:10::/28",
    "2001:20::/28",
    "2001:30::/28",
    "2001:db8::/32",
    "2002::/16",
    "2620:4f:8000::/48",
    "3fff::/20",
    "5f00::/16",
    "fc00::/7",
    "fe80::/10",
    // The multicast registries.
    "224.0.0.0/4",
    "ff00::/8",
];

/// Azure's platform services, in no registry.
const AZURE: &str = "168.63.129.16/32";

/// Another implementation of the rules: the registry's rows as text, read and compared by the crate ipnet; addresses as octets.
struct Oracle {
    denied: Vec<IpNet>,
    unicast: IpNet,
}

impl Oracle {
    fn new() -> Self {
        let blocks = REGISTRY.iter().chain([&AZURE]);
        Self {
            denied: blocks.map(|block| block.parse().expect(block)).collect(),
            unicast: "2000::/3".parse().expect("a block"),
        }
    }

    fn is_public(&self, address: IpAddr) -> bool {
        let listed = |address: &IpAddr| self.denied.iter().any(|block| block.contains(address));
        let IpAddr::V6(ipv6) = address else {
            return !listed(&address);
        };
        let carried = match ipv6.octets() {
            [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d] => {
                return !listed(&IpAddr::from([a, b, c, d]));
            }
            [_, _, _, _, _, _, _, _, 0..=3, 0, 0x5e, 0xfe, a, b, c, d] => {
                Some(IpAddr::from([a, b, c, d]))
            }
            _ => None,
        };
        self.unicast.contains(&address)
            && !listed(&address)
            && !carried.is_some_and(|ipv4| listed(&ipv4))
    }

    #[track_caller]
    fn agrees(&self, address: IpAddr) {
        assert_eq!(is_public(address), self.is_public(address), "{address}");
    }
}

/// An IPv4 address as IPv6 carries it: mapped, and in an ISATAP identifier below this prefix.
fn carriers(ipv4: Ipv4Addr, prefix: [u16; 5]) -> [IpAddr; 2] {
    let [a, b, c, d, flags] = prefix;
    let [high, low] = [ipv4.to_bits() >> 16, ipv4.to_bits() & 0xffff]
        .map(|half| u16::try_from(half).expect("16 bits"));
    [
        ipv4.to_ipv6_mapped().into(),
        Ipv6Addr::new(a, b, c, d, flags, 0x5efe, high, low).into(),
    ]
}

fn neighbour(address: IpAddr, up: bool) -> Option<IpAddr> {
    match address {
        IpAddr::V4(address) => {
            let bits = address.to_bits();
            let bits = if up {
                bits.checked_add(1)
            } else {
                bits.checked_sub(1)
            };
            bits.map(|bits| Ipv4Addr::from_bits(bits).into())
        }
        IpAddr::V6(address) => {
            let bits = address.to_bits();
            let bits = if up {
                bits.checked_add(1)
            } else {
                bits.checked_sub(1)
            };
            bits.map(|bits| Ipv6Addr::from_bits(bits).into())
        }
    }
}

#[test]
fn every_block_ends_where_the_registry_says() {
    let oracle = Oracle::new();
    for block in oracle.denied.iter().chain([&oracle.unicast]) {
        let ends = [block.network(), block.broadcast()];
        if *block != oracle.unicast {
            assert!(ends.iter().all(|&end| !is_public(end)), "{block}");
        }
        let beside = [neighbour(ends[0], false), neighbour(ends[1], true)];
        for address in ends.into_iter().chain(beside.into_iter().flatten()) {
            oracle.agrees(address);
            if let IpAddr::V4(ipv4) = address {
                for flags in [0, 0x100, 0x200, 0x300, 0x400] {
                    for carrier in carriers(ipv4, [0x2a00, 1, 2, 3, flags]) {
                        oracle.agrees(carrier);
                    }
                }
            }
        }
    }
    // Where no two blocks touch, the neighbours are public: a block that is too large is found, too.
    for address in [
        "9.255.255.255",
        "11.0.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "223.255.255.255",
        "2001:200::",
        "3fff:1000::",
    ] {
        assert!(is_public(address.parse().expect("an address")), "{address}");
    }
}

/// Half of them at a random distance of a block, where mistakes would be.
#[test]
fn a_million_random_addresses_are_judged_as_by_another_implementation() {
    let oracle = Oracle::new();
    // SplitMix64, from the clock: other addresses each time, and the same again where a failure prints them.
    let seed = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("a date after 1970")
        .as_secs();
    let mut state = seed;
    let mut random = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    let mut public = 0_u32;
    for round in 0..1_000_000_u32 {
        let noise = u128::from(random()) << 64 | u128::from(random());
        let [first, second, ..] = noise.to_le_bytes();
        let block = oracle.denied[usize::from(first) % oracle.denied.len()].network();
        let ipv4 = match block {
            // The distance is as long as chance has it, in bits.
            IpAddr::V4(block) if round % 2 == 0 => {
                let distance = u32::try_from(noise >> 96).expect("32 bits") >> (second % 32);
                Ipv4Addr::from_bits(block.to_bits() ^ distance)
            }
            _ => Ipv4Addr::from_bits(u32::try_from(noise >> 96).expect("32 bits")),
        };
        let ipv6 = match block {
            IpAddr::V6(block) if round % 2 == 0 => block.to_bits() ^ noise >> (second % 128),
            _ => 1 << 125 | noise >> 3,
        };
        let prefix = [
            0x2a00,
            u16::from(first),
            0,
            u16::from(second),
            u16::from(first) << 2 & 0x700,
        ];
        let [mapped, isatap] = carriers(ipv4, prefix);
        let address = match round % 5 {
            0 | 1 => ipv4.into(),
            2 => mapped,
            3 => isatap,
            _ => Ipv6Addr::from_bits(ipv6).into(),
        };
        assert_eq!(
            is_public(address),
            oracle.is_public(address),
            "{address}, seed {seed}"
        );
        public += u32::from(is_public(address));
    }
    // Neither verdict is rare, or nothing was tried.
    assert!((200_000..800_000).contains(&public), "{public}");
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

fn socket(text: &str) -> SocketAddr {
    text.parse().expect("an address and a port")
}

#[test]
fn ports_and_own_addresses_are_rules_too() {
    let rules = Rules::new(&[80, 443], &[]);
    let own = ["203.0.114.7", "2a01:4f8::7"].map(|address| address.parse().expect("an address"));
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
