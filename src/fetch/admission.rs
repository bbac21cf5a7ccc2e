//! How many downloads run and wait, for all clients and for each one.
//!
//! A download needs a slow server's cooperation to end, so one client with hostile URLs must not occupy every slot: a client has a
//! quarter of them, and the time and the bytes of its downloads that bring no image are limited by a [`Budget`].

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::FetchError;
use crate::semaphore::{Permit, Semaphore};

/// A client may use one in so many of the permits.
const SHARE: usize = 4;

/// Time that failed downloads of one client may take, beyond what is regained. A download that fails at once counts as
/// [`LEAST_COST`].
const ALLOWANCE: Duration = Duration::from_mins(1);

/// The least that a failed download costs.
const LEAST_COST: Duration = Duration::from_millis(100);

/// A failed download costs a second for each so many bytes that it transferred, if that is more than the time it took.
const BYTES_PER_SECOND: u64 = 1 << 20;

/// Time regained in one second: half of one slot may fail for ever.
const REGAINED: f64 = 0.5;

/// Clients that are kept while they have no download and no debt.
const MAX_IDLE_CLIENTS: usize = 1_024;

/// Permits for downloads.
#[derive(Debug)]
pub(super) struct Admission {
    max_running: usize,
    max_admitted: usize,
    all: Permits,
    clients: Mutex<HashMap<i64, Arc<Client>>>,
}

/// The downloads of one client.
#[derive(Debug)]
struct Client {
    permits: Permits,
    budget: Mutex<Budget>,
}

#[derive(Debug)]
struct Permits {
    /// One for each download that runs.
    running: Semaphore,
    /// One for each download that runs or waits.
    admitted: Semaphore,
}

impl Permits {
    fn new(running: usize, admitted: usize) -> Self {
        Self {
            running: Semaphore::new(running),
            admitted: Semaphore::new(admitted),
        }
    }
}

impl Admission {
    /// Admits `max_running` downloads at once; further ones wait. Each holds a connection of the responder, of which half are left to
    /// uploads of files.
    pub(super) fn new(max_running: usize, max_connections: usize) -> Self {
        let max_admitted = max_running.max(max_connections / 2);
        Self {
            max_running,
            max_admitted,
            all: Permits::new(max_running, max_admitted),
            clients: Mutex::default(),
        }
    }

    /// Waits for a slot until `deadline`.
    pub(super) fn admit(&self, client: i64, deadline: Instant) -> Result<Slot, FetchError> {
        let client = self.client(client);
        let wait = client.budget().wait(Instant::now());
        if !wait.is_zero() {
            return Err(FetchError::Busy {
                cause: "the client's downloads failed too often",
                retry_after: wait.as_secs() + 1,
            });
        }
        let busy = |cause| FetchError::Busy {
            cause,
            retry_after: 1,
        };
        let admitted_of_client = client.permits.admitted.try_acquire();
        let admitted_of_client =
            admitted_of_client.ok_or(busy("too many downloads of the client wait"))?;
        let admitted = self.all.admitted.try_acquire();
        let admitted = admitted.ok_or(busy("too many downloads wait"))?;
        let running_of_client = client.permits.running.acquire(deadline);
        let running_of_client = running_of_client.ok_or(busy(
            "the client's other downloads did not end in time to begin this one",
        ))?;
        let running = self.all.running.acquire(deadline);
        let running = running.ok_or(busy(
            "other downloads did not end in time to begin this one",
        ))?;
        Ok(Slot {
            _permits: [running_of_client, running, admitted_of_client, admitted],
            client,
            since: Instant::now(),
            bytes: 0,
            succeeded: false,
        })
    }

    /// Charges a client for a download that arrived whole and is no image: the bytes that it transferred.
    pub(super) fn charge(&self, client: i64, bytes: u64) {
        let cost = cost(Duration::ZERO, bytes);
        self.client(client).budget().spend(cost, Instant::now());
    }

    fn client(&self, client: i64) -> Arc<Client> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if clients.len() >= MAX_IDLE_CLIENTS && !clients.contains_key(&client) {
            let now = Instant::now();
            clients.retain(|_, client| {
                Arc::strong_count(client) > 1 || !client.budget().debt(now).is_zero()
            });
        }
        let of_one = |permits: usize| (permits / SHARE).max(1);
        let client = clients.entry(client).or_insert_with(|| {
            Arc::new(Client {
                permits: Permits::new(of_one(self.max_running), of_one(self.max_admitted)),
                budget: Mutex::new(Budget::new(Instant::now())),
            })
        });
        Arc::clone(client)
    }
}

impl Client {
    fn budget(&self) -> MutexGuard<'_, Budget> {
        self.budget.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The permits of one running download, released on drop. The time since it began counts as failed unless [`Self::succeed`] is
/// called.
#[derive(Debug)]
pub(super) struct Slot {
    _permits: [Permit; 4],
    client: Arc<Client>,
    since: Instant,
    bytes: u64,
    succeeded: bool,
}

/// What a failed download costs.
fn cost(taken: Duration, bytes: u64) -> Duration {
    let transfer = Duration::from_millis(bytes.saturating_mul(1_000) / BYTES_PER_SECOND);
    taken.max(transfer).max(LEAST_COST)
}

impl Slot {
    /// Notes that bytes were transferred.
    pub(super) fn transferred(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_add(bytes);
    }

    pub(super) fn succeed(&mut self) {
        self.succeeded = true;
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if !self.succeeded {
            let now = Instant::now();
            let cost = cost(now.saturating_duration_since(self.since), self.bytes);
            self.client.budget().spend(cost, now);
        }
    }
}

/// A token bucket of time: holds [`ALLOWANCE`], refilled at [`REGAINED`].
#[derive(Debug)]
struct Budget {
    debt: Duration,
    as_of: Instant,
}

impl Budget {
    fn new(now: Instant) -> Self {
        Self {
            debt: Duration::ZERO,
            as_of: now,
        }
    }

    /// What was spent and not regained yet.
    fn debt(&self, now: Instant) -> Duration {
        let regained = now.saturating_duration_since(self.as_of).mul_f64(REGAINED);
        self.debt.saturating_sub(regained)
    }

    fn spend(&mut self, cost: Duration, now: Instant) {
        self.debt = self.debt(now) + cost;
        self.as_of = now;
    }

    /// The time until another download may be tried; zero if it may now.
    fn wait(&self, now: Instant) -> Duration {
        self.debt(now).saturating_sub(ALLOWANCE).div_f64(REGAINED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(admission: &Admission, client: i64) -> Option<Slot> {
        admission.admit(client, Instant::now()).ok()
    }

    fn retry_after(admission: &Admission, client: i64) -> Option<u64> {
        match admission.admit(client, Instant::now()) {
            Err(FetchError::Busy { retry_after, .. }) => Some(retry_after),
            _ => None,
        }
    }

    #[test]
    fn a_client_runs_a_quarter_of_the_downloads() {
        let admission = Admission::new(8, 256);
        let of_first = [slot(&admission, 1), slot(&admission, 1)];
        assert!(of_first.iter().all(Option::is_some));
        assert!(slot(&admission, 1).is_none());
        let of_others: Vec<_> = [2, 2, 3, 3, 4, 4]
            .iter()
            .map(|&client| slot(&admission, client))
            .collect();
        assert!(of_others.iter().all(Option::is_some));
        assert!(slot(&admission, 5).is_none(), "eight run");
        drop(of_first);
        assert!(slot(&admission, 5).is_some());
        assert!(slot(&admission, 1).is_some());
    }

    #[test]
    fn every_client_has_one_slot_at_least() {
        let admission = Admission::new(1, 1);
        let only = slot(&admission, 1);
        assert!(only.is_some() && slot(&admission, 2).is_none());
        drop(only);
        assert!(slot(&admission, 2).is_some());
    }

    #[test]
    fn failed_downloads_use_up_the_budget_of_their_client_only() {
        let admission = Admission::new(8, 256);
        let fail = |taken| {
            let mut slot = slot(&admission, 1).expect("a slot");
            slot.since = Instant::now().checked_sub(taken).expect("after boot");
        };
        for _ in 0..2 {
            fail(Duration::from_secs(40));
        }
        assert!(retry_after(&admission, 1).is_some_and(|seconds| (20..=41).contains(&seconds)));
        let mut other = slot(&admission, 2).expect("another client has its own budget");
        other.since = Instant::now()
            .checked_sub(Duration::from_mins(5))
            .expect("after boot");
        other.succeed();
        drop(other);
        assert!(slot(&admission, 2).is_some(), "success costs nothing");
    }

    #[test]
    fn bytes_that_bring_no_image_use_up_the_budget() {
        const LARGEST: u64 = 10 << 20;
        let admission = Admission::new(8, 256);
        for _ in 0..4 {
            let mut slot = slot(&admission, 1).expect("a slot");
            slot.transferred(LARGEST);
        }
        // Two that arrived whole and are no images.
        for _ in 0..2 {
            let mut slot = slot(&admission, 1).expect("a slot");
            slot.transferred(LARGEST);
            slot.succeed();
            drop(slot);
            admission.charge(1, LARGEST);
        }
        admission.charge(1, LARGEST);
        assert!(retry_after(&admission, 1).is_some_and(|seconds| (15..=21).contains(&seconds)));
        assert!(slot(&admission, 2).is_some(), "another client");
    }

    #[test]
    fn quick_failures_cost_little_and_are_regained() {
        let now = Instant::now();
        let mut budget = Budget::new(now);
        for _ in 0..600 {
            assert!(budget.wait(now).is_zero());
            budget.spend(LEAST_COST, now);
        }
        budget.spend(Duration::from_secs(10), now);
        let after = |seconds| now + Duration::from_secs(seconds);
        assert_eq!(budget.wait(now), Duration::from_secs(20));
        assert_eq!(budget.wait(after(15)), Duration::from_secs(5));
        assert!(budget.wait(after(20)).is_zero());
        assert!(budget.debt(after(140)).is_zero());
    }

    #[test]
    fn clients_without_downloads_are_dropped() {
        let admission = Admission::new(8, 256);
        let held = slot(&admission, -1);
        drop(slot(&admission, -2));
        for client in 0..5_000 {
            slot(&admission, client).expect("a slot").succeed();
        }
        let clients = admission.clients.lock().expect("no panic");
        assert!(clients.len() <= MAX_IDLE_CLIENTS, "{}", clients.len());
        assert!(held.is_some() && clients.contains_key(&-1), "it runs");
        assert!(clients.contains_key(&-2), "it failed");
    }
}
