//! The table `secret`: random keys that this ledger alone has.

use rusqlite::{Connection, OptionalExtension};

use crate::delete_key::SECRET_BYTES;

/// The row of the key that makes the delete keys of images.
const DELETE_IMAGES: &str = "delete_images";

/// The secret of delete keys; `None` if it has not been made.
pub(super) fn delete_images(
    connection: &Connection,
) -> rusqlite::Result<Option<[u8; SECRET_BYTES]>> {
    connection
        .prepare_cached("SELECT value FROM secret WHERE name = ?1")?
        .query_row([DELETE_IMAGES], |row| row.get(0))
        .optional()
}

/// Adds the secret of delete keys, unless another process has added one meanwhile; returns the one that is there.
pub(super) fn add_delete_images(
    connection: &Connection,
    value: [u8; SECRET_BYTES],
) -> rusqlite::Result<[u8; SECRET_BYTES]> {
    connection
        .prepare_cached("INSERT OR IGNORE INTO secret (name, value) VALUES (?1, ?2)")?
        .execute((DELETE_IMAGES, value))?;
    connection
        .prepare_cached("SELECT value FROM secret WHERE name = ?1")?
        .query_row([DELETE_IMAGES], |row| row.get(0))
}
