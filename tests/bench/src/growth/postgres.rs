//! The cost of a large ledger in PostgreSQL: uploads, a client's list, and a sweep beside uploads.

use std::fmt::Write as _;
use std::io::{self, BufWriter, Write};
use std::process::Stdio;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::rows::{self, Day};
use super::{FEW_CONNECTIONS, Scale, start};
use crate::disk::settle;
use crate::goals::Goals;
use crate::load::{self, STOP};
use crate::options::Options;
use crate::picture::Picture;
use crate::process::{Processes, Server};
use crate::report::{MIB, Measurement};
use crate::targets::own::{Design, Site};
use crate::targets::{Target, Workshop};

/// The figures of a run.
pub struct Report {
    scale: Scale,
    /// Bytes of the table of images with its indexes.
    bytes: f64,
    filled_in: Duration,
    /// Into an empty ledger, and into the large one.
    uploads: [Measurement; 2],
    /// The first page of a client's list, in both.
    lists: [Measurement; 2],
    /// Uploads without a sweep, and beside one.
    beside: [Measurement; 2],
    swept_in: Duration,
    /// CPU time of the sweep.
    sweep_cpu: Duration,
}

pub fn run(workshop: &Workshop<'_>, options: &Options) -> io::Result<Report> {
    let scale = options.scale;
    let now = super::now()?;
    let build = |key, label| {
        workshop.build(&Design {
            database: Some(workshop.backends.database()?),
            ..Design::new(key, label)
        })
    };
    let empty = build("empty", "PostgreSQL, an empty ledger")?;
    let grown = build("grown", "PostgreSQL, the large one")?;
    eprintln!("{} rows …", scale.rows);
    let began = Instant::now();
    let expired = rows::expired(scale.files, now);
    let bytes = fill(workshop, &grown, &rows::of(scale, now), now)?;
    let filled_in = began.elapsed();
    eprintln!("{} files …", scale.files);
    rows::make_files(&grown.docroot().join("p"), &expired)?;
    settle(workshop.disk)?;

    eprintln!("uploads …");
    let uploads = super::uploads([&empty, &grown], options)?;
    eprintln!("lists …");
    let lists = lists([&empty, &grown], options)?;
    eprintln!("uploads beside a sweep …");
    let (beside, swept_in, sweep_cpu) = beside_sweep(&grown, options, scale.files)?;
    Ok(Report {
        scale,
        bytes,
        filled_in,
        uploads,
        lists,
        beside,
        swept_in,
        sweep_cpu,
    })
}

/// Copies rows into a ledger that has one client. Returns the bytes of the table with its indexes.
fn fill(workshop: &Workshop<'_>, site: &Site, days: &[Day], now: i64) -> io::Result<f64> {
    let server = workshop.backends.postgres()?;
    let database = site.database.as_ref().map(|database| &*database.name);
    let database = database.ok_or_else(|| io::Error::other("no database"))?;
    let run = |sql: &str| server.run(database, sql);
    let indexes = run(
        "SELECT indexdef FROM pg_indexes WHERE schemaname = 'corenexis' AND tablename = 'image' AND indexname <> 'image_pkey'",
    );
    run("DO $$ DECLARE name text; BEGIN
             FOR name IN SELECT indexname FROM pg_indexes
                 WHERE schemaname = 'corenexis' AND tablename = 'image' AND indexname <> 'image_pkey'
             LOOP EXECUTE 'DROP INDEX corenexis.' || name; END LOOP;
         END $$");
    run("ALTER TABLE corenexis.image DISABLE TRIGGER USER");
    let client = run("SELECT key FROM corenexis.client");
    copy(server.psql(
        database,
        "COPY corenexis.image (path, client, size, width, height, uploaded_at, expires_at) FROM STDIN",
    ), days, &client, now)?;
    for index in indexes.lines() {
        run(&format!("SET maintenance_work_mem = '512MB'; {index}"));
    }
    run("ALTER TABLE corenexis.image ENABLE TRIGGER USER");
    run(
        "UPDATE corenexis.client SET stored_images = found.images, stored_bytes = found.bytes
             FROM (SELECT count(*) AS images, sum(size) AS bytes FROM corenexis.image) AS found",
    );
    run("VACUUM ANALYZE corenexis.image");
    run("CHECKPOINT");
    let bytes = run("SELECT pg_total_relation_size('corenexis.image')");
    bytes.parse().map_err(io::Error::other)
}

/// Writes rows in the order of their paths to the standard input of a `COPY`.
fn copy(mut psql: std::process::Command, days: &[Day], client: &str, now: i64) -> io::Result<()> {
    let mut child = psql.stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
    let input = child
        .stdin
        .take()
        .ok_or_else(|| io::Error::other("no pipe"))?;
    let mut input = BufWriter::with_capacity(1 << 20, input);
    let mut in_order: Vec<_> = days.iter().collect();
    in_order.sort_by(|one, other| one.directory.cmp(&other.directory));
    for day in in_order {
        let uploaded_at = day.uploaded_at(now);
        let expires_at = match day.expires_at {
            Some(at) => at.to_string(),
            None => "\\N".to_owned(),
        };
        for name in day.names() {
            writeln!(
                input,
                "{}/{name}\t{client}\t{}\t640\t480\t{uploaded_at}\t{expires_at}",
                day.directory,
                rows::CONTENT.len(),
            )?;
        }
        if STOP.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::Interrupted.into());
        }
    }
    input.flush()?;
    drop(input);
    let status = child.wait()?;
    if status.success() {
        Ok(())
    } else {
        Err(io::Error::other(format!("COPY: {status}")))
    }
}

/// The first page of the same client's list in both ledgers in turn.
fn lists(sites: [&Site; 2], options: &Options) -> io::Result<[Measurement; 2]> {
    let targets = [start(sites[0])?, start(sites[1])?];
    let list = |target: &Target| load::list(target, FEW_CONNECTIONS, options.seconds.min(1.0));
    // Both have as many images as a page shows.
    let picture = Picture::of_size(20 * 1024);
    for target in &targets {
        load::deposit(target, &picture, 110)?;
        target.empty()?;
        list(target)?;
    }
    let rounds = load::in_turn(2, options.rounds, |at| list(&targets[at]))?;
    let names = [
        ("list-empty", "an empty ledger"),
        ("list-grown", "the large one"),
    ];
    Ok([0, 1].map(|at| Measurement::new(names[at], 0, FEW_CONNECTIONS, &rounds[at])))
}

/// Uploads by themselves, and while a sweep deletes `expired` images; also the time and the CPU time of the sweep.
fn beside_sweep(
    site: &Site,
    options: &Options,
    expired: u64,
) -> io::Result<([Measurement; 2], Duration, Duration)> {
    let mut cpu = Duration::ZERO;
    let mut took = Duration::ZERO;
    let measurements = super::beside_sweep(site, options, |sweep: &mut Server, began: Instant| {
        cpu = Processes::now().cpu_time(&[sweep.pid()]).max(cpu);
        took = began.elapsed();
        let said = sweep.last_lines();
        let expected = format!(r#""expired":{expired},"#);
        if said.is_empty() || said.contains(&expected) {
            Ok(())
        } else {
            Err(io::Error::other(format!(
                "sweep: not {expected} but {said}"
            )))
        }
    })?;
    Ok((measurements, took, cpu))
}

impl Report {
    fn goals(&self) -> Goals {
        let mut goals = Goals::default();
        let (rows, uploads) = (self.scale.rows, &self.uploads);
        goals.growth("CPU beside PostgreSQL", rows, uploads, |round| round.cpu);
        goals.growth("CPU of PostgreSQL", rows, uploads, |round| {
            round.database_cpu
        });
        goals
    }

    fn sweep_rate(&self) -> f64 {
        self.scale.files as f64 / self.swept_in.as_secs_f64()
    }

    pub fn table(&self) -> String {
        let mut out = format!(
            "\nledger in PostgreSQL: {} rows in {:.0} MiB with their indexes, {:.0} bytes each, filled in {:.0} s\n",
            self.scale.rows,
            self.bytes / MIB,
            self.bytes / self.scale.rows as f64,
            self.filled_in.as_secs_f64(),
        );
        let mut line = |name: &str, value: String| {
            let _ = writeln!(out, "{name:<52} {value:>12}");
        };
        for found in &self.uploads {
            line(
                &format!("durable uploads of 20 KiB into {}", found.label),
                format!("{:.0}/s", found.median.rate),
            );
            let (own, database) = (found.median.cpu, found.median.database_cpu);
            line(
                "  CPU of each, PostgreSQL's",
                format!("{own:.3}, {database:.3} ms"),
            );
            line("  p50, p99", found.latencies());
        }
        for found in &self.lists {
            line(
                &format!("a client's first page of 100, {}: p50, p99", found.label),
                found.latencies(),
            );
        }
        line(
            "sweep beside uploads",
            format!("{:.1} s", self.swept_in.as_secs_f64()),
        );
        line("  images", format!("{:.0}/s", self.sweep_rate()));
        line("  CPU", format!("{:.1} s", self.sweep_cpu.as_secs_f64()));
        for found in &self.beside {
            line(
                &format!("uploads beside {}: rate", found.label),
                format!("{:.0}/s", found.median.rate),
            );
            line("  p50, p99", found.latencies());
        }
        out + &self.goals().table()
    }

    pub fn json(&self) -> Value {
        let measurements =
            |pair: &[Measurement; 2]| pair.each_ref().map(Measurement::json).to_vec();
        json!({
            "rows": self.scale.rows,
            "bytes": self.bytes,
            "filled_in_seconds": self.filled_in.as_secs_f64(),
            "uploads": measurements(&self.uploads),
            "lists": measurements(&self.lists),
            "uploads_beside_a_sweep": measurements(&self.beside),
            "sweep": {
                "images": self.scale.files,
                "seconds": self.swept_in.as_secs_f64(),
                "per_second": self.sweep_rate(),
                "cpu_seconds": self.sweep_cpu.as_secs_f64(),
            },
            "goals": self.goals().json(),
        })
    }
}
