//! `block …`: the list of images that are not accepted.

use std::fs::File;
use std::io;
use std::path::Path;

use serde_json::{Value, json};
use time::UtcDateTime;

use super::image::open;
use super::{Failure, print, print_json, table};
use crate::cli::{BlockCommand, DigestArguments};
use crate::config::Config;
use crate::image_digest::ImageDigest;
use crate::ledger::{self, Blocked, Ledger};

pub(super) fn block(config: &Config, command: &BlockCommand) -> Result<(), Failure> {
    match command {
        BlockCommand::Add { images, reason } => {
            let site = open(config)?;
            change(&*site.ledger, images, "blocked", |ledger, digest| {
                ledger.block(&[digest], reason.as_deref(), UtcDateTime::now())
            })
        }
        BlockCommand::Remove { images } => {
            let site = open(config)?;
            change(&*site.ledger, images, "unblocked", |ledger, digest| {
                ledger.unblock(&[digest])
            })
        }
        BlockCommand::List { json } => list(&ledger::open_existing(config)?.blocked()?, *json),
    }
}

/// Changes the list for each digest; what is no digest is told, and the rest done.
fn change(
    ledger: &dyn Ledger,
    images: &DigestArguments,
    verb: &str,
    change: impl Fn(&dyn Ledger, ImageDigest) -> Result<usize, ledger::LedgerError>,
) -> Result<(), Failure> {
    let listed: Vec<_> = ledger.blocked()?.iter().map(|entry| entry.digest).collect();
    let mut told = Vec::new();
    let mut left = 0;
    for (name, digest) in digests(images) {
        let outcome = match digest {
            Ok(digest) => {
                let is_new = listed.contains(&digest) != (verb == "blocked");
                if !images.dry_run {
                    change(ledger, digest)?;
                }
                match (is_new, verb) {
                    (true, _) => Ok((digest, verb)),
                    (false, "blocked") => Ok((digest, "already blocked")),
                    (false, _) => Err("is not on the block list".to_owned()),
                }
            }
            Err(cause) => Err(cause),
        };
        told.push(match outcome {
            Ok((digest, outcome)) => {
                json!({ "image": name, "sha256": digest.to_string(), "outcome": outcome })
            }
            Err(cause) => {
                left += 1;
                eprintln!("{name} {cause}");
                json!({ "image": name, "outcome": "failed", "cause": cause })
            }
        });
    }
    if images.json {
        print_json(&json!({ "dry_run": images.dry_run, "images": told, "left": left }))?;
    } else {
        let would = if images.dry_run { "would be " } else { "" };
        let line = |entry: &Value| {
            let text = |key: &str| entry[key].as_str().unwrap_or_default();
            format!("{would}{} {}\n", text("outcome"), text("sha256"))
        };
        let done = told.iter().filter(|entry| entry["cause"].is_null());
        print(&done.map(line).collect::<String>())?;
    }
    if left == 0 {
        Ok(())
    } else {
        Err(Failure::failed(format!(
            "{left} of {} were not {verb}",
            told.len()
        )))
    }
}

/// Each argument with its digest, or why it has none.
fn digests(images: &DigestArguments) -> Vec<(String, Result<ImageDigest, String>)> {
    let given = images.digests.iter().map(|text| {
        let digest = text.parse::<ImageDigest>();
        (text.clone(), digest.map_err(|error| format!("is {error}")))
    });
    let files = images.file.iter().map(|file| {
        let digest = digest_of(file).map_err(|error| format!("cannot be read: {error}"));
        (file.display().to_string(), digest)
    });
    given.chain(files).collect()
}

fn digest_of(file: &Path) -> io::Result<ImageDigest> {
    if file.as_os_str() == "-" {
        ImageDigest::of(io::stdin().lock())
    } else {
        ImageDigest::of(File::open(file)?)
    }
}

fn list(blocked: &[Blocked], json: bool) -> Result<(), Failure> {
    if json {
        let entries = blocked.iter().map(|entry| {
            json!({
                "sha256": entry.digest.to_string(),
                "blocked_at": entry.at.to_string(),
                "reason": entry.reason,
            })
        });
        return print_json(&entries.collect());
    }
    let rows: Vec<_> = blocked
        .iter()
        .map(|entry| {
            vec![
                entry.digest.to_string(),
                entry.at.to_string(),
                entry.reason.clone().unwrap_or_default(),
            ]
        })
        .collect();
    print(&table(&["SHA256", "BLOCKED", "REASON"], &rows))
}
