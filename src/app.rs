//! The state that every request is answered with.

use std::sync::Arc;

use time::UtcDateTime;

use crate::auth::attempts::FailedAttempts;
use crate::config::Config;
use crate::error::Fault;
use crate::fetch::Fetcher;
use crate::ledger::Ledger;
use crate::ledger::committer::Committer;
use crate::metrics::Metrics;
use crate::store::Store;

/// Configuration, ledger, store and clock, with what is shared between requests.
pub struct App {
    pub(crate) config: Config,
    pub(crate) ledger: Arc<dyn Ledger>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) committer: Committer,
    pub(crate) fetcher: Fetcher,
    pub(crate) attempts: FailedAttempts,
    pub(crate) metrics: Metrics,
    pub(crate) clock: fn() -> UtcDateTime,
}

impl App {
    /// Fails while the docroot's file system has fewer than `min_free` bytes free.
    pub(crate) fn check_free_space(&self) -> Result<(), Fault> {
        let free = self.store.free_bytes().map_err(Fault::saving)?;
        if free < self.config.storage.min_free() {
            Err(Fault::InsufficientStorage { free })
        } else {
            Ok(())
        }
    }
}
