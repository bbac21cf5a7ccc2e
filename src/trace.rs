//! What a request records on its way: for the reply's headers, the log line and the metrics.

use std::time::{Duration, Instant};

use crate::fastcgi::params::Params;
use crate::log::{Line, Milliseconds};
use crate::quota::Quota;
use crate::random;

/// The id that nginx gave the request; a random one where there is none, or none that is safe to echo.
pub(crate) fn request_id(params: &Params) -> String {
    let legal =
        |id: &&[u8]| (8..=64).contains(&id.len()) && id.iter().all(u8::is_ascii_alphanumeric);
    if let Some(id) = params.get("REQUEST_ID").filter(legal) {
        return String::from_utf8_lossy(id).into_owned();
    }
    let mut bytes = [0; 16];
    // The request is answered even if the system has no random numbers; its id is then all zeros.
    let _ = random::fill(&mut bytes);
    base16ct::lower::encode_string(&bytes)
}

/// A part of an upload whose time is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Reading the form, inspecting its file and writing it to the spool.
    Form,
    /// Looking up the client, and judging what it asks for.
    Auth,
    /// Downloading `image_url`, inspecting it and writing it to the spool.
    Fetch,
    /// Making row and file durable.
    Commit,
}

impl Stage {
    pub(crate) const ALL: [Self; 4] = [Self::Form, Self::Auth, Self::Fetch, Self::Commit];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Form => "form",
            Self::Auth => "auth",
            Self::Fetch => "fetch",
            Self::Commit => "commit",
        }
    }
}

impl Stage {
    /// What the log calls its time.
    const fn field(self) -> &'static str {
        match self {
            Self::Form => "form_ms",
            Self::Auth => "auth_ms",
            Self::Fetch => "fetch_ms",
            Self::Commit => "commit_ms",
        }
    }
}

/// How long each stage took. The one that was entered last goes on until the next, or the end of the request.
#[derive(Debug, Default)]
pub(crate) struct Stages {
    taken: [Option<Duration>; Stage::ALL.len()],
    current: Option<(Stage, Instant)>,
}

impl Stages {
    /// Begins a stage, which may have been begun before.
    pub(crate) fn enter(&mut self, stage: Stage) {
        self.enter_at(stage, Instant::now());
    }

    fn enter_at(&mut self, stage: Stage, now: Instant) {
        self.end_at(now);
        self.current = Some((stage, now));
    }

    /// Ends the last one.
    pub(crate) fn end(&mut self) {
        self.end_at(Instant::now());
    }

    fn end_at(&mut self, now: Instant) {
        if let Some((stage, since)) = self.current.take() {
            let taken = self.taken[stage as usize].get_or_insert_default();
            *taken += now.saturating_duration_since(since);
        }
    }

    /// The stages that were entered, in their order.
    pub(crate) fn taken(&self) -> impl Iterator<Item = (Stage, Duration)> {
        Stage::ALL
            .into_iter()
            .zip(self.taken)
            .filter_map(|(stage, taken)| Some((stage, taken?)))
    }

    /// Adds a field for each stage.
    pub(crate) fn log(&self, line: Line) -> Line {
        self.taken().fold(line, |line, (stage, taken)| {
            line.field(stage.field(), Milliseconds(taken))
        })
    }
}

/// What a request records on its way.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    /// Whether this is an upload, whatever becomes of it.
    pub(crate) is_upload: bool,
    /// The id of the client, once the ledger knows it.
    pub(crate) client: Option<String>,
    /// The name of its plan, once it is authenticated.
    pub(crate) plan: Option<String>,
    /// The client's quota, once it is authenticated.
    pub(crate) quota: Option<Quota>,
    /// The image that was stored.
    pub(crate) path: Option<String>,
    /// Whether it was stored by an earlier upload with the same key.
    pub(crate) is_repeated: bool,
    /// Its size in bytes.
    pub(crate) size: Option<u64>,
    /// Why a request was refused, where the reply does not say.
    pub(crate) cause: Option<String>,
    /// Where the time went.
    pub(crate) stages: Stages,
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::utc_datetime;

    fn params(request_id: &str) -> Params {
        Params::from_pairs([("REQUEST_ID", request_id)]).expect("valid")
    }

    #[test]
    fn a_request_id_of_a_stranger_is_not_echoed() {
        assert_eq!(request_id(&params("0123456789abcdef")), "0123456789abcdef");
        for wrong in [
            "",
            "short",
            "0123456789abcdef\r\nX: y",
            "<script>alert(1)</script>",
        ] {
            let id = request_id(&params(wrong));
            assert!(
                id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()),
                "{wrong:?} gave {id:?}"
            );
        }
    }

    #[test]
    fn a_stage_lasts_until_the_next() {
        let mut stages = Stages::default();
        let began = Instant::now();
        let after = |milliseconds| began + Duration::from_millis(milliseconds);
        stages.enter_at(Stage::Form, after(0));
        stages.enter_at(Stage::Auth, after(10));
        stages.enter_at(Stage::Form, after(12));
        stages.enter_at(Stage::Commit, after(30));
        stages.end_at(after(35));
        stages.end_at(after(99));
        let taken: Vec<_> = stages
            .taken()
            .map(|(stage, taken)| (stage, taken.as_millis()))
            .collect();
        assert_eq!(
            taken,
            [(Stage::Form, 28), (Stage::Auth, 2), (Stage::Commit, 5)]
        );
        let line = stages.log(Line::new(utc_datetime!(2026-04-05 12:00), "request"));
        assert!(
            format!("{line:?}").contains("form_ms=28.0 auth_ms=2.0 commit_ms=5.0"),
            "{line:?}"
        );
    }
}
