//! Statements about clients and usage.

use postgres::Row;
use time::{Date, UtcDateTime};

use super::LONG_DEADLINE;
use super::pool::Pool;
use super::statement::{bytes, count, get, only, parameters, small, text};
use crate::auth::TokenDigest;
use crate::ledger::rows::{day_number, day_of_number};
use crate::ledger::{
    Account, ClientKey, ClientRow, DEFAULT_TOKEN, LedgerError, Owner, StorageDifference,
    StorageUse, UsageRow,
};
use crate::timestamp::Timestamp;

pub(super) fn account(
    pool: &Pool,
    id: &str,
    now: UtcDateTime,
) -> Result<Option<Account>, LedgerError> {
    const SQL: &str = "SELECT key, plan, is_disabled, used, digest, stored_images, stored_bytes FROM corenexis.account($1, $2, $3)";
    let rows = pool.query(SQL, |_| {
        parameters![text(id), day_number(now.date()), now.unix_timestamp()]
    })?;
    let mut account: Option<Account> = None;
    for row in &rows {
        let Some(key) = get::<Option<i64>>(row, 0)? else {
            break;
        };
        let account = match &mut account {
            Some(account) => account,
            None => account.insert(Account {
                key: ClientKey(key),
                plan: get(row, 1)?,
                disabled: get(row, 2)?,
                tokens: Vec::new(),
                used: small(row, 3)?,
                stored: stored(row, 5)?,
            }),
        };
        if get::<Option<&[u8]>>(row, 4)?.is_some() {
            account.tokens.push(TokenDigest(bytes(row, 4)?));
        }
    }
    Ok(account)
}

/// What a client has stored, from two columns.
fn stored(row: &Row, column: usize) -> Result<StorageUse, LedgerError> {
    Ok(StorageUse {
        images: count(row, column)?,
        bytes: count(row, column + 1)?,
    })
}

pub(super) fn storage_differences(
    pool: &Pool,
    repair: bool,
) -> Result<Vec<StorageDifference>, LedgerError> {
    const SQL: &str = "SELECT id, key, images, bytes, found_images, found_bytes FROM corenexis.storage_differences($1)";
    let rows = pool.query_within(LONG_DEADLINE, SQL, |_| parameters![repair])?;
    rows.iter()
        .map(|row| {
            Ok(StorageDifference {
                client: get(row, 0)?,
                owner: ClientKey(get(row, 1)?),
                counted: stored(row, 2)?,
                found: stored(row, 4)?,
            })
        })
        .collect()
}

pub(super) fn add(
    pool: &Pool,
    id: &str,
    plan: &str,
    token: TokenDigest,
    now: UtcDateTime,
) -> Result<bool, LedgerError> {
    let rows = pool.query(
        "SELECT corenexis.add_client($1, $2, $3, $4, $5, $6)",
        |is_again| {
            parameters![
                text(id),
                text(plan),
                token.0.to_vec(),
                DEFAULT_TOKEN.to_owned(),
                now.unix_timestamp(),
                is_again,
            ]
        },
    )?;
    get(&only(rows)?, 0)
}

pub(super) fn set_plan(pool: &Pool, id: &str, plan: &str) -> Result<bool, LedgerError> {
    const SQL: &str =
        "UPDATE corenexis.client SET plan = $2 WHERE id = $1 AND removed_at IS NULL RETURNING key";
    let rows = pool.query(SQL, |_| parameters![text(id), text(plan)])?;
    Ok(!rows.is_empty())
}

pub(super) fn set_disabled(
    pool: &Pool,
    id: &str,
    disabled: bool,
    now: UtcDateTime,
) -> Result<bool, LedgerError> {
    const SQL: &str =
        "UPDATE corenexis.client SET disabled_at = CASE WHEN $2 THEN coalesce(disabled_at, $3) END
         WHERE id = $1 AND removed_at IS NULL RETURNING key";
    let rows = pool.query(SQL, |_| {
        parameters![text(id), disabled, now.unix_timestamp()]
    })?;
    Ok(!rows.is_empty())
}

pub(super) fn remove(pool: &Pool, id: &str, now: UtcDateTime) -> Result<bool, LedgerError> {
    let rows = pool.query("SELECT corenexis.remove_client($1, $2, $3)", |is_again| {
        parameters![text(id), now.unix_timestamp(), is_again]
    })?;
    get(&only(rows)?, 0)
}

pub(super) fn named(
    pool: &Pool,
    id: &str,
) -> Result<Vec<(ClientKey, Option<Timestamp>)>, LedgerError> {
    const SQL: &str = "SELECT key, removed_at FROM corenexis.client WHERE id = $1
         ORDER BY removed_at DESC NULLS FIRST, key DESC";
    let rows = pool.query(SQL, |_| parameters![text(id)])?;
    rows.iter()
        .map(|row| {
            let removed_at: Option<i64> = get(row, 1)?;
            Ok((ClientKey(get(row, 0)?), removed_at.map(Timestamp)))
        })
        .collect()
}

pub(super) fn list(pool: &Pool, now: UtcDateTime) -> Result<Vec<ClientRow>, LedgerError> {
    const SQL: &str = "SELECT client.id, client.plan, client.created_at, client.disabled_at,
             (SELECT count(*) FROM corenexis.token
              WHERE token.client = client.key AND (token.expires_at IS NULL OR token.expires_at > $2)),
             coalesce(sum(usage.uploads) FILTER (WHERE usage.day = $1), 0)::bigint,
             coalesce(sum(usage.uploads), 0)::bigint,
             coalesce(sum(usage.bytes), 0)::bigint, client.stored_images, client.stored_bytes
         FROM corenexis.client LEFT JOIN corenexis.usage ON usage.client = client.key
         WHERE client.removed_at IS NULL
         GROUP BY client.key ORDER BY client.id";
    let rows = pool.query_within(LONG_DEADLINE, SQL, |_| {
        parameters![day_number(now.date()), now.unix_timestamp()]
    })?;
    rows.iter()
        .map(|row| {
            Ok(ClientRow {
                id: get(row, 0)?,
                plan: get(row, 1)?,
                created_at: Timestamp(get(row, 2)?),
                disabled_at: get::<Option<i64>>(row, 3)?.map(Timestamp),
                tokens: small(row, 4)?,
                used: small(row, 5)?,
                uploads: count(row, 6)?,
                bytes: count(row, 7)?,
                stored: stored(row, 8)?,
            })
        })
        .collect()
}

pub(super) fn usage(
    pool: &Pool,
    owner: Option<&Owner>,
    since: Option<Date>,
) -> Result<Vec<UsageRow>, LedgerError> {
    const SQL: &str = "SELECT client.id, client.removed_at, usage.day, sum(usage.uploads)::bigint, sum(usage.bytes)::bigint
         FROM corenexis.usage JOIN corenexis.client ON client.key = usage.client
         WHERE ($1::text IS NULL OR client.id = $1) AND ($2::bigint IS NULL OR client.key = $2) AND usage.day >= $3
         GROUP BY usage.day, client.id, client.removed_at ORDER BY usage.day, client.id, client.removed_at NULLS FIRST";
    let (id, key) = match owner {
        None => (None, None),
        Some(Owner::Id(id)) => (Some(text(id)), None),
        Some(Owner::Key(key)) => (None, Some(key.0)),
    };
    // One client's are few, and a request of the API waits for them.
    let deadline = owner.map_or(LONG_DEADLINE, |_| pool.deadline());
    let rows = pool.query_within(deadline, SQL, |_| {
        parameters![id.clone(), key, since.map_or(i64::MIN, day_number)]
    })?;
    rows.iter()
        .map(|row| {
            let day = get(row, 2)?;
            let day = day_of_number(day).ok_or_else(|| {
                LedgerError::Failed(format!("the ledger is damaged: there is no day {day}"))
            })?;
            Ok(UsageRow {
                client: get(row, 0)?,
                client_removed_at: get::<Option<i64>>(row, 1)?.map(Timestamp),
                day,
                uploads: small(row, 3)?,
                bytes: count(row, 4)?,
            })
        })
        .collect()
}
