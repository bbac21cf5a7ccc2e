//! The arguments of `nginx-sites`, which the installer calls.

use std::path::PathBuf;

use clap::Args;

/// `nginx-sites …`
#[derive(Debug, Args)]
pub(crate) struct NginxSitesArguments {
    /// A file with the output of `nginx -T`; standard input by default
    pub file: Option<PathBuf>,
    /// The host name of the images
    #[arg(long)]
    pub name: Option<String>,
    /// The port of a server block of their own
    #[arg(long, default_value_t = 80)]
    pub port: u16,
    /// The file that a server block includes to serve images
    #[arg(
        long,
        value_name = "FILE",
        default_value = "/etc/nginx/snippets/corenexis-cdn.conf"
    )]
    pub snippet: PathBuf,
    /// No line has to fit into the blocks: they include files of a directory
    #[arg(long)]
    pub no_insert: bool,
    /// The docroot of the images
    #[arg(long, value_name = "DIR")]
    pub docroot: Option<PathBuf>,
    /// Leave out the server blocks of this file; may be given again
    #[arg(long, value_name = "FILE")]
    pub ignore: Vec<PathBuf>,
}
