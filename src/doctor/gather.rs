//! Looking: the only part of doctor that touches the host. It changes nothing, makes nothing, and waits for nobody for long.

mod host;
mod nginx;
mod places;
mod public;
mod schedule;

use std::path::{Path, PathBuf};
use std::time::Duration;

use time::UtcDateTime;

use super::access::{Account, Accounts};
use super::facts::{Facts, Seen};
use crate::config::Config;
use crate::ledger::sqlite::inspection;

/// How long the quick check of a ledger may take.
const CHECK_PATIENCE: Duration = Duration::from_secs(30);

/// What the configuration does not know of a host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// nginx's main configuration file; the one that was compiled in without.
    pub nginx_conf: Option<PathBuf>,
    /// nginx's prefix, `nginx -p`; the one that was compiled in without.
    pub nginx_prefix: Option<PathBuf>,
}

impl Options {
    /// Where nothing was said and an nginx of the site's own lies beside `config.toml`, as in a demo, that one is meant.
    #[must_use]
    pub fn or_beside(self, config_file: &Path) -> Self {
        if self != Self::default() {
            return self;
        }
        let directory = config_file.parent().unwrap_or(Path::new("."));
        let conf = directory.join("rendered/nginx/nginx.conf");
        let prefix = directory.join("nginx");
        if conf.is_file() && prefix.is_dir() {
            Self {
                nginx_conf: Some(conf),
                nginx_prefix: Some(prefix),
            }
        } else {
            self
        }
    }
}

/// Looks at everything. `progress` hears what comes next.
pub fn gather(
    config: Config,
    config_file: &Path,
    options: &Options,
    progress: &dyn Fn(&str),
) -> Facts {
    let accounts = Accounts::of_this_host();
    let examiner = host::examiner(&accounts);
    progress("nginx");
    let (nginx, worker) = nginx::look(&config, options, &accounts, &examiner);
    progress("files");
    let places = places::look(&config);
    let service = service(&accounts, &places);
    let responder = host::responder(&config.server.listen);
    progress("ledger");
    let ledger =
        inspection::inspect(&config.ledger.path, CHECK_PATIENCE).map_err(|error| error.to_string());
    let (schedules, unseen_schedules) = schedule::look(Path::new("/"), &examiner);
    progress("public URL");
    let public = public::look(config.site.public_url());
    Facts {
        now: UtcDateTime::now(),
        config_file: config_file.to_owned(),
        examiner,
        service,
        nginx,
        worker,
        responder,
        places,
        ledger,
        schedules,
        unseen_schedules,
        public,
        config,
    }
}

/// The version of nginx alone, for a configuration that cannot be read.
pub fn nginx_build() -> Seen<super::nginx::Build> {
    nginx::build()
}

/// The responder makes ledger and spool, so their owner is the account that it runs as.
fn service(accounts: &Accounts, places: &super::facts::Places) -> Seen<Account> {
    [
        places.ledger_files.first(),
        Some(&places.spool),
        Some(&places.docroot),
    ]
    .into_iter()
    .flatten()
    .find_map(|place| {
        let step = place.way.as_ref().ok()?.place()?;
        Some(accounts.of(step.uid))
    })
    .ok_or_else(|| {
        "the account of the responder is not known: neither ledger nor docroot could be looked at"
            .to_owned()
    })
}
