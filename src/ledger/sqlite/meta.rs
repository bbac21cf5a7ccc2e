//! The table `meta`: the identity, when the ledger was made and swept, and what sweeps deleted.

use rusqlite::Connection;
use time::UtcDateTime;

use crate::identity::Identity;
use crate::ledger::{Status, Swept};
use crate::timestamp::Timestamp;

pub(super) const CREATED_AT: &str = "created_at";
const SWEPT_AT: &str = "swept_at";
const ID: &str = "id";
const MARK: &str = "mark";

/// The identity; `None` in a ledger that an older version made.
pub(super) fn identity(connection: &Connection) -> rusqlite::Result<Option<Identity>> {
    let id = value(connection, ID)?;
    let mark = value(connection, MARK)?;
    Ok(id.zip(mark).map(|(id, mark)| Identity {
        id: id.cast_unsigned(),
        mark: mark.cast_unsigned(),
    }))
}

pub(super) fn set_identity(connection: &Connection, identity: Identity) -> rusqlite::Result<()> {
    set(connection, ID, identity.id.cast_signed())?;
    set(connection, MARK, identity.mark.cast_signed())
}

/// The value of a row; `None` if there is none.
pub(super) fn value(connection: &Connection, name: &str) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached("SELECT max(value) FROM meta WHERE name = ?1")?
        .query_row([name], |row| row.get(0))
}

fn set(connection: &Connection, name: &str, value: i64) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO meta (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        )?
        .execute((name, value))?;
    Ok(())
}

pub(super) fn status(connection: &Connection) -> rusqlite::Result<Status> {
    let mut swept = Swept::default();
    for (name, total) in totals(&mut swept) {
        *total = u64::try_from(value(connection, name)?.unwrap_or(0)).unwrap_or(0);
    }
    Ok(Status {
        created_at: Timestamp(value(connection, CREATED_AT)?.unwrap_or(i64::MAX)),
        last_sweep: value(connection, SWEPT_AT)?.map(Timestamp),
        swept,
    })
}

pub(super) fn set_time(
    connection: &Connection,
    name: &str,
    at: UtcDateTime,
) -> rusqlite::Result<()> {
    set(connection, name, at.unix_timestamp())
}

pub(super) fn finish_sweep(
    connection: &Connection,
    mut swept: Swept,
    completed_at: Option<UtcDateTime>,
) -> rusqlite::Result<()> {
    let mut add = connection.prepare_cached(
        "INSERT INTO meta (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = value + excluded.value",
    )?;
    for (name, number) in totals(&mut swept) {
        add.execute((name, *number))?;
    }
    match completed_at {
        Some(now) => set_time(connection, SWEPT_AT, now),
        None => Ok(()),
    }
}

/// The totals by the names of their rows.
fn totals(swept: &mut Swept) -> [(&'static str, &mut u64); 5] {
    [
        ("swept_expired", &mut swept.expired),
        ("swept_bytes", &mut swept.bytes),
        ("swept_abandoned", &mut swept.abandoned),
        ("swept_withdrawn", &mut swept.refunded),
        ("swept_orphaned", &mut swept.orphaned),
    ]
}
