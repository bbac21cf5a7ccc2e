//! Read-only inspection of a ledger: no migration, no new file, no lock that blocks uploads.

use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use rusqlite::Connection;

use super::backup::open_for_reading;
use super::{log, meta, schema};
use crate::identity::LedgerState;
#[cfg(feature = "postgres")]
use crate::ledger::postgres::Database;
use crate::ledger::{LedgerError, LogMarks};
use crate::timestamp::Timestamp;

/// The result of an inspection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Inspection {
    /// Its schema version; 0 for a database of something else.
    pub schema: i64,
    /// The schema version that this program writes.
    pub newest: i64,
    /// Its journal mode: `wal`; `None` in PostgreSQL.
    pub journal: Option<String>,
    /// What SQLite's quick check found; PostgreSQL has none.
    pub check: QuickCheck,
    /// The clients that were not removed, with the names of their plans.
    pub clients: Vec<(String, String)>,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// When a sweep last ran to its end.
    pub swept: Option<Timestamp>,
    /// The newest UTC day with an upload, in days since 1 January 1970.
    pub newest_day: Option<i64>,
    /// Where it stands beside its write-ahead log; `None` if it never had one.
    pub log: Option<LogMarks>,
    /// The database that it is in; `None` in SQLite.
    #[cfg(feature = "postgres")]
    pub database: Option<Database>,
}

/// The outcome of `PRAGMA quick_check` (<https://www.sqlite.org/pragma.html#pragma_quick_check>).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum QuickCheck {
    /// Nothing is wrong.
    Sound,
    /// The first damage, as SQLite describes it.
    Damaged(String),
    /// It did not end within the timeout.
    Unfinished,
}

/// The schema version that this program writes.
pub(crate) fn newest_schema() -> i64 {
    schema::newest()
}

/// Inspects the ledger at `path`; its quick check may take `timeout`.
pub(crate) fn inspect(path: &Path, timeout: Duration) -> Result<Inspection, LedgerError> {
    let connection = open_for_reading(path)?;
    let schema = schema::version(&connection)?;
    let mut inspection = Inspection {
        schema,
        newest: schema::newest(),
        journal: connection
            .pragma_query_value(None, "journal_mode", |row| row.get(0))
            .map(Some)?,
        check: quick_check(&connection, timeout)?,
        clients: Vec::new(),
        created: None,
        swept: None,
        newest_day: None,
        log: None,
        #[cfg(feature = "postgres")]
        database: None,
    };
    // Of another version only the number is known, and a damaged one has told enough.
    if schema == schema::newest() && !matches!(inspection.check, QuickCheck::Damaged(_)) {
        let mut clients = connection
            .prepare("SELECT id, plan FROM client WHERE removed_at IS NULL ORDER BY id")?;
        let rows = clients.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        inspection.clients = rows.collect::<Result<_, _>>()?;
        let status = meta::status(&connection)?;
        inspection.created = Some(status.created_at);
        inspection.swept = status.last_sweep;
        inspection.log = log::marks(&connection)?;
        inspection.newest_day =
            connection.query_row("SELECT max(day) FROM usage", [], |row| row.get(0))?;
    }
    Ok(inspection)
}

/// What is known of the ledger at `path`, which exists. A file without a schema is a ledger whose creation was cut off.
pub(crate) fn state(path: &Path) -> Result<LedgerState, LedgerError> {
    let connection = open_for_reading(path)?;
    if schema::version(&connection)? == 0 {
        if connection
            .prepare("SELECT 1 FROM sqlite_schema")?
            .exists([])?
        {
            return Err(LedgerError::Failed(format!(
                "{} is a database of another program: set [ledger] path to a file of corenexis-cdn",
                path.display()
            )));
        }
        return Ok(LedgerState::Unnamed { has_images: false });
    }
    Ok(match meta::identity(&connection)? {
        Some(identity) => LedgerState::Named(identity),
        None => LedgerState::Unnamed {
            has_images: connection
                .prepare("SELECT 1 FROM image LIMIT 1")?
                .exists([])?,
        },
    })
}

/// A second thread interrupts the check at the timeout.
fn quick_check(connection: &Connection, timeout: Duration) -> rusqlite::Result<QuickCheck> {
    let interrupt = connection.get_interrupt_handle();
    let (finished, waiting) = channel::<()>();
    let watch = thread::spawn(move || {
        if waiting.recv_timeout(timeout) == Err(RecvTimeoutError::Timeout) {
            interrupt.interrupt();
        }
    });
    let outcome = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0));
    drop(finished);
    let _ = watch.join();
    match outcome {
        Ok(text) if text == "ok" => Ok(QuickCheck::Sound),
        Ok(text) => Ok(QuickCheck::Damaged(text)),
        Err(error) => match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::OperationInterrupted) => Ok(QuickCheck::Unfinished),
            Some(rusqlite::ErrorCode::DatabaseCorrupt) => {
                Ok(QuickCheck::Damaged(error.to_string()))
            }
            _ => Err(error),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Token;
    use crate::config::Durability;
    use crate::ledger::sqlite::SqliteLedger;
    use crate::ledger::{Ledger, Swept};
    use time::macros::utc_datetime;

    const TIMEOUT: Duration = Duration::from_secs(30);

    #[test]
    fn an_inspection_creates_nothing() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("ledger.db");
        inspect(&path, TIMEOUT).expect_err("no ledger");
        assert!(!path.exists());

        let now = utc_datetime!(2026-04-05 12:00);
        let ledger = SqliteLedger::open(&path, Durability::Full, 1, now).expect("open");
        let token = Token::random().expect("a token");
        for (id, plan) in [("shop", "3m"), ("gone", "free")] {
            ledger
                .add_client(id, plan, token.digest(), now)
                .expect("added");
        }
        ledger.remove_client("gone", now).expect("removed");
        ledger
            .finish_sweep(Swept::default(), Some(now))
            .expect("noted");
        let found = inspect(&path, TIMEOUT).expect("a look");
        let seconds = Timestamp::from(now);
        assert_eq!(
            found,
            Inspection {
                schema: newest_schema(),
                newest: newest_schema(),
                journal: Some("wal".to_owned()),
                check: QuickCheck::Sound,
                clients: vec![("shop".to_owned(), "3m".to_owned())],
                created: Some(seconds),
                swept: Some(seconds),
                newest_day: None,
                log: None,
                #[cfg(feature = "postgres")]
                database: None,
            }
        );
    }

    #[test]
    fn regression_a_database_of_another_program_got_the_tables_of_a_ledger() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("other.db");
        let other = Connection::open(&path).expect("open");
        let unnamed = LedgerState::Unnamed { has_images: false };
        other
            .execute_batch("PRAGMA user_version = 0")
            .expect("a database");
        assert_eq!(state(&path).expect("empty"), unnamed);
        other.execute_batch("CREATE TABLE x (y)").expect("a table");
        let refused = state(&path).expect_err("another program's");
        assert!(refused.to_string().contains("another program"), "{refused}");
    }

    #[test]
    fn a_database_of_something_else_has_no_version() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("other.db");
        let other = Connection::open(&path).expect("open");
        other.execute_batch("CREATE TABLE x (y)").expect("a table");
        assert_eq!(inspect(&path, TIMEOUT).expect("a look").schema, 0);
        std::fs::write(&path, [b'x'; 4096]).expect("written");
        inspect(&path, TIMEOUT).expect_err("no database");
    }
}
