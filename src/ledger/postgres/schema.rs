//! The schema `corenexis` and its migrations. The version is in the table `site`.

use std::time::{Duration, Instant};

use time::UtcDateTime;

use super::failure::Failure;
use super::pool::{Lease, Pool};
use super::statement::{Parameter, Statement, get, only, parameters};
use crate::ledger::LedgerError;

/// The statements that lead from version n to n + 1, by n.
const STEPS: [&str; 1] = [concat!(
    include_str!("schema/1_tables.sql"),
    include_str!("schema/1_images.sql"),
    include_str!("schema/1_clients.sql"),
)];

/// The number of the lock that one process holds while it migrates.
const LOCK: i64 = 0x636f_7265_6e65_7801;

/// How long a migration may take.
const DEADLINE: Duration = Duration::from_hours(1);

/// The version that this program writes.
pub(crate) fn newest() -> i64 {
    i64::try_from(STEPS.len()).unwrap_or(i64::MAX)
}

/// What is in the place of the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// Nothing.
    Nothing,
    /// A schema of that name with other tables.
    Another,
    /// A ledger of that version.
    Version(i64),
}

/// Looks for a ledger, and changes nothing.
pub(super) fn find(pool: &Pool) -> Result<Found, LedgerError> {
    const SQL: &str = "SELECT to_regclass('corenexis.site') IS NOT NULL,
         EXISTS (SELECT FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace WHERE nspname = 'corenexis')";
    let row = only(pool.query(SQL, |_| vec![])?)?;
    match (get(&row, 0)?, get(&row, 1)?) {
        (true, _) => {
            const VERSION: &str = "SELECT schema_version::bigint FROM corenexis.site";
            let row = only(pool.query(VERSION, |_| vec![])?)?;
            Ok(Found::Version(get(&row, 0)?))
        }
        (false, true) => Ok(Found::Another),
        (false, false) => Ok(Found::Nothing),
    }
}

/// Fails if the place holds something else, or a ledger of a newer program.
pub(super) fn require_known(pool: &Pool, found: Found) -> Result<(), LedgerError> {
    match found {
        Found::Another => Err(LedgerError::Failed(format!(
            "{} has a schema corenexis of another program: set [ledger] url to a database of its own",
            pool.url()
        ))),
        Found::Version(found) if found > newest() => Err(LedgerError::TooNew {
            path: pool.url().to_owned(),
            found,
            known: newest(),
        }),
        Found::Nothing | Found::Version(_) => Ok(()),
    }
}

/// Creates the ledger, or brings it to the newest version, in one transaction; refuses a newer one.
pub(super) fn migrate(pool: &Pool, now: UtcDateTime) -> Result<(), LedgerError> {
    let found = find(pool)?;
    require_known(pool, found)?;
    if found == Found::Version(newest()) {
        return Ok(());
    }
    let until = Instant::now() + DEADLINE;
    let failed = |failure: Failure| failure.into_error(pool.url());
    let mut lease = pool.take(until).map_err(failed)?;
    run(&mut lease, "BEGIN", vec![], until).map_err(failed)?;
    let lock = "SELECT pg_advisory_xact_lock($1)";
    run(&mut lease, lock, parameters![LOCK], until).map_err(failed)?;
    // Another process may have migrated while this one waited for the lock.
    let is_there =
        "SELECT to_regclass('corenexis.site') IS NOT NULL, current_setting('server_encoding')";
    let row = only(run(&mut lease, is_there, vec![], until).map_err(failed)?)?;
    let before = if get(&row, 0)? {
        let version = "SELECT schema_version::bigint FROM corenexis.site";
        get(
            &only(run(&mut lease, version, vec![], until).map_err(failed)?)?,
            0,
        )?
    } else {
        let encoding: String = get(&row, 1)?;
        if encoding != "UTF8" {
            return Err(LedgerError::Failed(format!(
                "the database of {} has the encoding {encoding}: make it with ENCODING 'UTF8' TEMPLATE template0",
                pool.url()
            )));
        }
        0
    };
    require_known(pool, Found::Version(before))?;
    let missing = usize::try_from(before)
        .ok()
        .and_then(|before| STEPS.get(before..));
    for step in missing.unwrap_or_default() {
        let step = Statement::several(step);
        lease.query_or_close(step, until).map_err(failed)?;
    }
    let (sql, parameters) = if before == 0 {
        (
            "INSERT INTO corenexis.site (schema_version, created_at) VALUES ($1::bigint, $2)",
            parameters![newest(), now.unix_timestamp()],
        )
    } else {
        (
            "UPDATE corenexis.site SET schema_version = $1::bigint",
            parameters![newest()],
        )
    };
    run(&mut lease, sql, parameters, until).map_err(failed)?;
    run(&mut lease, "COMMIT", vec![], until).map_err(failed)?;
    Ok(())
}

fn run(
    lease: &mut Lease,
    sql: &'static str,
    parameters: Vec<Parameter>,
    until: Instant,
) -> Result<Vec<postgres::Row>, Failure> {
    lease.query_or_close(Statement::new(sql, parameters), until)
}
