//! [`SharedSyncs`]: what many threads want synced at the same time is synced once for all of them.
//!
//! A sync puts on disk what was done before it began. Whoever asks while one runs is not covered by it, so it waits for the next one;
//! all that wait for the same one are covered together. One of them does it, so there is no thread of its own to wake.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// The syncs that run or are waited for, by what they sync.
#[derive(Debug, Default)]
pub(super) struct SharedSyncs {
    turns: Mutex<HashMap<String, Turns>>,
    ended: Condvar,
}

/// The syncs of one directory.
#[derive(Debug, Default)]
struct Turns {
    running: bool,
    /// The one after that.
    next: Arc<Turn>,
}

/// One sync.
#[derive(Debug, Default)]
struct Turn {
    outcome: Mutex<Option<Outcome>>,
}

/// What came of a sync, for each thread that shared it.
type Outcome = Result<(), (io::ErrorKind, Option<i32>)>;

impl SharedSyncs {
    /// Returns when `name` was synced by a call of `sync` that began after this call did: this one's, or another thread's for the
    /// same `name`. A failure is that of everybody who shared it.
    pub(super) fn share(
        &self,
        name: &str,
        sync: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<()> {
        let mut turns = lock(&self.turns);
        let turn = match turns.entry(name.to_owned()) {
            Entry::Occupied(entry) => entry.get().next.clone(),
            Entry::Vacant(entry) => entry.insert(Turns::default()).next.clone(),
        };
        loop {
            if let Some(outcome) = *lock(&turn.outcome) {
                return outcome.map_err(error_of);
            }
            match turns.get_mut(name) {
                Some(present) if !present.running => {
                    present.running = true;
                    present.next = Arc::default();
                    break;
                }
                _ => {
                    turns = self
                        .ended
                        .wait(turns)
                        .unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
        drop(turns);
        let outcome = sync();
        let mut turns = lock(&self.turns);
        *lock(&turn.outcome) = Some(match &outcome {
            Ok(()) => Ok(()),
            Err(error) => Err((error.kind(), error.raw_os_error())),
        });
        if let Entry::Occupied(mut entry) = turns.entry(name.to_owned()) {
            // Nobody else holds the next turn: nobody waits.
            if Arc::strong_count(&entry.get().next) == 1 {
                entry.remove();
            } else {
                entry.get_mut().running = false;
            }
        }
        drop(turns);
        self.ended.notify_all();
        outcome
    }
}

fn error_of((kind, code): (io::ErrorKind, Option<i32>)) -> io::Error {
    code.map_or_else(|| kind.into(), io::Error::from_raw_os_error)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::sync::mpsc::channel;
    use std::thread;

    /// Waits until so many threads wait for the next turn of `name`.
    fn until_waiting(syncs: &SharedSyncs, name: &str, waiting: usize) {
        while lock(&syncs.turns)
            .get(name)
            .is_none_or(|turns| Arc::strong_count(&turns.next) != waiting + 1)
        {
            thread::yield_now();
        }
    }

    #[test]
    fn those_who_come_during_a_sync_share_the_next() {
        let syncs = SharedSyncs::default();
        let ran = AtomicU32::new(0);
        let (go, wait) = channel();
        thread::scope(|scope| {
            let (syncs, ran) = (&syncs, &ran);
            scope.spawn(move || {
                syncs.share("d/ap5", || {
                    ran.fetch_add(1, Ordering::SeqCst);
                    wait.recv().map_err(io::Error::other)
                })
            });
            while ran.load(Ordering::SeqCst) == 0 {
                thread::yield_now();
            }
            for _ in 0..8 {
                scope.spawn(|| {
                    syncs.share("d/ap5", || {
                        ran.fetch_add(1, Ordering::SeqCst);
                        Ok(())
                    })
                });
            }
            until_waiting(syncs, "d/ap5", 8);
            assert_eq!(
                ran.load(Ordering::SeqCst),
                1,
                "the running one covers none of them"
            );
            syncs
                .share("m/ap5", || Ok(()))
                .expect("another directory does not wait");
            go.send(()).expect("it waits");
        });
        assert_eq!(ran.load(Ordering::SeqCst), 2);
        assert!(lock(&syncs.turns).is_empty(), "nothing is kept");
    }

    #[test]
    fn a_failure_is_that_of_everybody_who_shared_it_and_of_nobody_else() {
        let syncs = SharedSyncs::default();
        let (go, wait) = channel();
        let (begun, began) = channel();
        let outcomes: Vec<_> = thread::scope(|scope| {
            let syncs = &syncs;
            scope.spawn(move || {
                syncs.share("d/ap5", || {
                    begun.send(()).map_err(io::Error::other)?;
                    wait.recv().map_err(io::Error::other)
                })
            });
            began.recv().expect("it runs");
            let sharing: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| syncs.share("d/ap5", || Err(io::Error::from_raw_os_error(5))))
                })
                .collect();
            until_waiting(syncs, "d/ap5", 4);
            go.send(()).expect("it waits");
            sharing
                .into_iter()
                .map(|thread| thread.join().expect("no panic"))
                .collect()
        });
        for outcome in outcomes {
            assert_eq!(outcome.expect_err("it failed").raw_os_error(), Some(5));
        }
        syncs.share("d/ap5", || Ok(())).expect("the next may work");
    }
}
