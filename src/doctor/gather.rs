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
use crate::ledger;

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
    /// Where nothing was said and the site has an nginx of its own, that one is meant: a demo's lies beside its `config.toml`, that of
    /// an installation without root beside its docroot.
    #[must_use]
    pub fn or_own(self, config_file: &Path, docroot: &Path) -> Self {
        if self != Self::default() {
            return self;
        }
        let beside = |path: &Path| path.parent().unwrap_or(Path::new(".")).to_owned();
        [
            (beside(config_file), "rendered/nginx/nginx.conf"),
            (beside(docroot), "nginx/conf/nginx.conf"),
        ]
        .into_iter()
        .map(|(directory, conf)| Self {
            nginx_conf: Some(directory.join(conf)),
            nginx_prefix: Some(directory.join("nginx")),
        })
        .find(|own| {
            let is_file = own.nginx_conf.as_ref().is_some_and(|conf| conf.is_file());
            is_file
                && own
                    .nginx_prefix
                    .as_ref()
                    .is_some_and(|prefix| prefix.is_dir())
        })
        .unwrap_or(self)
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
    let ledger = ledger::inspect(&config, CHECK_PATIENCE).map_err(|error| error.to_string());
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn an_nginx_of_the_sites_own_is_found_where_the_installer_puts_it() {
        let root = tempfile::tempdir().expect("a directory");
        let config_file = root.path().join("etc/config.toml");
        let docroot = root.path().join("data/docroot");
        let own = |options: Options| options.or_own(&config_file, &docroot);
        assert_eq!(own(Options::default()), Options::default());
        let put = |conf: &str, prefix: &str| {
            let conf = root.path().join(conf);
            fs::create_dir_all(conf.parent().expect("a parent")).expect("made");
            fs::create_dir_all(root.path().join(prefix)).expect("made");
            fs::write(&conf, "").expect("written");
            Options {
                nginx_conf: Some(conf),
                nginx_prefix: Some(root.path().join(prefix)),
            }
        };
        let user = put("data/nginx/conf/nginx.conf", "data/nginx");
        assert_eq!(own(Options::default()), user);
        let demo = put("etc/rendered/nginx/nginx.conf", "etc/nginx");
        assert_eq!(own(Options::default()), demo);
        let named = Options {
            nginx_conf: Some("/x".into()),
            nginx_prefix: None,
        };
        assert_eq!(own(named.clone()), named);
    }
}
