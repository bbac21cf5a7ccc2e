//! The rate limit on failed authentication.
//!
//! Many clients may share an address (NAT, a proxy), so wrong tokens count for an address and a client id together, and no failure ever
//! refuses the right token. Wrong ids count for the address, with a larger limit.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Failures are counted in windows of this length, which start at the same instant for every address.
const WINDOW: Duration = Duration::from_mins(1);

/// The most entries of each table in one window. An entry takes about 40 bytes.
const CAPACITY: usize = 65_536;

/// Wrong ids from one address, for each wrong token that it may send for one client.
const IDS_PER_TOKEN: u32 = 10;

/// Failed attempts. The tables are dropped at the end of each window, so their size is bounded.
#[derive(Debug)]
pub(crate) struct FailedAttempts {
    limit: u32,
    window: Mutex<Window>,
}

#[derive(Debug)]
struct Window {
    began: Instant,
    tokens: HashMap<(Network, i64), u32>,
    ids: HashMap<Network, u32>,
}

impl Window {
    fn new(began: Instant) -> Self {
        Self {
            began,
            tokens: HashMap::new(),
            ids: HashMap::new(),
        }
    }

    /// Seconds until the window ends, at least one.
    fn left(&self, now: Instant) -> u64 {
        let left = (self.began + WINDOW).saturating_duration_since(now);
        left.as_secs().max(1)
    }
}

/// Counts an attempt; how many there were with it. A full table holds no more keys, which takes a thousand new ones a second; those that
/// it holds stay limited.
fn count<K: Hash + Eq>(table: &mut HashMap<K, u32>, key: K) -> u32 {
    if table.len() >= CAPACITY && !table.contains_key(&key) {
        return 0;
    }
    let count = table.entry(key).or_default();
    *count = count.saturating_add(1);
    *count
}

/// The network that counts as one address: an IPv4 address or an IPv6 /64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Network {
    V4(Ipv4Addr),
    V6([u16; 4]),
    /// The web server passes no IP address: it listens on a Unix socket.
    Unknown,
}

impl From<Option<IpAddr>> for Network {
    fn from(address: Option<IpAddr>) -> Self {
        match address.map(|address| address.to_canonical()) {
            Some(IpAddr::V4(address)) => Self::V4(address),
            Some(IpAddr::V6(address)) => Self::V6(prefix_of(address)),
            None => Self::Unknown,
        }
    }
}

const fn prefix_of(address: Ipv6Addr) -> [u16; 4] {
    let [a, b, c, d, ..] = address.segments();
    [a, b, c, d]
}

impl FailedAttempts {
    /// Allows `limit` wrong tokens a minute for one client from one address, and ten times as many wrong ids from one address; 0 allows
    /// any number.
    pub(crate) fn new(limit: u32, now: Instant) -> Self {
        Self {
            limit,
            window: Mutex::new(Window::new(now)),
        }
    }

    /// Counts a wrong token for `client`. Over the limit, this fails with the seconds until the window ends, at least one, and the reply
    /// must not say what was wrong.
    pub(crate) fn wrong_token(
        &self,
        address: Option<IpAddr>,
        client: i64,
        now: Instant,
    ) -> Result<(), u64> {
        self.check(now, |window| {
            let network = address.into();
            // Otherwise an address that is over the limit of wrong ids could still tell by the reply which ids exist.
            let ids = window.ids.get(&network).copied().unwrap_or(0);
            ids > self.id_limit() || count(&mut window.tokens, (network, client)) > self.limit
        })
    }

    /// Counts a wrong id, and fails like [`Self::wrong_token`].
    pub(crate) fn wrong_id(&self, address: Option<IpAddr>, now: Instant) -> Result<(), u64> {
        self.check(now, |window| {
            count(&mut window.ids, address.into()) > self.id_limit()
        })
    }

    const fn id_limit(&self) -> u32 {
        self.limit.saturating_mul(IDS_PER_TOKEN)
    }

    fn check(&self, now: Instant, is_over: impl FnOnce(&mut Window) -> bool) -> Result<(), u64> {
        if self.limit == 0 {
            return Ok(());
        }
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_duration_since(window.began) >= WINDOW {
            *window = Window::new(now);
        }
        if is_over(&mut window) {
            return Err(window.left(now));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Option<IpAddr> {
        text.parse().ok()
    }

    #[test]
    fn wrong_tokens_are_limited_for_an_address_and_a_client_together() {
        let start = Instant::now();
        let attempts = FailedAttempts::new(10, start);
        let guest = address("192.0.2.1");
        for _ in 0..10 {
            assert_eq!(attempts.wrong_token(guest, 1, start), Ok(()));
        }
        let after = |milliseconds| start + Duration::from_millis(milliseconds);
        assert_eq!(attempts.wrong_token(guest, 1, after(20_000)), Err(40));
        assert_eq!(attempts.wrong_token(guest, 1, after(59_999)), Err(1));
        assert_eq!(attempts.wrong_token(guest, 2, start), Ok(()), "a client");
        let other = address("192.0.2.2");
        assert_eq!(attempts.wrong_token(other, 1, start), Ok(()), "an address");
        assert_eq!(attempts.wrong_token(guest, 1, start + WINDOW), Ok(()));
    }

    #[test]
    fn an_address_over_the_limit_of_wrong_ids_learns_of_no_client() {
        let start = Instant::now();
        let attempts = FailedAttempts::new(10, start);
        let guest = address("192.0.2.1");
        for _ in 0..100 {
            assert_eq!(attempts.wrong_id(guest, start), Ok(()));
        }
        assert_eq!(attempts.wrong_token(guest, 1, start), Ok(()));
        assert_eq!(attempts.wrong_id(guest, start), Err(60));
        assert_eq!(attempts.wrong_token(guest, 1, start), Err(60));
        assert_eq!(attempts.wrong_id(address("192.0.2.2"), start), Ok(()));
    }

    #[test]
    fn a_whole_ipv6_customer_is_one_address() {
        let start = Instant::now();
        let attempts = FailedAttempts::new(1, start);
        let wrong = |text| attempts.wrong_token(address(text), 1, start);
        assert_eq!(wrong("2001:db8:1:2::1"), Ok(()));
        assert!(wrong("2001:db8:1:2:ffff::9").is_err());
        assert_eq!(wrong("2001:db8:1:3::1"), Ok(()));
        assert_eq!(wrong("::ffff:192.0.2.7"), Ok(()));
        assert!(wrong("192.0.2.7").is_err());
    }

    #[test]
    fn requests_without_an_address_count_together() {
        let start = Instant::now();
        let attempts = FailedAttempts::new(1, start);
        assert_eq!(attempts.wrong_token(None, 1, start), Ok(()));
        assert!(attempts.wrong_token(None, 1, start).is_err());
    }

    #[test]
    fn the_tables_are_bounded() {
        let start = Instant::now();
        let attempts = FailedAttempts::new(1, start);
        for number in 0..=u32::try_from(CAPACITY).expect("fits") {
            let address = Some(IpAddr::V4(Ipv4Addr::from_bits(number)));
            assert_eq!(attempts.wrong_token(address, 1, start), Ok(()));
            assert_eq!(attempts.wrong_id(address, start), Ok(()));
        }
        let window = attempts.window.lock().expect("no panic");
        let sizes = (window.tokens.len(), window.ids.len());
        drop(window);
        assert_eq!(sizes, (CAPACITY, CAPACITY));
        assert!(attempts.wrong_token(address("0.0.0.0"), 1, start).is_err());
    }

    #[test]
    fn zero_is_no_limit() {
        let start = Instant::now();
        let attempts = FailedAttempts::new(0, start);
        for _ in 0..1_000 {
            assert_eq!(attempts.wrong_token(None, 1, start), Ok(()));
            assert_eq!(attempts.wrong_id(None, start), Ok(()));
        }
    }
}
