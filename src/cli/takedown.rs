//! The arguments of the commands that take images down: `image delete`, `quarantine`, `release` and `block`, and `block …`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use time::Date;

use super::day_of;

/// The longest reason, in characters.
const MAX_REASON: usize = 500;

/// `image delete …`
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  corenexis-cdn image delete https://cdn.example.com/p/l/ap5/AbCdEf.png
  corenexis-cdn image delete --client shop --since 2026-04-01 --until 2026-04-05 --dry-run
  corenexis-cdn image delete --client shop@2026-04-05 --yes     the client of that id that was removed on that day")]
pub(crate) struct DeleteArguments {
    /// Their paths or URLs
    #[arg(required_unless_present = "client", value_name = "IMAGE")]
    pub images: Vec<String>,
    /// All images of this client instead, except those in quarantine; ID@DATE for one that was removed
    #[arg(long, value_name = "ID", conflicts_with = "images")]
    pub client: Option<String>,
    /// With --client: only those uploaded since this UTC day
    #[arg(long, value_name = "YYYY-MM-DD", value_parser = day_of)]
    pub since: Option<Date>,
    /// With --client: only those uploaded until the end of this UTC day
    #[arg(long, value_name = "YYYY-MM-DD", value_parser = day_of)]
    pub until: Option<Date>,
    /// Only say what would be deleted
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask, and delete named images that are in quarantine, too
    #[arg(long)]
    pub yes: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `image quarantine …` and `image block …`
#[derive(Debug, Args)]
pub(crate) struct QuarantineArguments {
    /// Their paths or URLs
    #[arg(required = true, value_name = "IMAGE")]
    pub images: Vec<String>,
    /// Delete them after so many days; without this they are kept until they are released or deleted
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u16).range(1..=3650))]
    pub days: Option<u16>,
    /// Why, for your records: `image show` and the lists print it
    #[arg(long, value_name = "TEXT", value_parser = reason_of)]
    pub reason: Option<String>,
    /// Only say what would be done
    #[arg(long)]
    pub dry_run: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `image release …`
#[derive(Debug, Args)]
pub(crate) struct ReleaseArguments {
    /// Their paths or URLs
    #[arg(required = true, value_name = "IMAGE")]
    pub images: Vec<String>,
    /// Only say what would be done
    #[arg(long)]
    pub dry_run: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `block …`
#[derive(Debug, Subcommand)]
pub(crate) enum BlockCommand {
    /// Refuse uploads of images with these digests
    ///
    /// Images that are stored already stay: `image block` takes an image down and blocks it.
    #[command(after_help = "Examples:
  corenexis-cdn block add ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad --reason 'notice 2026-17'
  corenexis-cdn block add --file picture.jpg --file other.png
  cut -c1-64 hashes.txt | xargs corenexis-cdn block add")]
    Add {
        /// The images
        #[command(flatten)]
        images: DigestArguments,
        /// Why, for your records
        #[arg(long, value_name = "TEXT", value_parser = reason_of)]
        reason: Option<String>,
    },
    /// Take digests from the block list
    Remove {
        /// The images
        #[command(flatten)]
        images: DigestArguments,
    },
    /// Print the block list, newest first
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// Images by their bytes.
#[derive(Debug, Args)]
pub(crate) struct DigestArguments {
    /// SHA-256 digests in hexadecimal, as sha256sum prints them
    #[arg(required_unless_present = "file", value_name = "SHA256")]
    pub digests: Vec<String>,
    /// A file whose digest is meant (- for standard input); may be given again
    #[arg(long, value_name = "FILE")]
    pub file: Vec<PathBuf>,
    /// Only say what would be done
    #[arg(long)]
    pub dry_run: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// A reason, which is printed on terminals.
pub(super) fn reason_of(text: &str) -> Result<String, String> {
    if text.chars().any(char::is_control) {
        return Err("expected one line without control characters".to_owned());
    }
    match text.chars().count() {
        1..=MAX_REASON => Ok(text.to_owned()),
        length => Err(format!(
            "expected 1 to {MAX_REASON} characters, got {length}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_safe_to_print() {
        assert!(reason_of("notice 2026-17, § 5").is_ok());
        let long = "x".repeat(501);
        for wrong in ["", "a\nb", "\u{1b}[31m", long.as_str()] {
            assert!(reason_of(wrong).is_err(), "{wrong:?}");
        }
    }
}
