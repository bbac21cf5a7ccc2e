//! The installation that is checked.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use time::UtcDateTime;

use super::access::Account;
use super::files::absolute;
use crate::config::Config;
use crate::store::SPOOL;
use crate::timestamp::Timestamp;

/// The installation that is checked.
pub(super) struct Installation {
    pub(super) config: Config,
    /// Absolute.
    pub(super) config_file: PathBuf,
    pub(super) now: Timestamp,
    /// The account doctor runs as.
    pub(super) account: Account,
    /// The account that responder and sweep run as; `None` if its files cannot be seen.
    pub(super) service: Option<Account>,
}

impl Installation {
    pub(super) fn new(config: Config, config_file: &Path) -> Self {
        Self {
            service: service_account(&config),
            config,
            config_file: absolute(config_file),
            now: UtcDateTime::now().into(),
            account: Account::current(),
        }
    }

    /// Added to the message of a skipped check that root could make.
    pub(super) fn as_root(&self) -> &'static str {
        if self.account.is_root() {
            ""
        } else {
            "; run doctor as root to check it"
        }
    }
}

/// The account of the responder: the first owner other than root of the ledger's directory, the ledger, the spool and the docroot. `None`
/// if none of them can be seen.
fn service_account(config: &Config) -> Option<Account> {
    let docroot = &config.storage.docroot;
    let spool = match &config.storage.s3 {
        Some(bucket) => bucket.spool.clone(),
        None => docroot.join(SPOOL),
    };
    let directory = config.ledger.directory();
    let ledger = directory.map(|_| &*config.ledger.path);
    // The spool is made by the first start, in the directory above it.
    let places = directory
        .into_iter()
        .chain(ledger)
        .chain([&*spool])
        .chain(spool.parent())
        .chain([&**docroot]);
    let owner = |place: &Path| Some(place.symlink_metadata().ok()?.uid());
    let owners: Vec<_> = places.filter_map(owner).collect();
    let uid = owners.iter().find(|&&uid| uid != 0).or(owners.first())?;
    Some(Account::of_uid(*uid))
}
