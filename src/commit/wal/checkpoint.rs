//! The checkpoint: makes durable what segments describe, so that they can be written again.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use super::log::{Filled, Log};
use super::{Site, record, recovery};
use crate::error::Fault;
use crate::image_path::ImagePath;
use crate::log::{Line, panic_text};

/// A log, and what is made durable before its segments are free again.
pub(super) struct Checkpoints {
    pub(super) log: Arc<Log>,
    pub(super) site: Site,
}

/// The thread of the checkpoints. Dropping it checkpoints what is left.
#[derive(Debug)]
pub(super) struct Checkpointer {
    log: Arc<Log>,
    thread: Option<JoinHandle<()>>,
}

impl Checkpointer {
    pub(super) fn start(checkpoints: Checkpoints) -> io::Result<Self> {
        let log = Arc::clone(&checkpoints.log);
        let thread = thread::Builder::new()
            .name("checkpoint".to_owned())
            .spawn(move || {
                while let Some(filled) = checkpoints.log.take_due() {
                    checkpoints.run(filled);
                }
            })?;
        Ok(Self {
            log,
            thread: Some(thread),
        })
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        self.log.close();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Checkpoints {
    /// Tries until it succeeds, or until the log closes; then the records are left to the next recovery.
    fn run(&self, filled: Vec<Filled>) {
        let began = Instant::now();
        for filled in &filled {
            filled.wait_until_published();
        }
        let mut files_failed = false;
        loop {
            let tried = catch_unwind(AssertUnwindSafe(|| {
                self.make_durable(&filled, &mut files_failed)
            }));
            let failure = match tried {
                Ok(Ok(())) => break,
                Ok(Err(fault)) => fault.to_string(),
                Err(panic) => panic_text(&*panic).to_owned(),
            };
            Line::new((self.site.clock)(), "checkpoint_failed")
                .field("segments", filled.len())
                .field("cause", &failure)
                .write();
            if !self.log.wait_after(failure) {
                return;
            }
        }
        (self.site.observe)(began.elapsed());
        self.log.release(filled);
    }

    /// Files, their directories, then the ledger. After a failed sync the kernel may report success for bytes that it has dropped, so
    /// from then on the files are compared with their records and written anew.
    pub(super) fn make_durable(
        &self,
        filled: &[Filled],
        files_failed: &mut bool,
    ) -> Result<(), Fault> {
        if !*files_failed {
            let paths: Vec<ImagePath> = filled
                .iter()
                .flat_map(|filled| filled.images.iter().cloned())
                .collect();
            if let Err(error) = self.site.store.sync(&paths) {
                *files_failed = true;
                Line::new((self.site.clock)(), "files_rewritten")
                    .field("images", paths.len())
                    .field("cause", error)
                    .write();
            }
        }
        if *files_failed {
            self.rewrite(filled)?;
        }
        let last_lsn = filled.iter().map(|filled| filled.last_lsn).max();
        if let Some(lsn) = last_lsn.filter(|&lsn| lsn > 0) {
            self.site.ledger.checkpoint(lsn)?;
        }
        Ok(())
    }

    fn rewrite(&self, filled: &[Filled]) -> Result<(), Fault> {
        for filled in filled {
            let bytes = filled.segment.read().map_err(Fault::SaveImage)?;
            for record in record::records(&bytes) {
                let is_acknowledged = record.lsn <= filled.last_lsn;
                let (ledger, store) = (&*self.site.ledger, &*self.site.store);
                if is_acknowledged && recovery::is_served(&record, ledger, store)? {
                    recovery::rewrite(&record, ledger, store)?;
                }
            }
        }
        Ok(())
    }
}
