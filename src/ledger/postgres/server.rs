//! Connects to the server of `[ledger] url`.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use postgres::config::SslMode;
use postgres::error::SqlState;
use postgres::{Client, Config, NoTls};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::failure::{Failure, is_passing, message};
use crate::config::Postgres;
use crate::ledger::LedgerError;

/// Where systems keep the certificates of the authorities that they trust: Debian, Red Hat, SUSE, Alpine.
const SYSTEM_ROOTS: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// What to do about a server that does not answer.
pub(super) const UNANSWERED: &str =
    "is the address right, does the server run there, and does a firewall let this host in?";

/// The longest password, in bytes.
const LONGEST_PASSWORD: u64 = 4_096;

/// A server, and how it is connected to.
pub(super) struct Server {
    config: Config,
    password_file: Option<PathBuf>,
    tls: Option<MakeRustlsConnect>,
    /// For messages; it holds no password.
    pub(super) url: String,
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
        Ok(Self {
            config,
            password_file: place.password_file.clone(),
            tls,
            url: place.url.clone(),
        })
    }

    /// Opens a connection. The password is read anew, so that it can be changed without a restart.
    pub(super) fn connect(&self) -> Result<Client, Failure> {
        let mut config = self.config.clone();
        if let Some(file) = &self.password_file {
            let password = password(file).map_err(|why| Failure::Unconnected {
                why: format!("[ledger] password_file {}: {why}", file.display()),
                is_passing: false,
            })?;
            config.password(password);
        }
        let connected = match &self.tls {
            Some(tls) => config.connect(tls.clone()),
            None => config.connect(NoTls),
        };
        connected.map_err(|error| self.unconnected(&error))
    }

    fn unconnected(&self, error: &postgres::Error) -> Failure {
        let code = error.code();
        let is_passing = match code {
            Some(code) => is_passing(code),
            // Neither a wrong certificate nor a missing password passes.
            None => {
                error.is_closed()
                    || std::error::Error::source(error)
                        .and_then(|source| source.downcast_ref::<io::Error>())
                        .is_some_and(|error| error.kind() != io::ErrorKind::InvalidData)
            }
        };
        let cause = message(error);
        let advice = advice(code, &cause);
        Failure::Unconnected {
            why: format!(
                "the ledger {} cannot be reached: {cause}; {advice}",
                self.url
            ),
            is_passing,
        }
    }
}

/// What to do about a connection that failed: with the server's `code`, or in the driver, whose text is `cause`.
fn advice(code: Option<&SqlState>, cause: &str) -> &'static str {
    /// Parts of the driver's texts, the more particular ones first.
    const CAUSES: [(&str, &str); 9] = [
        (
            "password missing",
            "the server asks for a password: set [ledger] password_file",
        ),
        (
            "does not support TLS",
            "turn ssl on in postgresql.conf, or set sslmode=disable in [ledger] url for a network that nobody else can read",
        ),
        (
            "CaUsedAsEndEntity",
            "the server has the certificate of an authority: give it one that is none (openssl req -addext basicConstraints=CA:FALSE)",
        ),
        (
            "not valid for name",
            "name the server in [ledger] url as its certificate does",
        ),
        (
            "not valid yet",
            "set the clock of this host; the certificate is newer",
        ),
        (
            "expired",
            "renew the server's certificate, or set the clock of this host",
        ),
        (
            "certificate",
            "set [ledger] ca_file to the certificate of the server's authority, or sslmode=disable in [ledger] url for a network that \
             nobody else can read",
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
    let system = || {
        let files = SYSTEM_ROOTS.map(Path::new);
        files.into_iter().find(|file| file.exists())
    };
    let file = ca_file.or_else(system).ok_or_else(|| {
        LedgerError::Failed(
            "the system has no file of trusted authorities: install ca-certificates, or set [ledger] ca_file".to_owned(),
        )
    })?;
    let unusable = |why: &dyn std::fmt::Display| {
        LedgerError::Failed(format!(
            "the certificates {} cannot be used: {why}; expected PEM; set [ledger] ca_file to a file of certificates",
            file.display()
        ))
    };
    let certificates: Vec<_> = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect)
        .map_err(|error| unusable(&error))?;
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(certificates);
    if added == 0 {
        return Err(unusable(&"there is none in it"));
    }
    let config =
        ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable(&error))?
            .with_root_certificates(roots)
            .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}
