//! Records uploads: one call of `record_images` for each batch.

use std::net::Ipv6Addr;

use time::UtcDateTime;

use super::inspection::{self, CLOCK_TOLERANCE};
use super::pool::Pool;
use super::statement::{column, count, get, only, parameters, pixels, signed, small, texts};
use crate::idempotency::{REMEMBERED, UploadKey};
use crate::ledger::rows::day_number;
use crate::ledger::{LedgerError, LoggedImage, NewImage, Verdict};

/// Records, unless the clocks of host and server differ: then the function gets no paths, and gives no verdict.
const RECORD: &str = "SELECT verdict, used FROM corenexis.record_images($1, $2, $3, $4,
         CASE WHEN abs(extract(epoch FROM now())::bigint - $16) <= $17 THEN $5 ELSE '{}' END,
         $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)";

/// The rows of a batch of which some may be there, and the quota of those that are new.
const REPLAY: &str =
    "WITH image AS (SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
         AS image (path, client, size, width, height, uploaded_at, expires_at, address, key, request)),
     inserted AS (
         INSERT INTO corenexis.image (path, client, size, width, height, uploaded_at, expires_at, address)
         SELECT path, client, size, width, height, uploaded_at, expires_at, address FROM image
         ON CONFLICT (path) DO NOTHING RETURNING path, client, size, uploaded_at),
     counted AS (
         INSERT INTO corenexis.usage AS counted (client, day, uploads, bytes)
         SELECT client, uploaded_at / 86400, count(*), sum(size) FROM inserted GROUP BY 1, 2 ORDER BY 1, 2
         ON CONFLICT (client, day) DO UPDATE
             SET uploads = counted.uploads + excluded.uploads, bytes = counted.bytes + excluded.bytes),
     keyed AS (
         INSERT INTO corenexis.upload_key (client, key, request, path, uploaded_at)
         SELECT DISTINCT ON (client, key) client, key, request, path, uploaded_at
         FROM inserted JOIN image USING (path, client, uploaded_at) WHERE key IS NOT NULL
         ORDER BY client, key, uploaded_at DESC
         ON CONFLICT (client, key) DO UPDATE
             SET request = excluded.request, path = excluded.path, uploaded_at = excluded.uploaded_at)
     SELECT count(*) FROM inserted";

pub(super) fn record(
    pool: &Pool,
    batch: &[NewImage],
    now: UtcDateTime,
    is_durable: bool,
) -> Result<Vec<Verdict>, LedgerError> {
    if batch.is_empty() {
        return Ok(Vec::new());
    }
    let at = now.unix_timestamp();
    let expires_at = |image: &NewImage| {
        let expiry = image.path.duration().expiry(now)?;
        Some(expiry.instant().0)
    };
    let rows = pool.query(RECORD, |_| {
        parameters![
            at,
            day_number(now.date()),
            at - REMEMBERED,
            is_durable,
            texts(batch.iter().map(|image| &image.path)),
            column(batch, |image| image.client.0),
            column(batch, |image| i64::from(image.daily_limit)),
            column(batch, |image| image.max_storage.map(signed)),
            column(batch, |image| signed(image.size)),
            column(batch, |image| pixels(image.width)),
            column(batch, |image| pixels(image.height)),
            column(batch, expires_at),
            column(batch, |image| image.address.map(octets)),
            column(batch, |image| image.key.map(key)),
            column(batch, |image| image.key.map(request)),
            UtcDateTime::now().unix_timestamp(),
            signed(CLOCK_TOLERANCE),
        ]
    })?;
    if rows.is_empty() {
        inspection::require_clock(pool)?;
        return Err(LedgerError::Unreachable(
            "the clock of this host was set while uploads were recorded".to_owned(),
        ));
    }
    if rows.len() != batch.len() {
        return Err(LedgerError::Failed(format!(
            "the ledger gave {} verdicts for {} images",
            rows.len(),
            batch.len()
        )));
    }
    rows.iter()
        .map(|row| {
            let used = small(row, 1)?;
            Ok(match get::<i32>(row, 0)? {
                0 => Verdict::Recorded { used },
                1 => Verdict::QuotaExceeded { used },
                2 => Verdict::StorageExceeded { used },
                3 => Verdict::Repeated,
                _ => Verdict::NameTaken,
            })
        })
        .collect()
}

pub(super) fn replay(pool: &Pool, images: &[LoggedImage]) -> Result<usize, LedgerError> {
    let rows = pool.query(REPLAY, |_| {
        parameters![
            texts(images.iter().map(|image| &image.path)),
            column(images, |image| image.client.0),
            column(images, |image| signed(image.size)),
            column(images, |image| pixels(image.width)),
            column(images, |image| pixels(image.height)),
            column(images, |image| image.uploaded_at.0),
            column(images, |image| image
                .expiry()
                .map(|expiry| expiry.instant().0)),
            column(images, |image| image.address.map(octets)),
            column(images, |image| image.key.map(key)),
            column(images, |image| image.key.map(request)),
        ]
    })?;
    Ok(usize::try_from(count(&only(rows)?, 0)?).unwrap_or(usize::MAX))
}

fn octets(address: Ipv6Addr) -> Vec<u8> {
    address.octets().to_vec()
}

fn key(key: UploadKey) -> Vec<u8> {
    key.key.0.to_vec()
}

fn request(key: UploadKey) -> Vec<u8> {
    key.request.0.to_vec()
}
