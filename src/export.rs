//! What other programs read about this service: a description of the API, and settings of programs that people upload with.
//!
//! Everything is made from the configuration, so that host, plans and limits never drift from what the responder does.

pub(crate) mod clients;
pub(crate) mod contact;
pub(crate) mod errors;
pub(crate) mod openapi;
pub(crate) mod postman;

use crate::config::Config;
use crate::plan::{Plan, StoreDuration};
use crate::routes::ROOT;

/// Who uploads, and for how long images are kept unless the program is told otherwise.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sender<'a> {
    pub(crate) client_id: &'a str,
    pub(crate) client_token: &'a str,
    pub(crate) duration: StoreDuration,
}

impl<'a> Sender<'a> {
    /// The sender of files that are for everybody: placeholders, and what most clients may ask for.
    pub(crate) fn anybody(config: &Config) -> Sender<'static> {
        Sender {
            client_id: "YOUR_CLIENT_ID",
            client_token: "YOUR_CLIENT_TOKEN",
            duration: shortest_duration(config),
        }
    }

    /// The client of a demonstration, whose token is no secret.
    pub(crate) fn of_demo(config: &Config, client_id: &'a str, client_token: &'a str) -> Self {
        Self {
            client_id,
            client_token,
            duration: shortest_duration(config),
        }
    }
}

/// The URL that uploads go to.
pub(crate) fn endpoint(config: &Config) -> String {
    format!("{}{ROOT}/", config.site.public_url())
}

/// Name and port of the site, which is what people call it.
pub(crate) fn host(config: &Config) -> &str {
    let url = config.site.public_url();
    url.split_once("://").map_or(url, |(_, host)| host)
}

/// The shortest duration of any plan: what most clients may ask for.
pub(crate) fn shortest_duration(config: &Config) -> StoreDuration {
    let durations = config
        .plans
        .values()
        .filter_map(|plan| plan.durations.first());
    durations.min().copied().unwrap_or(StoreDuration::Days7)
}

/// The plans as people compare them, smallest first.
pub(crate) fn plans_by_size(config: &Config) -> Vec<&Plan> {
    let mut plans: Vec<_> = config.plans.values().collect();
    plans.sort_by_key(|plan| (plan.daily_uploads, plan.max_file_size, &plan.name));
    plans
}

/// The durations that at least one of the plans has, shortest first.
pub(crate) fn durations(plans: &[&Plan]) -> Vec<StoreDuration> {
    StoreDuration::ALL
        .into_iter()
        .filter(|&duration| plans.iter().any(|plan| plan.allows(duration)))
        .collect()
}
