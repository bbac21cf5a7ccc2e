//! A thread that takes all that waits for it, and works on it at once.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};

use time::UtcDateTime;

use crate::error::Fault;
use crate::log::{Line, panic_text};

/// The most of a batch; a limit on how long one of them can wait for the others.
const LARGEST: usize = 256;

/// The thread and what waits for it. Dropped, it finishes what it was given.
#[derive(Debug)]
pub(super) struct Batches<T> {
    name: &'static str,
    queue: Option<Sender<T>>,
    thread: Option<JoinHandle<()>>,
}

impl<T: Send + 'static> Batches<T> {
    /// Starts a thread of this name, which calls `work` with whatever waits. One that waits alone does not wait for company.
    pub(super) fn start(
        name: &'static str,
        clock: fn() -> UtcDateTime,
        work: impl Fn(Vec<T>) + Send + 'static,
    ) -> io::Result<Self> {
        let (queue, waiting) = channel();
        let thread = thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                while let Ok(first) = waiting.recv() {
                    let mut batch = vec![first];
                    batch.extend(waiting.try_iter().take(LARGEST - 1));
                    // A panic here would end uploads for good. What it drops wakes the requests that wait with an error.
                    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| work(batch))) {
                        Line::new(clock(), "panic")
                            .field("thread", name)
                            .field("cause", panic_text(&*panic))
                            .write();
                    }
                }
            })?;
        Ok(Self {
            name,
            queue: Some(queue),
            thread: Some(thread),
        })
    }

    /// Takes one into the next batch.
    pub(super) fn add(&self, one: T) -> Result<(), Fault> {
        let queue = self.queue.as_ref().ok_or_else(|| stopped(self.name))?;
        queue.send(one).map_err(|_| stopped(self.name))
    }
}

/// What is said to those who wait for a thread that does not answer any more.
pub(super) fn stopped(name: &str) -> Fault {
    Fault::Internal(format!("the {name} has stopped"))
}

impl<T> Drop for Batches<T> {
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
