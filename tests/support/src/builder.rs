//! The settings of a site before it starts, and the credentials of its clients.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::clock::Clock;
use crate::site::Site;

/// The credentials of an API client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// `client_id`.
    pub id: String,
    /// `client_token`.
    pub token: String,
}

impl Client {
    /// Parses the output of `client add` and `client rotate`.
    pub fn printed(output: &str) -> Self {
        let value = |key: &str| {
            let line = output.lines().find_map(|line| line.strip_prefix(key));
            line.unwrap_or_else(|| panic!("no {key} in {output}"))
                .to_owned()
        };
        Self {
            id: value("client_id="),
            token: value("client_token="),
        }
    }
}

/// How the responder is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Launch {
    /// It opens the socket named in its configuration.
    Plain,
    /// The same, with this limit on open descriptors.
    Descriptors(u32),
    /// With the listening socket as descriptor 0, as spawn-fcgi does.
    StandardInput,
    /// With the listening socket as descriptor 3 and `LISTEN_FDS`, as systemd does.
    SocketActivation,
    /// In namespaces of its own: options of unshare(1), and a shell script that runs there before the responder starts.
    Unshared(&'static [&'static str], &'static str),
    /// No responder.
    Absent,
}

/// The settings that a site starts with.
#[derive(Debug)]
#[must_use]
pub struct SiteBuilder {
    pub(crate) sections: BTreeMap<String, String>,
    pub(crate) nginx: String,
    pub(crate) launch: Launch,
    pub(crate) tcp: bool,
    pub(crate) log_file: bool,
    pub(crate) clock: Option<String>,
    pub(crate) environment: Vec<(&'static str, OsString)>,
    pub(crate) names: Option<PathBuf>,
    pub(crate) docroot: Option<PathBuf>,
    pub(crate) ledger: Option<PathBuf>,
    pub(crate) clients: BTreeMap<&'static str, Client>,
    pub(crate) expected: Vec<&'static str>,
}

impl SiteBuilder {
    /// Adds lines to a section of config.toml.
    pub fn set(mut self, section: &str, lines: &str) -> Self {
        let text = self.sections.entry(section.to_owned()).or_default();
        text.push_str(lines);
        text.push('\n');
        self
    }

    /// Adds directives to nginx's http block.
    pub fn nginx(mut self, directives: &str) -> Self {
        self.nginx.push_str(directives);
        self
    }

    /// How the responder is started.
    pub fn launch(mut self, launch: Launch) -> Self {
        self.launch = launch;
        self
    }

    /// nginx reaches the responder over TCP.
    pub fn tcp(mut self) -> Self {
        self.tcp = true;
        self
    }

    /// The responder logs to a file with `--log-file`.
    pub fn log_file(mut self) -> Self {
        self.log_file = true;
        self
    }

    /// The responder's clock starts at this instant, UTC. Needs libfaketime: see [`crate::machine::faketime_multithreaded`].
    pub fn clock(mut self, instant: &str) -> Self {
        self.clock = Some(instant.to_owned());
        self
    }

    /// The responder's clock is one that the test turns.
    pub fn clock_of(self, clock: &Clock) -> Self {
        self.variable("LD_PRELOAD", &clock.library)
            .variable("FAKETIME_TIMESTAMP_FILE", clock.file())
            .variable("FAKETIME_NO_CACHE", "1")
            .variable("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .variable("NO_FAKE_STAT", "1")
    }

    /// The responder gets this environment variable.
    pub fn variable(mut self, name: &'static str, value: impl Into<OsString>) -> Self {
        self.environment.push((name, value.into()));
        self
    }

    /// Every program of the site finds host names by the resolver files in `directory`; see
    /// [`NameServer::write`](crate::dns::NameServer::write).
    pub fn names(mut self, directory: &Path) -> Self {
        self.names = Some(directory.to_owned());
        self
    }

    /// The docroot is this existing directory.
    pub fn docroot(mut self, directory: &Path) -> Self {
        self.docroot = Some(directory.to_owned());
        self
    }

    /// The ledger is in this existing directory.
    pub fn ledger(mut self, directory: &Path) -> Self {
        self.ledger = Some(directory.to_owned());
        self
    }

    /// The site is another host of `other`: it has the same docroot and the same clients. The ledger is set as the other's was.
    pub fn beside(mut self, other: &Site) -> Self {
        self.docroot = Some(other.docroot());
        self.clients_of(other)
    }

    /// The site has the clients of `other`, whose ledger it shares.
    pub fn clients_of(mut self, other: &Site) -> Self {
        self.clients = other.clients().clone();
        self
    }

    /// The test provokes lines of nginx's error log that contain this text.
    pub fn expect(mut self, text: &'static str) -> Self {
        self.expected.push(text);
        self
    }

    /// Starts the site.
    pub fn start(self) -> Site {
        Site::start_as(self)
    }
}
