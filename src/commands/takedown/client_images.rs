//! All images of a client: `image delete --client`, and what suspending and removing a client does to its images.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::super::client::{Selected, select};
use super::super::image::open;
use super::super::{Failure, confirm, print, print_json};
use super::{images, open_to_quarantine, open_to_release, purge_now, release_one};
use crate::cli::DeleteArguments;
use crate::config::Config;
use crate::ledger::{
    ClientKey, ImageRow, Ledger, LedgerError, Listing, Owner, Page, Position, Quarantined,
    instants_of,
};
use crate::takedown::{BATCH, QuarantineOutcome, arriving};

/// Rows that are read at a time, and images that are changed at a time.
const PAGE: u32 = 500;

/// `image delete --client`: all served images of a client, or those of some days.
pub(in crate::commands) fn delete_of_client(
    config: &Config,
    client: &str,
    arguments: &DeleteArguments,
) -> Result<(), Failure> {
    let site = open(config)?;
    let ledger = &*site.ledger;
    let client = select(ledger, client)?;
    let listing = Listing {
        uploaded: arguments.since.map_or(i64::MIN, |day| instants_of(day).0)
            ..=arguments.until.map_or(i64::MAX, |day| instants_of(day).1),
        ..served_of(client.key)
    };
    let totals = Totals::of(ledger, &listing)?;
    let question = format!(
        "Delete {} images of {client} ({} bytes)? Their bytes are lost.",
        totals.images, totals.bytes
    );
    if arguments.dry_run {
        return totals.print(&client, true, arguments.json);
    }
    if !arguments.yes && totals.images > 0 {
        confirm(&question, "nothing was deleted")?;
    }
    let deleted = delete_all(config, &site, &listing, &totals)?;
    deleted.print(&client, false, arguments.json)?;
    deleted.result("deleted")
}

/// Deletes all served images of a client that is removed.
pub(in crate::commands) fn delete_all_of(
    config: &Config,
    client: &Selected,
) -> Result<(), Failure> {
    let site = open(config)?;
    let listing = served_of(client.key);
    let totals = Totals::of(&*site.ledger, &listing)?;
    let deleted = delete_all(config, &site, &listing, &totals)?;
    eprintln!("{} images of {client} were deleted.", deleted.images);
    deleted.result("deleted")
}

/// Quarantines all served images of a client.
pub(in crate::commands) fn quarantine_of_client(
    config: &Config,
    client: &Selected,
    reason: Option<&str>,
) -> Result<(), Failure> {
    let site = open_to_quarantine(config)?;
    let ledger = &*site.ledger;
    let listing = served_of(client.key);
    let totals = Totals::of(ledger, &listing)?;
    let images = images(config, &site);
    let quarantine = Quarantined {
        at: images.now.into(),
        until: None,
        reason: reason.map(str::to_owned),
        with_client: true,
    };
    let mut done = Totals::default();
    for_each_page(ledger, &listing, "quarantined", &totals, |rows| {
        let paths: Vec<_> = rows.iter().map(|row| row.path.clone()).collect();
        let outcomes = images.quarantine(&paths, &quarantine, false)?;
        for (row, outcome) in rows.iter().zip(outcomes) {
            match outcome {
                QuarantineOutcome::Quarantined => done.add(row),
                QuarantineOutcome::Failed(error) => {
                    eprintln!("{} could not be moved: {error}", row.path);
                    done.failed += 1;
                }
                QuarantineOutcome::Lost | QuarantineOutcome::Unknown => {}
            }
        }
        Ok(())
    })?;
    purge_now(config, ledger)?;
    eprintln!("{} images of {client} are in quarantine.", done.images);
    done.result("quarantined")
}

/// Releases the images of a client that were quarantined with it.
pub(in crate::commands) fn release_of_client(
    config: &Config,
    client: &Selected,
) -> Result<(), Failure> {
    let site = open_to_release(config)?;
    let ledger = &*site.ledger;
    let images = images(config, &site);
    let listing = Listing {
        in_quarantine: Some(true),
        ..served_of(client.key)
    };
    let totals = Totals::of(ledger, &listing)?;
    let mut report = super::Report::new(false, false);
    for_each_page(ledger, &listing, "released", &totals, |rows| {
        let is_with_client = |row: &&ImageRow| {
            let quarantine = row.quarantine.as_ref();
            quarantine.is_some_and(|quarantine| quarantine.with_client)
        };
        for row in rows.iter().filter(is_with_client) {
            release_one(&images, &row.path, false, &mut report);
        }
        Ok(())
    })?;
    report.finish("released")
}

fn served_of(key: ClientKey) -> Listing {
    Listing {
        owner: Some(Owner::Key(key)),
        in_quarantine: Some(false),
        ..Listing::newest(PAGE)
    }
}

fn delete_all(
    config: &Config,
    site: &crate::site::Site,
    listing: &Listing,
    totals: &Totals,
) -> Result<Totals, Failure> {
    let images = images(config, site);
    let mut done = Totals::default();
    for_each_page(&*site.ledger, listing, "deleted", totals, |rows| {
        // In the order of paths, each directory is synced once.
        let mut paths = Vec::with_capacity(rows.len());
        for row in rows {
            match images.is_arriving(row) {
                Ok(false) => paths.push(row.path.clone()),
                outcome => {
                    let error = outcome.err().unwrap_or_else(arriving);
                    eprintln!("{} could not be deleted: {error}", row.path);
                    done.failed += 1;
                }
            }
        }
        paths.sort_unstable();
        let deletion = images.delete_served(&paths)?;
        done.images += deletion.deleted.rows as u64;
        done.bytes += deletion.deleted.bytes;
        done.failed += deletion.failed.len() as u64;
        for (path, error) in deletion.failed {
            eprintln!("{path} could not be deleted: {error}");
        }
        Ok(())
    })?;
    purge_now(config, &*site.ledger)?;
    Ok(done)
}

/// Calls `change` with each page of a listing, under a progress bar.
fn for_each_page(
    ledger: &dyn Ledger,
    listing: &Listing,
    verb: &str,
    totals: &Totals,
    mut change: impl FnMut(&[ImageRow]) -> Result<(), LedgerError>,
) -> Result<(), LedgerError> {
    debug_assert!(BATCH >= PAGE as usize);
    let bar = bar(totals.images, verb);
    let mut listing = listing.clone();
    loop {
        let rows = ledger.list(&listing)?;
        let Some(last) = rows.last() else {
            bar.finish_and_clear();
            return Ok(());
        };
        listing.page = Page::After(Position::of(last));
        change(&rows)?;
        bar.inc(rows.len() as u64);
    }
}

fn bar(images: u64, verb: &str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template(
        "{bar:30} {human_pos}/{human_len} images {msg}, {per_sec:.0}, {eta} left",
    );
    let bar = ProgressBar::new(images)
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        .with_message(verb.to_owned());
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

/// How many images, and their bytes.
#[derive(Debug, Default)]
struct Totals {
    images: u64,
    bytes: u64,
    failed: u64,
}

impl Totals {
    fn of(ledger: &dyn Ledger, listing: &Listing) -> Result<Self, LedgerError> {
        let mut totals = Self::default();
        let mut listing = Listing {
            limit: 10_000,
            ..listing.clone()
        };
        loop {
            let rows = ledger.list(&listing)?;
            let Some(last) = rows.last() else {
                return Ok(totals);
            };
            listing.page = Page::After(Position::of(last));
            for row in &rows {
                totals.add(row);
            }
        }
    }

    fn add(&mut self, row: &ImageRow) {
        self.images += 1;
        self.bytes += row.size;
    }

    fn print(&self, client: &Selected, dry_run: bool, json: bool) -> Result<(), Failure> {
        if json {
            return print_json(&json!({
                "dry_run": dry_run,
                "client": client.id,
                "client_removed_at": client.removed_at.map(|at| at.to_string()),
                "images": self.images,
                "bytes": self.bytes,
                "failed": self.failed,
            }));
        }
        let verb = if dry_run { "would delete" } else { "deleted" };
        print(&format!(
            "{verb} {} images of {client} ({} bytes)\n",
            self.images, self.bytes
        ))
    }

    fn result(&self, verb: &str) -> Result<(), Failure> {
        match self.failed {
            0 => Ok(()),
            failed => Err(Failure::storage(format!(
                "{failed} images could not be {verb}; does the account that runs this own the docroot?"
            ))),
        }
    }
}
