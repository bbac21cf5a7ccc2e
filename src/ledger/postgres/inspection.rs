//! Read-only inspection of a ledger: no migration, no lock that blocks uploads.

use std::thread;
use std::time::{Duration, Instant};

use time::UtcDateTime;

use super::pool::Pool;
use super::schema::{self, Found};
use super::server::Server;
use super::statement::{count, get, only};
use super::{DEADLINE, meta};
use crate::config::Postgres;
use crate::identity::LedgerState;
use crate::ledger::{Inspection, LedgerError, QuickCheck};
use crate::timestamp::Timestamp;

/// Seconds by which the clocks of host and server may differ. A host whose clock is days ahead would delete the images of all hosts before
/// their time, and one that is a minute behind counts uploads of other hosts as cut off while they are under way.
pub(super) const CLOCK_TOLERANCE: u64 = 60;

/// The pause between two counts of the connections to the database.
const PAUSE: Duration = Duration::from_millis(50);

/// What is known of the database of a ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Database {
    /// The version of PostgreSQL, such as `15.7`.
    pub version: String,
    /// How long one round trip takes.
    pub round_trip: Duration,
    /// By how many seconds its clock is ahead of this host's.
    pub ahead: i64,
    /// Its settings that make a commit less than durable, such as `fsync = off`.
    pub not_durable: Vec<String>,
    /// Connections that it takes in all.
    pub max_connections: i64,
}

/// Inspects the ledger.
pub(crate) fn inspect(place: &Postgres) -> Result<Inspection, LedgerError> {
    let pool = pool(place)?;
    let found = schema::find(&pool)?;
    if found == Found::Another {
        schema::require_known(&pool, found)?;
    }
    let mut inspection = Inspection {
        schema: match found {
            Found::Version(version) => version,
            Found::Nothing | Found::Another => 0,
        },
        newest: schema::newest(),
        journal: None,
        check: QuickCheck::Sound,
        clients: Vec::new(),
        created: None,
        swept: None,
        newest_day: None,
        log: None,
        database: Some(database(&pool)?),
    };
    if inspection.schema == inspection.newest {
        const CLIENTS: &str =
            "SELECT id, plan FROM corenexis.client WHERE removed_at IS NULL ORDER BY id";
        let clients = pool.query(CLIENTS, |_| vec![])?;
        inspection.clients = clients
            .iter()
            .map(|row| Ok((get(row, 0)?, get(row, 1)?)))
            .collect::<Result<_, LedgerError>>()?;
        let status = meta::status(&pool)?;
        inspection.created = Some(status.created_at);
        inspection.swept = status.last_sweep;
        let newest = "SELECT max(day) FROM corenexis.usage";
        inspection.newest_day = get(&only(pool.query(newest, |_| vec![])?)?, 0)?;
    }
    Ok(inspection)
}

/// What is known of the ledger, without creating or migrating it.
pub(crate) fn state(place: &Postgres) -> Result<LedgerState, LedgerError> {
    const SQL: &str = "SELECT id, mark, EXISTS (SELECT FROM corenexis.image) FROM corenexis.site";
    let pool = pool(place)?;
    let found = schema::find(&pool)?;
    schema::require_known(&pool, found)?;
    if found == Found::Nothing {
        return Ok(LedgerState::Missing);
    }
    let row = only(pool.query(SQL, |_| vec![])?)?;
    Ok(match meta::identity(&row)? {
        Some(identity) => LedgerState::Named(identity),
        None => LedgerState::Unnamed {
            has_images: get(&row, 2)?,
        },
    })
}

/// Fails with [`LedgerError::Busy`] while another process of this program is connected to the ledger.
pub(crate) fn require_unused(place: &Postgres) -> Result<(), LedgerError> {
    const SQL: &str = "SELECT count(*) FROM pg_stat_activity
         WHERE datname = current_database() AND application_name = current_setting('application_name') AND pid <> pg_backend_pid()";
    let pool = pool(place)?;
    let until = Instant::now() + DEADLINE;
    loop {
        let others = count(&only(pool.query(SQL, |_| vec![])?)?, 0)?;
        // Connections that this process has closed are still there for a moment.
        if others == 0 {
            return Ok(());
        }
        if Instant::now() > until {
            return Err(LedgerError::Busy(format!(
                "{others} connections of responders, sweeps or commands to {}",
                pool.url()
            )));
        }
        thread::sleep(PAUSE);
    }
}

/// Fails if the clocks of this host and of the server differ.
pub(super) fn require_clock(pool: &Pool) -> Result<(), LedgerError> {
    const SQL: &str = "SELECT extract(epoch FROM clock_timestamp())::bigint";
    let there = Timestamp(get(&only(pool.query(SQL, |_| vec![])?)?, 0)?);
    let here = Timestamp::from(UtcDateTime::now());
    if here.0.abs_diff(there.0) <= CLOCK_TOLERANCE {
        return Ok(());
    }
    Err(LedgerError::Unreachable(format!(
        "the clock of this host says {here} and that of the ledger {} {there}: images would expire, and be deleted, at another time than on \
         the other hosts; set the clock, and keep it with NTP",
        pool.url()
    )))
}

fn pool(place: &Postgres) -> Result<Pool, LedgerError> {
    Ok(Pool::new(Server::new(place)?, 1, DEADLINE))
}

fn database(pool: &Pool) -> Result<Database, LedgerError> {
    const SQL: &str = "SELECT current_setting('server_version'), extract(epoch FROM clock_timestamp())::bigint,
         current_setting('max_connections')::bigint,
         ARRAY(SELECT name || ' = ' || setting FROM pg_settings
               WHERE name IN ('fsync', 'synchronous_commit', 'full_page_writes') AND setting = 'off')";
    let began = Instant::now();
    pool.query("SELECT 1", |_| vec![])?;
    let round_trip = began.elapsed();
    let row = only(pool.query(SQL, |_| vec![])?)?;
    let here = Timestamp::from(UtcDateTime::now());
    Ok(Database {
        version: get(&row, 0)?,
        round_trip,
        ahead: get::<i64>(&row, 1)? - here.0,
        max_connections: get(&row, 2)?,
        not_durable: get(&row, 3)?,
    })
}
