//! Purges images that are not served any more from a CDN in front of the site, by `[site] purge_command`.
//!
//! The queue is in the ledger, so that a process which dies loses none. The responder, the sweep and the operator's commands take from
//! it; no request waits for it. A call that fails is made again, after ten seconds, then after ever longer pauses, for a week.

use std::process::Stdio;
use std::sync::Weak;
use std::thread;
use std::time::Duration;

use time::UtcDateTime;

use crate::config::{Config, PurgeCommand};
use crate::image_path::ImagePath;
use crate::ledger::{Ledger, LedgerError, Purge};
use crate::log::Line;
use crate::program;
use crate::timestamp::Timestamp;

/// How long one call may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// URLs of an image: the image itself and its viewer page.
const URLS_PER_IMAGE: usize = 2;

/// The pause after the first failure; each later one is four times as long, at most [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(10);
const LONGEST_PAUSE: Duration = Duration::from_hours(1);

/// Seconds after which an image that could not be purged is given up.
const GIVEN_UP_AFTER: i64 = 7 * 86_400;

/// How often the responder looks for images to be purged.
const POLL: Duration = Duration::from_secs(1);

/// Takes images from the queue and purges their URLs.
#[derive(Clone, Copy)]
pub(crate) struct Purger<'a> {
    /// The program that purges them, with its arguments.
    pub command: &'a PurgeCommand,
    /// Scheme and host of the URLs.
    pub public_url: &'a str,
    /// The queue.
    pub ledger: &'a dyn Ledger,
    /// Gives the instant of each round.
    pub clock: fn() -> UtcDateTime,
}

/// What rounds of a [`Purger`] did.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Purged {
    /// Images whose URLs the CDN has forgotten.
    pub images: u64,
    /// The failure of the last round.
    pub failure: Option<PurgeFailure>,
}

/// A call that failed. Its images are tried again later, or given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PurgeFailure {
    /// How the program ended, and what it said.
    pub cause: String,
    /// One of the images.
    pub path: ImagePath,
    /// Failed calls for that image so far.
    pub attempts: u32,
    /// How many images were given up.
    pub given_up: usize,
}

impl PurgeFailure {
    /// Writes a line to the log.
    pub(crate) fn log(&self, now: UtcDateTime) {
        Line::new(now, "purge_failed")
            .field("path", &self.path)
            .field("attempts", self.attempts)
            .field("given_up", self.given_up)
            .field("cause", &self.cause)
            .write();
    }
}

impl<'a> Purger<'a> {
    /// `None` without a `purge_command`.
    pub(crate) fn new(config: &'a Config, ledger: &'a dyn Ledger) -> Option<Self> {
        Some(Self {
            command: config.site.purge_command.as_ref()?,
            public_url: config.site.public_url(),
            ledger,
            clock: UtcDateTime::now,
        })
    }

    /// Purges what is due, until nothing is, a call fails, or `rounds` calls were made.
    pub(crate) fn run(&self, rounds: usize) -> Result<Purged, LedgerError> {
        let mut purged = Purged::default();
        for _ in 0..rounds {
            let due = self.claim()?;
            if due.is_empty() {
                break;
            }
            match self.call(&due) {
                Ok(()) => {
                    self.ledger.finish_purges(&due)?;
                    purged.images += due.len() as u64;
                }
                Err(cause) => {
                    purged.failure = self.defer(&due, cause)?;
                    break;
                }
            }
        }
        Ok(purged)
    }

    fn claim(&self) -> Result<Vec<Purge>, LedgerError> {
        let images = (self.command.urls_per_call() / URLS_PER_IMAGE).max(1);
        let now = (self.clock)();
        // Longer than the calls take, so that no other process makes them, too.
        let until = now + TIMEOUT * 2 + FIRST_PAUSE;
        let limit = u32::try_from(images).unwrap_or(u32::MAX);
        self.ledger.claim_purges(now, until, limit)
    }

    fn call(&self, due: &[Purge]) -> Result<(), String> {
        let urls: Vec<_> = due
            .iter()
            .flat_map(|purge| self.urls(&purge.path))
            .collect();
        for urls in urls.chunks(self.command.urls_per_call()) {
            let run = program::run(&self.command.call(urls), Stdio::null(), TIMEOUT);
            if !run.succeeded() {
                return Err(run.to_string());
            }
        }
        Ok(())
    }

    fn urls(&self, path: &ImagePath) -> [String; URLS_PER_IMAGE] {
        [
            path.direct_url(self.public_url),
            path.viewer_url(self.public_url),
        ]
    }

    fn defer(&self, due: &[Purge], cause: String) -> Result<Option<PurgeFailure>, LedgerError> {
        let now = (self.clock)();
        let is_given_up = |purge: &&Purge| purge.since < Timestamp::from(now).minus(GIVEN_UP_AFTER);
        let (given_up, deferred): (Vec<_>, Vec<_>) = due.iter().partition(is_given_up);
        let failure = due.first().map(|first| PurgeFailure {
            cause,
            path: first.path.clone(),
            attempts: first.attempts + 1,
            given_up: given_up.len(),
        });
        let given_up: Vec<_> = given_up.into_iter().cloned().collect();
        self.ledger.finish_purges(&given_up)?;
        let deferred: Vec<_> = deferred
            .into_iter()
            .map(|purge| (purge.path.clone(), now + pause_after(purge.attempts)))
            .collect();
        self.ledger.defer_purges(&deferred)?;
        Ok(failure)
    }
}

/// The pause after a failure that so many others preceded.
fn pause_after(failures: u32) -> Duration {
    let factor = 4_u32.checked_pow(failures).unwrap_or(u32::MAX);
    FIRST_PAUSE.saturating_mul(factor).min(LONGEST_PAUSE)
}

/// Purges what comes into the queue, as long as the ledger is in use. It is held during a call only, so that it is closed at the end of
/// the process.
pub(crate) fn run_while_in_use(config: &Config, ledger: &Weak<dyn Ledger>) {
    while let Some(ledger) = ledger.upgrade() {
        let Some(purger) = Purger::new(config, &*ledger) else {
            return;
        };
        match purger.run(1) {
            Ok(purged) => {
                if let Some(failure) = purged.failure {
                    failure.log((purger.clock)());
                } else if purged.images > 0 {
                    Line::new((purger.clock)(), "purged")
                        .field("images", purged.images)
                        .write();
                    continue;
                }
            }
            Err(error) => Line::new((purger.clock)(), "purge_failed")
                .field("cause", error)
                .write(),
        }
        drop(ledger);
        thread::sleep(POLL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_an_hour() {
        let seconds = [0, 1, 2, 3, 4, 5, 40].map(|failures| pause_after(failures).as_secs());
        assert_eq!(seconds, [10, 40, 160, 640, 2_560, 3_600, 3_600]);
    }
}
