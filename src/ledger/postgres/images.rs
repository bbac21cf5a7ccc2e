//! Statements about images.

use std::net::Ipv6Addr;

use postgres::Row;
use time::UtcDateTime;

use super::pool::Pool;
use super::statement::{
    bytes, column, count, get, only, parameters, path, pixels, signed, small, text, texts,
};
use crate::idempotency::Fingerprint;
use crate::image_path::ImagePath;
use crate::ledger::rows::path_ranges;
use crate::ledger::{
    ClientKey, Deleted, Expired, FoundImage, ImageFilter, ImageRow, KeyedUpload, LedgerError,
    Quarantined,
};
use crate::timestamp::Timestamp;

/// What [`image_row`] reads, and the tables that it comes from.
macro_rules! columns {
    () => {
        "image.path, client.id, image.size, image.width, image.height, image.uploaded_at, image.expires_at, client.key,
         image.quarantined_at, image.quarantined_until, image.quarantine_reason,
         client.removed_at, image.quarantined_with_client, image.address"
    };
}
pub(super) use columns;

/// The tables of [`columns`].
macro_rules! tables {
    () => {
        " FROM corenexis.image JOIN corenexis.client ON client.key = image.client "
    };
}
pub(super) use tables;

pub(super) fn image(pool: &Pool, path: &ImagePath) -> Result<Option<ImageRow>, LedgerError> {
    const SQL: &str = concat!("SELECT ", columns!(), tables!(), "WHERE image.path = $1");
    let rows = pool.query(SQL, |_| parameters![path.as_str().to_owned()])?;
    rows.first().map(image_row).transpose()
}

/// The upload with that key since `since`. A key whose image was deleted is free again.
pub(super) fn keyed_upload(
    pool: &Pool,
    client: ClientKey,
    key: Fingerprint,
    since: Timestamp,
) -> Result<Option<KeyedUpload>, LedgerError> {
    const SQL: &str = concat!(
        "SELECT ",
        columns!(),
        ", upload_key.request",
        tables!(),
        "JOIN corenexis.upload_key ON upload_key.path = image.path AND upload_key.client = image.client
             AND upload_key.uploaded_at = image.uploaded_at
         WHERE upload_key.client = $1 AND upload_key.key = $2 AND upload_key.uploaded_at >= $3"
    );
    let rows = pool.query(SQL, |_| parameters![client.0, key.0.to_vec(), since.0])?;
    let upload = |row| {
        Ok(KeyedUpload {
            request: Fingerprint(bytes(row, 14)?),
            image: image_row(row)?,
        })
    };
    rows.first().map(upload).transpose()
}

/// Deletes addresses and keys that are old enough. Concurrent calls skip the rows of each other.
pub(super) fn forget(
    pool: &Pool,
    addresses: Timestamp,
    keys: Timestamp,
    limit: u32,
) -> Result<(usize, usize), LedgerError> {
    const SQL: &str = "WITH addresses AS (
             UPDATE corenexis.image SET address = NULL WHERE path IN
                 (SELECT path FROM corenexis.image WHERE address IS NOT NULL AND uploaded_at < $1
                  ORDER BY uploaded_at LIMIT $3 FOR UPDATE SKIP LOCKED) RETURNING 1),
         keys AS (
             DELETE FROM corenexis.upload_key WHERE (client, key) IN
                 (SELECT client, key FROM corenexis.upload_key WHERE uploaded_at < $2
                  ORDER BY uploaded_at LIMIT $3 FOR UPDATE SKIP LOCKED) RETURNING 1)
         SELECT (SELECT count(*) FROM addresses), (SELECT count(*) FROM keys)";
    let rows = pool.query(SQL, |_| parameters![addresses.0, keys.0, i64::from(limit)])?;
    let row = only(rows)?;
    Ok((small(&row, 0)?, small(&row, 1)?))
}

pub(super) fn refund(pool: &Pool, paths: &[ImagePath]) -> Result<usize, LedgerError> {
    let rows = pool.query("SELECT corenexis.refund_images($1)", |_| {
        parameters![texts(paths)]
    })?;
    small(&only(rows)?, 0)
}

pub(super) fn delete_rows(pool: &Pool, paths: &[ImagePath]) -> Result<Deleted, LedgerError> {
    let rows = pool.query(
        "SELECT images, bytes FROM corenexis.delete_images($1)",
        |_| parameters![texts(paths)],
    )?;
    let row = only(rows)?;
    Ok(Deleted {
        rows: small(&row, 0)?,
        bytes: count(&row, 1)?,
    })
}

pub(super) fn set_dimensions(
    pool: &Pool,
    images: &[(&ImagePath, (u32, u32))],
) -> Result<(), LedgerError> {
    const SQL: &str = "UPDATE corenexis.image SET width = new.width, height = new.height
         FROM unnest($1, $2, $3) AS new (path, width, height) WHERE image.path = new.path";
    pool.query(SQL, |_| {
        let side = |side: fn((u32, u32)) -> u32| -> Vec<i32> {
            images.iter().map(|(_, size)| pixels(side(*size))).collect()
        };
        parameters![
            texts(images.iter().map(|(path, _)| *path)),
            side(|(width, _)| width),
            side(|(_, height)| height),
        ]
    })
    .map(drop)
}

/// The server's clock has to agree: one of a host that is ahead would have images of all hosts deleted before their time.
pub(super) fn expired(
    pool: &Pool,
    now: UtcDateTime,
    after: Option<&Expired>,
    limit: u32,
) -> Result<Vec<Expired>, LedgerError> {
    const SQL: &str = "SELECT expires_at, path FROM corenexis.image
         WHERE expires_at IS NOT NULL AND expires_at <= least($1, extract(epoch FROM now())::bigint)
             AND quarantined_at IS NULL AND (expires_at, path) > ($2, $3)
         ORDER BY expires_at, path LIMIT $4";
    let (at, behind) = after.map_or((i64::MIN, ""), |after| (after.at.0, after.path.as_str()));
    let rows = pool.query(SQL, |_| {
        parameters![
            now.unix_timestamp(),
            at,
            behind.to_owned(),
            i64::from(limit)
        ]
    })?;
    rows.iter()
        .map(|row| {
            Ok(Expired {
                at: Timestamp(get(row, 0)?),
                path: path(row, 1)?,
            })
        })
        .collect()
}

pub(super) fn expired_count(pool: &Pool, now: UtcDateTime) -> Result<u64, LedgerError> {
    const SQL: &str = "SELECT count(*) FROM corenexis.image
         WHERE expires_at IS NOT NULL AND expires_at <= $1 AND quarantined_at IS NULL";
    let rows = pool.query_within(super::LONG_DEADLINE, SQL, |_| {
        parameters![now.unix_timestamp()]
    })?;
    count(&only(rows)?, 0)
}

pub(super) fn images(pool: &Pool, filter: &ImageFilter) -> Result<Vec<ImageRow>, LedgerError> {
    const SQL: &str = concat!(
        "SELECT ",
        columns!(),
        tables!(),
        "WHERE image.path > $1 AND image.path < $2 AND image.uploaded_at BETWEEN $3 AND $4 ORDER BY image.path LIMIT $5"
    );
    let mut found = Vec::new();
    let after = filter.after.as_ref().map_or("", ImagePath::as_str);
    let (from, to) = filter.instants();
    for (first, end) in path_ranges(filter) {
        let wanted = filter.limit as usize - found.len();
        if wanted == 0 {
            break;
        }
        let rows = pool.query(SQL, |_| {
            let first = first.as_str().max(after).to_owned();
            parameters![first, end.clone(), from, to, signed(wanted as u64)]
        })?;
        for row in &rows {
            found.push(image_row(row)?);
        }
    }
    Ok(found)
}

pub(super) fn adopt(
    pool: &Pool,
    images: &[FoundImage],
    id: &str,
    plan: &str,
    now: UtcDateTime,
) -> Result<usize, LedgerError> {
    const SQL: &str = "SELECT corenexis.adopt_images($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    let rows = pool.query(SQL, |_| {
        parameters![
            text(id),
            text(plan),
            now.unix_timestamp(),
            texts(images.iter().map(|image| &image.path)),
            column(images, |image| signed(image.size)),
            column(images, |image| pixels(image.width)),
            column(images, |image| pixels(image.height)),
            column(images, |image| image.uploaded_at.0),
            column(images, |image| image.expires_at.map(|at| at.0)),
        ]
    })?;
    small(&only(rows)?, 0)
}

/// Reads [`columns`].
pub(super) fn image_row(row: &Row) -> Result<ImageRow, LedgerError> {
    let side = |column| get::<i32>(row, column).map(|side| u32::try_from(side).unwrap_or(0));
    let time = |column| get::<Option<i64>>(row, column).map(|at| at.map(Timestamp));
    let has_address = get::<Option<&[u8]>>(row, 13)?.is_some();
    Ok(ImageRow {
        path: path(row, 0)?,
        client: get(row, 1)?,
        size: count(row, 2)?,
        width: side(3)?,
        height: side(4)?,
        uploaded_at: Timestamp(get(row, 5)?),
        expires_at: time(6)?,
        owner: ClientKey(get(row, 7)?),
        quarantine: match time(8)? {
            None => None,
            Some(at) => Some(Quarantined {
                at,
                until: time(9)?,
                reason: get(row, 10)?,
                with_client: get(row, 12)?,
            }),
        },
        client_removed_at: time(11)?,
        address: if has_address {
            Some(Ipv6Addr::from(bytes::<16>(row, 13)?))
        } else {
            None
        },
    })
}
