//! `image delete`, `quarantine`, `block` and `release`: images are taken down, and served again.
//!
//! What cannot be done is told image by image, the rest is done, and the exit code is then 1.

mod client_images;
mod report;

use std::io::IsTerminal;
use std::thread;
use std::time::{Duration, Instant};

use time::UtcDateTime;

use super::image::open;
use super::{Failure, confirm, recover, spinner};
use crate::cli::{DeleteArguments, QuarantineArguments, ReleaseArguments};
use crate::config::Config;
use crate::image_digest::ImageDigest;
use crate::image_path::ImagePath;
use crate::ledger::{ImageRow, Ledger, LedgerError, LockMode, Quarantined};
use crate::purge::Purger;
use crate::site::{self, Site, SiteError};
use crate::store::Store;
use crate::takedown::{BATCH, Images, QuarantineOutcome, ReleaseOutcome, arriving};
use crate::timestamp::Timestamp;
use client_images::delete_of_client;
pub(super) use client_images::{delete_all_of, quarantine_of_client, release_of_client};
use report::Report;

/// Calls of the purge command that an operator waits for; the responder makes the others.
const PURGE_CALLS: usize = 10;

/// How long a release waits for a sweep to end, and a quarantine for a release.
const SWEEP_PATIENCE: Duration = Duration::from_secs(20);

/// `image delete`
pub(super) fn delete(config: &Config, arguments: &DeleteArguments) -> Result<(), Failure> {
    if let Some(client) = &arguments.client {
        return delete_of_client(config, client, arguments);
    }
    // clap does not require an argument that conflicts with one which is there.
    if arguments.since.is_some() || arguments.until.is_some() {
        return Err(Failure::usage(
            "--since and --until select images of a client: name it with --client",
        ));
    }
    let site = open(config)?;
    let images = images(config, &site);
    let mut report = Report::new(arguments.json, arguments.dry_run);
    let mut known = known_rows(config, &*site.ledger, &arguments.images, &mut report)?;
    known.retain(|row| match images.is_arriving(row) {
        Ok(false) => true,
        outcome => {
            let error = outcome.err().unwrap_or_else(arriving);
            report.broken(&row.path, &format!("could not be deleted: {error}"));
            false
        }
    });
    let paths: Vec<_> = known.iter().map(|row| row.path.clone()).collect();
    if arguments.dry_run {
        for path in &paths {
            report.done(path, "deleted");
        }
        return report.finish("deleted");
    }
    if !arguments.yes && std::io::stdin().is_terminal() && !paths.is_empty() {
        let in_quarantine = known.iter().filter(|row| row.quarantine.is_some()).count();
        let evidence = match in_quarantine {
            0 => String::new(),
            count => format!(" {count} of them are in quarantine."),
        };
        confirm(
            &format!(
                "Delete {} images for good? Their bytes are lost; `image quarantine` keeps them.{evidence}",
                paths.len()
            ),
            "nothing was deleted",
        )?;
    }
    for paths in paths.chunks(BATCH) {
        let deletion = if arguments.yes || std::io::stdin().is_terminal() {
            images.delete(paths)?
        } else {
            images.delete_served(paths)?
        };
        for path in paths {
            if let Some((_, error)) = deletion.failed.iter().find(|(failed, _)| failed == path) {
                report.broken(path, &format!("could not be deleted: {error}"));
            } else if deletion.kept.contains(path) {
                report.left(path, "in_quarantine", "is in quarantine: --yes deletes it");
            } else {
                report.done(path, "deleted");
            }
        }
    }
    purge_now(config, &*site.ledger)?;
    report.finish("deleted")
}

/// `image quarantine`, and with `blocks` also `image block`.
pub(super) fn quarantine(
    config: &Config,
    arguments: &QuarantineArguments,
    blocks: bool,
) -> Result<(), Failure> {
    let site = open_to_quarantine(config)?;
    let images = images(config, &site);
    let mut report = Report::new(arguments.json, arguments.dry_run);
    let done = if blocks { "blocked" } else { "quarantined" };
    let rows = known_rows(config, &*site.ledger, &arguments.images, &mut report)?;
    if arguments.dry_run {
        for row in &rows {
            report.done(&row.path, done);
        }
        return report.finish(done);
    }
    let until = arguments
        .days
        .map(|days| Timestamp::from(images.now + time::Duration::days(days.into())));
    let quarantine = Quarantined {
        at: images.now.into(),
        until,
        reason: arguments.reason.clone(),
        with_client: false,
    };
    let paths: Vec<_> = rows.into_iter().map(|row| row.path).collect();
    for paths in paths.chunks(BATCH) {
        let outcomes = images.quarantine(paths, &quarantine, true)?;
        for (path, outcome) in paths.iter().zip(outcomes) {
            match outcome {
                QuarantineOutcome::Quarantined if blocks => {
                    let reason = arguments.reason.as_deref();
                    match block(&site, path, reason, images.now)? {
                        Ok(digest) => report.blocked(path, digest),
                        Err(error) => report.broken(
                            path,
                            &format!(
                                "is in quarantine, but not blocked: it cannot be read: {error}"
                            ),
                        ),
                    }
                }
                QuarantineOutcome::Quarantined => report.done(path, done),
                QuarantineOutcome::Lost | QuarantineOutcome::Unknown => report.left(
                    path,
                    "lost",
                    "has no file: `corenexis-cdn verify` compares ledger and docroot",
                ),
                QuarantineOutcome::Failed(error) => report.broken(
                    path,
                    &format!("could not be moved, and may still be served: {error}"),
                ),
            }
        }
    }
    purge_now(config, &*site.ledger)?;
    report.until(until);
    report.finish(done)
}

/// Blocks the bytes of an image that is in quarantine.
fn block(
    site: &Site,
    path: &ImagePath,
    reason: Option<&str>,
    now: UtcDateTime,
) -> Result<std::io::Result<ImageDigest>, Failure> {
    let digest = site.store.read_quarantined(path).and_then(ImageDigest::of);
    if let Ok(digest) = &digest {
        site.ledger.block(&[*digest], reason, now)?;
    }
    Ok(digest)
}

/// `image release`
pub(super) fn release(config: &Config, arguments: &ReleaseArguments) -> Result<(), Failure> {
    let site = open_to_release(config)?;
    let images = images(config, &site);
    let mut report = Report::new(arguments.json, arguments.dry_run);
    for row in known_rows(config, &*site.ledger, &arguments.images, &mut report)? {
        release_one(&images, &row.path, arguments.dry_run, &mut report);
    }
    report.finish("released")
}

fn release_one(images: &Images<'_>, path: &ImagePath, dry_run: bool, report: &mut Report) {
    let outcome = if dry_run {
        images.can_release(path)
    } else {
        images.release(path)
    };
    match outcome {
        Ok(ReleaseOutcome::Released) => report.done(path, "released"),
        Ok(ReleaseOutcome::NotInQuarantine) => {
            report.left(path, "not_in_quarantine", "is not in quarantine");
        }
        Ok(ReleaseOutcome::Expired(at)) => report.left(
            path,
            "expired",
            &format!(
                "expired at {at}, while it was in quarantine, and stays there: `image delete` deletes it"
            ),
        ),
        Ok(ReleaseOutcome::Unknown) => report.left(path, "unknown", "has no row in the ledger"),
        Ok(ReleaseOutcome::Lost) => report.left(path, "lost", "has no file"),
        Err(error) => report.broken(path, &format!("was not released: {error}")),
    }
}

/// Opens ledger and store for a release: waits for sweeps and quarantines that run.
fn open_to_release(config: &Config) -> Result<Site, Failure> {
    open_patiently(
        config,
        LockMode::Exclusive,
        "a sweep runs, or images are quarantined, during which nothing is released: try again when it has ended",
    )
}

/// Opens ledger and store for a quarantine: waits for a release. A bucket has no rename, so each would delete the copy that the other one
/// keeps.
fn open_to_quarantine(config: &Config) -> Result<Site, Failure> {
    open_patiently(
        config,
        LockMode::Shared,
        "images are released, during which none is quarantined: try again when it has ended",
    )
}

fn open_patiently(config: &Config, mode: LockMode, busy: &'static str) -> Result<Site, Failure> {
    let began = Instant::now();
    let site = loop {
        match site::open_for_takedown(config, mode) {
            Err(SiteError::Ledger(LedgerError::SweepRuns)) if began.elapsed() < SWEEP_PATIENCE => {
                thread::sleep(Duration::from_millis(100));
            }
            Err(SiteError::Ledger(LedgerError::SweepRuns)) => return Err(Failure::busy(busy)),
            opened => break opened?,
        }
    };
    recover(config, &site)?;
    Ok(site)
}

fn images<'a>(config: &Config, site: &'a Site) -> Images<'a> {
    let (ledger, store): (&dyn Ledger, &dyn Store) = (&*site.ledger, &*site.store);
    Images {
        ledger,
        store,
        purges: config.site.purge_command.is_some(),
        now: UtcDateTime::now(),
    }
}

/// The rows of the images that these texts name, each once. The others are reported.
fn known_rows(
    config: &Config,
    ledger: &dyn Ledger,
    references: &[String],
    report: &mut Report,
) -> Result<Vec<ImageRow>, Failure> {
    let mut rows: Vec<ImageRow> = Vec::with_capacity(references.len());
    for reference in references {
        match ImagePath::from_reference(reference, config.site.public_url()) {
            Err(error) => report.left(reference, "invalid", &format!("is {error}")),
            Ok(path) if rows.iter().any(|row| row.path == path) => {}
            Ok(path) => match ledger.image(&path)? {
                Some(row) => rows.push(row),
                None => report.left(
                    &path,
                    "unknown",
                    "is not in the ledger: it has expired, was deleted, or never existed",
                ),
            },
        }
    }
    Ok(rows)
}

/// Purges what the command has queued, as far as it is quick.
pub(super) fn purge_now(config: &Config, ledger: &dyn Ledger) -> Result<(), Failure> {
    let Some(purger) = Purger::new(config, ledger) else {
        return Ok(());
    };
    let bar = spinner();
    bar.set_message("purging");
    let outcome = purger.run(PURGE_CALLS);
    bar.finish_and_clear();
    let purged = outcome?;
    let (waiting, _) = ledger.waiting_purges()?;
    if purged.images > 0 {
        eprintln!("The purge command was called for {} images.", purged.images);
    }
    if let Some(failure) = &purged.failure {
        eprintln!(
            "The purge command failed: {}. It is called again later.",
            failure.cause
        );
    }
    if waiting > 0 {
        eprintln!("{waiting} images wait to be purged, by the responder or the next sweep.");
    }
    Ok(())
}
