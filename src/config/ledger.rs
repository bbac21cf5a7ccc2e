//! `[ledger]`: a SQLite file or a PostgreSQL database.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{Invalid, ensure};

/// Connections to PostgreSQL where `connections` is left out.
const CONNECTIONS: usize = 8;

/// `[ledger]`
#[derive(Debug, Clone)]
pub struct Ledger {
    /// The SQLite database; not used with `postgres`.
    pub path: PathBuf,
    /// The PostgreSQL database, if the ledger is in one.
    pub postgres: Option<Postgres>,
}

/// A ledger in PostgreSQL: `[ledger] url` and what goes with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Postgres {
    /// Servers, account, database and options as libpq's connection URI, without a password
    /// (<https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS>).
    pub url: String,
    /// The file that holds the password; `None` if the server asks for none.
    pub password_file: Option<PathBuf>,
    /// The certificates of the authorities that are trusted, in PEM; `None` for those of the system.
    pub ca_file: Option<PathBuf>,
    /// Connections of one process at most.
    pub connections: usize,
}

impl Default for Ledger {
    fn default() -> Self {
        Self {
            path: "/var/lib/corenexis-cdn/ledger.db".into(),
            postgres: None,
        }
    }
}

impl Ledger {
    /// The key of the configuration that says where it is.
    pub(crate) const fn key(&self) -> &'static str {
        match self.postgres {
            Some(_) => "[ledger] url",
            None => "[ledger] path",
        }
    }

    /// The directory of the SQLite database; `None` if the ledger is in PostgreSQL.
    pub(crate) fn directory(&self) -> Option<&Path> {
        match self.postgres {
            Some(_) => None,
            None => Some(self.path.parent().unwrap_or(Path::new("/"))),
        }
    }
}

/// The place of the ledger as messages name it: the path, or the URL.
impl fmt::Display for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.postgres {
            Some(postgres) => f.write_str(&postgres.url),
            None => self.path.display().fmt(f),
        }
    }
}

/// `[ledger]` as it is written.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct LedgerTable {
    path: Option<PathBuf>,
    url: Option<String>,
    password_file: Option<PathBuf>,
    ca_file: Option<PathBuf>,
    connections: Option<usize>,
}

impl LedgerTable {
    /// Checks that the keys go together.
    pub(super) fn checked(self) -> Result<Ledger, Invalid> {
        let Some(url) = self.url else {
            let alone = [
                ("password_file", self.password_file.is_some()),
                ("ca_file", self.ca_file.is_some()),
                ("connections", self.connections.is_some()),
            ];
            for (key, is_set) in alone {
                ensure(!is_set, || {
                    format!(
                        "[ledger] {key} goes with [ledger] url, which is not set: remove it, or set url for a ledger in PostgreSQL"
                    )
                })?;
            }
            let default = Ledger::default();
            return Ok(Ledger {
                path: self.path.unwrap_or(default.path),
                ..default
            });
        };
        ensure(self.path.is_none(), || {
            "[ledger] path and url: the ledger is either an SQLite file (path) or a PostgreSQL database (url): remove one of them".to_owned()
        })?;
        for (key, file) in [
            ("password_file", &self.password_file),
            ("ca_file", &self.ca_file),
        ] {
            ensure(file.as_ref().is_none_or(|file| file.is_absolute()), || {
                format!("[ledger] {key}: expected an absolute path, starting with /")
            })?;
        }
        let connections = self.connections.unwrap_or(CONNECTIONS);
        ensure((1..=1_000).contains(&connections), || {
            format!("[ledger] connections = {connections}: expected 1 to 1000")
        })?;
        let postgres = Postgres {
            url,
            password_file: self.password_file,
            ca_file: self.ca_file,
            connections,
        };
        postgres.check()?;
        Ok(Ledger {
            postgres: Some(postgres),
            ..Ledger::default()
        })
    }
}

impl Postgres {
    /// The URL for a message that may be about a password in it: without what may be one, and nothing of a text that is no URL.
    fn shown(&self) -> String {
        let Some((scheme, rest)) = self.url.split_once("://") else {
            return "…".to_owned();
        };
        let rest = match rest.rsplit_once('@') {
            Some((user, rest)) => {
                let user = user.split(':').next().unwrap_or_default();
                format!("{user}@{rest}")
            }
            None => rest.to_owned(),
        };
        match rest.split_once('?') {
            Some((before, query)) if query.to_ascii_lowercase().contains("password") => {
                format!("{scheme}://{before}?…")
            }
            _ => format!("{scheme}://{rest}"),
        }
    }
}

#[cfg(not(feature = "postgres"))]
impl Postgres {
    fn check(&self) -> Result<(), Invalid> {
        Err(Invalid(format!(
            "[ledger] url = {:?}: this program was built without the feature postgres",
            self.shown()
        )))
    }
}

#[cfg(feature = "postgres")]
impl Postgres {
    fn check(&self) -> Result<(), Invalid> {
        self.parsed().map(drop)
    }

    /// The URL as the driver has it, without the password, and with time limits where the URL sets none.
    ///
    /// Of several hosts the one that takes writes is meant, unless `target_session_attrs` is given. Without `sslmode`, TLS is required to other hosts, and not used on this one. The driver knows no verification modes: the
    /// certificate and the name of a server that is spoken to by TLS are always verified.
    pub(crate) fn parsed(&self) -> Result<postgres::Config, Invalid> {
        use postgres::config::{Host, SslMode, TargetSessionAttrs};
        use std::time::Duration;

        let wrong = |why: &str| {
            Invalid(format!(
                "[ledger] url = {:?}: {why}: expected postgresql://USER@HOST/DATABASE",
                self.shown()
            ))
        };
        if !(self.url.starts_with("postgresql://") || self.url.starts_with("postgres://")) {
            return Err(wrong("not a URL of PostgreSQL"));
        }
        let mut url = self.url.clone();
        for mode in ["verify-full", "verify-ca"] {
            url = url.replace(&format!("sslmode={mode}"), "sslmode=require");
        }
        let mut parsed: postgres::Config = url.parse().map_err(|error: postgres::Error| {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            let cause = cause.unwrap_or_else(|| error.to_string());
            // Options of libpq that have a key of their own here.
            for (option, key) in [("sslrootcert", "ca_file"), ("passfile", "password_file")] {
                if cause.contains(&format!("`{option}`")) {
                    return wrong(&format!("{option} is [ledger] {key} here"));
                }
            }
            wrong(&cause)
        })?;
        if parsed.get_password().is_some() {
            return Err(Invalid(
                "[ledger] url holds a password, which lists of processes and `config` would show: write it into a file of its own, readable \
                 by the account of the responder, and set password_file"
                    .to_owned(),
            ));
        }
        if parsed.get_hosts().is_empty() {
            return Err(wrong("no host"));
        }
        let hosts = parsed.get_hosts().len();
        for (what, count) in [
            ("ports", parsed.get_ports().len()),
            ("addresses (hostaddr)", parsed.get_hostaddrs().len()),
        ] {
            if ![0, hosts].contains(&count) && (count, what) != (1, "ports") {
                return Err(wrong(&format!("hosts: {hosts}, {what}: {count}")));
            }
        }
        if parsed.get_user().is_none() {
            return Err(wrong("no user"));
        }
        if parsed.get_dbname().is_none() {
            return Err(wrong("no database"));
        }
        let is_here = |host: &Host| match host {
            Host::Unix(_) => true,
            Host::Tcp(name) => {
                name == "localhost"
                    || name
                        .parse()
                        .is_ok_and(|address: std::net::IpAddr| address.is_loopback())
            }
        };
        if !self.has_option("sslmode") {
            let is_local = parsed.get_hosts().iter().all(is_here);
            parsed.ssl_mode(if is_local {
                SslMode::Disable
            } else {
                SslMode::Require
            });
        }
        if hosts > 1 && !self.has_option("target_session_attrs") {
            parsed.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        if parsed.get_application_name().is_none() {
            parsed.application_name("corenexis-cdn");
        }
        if parsed.get_connect_timeout().is_none() {
            parsed.connect_timeout(Duration::from_secs(2));
        }
        if parsed.get_tcp_user_timeout().is_none() {
            parsed.tcp_user_timeout(Duration::from_secs(10));
        }
        if !self.has_option("keepalives_idle") {
            parsed.keepalives_idle(Duration::from_secs(30));
            parsed.keepalives_interval(Duration::from_secs(5));
            parsed.keepalives_retries(3);
        }
        Ok(parsed)
    }

    fn has_option(&self, name: &str) -> bool {
        let (_, query) = self.url.split_once('?').unwrap_or_default();
        query
            .split('&')
            .any(|pair| pair.split('=').next() == Some(name))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;

    fn ledger(lines: &str) -> Result<super::Ledger, String> {
        let text = format!("[site]\npublic_url = \"https://cdn.example.com\"\n[ledger]\n{lines}");
        Config::from_toml(&text)
            .map(|config| config.ledger)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn keys_of_two_kinds_are_refused_by_their_names() {
        for (lines, needles) in [
            (
                "path = \"/x\"\nurl = \"postgresql://u@h/d\"",
                ["path", "url"],
            ),
            ("password_file = \"/x\"", ["password_file", "url"]),
            ("ca_file = \"/x\"", ["ca_file", "url"]),
            ("connections = 2", ["connections", "url"]),
        ] {
            let message = ledger(lines).expect_err(lines);
            for needle in needles {
                assert!(message.contains(needle), "{lines}: {message}");
            }
        }
    }

    #[cfg(not(feature = "postgres"))]
    #[test]
    fn a_program_without_the_feature_says_so() {
        let message = ledger("url = \"postgresql://u@h/d\"").expect_err("no feature");
        assert!(
            message.contains("without the feature postgres"),
            "{message}"
        );
    }

    #[cfg(feature = "postgres")]
    mod with_the_feature {
        use super::ledger;
        use crate::config::Postgres;
        use postgres::config::{SslMode, TargetSessionAttrs};

        fn postgres(url: &str) -> Postgres {
            let ledger = ledger(&format!("url = \"{url}\"")).expect(url);
            ledger.postgres.expect("a ledger in PostgreSQL")
        }

        #[test]
        fn a_url_is_a_ledger_in_postgresql() {
            let postgres = postgres(
                "postgresql://corenexis@db1,db2:5433/corenexis?target_session_attrs=read-write&sslmode=verify-full",
            );
            assert_eq!(postgres.connections, 8);
            let parsed = postgres.parsed().expect("a URL");
            assert_eq!(parsed.get_hosts().len(), 2);
            assert_eq!(parsed.get_ports(), [5432, 5433]);
            assert_eq!(parsed.get_ssl_mode(), SslMode::Require);
            assert_eq!(
                parsed.get_target_session_attrs(),
                TargetSessionAttrs::ReadWrite
            );
        }

        /// Once, a replica that came first in the URL was connected to, and refused every upload.
        #[test]
        fn of_several_hosts_the_one_that_takes_writes_is_meant() {
            for (url, attributes) in [
                ("postgresql://u@a/d", TargetSessionAttrs::Any),
                ("postgresql://u@a,b/d", TargetSessionAttrs::ReadWrite),
                (
                    "postgresql://u@a,b/d?target_session_attrs=any",
                    TargetSessionAttrs::Any,
                ),
            ] {
                let parsed = postgres(url).parsed().expect(url);
                assert_eq!(parsed.get_target_session_attrs(), attributes, "{url}");
            }
        }

        #[test]
        fn tls_is_required_to_other_hosts() {
            for (url, mode) in [
                ("postgresql://u@db.example/d", SslMode::Require),
                ("postgresql://u@127.0.0.1,192.0.2.1/d", SslMode::Require),
                ("postgresql://u@127.0.0.1:5433/d", SslMode::Disable),
                ("postgresql://u@%2Frun%2Fpostgresql/d", SslMode::Disable),
                ("postgresql://u@/d?host=/run/postgresql", SslMode::Disable),
                ("postgresql://u@db/d?sslmode=disable", SslMode::Disable),
                ("postgresql://u@db/d?sslmode=prefer", SslMode::Prefer),
                (
                    "postgresql://u@localhost/d?sslmode=require",
                    SslMode::Require,
                ),
            ] {
                let parsed = postgres(url).parsed().expect(url);
                assert_eq!(parsed.get_ssl_mode(), mode, "{url}");
            }
        }

        #[test]
        fn what_is_no_url_is_refused() {
            for (lines, needle) in [
                ("url = \"postgresql://u:secret@h/d\"", "password_file"),
                (
                    "url = \"postgresql://u@h/d?password=secret\"",
                    "password_file",
                ),
                ("url = \"host=h user=u\"", "postgresql://USER@HOST/DATABASE"),
                (
                    "url = \"host=h user=u password=secret\"",
                    "postgresql://USER@HOST/DATABASE",
                ),
                ("url = \"postgresql://u:my@secret@h:x/d\"", "port"),
                (
                    "url = \"postgresql://u@h/d?password=secret&some=1\"",
                    "some",
                ),
                ("url = \"mysql://u@h/d\"", "postgresql://USER@HOST/DATABASE"),
                ("url = \"postgresql:///d\"", "no host"),
                ("url = \"postgresql://h/d\"", "no user"),
                ("url = \"postgresql://u@h\"", "no database"),
                ("url = \"postgresql://u@h:x/d\"", "port"),
                (
                    "url = \"postgresql://u@/d?host=a&port=1,2\"",
                    "hosts: 1, ports: 2",
                ),
                (
                    "url = \"postgresql://u@a,b/d?hostaddr=192.0.2.1\"",
                    "hosts: 2, addresses (hostaddr): 1",
                ),
                ("url = \"postgresql://u@h/d?sslmode=maybe\"", "sslmode"),
                ("url = \"postgresql://u@h/d?sslrootcert=/x\"", "ca_file"),
                (
                    "url = \"postgresql://u:secret@h/d?sslmode=maybe\"",
                    "sslmode",
                ),
                ("url = \"postgresql://u@h/d\"\nconnections = 0", "1 to 1000"),
                ("url = \"postgresql://u@h/d\"\nca_file = \"x\"", "absolute"),
            ] {
                let message = ledger(lines).expect_err(lines);
                assert!(message.contains(needle), "{lines}: {message}");
                assert!(!message.contains("secret"), "{lines}: {message}");
            }
        }
    }
}
