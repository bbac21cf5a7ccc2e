//! The marks of the write-ahead log in the table `meta`.

use rusqlite::Connection;

use super::meta::value;
use crate::ledger::LogMarks;

const ID: &str = "log_id";
const RECORDED: &str = "log_recorded";
const CHECKPOINTED: &str = "log_checkpointed";

/// `None` before the log got its id.
pub(super) fn marks(connection: &Connection) -> rusqlite::Result<Option<LogMarks>> {
    let Some(id) = value(connection, ID)? else {
        return Ok(None);
    };
    Ok(Some(LogMarks {
        log_id: id.cast_unsigned(),
        recorded: value(connection, RECORDED)?.unwrap_or(0).cast_unsigned(),
        checkpointed: value(connection, CHECKPOINTED)?
            .unwrap_or(0)
            .cast_unsigned(),
    }))
}

/// Another process may have set it meanwhile; the first one counts.
pub(super) fn set_id(connection: &Connection, id: u64) -> rusqlite::Result<()> {
    connection.execute(
        "INSERT INTO meta (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO NOTHING",
        (ID, id.cast_signed()),
    )?;
    Ok(())
}

pub(super) fn set_recorded(connection: &Connection, lsn: u64) -> rusqlite::Result<()> {
    raise(connection, RECORDED, lsn)
}

pub(super) fn set_checkpointed(connection: &Connection, lsn: u64) -> rusqlite::Result<()> {
    raise(connection, CHECKPOINTED, lsn)
}

/// Makes the ledger one of another log, with another id.
pub(super) fn reset(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute(
        "DELETE FROM meta WHERE name IN (?1, ?2, ?3)",
        (ID, RECORDED, CHECKPOINTED),
    )?;
    Ok(())
}

fn raise(connection: &Connection, name: &str, lsn: u64) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO meta (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = max(value, excluded.value)",
        )?
        .execute((name, lsn.cast_signed()))?;
    Ok(())
}
