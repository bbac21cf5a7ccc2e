//! `usage`: what clients have uploaded, by UTC day.

use serde_json::json;
use time::Date;

use super::client::must_exist;
use super::{Failure, print, print_json, table};
use crate::config::Config;
use crate::ledger::{self, Owner};

pub(super) fn usage(
    config: &Config,
    client: Option<&str>,
    since: Option<Date>,
    json: bool,
) -> Result<(), Failure> {
    let ledger = ledger::open_existing(config)?;
    let rows = ledger.usage(client.map(|id| Owner::Id(id.to_owned())).as_ref(), since)?;
    if let Some(id) = client.filter(|_| rows.is_empty()) {
        must_exist(&*ledger, id)?;
    }
    if json {
        return print_json(
            &rows
                .iter()
                .map(|row| {
                    json!({
                        "day": row.day.to_string(),
                        "client": row.client,
                        "uploads": row.uploads,
                        "bytes": row.bytes,
                    })
                })
                .collect(),
        );
    }
    let rows: Vec<_> = rows
        .iter()
        .map(|row| {
            vec![
                row.day.to_string(),
                row.client.clone(),
                row.uploads.to_string(),
                row.bytes.to_string(),
            ]
        })
        .collect();
    print(&table(&["DAY", "CLIENT", "UPLOADS", "BYTES"], &rows))
}
