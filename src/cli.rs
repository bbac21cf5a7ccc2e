//! The command line.

mod client;
mod copy;
mod listing;
mod nginx_sites;
mod takedown;
mod version;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use time::Date;
use time::macros::format_description;

use crate::config::Listen;
pub(crate) use client::{
    ClientCommand, ExportArguments, ExportFormat, RemovedImages, TokenCommand,
};
pub(crate) use copy::{CopyArguments, LedgerCommand, StorageCommand};
pub(crate) use listing::{ListArguments, UsageArguments, UsageBy};
pub(crate) use nginx_sites::NginxSitesArguments;
pub(crate) use takedown::{
    BlockCommand, DeleteArguments, DigestArguments, QuarantineArguments, ReleaseArguments,
};

const EXIT_CODES: &str = "\
Exit codes:
  0   done
  1   failed, or verify found differences that are left, or doctor a check that failed
  2   wrong usage
  3   the configuration cannot be used
  4   the storage or the ledger failed
  75  busy: another sweep or a release runs, or the ledger to be replaced is in use

Examples:
  corenexis-cdn client add shop --plan 3m
  corenexis-cdn --config ./config.toml serve --listen tcp:127.0.0.1:9000
  corenexis-cdn sweep --dry-run";

/// An image CDN that drops into a host that already runs nginx.
#[derive(Debug, Parser)]
#[command(name = "corenexis-cdn", version = version::SHORT.as_str(), long_version = version::LONG.as_str(), after_help = EXIT_CODES, max_term_width = 100)]
pub(crate) struct Arguments {
    /// The configuration file [default: $CORENEXIS_CDN_CONFIG, or /etc/corenexis-cdn/config.toml]
    // clap's `env` would show the option in every usage error once the variable is set.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

impl Arguments {
    /// The configuration file.
    pub(crate) fn config_file(&self) -> PathBuf {
        self.config.clone().unwrap_or_else(default_config)
    }
}

/// The configuration that is read when no option names one: that of the environment variable if it is not empty.
pub(crate) fn default_config() -> PathBuf {
    match std::env::var_os("CORENEXIS_CDN_CONFIG") {
        Some(file) if !file.is_empty() => file.into(),
        _ => "/etc/corenexis-cdn/config.toml".into(),
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Answer uploads over FastCGI
    ///
    /// Listens where the configuration says, unless a listening socket is passed: by systemd (LISTEN_FDS) or on descriptor 0
    /// (spawn-fcgi). Started by a CGI host (GATEWAY_INTERFACE set), it answers that one request. SIGTERM lets requests that were begun
    /// end, within 10 seconds.
    Serve {
        /// Listen there instead: unix:/PATH or tcp:ADDRESS:PORT
        #[arg(long, value_name = "ADDRESS")]
        listen: Option<Listen>,
        /// Append the log to this file instead of standard error; SIGUSR1 opens it again after a rotation
        #[arg(long, value_name = "FILE")]
        log_file: Option<PathBuf>,
        /// Only check that it could start: configuration, plans, ledger, docroot and their identity; change nothing
        #[arg(long)]
        check: bool,
    },
    /// Delete expired images, abandoned uploads, rows without files and expired files without rows
    ///
    /// Safe beside uploads. Run it every ten minutes; a second one at the same time exits with 75. If nearly all images of a recent day
    /// have no file, their rows are left alone, since a wrong disk or ledger is the likelier cause; the exit code is then 1.
    Sweep {
        /// Only say what would be deleted
        #[arg(long)]
        dry_run: bool,
        /// Delete rows without files even if they are nearly all of a day
        #[arg(long)]
        yes: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Compare the ledger with the docroot or the bucket, both ways
    ///
    /// Finds rows without files, files without rows, files of another size, and modification times that do not say when the image
    /// expires. Prints a line for each and a summary; ends with 1 if a difference is left. Safe beside uploads and sweeps. No image is
    /// ever deleted.
    #[command(after_help = "Examples:
  corenexis-cdn verify
  corenexis-cdn verify --repair              after a copy of the docroot that lost its modification times
  corenexis-cdn verify --rebuild             after the ledger was lost, or restored from an older backup")]
    Verify(VerifyArguments),
    /// Put the docroot or the ledger into another directory
    ///
    /// Copies with modification times, compares, and changes the configuration; the old place is kept until you remove it. An interrupted
    /// copy goes on when the command is repeated.
    #[command(
        subcommand,
        name = "move",
        after_help = "Example (images are copied while the responder runs; only the rest of them while it is stopped):
  corenexis-cdn move docroot /mnt/images/cdn
  systemctl stop corenexis-cdn.socket corenexis-cdn
  corenexis-cdn move docroot /mnt/images/cdn && ./install.sh"
    )]
    Move(MoveCommand),
    /// Copy the images into another store: a bucket, or a docroot
    #[command(subcommand)]
    Storage(StorageCommand),
    /// Copy the ledger into another database: PostgreSQL, or SQLite
    #[command(subcommand)]
    Ledger(LedgerCommand),
    /// Write the ledger as it is now to a file
    ///
    /// Uploads go on meanwhile. The copy is checked before it gets its name. The ledger comes first, the docroot after it: then every
    /// image of the backup has its file in the copy, and what was uploaded in between gets its row back by `verify --rebuild`.
    #[command(
        after_help = "Example, in this order (-a and -t keep the modification times, which say when images expire):
  corenexis-cdn backup /backup/ledger.db --force
  rsync -at --exclude='/.spool/*' /var/www/corenexis-cdn/ /backup/docroot/"
    )]
    Backup {
        /// The file to write; with --keep the directory
        file: PathBuf,
        /// Write a file with the time in its name into the directory, and delete all of them but the newest N
        #[arg(long, value_name = "N", conflicts_with = "force", value_parser = clap::value_parser!(u16).range(1..))]
        keep: Option<u16>,
        /// Replace the file if there is one
        #[arg(long)]
        force: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Put a backup in the place of the ledger, which is kept beside it
    ///
    /// The responder must be stopped: while anything has the ledger open, this exits with 75. It works where the ledger is broken or
    /// lost, too.
    #[command(after_help = "Example, in this order:
  systemctl stop corenexis-cdn
  corenexis-cdn restore /backup/ledger.db
  rsync -at /backup/docroot/ /var/www/corenexis-cdn/      where the images were lost too
  corenexis-cdn verify --rebuild                          rows for what was uploaded after the backup
  systemctl start corenexis-cdn")]
    Restore {
        /// The backup
        file: PathBuf,
        /// Do not ask
        #[arg(long)]
        yes: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Add clients and change them
    #[command(subcommand)]
    Client(ClientCommand),
    /// Show images and take them down
    #[command(subcommand)]
    Image(ImageCommand),
    /// Refuse uploads of images that are known by their digests
    #[command(subcommand)]
    Block(BlockCommand),
    /// Print uploads by day and client
    ///
    /// Uploads that were stored count, whether their images still are or not.
    Usage(UsageArguments),
    /// Say what works on this host, what does not, and what to do next
    ///
    /// Looks at nginx and its configuration, the responder's socket, docroot, ledger, sweep, clock, free space and the public URL, and
    /// changes nothing. Run it as root to have everything looked at; for others it says what it could not see. Ends with 1 if a check
    /// failed, and with 0 if there is nothing but warnings.
    Doctor(DoctorArguments),
    /// Write the nginx files, pages, units and cron line that follow from the configuration
    Render(Box<RenderArguments>),
    /// Print values of the configuration, or a whole one with the defaults
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Read an nginx configuration and say where a host name's images belong
    ///
    /// Reads the output of `nginx -T`. Prints a line for each finding: a word, then its values, with tabs between them. Without --name:
    /// `user`, `pid`, `http-include` (patterns of the http context), `server` (place, names, sockets). With --name: `site` (file, line of
    /// the opening brace, `insert` or `included`), `address` (http or https, host, port, `proxy_protocol` or -) or, where no site has the
    /// name, `listen` (arguments of a block of its own). Ends with 1, and names the line, where something of the site is in the way.
    #[command(after_help = "Examples:
  nginx -T 2>/dev/null | corenexis-cdn nginx-sites
  nginx -T 2>/dev/null | corenexis-cdn nginx-sites --name cdn.example.com")]
    NginxSites(NginxSitesArguments),
    /// Print a completion script
    #[command(
        after_help = "Example:\n  corenexis-cdn completions bash > /etc/bash_completion.d/corenexis-cdn"
    )]
    Completions {
        /// The shell it is for
        shell: clap_complete::Shell,
    },
    /// Install on this host, upgrade or remove: the install.sh of the package
    ///
    /// Only where the program comes from a package; `corenexis-cdn setup --help` has its options. The package itself changes nothing of
    /// nginx before that.
    #[command(
        disable_help_flag = true,
        override_usage = "corenexis-cdn setup [OPTION]...",
        after_help = "Examples:
  sudo corenexis-cdn setup --domain cdn.example.com --dry-run
  sudo corenexis-cdn setup --domain cdn.example.com
  sudo corenexis-cdn setup --uninstall"
    )]
    Setup {
        /// The options of install.sh
        #[arg(
            trailing_var_arg = true,
            allow_hyphen_values = true,
            value_name = "OPTION"
        )]
        options: Vec<OsString>,
    },
    /// Write the manual pages: corenexis-cdn(1), one page for each command, corenexis-cdn.toml(5)
    #[command(
        after_help = "Example:\n  corenexis-cdn man /tmp/man && man /tmp/man/corenexis-cdn.1"
    )]
    Man {
        /// The directory to write to; it is made if it is missing
        directory: PathBuf,
    },
}

/// `config …`
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print the value of a key, the default where the file does not set it
    ///
    /// Text is printed without quotes, a list as TOML, and nothing for a key that has no default. Without a key, prints every key with its
    /// value, a line each.
    #[command(after_help = "Examples:
  corenexis-cdn config get storage.docroot
  corenexis-cdn config get plans.free.max_file_size
  corenexis-cdn config get")]
    Get {
        /// A table and a key, with a dot between them
        key: Option<String>,
    },
    /// Print a whole configuration with a comment for each key: the defaults, and what --set changes
    ///
    /// Reads no file.
    #[command(after_help = "Example:
  corenexis-cdn config default --set site.public_url=https://cdn.example.com > config.toml")]
    Default {
        /// Give a key another value than its default; may be given again
        #[arg(long, value_name = "KEY=VALUE")]
        set: Vec<String>,
        /// The first line: whose configuration it is
        #[arg(long, value_name = "TEXT", default_value = "corenexis-cdn")]
        title: String,
        /// The end of the first paragraph: how a change takes effect
        #[arg(
            long,
            value_name = "TEXT",
            default_value = "After a change run install.sh again."
        )]
        apply: String,
    },
}

/// What `move` moves.
#[derive(Debug, Subcommand)]
pub(crate) enum MoveCommand {
    /// The images: [storage] docroot
    Docroot {
        /// The new directory
        to: PathBuf,
    },
    /// The ledger: [ledger] path
    Ledger {
        /// The new file
        to: PathBuf,
    },
}

/// What `verify` compares and repairs.
#[derive(Debug, Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command line"
)]
pub(crate) struct VerifyArguments {
    /// Delete rows without files (older than ten minutes), refund their quota, and set modification times from the ledger
    #[arg(long)]
    pub repair: bool,
    /// Add rows for files without rows, as images of the client `recovered`; makes the ledger if it is lost
    #[arg(long)]
    pub rebuild: bool,
    /// Take ledger and docroot for a pair, although one of them is an older copy or has another id
    #[arg(long)]
    pub accept: bool,
    /// With --accept: do not ask
    #[arg(long, requires = "accept")]
    pub yes: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `image …`; an image is named by its path, its direct URL or its viewer URL.
#[derive(Debug, Subcommand)]
pub(crate) enum ImageCommand {
    /// Show one image
    Show {
        /// Its path or URL
        image: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Delete images now
    ///
    /// [site] purge_command purges them from a CDN in front; copies in the caches of browsers live until they expire. On a terminal this
    /// says what it will do, and asks. A program that runs it deletes named images without --yes, but none in quarantine, and not all
    /// of a client.
    Delete(DeleteArguments),
    /// Take images out of reach at once, and keep their bytes
    ///
    /// nginx answers 404 for them, and so does the API to their client. The files lie in p/.quarantine of the docroot, where only the
    /// account of the responder can read them. They do not expire while they are in quarantine.
    #[command(after_help = "Examples:
  corenexis-cdn image quarantine 'https://cdn.example.com/view/?img=l/ap5/AbCdEf.png' --reason 'notice 2026-17'
  corenexis-cdn image quarantine d/ap5/AbCdEf.png --days 90")]
    Quarantine(QuarantineArguments),
    /// Serve images in quarantine again
    ///
    /// An image that has expired meanwhile is not released: delete it, or leave it in quarantine. A digest that was blocked stays blocked:
    /// `block remove` ends that.
    Release(ReleaseArguments),
    /// Quarantine images, and refuse uploads of the same bytes
    ///
    /// Uploads of them, as a file or by URL, are answered with 400 `Image not allowed`.
    #[command(after_help = "Example:
  corenexis-cdn image block https://cdn.example.com/p/l/ap5/AbCdEf.png --reason 'notice 2026-17'")]
    Block(QuarantineArguments),
    /// List images, newest first
    ///
    /// Says on standard error whether there are more, and how to list them.
    #[command(after_help = "Examples:
  corenexis-cdn image list --client shop --since 2026-04-01 --until 2026-04-07
  corenexis-cdn image list --type gif --size 1MiB.. --width 1000..
  corenexis-cdn image list --after d/ap5/AbCdEf.png")]
    List(Box<ListArguments>),
}

/// `doctor …`
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  sudo corenexis-cdn doctor
  corenexis-cdn --config demo/config.toml doctor           a demo, with its own nginx beside its config.toml
  corenexis-cdn doctor --nginx-prefix ~/cdn/nginx --nginx-conf ~/cdn/rendered/nginx/nginx.conf")]
pub(crate) struct DoctorArguments {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Print a line for Nagios, Icinga and their kin, and exit with 0 (OK), 1 (WARNING) or 2 (CRITICAL). With --json the JSON
    /// is printed instead of the line
    #[arg(long)]
    pub nagios: bool,
    /// nginx's main configuration file, if it is not the one that nginx was built with
    #[arg(long, value_name = "FILE")]
    pub nginx_conf: Option<PathBuf>,
    /// nginx's prefix, as in `nginx -p`
    #[arg(long, value_name = "DIR")]
    pub nginx_prefix: Option<PathBuf>,
}

/// `render …`
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  corenexis-cdn render /tmp/rendered
  corenexis-cdn render ./rendered --nginx-listen 127.0.0.1:8080 --user \"$(id -un)\"")]
pub(crate) struct RenderArguments {
    /// The directory to write to; it is made if it is missing
    pub directory: PathBuf,
    /// The account that owns docroot and ledger, and runs the sweep
    #[arg(long, value_name = "NAME", default_value = "corenexis-cdn")]
    pub user: String,
    /// Where this program will lie, if not where it is
    #[arg(long, value_name = "FILE")]
    pub binary: Option<PathBuf>,
    /// Where the configuration will lie, if not where it is
    #[arg(long, value_name = "FILE")]
    pub config_path: Option<PathBuf>,
    /// The group of the nginx workers, which may connect to the responder's socket
    #[arg(long, value_name = "NAME", default_value = "www-data")]
    pub nginx_group: String,
    /// Write a server block of its own too, with this server_name
    #[arg(long, value_name = "NAME", requires = "snippet")]
    pub site: Option<String>,
    /// Where that server block listens, as nginx writes it; may be given again
    #[arg(long, value_name = "LISTEN", requires = "site", default_value = "80")]
    pub site_listen: Vec<String>,
    /// Where the file for the server context will lie, which that server block includes
    #[arg(long, value_name = "FILE", requires = "site")]
    pub snippet: Option<PathBuf>,
    /// The certificate of that server block, which then listens for https, and redirects http to it
    #[arg(long, value_name = "FILE", requires = "site", requires = "site_key")]
    pub site_certificate: Option<PathBuf>,
    /// The key of that certificate
    #[arg(long, value_name = "FILE", requires = "site_certificate")]
    pub site_key: Option<PathBuf>,
    /// Where it listens for https; may be given again
    #[arg(
        long,
        value_name = "LISTEN",
        requires = "site_certificate",
        default_value = "443"
    )]
    pub site_tls_listen: Vec<String>,
    /// Leave http to the site of the host that has the name
    #[arg(long, requires = "site_certificate")]
    pub site_beside: bool,
    /// Let nginx answer ACME challenges from the docroot
    #[arg(long)]
    pub acme: bool,
    /// Write the nginx files for a responder that fcgiwrap starts for each request, and that listens there
    #[arg(long, value_name = "ADDRESS", requires = "cgi_script")]
    pub cgi_wrapper: Option<Listen>,
    /// The script that fcgiwrap starts: service/corenexis-cdn.cgi of what is written
    #[arg(long, value_name = "FILE", requires = "cgi_wrapper")]
    pub cgi_script: Option<PathBuf>,
    /// Write a whole nginx.conf too, for an nginx of its own that listens there
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub nginx_listen: Option<SocketAddr>,
    /// The account of that nginx's workers, when root starts it
    #[arg(long, value_name = "NAME", requires = "nginx_listen")]
    pub nginx_worker_user: Option<String>,
    /// Show this client in the documentation, for a demonstration only
    #[arg(long, value_name = "ID", requires = "demo_token_file")]
    pub demo_client: Option<String>,
    /// The file that holds that client's token
    #[arg(long, value_name = "FILE", requires = "demo_client")]
    pub demo_token_file: Option<PathBuf>,
}

fn day_of(text: &str) -> Result<Date, String> {
    Date::parse(text, format_description!("[year]-[month]-[day]"))
        .map_err(|_| "expected a day such as 2026-04-05".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definitions_are_consistent() {
        Arguments::command().debug_assert();
    }
}
