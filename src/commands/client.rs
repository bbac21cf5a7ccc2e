//! `client …`: clients and their tokens.

use std::fmt;
use std::io::{self, IsTerminal};
use std::path::Path;

use serde_json::{Value, json};
use time::UtcDateTime;

use super::export::export;
use super::{Failure, confirm, print, print_fields, print_json, table, takedown, token};
use crate::cli::{ClientCommand, RemovedImages};
use crate::config::Config;
use crate::export::invitation;
use crate::ledger::{self, ClientKey, ClientRow, DEFAULT_TOKEN, Ledger, Owner};
use crate::site;
use crate::timestamp::Timestamp;

/// A client that was selected on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Selected {
    /// Its key, which tells it from another client of the same id.
    pub(super) key: ClientKey,
    /// Its id.
    pub(super) id: String,
    /// When it was removed; `None` if it was not.
    pub(super) removed_at: Option<Timestamp>,
}

/// `shop`, or `shop (removed 2026-04-05)`.
impl fmt::Display for Selected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&label(&self.id, self.removed_at))
    }
}

/// The id of a client, with the day of its removal if it was removed.
pub(super) fn label(id: &str, removed_at: Option<Timestamp>) -> String {
    match removed_at {
        None => id.to_owned(),
        Some(at) => match at.date() {
            Some(day) => format!("{id} (removed {day})"),
            None => format!("{id} (removed {at})"),
        },
    }
}

/// The client that `text` names: `ID` for the present one, `ID@TIME` for one that was removed then. The time may end after the day.
pub(super) fn select(ledger: &dyn Ledger, text: &str) -> Result<Selected, Failure> {
    let (id, time) = match text.split_once('@') {
        Some((id, time)) => (id, Some(time)),
        None => (text, None),
    };
    let named = ledger.clients_named(id)?;
    let matches = |removed_at: Option<Timestamp>| match (time, removed_at) {
        (None, removed_at) => removed_at.is_none(),
        (Some(time), Some(at)) => !time.is_empty() && at.to_string().starts_with(time),
        (Some(_), None) => false,
    };
    let mut found = named.iter().filter(|(_, removed_at)| matches(*removed_at));
    match (found.next(), found.next()) {
        (Some(&(key, removed_at)), None) => Ok(Selected {
            key,
            id: id.to_owned(),
            removed_at,
        }),
        _ if named.is_empty() => Err(Failure::no_client(id)),
        (one, _) => {
            let removed = named.iter().filter_map(|(_, removed_at)| *removed_at);
            let removed: Vec<_> = removed.map(|at| format!("{id}@{at}")).collect();
            let count = if one.is_some() {
                "several clients"
            } else {
                "no client"
            };
            Err(Failure::failed(match &removed[..] {
                [] => format!(
                    "no client {id:?} was removed: leave out {:?}",
                    &text[id.len()..]
                ),
                removed => format!(
                    "{text:?} names {count}; those of that id that were removed are {}",
                    removed.join(", ")
                ),
            }))
        }
    }
}

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
            name,
            overlap,
            token_file,
        } => {
            let token = token::make(token_file.as_deref())?;
            token::rotate(ledger, &id, &name, &token, overlap, now)?;
            token::print(&id, &name, &token)
        }
        ClientCommand::Token(command) => token::token(ledger, command, now),
        ClientCommand::Export(arguments) => export(config, ledger, &arguments, now),
        ClientCommand::Suspend {
            id,
            quarantine_images,
            reason,
        } => {
            found(&id, ledger.set_disabled(&id, true, now)?)?;
            eprintln!("{id} is suspended: its uploads are refused.");
            if !quarantine_images {
                eprintln!("Its images are served on; --quarantine-images takes them down.");
                return Ok(());
            }
            let client = select(ledger, &id)?;
            takedown::quarantine_of_client(config, &client, reason.as_deref())
        }
        ClientCommand::Resume { id, release_images } => {
            found(&id, ledger.set_disabled(&id, false, now)?)?;
            eprintln!("{id} is enabled: its uploads are taken again.");
            if release_images {
                takedown::release_of_client(config, &select(ledger, &id)?)
            } else {
                Ok(())
            }
        }
        ClientCommand::Remove {
            id,
            images,
            dry_run,
            yes,
            json,
        } => remove(
            config,
            ledger,
            &id,
            &Removal {
                images,
                dry_run,
                yes,
                json,
            },
            now,
        ),
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
    let token = token::make(token_file)?;
    if !ledger.add_client(id, plan, token.digest(), now)? {
        return Err(Failure::failed(format!(
            "there is a client {id:?} already: choose another id, or give it a new token with `client rotate {id}`"
        )));
    }
    token::print(id, DEFAULT_TOKEN, &token)?;
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
        return Err(Failure::usage(format!(
            "there is no plan {plan:?}: the configuration has {}",
            names.join(", ")
        )));
    }
    Ok(())
}

/// Whose images are listed: those of every client that has or had the id, or of the one that `ID@TIME` selects.
pub(super) fn owner_of(ledger: &dyn Ledger, text: &str) -> Result<Owner, Failure> {
    if text.contains('@') {
        Ok(Owner::Key(select(ledger, text)?.key))
    } else {
        Ok(Owner::Id(text.to_owned()))
    }
}

/// Fails if there is no client with that id, so that an empty answer does not hide a misspelt id.
pub(super) fn must_exist(ledger: &dyn Ledger, id: &str) -> Result<(), Failure> {
    row_of(ledger, id, UtcDateTime::now()).map(drop)
}

/// How a client is removed.
struct Removal {
    images: RemovedImages,
    dry_run: bool,
    yes: bool,
    json: bool,
}

fn remove(
    config: &Config,
    ledger: &dyn Ledger,
    id: &str,
    removal: &Removal,
    now: UtcDateTime,
) -> Result<(), Failure> {
    let row = row_of(ledger, id, now)?;
    let (deletes, fate) = match removal.images {
        RemovedImages::Keep => (false, "stay until they expire"),
        RemovedImages::Delete => (true, "are deleted, except those in quarantine"),
    };
    let describe = |dry_run| {
        json!({
            "dry_run": dry_run,
            "client": id,
            "uploads": row.uploads,
            "images": if deletes { "delete" } else { "keep" },
        })
    };
    if removal.dry_run {
        return if removal.json {
            print_json(&describe(true))
        } else {
            print(&format!("would remove {id}; its images {fate}\n"))
        };
    }
    if !removal.yes {
        confirm(
            &format!(
                "Remove {id}, which has uploaded {} images? They {fate}.",
                row.uploads
            ),
            &format!("{id} was not removed"),
        )?;
    }
    // The key outlives the removal. Without tokens, no image comes while they are deleted.
    let mut client = select(ledger, id)?;
    found(id, ledger.remove_client(id, now)?)?;
    client.removed_at = Some(now.into());
    eprintln!("{id} is removed; its images {fate}.");
    if deletes {
        takedown::delete_all_of(config, &client).map_err(|failure| Failure {
            message: format!(
                "{}. `corenexis-cdn image delete --client {id}@{}` deletes the rest of its images",
                failure.message,
                Timestamp::from(now)
            ),
            ..failure
        })?;
    }
    if removal.json {
        return print_json(&describe(false));
    }
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
    print_fields(describe(config, &row_of(ledger, id, now)?), json)
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
