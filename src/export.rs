//! Files for other programs: the OpenAPI document, the Postman collection, and settings of upload programs.
//!
//! Their host, plans and limits are those of the configuration.

pub(crate) mod clients;
pub(crate) mod contact;
pub(crate) mod errors;
pub(crate) mod openapi;
pub(crate) mod postman;

use crate::config::Config;
use crate::expiry::StoreDuration;
use crate::plan::Plan;
use crate::routes::ROOT;

/// The credentials and the storage duration in a file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Credentials<'a> {
    pub(crate) client_id: &'a str,
    pub(crate) client_token: &'a str,
    pub(crate) duration: StoreDuration,
}

impl<'a> Credentials<'a> {
    /// Placeholders, and the shortest duration.
    pub(crate) fn placeholders(config: &Config) -> Credentials<'static> {
        Credentials {
            client_id: "YOUR_CLIENT_ID",
            client_token: "YOUR_CLIENT_TOKEN",
            duration: shortest_duration(config),
        }
    }

    /// The client of a demonstration, and the shortest duration.
    pub(crate) fn of_demo(config: &Config, client_id: &'a str, client_token: &'a str) -> Self {
        Self {
            client_id,
            client_token,
            duration: shortest_duration(config),
        }
    }
}

/// The URL of uploads.
pub(crate) fn endpoint(config: &Config) -> String {
    format!("{}{ROOT}/", config.site.public_url())
}

/// The URL of the upload page that fills in the client's id.
pub(crate) fn invitation(config: &Config, client_id: &str) -> String {
    format!("{}/image/upload/#id={client_id}", config.site.public_url())
}

/// Host and port of the site.
pub(crate) fn host(config: &Config) -> &str {
    let url = config.site.public_url();
    url.split_once("://").map_or(url, |(_, host)| host)
}

/// The shortest duration of any plan, which most plans have.
pub(crate) fn shortest_duration(config: &Config) -> StoreDuration {
    let durations = config
        .plans
        .values()
        .filter_map(|plan| plan.durations.first());
    durations.min().copied().unwrap_or(StoreDuration::Days7)
}

/// The plans by daily uploads, file size and name.
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
