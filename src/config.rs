//! Parses and checks `config.toml`.
//!
//! Pure: text in, [`Config`] or a message out. The message names the line and the value and says what is expected. Keys that do
//! not exist are refused, so that a misspelt one is not silently a default.

pub(crate) mod document;
mod ledger;
mod plans;
mod purge_command;
mod storage;
mod values;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::image;
use crate::image_path::NAME_LENGTHS;
use crate::plan::Plan;

use ledger::LedgerTable;
pub use ledger::{Ledger, Postgres};
use plans::{PlanTable, plans_from};
pub use purge_command::PurgeCommand;
use storage::StorageTable;
pub use storage::{S3, Serve, Storage};
pub(crate) use values::duration_of;
pub use values::{ByteSize, Listen};
use values::{PublicUrl, Seconds};

/// The configuration, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// How the site is seen from outside.
    pub site: Site,
    /// The FastCGI responder.
    pub server: Server,
    /// Where images are kept.
    pub storage: Storage,
    /// Where clients, quotas and the list of images are kept.
    pub ledger: Ledger,
    /// The largest image, in pixels.
    pub images: image::Limits,
    /// The program that judges images before they are published.
    pub scan: Scan,
    /// Downloads of `image_url`.
    pub fetch: Fetch,
    /// Limits for each address.
    pub limits: Limits,
    /// What is kept against abuse.
    pub abuse: Abuse,
    /// The plans by name; never empty.
    pub plans: BTreeMap<String, Plan>,
}

/// `[site]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Site {
    public_url: PublicUrl,
    /// Where people report an image, a mail address or a URL; may be empty.
    #[serde(default)]
    pub contact: String,
    /// Whether search engines may list images and viewer pages.
    #[serde(default)]
    pub index: bool,
    /// The other sites that may show images, as host names; a leading `*.` stands for all subdomains. Empty: every site may.
    #[serde(default)]
    pub referers: Vec<String>,
    /// The program that purges deleted and quarantined images from a CDN in front of the site; `None` if none is needed.
    pub purge_command: Option<PurgeCommand>,
}

impl Site {
    /// Scheme and host of every URL that is handed out, without a slash at the end.
    pub fn public_url(&self) -> &str {
        &self.public_url.0
    }
}

/// `[server]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    /// Where nginx reaches the responder.
    pub listen: Listen,
    /// Connections served at once; over it the answer is 503.
    pub max_connections: usize,
    /// Where log lines are appended; standard error if none is named. SIGUSR1 opens it again after a rotation.
    pub log: Option<PathBuf>,
    /// The addresses that may read the metrics; empty: none. Behind a proxy on this host, without nginx's realip module, every request
    /// comes from 127.0.0.1.
    pub metrics_allow: Vec<IpAddr>,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: Listen::Unix("/run/corenexis-cdn.sock".into()),
            max_connections: 256,
            log: None,
            metrics_allow: vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
        }
    }
}

/// Whether an acknowledged upload survives a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// File, directory entry and ledger row are on disk before the reply.
    Full,
    /// Nothing is synced: a crash of the process loses nothing, a power cut may lose the last uploads.
    Relaxed,
}

/// What happens to an image that the program could not judge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ScanOnError {
    /// It is refused with status 503.
    Refuse,
    /// It is published.
    Publish,
}

/// `[images] scan_…`
#[derive(Debug, Clone)]
pub struct Scan {
    /// The program and its arguments; empty: there is none.
    pub command: Vec<String>,
    timeout: Seconds,
    /// What happens to an image that the program could not judge.
    pub on_error: ScanOnError,
}

impl Scan {
    /// How long one image may take, the wait for others included.
    pub const fn timeout(&self) -> Duration {
        self.timeout.0
    }
}

/// `[fetch]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Fetch {
    /// The ports that may be connected to.
    pub ports: Vec<u16>,
    timeout: Seconds,
    /// Downloads at once.
    pub max_concurrent: usize,
    /// Addresses that may be reached although the rules deny them: tests and intranets.
    pub allow: Vec<SocketAddr>,
}

impl Fetch {
    /// How long one download may take, redirects included.
    pub const fn timeout(&self) -> Duration {
        self.timeout.0
    }
}

impl Default for Fetch {
    fn default() -> Self {
        Self {
            ports: vec![80, 443],
            timeout: Seconds(Duration::from_secs(20)),
            max_concurrent: 8,
            allow: Vec::new(),
        }
    }
}

/// `[limits]`, each for one address; 0 turns one off.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Requests a second that nginx lets through to the responder.
    pub requests_per_second: u32,
    /// Requests over that rate that nginx still lets through at once.
    pub burst: u32,
    /// Requests under way at once that nginx takes, those whose body still arrives among them.
    pub concurrent_requests: u32,
    /// Wrong tokens a minute for one client id; ten times as many wrong ids.
    pub failed_attempts_per_minute: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            requests_per_second: 10,
            burst: 40,
            concurrent_requests: 20,
            failed_attempts_per_minute: 10,
        }
    }
}

/// `[abuse]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Abuse {
    keep_addresses: Option<Seconds>,
}

impl Abuse {
    /// How long the address that an image was uploaded from is kept; `None` if it is not.
    pub fn keep_addresses(&self) -> Option<Duration> {
        self.keep_addresses.map(|length| length.0)
    }
}

/// A configuration that cannot be used; the text says where and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(String);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    site: Site,
    #[serde(default)]
    server: Server,
    #[serde(default)]
    storage: StorageTable,
    #[serde(default)]
    ledger: LedgerTable,
    #[serde(default)]
    images: Images,
    #[serde(default)]
    fetch: Fetch,
    #[serde(default)]
    limits: Limits,
    #[serde(default)]
    abuse: Abuse,
    plans: Option<BTreeMap<String, PlanTable>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Images {
    max_side: u32,
    max_megapixels: u32,
    scan_command: Vec<String>,
    scan_timeout: Seconds,
    scan_on_error: ScanOnError,
}

impl Default for Images {
    fn default() -> Self {
        let limits = image::Limits::default();
        Self {
            max_side: limits.max_side,
            max_megapixels: limits.max_megapixels,
            scan_command: Vec::new(),
            scan_timeout: Seconds(Duration::from_secs(20)),
            scan_on_error: ScanOnError::Refuse,
        }
    }
}

impl Config {
    /// Reads a configuration. `[plans]` as a whole may be left out for the three default plans; where it is given, only the
    /// plans it names exist, and a key that a table of a default plan's name leaves out keeps its default.
    pub fn from_toml(text: &str) -> Result<Self, Invalid> {
        let document: Document = toml::from_str(text)
            .map_err(|error| Invalid(error.to_string().trim_end().to_owned()))?;
        let config = Self {
            site: document.site,
            server: document.server,
            storage: document.storage.checked()?,
            ledger: document.ledger.checked()?,
            images: image::Limits {
                max_side: document.images.max_side,
                max_megapixels: document.images.max_megapixels,
                ..image::Limits::default()
            },
            scan: Scan {
                command: document.images.scan_command,
                timeout: document.images.scan_timeout,
                on_error: document.images.scan_on_error,
            },
            fetch: document.fetch,
            limits: document.limits,
            abuse: document.abuse,
            plans: plans_from(document.plans)?,
        };
        config.check()?;
        Ok(config)
    }

    /// The largest file any plan takes, in bytes.
    pub fn largest_file(&self) -> u64 {
        self.plans
            .values()
            .map(|plan| plan.max_file_size)
            .max()
            .unwrap_or(0)
    }

    /// The first plan by name, for what belongs to no plan that is known.
    pub fn first_plan(&self) -> &str {
        self.plans.keys().next().map_or("", String::as_str)
    }

    fn check(&self) -> Result<(), Invalid> {
        let name_length = self.storage.name_length;
        ensure(NAME_LENGTHS.contains(&name_length), || {
            format!("[storage] name_length = {name_length}: expected 6 to 32 characters")
        })?;
        let log = self.server.log.as_ref().map(|log| ("[server] log", log));
        let ledger = match self.ledger.postgres {
            None => Some(("[ledger] path", &self.ledger.path)),
            Some(_) => None,
        };
        let s3 = self.storage.s3.iter().flat_map(|s3| {
            [
                ("[storage] key_file", &s3.key_file),
                ("[storage] spool", &s3.spool),
            ]
        });
        let outside = ledger.into_iter().chain(log).chain(s3);
        let docroot = ("[storage] docroot", &self.storage.docroot);
        for (key, path) in outside.clone().chain([docroot]) {
            ensure(path.is_absolute(), || {
                format!(
                    "{key} = {:?}: expected an absolute path, starting with /",
                    path.display().to_string()
                )
            })?;
        }
        for (key, path) in outside {
            ensure(!path.starts_with(&self.storage.docroot), || {
                format!(
                    "{key} = {:?} lies inside [storage] docroot, where nginx might serve it: move one of them",
                    path.display().to_string()
                )
            })?;
        }
        for referer in &self.site.referers {
            let name = referer.strip_prefix("*.").unwrap_or(referer);
            let legal = |byte: u8| byte.is_ascii_alphanumeric() || b".-".contains(&byte);
            ensure(!name.is_empty() && name.bytes().all(legal), || {
                format!(
                    "[site] referers: {referer:?} is no host name: expected one such as \"example.com\" or \"*.example.com\", without \
                     https:// and path"
                )
            })?;
        }
        ensure((1..=65_536).contains(&self.server.max_connections), || {
            format!(
                "[server] max_connections = {}: expected 1 to 65536",
                self.server.max_connections
            )
        })?;
        ensure(
            self.images.max_side > 0 && self.images.max_megapixels > 0,
            || "[images] max_side and max_megapixels: expected 1 or more".to_owned(),
        )?;
        if let Some(program) = self.scan.command.first() {
            ensure(Path::new(program).is_absolute(), || {
                format!(
                    "[images] scan_command begins with {program:?}: expected a list of the program's absolute path and its arguments, such \
                     as [\"/usr/bin/clamdscan\", \"--no-summary\", \"-\"]"
                )
            })?;
        }
        ensure(self.fetch.max_concurrent > 0, || {
            "[fetch] max_concurrent = 0: expected 1 or more".to_owned()
        })
    }
}

fn ensure(holds: bool, message: impl FnOnce() -> String) -> Result<(), Invalid> {
    if holds {
        Ok(())
    } else {
        Err(Invalid(message()))
    }
}

#[cfg(test)]
mod tests;
