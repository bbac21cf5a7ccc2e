//! A counting semaphore with a deadline, whose permits can move to another thread.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// A fixed number of permits.
#[derive(Debug, Clone)]
pub(crate) struct Semaphore(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    released: Condvar,
}

#[derive(Debug)]
struct State {
    available: usize,
    waiting: usize,
}

impl Semaphore {
    /// A semaphore of `permits` permits, all available.
    pub(crate) fn new(permits: usize) -> Self {
        Self(Arc::new(Shared {
            state: Mutex::new(State {
                available: permits,
                waiting: 0,
            }),
            released: Condvar::new(),
        }))
    }

    /// Takes a permit if one is available.
    pub(crate) fn try_acquire(&self) -> Option<Permit> {
        self.acquire(Instant::now())
    }

    /// Waits for a permit; `None` if none is available by the deadline.
    pub(crate) fn acquire(&self, deadline: Instant) -> Option<Permit> {
        let mut state = self.0.lock();
        while state.available == 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            state.waiting += 1;
            let waited = self.0.released.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            state.waiting -= 1;
        }
        state.available -= 1;
        Some(Permit(Arc::clone(&self.0)))
    }
}

impl Shared {
    /// Locks the counts, which stay right if a thread panics: no panic is possible while they are changed.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A permit, released on drop.
#[derive(Debug)]
pub(crate) struct Permit(Arc<Shared>);

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.available += 1;
        // Notifying is a system call even if no thread waits.
        if state.waiting > 0 {
            self.0.released.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;
    use std::time::Duration;

    #[test]
    fn a_permit_is_given_out_once_and_again_after_its_release() {
        let semaphore = Semaphore::new(2);
        let first = semaphore.try_acquire().expect("the first permit");
        let second = semaphore.try_acquire().expect("the second permit");
        assert!(semaphore.try_acquire().is_none());
        let soon = Instant::now() + Duration::from_millis(5);
        assert!(semaphore.acquire(soon).is_none());
        drop(first);
        let third = semaphore.try_acquire().expect("the released permit");
        assert!(semaphore.try_acquire().is_none());
        drop((second, third));
    }

    #[test]
    fn a_waiting_thread_gets_the_permit_that_another_thread_releases() {
        let semaphore = Semaphore::new(1);
        let permit = semaphore.try_acquire().expect("a permit");
        let waiting = semaphore.clone();
        let waiter = thread::spawn(move || {
            waiting
                .acquire(Instant::now() + Duration::from_mins(1))
                .is_some()
        });
        while semaphore.0.lock().waiting == 0 {
            thread::yield_now();
        }
        thread::spawn(move || drop(permit))
            .join()
            .expect("no panic");
        assert!(waiter.join().expect("no panic"));
    }
}
