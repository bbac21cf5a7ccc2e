//! Connects to a server of `[ledger] url`.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use postgres::config::{self as connect, LoadBalanceHosts, SslMode};
use postgres::error::SqlState;
use postgres::{Client, Config, NoTls};
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::failure::{Failure, is_passing, message};
use crate::authorities;
use crate::config::Postgres;
use crate::ledger::LedgerError;
use crate::random;

/// What to do about a server that does not answer.
const UNANSWERED: &str =
    "is the address right, does the server run there, and does a firewall let this host in?";

/// The longest password, in bytes.
const LONGEST_PASSWORD: u64 = 4_096;

/// How much longer than a TCP connection a server may take to let a client in, if there is another one to ask.
const HANDSHAKE: Duration = Duration::from_secs(1);

/// The servers of the URL, and how they are connected to.
pub(super) struct Server {
    hosts: Vec<Host>,
    is_random: bool,
    password_file: Option<PathBuf>,
    tls: Option<MakeRustlsConnect>,
    /// For messages; it holds no password.
    pub(super) url: String,
}

/// One server of the URL.
struct Host {
    config: Config,
    /// Host and port, for messages.
    name: String,
    /// Connection attempts that were given up and whose threads have not ended.
    hanging: AtomicUsize,
}

/// Why connecting to a host failed.
#[derive(Debug, Clone)]
pub(super) struct Unconnected {
    cause: String,
    advice: String,
    /// Whether another attempt may succeed without anybody's help.
    is_passing: bool,
}

impl Unconnected {
    /// The host did not answer in time.
    pub(super) fn silent() -> Self {
        Self {
            cause: "it does not answer".to_owned(),
            advice: UNANSWERED.to_owned(),
            is_passing: true,
        }
    }
}

impl Server {
    /// Reads what the connections need, and connects to nothing.
    pub(super) fn new(place: &Postgres) -> Result<Self, LedgerError> {
        let config = place
            .parsed()
            .map_err(|error| LedgerError::Failed(error.to_string()))?;
        let tls = match config.get_ssl_mode() {
            SslMode::Disable => None,
            _ => Some(tls(place.ca_file.as_deref())?),
        };
        let hosts = 0..config.get_hosts().len();
        Ok(Self {
            hosts: hosts.map(|at| Host::of(&config, at)).collect(),
            is_random: config.get_load_balance_hosts() == LoadBalanceHosts::Random,
            password_file: place.password_file.clone(),
            tls,
            url: place.url.clone(),
        })
    }

    /// The hosts to be tried, in this order. Those are left out at which an attempt to connect hangs, if there are others: a server that
    /// accepts connections and answers none, such as one whose disk hangs, would hold a thread for each attempt.
    pub(super) fn candidates(&self) -> Vec<usize> {
        let mut hosts: Vec<_> = (0..self.hosts.len()).collect();
        let mut start = [0];
        if self.is_random && random::fill(&mut start).is_ok() {
            hosts.rotate_left(usize::from(start[0]) % self.hosts.len());
        }
        let hangs = |at: &usize| self.hosts[*at].hanging.load(Ordering::Relaxed) > 0;
        if !hosts.iter().all(hangs) {
            hosts.retain(|at| !hangs(at));
        }
        hosts
    }

    /// How long a host may take to let a client in while there is another one to ask. The driver's own limit is for TCP alone.
    pub(super) fn patience(&self) -> Duration {
        let config = self.hosts.first().map(|host| &host.config);
        let connect = config.and_then(Config::get_connect_timeout).copied();
        connect.unwrap_or_default() + HANDSHAKE
    }

    /// Notes that nobody waits any more for an attempt to connect to a host.
    pub(super) fn give_up(&self, host: usize) {
        self.hosts[host].hanging.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes that an attempt has ended that was given up.
    pub(super) fn has_ended(&self, host: usize) {
        self.hosts[host].hanging.fetch_sub(1, Ordering::Relaxed);
    }

    /// Opens a connection to a host. The password is read anew, so that it can be changed without a restart.
    pub(super) fn connect(&self, host: usize) -> Result<Client, Unconnected> {
        let mut config = self.hosts[host].config.clone();
        if let Some(file) = &self.password_file {
            let password = password(file).map_err(|why| Unconnected {
                cause: format!("[ledger] password_file {}: {why}", file.display()),
                // The cause has it.
                advice: String::new(),
                is_passing: false,
            })?;
            config.password(password);
        }
        let connected = match &self.tls {
            Some(tls) => config.connect(tls.clone()),
            None => config.connect(NoTls),
        };
        connected.map_err(|error| unconnected(&error))
    }

    /// The failure of all hosts, of which those that were tried failed for these reasons.
    pub(super) fn failure(&self, reasons: &[(usize, Unconnected)]) -> Failure {
        let silent = Unconnected::silent();
        let reason = |at: usize| {
            let tried = reasons.iter().find(|(host, _)| *host == at);
            tried.map_or(&silent, |(_, reason)| reason)
        };
        let all: Vec<_> = (0..self.hosts.len()).map(reason).collect();
        let causes: Vec<_> = match &all[..] {
            [reason] => vec![reason.cause.clone()],
            all => all
                .iter()
                .zip(&self.hosts)
                .map(|(reason, host)| format!("{}: {}", host.name, reason.cause))
                .collect(),
        };
        // What does not pass is what somebody has to mend.
        let lasting = all.iter().find(|reason| !reason.is_passing);
        let advice = lasting.or(all.last()).map_or("", |reason| &reason.advice);
        let separator = if advice.is_empty() { "" } else { "; " };
        Failure::Unconnected {
            why: format!(
                "the ledger {} cannot be reached: {}{separator}{advice}",
                self.url,
                causes.join("; ")
            ),
            is_passing: all.iter().any(|reason| reason.is_passing),
        }
    }
}

impl Host {
    /// The host of that number in `all`, which has several.
    fn of(all: &Config, at: usize) -> Self {
        let mut config = Config::new();
        let name = match &all.get_hosts()[at] {
            connect::Host::Tcp(name) => {
                config.host(name);
                name.clone()
            }
            connect::Host::Unix(path) => {
                config.host_path(path);
                path.display().to_string()
            }
        };
        let ports = all.get_ports();
        let port = ports.get(at).or(ports.first()).copied().unwrap_or(5432);
        config
            .port(port)
            .ssl_mode(all.get_ssl_mode())
            .ssl_negotiation(all.get_ssl_negotiation())
            .channel_binding(all.get_channel_binding())
            .target_session_attrs(all.get_target_session_attrs())
            .keepalives(all.get_keepalives())
            .keepalives_idle(all.get_keepalives_idle());
        if let Some(address) = all.get_hostaddrs().get(at) {
            config.hostaddr(*address);
        }
        if let Some(user) = all.get_user() {
            config.user(user);
        }
        if let Some(name) = all.get_dbname() {
            config.dbname(name);
        }
        if let Some(options) = all.get_options() {
            config.options(options);
        }
        if let Some(name) = all.get_application_name() {
            config.application_name(name);
        }
        if let Some(timeout) = all.get_connect_timeout() {
            config.connect_timeout(*timeout);
        }
        if let Some(timeout) = all.get_tcp_user_timeout() {
            config.tcp_user_timeout(*timeout);
        }
        if let Some(interval) = all.get_keepalives_interval() {
            config.keepalives_interval(interval);
        }
        if let Some(retries) = all.get_keepalives_retries() {
            config.keepalives_retries(retries);
        }
        Self {
            config,
            name: format!("{name}:{port}"),
            hanging: AtomicUsize::new(0),
        }
    }
}

/// Why the driver has no connection.
fn unconnected(error: &postgres::Error) -> Unconnected {
    let code = error.code();
    if let Some(reason) = authorities::rejection(error) {
        return Unconnected {
            cause: format!(
                "the certificate of the server {}",
                authorities::fault(reason)
            ),
            advice: authorities::remedy(reason, "[ledger] ca_file", "[ledger] url"),
            is_passing: false,
        };
    }
    let is_passing = match code {
        Some(code) => is_passing(code),
        // Neither a server without TLS nor a missing password passes.
        None => {
            error.is_closed()
                || std::error::Error::source(error)
                    .and_then(|source| source.downcast_ref::<io::Error>())
                    .is_some_and(|error| error.kind() != io::ErrorKind::InvalidData)
        }
    };
    let cause = message(error);
    let advice = advice(code, &cause);
    Unconnected {
        cause,
        advice: advice.to_owned(),
        is_passing,
    }
}

/// What to do about a connection that failed: with the server's `code`, or in the driver, whose text is `cause`.
fn advice(code: Option<&SqlState>, cause: &str) -> &'static str {
    /// Parts of the driver's texts, the more particular ones first.
    const CAUSES: [(&str, &str); 5] = [
        (
            "password missing",
            "the server asks for a password: set [ledger] password_file",
        ),
        (
            "does not support TLS",
            "turn TLS on in postgresql.conf (ssl = on), or set sslmode=disable in [ledger] url for a network that nobody else can read",
        ),
        (
            "does not allow writes",
            "it is a replica: promote it, or name the primary too in [ledger] url",
        ),
        ("lookup", "correct the host in [ledger] url, or its DNS"),
        (
            "refused",
            "does the server run there, and do its listen_addresses include that address?",
        ),
    ];
    match code {
        Some(code)
            if code == &SqlState::INVALID_PASSWORD
                || code == &SqlState::INVALID_AUTHORIZATION_SPECIFICATION =>
        {
            "correct the user of [ledger] url, [ledger] password_file, or the server's pg_hba.conf"
        }
        Some(code) if code == &SqlState::INVALID_CATALOG_NAME => {
            "make it, owned by the user of [ledger] url: CREATE DATABASE … OWNER … ENCODING 'UTF8'"
        }
        Some(code) if code == &SqlState::TOO_MANY_CONNECTIONS => {
            "lower [ledger] connections, raise the server's max_connections, or put pgbouncer in front of it"
        }
        Some(_) => "does the server take connections of this host?",
        None => CAUSES
            .iter()
            .find(|(part, _)| cause.contains(part))
            .map_or(UNANSWERED, |(_, advice)| advice),
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

/// The first line of the file, which no other account may read.
fn password(file: &Path) -> Result<String, String> {
    let cannot = |error: io::Error| {
        let file = file.display();
        let advice = match error.kind() {
            io::ErrorKind::NotFound => "; write the password there, in one line".to_owned(),
            io::ErrorKind::PermissionDenied => format!(
                "; let the account of the responder read it: `chgrp corenexis-cdn {file} && chmod 640 {file}`"
            ),
            _ => String::new(),
        };
        format!("it cannot be read: {error}{advice}")
    };
    let metadata = fs::metadata(file).map_err(cannot)?;
    if !metadata.is_file() {
        return Err("it is not a regular file".to_owned());
    }
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o027 != 0 {
        return Err(format!(
            "other accounts may use it (mode {mode:o}): `chgrp corenexis-cdn {0} && chmod 640 {0}`",
            file.display()
        ));
    }
    let mut text = String::new();
    File::open(file)
        .and_then(|opened| opened.take(LONGEST_PASSWORD).read_to_string(&mut text))
        .map_err(cannot)?;
    match text.lines().next() {
        Some(password) if !password.is_empty() => Ok(password.to_owned()),
        _ => Err("its first line is empty: write the password there".to_owned()),
    }
}

/// TLS that verifies the server's certificate and its name, with these authorities, or with those of the system.
fn tls(ca_file: Option<&Path>) -> Result<MakeRustlsConnect, LedgerError> {
    let file = authorities::file(ca_file).ok_or_else(|| {
        LedgerError::Failed(
            "the system has no file of trusted authorities: install ca-certificates, or set [ledger] ca_file".to_owned(),
        )
    })?;
    let certificates = authorities::read(file, "[ledger] ca_file").map_err(LedgerError::Failed)?;
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates);
    let config =
        ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .map_err(|error| LedgerError::Failed(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}
