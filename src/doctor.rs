//! Whether an installation works, and what to do next where it does not.
//!
//! [`gather`] looks and judges nothing; [`findings`] judges what was seen and looks at nothing, so every judgement is tested without a
//! host that has the fault.

pub mod access;
pub mod facts;
pub mod findings;
pub mod gather;
pub mod mounts;
pub mod nginx;
pub mod web;

/// How one check ended, from good to bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It could not be looked at.
    Skip,
    /// It works, and will make trouble.
    Warn,
    /// It does not work.
    Fail,
}

impl Verdict {
    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Skip => "skip",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// What one check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The check, a word or two that stay the same.
    pub check: &'static str,
    /// How it ended.
    pub verdict: Verdict,
    /// What was found.
    pub message: String,
    /// What to do next.
    pub advice: Option<String>,
}

impl Finding {
    /// All is well.
    pub fn ok(check: &'static str, message: impl Into<String>) -> Self {
        Self::new(check, Verdict::Ok, message.into(), None)
    }

    /// It could not be looked at, and why.
    pub fn skip(check: &'static str, message: impl Into<String>) -> Self {
        Self::new(check, Verdict::Skip, message.into(), None)
    }

    /// It works, and what to do before it does not.
    pub fn warn(
        check: &'static str,
        message: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self::new(check, Verdict::Warn, message.into(), Some(advice.into()))
    }

    /// It does not work, and what to do.
    pub fn fail(
        check: &'static str,
        message: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self::new(check, Verdict::Fail, message.into(), Some(advice.into()))
    }

    /// The same with something to know about it.
    #[must_use]
    pub fn noting(mut self, note: impl Into<String>) -> Self {
        self.advice = Some(note.into());
        self
    }

    const fn new(
        check: &'static str,
        verdict: Verdict,
        message: String,
        advice: Option<String>,
    ) -> Self {
        Self {
            check,
            verdict,
            message,
            advice,
        }
    }
}

/// The worst verdict; good if there is no finding.
pub fn worst(findings: &[Finding]) -> Verdict {
    findings
        .iter()
        .map(|finding| finding.verdict)
        .max()
        .unwrap_or(Verdict::Ok)
}
