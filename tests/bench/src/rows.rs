//! Rows of images in SQLite, without the rest of a ledger.

use std::path::Path;

use rusqlite::{Connection, Transaction};

/// Opens a database with synchronous commits.
pub fn open(path: &Path) -> rusqlite::Result<Connection> {
    let ledger = Connection::open(path)?;
    ledger.pragma_update(None, "journal_mode", "wal")?;
    ledger.pragma_update(None, "synchronous", "FULL")?;
    ledger.execute(
        "CREATE TABLE image (path TEXT PRIMARY KEY, client INTEGER, size INTEGER, uploaded_at INTEGER, expires_at INTEGER)
         WITHOUT ROWID",
        (),
    )?;
    Ok(ledger)
}

/// Inserts the row of an image, with a scrambled name.
pub fn insert(transaction: &Transaction<'_>, number: u64) -> rusqlite::Result<()> {
    let name = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    transaction
        .prepare_cached("INSERT INTO image VALUES (?1, 1, 20480, 1700000000, 1700000000)")?
        .execute([format!("m/ap5/{name:016x}.png")])?;
    Ok(())
}
