//! Opens the ledger and the store of the configuration together, after checking that they belong together.
//!
//! A refusal changes nothing: no file is created and no row deleted before the check has passed.

use std::fs::File;
use std::io;

use crate::config::Config;
use crate::identity::{self, Identity, LedgerState, Mismatch, Pair, StoreState};
use crate::ledger::{self, Ledger, LedgerError, LockMode};
use crate::store::{self, Store};

/// A ledger and its store.
#[derive(Debug)]
pub(crate) struct Site {
    /// The rows.
    pub(crate) ledger: Box<dyn Ledger>,
    /// The files.
    pub(crate) store: Box<dyn Store>,
}

/// Why ledger and store were not opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SiteError {
    /// The ledger failed.
    #[error("{0}")]
    Ledger(#[from] LedgerError),
    /// The store failed.
    #[error("the {place} cannot be used: {error}{advice}")]
    Store {
        /// Which store.
        place: String,
        /// What failed.
        error: io::Error,
        /// What to do, if the error does not say it.
        advice: &'static str,
    },
    /// They do not belong together; the text names both places, both ids and the command that helps.
    #[error("{0}")]
    Mismatch(String),
}

/// Opens the site for the responder: makes what a new site lacks, and renews the mark. `readers` requests may read the ledger at once.
pub(crate) fn open_to_serve(config: &Config, readers: usize) -> Result<Site, SiteError> {
    let pair = check_to_open(config)?;
    let site = Site::open(config, ledger::open(config, readers)?, pair)?;
    site.renew_mark()?;
    Ok(site)
}

/// Opens the site for one request of a CGI host, which does not renew the mark.
pub(crate) fn open_for_request(config: &Config) -> Result<Site, SiteError> {
    let pair = check_to_open(config)?;
    Site::open(config, ledger::open(config, 1)?, pair)
}

/// Opens the site for a sweep and holds the sweep lock. The sweep renews the mark at its end, when it has freed space.
pub(crate) fn open_to_sweep(config: &Config) -> Result<Site, SiteError> {
    let (pair, ledger) = match check_to_open(config) {
        // On a full disk only a sweep opens the ledger, because it releases the reserve.
        Err(SiteError::Ledger(LedgerError::Full(_))) => {
            let ledger = ledger::open_for_sweep(config)?;
            (check(config)?, ledger)
        }
        pair => (pair?, ledger::open_for_sweep(config)?),
    };
    Site::open(config, ledger, pair)
}

/// Opens a site that exists, for an operator's command, whose changes to the ledger are durable whatever `[storage] durability` says.
pub(crate) fn open_existing(config: &Config) -> Result<Site, SiteError> {
    check(config)?;
    Ok(Site {
        ledger: ledger::open_existing(config)?,
        store: open_store(config)?,
    })
}

/// Opens a site that exists, to quarantine images or to release them: see [`ledger::open_for_takedown`].
pub(crate) fn open_for_takedown(config: &Config, mode: LockMode) -> Result<Site, SiteError> {
    check(config)?;
    Ok(Site {
        ledger: ledger::open_for_takedown(config, mode)?,
        store: open_store(config)?,
    })
}

/// Opens the ledger for the first client of a new site, which creates it.
pub(crate) fn open_ledger_or_create(config: &Config) -> Result<Box<dyn Ledger>, SiteError> {
    if ledger::state(config)? != LedgerState::Missing {
        return Ok(ledger::open_existing(config)?);
    }
    let pair = check_to_open(config)?;
    Ok(Site::open(config, ledger::open_or_create(config)?, pair)?.ledger)
}

/// Opens the site to add rows for files without rows. A lost ledger is made again with the id of the store. Older copies are accepted,
/// different ids are not.
pub(crate) fn open_to_rebuild(config: &Config) -> Result<Site, SiteError> {
    let found = states(config)?;
    match identity::check(found.0, found.1) {
        Err(mismatch @ (Mismatch::OtherIds | Mismatch::LostStore)) => {
            Err(explain(config, found, mismatch))
        }
        _ => accept(config),
    }
}

/// Makes ledger and store a pair, whatever their ids and marks are. The id of the ledger stays, unless only the store has one.
pub(crate) fn accept(config: &Config) -> Result<Site, SiteError> {
    let (_, StoreState { identity, .. }) = states(config)?;
    let site = Site {
        ledger: ledger::open_or_create(config)?,
        store: open_store(config)?,
    };
    site.join(identity)?;
    Ok(site)
}

/// Makes a pair of which one half was moved, under the lock of [`ledger::lock_exclusively`]: no other process can open the old pair in
/// between, and none is accepted afterwards.
pub(crate) fn accept_moved(config: &Config, lock: File) -> Result<(), SiteError> {
    let site = Site {
        ledger: ledger::open_locked(config, lock)?,
        store: open_store(config)?,
    };
    // Twice: after an interrupted renewal the marks of the old pair differ by one, which is accepted.
    for _ in 0..2 {
        let identity = site.store.identity();
        site.join(identity.map_err(|error| unusable(config, error))?)?;
    }
    Ok(())
}

/// Checks that ledger and store belong together, and changes nothing.
pub(crate) fn check(config: &Config) -> Result<Pair, SiteError> {
    let mut found = states(config)?;
    // A sweep may renew the marks between the two reads, so that a mismatch counts only if it is still there.
    for _ in 0..2 {
        match identity::check(found.0, found.1) {
            Ok(pair) => return Ok(pair),
            Err(_) => found = states(config)?,
        }
    }
    identity::check(found.0, found.1).map_err(|mismatch| explain(config, found, mismatch))
}

/// Checks like [`check`], and for a new site also that the store can be written: otherwise a ledger would be left without one.
fn check_to_open(config: &Config) -> Result<Pair, SiteError> {
    let pair = check(config)?;
    if matches!(pair, Pair::Unnamed(_)) {
        check_writable(config)?;
    }
    Ok(pair)
}

/// Fails if the store cannot be written, and leaves nothing behind.
pub(crate) fn check_writable(config: &Config) -> Result<(), SiteError> {
    store::view(config)
        .and_then(|store| store.check_writable())
        .map_err(|error| unusable(config, error))
}

/// The states of ledger and store.
pub(crate) fn states(config: &Config) -> Result<(LedgerState, StoreState), SiteError> {
    let ledger = ledger::state(config)?;
    let failed = |error| unusable(config, error);
    let store = store::view(config).map_err(failed)?;
    let identity = store.identity().map_err(failed)?;
    // A store with a confirmed identity had images or clients. Without one the images themselves tell whether there is something to lose.
    let is_confirmed = identity.is_some_and(|identity| identity.mark > 0);
    let has_images = is_confirmed || store.has_images().map_err(failed)?;
    let store = StoreState {
        identity,
        has_images,
    };
    Ok((ledger, store))
}

fn open_store(config: &Config) -> Result<Box<dyn Store>, SiteError> {
    store::open(config).map_err(|error| unusable(config, error))
}

fn unusable(config: &Config, error: io::Error) -> SiteError {
    SiteError::Store {
        place: store::place(config),
        advice: match config.storage.s3 {
            // The key that is to be corrected.
            Some(_) if error.to_string().starts_with("[storage]") => "",
            Some(_) => "; `corenexis-cdn doctor` tries the bucket, and says what to do",
            None => "; it must exist and be writable by the account that runs this",
        },
        error,
    }
}

fn new_identity() -> Result<Identity, LedgerError> {
    Identity::random().map_err(|error| LedgerError::Failed(error.to_string()))
}

impl Site {
    /// Opens the store beside its ledger, and gives the pair its identity.
    fn open(config: &Config, ledger: Box<dyn Ledger>, pair: Pair) -> Result<Self, SiteError> {
        let store = open_store(config)?;
        let site = Self { ledger, store };
        site.name(pair)?;
        Ok(site)
    }

    /// Gives a pair its identity: the store first, with the mark 0 until the ledger has it too.
    fn name(&self, pair: Pair) -> Result<(), SiteError> {
        let Pair::Unnamed(given) = pair else {
            return Ok(());
        };
        self.ledger.update_identity(&mut |current| {
            let identity = match current.or(given) {
                Some(identity) => identity,
                None => new_identity()?,
            };
            if current.is_none() && given.is_none() {
                self.set_store_identity(identity)?;
            }
            Ok(identity)
        })?;
        Ok(())
    }

    /// Gives both the same id and a new mark; `identity` is the store's.
    fn join(&self, identity: Option<Identity>) -> Result<(), SiteError> {
        self.ledger.update_identity(&mut |current| {
            let named = match current.or(identity) {
                Some(named) => named,
                None => new_identity()?,
            };
            let mark = identity.map_or(0, |found| found.mark);
            let joined = Identity::joined(current, Identity { mark, ..named });
            self.set_store_identity(joined)?;
            Ok(joined)
        })?;
        Ok(())
    }

    /// Increments the mark of both. On a full disk the old mark stays, so that a responder starts and a sweep ends there.
    pub(crate) fn renew_mark(&self) -> Result<(), SiteError> {
        let renewed = self.ledger.update_identity(&mut |current| {
            let store = self
                .store
                .identity()
                .map_err(|error| store_failed(&*self.store, &error))?;
            let ledger = current.map_or(
                LedgerState::Unnamed { has_images: true },
                LedgerState::Named,
            );
            let state = StoreState {
                identity: store,
                has_images: true,
            };
            match (identity::check(ledger, state), store) {
                (Ok(_), Some(store)) => {
                    let renewed = Identity::renewed(current, store);
                    self.set_store_identity(renewed)?;
                    Ok(renewed)
                }
                _ => Err(LedgerError::Failed(
                    "the store was replaced while it was opened; try again".to_owned(),
                )),
            }
        });
        match renewed {
            Err(LedgerError::Full(_)) => Ok(()),
            renewed => Ok(renewed.map(drop)?),
        }
    }

    fn set_store_identity(&self, identity: Identity) -> Result<(), LedgerError> {
        self.store
            .set_identity(identity)
            .map_err(|error| store_failed(&*self.store, &error))
    }
}

fn store_failed(store: &dyn Store, error: &io::Error) -> LedgerError {
    let place = store.place();
    let cause = format!("the identity of the {place} could not be read or written: {error}");
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => LedgerError::Full(cause),
        _ => LedgerError::Failed(cause),
    }
}

/// The refusal as the operator reads it: both places, both ids, and the command that helps.
fn explain(
    config: &Config,
    (ledger_state, store_state): (LedgerState, StoreState),
    mismatch: Mismatch,
) -> SiteError {
    let ledger = &config.ledger;
    let ledger_key = config.ledger.key();
    let place = store::place(config);
    let id = |identity: Option<Identity>| {
        identity.map_or_else(
            || "no id".to_owned(),
            |identity| format!("the id {identity}"),
        )
    };
    let ledger_id = id(match ledger_state {
        LedgerState::Named(identity) => Some(identity),
        LedgerState::Missing | LedgerState::Unnamed { .. } => None,
    });
    let store_id = id(store_state.identity);
    let Names {
        kind,
        key,
        moved,
        lost,
    } = Names::of(config);
    let (move_ledger, restore) = match ledger.postgres {
        None => (
            "`corenexis-cdn move ledger`",
            "`corenexis-cdn restore FILE`",
        ),
        Some(_) => ("`corenexis-cdn ledger copy`", "pg_restore"),
    };
    SiteError::Mismatch(match mismatch {
        Mismatch::LostLedger => format!(
            "there is no ledger {ledger}, but the {place} ({store_id}) has images or belonged to one. If {ledger_key} was changed, put it back, and \
             move the ledger with {move_ledger}. If the ledger is lost, {restore} brings a backup back, \
             and `corenexis-cdn verify --rebuild` makes a ledger from the images"
        ),
        Mismatch::NewLedger => format!(
            "the ledger {ledger} has {ledger_id}, the {place} has {store_id}: the ledger was not made for this {kind}. Put \
             {ledger_key} back, or bring the ledger back with {restore}; `corenexis-cdn verify --accept` joins the two"
        ),
        Mismatch::LostStore => format!(
            "the ledger {ledger} has {ledger_id}, the {place} has {store_id}: it is not the ledger's {kind}. {moved} If the images are lost, \
             {lost}, or start without them with `corenexis-cdn verify --accept`"
        ),
        Mismatch::OtherIds => format!(
            "the ledger {ledger} has {ledger_id}, the {place} has {store_id}: they do not belong together. Put {ledger_key} or \
             {key} back to the place of the other; `corenexis-cdn verify --accept` joins the two"
        ),
        Mismatch::OldStore => format!(
            "the {place} ({store_id}) is an older copy than the ledger {ledger} ({ledger_id}) expects.{} If it \
             was restored from a backup, `corenexis-cdn verify --accept` accepts it; if it is a copy, run `corenexis-cdn storage copy` again",
            if config.storage.s3.is_none() {
                " Is its disk mounted?"
            } else {
                ""
            }
        ),
        Mismatch::OldLedger => format!(
            "the ledger {ledger} ({ledger_id}) is an older copy than the {place} ({store_id}) expects. If it was restored from a \
             backup, `corenexis-cdn verify --rebuild` adds rows for the images that were uploaded since; if it is a copy, run \
             `corenexis-cdn ledger copy` again"
        ),
    })
}

/// The words of a refusal that differ between the kinds of store.
struct Names {
    kind: &'static str,
    key: &'static str,
    moved: &'static str,
    lost: &'static str,
}

impl Names {
    const fn of(config: &Config) -> Self {
        match config.storage.s3 {
            None => Self {
                kind: "docroot",
                key: "[storage] docroot",
                moved: "Is its disk mounted? If [storage] docroot was changed, put it back, and move the images with `corenexis-cdn move docroot`.",
                lost: "copy a backup back with its file p/.identity",
            },
            Some(_) => Self {
                kind: "bucket",
                key: "[storage] bucket",
                moved: "If [storage] kind, endpoint or bucket was changed, put it back, and move the images with `corenexis-cdn storage copy`.",
                lost: "copy them back with the object .identity",
            },
        }
    }
}
