//! `usage`: what clients have uploaded, by UTC day, and what they have stored now.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use time::{Date, UtcDateTime};

use super::client::{label, must_exist, owner_of};
use super::{Failure, print, print_json, table};
use crate::byte_size::rounded;
use crate::cli::{UsageArguments, UsageBy};
use crate::config::Config;
use crate::ledger::{self, ClientRow, Ledger, UsageRow};
use crate::timestamp::Timestamp;

pub(super) fn usage(config: &Config, arguments: &UsageArguments) -> Result<(), Failure> {
    let ledger = ledger::open_existing(config)?;
    let owner = arguments
        .client
        .as_deref()
        .map(|client| owner_of(&*ledger, client))
        .transpose()?;
    let rows = ledger.usage(owner.as_ref(), arguments.since)?;
    if let Some(id) = arguments.client.as_ref().filter(|_| rows.is_empty()) {
        must_exist(&*ledger, id)?;
    }
    let lines = added_up(&rows, arguments.by);
    let storage = match arguments.by {
        Some(UsageBy::Client) => Some(Storage::read(config, &*ledger)?),
        _ => None,
    };
    if arguments.json {
        let objects = lines.iter().map(|line| line.to_json(storage.as_ref()));
        print_json(&objects.collect())
    } else if arguments.csv {
        print(&csv(&lines, arguments.by, storage.as_ref()))
    } else {
        print(&text(&lines, arguments.by, storage.as_ref()))
    }
}

/// One line: uploads of a day, of a client, or of both.
#[derive(Debug, PartialEq, Eq)]
struct Line {
    day: Option<Date>,
    client: Option<Client>,
    uploads: u64,
    bytes: u64,
}

/// A client's id, and when it was removed, which tells it from a later one of that id.
type Client = (String, Option<Timestamp>);

/// What the uploads of a line are added up by.
type Names = (Option<Date>, Option<Client>);

fn added_up(rows: &[UsageRow], by: Option<UsageBy>) -> Vec<Line> {
    let mut sums: BTreeMap<Names, (u64, u64)> = BTreeMap::new();
    for row in rows {
        let day = (by != Some(UsageBy::Client)).then_some(row.day);
        let client =
            (by != Some(UsageBy::Day)).then(|| (row.client.clone(), row.client_removed_at));
        let (uploads, bytes) = sums.entry((day, client)).or_default();
        *uploads += u64::from(row.uploads);
        *bytes += row.bytes;
    }
    let line = |((day, client), (uploads, bytes)): (Names, _)| Line {
        day,
        client,
        uploads,
        bytes,
    };
    sums.into_iter().map(line).collect()
}

/// What each client has stored now, and may have stored.
struct Storage(BTreeMap<String, (u64, Option<u64>)>);

impl Storage {
    fn read(config: &Config, ledger: &dyn Ledger) -> Result<Self, Failure> {
        let of = |row: ClientRow| {
            let limit = config
                .plans
                .get(&row.plan)
                .and_then(|plan| plan.max_storage);
            (row.id, (row.stored.bytes, limit))
        };
        let clients = ledger.clients(UtcDateTime::now())?;
        Ok(Self(clients.into_iter().map(of).collect()))
    }

    /// Bytes stored, and their limit; `None` for a client that was removed.
    fn of(&self, line: &Line) -> Option<(u64, Option<u64>)> {
        match line.client.as_ref()? {
            (id, None) => self.0.get(id).copied(),
            (_, Some(_)) => None,
        }
    }
}

impl Line {
    fn to_json(&self, storage: Option<&Storage>) -> Value {
        let mut object = Map::new();
        if let Some(day) = self.day {
            object.insert("day".to_owned(), json!(day.to_string()));
        }
        if let Some((id, removed_at)) = &self.client {
            object.insert("client".to_owned(), json!(id));
            let removed_at = removed_at.map(|at| at.to_string());
            object.insert("client_removed_at".to_owned(), json!(removed_at));
        }
        object.insert("uploads".to_owned(), json!(self.uploads));
        object.insert("bytes".to_owned(), json!(self.bytes));
        if let Some(storage) = storage {
            let (stored, limit) = storage.of(self).unzip();
            object.insert("stored_bytes".to_owned(), json!(stored));
            object.insert("max_storage".to_owned(), json!(limit.flatten()));
        }
        Value::Object(object)
    }

    /// Day and client, those that the line has; `name` says how a client is written.
    fn names(&self, name: impl Fn(&Client) -> String) -> Vec<String> {
        let day = self.day.map(|day| day.to_string());
        let client = self.client.as_ref().map(name);
        [day, client].into_iter().flatten().collect()
    }
}

fn names(by: Option<UsageBy>) -> &'static [&'static str] {
    match by {
        None => &["day", "client"],
        Some(UsageBy::Day) => &["day"],
        Some(UsageBy::Client) => &["client"],
    }
}

/// Comma-separated values (RFC 4180). A client that was removed is `ID@TIME`, as `--client` takes it. No id has a character that needs
/// quotation marks.
fn csv(lines: &[Line], by: Option<UsageBy>, storage: Option<&Storage>) -> String {
    let mut headings = [names(by), &["uploads", "bytes"]].concat();
    if storage.is_some() {
        headings.extend(["stored_bytes", "max_storage"]);
    }
    let name = |(id, removed_at): &Client| match removed_at {
        None => id.clone(),
        Some(at) => format!("{id}@{at}"),
    };
    let row = |line: &Line| {
        let mut cells = line.names(name);
        cells.extend([line.uploads.to_string(), line.bytes.to_string()]);
        if let Some(storage) = storage {
            let (stored, limit) = storage.of(line).unzip();
            let cell = |number: Option<u64>| number.map_or_else(String::new, |it| it.to_string());
            cells.extend([cell(stored), cell(limit.flatten())]);
        }
        cells.join(",")
    };
    let rows = lines.iter().map(row);
    let text: Vec<_> = std::iter::once(headings.join(",")).chain(rows).collect();
    text.join("\r\n") + "\r\n"
}

/// A table with sizes as people read them, and a last line with the totals.
fn text(lines: &[Line], by: Option<UsageBy>, storage: Option<&Storage>) -> String {
    let mut headings: Vec<_> = names(by)
        .iter()
        .map(|name| name.to_ascii_uppercase())
        .collect();
    headings.extend(["UPLOADS", "SIZE"].map(str::to_owned));
    if storage.is_some() {
        headings.extend(["STORED", "OF"].map(str::to_owned));
    }
    let mut rows: Vec<_> = lines
        .iter()
        .map(|line| {
            let mut cells = line.names(|(id, removed_at)| label(id, *removed_at));
            cells.extend([line.uploads.to_string(), rounded(line.bytes)]);
            if let Some(storage) = storage {
                let (stored, limit) = storage.of(line).unzip();
                let cell = |bytes: Option<u64>| bytes.map_or_else(|| "-".to_owned(), rounded);
                cells.extend([cell(stored), cell(limit.flatten())]);
            }
            cells
        })
        .collect();
    let mut total = vec![String::new(); headings.len()];
    "TOTAL".clone_into(&mut total[0]);
    let sum = |number: fn(&Line) -> u64| lines.iter().map(number).sum::<u64>();
    let numbers = names(by).len();
    total[numbers] = sum(|line| line.uploads).to_string();
    total[numbers + 1] = rounded(sum(|line| line.bytes));
    if let Some(storage) = storage {
        let stored = lines.iter().filter_map(|line| storage.of(line));
        total[numbers + 2] = rounded(stored.map(|(bytes, _)| bytes).sum());
    }
    rows.push(total);
    let headings: Vec<_> = headings.iter().map(String::as_str).collect();
    table(&headings, &rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::date;

    fn rows() -> Vec<UsageRow> {
        let row = |day, client: &str, uploads, bytes| UsageRow {
            client: client.to_owned(),
            client_removed_at: None,
            day,
            uploads,
            bytes,
        };
        vec![
            row(date!(2026 - 04 - 05), "a", 2, 3 << 20),
            row(date!(2026 - 04 - 05), "b", 1, 100),
            row(date!(2026 - 04 - 06), "a", 10, 1 << 30),
        ]
    }

    #[test]
    fn a_table_has_sizes_and_totals() {
        let lines = added_up(&rows(), None);
        assert_eq!(
            text(&lines, None, None),
            "DAY         CLIENT  UPLOADS  SIZE\n\
             2026-04-05  a             2    3.0 MiB\n\
             2026-04-05  b             1  100 bytes\n\
             2026-04-06  a            10    1.0 GiB\n\
             TOTAL                    13    1.0 GiB\n"
        );
    }

    #[test]
    fn a_removed_client_is_told_from_a_later_one_of_its_id() {
        let mut rows = rows();
        rows[0].client_removed_at = Some(Timestamp(1_775_390_400));
        let storage = Storage(BTreeMap::from([("a".to_owned(), (5 << 20, None))]));
        let by = Some(UsageBy::Client);
        let lines = added_up(&rows, by);
        assert_eq!(
            text(&lines, by, Some(&storage)),
            "CLIENT                  UPLOADS  SIZE       STORED   OF\n\
             a                            10    1.0 GiB  5.0 MiB  -\n\
             a (removed 2026-04-05)        2    3.0 MiB  -        -\n\
             b                             1  100 bytes  -        -\n\
             TOTAL                        13    1.0 GiB  5.0 MiB\n"
        );
        let csv = csv(&lines, by, None);
        assert!(
            csv.contains("a@2026-04-05T12:00:00Z,2,3145728\r\n"),
            "{csv}"
        );
        assert_eq!(
            lines[1].to_json(None),
            json!({ "client": "a", "client_removed_at": "2026-04-05T12:00:00Z", "uploads": 2, "bytes": 3 << 20 })
        );
    }

    #[test]
    fn uploads_are_added_up_by_client_and_by_day() {
        let storage = Storage(BTreeMap::from([(
            "a".to_owned(),
            (5 << 20, Some(10 << 20)),
        )]));
        let lines = added_up(&rows(), Some(UsageBy::Client));
        assert_eq!(
            csv(&lines, Some(UsageBy::Client), Some(&storage)),
            "client,uploads,bytes,stored_bytes,max_storage\r\na,12,1076887552,5242880,10485760\r\nb,1,100,,\r\n"
        );
        assert_eq!(
            text(&lines, Some(UsageBy::Client), Some(&storage)),
            "CLIENT  UPLOADS  SIZE       STORED   OF\n\
             a            12    1.0 GiB  5.0 MiB  10.0 MiB\n\
             b             1  100 bytes  -        -\n\
             TOTAL        13    1.0 GiB  5.0 MiB\n"
        );
        let by_day = added_up(&rows(), Some(UsageBy::Day));
        assert_eq!(by_day.len(), 2);
        assert_eq!(
            by_day[0].to_json(None),
            json!({ "day": "2026-04-05", "uploads": 3, "bytes": (3 << 20) + 100 })
        );
    }
}
