//! The calls below `/image/v2/`: which there are, and what every reply has in common.

pub(crate) mod identity;
pub(crate) mod own;
mod trace;

use std::io::Read;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use time::UtcDateTime;

use crate::auth::attempts::FailedAttempts;
use crate::config::Config;
use crate::error::{Error, Fault, Refusal};
use crate::fastcgi::params::Params;
use crate::fetch::Fetcher;
use crate::ledger::committer::Committer;
use crate::ledger::{Event, Ledger};
use crate::log::Line;
use crate::metrics::{self, Metrics, Present};
use crate::random;
use crate::response::Response;
use crate::store::Store;
use crate::store::path::ImagePath;
use crate::upload;
use crate::view::{self, Part};
use trace::Milliseconds;
pub(crate) use trace::{Stage, Trace};

/// The URL path of the API, without a slash at its end.
pub const ROOT: &str = "/image/v2";

const UPLOAD_METHODS: &str = "POST, OPTIONS";
pub(crate) const READ_METHODS: &str = "GET, HEAD, OPTIONS";

/// Everything that answers a request.
pub struct Api {
    pub(crate) config: Config,
    pub(crate) ledger: Arc<dyn Ledger>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) committer: Committer,
    pub(crate) fetcher: Fetcher,
    pub(crate) attempts: FailedAttempts,
    pub(crate) metrics: Metrics,
    pub(crate) clock: fn() -> UtcDateTime,
}

impl Api {
    /// Answers one request and logs it, unless it is a part of a page that nginx logs already.
    pub fn answer(&self, params: &Params, body: &mut dyn Read) -> Response {
        if let Some(part) = params.get(view::PART) {
            return self.part_of_viewer(part, params);
        }
        let began = Instant::now();
        let mut trace = Trace::default();
        let request_id = request_id(params);
        let outcome = self.route(params, body, &mut trace);
        trace.stages.end();
        let (error, cause) = match &outcome {
            Ok(_) => (None, None),
            Err(Error::Refusal(refusal @ Refusal::Malformed(rule))) => {
                (Some(refusal.message()), Some((*rule).to_owned()))
            }
            Err(Error::Refusal(refusal)) => (Some(refusal.message()), trace.cause.take()),
            Err(Error::Fault(fault)) => (Some(fault.message()), Some(fault.to_string())),
        };
        let response = outcome.unwrap_or_else(|error| Response::error(&error));
        let response = match trace.quota {
            Some(quota) => response.with_quota(quota),
            None => response,
        };
        let took = began.elapsed();
        self.count(&trace, error, took);
        let line = Line::new((self.clock)(), "request")
            .field("request", &request_id)
            .optional("address", address(params))
            .optional("client", trace.client)
            .optional("plan", trace.plan)
            .field("status", response.status())
            .optional("error", error)
            .optional("cause", cause)
            .optional("path", trace.path)
            .optional("bytes", trace.size);
        trace
            .stages
            .log(line)
            .field("ms", Milliseconds(took))
            .write();
        response.with("X-Request-Id", request_id)
    }

    fn route(
        &self,
        params: &Params,
        body: &mut dyn Read,
        trace: &mut Trace,
    ) -> Result<Response, Error> {
        let method = params.get("REQUEST_METHOD").unwrap_or_default();
        let call = call(params);
        if let Some(own) = own::Call::of(call) {
            return own::answer(self, &own, method, params, trace);
        }
        match (call, method) {
            (b"" | b"/", b"POST") => {
                trace.is_upload = true;
                upload::upload(self, params, body, trace).map(upload::Receipt::into_response)
            }
            (b"" | b"/", b"OPTIONS") => Ok(Response::preflight(UPLOAD_METHODS)),
            (b"" | b"/", _) => Err(Refusal::MethodNotAllowed {
                allow: UPLOAD_METHODS,
            }
            .into()),
            (b"/health", b"GET" | b"HEAD") => Ok(self.health()),
            // Others learn nothing, not even that there are metrics.
            (b"/metrics", _) if !is_among(&self.config.server.metrics_allow, params) => {
                Err(Refusal::NotFound.into())
            }
            (b"/metrics", b"GET" | b"HEAD") => Ok(self.metrics()),
            (b"/health" | b"/metrics", b"OPTIONS") => Ok(Response::preflight(READ_METHODS)),
            (b"/health" | b"/metrics", _) => Err(Refusal::MethodNotAllowed {
                allow: READ_METHODS,
            }
            .into()),
            _ => Err(Refusal::NotFound.into()),
        }
    }

    /// A part of the viewer page; empty when there is nothing to say, for which the page has words of its own.
    fn part_of_viewer(&self, part: &[u8], params: &Params) -> Response {
        let path = params.get(view::IMAGE).and_then(|path| {
            let path = str::from_utf8(path).ok()?;
            path.parse::<ImagePath>().ok()
        });
        let image = path.and_then(|path| self.ledger.image(&path).ok().flatten());
        let html = image
            .zip(Part::named(part))
            .map(|(image, part)| part.html(&image, (self.clock)()));
        Response::text(view::MEDIA_TYPE, html.unwrap_or_default())
    }

    fn metrics(&self) -> Response {
        let present = Present {
            free_bytes: self.store.free_bytes().ok(),
            free_files: self.store.free_files().ok().flatten(),
            last_sweep: self.ledger.noted_time(Event::Swept).ok().flatten(),
            swept: self.ledger.swept().ok(),
        };
        Response::text(metrics::MEDIA_TYPE, self.metrics.encode(present))
    }

    fn count(&self, trace: &Trace, error: Option<&'static str>, took: Duration) {
        if trace.is_upload {
            let plan = trace.plan.as_deref().unwrap_or_default();
            let result = error.unwrap_or(metrics::STORED);
            self.metrics.count_upload(plan, result, trace.size, took);
            for (stage, took) in trace.stages.taken() {
                self.metrics.observe_stage(stage, took);
            }
        }
    }

    /// Whether uploads can be taken: the ledger answers, the docroot can be written and has `min_free` bytes left.
    fn health(&self) -> Response {
        let last_sweep = self.ledger.noted_time(Event::Swept);
        let writable = self.store.spool().is_ok();
        let space = self.check_free_space().is_ok();
        let verdict = |good: bool| if good { "ok" } else { "failed" };
        let good = last_sweep.is_ok() && writable && space;
        let last_sweep = last_sweep.clone().ok().flatten().and_then(rfc3339);
        Response::json(
            if good { 200 } else { 503 },
            json!({
                "status": verdict(good),
                "ledger": verdict(self.ledger.noted_time(Event::Created).is_ok()),
                "docroot": verdict(writable),
                "free_space": verdict(space),
                "last_sweep": last_sweep.map_or(Value::Null, Value::from),
            }),
        )
    }

    /// Refuses to take more bytes while the docroot's file system has fewer than `min_free` left.
    pub(crate) fn check_free_space(&self) -> Result<(), Fault> {
        let free = self.store.free_bytes().map_err(Fault::saving)?;
        if free < self.config.storage.min_free() {
            Err(Fault::InsufficientStorage { free })
        } else {
            Ok(())
        }
    }
}

fn rfc3339(seconds: i64) -> Option<String> {
    let instant = UtcDateTime::from_unix_timestamp(seconds).ok()?;
    instant
        .format(&time::format_description::well_known::Rfc3339)
        .ok()
}

/// The call: the path below `/image/v2`. nginx passes the decoded path as `DOCUMENT_URI`; a CGI host that maps a program to a path
/// of its own passes what follows that path as `PATH_INFO`.
fn call(params: &Params) -> &[u8] {
    ["DOCUMENT_URI", "REQUEST_URI", "SCRIPT_NAME"]
        .into_iter()
        .filter_map(|name| params.get(name))
        .find_map(|uri| {
            let path = uri.split(|&byte| byte == b'?').next().unwrap_or_default();
            let below = path.strip_prefix(ROOT.as_bytes())?;
            (below.is_empty() || below.starts_with(b"/")).then_some(below)
        })
        .or_else(|| params.get("PATH_INFO"))
        .unwrap_or_default()
}

/// The address that nginx saw; absent where the web server passes none.
pub(crate) fn address(params: &Params) -> Option<IpAddr> {
    str::from_utf8(params.get("REMOTE_ADDR")?)
        .ok()?
        .parse()
        .ok()
}

/// Whether the request comes from one of these addresses. An IPv4 address may come in IPv6 clothes, from a socket for both.
fn is_among(allowed: &[IpAddr], params: &Params) -> bool {
    address(params).is_some_and(|address| allowed.contains(&address.to_canonical()))
}

/// The id that nginx gave the request, or a random one.
pub(crate) fn request_id(params: &Params) -> String {
    let legal =
        |id: &&[u8]| (8..=64).contains(&id.len()) && id.iter().all(u8::is_ascii_alphanumeric);
    if let Some(id) = params.get("REQUEST_ID").filter(legal) {
        return String::from_utf8_lossy(id).into_owned();
    }
    let mut bytes = [0; 16];
    // An id that is not random is better than no reply.
    let _ = random::fill(&mut bytes);
    format!("{:032x}", u128::from_be_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(pairs: &[(&str, &str)]) -> Params {
        Params::from_pairs(pairs.iter().copied()).expect("valid")
    }

    #[test]
    fn the_call_is_what_follows_the_root() {
        type Case = (&'static [(&'static str, &'static str)], &'static [u8]);
        let cases: [Case; 8] = [
            (&[("DOCUMENT_URI", "/image/v2")], b""),
            (&[("DOCUMENT_URI", "/image/v2/")], b"/"),
            (
                &[
                    ("DOCUMENT_URI", "/image/v2/health"),
                    ("REQUEST_URI", "/image/v2/health?x"),
                ],
                b"/health",
            ),
            (&[("REQUEST_URI", "/image/v2/?a=/image/v2/health")], b"/"),
            (
                &[
                    ("REQUEST_URI", "/image/v2/health?x=1"),
                    ("SCRIPT_NAME", "/cgi-bin/cdn"),
                ],
                b"/health",
            ),
            (
                &[
                    ("REQUEST_URI", "/cgi-bin/cdn/health"),
                    ("PATH_INFO", "/health"),
                ],
                b"/health",
            ),
            (
                &[
                    ("REQUEST_URI", "/cgi-bin/cdn"),
                    ("SCRIPT_NAME", "/cgi-bin/cdn"),
                ],
                b"",
            ),
            (
                &[("DOCUMENT_URI", "/image/v22/"), ("PATH_INFO", "/x")],
                b"/x",
            ),
        ];
        for (pairs, expected) in cases {
            assert_eq!(call(&params(pairs)), expected, "{pairs:?}");
        }
    }

    #[test]
    fn an_address_that_is_not_known_is_not_among_the_allowed() {
        let allowed = ["127.0.0.1", "2001:db8::1"].map(|text| text.parse().expect("an address"));
        for yes in ["127.0.0.1", "::ffff:127.0.0.1", "2001:db8::1"] {
            assert!(
                is_among(&allowed, &params(&[("REMOTE_ADDR", yes)])),
                "{yes}"
            );
        }
        for no in [
            "127.0.0.2",
            "::1",
            "2001:db8::2",
            "",
            "unix:",
            "127.0.0.1, 1.2.3.4",
        ] {
            assert!(!is_among(&allowed, &params(&[("REMOTE_ADDR", no)])), "{no}");
        }
        assert!(!is_among(
            &allowed,
            &params(&[("HTTP_X_FORWARDED_FOR", "127.0.0.1")])
        ));
        assert!(!is_among(&[], &params(&[("REMOTE_ADDR", "127.0.0.1")])));
    }

    #[test]
    fn a_request_id_of_a_stranger_is_not_echoed() {
        assert_eq!(
            request_id(&params(&[("REQUEST_ID", "0123456789abcdef")])),
            "0123456789abcdef"
        );
        for wrong in [
            "",
            "short",
            "0123456789abcdef\r\nX: y",
            "<script>alert(1)</script>",
        ] {
            let id = request_id(&params(&[("REQUEST_ID", wrong)]));
            assert!(
                id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()),
                "{wrong:?} gave {id:?}"
            );
        }
    }
}
