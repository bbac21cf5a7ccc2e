//! `image list`: images, newest first, in pages.

use super::client::{label, must_exist, owner_of};
use super::image::{describe, path_of, state};
use super::{Failure, print, print_json, table};
use crate::cli::ListArguments;
use crate::config::Config;
use crate::expiry::expires_at;
use crate::ledger::{ImageRow, Ledger, Listing, Page, Position};

pub(super) fn list(
    config: &Config,
    ledger: &dyn Ledger,
    arguments: ListArguments,
) -> Result<(), Failure> {
    let page = match (&arguments.after, &arguments.before) {
        (Some(image), _) => Page::After(position(config, ledger, image)?),
        (None, Some(image)) => Page::Before(position(config, ledger, image)?),
        (None, None) => Page::First,
    };
    let all = Listing::newest(arguments.limit.saturating_add(1));
    let since = arguments.since.map_or(i64::MIN, |(first, _)| first);
    let until = arguments.until.map_or(i64::MAX, |(_, last)| last);
    let owner = arguments
        .client
        .as_deref()
        .map(|client| owner_of(ledger, client))
        .transpose()?;
    let mut rows = ledger.list(&Listing {
        owner,
        in_quarantine: None,
        uploaded: since..=until,
        size: arguments.size.unwrap_or(all.size),
        width: arguments.width.unwrap_or(all.width),
        height: arguments.height.unwrap_or(all.height),
        image_type: arguments.image_type,
        page: page.clone(),
        // One more than the page tells whether there are more.
        limit: all.limit,
    })?;
    if let Some(id) = arguments.client.filter(|_| rows.is_empty()) {
        must_exist(ledger, &id)?;
    }
    let limit = arguments.limit as usize;
    let has_more = rows.len() > limit;
    let more = if matches!(page, Page::Before(_)) {
        let surplus = rows.len().saturating_sub(limit);
        rows.drain(..surplus);
        rows.first()
            .map(|row| format!("newer ones: add --before {}", Position::of(row)))
    } else {
        rows.truncate(limit);
        rows.last()
            .map(|row| format!("older ones: add --after {}", Position::of(row)))
    };
    if arguments.json {
        print_json(&rows.iter().map(|row| describe(config, row)).collect())?;
    } else {
        print_table(&rows)?;
    }
    if let Some(more) = more.filter(|_| has_more) {
        eprintln!("There are {more}");
    }
    Ok(())
}

/// The place of an image that is named by its path or URL, or by `PATH@TIME`, also after its deletion.
fn position(config: &Config, ledger: &dyn Ledger, image: &str) -> Result<Position, Failure> {
    if let Ok(position) = image.parse() {
        return Ok(position);
    }
    let path = path_of(config, image)?;
    let row = ledger.image(&path)?.ok_or_else(|| {
        Failure::failed(format!(
            "the ledger has no image {path}, so its place in the list is unknown: give PATH@TIME, for example \
             {path}@2026-04-05T12:00:00Z"
        ))
    })?;
    Ok(Position::of(&row))
}

fn print_table(rows: &[ImageRow]) -> Result<(), Failure> {
    let rows: Vec<_> = rows
        .iter()
        .map(|row| {
            vec![
                row.path.to_string(),
                label(&row.client, row.client_removed_at),
                row.size.to_string(),
                format!("{}x{}", row.width, row.height),
                row.uploaded_at.to_string(),
                expires_at(row.expires_at),
                state(row).to_owned(),
            ]
        })
        .collect();
    print(&table(
        &[
            "PATH", "CLIENT", "BYTES", "PIXELS", "UPLOADED", "EXPIRES", "STATE",
        ],
        &rows,
    ))
}
