//! The arguments of `client …`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::takedown::reason_of;
use crate::config::duration_of;
use crate::expiry::StoreDuration;
use crate::ledger::DEFAULT_TOKEN;

/// `client …`
#[derive(Debug, Subcommand)]
pub(crate) enum ClientCommand {
    /// Add a client and print its token, which is shown this once
    #[command(after_help = "Example:\n  corenexis-cdn client add shop --plan 3m")]
    Add {
        /// 1 to 64 letters, digits, . _ or -
        #[arg(value_parser = client_id_of)]
        id: String,
        /// A plan of the configuration
        #[arg(long)]
        plan: String,
        /// Import the token in this file (- for standard input) instead of making one
        #[arg(long, value_name = "FILE")]
        token_file: Option<PathBuf>,
    },
    /// List the clients with today's uploads
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show one client
    Show {
        /// Its id
        id: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Give a client another plan
    Set {
        /// Its id
        id: String,
        /// The name of the plan in the configuration
        #[arg(long)]
        plan: String,
    },
    /// Replace a token of a client and print the new one
    ///
    /// Its other tokens stay valid.
    Rotate {
        /// Its id
        id: String,
        /// The name of the token
        #[arg(long, value_parser = token_name_of, default_value = DEFAULT_TOKEN)]
        name: String,
        /// How long the old token still works: a number followed by s, m, h or d; not at all by default
        #[arg(long, value_name = "DURATION", value_parser = duration_of)]
        overlap: Option<std::time::Duration>,
        /// Import the token in this file (- for standard input) instead of making one
        #[arg(long, value_name = "FILE")]
        token_file: Option<PathBuf>,
    },
    /// Add, list and remove tokens of a client, one for each of its programs
    #[command(subcommand)]
    Token(TokenCommand),
    /// Print a client's settings for a program that uploads
    ///
    /// The ledger keeps digests of tokens only, so the token has to be given: in a file, on standard input, or typed. It is compared with
    /// the ledger first.
    Export(ExportArguments),
    /// Refuse a client's uploads until it is resumed
    ///
    /// Its images are served on, unless they are quarantined. The reply to its requests is 403 `Client disabled`.
    #[command(visible_alias = "disable")]
    Suspend {
        /// Its id
        id: String,
        /// Put all its images into quarantine
        #[arg(long)]
        quarantine_images: bool,
        /// With --quarantine-images: why, for your records
        #[arg(long, value_name = "TEXT", value_parser = reason_of, requires = "quarantine_images")]
        reason: Option<String>,
    },
    /// Take a client's uploads again
    #[command(visible_alias = "enable")]
    Resume {
        /// Its id
        id: String,
        /// Serve the images again that were quarantined with it, but none that was quarantined by itself
        #[arg(long)]
        release_images: bool,
    },
    /// Remove a client and its tokens
    ///
    /// A client that gets the same id later is another one: it has neither the images nor the uploads of this one. Lists show this one
    /// as `ID (removed DATE)`, and `--client ID@DATE` selects it.
    #[command(after_help = "Examples:
  corenexis-cdn client remove shop
  corenexis-cdn client remove shop --images delete --yes")]
    Remove {
        /// Its id
        id: String,
        /// What becomes of its images; those in quarantine are kept
        #[arg(long, value_enum, default_value = "keep")]
        images: RemovedImages,
        /// Only say what would be done
        #[arg(long)]
        dry_run: bool,
        /// Do not ask
        #[arg(long)]
        yes: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// `client token …`
#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Give a client one more token and print it, this once
    #[command(after_help = "Example:\n  corenexis-cdn client token add shop --name backup-script")]
    Add {
        /// The client's id
        id: String,
        /// A name for it: 1 to 32 letters, digits, . _ or -
        #[arg(long, value_parser = token_name_of)]
        name: String,
        /// Import the token in this file (- for standard input) instead of making one
        #[arg(long, value_name = "FILE")]
        token_file: Option<PathBuf>,
    },
    /// List the valid tokens of a client: their names, when they were added and last used
    List {
        /// The client's id
        id: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove a token of a client, so that it is refused at once
    ///
    /// The last one is not removed: `client suspend` refuses a client's requests.
    #[command(after_help = "Example:\n  corenexis-cdn client token remove shop backup-script")]
    Remove {
        /// The client's id
        id: String,
        /// The token's name
        name: String,
        /// Only say what would be done
        #[arg(long)]
        dry_run: bool,
        /// Do not ask
        #[arg(long)]
        yes: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// What becomes of the images of a client that is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RemovedImages {
    /// They are served until they expire
    Keep,
    /// They are deleted
    Delete,
}

/// `client export …`
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  corenexis-cdn client export shop --format env -o ~/.config/corenexis-upload.env     asks for the token
  corenexis-cdn client export shop --format sharex --token-file shop.token > shop.sxcu
  corenexis-cdn client export shop --format picgo --rotate --overlap 1d -o picgo.json

Formats:
  env      variables for a shell, and the settings of corenexis-upload (/image/docs/corenexis-upload of your site)
  postman  a collection to import into Postman, or to run with newman
  sharex   a custom uploader: open the file, named NAME.sxcu, by a double click
  picgo    ~/.picgo/config.json for the plugin web-uploader
  upic     a host to import into uPic")]
pub(crate) struct ExportArguments {
    /// Its id
    pub id: String,
    /// The program that the settings are for
    #[arg(long, value_enum)]
    pub format: ExportFormat,
    /// The file that holds the client's token (- for standard input)
    #[arg(long, value_name = "FILE", conflicts_with = "rotate")]
    pub token_file: Option<PathBuf>,
    /// Replace the token named default and export the new one
    #[arg(long)]
    pub rotate: bool,
    /// With --rotate: how long the old token still works: a number followed by s, m, h or d; not at all by default
    #[arg(long, value_name = "DURATION", value_parser = duration_of, requires = "rotate")]
    pub overlap: Option<std::time::Duration>,
    /// How long images are kept: 7D, 1M, 3M or LTF, as far as the plan has it; its shortest by default
    #[arg(long, value_name = "CODE")]
    pub duration: Option<StoreDuration>,
    /// Write to this file, which only you can read, instead of standard output
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Replace the file if there is one
    #[arg(long, requires = "output")]
    pub force: bool,
}

/// A program that uploads, by the format of its settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportFormat {
    /// Variables for a shell, and for `corenexis-upload`.
    Env,
    /// Postman and `newman`.
    Postman,
    /// `ShareX`.
    Sharex,
    /// `PicGo` with its plugin `web-uploader`.
    Picgo,
    /// `uPic`.
    Upic,
}

fn client_id_of(text: &str) -> Result<String, String> {
    name_of(text, 64)
}

fn token_name_of(text: &str) -> Result<String, String> {
    name_of(text, 32)
}

fn name_of(text: &str, longest: usize) -> Result<String, String> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if (1..=longest).contains(&text.len()) && text.bytes().all(legal) {
        Ok(text.to_owned())
    } else {
        Err(format!("expected 1 to {longest} letters, digits, . _ or -"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_safe_to_print_anywhere() {
        assert!(client_id_of("client_3m_plan").is_ok());
        let long = "x".repeat(65);
        for wrong in ["", "a b", "a\n", "é", "a/b", long.as_str()] {
            assert!(client_id_of(wrong).is_err(), "{wrong:?}");
            assert!(token_name_of(wrong).is_err(), "{wrong:?}");
        }
        assert!(token_name_of(&"x".repeat(32)).is_ok());
        assert!(token_name_of(&"x".repeat(33)).is_err());
    }
}
