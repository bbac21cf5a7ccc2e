//! `client export`: settings of a client for a program that uploads.

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;
use time::UtcDateTime;

use super::{Failure, print, token};
use crate::auth::{self, Token};
use crate::cli::{ExportArguments, ExportFormat};
use crate::config::Config;
use crate::expiry::StoreDuration;
use crate::export::{Credentials, clients, invitation, postman};
use crate::ledger::{Account, DEFAULT_TOKEN, Ledger};

pub(super) fn export(
    config: &Config,
    ledger: &dyn Ledger,
    arguments: &ExportArguments,
    now: UtcDateTime,
) -> Result<(), Failure> {
    let id = arguments.id.as_str();
    let account = ledger
        .account(id, now)?
        .ok_or_else(|| Failure::no_client(id))?;
    let duration = duration(config, &account, arguments)?;
    // Created before a rotation: a new token that cannot be written would be lost.
    let output = arguments
        .output
        .as_deref()
        .map(|path| Output::create(path, arguments.force))
        .transpose()?;
    let disabled = account.disabled;
    let token = if arguments.rotate {
        let token = Token::random().map_err(Failure::failed)?;
        token::rotate(ledger, id, DEFAULT_TOKEN, &token, arguments.overlap, now)?;
        token
    } else {
        let token = ask_token(arguments)?;
        verify(id, &account, &token)?;
        token
    };
    let credentials = Credentials {
        client_id: id,
        client_token: token.reveal(),
        duration,
    };
    let text = settings(config, credentials, arguments.format);
    match output {
        Some(output) => output.write(&text)?,
        None => print(&text)?,
    }
    if io::stderr().is_terminal() {
        eprintln!(
            "To upload by hand, open {} and enter the token.",
            invitation(config, id)
        );
    }
    if disabled {
        eprintln!(
            "{id} is disabled, so its uploads are refused: enable it with `corenexis-cdn client enable {id}`"
        );
    }
    Ok(())
}

fn settings(config: &Config, credentials: Credentials<'_>, format: ExportFormat) -> String {
    let value = match format {
        ExportFormat::Env => return clients::environment(config, credentials),
        ExportFormat::Postman => return postman::collection(config, credentials),
        ExportFormat::Sharex => clients::sharex(config, credentials),
        ExportFormat::Picgo => clients::picgo(config, credentials),
        ExportFormat::Upic => clients::upic(config, credentials),
    };
    format!("{value:#}\n")
}

/// The duration of the arguments, which the plan must have; without one, the shortest of the plan.
fn duration(
    config: &Config,
    account: &Account,
    arguments: &ExportArguments,
) -> Result<StoreDuration, Failure> {
    let plan = config.plans.get(&account.plan).ok_or_else(|| {
        Failure::configuration(format!(
            "the plan {:?} of {} is not in the configuration",
            account.plan, arguments.id
        ))
    })?;
    let offered: Vec<_> = plan
        .durations
        .iter()
        .map(|duration| duration.code())
        .collect();
    match arguments.duration {
        Some(duration) if plan.allows(duration) => Ok(duration),
        Some(duration) => Err(Failure::usage(format!(
            "the plan {} of {} does not have the duration {duration}: it has {}",
            plan.name,
            arguments.id,
            offered.join(", ")
        ))),
        None => plan.durations.first().copied().ok_or_else(|| {
            Failure::configuration(format!("the plan {} has no duration", plan.name))
        }),
    }
}

/// Reads the token from the file, from the terminal without echo, or from standard input.
fn ask_token(arguments: &ExportArguments) -> Result<Token, Failure> {
    if let Some(file) = &arguments.token_file {
        return token::read(file);
    }
    if !io::stdin().is_terminal() {
        return token::read(Path::new("-"));
    }
    let text = rpassword::prompt_password(format!("Token of {}: ", arguments.id))?;
    Token::import(text.trim()).map_err(Failure::failed)
}

fn verify(id: &str, account: &Account, token: &Token) -> Result<(), Failure> {
    auth::check(Some(&account.tokens), token.digest()).map_err(|_| {
        Failure::failed(format!(
            "this is not a valid token of {id}. The ledger has digests only and cannot print the token: `--rotate` exports a new one and ends \
             the old one"
        ))
    })
}

/// A file of mode 0600 that gets its name when it is complete. Dropped before, it is removed.
struct Output {
    file: NamedTempFile,
    target: PathBuf,
    force: bool,
}

impl Output {
    fn create(target: &Path, force: bool) -> Result<Self, Failure> {
        if !force && target.symlink_metadata().is_ok() {
            return Err(there_already(target));
        }
        let directory = match target.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        Ok(Self {
            file: NamedTempFile::new_in(directory).map_err(|error| unwritable(target, &error))?,
            target: target.to_owned(),
            force,
        })
    }

    fn write(mut self, text: &str) -> Result<(), Failure> {
        let written = self.file.write_all(text.as_bytes());
        written
            .and_then(|()| self.file.as_file().sync_all())
            .map_err(|error| unwritable(&self.target, &error))?;
        let renamed = if self.force {
            self.file.persist(&self.target)
        } else {
            self.file.persist_noclobber(&self.target)
        };
        match renamed.map_err(|failed| failed.error) {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(there_already(&self.target))
            }
            Err(error) => Err(unwritable(&self.target, &error)),
        }
    }
}

fn there_already(target: &Path) -> Failure {
    Failure::failed(format!(
        "{} exists: replace it with --force",
        target.display()
    ))
}

fn unwritable(target: &Path, error: &io::Error) -> Failure {
    Failure::failed(format!(
        "{} could not be written: {error}",
        target.display()
    ))
}
