//! Keys of uploads, by which a repetition is recognized.

use rusqlite::{Connection, OptionalExtension};

use super::images;
use crate::idempotency::{Fingerprint, UploadKey};
use crate::image_path::ImagePath;
use crate::ledger::{ClientKey, KeyedUpload};
use crate::timestamp::Timestamp;

/// The upload with that key since `since`. A key whose image was deleted is free again.
pub(super) fn find(
    connection: &Connection,
    client: ClientKey,
    key: Fingerprint,
    since: Timestamp,
) -> rusqlite::Result<Option<KeyedUpload>> {
    let row = connection
        .prepare_cached(
            "SELECT request, path, uploaded_at FROM upload_key WHERE client = ?1 AND key = ?2 AND uploaded_at >= ?3",
        )?
        .query_row((client.0, key.0, since.0), |row| {
            let uploaded_at = Timestamp(row.get(2)?);
            Ok((Fingerprint(row.get(0)?), images::path_of(row, 1)?, uploaded_at))
        })
        .optional()?;
    let Some((request, path, uploaded_at)) = row else {
        return Ok(None);
    };
    let image = images::image(connection, &path)?;
    let image = image.filter(|image| image.owner == client && image.uploaded_at == uploaded_at);
    Ok(image.map(|image| KeyedUpload { request, image }))
}

/// Remembers the key of an image that is recorded.
pub(super) fn remember(
    connection: &Connection,
    client: ClientKey,
    key: UploadKey,
    path: &ImagePath,
    uploaded_at: i64,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO upload_key (client, key, request, path, uploaded_at) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (client, key) DO UPDATE SET
                 request = excluded.request, path = excluded.path, uploaded_at = excluded.uploaded_at",
        )?
        .execute((client.0, key.key.0, key.request.0, path.as_str(), uploaded_at))?;
    Ok(())
}

pub(super) fn forget(
    connection: &Connection,
    before: Timestamp,
    limit: u32,
) -> rusqlite::Result<usize> {
    connection
        .prepare_cached(
            "DELETE FROM upload_key WHERE (client, key) IN
                 (SELECT client, key FROM upload_key WHERE uploaded_at < ?1 ORDER BY uploaded_at LIMIT ?2)",
        )?
        .execute((before.0, limit))
}
