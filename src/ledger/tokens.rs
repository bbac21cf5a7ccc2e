//! [`Tokens`]: the tokens of clients. Each has a name, so that one program's token can be replaced without the others.

use time::UtcDateTime;

use super::{ClientKey, LedgerError};
use crate::auth::TokenDigest;
use crate::timestamp::Timestamp;

/// The name of a client's first token.
pub(crate) const DEFAULT_TOKEN: &str = "default";

/// A valid token of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TokenRow {
    /// Its name. While a rotation overlaps, two tokens have the same.
    pub name: String,
    /// When it was added.
    pub created_at: Timestamp,
    /// The hour in which it was last used; `None` for one that never was.
    pub last_used_at: Option<Timestamp>,
    /// When it ends; `None` unless it was replaced by a rotation that overlaps.
    pub expires_at: Option<Timestamp>,
}

/// What became of a token that was to be added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TokenAdded {
    /// It is valid from now on.
    Added,
    /// There is no such client.
    NoClient,
    /// The client has a token of that name.
    NameTaken,
    /// It is a token of the client already, by this other name.
    KnownAs(String),
}

/// What became of a token that was to be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenRemoved {
    /// It is not valid any more.
    Removed,
    /// There is no such client.
    NoClient,
    /// The client has no token of that name.
    NoToken,
    /// It is the last one of the client, and was kept.
    Last,
}

/// The use of a token in an hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TokenUse {
    /// Whose.
    pub client: ClientKey,
    /// Which.
    pub token: TokenDigest,
    /// The hour.
    pub at: Timestamp,
}

/// The part of a ledger for tokens. Its verbs are atomic and durable as those of [`super::Ledger`], except [`Self::note_token_uses`].
pub(crate) trait Tokens {
    /// Gives a client one more token.
    fn add_token(
        &self,
        id: &str,
        name: &str,
        token: TokenDigest,
        now: UtcDateTime,
    ) -> Result<TokenAdded, LedgerError>;

    /// Gives a client a new token of that name. Older ones of the same name expire at `old_tokens_end`; others stay.
    fn rotate_token(
        &self,
        id: &str,
        name: &str,
        token: TokenDigest,
        old_tokens_end: UtcDateTime,
        now: UtcDateTime,
    ) -> Result<TokenAdded, LedgerError>;

    /// Removes the tokens of that name, unless the client would have none left that stays valid.
    fn remove_token(&self, id: &str, name: &str) -> Result<TokenRemoved, LedgerError>;

    /// The valid tokens of a client by name, the one that stays before those that end; `None` if there is no such client.
    fn tokens(&self, id: &str, now: UtcDateTime) -> Result<Option<Vec<TokenRow>>, LedgerError>;

    /// Notes when tokens were last used, without a sync: a power cut may take the latest. A use before the one that is noted, or of a
    /// token that was removed, is left out.
    fn note_token_uses(&self, uses: &[TokenUse]) -> Result<(), LedgerError>;
}
