//! `[plans]`: the three default plans, and those of the operator.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{ByteSize, Invalid, ensure};
use crate::expiry::StoreDuration;
use crate::image::metadata::Policy;
use crate::plan::{Plan, UrlKind};

/// The largest `max_file_size` of a plan, in bytes: 1,024 GiB.
const MAX_FILE_SIZE: u64 = 1 << 40;

/// `[plans.NAME]` as it stands in the file.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PlanTable {
    daily_uploads: Option<u32>,
    max_file_size: Option<ByteSize>,
    max_storage: Option<ByteSize>,
    durations: Option<Vec<StoreDuration>>,
    url: Option<UrlKind>,
    metadata: Option<Policy>,
}

/// The plans by name. Without `[plans]` these are the default ones; with it, those that it names.
pub(super) fn plans_from(
    tables: Option<BTreeMap<String, PlanTable>>,
) -> Result<BTreeMap<String, Plan>, Invalid> {
    let Some(tables) = tables else {
        return Ok(default_plans().map(|plan| (plan.name.clone(), plan)).into());
    };
    ensure(!tables.is_empty(), || {
        "[plans] names no plan: leave the table out for the default plans, or add [plans.NAME]"
            .to_owned()
    })?;
    tables
        .into_iter()
        .map(|(name, table)| Ok((name.clone(), plan_from(name, table)?)))
        .collect()
}

/// The plans of the service's public documentation.
fn default_plans() -> [Plan; 3] {
    use StoreDuration::{Days7, Lifetime, Month1, Months3};
    let plan = |name: &str, daily_uploads, mebibytes: u64, durations: &[StoreDuration], url| Plan {
        name: name.to_owned(),
        daily_uploads,
        max_file_size: mebibytes << 20,
        max_storage: None,
        durations: durations.to_vec(),
        url,
        metadata: Policy::StripLocation,
    };
    let all = [Days7, Month1, Months3, Lifetime];
    [
        plan("free", 50, 2, &all[..2], UrlKind::Viewer),
        plan("3m", 1_000, 5, &all[..3], UrlKind::Direct),
        plan("lifetime", 3_000, 10, &all, UrlKind::Direct),
    ]
}

/// Keys that the table leaves out are those of the default plan of its name, where there is one.
fn plan_from(name: String, table: PlanTable) -> Result<Plan, Invalid> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    ensure(
        (1..=32).contains(&name.len()) && name.bytes().all(legal),
        || format!("[plans.{name:?}]: a plan's name is 1 to 32 letters, digits, - or _"),
    )?;
    let default = default_plans().into_iter().find(|plan| plan.name == name);
    let default = default.map(PlanTable::from).unwrap_or_default();
    let missing = |key| {
        Invalid(format!(
            "[plans.{name}] has no {key}, which a plan of your own needs"
        ))
    };

    let daily_uploads = table.daily_uploads.or(default.daily_uploads);
    let ByteSize(max_file_size) = table
        .max_file_size
        .or(default.max_file_size)
        .ok_or_else(|| missing("max_file_size"))?;
    let durations = table.durations.or(default.durations);
    let mut durations = durations.ok_or_else(|| missing("durations"))?;
    durations.sort_unstable();
    durations.dedup();
    ensure(!durations.is_empty(), || {
        format!("[plans.{name}] durations = []: name at least one of 7D, 1M, 3M, LTF")
    })?;
    ensure((1..=MAX_FILE_SIZE).contains(&max_file_size), || {
        format!("[plans.{name}] max_file_size = {max_file_size}: expected 1 byte to 1024 GiB")
    })?;
    Ok(Plan {
        daily_uploads: daily_uploads.ok_or_else(|| missing("daily_uploads"))?,
        max_file_size,
        // As with the limits by address, 0 is no limit.
        max_storage: table
            .max_storage
            .map(|size| size.0)
            .filter(|&size| size > 0),
        durations,
        url: table.url.or(default.url).ok_or_else(|| missing("url"))?,
        metadata: table
            .metadata
            .or(default.metadata)
            .unwrap_or(Policy::StripLocation),
        name,
    })
}

impl From<Plan> for PlanTable {
    fn from(plan: Plan) -> Self {
        Self {
            daily_uploads: Some(plan.daily_uploads),
            max_file_size: Some(ByteSize(plan.max_file_size)),
            max_storage: plan.max_storage.map(ByteSize),
            durations: Some(plan.durations),
            url: Some(plan.url),
            metadata: Some(plan.metadata),
        }
    }
}
