//! The rate limit on failed authentication, per address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Failures are counted in windows of this length, which start at the same instant for every address.
const WINDOW: Duration = Duration::from_mins(1);

/// The most addresses of one window. Each takes about 40 bytes.
const CAPACITY: usize = 65_536;

/// Failed attempts by address. The table is dropped at the end of each window, so its size is bounded.
#[derive(Debug)]
pub(crate) struct FailedAttempts {
    limit: u32,
    window: Mutex<Window>,
}

#[derive(Debug)]
struct Window {
    began: Instant,
    counts: HashMap<Network, u32>,
}

impl Window {
    /// Seconds until the window ends, at least one.
    fn left(&self, now: Instant) -> u64 {
        let left = (self.began + WINDOW).saturating_duration_since(now);
        left.as_secs().max(1)
    }
}

/// The network that counts as one address: an IPv4 address or an IPv6 /64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Network {
    V4(Ipv4Addr),
    V6([u16; 4]),
}

impl From<IpAddr> for Network {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::V4(address),
            IpAddr::V6(address) => match address.to_ipv4_mapped() {
                Some(mapped) => Self::V4(mapped),
                None => Self::V6(prefix_of(address)),
            },
        }
    }
}

const fn prefix_of(address: Ipv6Addr) -> [u16; 4] {
    let [a, b, c, d, ..] = address.segments();
    [a, b, c, d]
}

impl FailedAttempts {
    /// Allows `limit` failures a minute from one address; 0 allows any number.
    pub(crate) fn new(limit: u32, now: Instant) -> Self {
        Self {
            limit,
            window: Mutex::new(Window {
                began: now,
                counts: HashMap::new(),
            }),
        }
    }

    /// Fails while `address` is over the limit, with the seconds until it may try again, at least one.
    pub(crate) fn admit(&self, address: IpAddr, now: Instant) -> Result<(), u64> {
        if self.limit == 0 {
            return Ok(());
        }
        let window = self.window_at(now);
        match window.counts.get(&address.into()) {
            Some(&count) if count >= self.limit => Err(window.left(now)),
            _ => Ok(()),
        }
    }

    /// Counts a failure. Concurrent attempts may exceed the limit after they were admitted: then this fails with the seconds until the
    /// address may try again, and the reply must not say what was wrong.
    pub(crate) fn failed(&self, address: IpAddr, now: Instant) -> Result<(), u64> {
        if self.limit == 0 {
            return Ok(());
        }
        let mut window = self.window_at(now);
        let network = address.into();
        // The table is full after a thousand new addresses a second. Those that it holds stay limited.
        if window.counts.len() < CAPACITY || window.counts.contains_key(&network) {
            let count = window.counts.entry(network).or_default();
            *count = count.saturating_add(1);
            if *count > self.limit {
                return Err(window.left(now));
            }
        }
        Ok(())
    }

    fn window_at(&self, now: Instant) -> std::sync::MutexGuard<'_, Window> {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_duration_since(window.began) >= WINDOW {
            *window = Window {
                began: now,
                counts: HashMap::new(),
            };
        }
        window
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect(text)
    }

    #[test]
    fn the_attempt_after_the_limit_is_refused_until_the_window_ends() {
        let start = Instant::now();
        let attempts = FailedAttempts::new(10, start);
        let guest = address("192.0.2.1");
        for _ in 0..10 {
            assert_eq!(attempts.admit(guest, start), Ok(()));
            assert_eq!(attempts.failed(guest, start), Ok(()));
        }
        assert_eq!(
            attempts.admit(guest, start + Duration::from_secs(20)),
            Err(40)
        );
        assert_eq!(
            attempts.admit(guest, start + Duration::from_millis(59_999)),
            Err(1)
        );
        assert_eq!(
            attempts.admit(address("192.0.2.2"), start),
            Ok(()),
            "another address"
        );
        // One that was admitted before and is only now found wrong.
        assert_eq!(
            attempts.failed(guest, start + Duration::from_secs(30)),
            Err(30)
        );
        assert_eq!(attempts.admit(guest, start + WINDOW), Ok(()));
    }

    #[test]
    fn a_whole_ipv6_customer_is_one_address() {
        let start = Instant::now();
        let attempts = FailedAttempts::new(1, start);
        assert_eq!(attempts.failed(address("2001:db8:1:2::1"), start), Ok(()));
        assert!(
            attempts
                .admit(address("2001:db8:1:2:ffff::9"), start)
                .is_err()
        );
        assert!(attempts.admit(address("2001:db8:1:3::1"), start).is_ok());
        assert_eq!(attempts.failed(address("::ffff:192.0.2.7"), start), Ok(()));
        assert!(attempts.admit(address("192.0.2.7"), start).is_err());
    }

    #[test]
    fn the_table_is_bounded() {
        let start = Instant::now();
        let attempts = FailedAttempts::new(1, start);
        for number in 0..=u32::try_from(CAPACITY).expect("fits") {
            assert_eq!(
                attempts.failed(IpAddr::V4(Ipv4Addr::from_bits(number)), start),
                Ok(())
            );
        }
        assert_eq!(attempts.window_at(start).counts.len(), CAPACITY);
        assert!(attempts.admit(address("0.0.0.0"), start).is_err());
    }

    #[test]
    fn zero_is_no_limit() {
        let start = Instant::now();
        let attempts = FailedAttempts::new(0, start);
        for _ in 0..1_000 {
            assert_eq!(attempts.failed(address("192.0.2.1"), start), Ok(()));
        }
        assert_eq!(attempts.admit(address("192.0.2.1"), start), Ok(()));
    }
}
