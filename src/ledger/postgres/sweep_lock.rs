//! The lock between sweeps and quarantines, which share it, and releases.
//!
//! It belongs to a transaction that stays open, not to a session: a pooler in transaction mode keeps a connection to the server for it.
//! The transaction has no snapshot and no id, so it keeps no row alive that vacuum could remove.

use std::sync::Arc;
use std::time::Instant;

use super::connection::Connection;
use super::failure::Failure;
use super::pool::Pool;
use super::statement::{Parameter, Statement, get, only, parameters};
use crate::ledger::{LedgerError, LockMode};

/// The number of the lock.
const LOCK: i64 = 0x636f_7265_6e65_7802;

/// The lock, held until this is dropped or the connection breaks.
#[derive(Debug)]
pub(super) struct SweepLock {
    _connection: Connection,
}

impl SweepLock {
    /// Takes the lock; fails with [`LedgerError::SweepRuns`] while a process holds it that excludes this mode.
    pub(super) fn take(pool: &Pool, mode: LockMode) -> Result<Self, LedgerError> {
        let until = Instant::now() + pool.deadline();
        let failed = |failure: Failure| failure.into_error(pool.url());
        let connection = pool.open_another(until).map_err(failed)?;
        let run = |sql: &'static str, parameters: Vec<Parameter>| {
            let statement = Arc::new(Statement::new(sql, parameters));
            connection.query(&statement, until).map_err(failed)
        };
        run("BEGIN", vec![])?;
        run("SET LOCAL idle_in_transaction_session_timeout = 0", vec![])?;
        let lock = match mode {
            LockMode::Shared => "SELECT pg_try_advisory_xact_lock_shared($1)",
            LockMode::Exclusive => "SELECT pg_try_advisory_xact_lock($1)",
        };
        if !get::<bool>(&only(run(lock, parameters![LOCK])?)?, 0)? {
            return Err(LedgerError::SweepRuns);
        }
        Ok(Self {
            _connection: connection,
        })
    }
}
