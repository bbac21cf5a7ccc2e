//! Tokens that commands read and replace.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use time::UtcDateTime;

use super::Failure;
use crate::auth::Token;
use crate::ledger::Ledger;
use crate::timestamp::Timestamp;

/// The token in a file, or on standard input for `-`.
pub(super) fn read(file: &Path) -> Result<Token, Failure> {
    let text = if file.as_os_str() == "-" {
        io::read_to_string(io::stdin())
    } else {
        fs::read_to_string(file)
    };
    let text = text.map_err(|error| {
        Failure::failed(format!(
            "the token file {} could not be read: {error}",
            file.display()
        ))
    })?;
    Token::import(text.trim())
        .map_err(|error| Failure::failed(format!("{}: {error}", file.display())))
}

/// Gives the client this token, and tells until when the old one is valid.
pub(super) fn rotate(
    ledger: &dyn Ledger,
    id: &str,
    token: &Token,
    overlap: Option<Duration>,
    now: UtcDateTime,
) -> Result<(), Failure> {
    let overlap = overlap.unwrap_or_default();
    let end = now + overlap;
    if !ledger.rotate_token(id, token.digest(), end, now)? {
        return Err(Failure::no_client(id));
    }
    if overlap.is_zero() {
        eprintln!("The old token of {id} is no longer valid.");
    } else {
        eprintln!(
            "The old token of {id} is valid until {}.",
            Timestamp::from(end)
        );
    }
    Ok(())
}
