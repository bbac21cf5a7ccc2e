//! Several hosts: PostgreSQL for the ledger and a bucket for the images, beside one host with SQLite and a docroot.

use std::fmt::Write as _;
use std::io;

use crate::load::Round;
use crate::report::{Report, size_text};
use crate::targets::own::Design;
use crate::targets::{Target, Workshop};

/// The one host that the others are compared with.
pub const ONE_HOST: &str = "cdn-full";

/// Which servers a target has.
#[derive(Clone, Copy)]
pub struct Kind {
    pub key: &'static str,
    label: &'static str,
    has_database: bool,
    has_bucket: bool,
    /// The key of a second host, if there is one.
    second: Option<&'static str>,
}

pub const KINDS: [Kind; 5] = [
    Kind {
        key: "sqlite-s3",
        label: "SQLite + S3",
        has_database: false,
        has_bucket: true,
        second: None,
    },
    Kind {
        key: "pg-docroot",
        label: "PostgreSQL + docroot",
        has_database: true,
        has_bucket: false,
        second: None,
    },
    Kind {
        key: "pg-docroot-2",
        label: "PostgreSQL + docroot, two hosts",
        has_database: true,
        has_bucket: false,
        second: Some("pg-docroot-2b"),
    },
    Kind {
        key: "pg-s3",
        label: "PostgreSQL + S3",
        has_database: true,
        has_bucket: true,
        second: None,
    },
    Kind {
        key: "pg-s3-2",
        label: "PostgreSQL + S3, two hosts",
        has_database: true,
        has_bucket: true,
        second: Some("pg-s3-2b"),
    },
];

/// Starts the hosts of a target.
pub fn start(workshop: &Workshop<'_>, kind: Kind) -> io::Result<Target> {
    let mut design = Design::new(kind.key, kind.label);
    if kind.has_database {
        design.database = Some(workshop.backends.database()?);
    }
    if kind.has_bucket {
        design.images = Some(workshop.backends.bucket()?);
    }
    let first = workshop.build(&design)?;
    let target = first.start()?;
    match kind.second {
        Some(key) => Ok(target.and(workshop.build_beside(&first, key)?.start()?)),
        None => Ok(target),
    }
}

/// The uploads of these targets beside those of the one host; empty if none was measured.
pub fn table(report: &Report) -> String {
    let mut out = String::new();
    let is_of_scale = |key: &str| key == ONE_HOST || KINDS.iter().any(|kind| kind.key == key);
    for (size, connections) in report.settings() {
        let uploads = report.uploads.iter().filter(|found| {
            (found.size, found.connections) == (size, connections) && is_of_scale(found.target)
        });
        let uploads: Vec<_> = uploads.collect();
        if uploads.iter().all(|found| found.target == ONE_HOST) {
            continue;
        }
        if out.is_empty() {
            out += "\nSeveral hosts on this one machine. CPU of each upload: that of responders and nginx, of PostgreSQL and of the store, which share\n\
                the cores with the load; PostgreSQL syncs each commit, SeaweedFS leaves that to the kernel; × is the ratio to the one host.\n";
        }
        let _ = writeln!(
            out,
            "\n{:<34} {:>9} {:>6} {:>8} {:>8} {:>8} {:>6} {:>10} {:>8}",
            format!("{}, {connections} connections", size_text(size)),
            "uploads/s",
            "×",
            "p50 ms",
            "p99 ms",
            "CPU ms",
            "×",
            "PostgreSQL",
            "store"
        );
        let one = report.find(ONE_HOST, size, connections);
        for found in uploads {
            let Round {
                rate,
                cpu,
                database_cpu,
                store_cpu,
                p50,
                p99,
                ..
            } = found.median;
            let ratio = |own: f64, other: fn(&Round) -> f64| {
                one.map_or("-".to_owned(), |one| {
                    format!("{:.2}", own / other(&one.median))
                })
            };
            let _ = writeln!(
                out,
                "{:<34} {rate:>9.0} {:>6} {p50:>8.2} {p99:>8.2} {cpu:>8.3} {:>6} {database_cpu:>10.3} {store_cpu:>8.3}",
                found.label,
                ratio(rate, |round| round.rate),
                ratio(cpu, |round| round.cpu),
            );
        }
    }
    out
}
