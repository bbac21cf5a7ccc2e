//! Statements about clients, tokens and usage.

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row};
use time::{Date, UtcDateTime};

use super::tokens;
use crate::auth::TokenDigest;
use crate::ledger::rows::{day_number, day_of_number};
use crate::ledger::{Account, ClientKey, ClientRow, DEFAULT_TOKEN, Owner, StorageUse, UsageRow};
use crate::timestamp::Timestamp;

/// One row for each valid token, so that one statement reads one snapshot. An unknown id is looked up in the same tables and gives one
/// row without a client, so that a wrong id takes as long as a wrong token.
const ACCOUNT: &str = "SELECT client.key, client.plan, client.disabled_at IS NOT NULL, coalesce(usage.uploads, 0), token.sha256,
         client.stored_images, client.stored_bytes
     FROM (SELECT ?1 AS id) AS asked
     LEFT JOIN client ON client.id = asked.id AND client.removed_at IS NULL
     LEFT JOIN usage ON usage.client = coalesce(client.key, 0) AND usage.day = ?2
     LEFT JOIN token ON token.client = coalesce(client.key, 0) AND (token.expires_at IS NULL OR token.expires_at > ?3)";

pub(super) fn account(
    connection: &Connection,
    id: &str,
    now: UtcDateTime,
) -> rusqlite::Result<Option<Account>> {
    let mut statement = connection.prepare_cached(ACCOUNT)?;
    let mut rows = statement.query((id, day_number(now.date()), now.unix_timestamp()))?;
    let mut account: Option<Account> = None;
    while let Some(row) = rows.next()? {
        let Some(key) = row.get(0)? else {
            break;
        };
        let token: Option<[u8; 32]> = row.get(4)?;
        let account = match &mut account {
            Some(account) => account,
            None => account.insert(Account {
                key: ClientKey(key),
                plan: row.get(1)?,
                disabled: row.get(2)?,
                tokens: Vec::new(),
                used: row.get(3)?,
                stored: stored(row, 5)?,
            }),
        };
        account.tokens.extend(token.map(TokenDigest));
    }
    Ok(account)
}

/// What a client has stored, from two columns.
fn stored(row: &Row<'_>, column: usize) -> rusqlite::Result<StorageUse> {
    // `verify` finds a count that is damaged.
    let number = |number: i64| u64::try_from(number).unwrap_or(0);
    Ok(StorageUse {
        images: number(row.get(column)?),
        bytes: number(row.get(column + 1)?),
    })
}

pub(super) fn key_of(connection: &Connection, id: &str) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached("SELECT key FROM client WHERE id = ?1 AND removed_at IS NULL")?
        .query_row([id], |row| row.get(0))
        .optional()
}

pub(super) fn add(
    connection: &Connection,
    id: &str,
    plan: &str,
    token: TokenDigest,
    now: UtcDateTime,
) -> rusqlite::Result<bool> {
    let added = connection.execute(
        "INSERT INTO client (id, plan, created_at) VALUES (?1, ?2, ?3)
         ON CONFLICT (id) WHERE removed_at IS NULL DO NOTHING",
        (id, plan, now.unix_timestamp()),
    )?;
    if added == 1 {
        tokens::insert(
            connection,
            connection.last_insert_rowid(),
            DEFAULT_TOKEN,
            token,
            now,
        )?;
    }
    Ok(added == 1)
}

/// The client with that id; a missing one is added disabled and without a token.
pub(super) fn get_or_add_disabled(
    connection: &Connection,
    id: &str,
    plan: &str,
    now: UtcDateTime,
) -> rusqlite::Result<ClientKey> {
    if let Some(key) = key_of(connection, id)? {
        return Ok(ClientKey(key));
    }
    connection.execute(
        "INSERT INTO client (id, plan, created_at, disabled_at) VALUES (?1, ?2, ?3, ?3)",
        (id, plan, now.unix_timestamp()),
    )?;
    Ok(ClientKey(connection.last_insert_rowid()))
}

pub(super) fn set_plan(connection: &Connection, id: &str, plan: &str) -> rusqlite::Result<bool> {
    let changed = connection.execute(
        "UPDATE client SET plan = ?2 WHERE id = ?1 AND removed_at IS NULL",
        (id, plan),
    )?;
    Ok(changed == 1)
}

pub(super) fn set_disabled(
    connection: &Connection,
    id: &str,
    disabled: bool,
    now: UtcDateTime,
) -> rusqlite::Result<bool> {
    let changed = if disabled {
        connection.execute(
            "UPDATE client SET disabled_at = coalesce(disabled_at, ?2) WHERE id = ?1 AND removed_at IS NULL",
            (id, now.unix_timestamp()),
        )?
    } else {
        connection.execute(
            "UPDATE client SET disabled_at = NULL WHERE id = ?1 AND removed_at IS NULL",
            [id],
        )?
    };
    Ok(changed == 1)
}

pub(super) fn remove(
    connection: &Connection,
    id: &str,
    now: UtcDateTime,
) -> rusqlite::Result<bool> {
    let Some(client) = key_of(connection, id)? else {
        return Ok(false);
    };
    connection.execute("DELETE FROM token WHERE client = ?1", [client])?;
    connection.execute(
        "UPDATE client SET removed_at = ?2 WHERE key = ?1",
        (client, now.unix_timestamp()),
    )?;
    Ok(true)
}

pub(super) fn named(
    connection: &Connection,
    id: &str,
) -> rusqlite::Result<Vec<(ClientKey, Option<Timestamp>)>> {
    connection
        .prepare_cached(
            "SELECT key, removed_at FROM client WHERE id = ?1 ORDER BY removed_at DESC NULLS FIRST, key DESC",
        )?
        .query_map([id], |row| {
            let removed_at: Option<i64> = row.get(1)?;
            Ok((ClientKey(row.get(0)?), removed_at.map(Timestamp)))
        })?
        .collect()
}

pub(super) fn list(connection: &Connection, now: UtcDateTime) -> rusqlite::Result<Vec<ClientRow>> {
    connection
        .prepare_cached(
            "SELECT client.id, client.plan, client.created_at, client.disabled_at,
                 (SELECT count(*) FROM token
                  WHERE token.client = client.key AND (token.expires_at IS NULL OR token.expires_at > ?2)),
                 coalesce(sum(usage.uploads) FILTER (WHERE usage.day = ?1), 0),
                 coalesce(sum(usage.uploads), 0),
                 coalesce(sum(usage.bytes), 0), client.stored_images, client.stored_bytes
             FROM client LEFT JOIN usage ON usage.client = client.key
             WHERE client.removed_at IS NULL
             GROUP BY client.key ORDER BY client.id",
        )?
        .query_map((day_number(now.date()), now.unix_timestamp()), |row| {
            Ok(ClientRow {
                id: row.get(0)?,
                plan: row.get(1)?,
                created_at: Timestamp(row.get(2)?),
                disabled_at: row.get::<_, Option<i64>>(3)?.map(Timestamp),
                tokens: row.get(4)?,
                used: row.get(5)?,
                uploads: row.get(6)?,
                bytes: row.get(7)?,
                stored: stored(row, 8)?,
            })
        })?
        .collect()
}

pub(super) fn usage(
    connection: &Connection,
    owner: Option<&Owner>,
    since: Option<Date>,
) -> rusqlite::Result<Vec<UsageRow>> {
    // A condition for each kind, because `OR` would keep the query planner from using the key of the table.
    let (condition, client) = match owner {
        None => ("?1 IS NULL", Value::Null),
        Some(Owner::Id(id)) => ("client.id = ?1", Value::Text(id.clone())),
        Some(Owner::Key(key)) => ("usage.client = ?1", Value::Integer(key.0)),
    };
    connection
        .prepare_cached(&format!(
            "SELECT client.id, client.removed_at, usage.day, sum(usage.uploads), sum(usage.bytes)
             FROM usage JOIN client ON client.key = usage.client
             WHERE {condition} AND usage.day >= ?2
             GROUP BY usage.day, client.id, client.removed_at ORDER BY usage.day, client.id, client.removed_at"
        ))?
        .query_map((client, since.map_or(i64::MIN, day_number)), usage_row)?
        .collect()
}

fn usage_row(row: &Row<'_>) -> rusqlite::Result<UsageRow> {
    Ok(UsageRow {
        client: row.get(0)?,
        client_removed_at: row.get::<_, Option<i64>>(1)?.map(Timestamp),
        day: day_of(row, 2)?,
        uploads: row.get(3)?,
        bytes: row.get(4)?,
    })
}

fn day_of(row: &Row<'_>, column: usize) -> rusqlite::Result<Date> {
    let day: i64 = row.get(column)?;
    day_of_number(day).ok_or(rusqlite::Error::IntegralValueOutOfRange(column, day))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::sqlite::schema;
    use rusqlite::StatementStatus;
    use std::path::Path;
    use time::macros::utc_datetime;

    /// Steps of SQLite's virtual machine, which tell the cost of a statement without a clock.
    fn steps(connection: &Connection, id: &str) -> i32 {
        account(connection, id, NOW).expect("an answer");
        let statement = connection.prepare_cached(ACCOUNT).expect("a statement");
        statement.reset_status(StatementStatus::VmStep)
    }

    const NOW: UtcDateTime = utc_datetime!(2026-04-05 12:00);

    #[test]
    fn an_unknown_id_costs_what_a_known_one_costs() {
        let mut connection = Connection::open_in_memory().expect("a database");
        schema::migrate(&mut connection, Path::new(""), NOW).expect("the schema");
        for number in 0..1_000_u16 {
            let token = TokenDigest::of(&number.to_be_bytes());
            add(
                &connection,
                &format!("client-{number:04}"),
                "free",
                token,
                NOW,
            )
            .expect("added");
        }
        steps(&connection, "client-0000");
        let known = steps(&connection, "client-0500");
        for unknown in ["client-1000", "", "a", "client-0500 ", "zzzz"] {
            let unknown = steps(&connection, unknown);
            assert!(
                unknown > 20 && unknown.abs_diff(known) <= 8,
                "{known} and {unknown}"
            );
        }
        let plan = connection
            .prepare(&format!("EXPLAIN QUERY PLAN {ACCOUNT}"))
            .expect("a statement")
            .query_map(("x", 0, 0), |row| row.get::<_, String>(3))
            .expect("a plan")
            .collect::<Result<Vec<_>, _>>()
            .expect("a plan")
            .join("; ");
        assert!(plan.contains("client_by_id"), "{plan}");
        for table in ["client", "usage", "token"] {
            assert!(!plan.contains(&format!("SCAN {table}")), "{plan}");
        }
    }
}
