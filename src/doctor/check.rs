//! A check and its result.

/// The advice where files of nginx, cron or systemd are missing or outdated.
pub(super) const INSTALL: &str =
    "run `install.sh` again: it renders its files from config.toml, places them and reloads nginx";

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_verdict_counts() {
        let checks = [
            Check::ok("a", ""),
            Check::warn("b", "", ""),
            Check::skip("c", ""),
        ];
        assert_eq!(worst(&checks), Verdict::Warn);
        assert_eq!(worst(&[]), Verdict::Ok);
    }
}
