//! The calls below `/image/v2/`: routing, and what every reply has in common.

mod own;

use std::io::Read;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::app::App;
use crate::error::{Error, Refusal};
use crate::fastcgi::params::Params;
use crate::log::{Line, Milliseconds};
use crate::metrics::{self, Snapshot};
use crate::response::Response;
use crate::routes::Call;
use crate::trace::{Trace, request_id};
use crate::upload;
use crate::view;

/// Answers one request and logs it. Requests for the viewer are not logged: nginx logs the page.
pub(crate) fn answer(app: &App, params: &Params, body: &mut dyn Read) -> Response {
    if let Some(response) = view::reply(app, params) {
        return response;
    }
    let began = Instant::now();
    let mut trace = Trace::default();
    let request_id = request_id(params);
    let outcome = route(app, params, body, &mut trace);
    trace.stages.end();
    let (error, cause) = match &outcome {
        Ok(_) => (None, None),
        Err(Error::Refusal(refusal)) => {
            let cause = refusal.cause().or_else(|| trace.cause.take());
            (Some(refusal.message()), cause)
        }
        Err(Error::Fault(fault)) => (Some(fault.message()), Some(fault.to_string())),
    };
    let response = outcome.unwrap_or_else(|error| Response::error(&error));
    let response = match trace.quota {
        Some(quota) => response.with_quota(quota),
        None => response,
    };
    let took = began.elapsed();
    count(app, &trace, error, took);
    let line = Line::new((app.clock)(), "request")
        .field("request", &request_id)
        .optional("address", params.remote_addr())
        .optional("client", trace.client)
        .optional("plan", trace.plan)
        .field("status", response.status())
        .optional("error", error)
        .optional("cause", cause)
        .optional("repeated", trace.is_repeated.then_some(true))
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
    app: &App,
    params: &Params,
    body: &mut dyn Read,
    trace: &mut Trace,
) -> Result<Response, Error> {
    let call = Call::of(params)
        // Other addresses get 404, as for an unknown path.
        .filter(|call| *call != Call::Metrics || may_read_metrics(app, params))
        .ok_or(Refusal::NotFound)?;
    match (params.get("REQUEST_METHOD").unwrap_or_default(), call) {
        (b"OPTIONS", call) => Ok(Response::preflight(call.methods())),
        (b"POST", Call::Upload) => {
            trace.is_upload = true;
            upload::upload(app, params, body, trace).map(upload::Receipt::into_response)
        }
        (b"GET" | b"HEAD", Call::Health) => Ok(health(app, params)),
        (b"GET" | b"HEAD", Call::Metrics) => Ok(metrics(app)),
        (b"GET" | b"HEAD", Call::Usage) => own::usage(app, params, trace),
        (b"GET" | b"HEAD", Call::Images) => own::images(app, params, trace),
        (b"GET" | b"HEAD", Call::Image(path)) => own::show(app, &path, params, trace),
        (b"DELETE", Call::Image(path)) => own::delete(app, &path, params, trace),
        (_, call) => Err(Refusal::MethodNotAllowed {
            allow: call.methods(),
        }
        .into()),
    }
}

fn metrics(app: &App) -> Response {
    let snapshot = Snapshot {
        space: app.store.space().ok(),
        status: app.ledger.status().ok(),
        takedowns: app.ledger.takedown_counts().ok(),
        log: app.committer.log_status(),
    };
    Response::text(metrics::MEDIA_TYPE, app.metrics.encode(snapshot))
}

fn count(app: &App, trace: &Trace, error: Option<&'static str>, took: Duration) {
    if trace.is_upload {
        let plan = trace.plan.as_deref().unwrap_or_default();
        let result = error.unwrap_or(if trace.is_repeated {
            metrics::REPEATED
        } else {
            metrics::STORED
        });
        app.metrics.count_upload(plan, result, trace.size, took);
        for (stage, took) in trace.stages.taken() {
            app.metrics.observe_stage(stage, took);
        }
    }
}

/// Whether uploads can be stored: the ledger answers, a bucket answers, the docroot or the spool is writable and has `min_free` bytes
/// left. `client_address` is `proxy` where the request came through a proxy whose address nginx takes for the client's, which `doctor`
/// warns of.
fn health(app: &App, params: &Params) -> Response {
    let ledger = app.ledger.status();
    let reached = app.store.check_reachable();
    let space = app.store.space();
    let has_space = space
        .as_ref()
        .is_ok_and(|space| app.has_free_space(*space).is_ok());
    let verdict = |good: bool| if good { "ok" } else { "failed" };
    let is_healthy = ledger.is_ok() && reached.is_ok() && has_space;
    let kind = match app.config.storage.s3 {
        Some(_) => "bucket",
        None => "docroot",
    };
    let last_sweep = ledger.as_ref().ok().and_then(|status| status.last_sweep);
    Response::json(
        if is_healthy { 200 } else { 503 },
        json!({
            "status": verdict(is_healthy),
            "ledger": verdict(ledger.is_ok()),
            kind: verdict(reached.is_ok() && space.is_ok()),
            "free_space": verdict(has_space),
            "last_sweep": last_sweep.map(|at| at.to_string()),
            "client_address": if is_address_of_proxy(params) { "proxy" } else { "ok" },
        }),
    )
}

/// Whether the address of the request is that of a proxy in front: nginx's realip module, which would replace it by one of those that
/// the proxies report, is not set up.
fn is_address_of_proxy(params: &Params) -> bool {
    let reported = |address| params.forwarded_for().any(|other| other == address);
    params.is_forwarded() && !params.remote_addr().is_some_and(reported)
}

/// Behind a proxy on this host, every visitor may come from 127.0.0.1. So a request that was passed on is only allowed if the nearest
/// proxy reports the same address, which nothing that the visitor sends can make it do.
fn may_read_metrics(app: &App, params: &Params) -> bool {
    let is_own_address =
        !params.is_forwarded() || params.forwarded_for().next_back() == params.remote_addr();
    is_own_address && is_among(&app.config.server.metrics_allow, params)
}

/// Whether the client's address is in the list. IPv4-mapped IPv6 addresses, which a dual-stack socket reports, are canonicalized.
fn is_among(allowed: &[IpAddr], params: &Params) -> bool {
    params
        .remote_addr()
        .is_some_and(|address| allowed.contains(&address.to_canonical()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(pairs: &[(&str, &str)]) -> Params {
        Params::from_pairs(pairs.iter().copied()).expect("valid")
    }

    #[test]
    fn an_address_is_a_proxys_unless_a_proxy_reported_it() {
        for (address, forwarded_for, via, is_proxys) in [
            ("192.0.2.1", "", "", false),
            ("192.0.2.1", "198.51.100.7", "", true),
            ("127.0.0.1", "", "1.1 cache", true),
            ("127.0.0.1", "unknown", "", true),
            // Replaced by nginx's realip module, behind one proxy and behind two.
            ("198.51.100.7", "198.51.100.7", "1.1 cache", false),
            ("198.51.100.7", "198.51.100.7, 203.0.113.5", "", false),
            ("2001:db8::1", "2001:DB8:0::1", "", false),
        ] {
            let params = params(&[
                ("REMOTE_ADDR", address),
                ("HTTP_X_FORWARDED_FOR", forwarded_for),
                ("HTTP_VIA", via),
            ]);
            assert_eq!(is_address_of_proxy(&params), is_proxys, "{params:?}");
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
}
