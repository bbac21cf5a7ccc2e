//! Statements about images and the quota they use.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row};
use time::UtcDateTime;

use super::day_number;
use crate::image_path::ImagePath;
use crate::ledger::{ClientKey, Expired, FoundImage, ImageFilter, ImageRow, NewImage, Verdict};
use crate::plan::{DAY_SECONDS, Expiry};

/// What a batch adds to one client's day.
struct Added {
    used_before: u32,
    uploads: u32,
    bytes: u64,
}

pub(super) fn record(
    connection: &Connection,
    batch: &[NewImage],
    now: UtcDateTime,
) -> rusqlite::Result<Vec<Verdict>> {
    let day = day_number(now.date());
    let mut insert = connection.prepare_cached(
        "INSERT INTO image (path, client, size, width, height, uploaded_at, expires_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (path) DO NOTHING",
    )?;
    let mut days: HashMap<ClientKey, Added> = HashMap::new();
    let mut verdicts = Vec::with_capacity(batch.len());
    for image in batch {
        let added = match days.entry(image.client) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let used_before = used(connection, image.client, day)?;
                entry.insert(Added {
                    used_before,
                    uploads: 0,
                    bytes: 0,
                })
            }
        };
        let used = added.used_before + added.uploads;
        verdicts.push(if used >= image.daily_limit {
            Verdict::Exhausted { used }
        } else {
            let expires_at = image.path.duration().expiry(now).map(Expiry::instant);
            let inserted = insert.execute((
                image.path.as_str(),
                image.client.0,
                image.size,
                image.width,
                image.height,
                now.unix_timestamp(),
                expires_at,
            ))?;
            if inserted == 0 {
                Verdict::NameTaken
            } else {
                added.uploads += 1;
                added.bytes += image.size;
                Verdict::Recorded { used: used + 1 }
            }
        });
    }
    let mut count = connection.prepare_cached(
        "INSERT INTO usage (client, day, uploads, bytes) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (client, day) DO UPDATE SET uploads = uploads + excluded.uploads, bytes = bytes + excluded.bytes",
    )?;
    for (client, added) in days.into_iter().filter(|(_, added)| added.uploads > 0) {
        count.execute((client.0, day, added.uploads, added.bytes))?;
    }
    Ok(verdicts)
}

fn used(connection: &Connection, client: ClientKey, day: i64) -> rusqlite::Result<u32> {
    let used = connection
        .prepare_cached("SELECT uploads FROM usage WHERE client = ?1 AND day = ?2")?
        .query_row((client.0, day), |row| row.get(0))
        .optional()?;
    Ok(used.unwrap_or(0))
}

pub(super) fn withdraw(connection: &Connection, paths: &[ImagePath]) -> rusqlite::Result<usize> {
    let mut delete = connection
        .prepare_cached("DELETE FROM image WHERE path = ?1 RETURNING client, uploaded_at, size")?;
    let mut give_back = connection.prepare_cached(
        "UPDATE usage SET uploads = max(uploads - 1, 0), bytes = max(bytes - ?3, 0) WHERE client = ?1 AND day = ?2",
    )?;
    let mut withdrawn = 0;
    for path in paths {
        let row: Option<(i64, i64, u64)> = delete
            .query_row([path.as_str()], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })
            .optional()?;
        if let Some((client, uploaded_at, size)) = row {
            give_back.execute((client, uploaded_at.div_euclid(DAY_SECONDS), size))?;
            withdrawn += 1;
        }
    }
    Ok(withdrawn)
}

pub(super) fn adopt(
    connection: &Connection,
    images: &[FoundImage],
    client: ClientKey,
) -> rusqlite::Result<usize> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO image (path, client, size, width, height, uploaded_at, expires_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (path) DO NOTHING",
    )?;
    images.iter().try_fold(0, |adopted, image| {
        let inserted = insert.execute((
            image.path.as_str(),
            client.0,
            image.size,
            image.width,
            image.height,
            image.uploaded_at,
            image.expires_at,
        ))?;
        Ok(adopted + inserted)
    })
}

pub(super) fn forget(connection: &Connection, paths: &[ImagePath]) -> rusqlite::Result<usize> {
    let mut delete = connection.prepare_cached("DELETE FROM image WHERE path = ?1")?;
    paths.iter().try_fold(0, |forgotten, path| {
        Ok(forgotten + delete.execute([path.as_str()])?)
    })
}

pub(super) fn expired(
    connection: &Connection,
    now: UtcDateTime,
    after: Option<&Expired>,
    limit: u32,
) -> rusqlite::Result<Vec<Expired>> {
    let (at, path) = after.map_or((i64::MIN, ""), |after| (after.at, after.path.as_str()));
    connection
        .prepare_cached(
            "SELECT expires_at, path FROM image
             WHERE expires_at <= ?1 AND (expires_at, path) > (?2, ?3) ORDER BY expires_at, path LIMIT ?4",
        )?
        .query_map((now.unix_timestamp(), at, path, limit), |row| Ok(Expired { at: row.get(0)?, path: path_of(row, 1)? }))?
        .collect()
}

pub(super) fn expired_count(connection: &Connection, now: UtcDateTime) -> rusqlite::Result<u64> {
    connection.query_row(
        "SELECT count(*) FROM image WHERE expires_at <= ?1",
        [now.unix_timestamp()],
        |row| row.get(0),
    )
}

const COLUMNS: &str = "image.path, client.id, image.size, image.width, image.height, image.uploaded_at, image.expires_at, client.key
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
    // The paths of a directory are those between `d/ap5/` and `d/ap50`, because 0 follows the slash.
    let (first, end) = match &filter.directory {
        Some(directory) => (format!("{directory}/"), format!("{directory}0")),
        None => (String::new(), "~".to_owned()),
    };
    let first = filter
        .after
        .as_ref()
        .map_or(first.as_str(), |after| first.as_str().max(after.as_str()));
    connection
        .prepare_cached(&format!(
            "SELECT {COLUMNS} WHERE image.path > ?1 AND image.path < ?2 AND (?3 IS NULL OR client.id = ?3)
                AND (?4 IS NULL OR image.client = ?4)
             ORDER BY image.path LIMIT ?5"
        ))?
        .query_map(
            (
                first,
                end,
                &filter.client,
                filter.owner.map(|owner| owner.0),
                filter.limit,
            ),
            image_row,
        )?
        .collect()
}

fn image_row(row: &Row<'_>) -> rusqlite::Result<ImageRow> {
    Ok(ImageRow {
        path: path_of(row, 0)?,
        client: row.get(1)?,
        size: row.get(2)?,
        width: row.get(3)?,
        height: row.get(4)?,
        uploaded_at: row.get(5)?,
        expires_at: row.get(6)?,
        owner: ClientKey(row.get(7)?),
    })
}

/// A path from the ledger is checked like any other before it reaches the file system.
fn path_of(row: &Row<'_>, column: usize) -> rusqlite::Result<ImagePath> {
    let text: String = row.get(column)?;
    text.parse().map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error))
    })
}
