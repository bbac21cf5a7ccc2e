//! Statements about quarantine, the block list and the purge queue.

use rusqlite::{Connection, Row};
use time::UtcDateTime;

use super::SqliteLedger;
use super::images::{COLUMNS, image_row, path_of};
use crate::image_digest::ImageDigest;
use crate::image_path::ImagePath;
use crate::ledger::{Blocked, ImageRow, LedgerError, Purge, Quarantined, Takedown, TakedownCounts};
use crate::timestamp::Timestamp;

/// Each counts the entries of an index or a table of its own, never the images.
const TAKEDOWN_COUNTS: &str =
    "SELECT (SELECT count(*) FROM image WHERE quarantined_at IS NOT NULL),
         (SELECT count(*) FROM block), (SELECT count(*) FROM purge)";

impl Takedown for SqliteLedger {
    fn set_quarantine(
        &self,
        paths: &[ImagePath],
        quarantine: &Quarantined,
        replace: bool,
    ) -> Result<usize, LedgerError> {
        self.write(|connection| {
            let mut update = connection.prepare_cached(
                "UPDATE image SET
                     quarantined_until = iif(?5 OR quarantined_at IS NULL, ?3, quarantined_until),
                     quarantine_reason = iif(?5 OR quarantined_at IS NULL, ?4, quarantine_reason),
                     quarantined_with_client = iif(?5 OR quarantined_at IS NULL, ?6, quarantined_with_client),
                     quarantined_at = coalesce(quarantined_at, ?2)
                 WHERE path = ?1",
            )?;
            paths.iter().try_fold(0, |updated, path| {
                let rows = update.execute((
                    path.as_str(),
                    quarantine.at.0,
                    quarantine.until.map(|until| until.0),
                    quarantine.reason.as_deref(),
                    replace,
                    quarantine.with_client,
                ))?;
                Ok(updated + rows)
            })
        })
    }

    fn end_quarantine(&self, paths: &[ImagePath]) -> Result<usize, LedgerError> {
        self.write(|connection| {
            let mut update = connection.prepare_cached(
                "UPDATE image SET quarantined_at = NULL, quarantined_until = NULL, quarantine_reason = NULL,
                     quarantined_with_client = 0
                 WHERE path = ?1 AND quarantined_at IS NOT NULL",
            )?;
            paths
                .iter()
                .try_fold(0, |ended, path| Ok(ended + update.execute([path.as_str()])?))
        })
    }

    fn quarantined(
        &self,
        after: Option<&ImagePath>,
        limit: u32,
    ) -> Result<Vec<ImageRow>, LedgerError> {
        let after = after.map_or("", ImagePath::as_str);
        self.read(|connection| {
            connection
                .prepare_cached(&format!(
                    "SELECT {COLUMNS} WHERE image.quarantined_at IS NOT NULL AND image.path > ?1 ORDER BY image.path LIMIT ?2"
                ))?
                .query_map((after, limit), image_row)?
                .collect()
        })
    }

    fn block(
        &self,
        digests: &[ImageDigest],
        reason: Option<&str>,
        now: UtcDateTime,
    ) -> Result<usize, LedgerError> {
        self.write(|connection| {
            let before = blocked_count(connection)?;
            let mut insert = connection.prepare_cached(
                "INSERT INTO block (sha256, blocked_at, reason) VALUES (?1, ?2, ?3)
                 ON CONFLICT (sha256) DO UPDATE SET reason = coalesce(excluded.reason, reason)",
            )?;
            for digest in digests {
                insert.execute((digest.0, now.unix_timestamp(), reason))?;
            }
            Ok(blocked_count(connection)? - before)
        })
    }

    fn unblock(&self, digests: &[ImageDigest]) -> Result<usize, LedgerError> {
        self.write(|connection| {
            let mut delete = connection.prepare_cached("DELETE FROM block WHERE sha256 = ?1")?;
            digests.iter().try_fold(0, |removed, digest| {
                Ok(removed + delete.execute([digest.0])?)
            })
        })
    }

    fn has_blocked(&self) -> Result<bool, LedgerError> {
        self.read(|connection| {
            connection
                .prepare_cached("SELECT 1 FROM block LIMIT 1")?
                .exists([])
        })
    }

    fn is_blocked(&self, digests: &[ImageDigest]) -> Result<bool, LedgerError> {
        self.read(|connection| {
            let mut query = connection.prepare_cached("SELECT 1 FROM block WHERE sha256 = ?1")?;
            for digest in digests {
                if query.exists([digest.0])? {
                    return Ok(true);
                }
            }
            Ok(false)
        })
    }

    fn blocked(&self) -> Result<Vec<Blocked>, LedgerError> {
        self.read(|connection| {
            connection
                .prepare_cached(
                    "SELECT sha256, blocked_at, reason FROM block ORDER BY blocked_at DESC, sha256",
                )?
                .query_map([], |row| {
                    Ok(Blocked {
                        digest: ImageDigest(row.get(0)?),
                        at: Timestamp(row.get(1)?),
                        reason: row.get(2)?,
                    })
                })?
                .collect()
        })
    }

    fn queue_purges(&self, paths: &[ImagePath], now: UtcDateTime) -> Result<(), LedgerError> {
        self.write(|connection| {
            let mut insert = connection.prepare_cached(
                "INSERT INTO purge (path, since, retry_at) VALUES (?1, ?2, ?2)
                 ON CONFLICT (path) DO UPDATE SET since = excluded.since, attempts = 0, retry_at = excluded.retry_at",
            )?;
            for path in paths {
                insert.execute((path.as_str(), now.unix_timestamp()))?;
            }
            Ok(())
        })
    }

    fn claim_purges(
        &self,
        now: UtcDateTime,
        until: UtcDateTime,
        limit: u32,
    ) -> Result<Vec<Purge>, LedgerError> {
        // Nothing is written, and no lock taken, while nothing is due.
        let is_due = self.read(|connection| {
            connection
                .prepare_cached("SELECT 1 FROM purge WHERE retry_at <= ?1 LIMIT 1")?
                .exists([now.unix_timestamp()])
        })?;
        if !is_due {
            return Ok(Vec::new());
        }
        self.write(|connection| {
            connection
                .prepare_cached(
                    "UPDATE purge SET retry_at = ?2 WHERE path IN
                         (SELECT path FROM purge WHERE retry_at <= ?1 ORDER BY retry_at, path LIMIT ?3)
                     RETURNING path, since, attempts",
                )?
                .query_map(
                    (now.unix_timestamp(), until.unix_timestamp(), limit),
                    purge_row,
                )?
                .collect()
        })
    }

    fn defer_purges(&self, purges: &[(ImagePath, UtcDateTime)]) -> Result<(), LedgerError> {
        self.write(|connection| {
            let mut update = connection.prepare_cached(
                "UPDATE purge SET attempts = attempts + 1, retry_at = ?2 WHERE path = ?1",
            )?;
            for (path, retry_at) in purges {
                update.execute((path.as_str(), retry_at.unix_timestamp()))?;
            }
            Ok(())
        })
    }

    fn finish_purges(&self, purges: &[Purge]) -> Result<(), LedgerError> {
        self.write(|connection| {
            let mut delete =
                connection.prepare_cached("DELETE FROM purge WHERE path = ?1 AND since = ?2")?;
            for purge in purges {
                delete.execute((purge.path.as_str(), purge.since.0))?;
            }
            Ok(())
        })
    }

    fn takedown_counts(&self) -> Result<TakedownCounts, LedgerError> {
        self.read(|connection| {
            connection
                .prepare_cached(TAKEDOWN_COUNTS)?
                .query_row([], |row| {
                    Ok(TakedownCounts {
                        quarantined: row.get(0)?,
                        blocked: row.get(1)?,
                        purges: row.get(2)?,
                    })
                })
        })
    }

    fn waiting_purges(&self) -> Result<(u64, Option<Timestamp>), LedgerError> {
        self.read(|connection| {
            connection.query_row("SELECT count(*), min(since) FROM purge", [], |row| {
                Ok((row.get(0)?, row.get::<_, Option<i64>>(1)?.map(Timestamp)))
            })
        })
    }
}

fn blocked_count(connection: &Connection) -> rusqlite::Result<usize> {
    connection.query_row("SELECT count(*) FROM block", [], |row| row.get(0))
}

fn purge_row(row: &Row<'_>) -> rusqlite::Result<Purge> {
    Ok(Purge {
        path: path_of(row, 0)?,
        since: Timestamp(row.get(1)?),
        attempts: row.get(2)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::sqlite::schema;
    use std::path::Path;
    use time::macros::utc_datetime;

    #[test]
    fn counting_takedowns_reads_no_images() {
        let mut connection = Connection::open_in_memory().expect("a database");
        schema::migrate(
            &mut connection,
            Path::new(""),
            utc_datetime!(2026-04-05 12:00),
        )
        .expect("the schema");
        let plan = connection
            .prepare(&format!("EXPLAIN QUERY PLAN {TAKEDOWN_COUNTS}"))
            .expect("a statement")
            .query_map([], |row| row.get::<_, String>(3))
            .expect("a plan")
            .collect::<Result<Vec<_>, _>>()
            .expect("a plan");
        let of_images: Vec<_> = plan.iter().filter(|step| step.contains("image")).collect();
        assert_eq!(
            of_images,
            ["SCAN image USING COVERING INDEX image_in_quarantine"]
        );
    }
}
