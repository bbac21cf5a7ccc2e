//! The table `site` with its one row: the identity, when the ledger was made and swept, and what sweeps deleted; and the secret.

use std::time::Instant;

use postgres::Row;
use time::UtcDateTime;

use super::failure::{Failure, Remedy};
use super::pool::Pool;
use super::statement::{Statement, bytes, count, get, only, parameters, signed};
use crate::delete_key::SECRET_BYTES;
use crate::identity::Identity;
use crate::ledger::{LedgerError, Status, Swept};
use crate::random;
use crate::timestamp::Timestamp;

/// Attempts to change the identity. Each one reads and writes the identity of the store, too.
const IDENTITY_ATTEMPTS: u32 = 3;

/// What an attempt to change the identity failed with.
enum Unchanged {
    Failure(Failure),
    /// The caller's own error.
    Error(LedgerError),
}

impl From<Failure> for Unchanged {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl From<LedgerError> for Unchanged {
    fn from(error: LedgerError) -> Self {
        Self::Error(error)
    }
}

/// Changes the identity in a transaction that locks its row, so that other processes wait. A commit whose reply was lost is followed by
/// another change, which counts from whatever is there.
pub(super) fn update_identity(
    pool: &Pool,
    update: &mut dyn FnMut(Option<Identity>) -> Result<Identity, LedgerError>,
) -> Result<(), LedgerError> {
    let mut attempt = 1;
    loop {
        match update_once(pool, update) {
            Ok(()) => return Ok(()),
            Err(Unchanged::Error(error)) => return Err(error),
            Err(Unchanged::Failure(failure))
                if failure.remedy() == Remedy::Nothing || attempt == IDENTITY_ATTEMPTS =>
            {
                return Err(failure.into_error(pool.url()));
            }
            Err(Unchanged::Failure(_)) => attempt += 1,
        }
    }
}

fn update_once(
    pool: &Pool,
    update: &mut dyn FnMut(Option<Identity>) -> Result<Identity, LedgerError>,
) -> Result<(), Unchanged> {
    // Each statement has the deadline to itself: the store may be slow.
    let until = || Instant::now() + pool.deadline();
    let mut lease = pool.take(until())?;
    let mut run = |sql, parameters| lease.query_or_close(Statement::new(sql, parameters), until());
    run("BEGIN", vec![])?;
    let row = only(run(
        "SELECT id, mark FROM corenexis.site FOR UPDATE",
        vec![],
    )?)?;
    let identity = match identity(&row).and_then(update) {
        Ok(identity) => identity,
        Err(error) => {
            let _ = run("ROLLBACK", vec![]);
            return Err(error.into());
        }
    };
    run(
        "UPDATE corenexis.site SET id = $1, mark = $2",
        parameters![identity.id.cast_signed(), identity.mark.cast_signed()],
    )?;
    run("COMMIT", vec![])?;
    Ok(())
}

/// The identity in the columns `id` and `mark`, the first of a row.
pub(super) fn identity(row: &Row) -> Result<Option<Identity>, LedgerError> {
    let id: Option<i64> = get(row, 0)?;
    let mark: Option<i64> = get(row, 1)?;
    Ok(id.zip(mark).map(|(id, mark)| Identity {
        id: id.cast_unsigned(),
        mark: mark.cast_unsigned(),
    }))
}

pub(super) fn set_created_at(pool: &Pool, at: UtcDateTime) -> Result<(), LedgerError> {
    pool.query("UPDATE corenexis.site SET created_at = $1", |_| {
        parameters![at.unix_timestamp()]
    })
    .map(drop)
}

pub(super) fn status(pool: &Pool) -> Result<Status, LedgerError> {
    const SQL: &str = "SELECT created_at, swept_at, swept_expired, swept_bytes, swept_abandoned, swept_refunded, swept_orphaned FROM corenexis.site";
    let row = only(pool.query(SQL, |_| vec![])?)?;
    Ok(Status {
        created_at: Timestamp(get(&row, 0)?),
        last_sweep: get::<Option<i64>>(&row, 1)?.map(Timestamp),
        swept: Swept {
            expired: count(&row, 2)?,
            bytes: count(&row, 3)?,
            abandoned: count(&row, 4)?,
            refunded: count(&row, 5)?,
            orphaned: count(&row, 6)?,
        },
    })
}

pub(super) fn finish_sweep(
    pool: &Pool,
    swept: Swept,
    completed_at: Option<UtcDateTime>,
) -> Result<(), LedgerError> {
    const SQL: &str = "UPDATE corenexis.site SET swept_expired = swept_expired + $1, swept_bytes = swept_bytes + $2,
             swept_abandoned = swept_abandoned + $3, swept_refunded = swept_refunded + $4, swept_orphaned = swept_orphaned + $5,
             swept_at = greatest(swept_at, $6), last_report = $7
         WHERE last_report IS DISTINCT FROM $7";
    let mut number = [0; 8];
    random::fill(&mut number).map_err(|error| LedgerError::Failed(error.to_string()))?;
    pool.query(SQL, |_| {
        parameters![
            signed(swept.expired),
            signed(swept.bytes),
            signed(swept.abandoned),
            signed(swept.refunded),
            signed(swept.orphaned),
            completed_at.map(UtcDateTime::unix_timestamp),
            i64::from_le_bytes(number),
        ]
    })
    .map(drop)
}

/// The secret of delete keys; of two processes that make it, the first one's counts.
pub(super) fn delete_secret(pool: &Pool) -> Result<[u8; SECRET_BYTES], LedgerError> {
    const NAME: &str = "delete_images";
    const SQL: &str = "INSERT INTO corenexis.secret AS known (name, value) VALUES ($1, $2)
         ON CONFLICT (name) DO UPDATE SET value = known.value RETURNING value";
    let known = pool.query("SELECT value FROM corenexis.secret WHERE name = $1", |_| {
        parameters![NAME.to_owned()]
    })?;
    if let [row] = &known[..] {
        return bytes(row, 0);
    }
    let mut new = [0; SECRET_BYTES];
    random::fill(&mut new).map_err(|error| LedgerError::Failed(error.to_string()))?;
    let made = pool.query(SQL, |_| parameters![NAME.to_owned(), new.to_vec()])?;
    bytes(&only(made)?, 0)
}
