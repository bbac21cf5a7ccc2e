//! `storage …` and `ledger …`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `storage …`
#[derive(Debug, Subcommand)]
pub(crate) enum StorageCommand {
    /// Copy the images into the store that another configuration names
    ///
    /// Images in quarantine are copied, too. Uploads may go on meanwhile; the last run needs the responders stopped, copies what came since,
    /// and lists again what it changed, as a proof. An interrupted copy goes on when the command is repeated: what the target has in the same
    /// size is not copied again; while uploads go on, hash and expiry are compared, too. A store that is out of reach is waited for, a minute
    /// at most. Nothing is deleted in the present store. Of FILE only [storage] counts.
    #[command(
        after_help = "Example (new.toml is config.toml with other lines below [storage]):
  corenexis-cdn storage copy --to-config /etc/corenexis-cdn/new.toml       while uploads go on; ends with 75
  systemctl stop corenexis-cdn.socket corenexis-cdn
  corenexis-cdn storage copy --to-config /etc/corenexis-cdn/new.toml
  mv /etc/corenexis-cdn/new.toml /etc/corenexis-cdn/config.toml && ./install.sh
  corenexis-cdn verify"
    )]
    Copy(CopyArguments),
}

/// `ledger …`
#[derive(Debug, Subcommand)]
pub(crate) enum LedgerCommand {
    /// Copy the ledger into the database that another configuration names
    ///
    /// Clients, tokens, usage, images, blocked digests, purges, keys and the identity, so that the copy goes with the same images. The
    /// responders must be stopped: while anything has the ledger open, this exits with 75. An interrupted copy goes on when the command is
    /// repeated. At the end all rows of both are compared. Nothing changes in the present ledger. Of FILE only [ledger] counts.
    #[command(
        after_help = "Example (new.toml is config.toml with other lines below [ledger]):
  systemctl stop corenexis-cdn.socket corenexis-cdn
  corenexis-cdn ledger copy --to-config /etc/corenexis-cdn/new.toml
  mv /etc/corenexis-cdn/new.toml /etc/corenexis-cdn/config.toml && ./install.sh
  corenexis-cdn verify"
    )]
    Copy(CopyArguments),
}

/// Where to copy.
#[derive(Debug, Args)]
pub(crate) struct CopyArguments {
    /// The new configuration, which names the target
    #[arg(long, value_name = "FILE")]
    pub to_config: PathBuf,
}
