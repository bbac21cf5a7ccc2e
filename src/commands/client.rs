//! `client …`: clients and their tokens.

use std::io::{self, IsTerminal, Write};
use std::path::Path;

use serde_json::{Value, json};
use time::UtcDateTime;

use super::export::export;
use super::{Failure, confirm, print, print_fields, print_json, table, token};
use crate::auth::Token;
use crate::cli::ClientCommand;
use crate::config::Config;
use crate::export::invitation;
use crate::ledger::{self, ClientRow, Ledger};
use crate::site;

pub(super) fn client(config: &Config, command: ClientCommand) -> Result<(), Failure> {
    // The first client of a new site creates the ledger; every other command needs one that exists.
    let ledger = match command {
        ClientCommand::Add { .. } => site::open_ledger_or_create(config)?,
        _ => ledger::open_existing(config)?,
    };
    let ledger = &*ledger;
    let now = UtcDateTime::now();
    match command {
        ClientCommand::Add {
            id,
            plan,
            token_file,
        } => add(config, ledger, &id, &plan, token_file.as_deref(), now),
        ClientCommand::List { json } => list(config, ledger, json, now),
        ClientCommand::Show { id, json } => show(config, ledger, &id, json, now),
        ClientCommand::Set { id, plan } => {
            require_plan(config, &plan)?;
            found(&id, ledger.set_plan(&id, &plan)?)?;
            eprintln!("{id} has the plan {plan}; its images and its uploads of today stay.");
            Ok(())
        }
        ClientCommand::Rotate {
            id,
            overlap,
            token_file,
        } => {
            let token = make_token(token_file.as_deref())?;
            token::rotate(ledger, &id, &token, overlap, now)?;
            print_token(&id, &token)
        }
        ClientCommand::Export(arguments) => export(config, ledger, &arguments, now),
        ClientCommand::Disable { id } => {
            found(&id, ledger.set_disabled(&id, true, now)?)?;
            eprintln!("{id} is disabled: its uploads are refused, its images stay.");
            Ok(())
        }
        ClientCommand::Enable { id } => {
            found(&id, ledger.set_disabled(&id, false, now)?)?;
            eprintln!("{id} is enabled.");
            Ok(())
        }
        ClientCommand::Remove { id, yes } => remove(ledger, &id, yes, now),
    }
}

fn found(id: &str, found: bool) -> Result<(), Failure> {
    if found {
        Ok(())
    } else {
        Err(Failure::no_client(id))
    }
}

fn add(
    config: &Config,
    ledger: &dyn Ledger,
    id: &str,
    plan: &str,
    token_file: Option<&Path>,
    now: UtcDateTime,
) -> Result<(), Failure> {
    require_plan(config, plan)?;
    let token = make_token(token_file)?;
    if !ledger.add_client(id, plan, token.digest(), now)? {
        return Err(Failure::failed(format!(
            "there is a client {id:?} already: choose another id, or give it a new token with `client rotate {id}`"
        )));
    }
    print_token(id, &token)?;
    // A script that takes the credentials from standard output needs no page.
    if io::stdout().is_terminal() {
        eprintln!(
            "To upload by hand, open {} and enter the token.",
            invitation(config, id)
        );
    }
    Ok(())
}

fn require_plan(config: &Config, plan: &str) -> Result<(), Failure> {
    if !config.plans.contains_key(plan) {
        let names: Vec<_> = config.plans.keys().map(String::as_str).collect();
        return Err(Failure {
            code: 2,
            message: format!(
                "there is no plan {plan:?}: the configuration has {}",
                names.join(", ")
            ),
        });
    }
    Ok(())
}

fn make_token(file: Option<&Path>) -> Result<Token, Failure> {
    match file {
        Some(file) => token::read(file),
        None => Token::random().map_err(Failure::failed),
    }
}

/// Prints the token, which is shown only once; so a closed pipe is a failure here.
fn print_token(id: &str, token: &Token) -> Result<(), Failure> {
    let text = format!("client_id={id}\nclient_token={}\n", token.reveal());
    io::stdout().lock().write_all(text.as_bytes()).map_err(|error| {
        Failure::failed(format!(
            "the token of {id} could not be written to standard output, and is lost: {error}; make another with `corenexis-cdn client \
             rotate {id}`"
        ))
    })
}

/// Fails if there is no client with that id, so that an empty answer does not hide a misspelt id.
pub(super) fn must_exist(ledger: &dyn Ledger, id: &str) -> Result<(), Failure> {
    row_of(ledger, id, UtcDateTime::now()).map(drop)
}

fn remove(ledger: &dyn Ledger, id: &str, yes: bool, now: UtcDateTime) -> Result<(), Failure> {
    let row = row_of(ledger, id, now)?;
    if !yes {
        confirm(
            &format!(
                "Remove {id}, which has stored {} images? They stay until they expire.",
                row.uploads
            ),
            &format!("{id} was not removed"),
        )?;
    }
    found(id, ledger.remove_client(id, now)?)?;
    eprintln!("{id} is removed.");
    Ok(())
}

fn row_of(ledger: &dyn Ledger, id: &str, now: UtcDateTime) -> Result<ClientRow, Failure> {
    ledger
        .clients(now)?
        .into_iter()
        .find(|row| row.id == id)
        .ok_or_else(|| Failure::no_client(id))
}

fn list(config: &Config, ledger: &dyn Ledger, json: bool, now: UtcDateTime) -> Result<(), Failure> {
    let clients = ledger.clients(now)?;
    if json {
        return print_json(&clients.iter().map(|row| describe(config, row)).collect());
    }
    let rows: Vec<_> = clients
        .iter()
        .map(|row| {
            let limit = daily_uploads(config, row)
                .map_or_else(|| "?".to_owned(), |limit| limit.to_string());
            vec![
                row.id.clone(),
                row.plan.clone(),
                state(row).to_owned(),
                row.used.to_string(),
                limit,
                row.uploads.to_string(),
                row.bytes.to_string(),
            ]
        })
        .collect();
    print(&table(
        &["ID", "PLAN", "STATE", "TODAY", "OF", "UPLOADS", "BYTES"],
        &rows,
    ))
}

fn show(
    config: &Config,
    ledger: &dyn Ledger,
    id: &str,
    json: bool,
    now: UtcDateTime,
) -> Result<(), Failure> {
    let description = describe(config, &row_of(ledger, id, now)?);
    if json {
        print_json(&description)
    } else {
        print_fields(description)
    }
}

const fn state(row: &ClientRow) -> &'static str {
    if row.disabled_at.is_some() {
        "disabled"
    } else {
        "enabled"
    }
}

fn daily_uploads(config: &Config, row: &ClientRow) -> Option<u32> {
    config.plans.get(&row.plan).map(|plan| plan.daily_uploads)
}

fn describe(config: &Config, row: &ClientRow) -> Value {
    json!({
        "id": row.id,
        "plan": row.plan,
        "state": state(row),
        "created_at": row.created_at.to_string(),
        "disabled_at": row.disabled_at.map(|at| at.to_string()),
        "valid_tokens": row.tokens,
        "uploads_today": row.used,
        "daily_uploads": daily_uploads(config, row),
        "uploads": row.uploads,
        "bytes": row.bytes,
        "stored": { "images": row.stored.images, "bytes": row.stored.bytes },
        "max_storage": config.plans.get(&row.plan).and_then(|plan| plan.max_storage),
    })
}
