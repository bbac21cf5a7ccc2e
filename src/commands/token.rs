//! `client token …`: tokens that commands read, add, replace and remove.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use serde_json::json;
use time::UtcDateTime;

use super::{Failure, confirm, print_json, table};
use crate::auth::Token;
use crate::cli::TokenCommand;
use crate::ledger::{DEFAULT_TOKEN, Ledger, TokenAdded, TokenRemoved, TokenRow};
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

/// The token in that file, or a new random one.
pub(super) fn make(file: Option<&Path>) -> Result<Token, Failure> {
    match file {
        Some(file) => read(file),
        None => Token::random().map_err(Failure::failed),
    }
}

/// Prints the token, which is shown only once; so a closed pipe is a failure here.
pub(super) fn print(id: &str, name: &str, token: &Token) -> Result<(), Failure> {
    let text = format!("client_id={id}\nclient_token={}\n", token.reveal());
    io::stdout().lock().write_all(text.as_bytes()).map_err(|error| {
        let named = if name == DEFAULT_TOKEN {
            String::new()
        } else {
            format!(" --name {name}")
        };
        Failure::failed(format!(
            "the token of {id} could not be written to standard output, and is lost: {error}; make another with `corenexis-cdn client \
             rotate {id}{named}`"
        ))
    })
}

/// Replaces the client's token of that name, and tells until when the old one is valid. A client that has no token
/// [`DEFAULT_TOKEN`] gets one; a token of another name has to exist.
pub(super) fn rotate(
    ledger: &dyn Ledger,
    id: &str,
    name: &str,
    token: &Token,
    overlap: Option<Duration>,
    now: UtcDateTime,
) -> Result<(), Failure> {
    let tokens = tokens_of(ledger, id, now)?;
    let (old, others): (Vec<_>, Vec<_>) = tokens.iter().partition(|row| row.name == name);
    if old.is_empty() && name != DEFAULT_TOKEN {
        return Err(no_token(id, name));
    }
    let overlap = overlap.unwrap_or_default();
    let end = now + overlap;
    added(
        id,
        name,
        ledger.rotate_token(id, name, token.digest(), end, now)?,
    )?;
    let old_token = if name == DEFAULT_TOKEN {
        format!("old token of {id}")
    } else {
        format!("old token {name} of {id}")
    };
    if old.is_empty() {
        eprintln!("{id} had no token named {name}; it has one now.");
    } else if overlap.is_zero() {
        eprintln!("The {old_token} is no longer valid.");
    } else {
        eprintln!("The {old_token} is valid until {}.", Timestamp::from(end));
    }
    let others: BTreeSet<_> = others.into_iter().map(|row| row.name.as_str()).collect();
    if !others.is_empty() {
        let others = Vec::from_iter(others).join(", ");
        eprintln!("Its other tokens stay valid: {others}.");
    }
    Ok(())
}

/// `client token …`
pub(super) fn token(
    ledger: &dyn Ledger,
    command: TokenCommand,
    now: UtcDateTime,
) -> Result<(), Failure> {
    match command {
        TokenCommand::Add {
            id,
            name,
            token_file,
        } => {
            let token = make(token_file.as_deref())?;
            added(
                &id,
                &name,
                ledger.add_token(&id, &name, token.digest(), now)?,
            )?;
            print(&id, &name, &token)
        }
        TokenCommand::List { id, json } => list(&tokens_of(ledger, &id, now)?, json),
        TokenCommand::Remove {
            id,
            name,
            dry_run,
            yes,
            json,
        } => {
            let tokens = tokens_of(ledger, &id, now)?;
            require_removable(&tokens, &id, &name)?;
            if !dry_run {
                if !yes {
                    confirm(
                        &format!(
                            "Remove the token {name} of {id}? Programs that use it are refused at once."
                        ),
                        &format!("the token {name} was not removed"),
                    )?;
                }
                remove(ledger, &id, &name)?;
            }
            if json {
                print_json(&json!({ "dry_run": dry_run, "client": id, "token": name }))
            } else if dry_run {
                super::print(&format!("would remove the token {name} of {id}\n"))
            } else {
                Ok(())
            }
        }
    }
}

/// Fails if the token does not exist or is the last one, before the operator is asked; the removal checks it again.
fn require_removable(tokens: &[TokenRow], id: &str, name: &str) -> Result<(), Failure> {
    if tokens.iter().all(|row| row.name != name) {
        return Err(no_token(id, name));
    }
    let stays = |row: &TokenRow| row.name != name && row.expires_at.is_none();
    if tokens.iter().any(stays) {
        Ok(())
    } else {
        Err(last_token(id, name))
    }
}

fn remove(ledger: &dyn Ledger, id: &str, name: &str) -> Result<(), Failure> {
    match ledger.remove_token(id, name)? {
        TokenRemoved::Removed => {
            eprintln!("The token {name} of {id} is no longer valid.");
            Ok(())
        }
        TokenRemoved::NoClient => Err(Failure::no_client(id)),
        TokenRemoved::NoToken => Err(no_token(id, name)),
        TokenRemoved::Last => Err(last_token(id, name)),
    }
}

fn tokens_of(ledger: &dyn Ledger, id: &str, now: UtcDateTime) -> Result<Vec<TokenRow>, Failure> {
    ledger
        .tokens(id, now)?
        .ok_or_else(|| Failure::no_client(id))
}

fn list(tokens: &[TokenRow], json: bool) -> Result<(), Failure> {
    let text = |time: Option<Timestamp>| time.map(|time| time.to_string());
    if json {
        let describe = |row: &TokenRow| {
            json!({
                "name": row.name,
                "created_at": row.created_at.to_string(),
                "last_used_at": text(row.last_used_at),
                "expires_at": text(row.expires_at),
            })
        };
        return print_json(&tokens.iter().map(describe).collect());
    }
    let rows: Vec<_> = tokens
        .iter()
        .map(|row| {
            vec![
                row.name.clone(),
                row.created_at.to_string(),
                text(row.last_used_at).unwrap_or_else(|| "never".to_owned()),
                text(row.expires_at).unwrap_or_else(|| "-".to_owned()),
            ]
        })
        .collect();
    super::print(&table(&["NAME", "CREATED", "LAST USED", "ENDS"], &rows))
}

fn added(id: &str, name: &str, outcome: TokenAdded) -> Result<(), Failure> {
    match outcome {
        TokenAdded::Added => Ok(()),
        TokenAdded::NoClient => Err(Failure::no_client(id)),
        TokenAdded::NameTaken => Err(Failure::failed(format!(
            "{id} has a token named {name} already: choose another name, or replace it with `client rotate {id} --name {name}`"
        ))),
        TokenAdded::KnownAs(other) => Err(Failure::failed(format!(
            "{id} has this token already, by the name {other}"
        ))),
    }
}

fn no_token(id: &str, name: &str) -> Failure {
    Failure::failed(format!(
        "{id} has no token named {name:?}: `corenexis-cdn client token list {id}` shows those there are"
    ))
}

fn last_token(id: &str, name: &str) -> Failure {
    Failure::failed(format!(
        "{name} is the last token of {id}, and is kept: `client suspend {id}` refuses the client's requests, `client rotate {id} --name \
         {name}` replaces the token"
    ))
}
