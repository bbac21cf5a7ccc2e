//! `sweep`: deletes what has expired; run by cron.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use time::UtcDateTime;

use super::{Failure, print, recover};
use crate::config::Config;
use crate::ledger::Ledger;
use crate::purge::Purger;
use crate::site::{self, Site};
use crate::store;
use crate::sweep::{Report, Sweep};
use crate::timestamp::Timestamp;

/// Calls of the purge command after a sweep, on a host whose responder makes none: that of fcgiwrap.
const PURGE_CALLS: usize = 100;

pub(super) fn sweep(
    config: &Config,
    dry_run: bool,
    even_doubtful: bool,
    json: bool,
) -> Result<(), Failure> {
    let site = site::open_to_sweep(config)?;
    let recovered = recover(config, &site);
    let Site { ledger, store } = &site;
    let began = Instant::now();
    let now = UtcDateTime::now();
    let bar = progress_bar(&**ledger, now)?;
    let sweep = Sweep {
        ledger: &**ledger,
        store: &**store,
        now,
        dry_run,
        even_doubtful,
        addresses_before: match config.abuse.keep_addresses() {
            Some(kept) => Timestamp::from(now).minus(kept.as_secs().cast_signed()),
            // Those of a time when they were kept, too.
            None => Timestamp(i64::MAX),
        },
        reconciles: recovered.is_ok(),
        purges: config.site.purge_command.is_some(),
        progress: &|report| bar.set_position(report.expired + report.failed),
    };
    let outcome = sweep.run();
    bar.finish_and_clear();
    let report = outcome.map_err(Failure::storage)?;
    if !dry_run {
        site.renew_mark()?;
    }
    if !dry_run
        && let Some(purger) = Purger::new(config, &**ledger)
        && let Some(failure) = purger.run(PURGE_CALLS)?.failure
    {
        eprintln!("The purge command failed: {}.", failure.cause);
    }
    print(&if json {
        machine_readable(&report, dry_run)
    } else {
        summary(&report, dry_run, began.elapsed())
    })?;
    if report.doubtful_rows > 0 {
        return Err(Failure::failed(format!(
            "of a recent day nearly all images are missing: {} rows without files were left alone. Are {} and ledger {} the right ones? \
             `corenexis-cdn verify` lists them; `corenexis-cdn sweep --yes` deletes them",
            report.doubtful_rows,
            store::place(config),
            config.ledger
        )));
    }
    if report.failed > 0 {
        let advice = match config.storage.s3 {
            Some(_) => "`corenexis-cdn doctor` says whether the access key may delete".to_owned(),
            None => format!(
                "does the user that sweeps own {}?",
                config.storage.docroot.display()
            ),
        };
        return Err(Failure::storage(format!(
            "{} images could not be deleted; {advice}",
            report.failed
        )));
    }
    recovered
}

/// A bar over the expired images, which take most of a long sweep.
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

fn machine_readable(report: &Report, dry_run: bool) -> String {
    let report = json!({
        "dry_run": dry_run,
        "expired": report.expired,
        "bytes": report.bytes,
        "quarantine_ended": report.quarantine_ended,
        "quarantined": report.quarantined,
        "abandoned": report.abandoned,
        "withdrawn": report.refunded,
        "orphaned": report.orphaned,
        "directories": report.directories,
        "failed": report.failed,
        "doubtful_rows": report.doubtful_rows,
        "addresses": report.addresses,
    });
    format!("{report}\n")
}

fn summary(report: &Report, dry_run: bool, took: Duration) -> String {
    let verb = if dry_run { "would delete" } else { "deleted" };
    format!(
        "{verb} {} expired images ({} bytes), {} abandoned uploads, {} rows without files, {} files without rows, \
         {} images whose quarantine ended, {} empty directories, {} addresses of uploaders in {:.1} s\n",
        report.expired,
        report.bytes,
        report.abandoned,
        report.refunded,
        report.orphaned,
        report.quarantine_ended,
        report.directories,
        report.addresses,
        took.as_secs_f64()
    )
}
