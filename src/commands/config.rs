//! `config`: the values of the configuration for scripts, and the text of a new one.

use std::path::Path;

use super::{Failure, print, read_config};
use crate::cli::ConfigCommand;
use crate::config::document;

pub(super) fn config(path: &Path, command: ConfigCommand) -> Result<(), Failure> {
    match command {
        ConfigCommand::Get { key: Some(key) } => {
            let values = document::values(&read_config(path)?);
            match values.iter().find(|(name, _)| *name == key) {
                Some((_, Some(value))) => print(&format!("{}\n", document::plain(value))),
                Some((_, None)) => Ok(()),
                None => Err(Failure::usage(format!(
                    "there is no key {key}: `corenexis-cdn config get` prints all"
                ))),
            }
        }
        ConfigCommand::Get { key: None } => {
            let values = document::values(&read_config(path)?);
            let lines: Vec<_> = values
                .iter()
                .map(|(name, value)| match value {
                    Some(value) => format!("{name} = {value}\n"),
                    None => format!("{name}\n"),
                })
                .collect();
            print(&lines.concat())
        }
        ConfigCommand::Default { set, title, apply } => {
            let text = document::default_text(&set, &title, &apply);
            print(&text.map_err(Failure::usage)?)
        }
    }
}
