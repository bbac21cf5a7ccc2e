//! Opens, backs up, restores and inspects the ledger that the configuration names, of whichever kind it is.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use tempfile::TempPath;
use time::UtcDateTime;

#[cfg(feature = "postgres")]
use super::postgres::{self, PostgresLedger};
use super::sqlite::{self, SqliteLedger};
use super::{Contents, Inspection, Ledger, LedgerError, Restored, Transfer};
#[cfg(feature = "postgres")]
use crate::config::Postgres;
use crate::config::{Config, Durability};
use crate::identity::LedgerState;

/// Where the ledger of a configuration is.
enum Place<'a> {
    /// In a SQLite file.
    File(&'a Path),
    /// In a PostgreSQL database.
    #[cfg(feature = "postgres")]
    Database(&'a Postgres),
}

impl<'a> Place<'a> {
    fn of(config: &'a Config) -> Self {
        #[cfg(feature = "postgres")]
        if let Some(postgres) = &config.ledger.postgres {
            return Self::Database(postgres);
        }
        Self::File(&config.ledger.path)
    }
}

/// Opens the ledger for the responder, with the configured durability; makes it if there is none, and migrates an older schema, in SQLite
/// after a backup. In SQLite `readers` requests may read at once; `[ledger] connections` limits them in PostgreSQL.
pub(crate) fn open(config: &Config, readers: usize) -> Result<Box<dyn Ledger>, LedgerError> {
    Ok(open_with(config, config.storage.durability, readers)?)
}

/// Opens the ledger for an operator's command, whose changes are durable whatever `[storage] durability` says; makes it if there is
/// none.
pub(crate) fn open_or_create(config: &Config) -> Result<Box<dyn Ledger>, LedgerError> {
    Ok(open_with(config, Durability::Full, 1)?)
}

/// Opens a ledger that exists, as [`open_or_create`] does. A lost ledger is not replaced by an empty one.
pub(crate) fn open_existing(config: &Config) -> Result<Box<dyn Ledger>, LedgerError> {
    require(config)?;
    open_or_create(config)
}

/// Opens the ledger for a sweep and holds the sweep lock until it is dropped; fails with [`LedgerError::SweepRuns`] while another process
/// holds it. In PostgreSQL several sweeps may hold it: those of the hosts that share the ledger.
pub(crate) fn open_for_sweep(config: &Config) -> Result<Box<dyn Ledger>, LedgerError> {
    let (durability, now) = (config.storage.durability, UtcDateTime::now());
    Ok(match Place::of(config) {
        Place::File(path) => Box::new(SqliteLedger::open_for_sweep(path, durability, now)?),
        #[cfg(feature = "postgres")]
        Place::Database(place) => Box::new(PostgresLedger::open_locked(
            place,
            durability,
            now,
            LockMode::Shared,
        )?),
    })
}

/// How a process holds the lock that keeps a release apart from sweeps and quarantines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LockMode {
    /// Beside others that share it: as sweeps and quarantines do.
    Shared,
    /// Alone: as a release does.
    Exclusive,
}

/// Opens a ledger that exists, as [`open_existing`] does, and holds the lock until it is dropped: shared to quarantine images, exclusively to
/// release them. Fails with [`LedgerError::SweepRuns`] while another process holds it in a way that excludes this.
pub(crate) fn open_for_takedown(
    config: &Config,
    mode: LockMode,
) -> Result<Box<dyn Ledger>, LedgerError> {
    require(config)?;
    let now = UtcDateTime::now();
    Ok(match Place::of(config) {
        Place::File(path) => Box::new(SqliteLedger::open_for_takedown(
            path,
            Durability::Full,
            mode,
            now,
        )?),
        #[cfg(feature = "postgres")]
        Place::Database(place) => Box::new(PostgresLedger::open_locked(
            place,
            Durability::Full,
            now,
            mode,
        )?),
    })
}

/// What is known of the ledger, without creating or migrating it.
pub(crate) fn state(config: &Config) -> Result<LedgerState, LedgerError> {
    match Place::of(config) {
        Place::File(path) if exists(path)? => sqlite::inspection::state(path),
        Place::File(_) => Ok(LedgerState::Missing),
        #[cfg(feature = "postgres")]
        Place::Database(place) => postgres::state(place),
    }
}

/// Writes a copy of the ledger to the file `target` while uploads go on; an existing file is replaced only with `force`. The copy is
/// checked and durable when this returns.
pub(crate) fn back_up(
    config: &Config,
    target: &Path,
    force: bool,
) -> Result<Contents, LedgerError> {
    open_file(config)?.backup(target, force)
}

/// Writes a checked copy of the ledger to an unnamed file in the ledger's directory, for a target that only root may write.
pub(crate) fn back_up_unnamed(config: &Config) -> Result<(File, Contents), LedgerError> {
    open_file(config)?.backup_unnamed(&config.ledger.path)
}

/// Excludes every other process from the ledger until the file is dropped; [`LedgerError::Busy`] while one has it open.
pub(crate) fn lock_exclusively(config: &Config) -> Result<File, LedgerError> {
    sqlite::backup::lock_exclusively(require_file(config, FileTask::Move)?)
}

/// Opens the ledger that is to be copied, which nothing changes until it is dropped; [`LedgerError::Busy`] while another process has it
/// open. PostgreSQL cannot keep other hosts out: there the busy ones are seen now, and later ones by what they change.
pub(crate) fn open_source(config: &Config) -> Result<Box<dyn Transfer>, LedgerError> {
    require(config)?;
    let now = UtcDateTime::now();
    Ok(match Place::of(config) {
        Place::File(path) => {
            let lock = sqlite::backup::lock_exclusively(path)?;
            Box::new(SqliteLedger::open_locked(
                path,
                Durability::Full,
                1,
                now,
                Some(lock),
            )?)
        }
        #[cfg(feature = "postgres")]
        Place::Database(place) => {
            postgres::require_unused(place)?;
            let mode = LockMode::Exclusive;
            Box::new(PostgresLedger::open_locked(
                place,
                Durability::Full,
                now,
                mode,
            )?)
        }
    })
}

/// Opens the ledger that a copy is made in; makes it if there is none.
pub(crate) fn open_target(config: &Config) -> Result<Box<dyn Transfer>, LedgerError> {
    open_with(config, Durability::Full, 1)
}

fn open_with(
    config: &Config,
    durability: Durability,
    readers: usize,
) -> Result<Box<dyn Transfer>, LedgerError> {
    let now = UtcDateTime::now();
    Ok(match Place::of(config) {
        Place::File(path) => Box::new(SqliteLedger::open(path, durability, readers, now)?),
        #[cfg(feature = "postgres")]
        Place::Database(place) => Box::new(PostgresLedger::open(place, durability, now)?),
    })
}

/// Opens the ledger under a lock of [`lock_exclusively`], which is released when the ledger is dropped.
pub(crate) fn open_locked(config: &Config, lock: File) -> Result<Box<dyn Ledger>, LedgerError> {
    require(config)?;
    let (path, now) = (require_file(config, FileTask::Move)?, UtcDateTime::now());
    let ledger = SqliteLedger::open_locked(path, Durability::Full, 1, now, Some(lock))?;
    Ok(Box::new(ledger))
}

/// Writes a checked copy of the ledger to `target`, which must not exist, while the caller holds [`lock_exclusively`].
pub(crate) fn back_up_locked(config: &Config, target: &Path) -> Result<Contents, LedgerError> {
    require(config)?;
    sqlite::backup::back_up_locked(require_file(config, FileTask::Move)?, target)
}

/// Copies a backup that only root may read to a temporary file beside the ledger.
pub(crate) fn stage_backup(config: &Config, backup: &mut File) -> Result<TempPath, LedgerError> {
    sqlite::backup::stage(backup, require_file(config, FileTask::Restore)?)
}

/// Checks that `file` is an intact ledger with a schema version that this program knows.
pub(crate) fn check_backup(file: &Path) -> Result<Contents, LedgerError> {
    sqlite::backup::check(file)
}

/// Replaces the ledger with the backup `file`; the replaced ledger is kept beside it. Fails with [`LedgerError::Busy`] while another
/// process has the ledger open.
pub(crate) fn restore(
    config: &Config,
    file: &Path,
    now: UtcDateTime,
) -> Result<Restored, LedgerError> {
    sqlite::backup::restore(file, require_file(config, FileTask::Restore)?, now)
}

/// Inspects the ledger without changing it; the check of its pages may take `timeout`.
pub(crate) fn inspect(config: &Config, timeout: Duration) -> Result<Inspection, LedgerError> {
    match Place::of(config) {
        Place::File(path) => sqlite::inspection::inspect(path, timeout),
        #[cfg(feature = "postgres")]
        Place::Database(place) => postgres::inspect(place),
    }
}

/// What is done with the files of a ledger in SQLite, and by PostgreSQL's own programs with one in PostgreSQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileTask {
    /// `backup`
    BackUp,
    /// `restore`
    Restore,
    /// `move`
    Move,
}

impl FileTask {
    /// What the operator does instead if the ledger is in PostgreSQL.
    fn instead(self, url: &str) -> String {
        match self {
            Self::BackUp => format!(
                "the ledger is in PostgreSQL: back it up with pg_dump, while uploads go on: \
                 `pg_dump --format=custom --file=FILE '{url}'`"
            ),
            Self::Restore => format!(
                "the ledger is in PostgreSQL: stop the responders, restore it with pg_restore, and run `corenexis-cdn verify --rebuild`: \
                 `pg_restore --clean --if-exists --no-owner --dbname='{url}' FILE`"
            ),
            Self::Move => format!(
                "the ledger is in PostgreSQL ({url}), and other hosts may share it: stop the responders, copy the docroot with `rsync -aH`, \
                 which keeps the times that are the expiry of images, or the ledger with pg_dump and pg_restore, and change config.toml on \
                 every host"
            ),
        }
    }
}

/// The file of a ledger in SQLite. Fails with what the operator does instead if the ledger is in PostgreSQL.
pub(crate) fn require_file(config: &Config, task: FileTask) -> Result<&Path, LedgerError> {
    match &config.ledger.postgres {
        None => Ok(&config.ledger.path),
        Some(postgres) => Err(LedgerError::Failed(task.instead(&postgres.url))),
    }
}

fn open_file(config: &Config) -> Result<SqliteLedger, LedgerError> {
    let path = require_file(config, FileTask::BackUp)?;
    require(config)?;
    SqliteLedger::open(path, Durability::Full, 1, UtcDateTime::now())
}

/// Fails with [`LedgerError::Missing`] if there is no ledger.
fn require(config: &Config) -> Result<(), LedgerError> {
    let is_there = match Place::of(config) {
        Place::File(path) => exists(path)?,
        #[cfg(feature = "postgres")]
        Place::Database(place) => postgres::state(place)? != LedgerState::Missing,
    };
    if is_there {
        Ok(())
    } else {
        Err(LedgerError::Missing(config.ledger.to_string()))
    }
}

fn exists(path: &Path) -> Result<bool, LedgerError> {
    path.try_exists().map_err(|error| {
        LedgerError::Failed(format!(
            "the ledger {} cannot be read: {error}",
            path.display()
        ))
    })
}
