//! `serve`: the responder.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{Access, AtFlags, CWD, Mode, accessat};
use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;
use time::UtcDateTime;

use super::{Failure, as_owner, recover};
use crate::app::App;
use crate::auth::attempts::FailedAttempts;
use crate::block_list::BlockList;
use crate::cli::default_config;
use crate::commit::{Committer, Settings, log_directory};
use crate::config::{Config, Durability, Listen};
use crate::delete_key::DeleteKeys;
use crate::fastcgi::params::Params;
use crate::fetch::Fetcher;
use crate::idempotency::InProgress;
use crate::identity::LedgerState;
use crate::image_path::IMAGE_ROOT;
use crate::ledger::{self, Ledger, QuickCheck};
use crate::log::{self, Line};
use crate::metrics::Metrics;
use crate::purge;
use crate::scan::Scanner;
use crate::serve::listener::Listener;
use crate::serve::{Handler, serve as serve_listener, serve_cgi};
use crate::site::{self, Site};
use crate::store::{SPOOL, Store};
use crate::token_uses::{self, TokenUses};

/// Requests that may read the ledger at once. Each reads for microseconds, so a few serve many connections.
const LEDGER_READERS: usize = 4;

/// How long `serve --check` may check the pages of the ledger.
const CHECK_TIMEOUT: Duration = Duration::from_secs(10);

/// Whether a CGI host started this process to answer one request: `GATEWAY_INTERFACE` is set and descriptor 0 is no listening socket.
pub(super) fn is_cgi() -> bool {
    std::env::var_os("GATEWAY_INTERFACE").is_some()
        && !matches!(Listener::from_standard_input(), Ok(Some(_)))
}

/// Answers the one request of a CGI host. The configuration is named by the environment alone, which a request cannot set.
pub(super) fn cgi() -> Result<(), Failure> {
    let config = as_owner(&default_config())?;
    open_log(&config, None)?;
    set_umask();
    let site = site::open_for_request(&config)?;
    let app = open_app(config, site, None)?;
    let environment: Vec<_> = std::env::vars_os().collect();
    let pairs = environment
        .iter()
        .map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    let params = Params::from_pairs(pairs).map_err(Failure::failed)?;
    serve_cgi(&app, &params, io::stdin().lock(), io::stdout().lock())?;
    app.token_uses.write_or_log(&*app.ledger);
    Ok(())
}

pub(super) fn serve(
    config: Config,
    listen: Option<&Listen>,
    log_file: Option<&Path>,
) -> Result<(), Failure> {
    reopen_log_on_signal()?;
    open_log(&config, log_file)?;
    let (stop, writer) = UnixStream::pair()?;
    for signal in [SIGTERM, SIGINT] {
        signal_hook::low_level::pipe::register(signal, writer.try_clone()?)?;
    }
    let max_connections = config.server.max_connections;
    let configured = config.server.listen.clone();
    set_umask();
    let site = site::open_to_serve(&config, LEDGER_READERS)?;
    // An upload into a bucket is durable there, before the reply.
    let needs_log = config.storage.durability == Durability::Full && config.storage.s3.is_none();
    let log = if needs_log {
        log_directory(&config)
    } else {
        // Another responder may have been killed before the setting was changed.
        recover(&config, &site)?;
        None
    };
    let app = Arc::new(open_app(config, site, log)?);
    start_purges(&app)?;
    start_writing_token_uses(&app)?;
    let listener = open_listener(listen, &configured)?;
    event("listening")
        .field("address", listener.describe())
        .field("pid", std::process::id())
        .write();
    let handler: Arc<dyn Handler> = Arc::<App>::clone(&app);
    serve_listener(&listener, max_connections, handler, &stop)?;
    app.token_uses.write_or_log(&*app.ledger);
    event("stopped").write();
    Ok(())
}

/// Purges what the commands, the sweep and this responder queue, on a thread of its own.
fn start_purges(app: &App) -> io::Result<()> {
    if app.config.site.purge_command.is_some() {
        let config = app.config.clone();
        let ledger = Arc::downgrade(&app.ledger);
        thread::Builder::new()
            .name("purge".to_owned())
            .spawn(move || purge::run_while_in_use(&config, &ledger))?;
    }
    Ok(())
}

/// Notes in the ledger when tokens were last used, on a thread of its own.
fn start_writing_token_uses(app: &App) -> io::Result<()> {
    let uses = Arc::clone(&app.token_uses);
    let ledger = Arc::downgrade(&app.ledger);
    thread::Builder::new()
        .name("token uses".to_owned())
        .spawn(move || token_uses::write_while_in_use(&uses, &ledger))?;
    Ok(())
}

fn open_log(config: &Config, named: Option<&Path>) -> Result<(), Failure> {
    match named.or(config.server.log.as_deref()) {
        Some(path) => log::to_file(path).map_err(|error| {
            Failure::failed(format!(
                "the log cannot be written: {error}; set [server] log, or use --log-file"
            ))
        }),
        None => Ok(()),
    }
}

/// SIGUSR1 would end a process that takes no notice of it, also one whose log needs no opening.
fn reopen_log_on_signal() -> io::Result<()> {
    let mut signals = Signals::new([SIGUSR1])?;
    thread::Builder::new()
        .name("log".to_owned())
        .spawn(move || {
            signals
                .forever()
                .for_each(|_| log::reopen(UtcDateTime::now()));
        })?;
    Ok(())
}

fn open_listener(named: Option<&Listen>, configured: &Listen) -> Result<Listener, Failure> {
    if named.is_none() {
        if let Some(listener) = Listener::from_systemd()? {
            return Ok(listener);
        }
        if let Some(listener) = Listener::from_standard_input()? {
            return Ok(listener);
        }
    }
    let address = named.unwrap_or(configured);
    Listener::bind(address).map_err(|error| {
        Failure::failed(format!(
            "cannot listen on {address}: {error}; set [server] listen, or use --listen"
        ))
    })
}

/// Lets nginx read the images, whatever umask this process inherited.
fn set_umask() {
    rustix::process::umask(Mode::from_bits_truncate(0o022));
}

/// Makes everything that a request needs; `log` is the directory of the write-ahead log.
fn open_app(config: Config, site: Site, log: Option<PathBuf>) -> Result<App, Failure> {
    let ledger: Arc<dyn Ledger> = site.ledger.into();
    let store: Arc<dyn Store> = site.store.into();
    let clients = ledger.clients(UtcDateTime::now())?;
    let plans = clients.iter();
    require_plans(
        &config,
        plans.map(|row| (row.id.as_str(), row.plan.as_str())),
    )?;
    let clock: fn() -> UtcDateTime = UtcDateTime::now;
    let metrics = Metrics::new();
    metrics.count_from_zero(config.plans.keys());
    let committer = Committer::start(Settings {
        ledger: Arc::clone(&ledger),
        store: Arc::clone(&store),
        name_length: config.storage.name_length,
        log,
        clock,
        observe_batch: Arc::new(metrics.batch_observer()),
        observe_checkpoint: Arc::new(metrics.checkpoint_observer()),
    })?;
    let fetcher = Fetcher::new(&config.fetch, config.server.max_connections)?;
    for allowed in &config.fetch.allow {
        event("fetch_allowed")
            .field("address", allowed)
            .field("cause", "[fetch] allow lifts the address rules")
            .write();
    }
    let scanner = Scanner::new(&config.scan);
    let attempts = FailedAttempts::new(config.limits.failed_attempts_per_minute, Instant::now());
    let delete_keys = DeleteKeys::new(&ledger.delete_secret()?);
    Ok(App {
        config,
        ledger,
        store,
        committer,
        fetcher,
        block_list: BlockList::default(),
        attempts,
        token_uses: Arc::new(TokenUses::default()),
        scanner,
        delete_keys,
        keyed_uploads: InProgress::default(),
        metrics,
        clock,
    })
}

/// Fails if a client has a plan that the configuration does not have: its requests could only be answered with errors.
fn require_plans<'a>(
    config: &Config,
    clients: impl Iterator<Item = (&'a str, &'a str)>,
) -> Result<(), Failure> {
    let stranded: Vec<_> = clients
        .filter(|(_, plan)| !config.plans.contains_key(*plan))
        .map(|(id, plan)| format!("{id} (plan {plan:?})"))
        .collect();
    if stranded.is_empty() {
        Ok(())
    } else {
        Err(Failure::configuration(format!(
            "the configuration has no plan for these clients: {}; put the plan back, or give them another with \
             `corenexis-cdn client set ID --plan PLAN`",
            stranded.join(", ")
        )))
    }
}

/// `serve --check`: what a start would refuse, found without changing anything.
pub(super) fn check(config: &Config) -> Result<(), Failure> {
    site::check(config)?;
    if ledger::state(config)? != LedgerState::Missing {
        let inspection = ledger::inspect(config, CHECK_TIMEOUT)?;
        if inspection.schema > inspection.newest {
            return Err(Failure::storage(format!(
                "the ledger {} has schema version {}; this program knows {}: use a newer corenexis-cdn",
                config.ledger, inspection.schema, inspection.newest
            )));
        }
        if let QuickCheck::Damaged(damage) = inspection.check {
            return Err(Failure::storage(format!(
                "the ledger {} is damaged: {damage}; `corenexis-cdn restore FILE` brings a backup back",
                config.ledger
            )));
        }
        let clients = inspection.clients.iter();
        require_plans(
            config,
            clients.map(|(id, plan)| (id.as_str(), plan.as_str())),
        )?;
    }
    let docroot = &config.storage.docroot;
    let log = config.server.log.as_deref().and_then(Path::parent);
    let directories = [
        ("[ledger] path", config.ledger.directory(), Access::WRITE_OK),
        ("[storage] docroot", Some(docroot), Access::READ_OK),
        ("[server] log", log, Access::WRITE_OK),
        (
            "[server] listen",
            config.server.listen.directory(),
            Access::EXISTS,
        ),
    ];
    for (key, directory, access) in directories {
        if let Some(directory) = directory {
            require_access(key, directory, access)?;
        }
    }
    let written = match &config.storage.s3 {
        Some(bucket) => vec![("[storage] spool", bucket.spool.clone())],
        None => [SPOOL, IMAGE_ROOT]
            .map(|name| ("[storage] docroot", docroot.join(name)))
            .into(),
    };
    for (key, directory) in written {
        if directory.exists() {
            require_access(key, &directory, Access::WRITE_OK)?;
        } else if let (Some(parent), Some(_)) = (directory.parent(), &config.storage.s3) {
            require_access(key, parent, Access::WRITE_OK)?;
        }
    }
    site::check_writable(config)?;
    eprintln!("corenexis-cdn serve could start with this configuration.");
    Ok(())
}

fn require_access(key: &str, directory: &Path, access: Access) -> Result<(), Failure> {
    let access = access | Access::EXEC_OK;
    accessat(CWD, directory, access, AtFlags::EACCESS).map_err(|error| {
        Failure::storage(format!(
            "{key}: the directory {} cannot be used: {error}; does the account that runs the responder own it?",
            directory.display()
        ))
    })
}

fn event(name: &str) -> Line {
    Line::new(UtcDateTime::now(), name)
}
