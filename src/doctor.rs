//! Checks an installation: what works, what does not, and what to do next.
//!
//! Each submodule checks one subject. The checks change nothing on the host. They open nothing that could block: a file is opened only
//! if it is a regular file, and every connection has a time limit.

mod access;
mod certificate;
mod dns;
mod docroot;
mod file_systems;
mod ledger;
mod nginx;
mod responder;
mod settings;
mod sweep;
mod website;
mod workers;

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use time::UtcDateTime;

use crate::config::Config;
use crate::timestamp::Timestamp;
use access::Account;

pub(crate) use nginx::{NginxOptions, version_check as nginx_version};

/// The advice where files of nginx, cron or systemd are missing or outdated.
const INSTALL: &str =
    "run `install.sh` again: it renders its files from config.toml, places them and reloads nginx";

/// The largest file that a check reads, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// The result of a check, from good to bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
    /// Works.
    Ok,
    /// Could not be checked.
    Skip,
    /// Works, but is likely to fail or to do harm.
    Warn,
    /// Does not work.
    Fail,
}

impl Verdict {
    /// The verdict in the output, `ok` to `fail`.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Skip => "skip",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// One check and its result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Check {
    /// The name, which scripts may rely on.
    pub(crate) name: &'static str,
    /// The result.
    pub(crate) verdict: Verdict,
    /// What was found.
    pub(crate) message: String,
    /// What to do next; for warnings and failures.
    pub(crate) advice: Option<String>,
}

impl Check {
    pub(crate) fn ok(name: &'static str, message: impl Into<String>) -> Self {
        Self::new(name, Verdict::Ok, message.into(), None)
    }

    /// `message` says why it could not be checked.
    pub(crate) fn skip(name: &'static str, message: impl Into<String>) -> Self {
        Self::new(name, Verdict::Skip, message.into(), None)
    }

    pub(crate) fn warn(
        name: &'static str,
        message: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self::new(name, Verdict::Warn, message.into(), Some(advice.into()))
    }

    pub(crate) fn fail(
        name: &'static str,
        message: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self::new(name, Verdict::Fail, message.into(), Some(advice.into()))
    }

    const fn new(
        name: &'static str,
        verdict: Verdict,
        message: String,
        advice: Option<String>,
    ) -> Self {
        Self {
            name,
            verdict,
            message,
            advice,
        }
    }
}

/// The worst verdict; [`Verdict::Ok`] without checks.
pub(crate) fn worst(checks: &[Check]) -> Verdict {
    let verdicts = checks.iter().map(|check| check.verdict);
    verdicts.max().unwrap_or(Verdict::Ok)
}

/// The installation that is checked.
struct Installation {
    config: Config,
    /// Absolute.
    config_file: PathBuf,
    now: Timestamp,
    /// The account doctor runs as.
    account: Account,
    /// The account that responder and sweep run as; `None` if its files cannot be seen.
    service: Option<Account>,
}

impl Installation {
    /// Added to the message of a skipped check that root could make.
    fn as_root(&self) -> &'static str {
        if self.account.is_root() {
            ""
        } else {
            "; run doctor as root to check it"
        }
    }
}

/// Runs all checks. `progress` is called with the subject of the next ones.
pub(crate) fn check(
    config: Config,
    config_file: &Path,
    nginx: &NginxOptions,
    progress: impl Fn(&str),
) -> Vec<Check> {
    let installation = Installation {
        service: ledger::service_account(&config),
        config,
        config_file: absolute(config_file),
        now: UtcDateTime::now().into(),
        account: Account::current(),
    };
    let mut checks = settings::checks(&installation);
    progress("nginx");
    checks.extend(nginx::checks(&installation, nginx));
    progress("files");
    checks.push(docroot::check(&installation));
    checks.extend(file_systems::checks(&installation.config));
    progress("ledger");
    let (ledger, events) = ledger::checks(&installation);
    checks.extend(ledger);
    checks.extend(ledger::identity(&installation));
    checks.extend(sweep::checks(&installation, events.as_ref()));
    progress("public URL");
    checks.extend(website::checks(&installation.config));
    checks
}

/// Reads a regular file of at most 1 MiB. Anything else is refused without being opened: opening a FIFO blocks, and opening a device may
/// act on it. `O_NONBLOCK` covers a FIFO that replaces the file after it was looked at.
fn read_file(path: &Path) -> io::Result<String> {
    let regular = |metadata: &fs::Metadata| {
        let error = || io::Error::new(io::ErrorKind::InvalidInput, "not a regular file");
        metadata.is_file().then_some(()).ok_or_else(error)
    };
    regular(&fs::metadata(path)?)?;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    regular(&file.metadata()?)?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests;
