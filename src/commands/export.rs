//! `client export`: settings of a client for a program that uploads.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use time::UtcDateTime;

use super::{Failure, print, token};
use crate::auth::{self, Token};
use crate::cli::{ExportArguments, ExportFormat};
use crate::config::Config;
use crate::export::{Sender, clients, postman};
use crate::ledger::{Account, Ledger};
use crate::plan::StoreDuration;

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
    // Before a rotation: a token that cannot be written anywhere would be lost.
    let output = arguments
        .output
        .as_deref()
        .map(|path| Output::create(path, arguments.force))
        .transpose()?;
    let disabled = account.disabled;
    let token = if arguments.rotate {
        let token = Token::random().map_err(Failure::failed)?;
        token::rotate(ledger, id, &token, arguments.overlap, now)?;
        token
    } else {
        let token = ask_token(arguments)?;
        verify(id, &account, &token)?;
        token
    };
    let sender = Sender {
        client_id: id,
        client_token: token.reveal(),
        duration,
    };
    let text = settings(config, sender, arguments.format);
    match output {
        Some(output) => output.write(&text)?,
        None => print(&text)?,
    }
    if disabled {
        eprintln!(
            "{id} is disabled, so its uploads are refused: `corenexis-cdn client enable {id}`"
        );
    }
    Ok(())
}

fn settings(config: &Config, sender: Sender<'_>, format: ExportFormat) -> String {
    let value = match format {
        ExportFormat::Env => return clients::environment(config, sender),
        ExportFormat::Postman => return postman::collection(config, sender),
        ExportFormat::Sharex => clients::sharex(config, sender),
        ExportFormat::Picgo => clients::picgo(config, sender),
        ExportFormat::Upic => clients::upic(config, sender),
    };
    format!("{value:#}\n")
}

/// The duration that was asked for, if the client's plan has it; the plan's shortest otherwise.
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
        Some(duration) => Err(Failure {
            code: 2,
            message: format!(
                "the plan {} of {} does not have the duration {duration}: it has {}",
                plan.name,
                arguments.id,
                offered.join(", ")
            ),
        }),
        None => plan.durations.first().copied().ok_or_else(|| {
            Failure::configuration(format!("the plan {} has no duration", plan.name))
        }),
    }
}

/// The token from the file; or from the person, unseen; or from whatever standard input is.
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
            "that is not the token of {id}, or no longer: the ledger keeps digests only and cannot tell which it is. `--rotate` gives the \
             client a new token and exports that; the old one then ends"
        ))
    })
}

/// A file that only its owner can read. Until it is whole it has another name, and unless it is written it leaves nothing behind.
struct Output {
    file: File,
    new: PathBuf,
    target: PathBuf,
    force: bool,
}

impl Output {
    fn create(target: &Path, force: bool) -> Result<Self, Failure> {
        if !force && target.symlink_metadata().is_ok() {
            return Err(there_already(target));
        }
        let mut name = target.as_os_str().to_owned();
        name.push(format!(".{}.new", std::process::id()));
        let new = PathBuf::from(name);
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&new)
            .map_err(|error| unwritable(target, &error))?;
        Ok(Self {
            file,
            new,
            target: target.to_owned(),
            force,
        })
    }

    fn write(mut self, text: &str) -> Result<(), Failure> {
        let target = self.target.clone();
        self.file
            .write_all(text.as_bytes())
            .and_then(|()| self.file.sync_all())
            .map_err(|error| unwritable(&target, &error))?;
        if self.force {
            return fs::rename(&self.new, &target).map_err(|error| unwritable(&target, &error));
        }
        // A link never replaces, so nothing that came meanwhile is lost.
        fs::hard_link(&self.new, &target).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => there_already(&target),
            _ => unwritable(&target, &error),
        })
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        // After a rename there is nothing of that name.
        let _ = fs::remove_file(&self.new);
    }
}

fn there_already(target: &Path) -> Failure {
    Failure::failed(format!(
        "{} is there already: add --force to replace it",
        target.display()
    ))
}

fn unwritable(target: &Path, error: &io::Error) -> Failure {
    Failure::failed(format!(
        "{} could not be written: {error}",
        target.display()
    ))
}
