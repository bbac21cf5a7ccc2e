//! The schema and its migrations. The version is kept in `PRAGMA user_version` (<https://www.sqlite.org/pragma.html#pragma_user_version>).

use std::path::{Path, PathBuf};

use rusqlite::{Connection, TransactionBehavior};
use time::UtcDateTime;

use super::meta;
use crate::ledger::LedgerError;

/// The statements that lead from version n to n + 1, by n.
const STEPS: [&str; 1] = [include_str!("schema.sql")];

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

    fn scratch() -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("ledger.db");
        (directory, path)
    }

    #[test]
    fn a_migration_keeps_rows_and_leaves_a_backup() {
        let (_directory, path) = scratch();
        let mut connection = Connection::open(&path).expect("open");
        migrate(&mut connection, &path, NOW).expect("version 1");
        connection
            .execute(
                "INSERT INTO client (id, plan, created_at) VALUES ('a', 'free', 0)",
                [],
            )
            .expect("insert");
        let two = [STEPS[0], "ALTER TABLE client ADD COLUMN note TEXT"];
        apply(&mut connection, &path, NOW, &two).expect("version 2");
        assert_eq!(version(&connection), Ok(2));
        let ids: String = connection
            .query_row("SELECT id FROM client WHERE note IS NULL", [], |row| {
                row.get(0)
            })
            .expect("a row");
        assert_eq!(ids, "a");
        let backup = Connection::open(backup_path(&path, 1)).expect("a backup");
        assert_eq!(version(&backup), Ok(1));
        let kept: i64 = backup
            .query_row("SELECT count(*) FROM client", [], |row| row.get(0))
            .expect("a count");
        assert_eq!(kept, 1);
        let refused = migrate(&mut connection, &path, NOW).expect_err("a newer ledger");
        assert!(
            matches!(
                refused,
                LedgerError::TooNew {
                    found: 2,
                    known: 1,
                    ..
                }
            ),
            "{refused}"
        );
    }

    #[test]
    fn a_migration_that_fails_changes_nothing() {
        let (_directory, path) = scratch();
        let mut connection = Connection::open(&path).expect("open");
        migrate(&mut connection, &path, NOW).expect("version 1");
        let broken = [
            STEPS[0],
            "ALTER TABLE client ADD COLUMN note TEXT; SELECT * FROM nowhere",
        ];
        apply(&mut connection, &path, NOW, &broken).expect_err("a broken step");
        assert_eq!(version(&connection), Ok(1));
        connection
            .prepare("SELECT note FROM client")
            .expect_err("the column was rolled back");
    }
}
