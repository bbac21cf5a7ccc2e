//! Statements about quarantine, the block list and the purge queue.

use time::UtcDateTime;

use super::PostgresLedger;
use super::images::{columns, image_row, tables};
use super::statement::{bytes, column, count, get, only, parameters, path, small, text, texts};
use crate::image_digest::ImageDigest;
use crate::image_path::ImagePath;
use crate::ledger::{Blocked, ImageRow, LedgerError, Purge, Quarantined, Takedown, TakedownCounts};
use crate::timestamp::Timestamp;

impl Takedown for PostgresLedger {
    fn set_quarantine(
        &self,
        paths: &[ImagePath],
        quarantine: &Quarantined,
        replace: bool,
    ) -> Result<usize, LedgerError> {
        const SQL: &str = "WITH marked AS (
                 UPDATE corenexis.image SET
                     quarantined_until = CASE WHEN $5 OR quarantined_at IS NULL THEN $3 ELSE quarantined_until END,
                     quarantine_reason = CASE WHEN $5 OR quarantined_at IS NULL THEN $4 ELSE quarantine_reason END,
                     quarantined_with_client = CASE WHEN $5 OR quarantined_at IS NULL THEN $6 ELSE quarantined_with_client END,
                     quarantined_at = coalesce(quarantined_at, $2)
                 WHERE path = ANY ($1) RETURNING 1)
             SELECT count(*) FROM marked";
        let rows = self.pool.query(SQL, |_| {
            parameters![
                texts(paths),
                quarantine.at.0,
                quarantine.until.map(|until| until.0),
                quarantine.reason.as_deref().map(text),
                replace,
                quarantine.with_client,
            ]
        })?;
        small(&only(rows)?, 0)
    }

    fn end_quarantine(&self, paths: &[ImagePath]) -> Result<usize, LedgerError> {
        const SQL: &str = "WITH ended AS (
                 UPDATE corenexis.image SET quarantined_at = NULL, quarantined_until = NULL, quarantine_reason = NULL,
                     quarantined_with_client = false
                 WHERE path = ANY ($1) AND quarantined_at IS NOT NULL RETURNING 1)
             SELECT count(*) FROM ended";
        let rows = self.pool.query(SQL, |_| parameters![texts(paths)])?;
        small(&only(rows)?, 0)
    }

    fn quarantined(
        &self,
        after: Option<&ImagePath>,
        limit: u32,
    ) -> Result<Vec<ImageRow>, LedgerError> {
        const SQL: &str = concat!(
            "SELECT ",
            columns!(),
            tables!(),
            "WHERE image.quarantined_at IS NOT NULL AND image.path > $1 ORDER BY image.path LIMIT $2"
        );
        let after = after.map_or("", ImagePath::as_str);
        let rows = self
            .pool
            .query(SQL, |_| parameters![after.to_owned(), i64::from(limit)])?;
        rows.iter().map(image_row).collect()
    }

    fn block(
        &self,
        digests: &[ImageDigest],
        reason: Option<&str>,
        now: UtcDateTime,
    ) -> Result<usize, LedgerError> {
        // A row that is new has no transaction that deleted or locked it (xmax).
        const SQL: &str = "WITH blocked AS (
                 INSERT INTO corenexis.block AS known (sha256, blocked_at, reason)
                 SELECT DISTINCT sha256, $2, $3 FROM unnest($1) AS sha256
                 ON CONFLICT (sha256) DO UPDATE SET reason = coalesce(excluded.reason, known.reason)
                 RETURNING xmax = 0 AS is_new)
             SELECT count(*) FILTER (WHERE is_new) FROM blocked";
        let rows = self.pool.query(SQL, |_| {
            parameters![binaries(digests), now.unix_timestamp(), reason.map(text)]
        })?;
        small(&only(rows)?, 0)
    }

    fn unblock(&self, digests: &[ImageDigest]) -> Result<usize, LedgerError> {
        const SQL: &str = "WITH removed AS (DELETE FROM corenexis.block WHERE sha256 = ANY ($1) RETURNING 1) SELECT count(*) FROM removed";
        let rows = self.pool.query(SQL, |_| parameters![binaries(digests)])?;
        small(&only(rows)?, 0)
    }

    fn has_blocked(&self) -> Result<bool, LedgerError> {
        let rows = self
            .pool
            .query("SELECT EXISTS (SELECT FROM corenexis.block)", |_| vec![])?;
        get(&only(rows)?, 0)
    }

    fn is_blocked(&self, digests: &[ImageDigest]) -> Result<bool, LedgerError> {
        const SQL: &str = "SELECT EXISTS (SELECT FROM corenexis.block WHERE sha256 = ANY ($1))";
        let rows = self.pool.query(SQL, |_| parameters![binaries(digests)])?;
        get(&only(rows)?, 0)
    }

    fn blocked(&self) -> Result<Vec<Blocked>, LedgerError> {
        const SQL: &str = "SELECT sha256, blocked_at, reason FROM corenexis.block ORDER BY blocked_at DESC, sha256";
        let rows = self.pool.query(SQL, |_| vec![])?;
        rows.iter()
            .map(|row| {
                Ok(Blocked {
                    digest: ImageDigest(bytes(row, 0)?),
                    at: Timestamp(get(row, 1)?),
                    reason: get(row, 2)?,
                })
            })
            .collect()
    }

    fn queue_purges(&self, paths: &[ImagePath], now: UtcDateTime) -> Result<(), LedgerError> {
        const SQL: &str = "INSERT INTO corenexis.purge (path, since, retry_at)
             SELECT DISTINCT path, $2, $2 FROM unnest($1) AS path ORDER BY path
             ON CONFLICT (path) DO UPDATE SET since = excluded.since, attempts = 0, retry_at = excluded.retry_at";
        self.pool
            .query(SQL, |_| parameters![texts(paths), now.unix_timestamp()])
            .map(drop)
    }

    fn claim_purges(
        &self,
        now: UtcDateTime,
        until: UtcDateTime,
        limit: u32,
    ) -> Result<Vec<Purge>, LedgerError> {
        // Other processes that claim meanwhile get others.
        const SQL: &str = "WITH claimed AS (
                 UPDATE corenexis.purge SET retry_at = $2 WHERE path IN
                     (SELECT path FROM corenexis.purge WHERE retry_at <= $1 ORDER BY retry_at, path LIMIT $3 FOR UPDATE SKIP LOCKED)
                 RETURNING path, since, attempts)
             SELECT path, since, attempts FROM claimed ORDER BY since, path";
        let rows = self.pool.query(SQL, |_| {
            parameters![
                now.unix_timestamp(),
                until.unix_timestamp(),
                i64::from(limit)
            ]
        })?;
        rows.iter()
            .map(|row| {
                Ok(Purge {
                    path: path(row, 0)?,
                    since: Timestamp(get(row, 1)?),
                    attempts: small(row, 2)?,
                })
            })
            .collect()
    }

    fn defer_purges(&self, purges: &[(ImagePath, UtcDateTime)]) -> Result<(), LedgerError> {
        const SQL: &str =
            "UPDATE corenexis.purge SET attempts = attempts + 1, retry_at = deferred.retry_at
             FROM unnest($1, $2) AS deferred (path, retry_at) WHERE purge.path = deferred.path";
        self.pool
            .query(SQL, |_| {
                parameters![
                    texts(purges.iter().map(|(path, _)| path)),
                    column(purges, |(_, at)| at.unix_timestamp()),
                ]
            })
            .map(drop)
    }

    fn finish_purges(&self, purges: &[Purge]) -> Result<(), LedgerError> {
        const SQL: &str =
            "DELETE FROM corenexis.purge USING unnest($1, $2) AS finished (path, since)
             WHERE purge.path = finished.path AND purge.since = finished.since";
        self.pool
            .query(SQL, |_| {
                parameters![
                    texts(purges.iter().map(|purge| &purge.path)),
                    column(purges, |purge| purge.since.0),
                ]
            })
            .map(drop)
    }

    fn takedown_counts(&self) -> Result<TakedownCounts, LedgerError> {
        const SQL: &str =
            "SELECT (SELECT count(*) FROM corenexis.image WHERE quarantined_at IS NOT NULL),
             (SELECT count(*) FROM corenexis.block), (SELECT count(*) FROM corenexis.purge)";
        let row = only(self.pool.query(SQL, |_| vec![])?)?;
        Ok(TakedownCounts {
            quarantined: count(&row, 0)?,
            blocked: count(&row, 1)?,
            purges: count(&row, 2)?,
        })
    }

    fn waiting_purges(&self) -> Result<(u64, Option<Timestamp>), LedgerError> {
        const SQL: &str = "SELECT count(*), min(since) FROM corenexis.purge";
        let row = only(self.pool.query(SQL, |_| vec![])?)?;
        Ok((count(&row, 0)?, get::<Option<i64>>(&row, 1)?.map(Timestamp)))
    }
}

fn binaries(digests: &[ImageDigest]) -> Vec<Vec<u8>> {
    digests.iter().map(|digest| digest.0.to_vec()).collect()
}
