//! Group commit of whole uploads: one thread puts the bytes of all that wait on disk with one sync, and their names with one more for
//! each directory.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use time::UtcDateTime;

use super::batches::{Batches, stopped};
use super::recorder::Recorded;
use super::{Alone, GROUP_UNTIL, Outcome, Steps, Upload};
use crate::error::Fault;
use crate::image_path::ImagePath;
use crate::log::Line;
use crate::store::{Publication, PublishError, copy_of};

/// The name of the group's thread.
const NAME: &str = "group";

/// The group's thread. Dropped, it finishes what it was given.
#[derive(Debug)]
pub(super) struct Group {
    batches: Batches<Member>,
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
        self.outcome.recv().map_err(|_| stopped(NAME))?
    }
}

impl Group {
    pub(super) fn start(steps: Arc<Steps>) -> io::Result<Self> {
        let batches = Batches::start(NAME, steps.clock, move |group: Vec<Member>| {
            if group.len() < GROUP_UNTIL {
                steps.in_groups.store(false, Ordering::Relaxed);
            }
            commit(&steps, group);
        })?;
        Ok(Self { batches })
    }

    /// Takes an upload into the next group.
    pub(super) fn join(&self, upload: Upload) -> Result<Seat, Fault> {
        let (done, outcome) = sync_channel(1);
        self.batches.add(Member { upload, done })?;
        Ok(Seat { outcome })
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
            member.finish(Err(Fault::saving(copy_of(&error))));
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
    let entries: Vec<_> = group.iter().map(|member| member.upload.entry()).collect();
    let outcomes = steps.recorder.record_now(&entries);
    let mut named = Vec::with_capacity(group.len());
    for (member, outcome) in group.into_iter().zip(outcomes) {
        match outcome {
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
            member,
            path,
            used,
            at,
        } = named;
        match published {
            Ok(()) => {
                let expiry = member.upload.duration.expiry(at);
                member.finish(Ok(Outcome::Stored {
                    path,
                    expiry,
                    used,
                    at,
                }));
            }
            Err(PublishError::NameTaken) => {
                let _ = member.done.send(again(steps, member.upload));
            }
            Err(error) => member.finish(Err(error.into())),
        }
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
