//! The commands, one file each.
//!
//! Data goes to standard output, messages to standard error.

mod backup;
mod block;
mod client;
mod config;
mod copy;
mod doctor;
mod export;
mod image;
mod image_list;
mod man;
mod nginx_sites;
mod relocate;
mod render;
mod serve;
mod setup;
mod sweep;
mod takedown;
mod token;
mod usage;
mod verify;

use std::fmt;
use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory, Parser};
use indicatif::ProgressBar;
use serde_json::Value;

use crate::cli::{Arguments, Command, LedgerCommand, StorageCommand};
use crate::commit;
use crate::config::Config;
use crate::ledger::LedgerError;
use crate::owner::{Owner, OwnerError};
use crate::site::{Site, SiteError};

/// The failure of a command: exit code and message.
#[derive(Debug)]
pub struct Failure {
    code: u8,
    message: String,
}

impl Failure {
    fn new(code: u8, message: impl fmt::Display) -> Self {
        Self {
            code,
            message: message.to_string(),
        }
    }

    fn failed(message: impl fmt::Display) -> Self {
        Self::new(1, message)
    }

    fn usage(message: impl fmt::Display) -> Self {
        Self::new(2, message)
    }

    fn configuration(message: impl fmt::Display) -> Self {
        Self::new(3, message)
    }

    fn storage(message: impl fmt::Display) -> Self {
        Self::new(4, message)
    }

    fn busy(message: impl fmt::Display) -> Self {
        Self::new(75, message)
    }

    fn no_client(id: &str) -> Self {
        Self::failed(format!(
            "there is no client {id:?}: `corenexis-cdn client list` shows those there are"
        ))
    }
}

impl From<LedgerError> for Failure {
    fn from(error: LedgerError) -> Self {
        match error {
            LedgerError::SweepRuns => Self::busy(error),
            _ => Self::storage(error),
        }
    }
}

impl From<SiteError> for Failure {
    fn from(error: SiteError) -> Self {
        match error {
            SiteError::Ledger(error) => error.into(),
            SiteError::Store { .. } | SiteError::Mismatch(_) => Self::storage(error),
        }
    }
}

impl From<OwnerError> for Failure {
    fn from(error: OwnerError) -> Self {
        Self::storage(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::failed(error)
    }
}

/// Runs the command line and returns the exit code.
pub fn run() -> ExitCode {
    // A CGI host passes a query such as `?sweep` as arguments (RFC 3875, section 4.4), so there they are not read at all.
    let outcome = if serve::is_cgi() {
        serve::cgi()
    } else {
        dispatch(Arguments::parse())
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("corenexis-cdn: {}", failure.message);
            ExitCode::from(failure.code)
        }
    }
}

fn dispatch(arguments: Arguments) -> Result<(), Failure> {
    let path = arguments.config_file();
    match arguments.command {
        Command::Serve {
            listen: _,
            log_file: _,
            check: true,
        } => serve::check(&as_owner(&path)?),
        Command::Serve {
            listen, log_file, ..
        } => serve::serve(as_owner(&path)?, listen.as_ref(), log_file.as_deref()),
        Command::Sweep { dry_run, yes, json } => {
            sweep::sweep(&as_owner(&path)?, dry_run, yes, json)
        }
        Command::Verify(arguments) => verify::verify(&as_owner(&path)?, &arguments),
        Command::Backup {
            file,
            keep: Some(keep),
            json,
            ..
        } => backup::backup_and_keep(&read_config(&path)?, &file, keep, json),
        Command::Backup {
            file, force, json, ..
        } => backup::backup(&read_config(&path)?, &file, force, json),
        Command::Restore { file, yes, json } => {
            backup::restore(&read_config(&path)?, &file, yes, json)
        }
        Command::Client(command) => client::client(&as_owner(&path)?, command),
        Command::Image(command) => image::image(&as_owner(&path)?, command),
        Command::Block(command) => block::block(&as_owner(&path)?, &command),
        Command::Usage(arguments) => usage::usage(&as_owner(&path)?, &arguments),
        Command::Move(command) => relocate::relocate(&path, &command),
        Command::Storage(StorageCommand::Copy(arguments)) => copy::storage(&path, &arguments),
        Command::Ledger(LedgerCommand::Copy(arguments)) => copy::ledger(&path, &arguments),
        Command::Doctor(arguments) => doctor::doctor(&path, arguments),
        Command::Render(arguments) => render::render(&read_config(&path)?, &path, &arguments),
        Command::Config(command) => config::config(&path, command),
        Command::NginxSites(arguments) => nginx_sites::nginx_sites(&arguments),
        Command::Completions { shell } => {
            // Into memory first: the generator panics when it cannot write.
            let mut script = Vec::new();
            let name = "corenexis-cdn";
            clap_complete::generate(shell, &mut Arguments::command(), name, &mut script);
            print(&String::from_utf8_lossy(&script))
        }
        Command::Setup { options } => setup::setup(&options),
        Command::Man { directory } => man::man(&directory),
    }
}

/// Reads the configuration; then root becomes the owner of the ledger's directory.
fn as_owner(path: &Path) -> Result<Config, Failure> {
    let config = read_config(path)?;
    if let Some(owner) = Owner::of(&config)? {
        owner.become_owner()?;
    }
    Ok(config)
}

fn read_config(path: &Path) -> Result<Config, Failure> {
    let text = fs::read_to_string(path).map_err(|error| {
        Failure::configuration(format!(
            "the configuration {} could not be read: {error}; name another with --config FILE",
            path.display()
        ))
    })?;
    Config::from_toml(&text)
        .map_err(|error| Failure::configuration(format!("{}: {error}", path.display())))
}

/// Recovers what a responder that was killed left in the write-ahead log.
fn recover(config: &Config, site: &Site) -> Result<(), Failure> {
    let recovered = commit::recover(config, &*site.ledger, &*site.store);
    let recovered = recovered.map_err(Failure::storage)?;
    if recovered.rows + recovered.files > 0 {
        eprintln!(
            "{} rows and {} files were recovered from the write-ahead log of a responder that was killed.",
            recovered.rows, recovered.files
        );
    }
    Ok(())
}

/// Writes data to standard output. A reader that has left, such as `head`, is no failure.
fn print(text: &str) -> Result<(), Failure> {
    printed(io::stdout().lock().write_all(text.as_bytes()))
}

fn printed(outcome: io::Result<()>) -> Result<(), Failure> {
    match outcome {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(unwritten(&error)),
        _ => Ok(()),
    }
}

fn unwritten(error: &io::Error) -> Failure {
    Failure::failed(format!("standard output could not be written: {error}"))
}

fn print_json(value: &Value) -> Result<(), Failure> {
    print(&format!("{value:#}\n"))
}

/// Asks, and takes anything but a clear yes for a no; `undone` is the failure of a no.
fn confirm(question: &str, undone: &str) -> Result<(), Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::usage(format!(
            "{undone}: add --yes to do it without being asked"
        )));
    }
    eprint!("{question} [y/N] ");
    io::stderr().flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    if matches!(answer.trim(), "y" | "Y" | "yes") {
        Ok(())
    } else {
        Err(Failure::failed(undone))
    }
}

/// Turns on a terminal while something of unknown length is done.
fn spinner() -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new_spinner();
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

/// The fields of an object, one on each line, or as JSON.
fn print_fields(object: Value, json: bool) -> Result<(), Failure> {
    let fields = match object {
        Value::Object(fields) if !json => fields,
        object => return print_json(&object),
    };
    let line = |(key, value)| match value {
        Value::String(text) => format!("{key}: {text}\n"),
        other => format!("{key}: {other}\n"),
    };
    print(&fields.into_iter().map(line).collect::<String>())
}

/// Rows under headings, in columns as wide as they need to be. Numbers stand to the right.
fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([headings[column].len()]).max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..headings.len()).map(width).collect();
    let headings = headings.iter().map(|&heading| heading.to_owned()).collect();
    let mut text = String::new();
    for row in std::iter::once(&headings).chain(rows) {
        let cells: Vec<_> = row
            .iter()
            .zip(&widths)
            .map(|(cell, &width)| {
                let number = cell.strip_suffix("iB").or(cell.strip_suffix(" bytes"));
                let number = number
                    .unwrap_or(cell)
                    .starts_with(|first: char| first.is_ascii_digit())
                    && (number.is_some() || cell.bytes().all(|byte| byte.is_ascii_digit()));
                if number {
                    format!("{cell:>width$}")
                } else {
                    format!("{cell:<width$}")
                }
            })
            .collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_as_wide_as_its_cells() {
        let rows = [
            vec!["shop".to_owned(), "7".to_owned()],
            vec!["a-longer-one".to_owned(), "1000".to_owned()],
        ];
        assert_eq!(
            table(&["ID", "TODAY"], &rows),
            "ID            TODAY\nshop              7\na-longer-one   1000\n"
        );
        assert_eq!(table(&["ID", "TODAY"], &[]), "ID  TODAY\n");
    }
}
