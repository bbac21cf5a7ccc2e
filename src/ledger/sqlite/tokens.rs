//! Statements about tokens.

use rusqlite::{Connection, OptionalExtension};
use time::UtcDateTime;

use super::clients::key_of;
use super::{NORMAL, SqliteLedger, lock, synchronous};
use crate::auth::TokenDigest;
use crate::ledger::{LedgerError, TokenAdded, TokenRemoved, TokenRow, TokenUse, Tokens};
use crate::timestamp::Timestamp;

impl Tokens for SqliteLedger {
    fn add_token(
        &self,
        id: &str,
        name: &str,
        token: TokenDigest,
        now: UtcDateTime,
    ) -> Result<TokenAdded, LedgerError> {
        self.write(|connection| {
            let Some(client) = key_of(connection, id)? else {
                return Ok(TokenAdded::NoClient);
            };
            let taken = connection
                .prepare_cached(
                    "SELECT 1 FROM token WHERE client = ?1 AND name = ?2 AND expires_at IS NULL",
                )?
                .exists((client, name))?;
            if taken {
                return Ok(TokenAdded::NameTaken);
            }
            insert(connection, client, name, token, now)
        })
    }

    fn rotate_token(
        &self,
        id: &str,
        name: &str,
        token: TokenDigest,
        old_tokens_end: UtcDateTime,
        now: UtcDateTime,
    ) -> Result<TokenAdded, LedgerError> {
        self.write(|connection| {
            let Some(client) = key_of(connection, id)? else {
                return Ok(TokenAdded::NoClient);
            };
            if let Some(other) = other_name(connection, client, name, token, now)? {
                return Ok(TokenAdded::KnownAs(other));
            }
            connection.execute(
                "UPDATE token SET expires_at = min(coalesce(expires_at, ?3), ?3) WHERE client = ?1 AND name = ?2",
                (client, name, old_tokens_end.unix_timestamp()),
            )?;
            insert(connection, client, name, token, now)
        })
    }

    fn remove_token(&self, id: &str, name: &str) -> Result<TokenRemoved, LedgerError> {
        self.write(|connection| {
            let Some(client) = key_of(connection, id)? else {
                return Ok(TokenRemoved::NoClient);
            };
            let count = |condition: &str| -> rusqlite::Result<i64> {
                let query = format!("SELECT count(*) FROM token WHERE client = ?1 AND {condition}");
                connection.query_row(&query, (client, name), |row| row.get(0))
            };
            if count("name = ?2")? == 0 {
                return Ok(TokenRemoved::NoToken);
            }
            if count("name <> ?2 AND expires_at IS NULL")? == 0 {
                return Ok(TokenRemoved::Last);
            }
            connection.execute(
                "DELETE FROM token WHERE client = ?1 AND name = ?2",
                (client, name),
            )?;
            Ok(TokenRemoved::Removed)
        })
    }

    fn tokens(&self, id: &str, now: UtcDateTime) -> Result<Option<Vec<TokenRow>>, LedgerError> {
        self.read(|connection| {
            let Some(client) = key_of(connection, id)? else {
                return Ok(None);
            };
            connection
                .prepare_cached(
                    "SELECT name, created_at, last_used_at, expires_at FROM token
                     WHERE client = ?1 AND (expires_at IS NULL OR expires_at > ?2)
                     ORDER BY name, expires_at DESC NULLS FIRST",
                )?
                .query_map((client, now.unix_timestamp()), |row| {
                    Ok(TokenRow {
                        name: row.get(0)?,
                        created_at: Timestamp(row.get(1)?),
                        last_used_at: row.get::<_, Option<i64>>(2)?.map(Timestamp),
                        expires_at: row.get::<_, Option<i64>>(3)?.map(Timestamp),
                    })
                })?
                .collect::<Result<_, _>>()
                .map(Some)
        })
    }

    fn note_token_uses(&self, uses: &[TokenUse]) -> Result<(), LedgerError> {
        // Nothing is written, and no lock taken, while all are noted: a process that answers one request starts for each.
        let is_new = self.read(|connection| {
            let mut query = connection.prepare_cached(
                "SELECT 1 FROM token WHERE client = ?1 AND sha256 = ?2 AND (last_used_at IS NULL OR last_used_at < ?3)",
            )?;
            for usage in uses {
                if query.exists((usage.client.0, usage.token.0, usage.at.0))? {
                    return Ok(true);
                }
            }
            Ok(false)
        })?;
        if !is_new {
            return Ok(());
        }
        // A sync would hold up the uploads that are committed meanwhile.
        let synchronous = synchronous(self.durability).min(NORMAL);
        lock(&self.writer).write(synchronous, |connection| {
            let mut update = connection.prepare_cached(
                "UPDATE token SET last_used_at = ?3
                 WHERE client = ?1 AND sha256 = ?2 AND (last_used_at IS NULL OR last_used_at < ?3)",
            )?;
            for usage in uses {
                update.execute((usage.client.0, usage.token.0, usage.at.0))?;
            }
            Ok(())
        })
    }
}

/// Adds a token whose name is free, and forgets those that have ended.
pub(super) fn insert(
    connection: &Connection,
    client: i64,
    name: &str,
    token: TokenDigest,
    now: UtcDateTime,
) -> rusqlite::Result<TokenAdded> {
    connection.execute(
        "DELETE FROM token WHERE client = ?1 AND expires_at <= ?2",
        (client, now.unix_timestamp()),
    )?;
    if let Some(other) = other_name(connection, client, name, token, now)? {
        return Ok(TokenAdded::KnownAs(other));
    }
    // A token that is imported again while it still overlaps stays valid.
    connection.execute(
        "INSERT INTO token (client, sha256, created_at, name) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (client, sha256) DO UPDATE SET expires_at = NULL",
        (client, token.0, now.unix_timestamp(), name),
    )?;
    Ok(TokenAdded::Added)
}

/// The other name by which the client has this token.
fn other_name(
    connection: &Connection,
    client: i64,
    name: &str,
    token: TokenDigest,
    now: UtcDateTime,
) -> rusqlite::Result<Option<String>> {
    connection
        .prepare_cached(
            "SELECT name FROM token
             WHERE client = ?1 AND sha256 = ?2 AND name <> ?3 AND (expires_at IS NULL OR expires_at > ?4)",
        )?
        .query_row((client, token.0, name, now.unix_timestamp()), |row| row.get(0))
        .optional()
}
