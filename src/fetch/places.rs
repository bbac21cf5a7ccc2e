//! A counted number of places, waited for until a deadline: a semaphore whose permit can move to another thread.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Places that are taken and given back.
#[derive(Debug, Clone)]
pub(super) struct Places(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    free: Mutex<usize>,
    given_back: Condvar,
}

impl Places {
    /// `count` places, all free.
    pub(super) fn new(count: usize) -> Self {
        Self(Arc::new(Shared {
            free: Mutex::new(count),
            given_back: Condvar::new(),
        }))
    }

    /// Waits for a place; `None` when there is still none at the deadline.
    pub(super) fn take(&self, deadline: Instant) -> Option<Place> {
        let patience = deadline.saturating_duration_since(Instant::now());
        let (mut free, _) = self
            .0
            .given_back
            .wait_timeout_while(self.0.free(), patience, |free| *free == 0)
            .unwrap_or_else(PoisonError::into_inner);
        *free = free.checked_sub(1)?;
        Some(Place(Arc::clone(&self.0)))
    }
}

impl Shared {
    /// The count is right whatever happened to the thread that last held the lock.
    fn free(&self) -> MutexGuard<'_, usize> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One place, given back when dropped.
#[derive(Debug)]
pub(super) struct Place(Arc<Shared>);

impl Drop for Place {
    fn drop(&mut self) {
        *self.0.free() += 1;
        self.0.given_back.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;
    use std::time::Duration;

    #[test]
    fn a_place_is_had_once_and_again_when_given_back() {
        let places = Places::new(2);
        let now = Instant::now();
        let first = places.take(now).expect("the first place");
        let second = places.take(now).expect("the second place");
        assert!(places.take(now).is_none());
        assert!(places.take(now + Duration::from_millis(5)).is_none());
        drop(first);
        let third = places.take(now).expect("the place that was given back");
        assert!(places.take(now).is_none());
        drop((second, third));
    }

    #[test]
    fn who_waits_gets_the_place_that_another_thread_gives_back() {
        let places = Places::new(1);
        let place = places.take(Instant::now()).expect("a place");
        let waiting = places.clone();
        let waiter = thread::spawn(move || {
            waiting
                .take(Instant::now() + Duration::from_mins(1))
                .is_some()
        });
        thread::spawn(move || drop(place)).join().expect("no panic");
        assert!(waiter.join().expect("no panic"));
    }
}
