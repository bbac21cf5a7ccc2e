//! Checks an installation: what works, what does not, and what to do next.
//!
//! Each submodule checks one subject. The checks change nothing on the host; in a bucket they write objects and delete them. They open
//! nothing that could block: a file is opened only if it is a regular file, and every connection has a time limit.

mod access;
mod bucket;
mod certificate;
mod check;
mod dns;
mod docroot;
mod file_systems;
mod files;
mod identity;
mod installation;
mod ledger;
mod nginx;
#[cfg(feature = "postgres")]
mod postgres;
mod responder;
mod scan;
mod settings;
mod sweep;
mod website;
mod workers;
mod write_ahead_log;

use std::path::Path;

use crate::config::Config;

pub(crate) use check::{Check, Verdict, worst};
use installation::Installation;
pub(crate) use nginx::{NginxOptions, version_check as nginx_version};

/// Runs all checks. `progress` is called with the subject of the next ones.
pub(crate) fn check(
    config: Config,
    config_file: &Path,
    nginx: &NginxOptions,
    progress: impl Fn(&str),
) -> Vec<Check> {
    let installation = Installation::new(config, config_file);
    let mut checks = settings::checks(&installation);
    checks.extend(scan::check(&installation));
    progress("nginx");
    checks.extend(nginx::checks(&installation, nginx));
    progress("files");
    checks.push(docroot::check(&installation));
    checks.extend(file_systems::checks(&installation.config));
    if installation.config.storage.s3.is_some() {
        progress("bucket");
        checks.extend(bucket::checks(&installation));
    }
    progress("ledger");
    let (ledger, events) = ledger::checks(&installation);
    checks.extend(ledger);
    checks.extend(write_ahead_log::check(&installation, events.as_ref()));
    checks.extend(identity::check(&installation));
    checks.extend(sweep::checks(&installation, events.as_ref()));
    progress("public URL");
    checks.extend(website::checks(&installation.config));
    checks
}
