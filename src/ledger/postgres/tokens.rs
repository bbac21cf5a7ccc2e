//! Statements about tokens.

use time::UtcDateTime;

use super::PostgresLedger;
use super::statement::{column, get, only, parameters, text};
use crate::auth::TokenDigest;
use crate::ledger::{LedgerError, TokenAdded, TokenRemoved, TokenRow, TokenUse, Tokens};
use crate::timestamp::Timestamp;

impl Tokens for PostgresLedger {
    fn add_token(
        &self,
        id: &str,
        name: &str,
        token: TokenDigest,
        now: UtcDateTime,
    ) -> Result<TokenAdded, LedgerError> {
        const SQL: &str = "SELECT outcome, other FROM corenexis.add_token($1, $2, $3, $4, $5)";
        let rows = self.pool.query(SQL, |is_again| {
            parameters![
                text(id),
                text(name),
                token.0.to_vec(),
                now.unix_timestamp(),
                is_again,
            ]
        })?;
        added(rows)
    }

    fn rotate_token(
        &self,
        id: &str,
        name: &str,
        token: TokenDigest,
        old_tokens_end: UtcDateTime,
        now: UtcDateTime,
    ) -> Result<TokenAdded, LedgerError> {
        const SQL: &str = "SELECT outcome, other FROM corenexis.rotate_token($1, $2, $3, $4, $5)";
        let rows = self.pool.query(SQL, |_| {
            parameters![
                text(id),
                text(name),
                token.0.to_vec(),
                old_tokens_end.unix_timestamp(),
                now.unix_timestamp(),
            ]
        })?;
        added(rows)
    }

    fn remove_token(&self, id: &str, name: &str) -> Result<TokenRemoved, LedgerError> {
        let rows = self
            .pool
            .query("SELECT corenexis.remove_token($1, $2, $3)", |is_again| {
                parameters![text(id), text(name), is_again]
            })?;
        Ok(match get::<i32>(&only(rows)?, 0)? {
            0 => TokenRemoved::Removed,
            1 => TokenRemoved::NoClient,
            2 => TokenRemoved::NoToken,
            _ => TokenRemoved::Last,
        })
    }

    fn tokens(&self, id: &str, now: UtcDateTime) -> Result<Option<Vec<TokenRow>>, LedgerError> {
        const SQL: &str = "SELECT token.name, token.created_at, token.last_used_at, token.expires_at
             FROM corenexis.client LEFT JOIN corenexis.token
                 ON token.client = client.key AND (token.expires_at IS NULL OR token.expires_at > $2)
             WHERE client.id = $1 AND client.removed_at IS NULL
             ORDER BY token.name, token.expires_at DESC NULLS FIRST";
        let rows = self
            .pool
            .query(SQL, |_| parameters![text(id), now.unix_timestamp()])?;
        if rows.is_empty() {
            return Ok(None);
        }
        let mut tokens = Vec::with_capacity(rows.len());
        for row in &rows {
            // A client without a token has one row without one.
            let Some(name) = get(row, 0)? else {
                break;
            };
            tokens.push(TokenRow {
                name,
                created_at: Timestamp(get(row, 1)?),
                last_used_at: get::<Option<i64>>(row, 2)?.map(Timestamp),
                expires_at: get::<Option<i64>>(row, 3)?.map(Timestamp),
            });
        }
        Ok(Some(tokens))
    }

    fn note_token_uses(&self, uses: &[TokenUse]) -> Result<(), LedgerError> {
        const SQL: &str = "UPDATE corenexis.token SET last_used_at = noted.at
             FROM unnest($1, $2, $3) AS noted (client, sha256, at)
             WHERE token.client = noted.client AND token.sha256 = noted.sha256
                 AND (token.last_used_at IS NULL OR token.last_used_at < noted.at)";
        self.pool
            .query(SQL, |_| {
                parameters![
                    column(uses, |usage| usage.client.0),
                    column(uses, |usage| usage.token.0.to_vec()),
                    column(uses, |usage| usage.at.0),
                ]
            })
            .map(drop)
    }
}

fn added(rows: Vec<postgres::Row>) -> Result<TokenAdded, LedgerError> {
    let row = only(rows)?;
    Ok(match get::<i32>(&row, 0)? {
        0 => TokenAdded::Added,
        1 => TokenAdded::NoClient,
        2 => TokenAdded::NameTaken,
        _ => TokenAdded::KnownAs(get(&row, 1)?),
    })
}
