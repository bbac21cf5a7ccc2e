//! Group commit of whole uploads: one thread puts the bytes of all that wait on disk with one sync, and their names with one more for
//! each directory.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{self, JoinHandle};

use time::UtcDateTime;

use super::recorder::{LARGEST_BATCH, Recorded};
use super::{Alone, GROUP_UNTIL, Outcome, Steps, Upload, panic_text};
use crate::error::Fault;
use crate::log::Line;
use crate::store::path::ImagePath;
use crate::store::{Publication, PublishError};

/// The group's thread. Dropped, it finishes what it was given.
#[derive(Debug)]
pub(super) struct Group {
    queue: Option<Sender<Member>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Member {
    upload: Upload,
    done: SyncSender<Result<Outcome, Fault>>,
}

/// A place in the next group.
#[derive(Debug)]
pub(super) struct Seat {
    outcome: Receiver<Result<Outcome, Fault>>,
}

impl Seat {
    /// Waits until the group is committed.
    pub(super) fn wait(self) -> Result<Outcome, Fault> {
        self.outcome.recv().map_err(|_| gone())?
    }
}

impl Group {
    pub(super) fn start(steps: Arc<Steps>) -> io::Result<Self> {
        let (queue, members) = channel();
        let thread = thread::Builder::new()
            .name("group".to_owned())
            .spawn(move || run(&steps, &members))?;
        Ok(Self {
            queue: Some(queue),
            thread: Some(thread),
        })
    }

    /// Takes an upload into the next group.
    pub(super) fn join(&self, upload: Upload) -> Result<Seat, Fault> {
        let (done, outcome) = sync_channel(1);
        let queue = self.queue.as_ref().ok_or_else(gone)?;
        queue.send(Member { upload, done }).map_err(|_| gone())?;
        Ok(Seat { outcome })
    }
}

fn gone() -> Fault {
    Fault::Internal("the group's thread has stopped".to_owned())
}

impl Drop for Group {
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(steps: &Steps, members: &Receiver<Member>) {
    while let Ok(first) = members.recv() {
        let mut group = vec![first];
        group.extend(members.try_iter().take(LARGEST_BATCH - 1));
        if group.len() < GROUP_UNTIL {
            steps.in_groups.store(false, Ordering::Relaxed);
        }
        // A panic here would end uploads for good. The members it drops wake their requests with an error.
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| commit(steps, group))) {
            let cause = panic_text(&*panic);
            Line::new((steps.clock)(), "panic")
                .field("thread", "group")
                .field("cause", cause)
                .write();
        }
    }
}

/// A member whose row is on disk.
struct Named {
    member: Member,
    path: ImagePath,
    used: u32,
    at: UtcDateTime,
}

/// Commits a group: its bytes, its rows, its names.
fn commit(steps: &Steps, mut group: Vec<Member>) {
    if let Err(error) = seal(steps, &mut group) {
        Line::new((steps.clock)(), "group_refused")
            .field("images", group.len())
            .field("cause", &error)
            .write();
        for member in group {
            let error = io::Error::new(error.kind(), error.to_string());
            member.finish(Err(Fault::saving(error)));
        }
        return;
    }
    let mut named = record(steps, group);
    let published = publish(steps, &mut named);
    answer(steps, named, published);
}

fn seal(steps: &Steps, group: &mut [Member]) -> io::Result<()> {
    let now = (steps.clock)();
    let mut spools: Vec<_> = group
        .iter_mut()
        .map(|Member { upload, .. }| (&mut upload.spool, upload.duration.expiry(now)))
        .collect();
    steps.store.seal_together(&mut spools)
}

/// The members that have a row now; the others are answered.
fn record(steps: &Steps, group: Vec<Member>) -> Vec<Named> {
    let entries = group.iter().map(|member| member.upload.entry());
    let tickets = steps.recorder.record_now(entries);
    let mut named = Vec::with_capacity(group.len());
    for (member, ticket) in group.into_iter().zip(tickets) {
        match ticket.wait() {
            Ok(Recorded::Named { path, used, at }) => named.push(Named {
                member,
                path,
                used,
                at,
            }),
            Ok(Recorded::Exhausted { used, at }) => {
                member.finish(Ok(Outcome::Exhausted { used, at }));
            }
            Err(fault) => member.finish(Err(fault)),
        }
    }
    named
}

fn publish(steps: &Steps, named: &mut [Named]) -> Vec<Result<(), PublishError>> {
    let mut publications: Vec<_> = named
        .iter_mut()
        .map(|named| Publication {
            expiry: named.member.upload.duration.expiry(named.at),
            spool: &mut named.member.upload.spool,
            path: &named.path,
        })
        .collect();
    steps.store.publish_together(&mut publications)
}

/// Tells each member what became of it, after the rows of those that failed were taken back.
fn answer(steps: &Steps, named: Vec<Named>, published: Vec<Result<(), PublishError>>) {
    let failed: Vec<_> = named
        .iter()
        .zip(&published)
        .filter(|(_, published)| published.is_err())
        .map(|(named, _)| named.path.clone())
        .collect();
    steps.withdraw(&failed);
    for (named, published) in named.into_iter().zip(published) {
        let Named {
            member: Member { upload, done },
            path,
            used,
            at,
        } = named;
        let outcome = match published {
            Ok(()) => Ok(Outcome::Stored {
                expiry: upload.duration.expiry(at),
                path,
                used,
                at,
            }),
            Err(PublishError::NameTaken) => {
                let _ = done.send(again(steps, upload));
                continue;
            }
            Err(error) => Err(error.into()),
        };
        Member { upload, done }.finish(outcome);
    }
}

/// Another try under another name, on its own; the bytes are on disk already.
fn again(steps: &Steps, upload: Upload) -> Result<Outcome, Fault> {
    steps.finish(Alone {
        ticket: steps.recorder.record(upload.entry())?,
        sealed: Ok(()),
        upload,
    })
}

impl Member {
    fn finish(self, outcome: Result<Outcome, Fault>) {
        // What is left of a refused upload is gone before anybody hears of it.
        drop(self.upload);
        // Somebody always waits, unless that request's thread panicked.
        let _ = self.done.send(outcome);
    }
}
