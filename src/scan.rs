//! Has a program of the operator's judge an image before it is published: `[images] scan_command`, a virus scanner or a classifier.

use std::fs::File;
use std::num::NonZero;
use std::process::Stdio;
use std::thread;
use std::time::Instant;

use crate::config;
use crate::program::{self, End};
use crate::semaphore::Semaphore;

/// The least number of programs that run at once.
const LEAST_CONCURRENT: usize = 2;

/// What the program says of an image. The texts are for the log.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// It may be published.
    Passed,
    /// It must not be published.
    Refused(String),
    /// The program could not judge it.
    Failed(String),
}

/// Runs the program, at most once for each processor at the same time.
#[derive(Debug)]
pub(crate) struct Scanner {
    settings: config::Scan,
    running: Semaphore,
}

impl Scanner {
    /// `None` if no program is configured.
    pub(crate) fn new(settings: &config::Scan) -> Option<Self> {
        let processors = thread::available_parallelism().map_or(1, NonZero::get);
        (!settings.command.is_empty()).then(|| Self {
            settings: settings.clone(),
            running: Semaphore::new(processors.max(LEAST_CONCURRENT)),
        })
    }

    /// Whether an image that the program could not judge is published.
    pub(crate) fn publishes_on_error(&self) -> bool {
        self.settings.on_error == config::ScanOnError::Publish
    }

    /// Runs the program with the image on its standard input. The time-out includes the wait for others to end.
    pub(crate) fn scan(&self, image: File) -> Verdict {
        let deadline = Instant::now() + self.settings.timeout();
        let Some(_permit) = self.running.acquire(deadline) else {
            return Verdict::Failed("the scans before it did not end in time".to_owned());
        };
        let left = deadline.saturating_duration_since(Instant::now());
        let run = program::run(&self.settings.command, Stdio::from(image), left);
        match run.end {
            _ if run.succeeded() => Verdict::Passed,
            End::Code(1) => Verdict::Refused(run.to_string()),
            _ => Verdict::Failed(run.to_string()),
        }
    }
}
