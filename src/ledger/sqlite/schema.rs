//! The schema and its migrations. The version is kept in `PRAGMA user_version` (<https://www.sqlite.org/pragma.html#pragma_user_version>).

use std::path::{Path, PathBuf};

use rusqlite::{Connection, TransactionBehavior};
use time::UtcDateTime;

use super::meta;
use crate::ledger::LedgerError;

/// The statements that lead from version n to n + 1, by n.
const STEPS: [&str; 2] = [include_str!("schema/1.sql"), include_str!("schema/2.sql")];

/// The version that this program writes.
pub(super) fn newest() -> i64 {
    version_after(&STEPS)
}

fn version_after(steps: &[&str]) -> i64 {
    i64::try_from(steps.len()).unwrap_or(i64::MAX)
}

/// Brings the ledger to the newest version, in one transaction after a backup beside the file; refuses a newer one.
pub(super) fn migrate(
    connection: &mut Connection,
    path: &Path,
    now: UtcDateTime,
) -> Result<(), LedgerError> {
    apply(connection, path, now, &STEPS)
}

fn apply(
    connection: &mut Connection,
    path: &Path,
    now: UtcDateTime,
    steps: &[&str],
) -> Result<(), LedgerError> {
    let newest = version_after(steps);
    let before = version(connection)?;
    if before == newest {
        return Ok(());
    }
    if before != 0 && before < newest {
        backup(connection, &backup_path(path, before))?;
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Another process may have migrated while this one waited for the lock.
    let found = version(&transaction)?;
    let Some(missing) = usize::try_from(found)
        .ok()
        .and_then(|found| steps.get(found..))
    else {
        return Err(LedgerError::TooNew {
            path: path.display().to_string(),
            found,
            known: newest,
        });
    };
    for step in missing {
        transaction.execute_batch(step)?;
    }
    if found == 0 {
        meta::set_time(&transaction, meta::CREATED_AT, now)?;
    }
    transaction.pragma_update(None, "user_version", newest)?;
    transaction.commit()?;
    Ok(())
}

pub(super) fn version(connection: &Connection) -> Result<i64, LedgerError> {
    Ok(connection.pragma_query_value(None, "user_version", |row| row.get(0))?)
}

fn backup_path(path: &Path, version: i64) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".before-migration-from-{version}"));
    name.into()
}

fn backup(connection: &Connection, target: &Path) -> Result<(), LedgerError> {
    let target = target.display().to_string();
    connection
        .execute("VACUUM INTO ?1", [&target])
        .map_err(|error| {
            LedgerError::Failed(format!(
                "no backup at {target} before the migration, which was not begun: {error}"
            ))
        })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::utc_datetime;

    const NOW: UtcDateTime = utc_datetime!(2026-04-05 12:00);

    /// A step behind the newest one, as a later version of this program will have it.
    fn with_next(step: &'static str) -> Vec<&'static str> {
        let mut steps = STEPS.to_vec();
        steps.push(step);
        steps
    }

    fn scratch() -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("ledger.db");
        (directory, path)
    }

    #[test]
    fn a_migration_keeps_rows_and_leaves_a_backup() {
        let (_directory, path) = scratch();
        let mut connection = Connection::open(&path).expect("open");
        migrate(&mut connection, &path, NOW).expect("the newest version");
        connection
            .execute(
                "INSERT INTO client (id, plan, created_at) VALUES ('a', 'free', 0)",
                [],
            )
            .expect("insert");
        let next = with_next("ALTER TABLE client ADD COLUMN note TEXT");
        apply(&mut connection, &path, NOW, &next).expect("the next version");
        assert_eq!(version(&connection), Ok(newest() + 1));
        let ids: String = connection
            .query_row("SELECT id FROM client WHERE note IS NULL", [], |row| {
                row.get(0)
            })
            .expect("a row");
        assert_eq!(ids, "a");
        let backup = Connection::open(backup_path(&path, newest())).expect("a backup");
        assert_eq!(version(&backup), Ok(newest()));
        let kept: i64 = backup
            .query_row("SELECT count(*) FROM client", [], |row| row.get(0))
            .expect("a count");
        assert_eq!(kept, 1);
        let refused = migrate(&mut connection, &path, NOW).expect_err("a newer ledger");
        assert!(
            matches!(
                refused,
                LedgerError::TooNew { found, known, .. } if (found, known) == (newest() + 1, newest())
            ),
            "{refused}"
        );
    }

    #[test]
    fn a_migration_that_fails_changes_nothing() {
        let (_directory, path) = scratch();
        let mut connection = Connection::open(&path).expect("open");
        migrate(&mut connection, &path, NOW).expect("the newest version");
        let broken = with_next("ALTER TABLE client ADD COLUMN note TEXT; SELECT * FROM nowhere");
        apply(&mut connection, &path, NOW, &broken).expect_err("a broken step");
        assert_eq!(version(&connection), Ok(newest()));
        connection
            .prepare("SELECT note FROM client")
            .expect_err("the column was rolled back");
    }

    #[test]
    fn version_1_is_migrated_with_its_rows() {
        let (_directory, path) = scratch();
        let mut connection = Connection::open(&path).expect("open");
        apply(&mut connection, &path, NOW, &STEPS[..1]).expect("version 1");
        connection
            .execute_batch(
                "INSERT INTO client (id, plan, created_at) VALUES ('shop', '3m', 0);
                 INSERT INTO token (client, sha256, created_at, expires_at) VALUES
                     (1, zeroblob(32), 0, 100), (1, CAST(hex(zeroblob(16)) AS BLOB), 50, NULL);
                 INSERT INTO usage VALUES (1, 20548, 1, 77);
                 INSERT INTO image VALUES ('d/ap5/AbCdEf.png', 1, 77, 8, 9, 1775390400, 1776038400)",
            )
            .expect("rows of version 1");
        migrate(&mut connection, &path, NOW).expect("migrated");
        assert_eq!(version(&connection), Ok(newest()));
        let rows: String = connection
            .query_row(
                "SELECT client.id || ' ' || image.path || ' ' || image.size || ' ' || usage.bytes || ' ' || count(token.sha256)
                 FROM client, image, usage, token WHERE image.quarantined_at IS NULL AND token.name = 'default'",
                [],
                |row| row.get(0),
            )
            .expect("the rows");
        assert_eq!(rows, "shop d/ap5/AbCdEf.png 77 77 2");
        assert!(backup_path(&path, 1).exists());
    }

    /// A responder of the version before runs until it is restarted, and records by its statements.
    #[test]
    fn statements_of_version_1_work_on_the_newest_one() {
        let (_directory, path) = scratch();
        let mut connection = Connection::open(&path).expect("open");
        migrate(&mut connection, &path, NOW).expect("the newest version");
        connection
            .execute_batch(
                "INSERT INTO client (id, plan, created_at) VALUES ('shop', '3m', 0);
                 INSERT INTO token (client, sha256, created_at) VALUES (1, zeroblob(32), 0);
                 INSERT INTO usage (client, day, uploads, bytes) VALUES (1, 20548, 1, 77);
                 INSERT INTO image (path, client, size, width, height, uploaded_at, expires_at)
                     VALUES ('d/ap5/AbCdEf.png', 1, 77, 8, 9, 1775390400, 1776038400);
                 DELETE FROM image WHERE path = 'd/ap5/AbCdEf.png'",
            )
            .expect("version 1");
    }
}
