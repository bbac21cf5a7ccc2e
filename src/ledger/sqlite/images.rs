//! Statements about images and the quota they use.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::Ipv6Addr;

use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row};
use time::UtcDateTime;

use super::upload_keys::{self, remember};
use crate::expiry::DAY_SECONDS;
use crate::idempotency::REMEMBERED;
use crate::image_path::ImagePath;
use crate::ledger::rows::{day_number, path_ranges};
use crate::ledger::{
    ClientKey, Deleted, Expired, FoundImage, ImageFilter, ImageRow, LoggedImage, NewImage,
    Quarantined, Verdict,
};
use crate::timestamp::Timestamp;

const INSERT: &str =
    "INSERT INTO image (path, client, size, width, height, uploaded_at, expires_at, address)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (path) DO NOTHING";

const COUNT: &str = "INSERT INTO usage (client, day, uploads, bytes) VALUES (?1, ?2, ?3, ?4)
     ON CONFLICT (client, day) DO UPDATE SET uploads = uploads + excluded.uploads, bytes = bytes + excluded.bytes";

/// What a batch adds to what one client has stored.
struct Added {
    /// Images of the day before this batch.
    used_before: u32,
    /// Bytes that the client had stored before this batch, of all days.
    stored_before: u64,
    uploads: u32,
    bytes: u64,
}

pub(super) fn record(
    connection: &Connection,
    batch: &[NewImage],
    now: UtcDateTime,
) -> rusqlite::Result<Vec<Verdict>> {
    let day = day_number(now.date());
    let mut insert = connection.prepare_cached(INSERT)?;
    let mut days: HashMap<ClientKey, Added> = HashMap::new();
    let mut verdicts = Vec::with_capacity(batch.len());
    for image in batch {
        let added = match days.entry(image.client) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(Added {
                used_before: used(connection, image.client, day)?,
                stored_before: match image.max_storage {
                    Some(_) => stored(connection, image.client)?,
                    None => 0,
                },
                uploads: 0,
                bytes: 0,
            }),
        };
        let used = added.used_before + added.uploads;
        let stored = added.stored_before + added.bytes;
        verdicts.push(if is_repeated(connection, image, now)? {
            Verdict::Repeated
        } else if used >= image.daily_limit {
            Verdict::QuotaExceeded { used }
        } else if image
            .max_storage
            .is_some_and(|limit| stored.saturating_add(image.size) > limit)
        {
            Verdict::StorageExceeded { used }
        } else {
            let expires_at = image
                .path
                .duration()
                .expiry(now)
                .map(|expiry| expiry.instant().0);
            let inserted = insert.execute((
                image.path.as_str(),
                image.client.0,
                image.size,
                image.width,
                image.height,
                now.unix_timestamp(),
                expires_at,
                image.address.map(|address| address.octets()),
            ))?;
            if inserted == 0 {
                Verdict::NameTaken
            } else {
                if let Some(key) = image.key {
                    let uploaded_at = now.unix_timestamp();
                    remember(connection, image.client, key, &image.path, uploaded_at)?;
                }
                added.uploads += 1;
                added.bytes += image.size;
                Verdict::Recorded { used: used + 1 }
            }
        });
    }
    let mut count = connection.prepare_cached(COUNT)?;
    for (client, added) in days.into_iter().filter(|(_, added)| added.uploads > 0) {
        count.execute((client.0, day, added.uploads, added.bytes))?;
    }
    Ok(verdicts)
}

/// Whether an upload with the image's key is recorded: by another process, since this one has one upload of a key at a time.
fn is_repeated(
    connection: &Connection,
    image: &NewImage,
    now: UtcDateTime,
) -> rusqlite::Result<bool> {
    let Some(key) = image.key else {
        return Ok(false);
    };
    let since = Timestamp::from(now).minus(REMEMBERED);
    Ok(upload_keys::find(connection, image.client, key.key, since)?.is_some())
}

/// Bytes that the client has stored.
fn stored(connection: &Connection, client: ClientKey) -> rusqlite::Result<u64> {
    connection
        .prepare_cached("SELECT max(stored_bytes, 0) FROM client WHERE key = ?1")?
        .query_row([client.0], |row| row.get(0))
}

fn used(connection: &Connection, client: ClientKey, day: i64) -> rusqlite::Result<u32> {
    let used = connection
        .prepare_cached("SELECT uploads FROM usage WHERE client = ?1 AND day = ?2")?
        .query_row((client.0, day), |row| row.get(0))
        .optional()?;
    Ok(used.unwrap_or(0))
}

pub(super) fn refund(connection: &Connection, paths: &[ImagePath]) -> rusqlite::Result<usize> {
    let mut delete = connection
        .prepare_cached("DELETE FROM image WHERE path = ?1 RETURNING client, uploaded_at, size")?;
    let mut refund_usage = connection.prepare_cached(
        "UPDATE usage SET uploads = max(uploads - 1, 0), bytes = max(bytes - ?3, 0) WHERE client = ?1 AND day = ?2",
    )?;
    let mut refunded = 0;
    for path in paths {
        let row: Option<(i64, i64, u64)> = delete
            .query_row([path.as_str()], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })
            .optional()?;
        if let Some((client, uploaded_at, size)) = row {
            refund_usage.execute((client, uploaded_at.div_euclid(DAY_SECONDS), size))?;
            refunded += 1;
        }
    }
    Ok(refunded)
}

/// Inserts rows and counts their quota; gives how many are new.
pub(super) fn replay(connection: &Connection, images: &[LoggedImage]) -> rusqlite::Result<usize> {
    let mut insert = connection.prepare_cached(INSERT)?;
    let mut count = connection.prepare_cached(COUNT)?;
    let mut replayed = 0;
    for image in images {
        let uploaded_at = image.uploaded_at.0;
        let inserted = insert.execute((
            image.path.as_str(),
            image.client.0,
            image.size,
            image.width,
            image.height,
            uploaded_at,
            image.expiry().map(|expiry| expiry.instant().0),
            image.address.map(|address| address.octets()),
        ))?;
        if inserted > 0 {
            if let Some(key) = image.key {
                remember(connection, image.client, key, &image.path, uploaded_at)?;
            }
            let day = uploaded_at.div_euclid(DAY_SECONDS);
            count.execute((image.client.0, day, 1, image.size))?;
            replayed += 1;
        }
    }
    Ok(replayed)
}

pub(super) fn adopt(
    connection: &Connection,
    images: &[FoundImage],
    client: ClientKey,
) -> rusqlite::Result<usize> {
    let mut insert = connection.prepare_cached(INSERT)?;
    images.iter().try_fold(0, |adopted, image| {
        let inserted = insert.execute((
            image.path.as_str(),
            client.0,
            image.size,
            image.width,
            image.height,
            image.uploaded_at.0,
            image.expires_at.map(|at| at.0),
            None::<[u8; 16]>,
        ))?;
        Ok(adopted + inserted)
    })
}

pub(super) fn set_dimensions(
    connection: &Connection,
    images: &[(&ImagePath, (u32, u32))],
) -> rusqlite::Result<()> {
    let mut update =
        connection.prepare_cached("UPDATE image SET width = ?2, height = ?3 WHERE path = ?1")?;
    for (path, (width, height)) in images {
        update.execute((path.as_str(), width, height))?;
    }
    Ok(())
}

/// Forgets addresses of images that were uploaded before `before`.
pub(super) fn forget_addresses(
    connection: &Connection,
    before: Timestamp,
    limit: u32,
) -> rusqlite::Result<usize> {
    connection
        .prepare_cached(
            "UPDATE image SET address = NULL WHERE path IN
                 (SELECT path FROM image INDEXED BY image_with_address
                  WHERE address IS NOT NULL AND uploaded_at < ?1 ORDER BY uploaded_at LIMIT ?2)",
        )?
        .execute((before.0, limit))
}

pub(super) fn delete_rows(
    connection: &Connection,
    paths: &[ImagePath],
) -> rusqlite::Result<Deleted> {
    let mut delete =
        connection.prepare_cached("DELETE FROM image WHERE path = ?1 RETURNING size")?;
    let mut deleted = Deleted::default();
    for path in paths {
        let size: Option<u64> = delete
            .query_row([path.as_str()], |row| row.get(0))
            .optional()?;
        if let Some(size) = size {
            deleted.rows += 1;
            deleted.bytes += size;
        }
    }
    Ok(deleted)
}

pub(super) fn expired(
    connection: &Connection,
    now: UtcDateTime,
    after: Option<&Expired>,
    limit: u32,
) -> rusqlite::Result<Vec<Expired>> {
    let (at, path) = after.map_or((i64::MIN, ""), |after| (after.at.0, after.path.as_str()));
    connection
        .prepare_cached(
            "SELECT expires_at, path FROM image
             WHERE expires_at <= ?1 AND quarantined_at IS NULL AND (expires_at, path) > (?2, ?3) ORDER BY expires_at, path LIMIT ?4",
        )?
        .query_map((now.unix_timestamp(), at, path, limit), |row| Ok(Expired { at: Timestamp(row.get(0)?), path: path_of(row, 1)? }))?
        .collect()
}

pub(super) fn expired_count(connection: &Connection, now: UtcDateTime) -> rusqlite::Result<u64> {
    connection.query_row(
        "SELECT count(*) FROM image WHERE expires_at <= ?1 AND quarantined_at IS NULL",
        [now.unix_timestamp()],
        |row| row.get(0),
    )
}

/// What [`image_row`] reads.
pub(super) const COLUMNS: &str = "image.path, client.id, image.size, image.width, image.height, image.uploaded_at, image.expires_at, client.key,
         image.quarantined_at, image.quarantined_until, image.quarantine_reason,
         client.removed_at, image.quarantined_with_client, image.address
     FROM image JOIN client ON client.key = image.client";

pub(super) fn image(
    connection: &Connection,
    path: &ImagePath,
) -> rusqlite::Result<Option<ImageRow>> {
    connection
        .prepare_cached(&format!("SELECT {COLUMNS} WHERE image.path = ?1"))?
        .query_row([path.as_str()], image_row)
        .optional()
}

pub(super) fn images(
    connection: &Connection,
    filter: &ImageFilter,
) -> rusqlite::Result<Vec<ImageRow>> {
    let mut rows = Vec::new();
    for (first, end) in path_ranges(filter) {
        let wanted = filter.limit as usize - rows.len();
        if wanted == 0 {
            break;
        }
        let after = filter.after.as_ref().map_or("", ImagePath::as_str);
        let (from, to) = filter.instants();
        let mut query = connection.prepare_cached(&format!(
            "SELECT {COLUMNS} WHERE image.path > ?1 AND image.path < ?2 AND image.uploaded_at BETWEEN ?3 AND ?4
             ORDER BY image.path LIMIT ?5"
        ))?;
        let page = query.query_map(
            (first.as_str().max(after), end, from, to, wanted),
            image_row,
        )?;
        for row in page {
            rows.push(row?);
        }
    }
    Ok(rows)
}

pub(super) fn image_row(row: &Row<'_>) -> rusqlite::Result<ImageRow> {
    Ok(ImageRow {
        path: path_of(row, 0)?,
        client: row.get(1)?,
        size: row.get(2)?,
        width: row.get(3)?,
        height: row.get(4)?,
        uploaded_at: Timestamp(row.get(5)?),
        expires_at: row.get::<_, Option<i64>>(6)?.map(Timestamp),
        owner: ClientKey(row.get(7)?),
        address: row.get::<_, Option<[u8; 16]>>(13)?.map(Ipv6Addr::from),
        quarantine: quarantine(row)?,
        client_removed_at: row.get::<_, Option<i64>>(11)?.map(Timestamp),
    })
}

fn quarantine(row: &Row<'_>) -> rusqlite::Result<Option<Quarantined>> {
    let Some(at) = row.get(8)? else {
        return Ok(None);
    };
    Ok(Some(Quarantined {
        at: Timestamp(at),
        until: row.get::<_, Option<i64>>(9)?.map(Timestamp),
        reason: row.get(10)?,
        with_client: row.get(12)?,
    }))
}

/// Paths from the ledger are checked before they reach the file system.
pub(super) fn path_of(row: &Row<'_>, column: usize) -> rusqlite::Result<ImagePath> {
    let text: String = row.get(column)?;
    text.parse().map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error))
    })
}
