//! What visitors of the site get: two questions over its public URL.
//!
//! Not by the guarded agent of `image_url`: this URL is the operator's own, and may well lead to a private address.

use std::io::Read;
use std::time::Duration;

use ureq::Agent;
use ureq::config::Config;

use crate::doctor::facts::{Answer, Public, Seen};
use crate::routes::ROOT;

/// How long one reply may take in all.
const PATIENCE: Duration = Duration::from_secs(5);

/// As much of a body as is looked at, in bytes.
const ENOUGH: u64 = 16 << 10;

pub(super) fn look(public_url: &str) -> Public {
    let agent = Agent::new_with_config(
        Config::builder()
            .proxy(None)
            .max_redirects(0)
            .http_status_as_error(false)
            .timeout_global(Some(PATIENCE))
            .user_agent(concat!("corenexis-cdn-doctor/", env!("CARGO_PKG_VERSION")))
            .build(),
    );
    Public {
        health: ask(&agent, &format!("{public_url}{ROOT}/health")),
        missing_image: ask(&agent, &format!("{public_url}/p/d/ja1/doctor.png")),
    }
}

fn ask(agent: &Agent, url: &str) -> Seen<Answer> {
    let mut reply = agent.get(url).call().map_err(|error| error.to_string())?;
    let mut body = Vec::new();
    // Where it breaks off, its beginning is enough.
    let _ = reply
        .body_mut()
        .as_reader()
        .take(ENOUGH)
        .read_to_end(&mut body);
    let location = reply.headers().get("location");
    Ok(Answer {
        status: reply.status().as_u16(),
        location: location.and_then(|location| Some(location.to_str().ok()?.to_owned())),
        body: String::from_utf8_lossy(&body).into_owned(),
    })
}
