//! `sweep`: what cron runs.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::json;
use time::UtcDateTime;

use super::{Failure, open_existing_docroot, open_ledger, print, spinner};
use crate::config::Config;
use crate::sweep::{Report, Sweep};

pub(super) fn sweep(config: &Config, dry_run: bool, json: bool) -> Result<(), Failure> {
    let _lock = lock(config)?;
    let ledger = open_ledger(config, 1)?;
    let docroot = open_existing_docroot(config)?;
    let began = Instant::now();
    let bar = spinner();
    let sweep = Sweep {
        ledger: &ledger,
        store: &docroot,
        now: UtcDateTime::now(),
        dry_run,
        progress: &|report| bar.set_message(format!("{} expired images", report.expired)),
    };
    let outcome = sweep.run();
    bar.finish_and_clear();
    let report = outcome.map_err(Failure::storage)?;
    print(&if json {
        machine_readable(&report, dry_run)
    } else {
        summary(&report, dry_run, began.elapsed())
    })?;
    if report.failed > 0 {
        return Err(Failure::storage(format!(
            "{} images could not be deleted; does the user that sweeps own {}?",
            report.failed,
            docroot.root().display()
        )));
    }
    Ok(())
}

/// Taken while a sweep runs, and let go of by the kernel when the process ends, however it ends.
fn lock(config: &Config) -> Result<File, Failure> {
    let mut name = config.ledger.path.clone().into_os_string();
    name.push(".sweep-lock");
    let path = PathBuf::from(name);
    let unusable = |error| {
        Failure::storage(format!(
            "the lock {} cannot be used: {error}",
            path.display()
        ))
    };
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o640)
        .open(&path)
        .map_err(unusable)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(Failure::busy("another sweep runs; this one did nothing"))
        }
        Err(TryLockError::Error(error)) => Err(unusable(error)),
    }
}

fn machine_readable(report: &Report, dry_run: bool) -> String {
    let report = json!({
        "dry_run": dry_run,
        "expired": report.expired,
        "bytes": report.bytes,
        "abandoned": report.abandoned,
        "withdrawn": report.withdrawn,
        "orphaned": report.orphaned,
        "directories": report.directories,
        "failed": report.failed,
    });
    format!("{report}\n")
}

fn summary(report: &Report, dry_run: bool, took: Duration) -> String {
    let verb = if dry_run { "would delete" } else { "deleted" };
    format!(
        "{verb} {} expired images ({} bytes), {} abandoned uploads, {} rows without files, {} files without rows, \
         {} empty directories in {:.1} s\n",
        report.expired,
        report.bytes,
        report.abandoned,
        report.withdrawn,
        report.orphaned,
        report.directories,
        took.as_secs_f64()
    )
}
