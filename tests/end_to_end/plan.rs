//! What a site is to be like before it starts, and who may upload to it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::site::Site;

/// A client's credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Client {
    pub(crate) id: String,
    pub(crate) token: String,
}

impl Client {
    /// Reads what `client add` and `client rotate` print.
    pub(crate) fn printed(output: &str) -> Self {
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
pub(crate) enum Launch {
    /// By itself: it opens the socket of its configuration.
    Plain,
    /// So, with so many descriptors.
    Descriptors(u32),
    /// With the listening socket as descriptor 0, as spawn-fcgi does.
    StandardInput,
    /// With the listening socket as descriptor 3 and `LISTEN_FDS`, as systemd does.
    SocketActivation,
    /// In namespaces of its own: these options of unshare(1), and what its shell does there before the responder starts.
    Unshared(&'static [&'static str], &'static str),
    /// Not at all.
    Absent,
}

/// What a site is made with.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) sections: BTreeMap<String, String>,
    pub(crate) nginx: String,
    pub(crate) launch: Launch,
    pub(crate) tcp: bool,
    pub(crate) log_file: bool,
    pub(crate) clock: Option<String>,
    pub(crate) environment: Vec<(&'static str, OsString)>,
    pub(crate) docroot: Option<PathBuf>,
    pub(crate) ledger: Option<PathBuf>,
    pub(crate) expected: Vec<&'static str>,
}

impl Plan {
    /// Adds lines to a section of config.toml.
    pub(crate) fn set(mut self, section: &str, lines: &str) -> Self {
        let text = self.sections.entry(section.to_owned()).or_default();
        text.push_str(lines);
        text.push('\n');
        self
    }

    /// Adds directives to nginx's http block.
    pub(crate) fn nginx(mut self, directives: &str) -> Self {
        self.nginx.push_str(directives);
        self
    }

    pub(crate) fn launch(mut self, launch: Launch) -> Self {
        self.launch = launch;
        self
    }

    /// nginx reaches the responder over TCP.
    pub(crate) fn tcp(mut self) -> Self {
        self.tcp = true;
        self
    }

    /// The responder writes its log to a file by its name.
    pub(crate) fn log_file(mut self) -> Self {
        self.log_file = true;
        self
    }

    /// The responder's clock starts at this instant, UTC. Only where [`faketime`] is installed.
    pub(crate) fn clock(mut self, instant: &str) -> Self {
        self.clock = Some(instant.to_owned());
        self
    }

    /// The responder is started with this variable.
    pub(crate) fn variable(mut self, name: &'static str, value: impl Into<OsString>) -> Self {
        self.environment.push((name, value.into()));
        self
    }

    /// The docroot lies here, in a directory that there is.
    #[allow(dead_code, reason = "the fault tests use it")]
    pub(crate) fn docroot(mut self, directory: &Path) -> Self {
        self.docroot = Some(directory.to_owned());
        self
    }

    /// The ledger lies in this directory.
    #[allow(dead_code, reason = "the fault tests use it")]
    pub(crate) fn ledger(mut self, directory: &Path) -> Self {
        self.ledger = Some(directory.to_owned());
        self
    }

    /// Lines of nginx's log with this text are provoked by the test.
    pub(crate) fn expect(mut self, text: &'static str) -> Self {
        self.expected.push(text);
        self
    }

    pub(crate) fn start(self) -> Site {
        Site::start_as(self)
    }
}
