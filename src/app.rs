//! The state that every request is answered with.

use std::sync::Arc;

use time::UtcDateTime;

use crate::auth::attempts::FailedAttempts;
use crate::block_list::BlockList;
use crate::commit::Committer;
use crate::config::Config;
use crate::delete_key::DeleteKeys;
use crate::error::Fault;
use crate::fetch::Fetcher;
use crate::idempotency::InProgress;
use crate::ledger::Ledger;
use crate::metrics::Metrics;
use crate::scan::Scanner;
use crate::store::{Space, Store};
use crate::token_uses::TokenUses;

/// Configuration, ledger, store and clock, with what is shared between requests.
pub(crate) struct App {
    pub(crate) config: Config,
    pub(crate) ledger: Arc<dyn Ledger>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) committer: Committer,
    pub(crate) fetcher: Fetcher,
    pub(crate) block_list: BlockList,
    pub(crate) attempts: FailedAttempts,
    pub(crate) token_uses: Arc<TokenUses>,
    pub(crate) scanner: Option<Scanner>,
    pub(crate) delete_keys: DeleteKeys,
    pub(crate) keyed_uploads: InProgress,
    pub(crate) metrics: Metrics,
    pub(crate) clock: fn() -> UtcDateTime,
}

impl App {
    /// Fails while the store has fewer than `min_free` bytes left, or cannot be written.
    pub(crate) fn check_free_space(&self) -> Result<(), Fault> {
        self.has_free_space(self.store.space().map_err(Fault::saving)?)
    }

    /// Fails if `space` is less than `min_free` bytes.
    pub(crate) fn has_free_space(&self, space: Space) -> Result<(), Fault> {
        match space.free_bytes {
            Some(free) if free < self.config.storage.min_free() => {
                Err(Fault::InsufficientStorage { free })
            }
            _ => Ok(()),
        }
    }
}
