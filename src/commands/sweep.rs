//! `sweep`: what cron runs.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, IsTerminal};
use std::os::unix::fs::FileExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use time::UtcDateTime;

use super::{Failure, open_existing_docroot, open_ledger, print};
use crate::config::Config;
use crate::ledger::Ledger;
use crate::ledger::sqlite::backup::take_owner_of_directory;
use crate::sweep::{Report, Sweep};

/// Bytes that the lock's file takes from the disk, to be given back on a full one. Where no responder runs, the ledger could otherwise
/// not be opened there: SQLite's shared memory is a file, made when a ledger is opened. And what frees the disk has to open it.
const RESERVE: usize = 128 * 1024;

pub(super) fn sweep(config: &Config, dry_run: bool, json: bool) -> Result<(), Failure> {
    let lock = SweepLock::take(&config.ledger.path)?;
    let ledger = open_ledger(config, 1).or_else(|failure| {
        if lock.give_reserve_back() {
            open_ledger(config, 1)
        } else {
            Err(failure)
        }
    })?;
    let docroot = open_existing_docroot(config)?;
    let began = Instant::now();
    let now = UtcDateTime::now();
    let bar = progress_bar(&ledger, now)?;
    let sweep = Sweep {
        ledger: &ledger,
        store: &docroot,
        now,
        dry_run,
        progress: &|report| bar.set_position(report.expired + report.failed),
    };
    let outcome = sweep.run();
    bar.finish_and_clear();
    let report = outcome.map_err(Failure::storage)?;
    if !dry_run {
        lock.keep_reserve();
    }
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

/// A bar for the expired images, which are what a long sweep is about.
fn progress_bar(ledger: &dyn Ledger, now: UtcDateTime) -> Result<ProgressBar, Failure> {
    if !io::stderr().is_terminal() {
        return Ok(ProgressBar::hidden());
    }
    let style = ProgressStyle::with_template(
        "{bar:30} {human_pos}/{human_len} expired images, {per_sec:.0}, {eta} left",
    );
    let bar = ProgressBar::new(ledger.expired_count(now)?)
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.enable_steady_tick(Duration::from_millis(100));
    Ok(bar)
}

/// Held while a sweep runs, and let go of by the kernel when the process ends, however it ends.
struct SweepLock(File);

impl SweepLock {
    /// Takes the lock of the ledger at `ledger`; exit code 75 while another sweep has it.
    fn take(ledger: &Path) -> Result<Self, Failure> {
        let mut name = ledger.to_owned().into_os_string();
        name.push(".sweep-lock");
        let path = PathBuf::from(name);
        let unusable = |error| {
            Failure::storage(format!(
                "the lock {} cannot be used: {error}; run this as the account that owns it, or as root",
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
        // Made by root, it would keep the account that sweeps by cron away.
        take_owner_of_directory(&path).map_err(unusable)?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::WouldBlock) => {
                Err(Failure::busy("another sweep runs; this one did nothing"))
            }
            Err(TryLockError::Error(error)) => Err(unusable(error)),
        }
    }

    /// Whether there was a reserve, which others may use now.
    fn give_reserve_back(&self) -> bool {
        let kept = self.0.metadata().is_ok_and(|metadata| metadata.len() > 0);
        kept && self.0.set_len(0).is_ok()
    }

    /// Takes the reserve from the disk, unless it has been taken or is not to be had.
    fn keep_reserve(&self) {
        let kept = self.0.metadata().is_ok_and(|metadata| metadata.len() > 0);
        if !kept && self.0.write_all_at(&vec![0; RESERVE], 0).is_err() {
            let _ = self.0.set_len(0);
        }
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
