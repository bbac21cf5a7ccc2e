//! `verify`: ledger against store.

use std::io::{self, BufWriter, IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use time::UtcDateTime;

use super::{Failure, confirm, recover, unwritten};
use crate::cli::VerifyArguments;
use crate::config::Config;
use crate::image_path::Directory;
use crate::ledger::StorageUse;
use crate::site::{self, Site, SiteError};
use crate::verify::{Difference, Finding, Report, Subject, Verification, VerifyError};

pub(super) fn verify(config: &Config, arguments: &VerifyArguments) -> Result<(), Failure> {
    let &VerifyArguments {
        repair,
        rebuild,
        accept,
        yes,
        json,
    } = arguments;
    let site = match (accept, rebuild) {
        (true, _) => accept_pair(config, yes)?,
        (false, true) => site::open_to_rebuild(config)?,
        (false, false) => site::open_existing(config)?,
    };
    recover(config, &site)?;
    let Site { ledger, store } = site;
    let place = store.place();
    let began = Instant::now();
    let bar = progress_bar();
    let mut out = Output::new(BufWriter::new(io::stdout().lock()), json);
    // Lines go between the frames of the bar only where both share the terminal.
    let shared = io::stdout().is_terminal();
    let mut tell = |finding: &Finding| {
        if shared {
            bar.suspend(|| out.tell(finding).and_then(|()| out.flush()))
        } else {
            out.tell(finding)
        }
    };
    let outcome = Verification {
        ledger: &*ledger,
        store: &*store,
        now: UtcDateTime::now(),
        repair,
        rebuild: rebuild.then(|| config.first_plan()),
        tell: &mut tell,
        progress: &|report| {
            bar.set_position(report.directories);
            bar.set_message(format!("{} images", report.images + report.unknown));
        },
    }
    .run();
    bar.finish_and_clear();
    let report = outcome.map_err(|error| match error {
        VerifyError::Told(error) => unwritten(&error),
        error => Failure::storage(error),
    })?;
    out.finish(&report, began.elapsed())
        .map_err(|error| unwritten(&error))?;
    match report.remaining() {
        0 => Ok(()),
        remaining => Err(Failure::failed(format!(
            "the ledger and the {place} differ: {remaining} differences are left{}",
            advice(&report, repair, rebuild)
        ))),
    }
}

/// Makes ledger and docroot a pair after asking, unless they are one.
fn accept_pair(config: &Config, yes: bool) -> Result<Site, Failure> {
    if let Err(mismatch @ SiteError::Mismatch(_)) = site::check(config)
        && !yes
    {
        confirm(
            &format!("{mismatch}.\nTake them for a pair?"),
            "ledger and docroot were not joined",
        )?;
    }
    Ok(site::accept(config)?)
}

fn advice(report: &Report, repair: bool, rebuild: bool) -> &'static str {
    let repairable =
        report.missing + report.dimensions + report.times + report.quarantine + report.storage > 0
            && !repair;
    match (repairable, report.unknown > 0 && !rebuild) {
        (true, true) => "; --repair and --rebuild repair what can be repaired",
        (true, false) => "; --repair repairs what can be repaired",
        (false, true) => "; --rebuild adds rows for files without rows",
        (false, false) => "",
    }
}

fn progress_bar() -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} directories, {msg}");
    let bar = ProgressBar::new(Directory::COUNT)
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

/// Findings as they come, then the summary: lines, or one JSON document that is never held in memory.
struct Output<W> {
    out: W,
    json: bool,
    told: bool,
}

impl<W: Write> Output<W> {
    const fn new(out: W, json: bool) -> Self {
        Self {
            out,
            json,
            told: false,
        }
    }

    fn tell(&mut self, finding: &Finding) -> io::Result<()> {
        let outcome = if self.json {
            let before = if self.told {
                ",\n"
            } else {
                "{\"differences\":[\n"
            };
            write!(self.out, "{before}{}", machine_readable(finding))
        } else {
            writeln!(self.out, "{finding}")
        };
        self.told = true;
        unless_left(outcome)
    }

    fn flush(&mut self) -> io::Result<()> {
        unless_left(self.out.flush())
    }

    fn finish(mut self, report: &Report, took: Duration) -> io::Result<()> {
        let outcome = if self.json {
            let before = if self.told {
                "\n],"
            } else {
                "{\"differences\":[],"
            };
            let counts = counts(report).to_string();
            writeln!(
                self.out,
                "{before}{}",
                counts.strip_prefix('{').unwrap_or(&counts)
            )
        } else {
            writeln!(self.out, "{}", summary(report, took))
        };
        unless_left(outcome.and_then(|()| self.out.flush()))
    }
}

/// A reader that has left, such as `head`, does not stop a repair.
fn unless_left(outcome: io::Result<()>) -> io::Result<()> {
    outcome.or_else(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Ok(()),
        _ => Err(error),
    })
}

fn machine_readable(finding: &Finding) -> Value {
    let mut object = json!({
        "difference": finding.difference.name(),
        "repaired": finding.repaired,
    });
    match &finding.subject {
        Subject::Image(path) => object["path"] = json!(path.as_str()),
        Subject::Client(id) => object["client"] = json!(id),
    }
    match &finding.difference {
        Difference::Size { recorded, found } => {
            object["recorded_bytes"] = json!(recorded);
            object["found_bytes"] = json!(found);
        }
        Difference::Dimensions { recorded, found } => {
            object["recorded_dimensions"] = json!(recorded);
            object["found_dimensions"] = json!(found);
        }
        Difference::Time { recorded, found } => {
            object["recorded_expiry"] = json!(recorded.0);
            object["found_expiry"] = json!(found.0);
        }
        Difference::Storage { recorded, found } => {
            let count =
                |storage: &StorageUse| json!({ "images": storage.images, "bytes": storage.bytes });
            object["recorded_storage"] = count(recorded);
            object["found_storage"] = count(found);
        }
        Difference::Quarantine { is_served } => object["served"] = json!(is_served),
        Difference::Missing | Difference::Unknown | Difference::Unreadable => {}
    }
    if let Some(cause) = &finding.cause {
        object["cause"] = json!(cause);
    }
    object
}

fn counts(report: &Report) -> Value {
    json!({
        "images": report.images,
        "bytes": report.bytes,
        "pending": report.pending,
        "missing": report.missing,
        "unknown": report.unknown,
        "sizes": report.sizes,
        "dimensions": report.dimensions,
        "times": report.times,
        "quarantine": report.quarantine,
        "unreadable": report.unreadable,
        "storage": report.storage,
        "repaired": report.repaired,
        "remaining": report.remaining(),
    })
}

fn summary(report: &Report, took: Duration) -> String {
    format!(
        "compared {} images ({} bytes): {} rows without files, {} files without rows, {} other sizes, {} other dimensions, {} wrong times, \
         {} half in quarantine, {} unreadable, {} wrong counts of storage; \
         {} repaired, {} left; in {:.1} s",
        report.images,
        report.bytes,
        report.missing,
        report.unknown,
        report.sizes,
        report.dimensions,
        report.times,
        report.quarantine,
        report.unreadable,
        report.storage,
        report.repaired,
        report.remaining(),
        took.as_secs_f64()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timestamp::Timestamp;

    fn finding(difference: Difference, cause: Option<&str>) -> Finding {
        Finding {
            subject: Subject::Image("d/ap5/AbCdEf.png".parse().expect("a path")),
            difference,
            repaired: false,
            cause: cause.map(str::to_owned),
        }
    }

    fn written(findings: &[Finding], json: bool) -> String {
        let mut bytes = Vec::new();
        let mut out = Output::new(&mut bytes, json);
        for finding in findings {
            out.tell(finding).expect("written");
        }
        let report = Report {
            sizes: findings.len() as u64,
            ..Report::default()
        };
        out.finish(&report, Duration::ZERO).expect("written");
        String::from_utf8(bytes).expect("text")
    }

    #[test]
    fn the_json_is_one_document() {
        let size = Difference::Size {
            recorded: 5,
            found: 3,
        };
        let findings = [
            finding(size, None),
            finding(Difference::Unreadable, Some("a \"cause\"")),
        ];
        let report: Value = serde_json::from_str(&written(&findings, true)).expect("JSON");
        assert_eq!(report["differences"][0]["recorded_bytes"], 5);
        assert_eq!(report["differences"][1]["cause"], "a \"cause\"");
        assert_eq!(report["remaining"], 2);
        let clean: Value = serde_json::from_str(&written(&[], true)).expect("JSON");
        assert_eq!(clean["differences"], json!([]));
        assert_eq!(clean["remaining"], 0);
    }

    #[test]
    fn the_lines_name_the_image() {
        let time = Difference::Time {
            recorded: Timestamp(100),
            found: Timestamp(40),
        };
        let text = written(
            &[
                finding(time, None),
                Finding {
                    repaired: true,
                    ..finding(Difference::Missing, None)
                },
            ],
            false,
        );
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "time d/ap5/AbCdEf.png: expires -60 s off its row");
        assert_eq!(lines[1], "missing d/ap5/AbCdEf.png (repaired)");
        assert!(lines[2].starts_with("compared 0 images"), "{text}");
    }
}
