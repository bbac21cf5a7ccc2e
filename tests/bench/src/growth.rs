//! The cost of a large ledger, a large docroot, a large sweep and many connections.

pub mod memory;
pub mod postgres;
mod report;
mod rows;

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant, UNIX_EPOCH};

use crate::disk::{Space, settle};
use crate::load::{self, Round};
use crate::options::Options;
use crate::picture::Picture;
use crate::process::{Server, cpu_time, output};
use crate::report::{Measurement, median};
use crate::targets::own::{MAX_CONNECTIONS, Site};
use crate::targets::{Target, Workshop};
use memory::Memory;
pub use report::Report;

/// The size of a run.
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    pub rows: u64,
    pub files: u64,
}

impl Scale {
    pub const FULL: Self = Self {
        rows: 10_000_000,
        files: 1_000_000,
    };

    /// A block for each file, about 130 bytes for each row in SQLite and 300 in PostgreSQL, whose log and sorts for the indexes take more
    /// than that again, and room for the uploads.
    pub const fn space(self, is_postgres: bool) -> Space {
        let row = if is_postgres { 800 } else { 130 };
        Space {
            bytes: (4 << 30) + self.files * 5_000 + self.rows * row,
            bytes_per_file: 4096,
        }
    }
}

/// The time until the responder listened.
#[derive(Debug, Default, Clone, Copy)]
pub struct Starts {
    pub empty: Duration,
    pub grown: Duration,
}

#[derive(Debug, Clone)]
pub struct Sweep {
    /// Its report.
    pub said: String,
    pub took: Duration,
    pub cpu: Duration,
    /// Peak resident bytes.
    pub peak: u64,
    /// Files per second of the unlink loop before and after.
    pub loops: [f64; 2],
}

/// Starts of which the median counts.
const STARTS: usize = 5;

const CONNECTIONS: usize = 16;

/// Connections whose latency tells what a sweep adds, because they do not queue for the processor by themselves.
const FEW_CONNECTIONS: usize = 4;

pub fn run(workshop: &Workshop<'_>, options: &Options) -> io::Result<Report> {
    let scale = options.scale;
    let now = now()?;
    let empty = workshop.site("empty", "full", MAX_CONNECTIONS)?;
    let grown = workshop.site("grown", "full", MAX_CONNECTIONS)?;
    eprintln!("{} rows …", scale.rows);
    let expired = rows::expired(scale.files, now);
    rows::insert(&grown.ledger(), &rows::of(scale, now), now).map_err(io::Error::other)?;
    let ledger_bytes = fs::metadata(grown.ledger())?.len();
    eprintln!("{} files …", scale.files);
    rows::make_files(&grown.docroot().join("p"), &expired)?;
    settle(workshop.disk)?;

    eprintln!("start …");
    let starts = Starts {
        empty: start_time(&empty)?,
        grown: start_time(&grown)?,
    };
    eprintln!("uploads …");
    let uploads = uploads([&empty, &grown], options)?;
    eprintln!("sweep …");
    let sweep = sweep(&grown, scale.files, workshop.disk)?;
    eprintln!("uploads beside a sweep …");
    rows::insert(&grown.ledger(), &rows::expired(scale.files, now), now)
        .map_err(io::Error::other)?;
    rows::make_files(&grown.docroot().join("p"), &expired)?;
    settle(workshop.disk)?;
    let beside = beside_sweep(&grown, options, |_, _| Ok(()))?;
    eprintln!("memory …");
    let memory: Memory = memory::measure(workshop, "memory", options.seconds)?;
    Ok(Report {
        scale,
        ledger_bytes,
        starts,
        uploads,
        sweep,
        beside,
        memory,
    })
}

/// Seconds since 1970.
fn now() -> io::Result<i64> {
    let now = UNIX_EPOCH.elapsed().map_err(io::Error::other)?;
    Ok(now.as_secs().cast_signed())
}

fn start_time(site: &Site) -> io::Result<Duration> {
    let mut times = Vec::new();
    for _ in 0..STARTS {
        let (responder, took) = site.start_responder()?;
        drop(responder);
        times.push(took.as_secs_f64());
    }
    Ok(Duration::from_secs_f64(median(times)))
}

/// The same uploads to both ledgers in turn.
fn uploads(sites: [&Site; 2], options: &Options) -> io::Result<[Measurement; 2]> {
    let mut targets = Vec::new();
    for site in sites {
        targets.push(start(site)?);
    }
    let picture = Picture::of_size(20 * 1024);
    let upload = |target: &Target| load::upload(target, &picture, CONNECTIONS, options.seconds);
    for target in &targets {
        upload(target)?;
    }
    let rounds = load::in_turn(2, options.rounds * 2, |at| upload(&targets[at]))?;
    let names = [("empty", "an empty ledger"), ("grown", "the large one")];
    let size = picture.bytes().len();
    Ok([0, 1].map(|at| Measurement::new(names[at], size, CONNECTIONS, &rounds[at])))
}

/// A site whose images for a month are those of the benchmark. What lies beside them stays.
fn start(site: &Site) -> io::Result<Target> {
    let (responder, _) = site.start_responder()?;
    let mut target = site.behind_nginx(responder)?;
    target.store = target.store.join("m");
    fs::create_dir_all(&target.store)?;
    Ok(target)
}

/// Uploads by themselves, and while a sweep runs, which `watch` sees with its start after each round.
fn beside_sweep(
    site: &Site,
    options: &Options,
    mut watch: impl FnMut(&mut Server, Instant) -> io::Result<()>,
) -> io::Result<[Measurement; 2]> {
    let target = start(site)?;
    let picture = Picture::of_size(20 * 1024);
    let upload = || load::upload(&target, &picture, FEW_CONNECTIONS, options.seconds.min(1.0));
    upload()?;
    let alone = (0..options.rounds)
        .map(|_| upload())
        .collect::<io::Result<Vec<_>>>()?;
    let log = site.home.join("sweep.log");
    let began = Instant::now();
    let mut sweep = Server::start(site.command().args(["sweep", "--json"]), &log)?;
    let mut beside = Vec::new();
    let status = loop {
        let round = upload()?;
        watch(&mut sweep, began)?;
        let ended = sweep.ended()?;
        // The sweep ended somewhere in the last round, which counts only if there is no other.
        if ended.is_none() || beside.is_empty() {
            beside.push(round);
        }
        if let Some(status) = ended {
            break status;
        }
    };
    if !status.success() {
        return Err(io::Error::other(format!("sweep: {}", sweep.last_lines())));
    }
    let bytes = picture.bytes().len();
    let measurement =
        |names, rounds: &[Round]| Measurement::new(names, bytes, FEW_CONNECTIONS, rounds);
    Ok([
        measurement(("alone", "no sweep"), &alone),
        measurement(("beside", "a sweep"), &beside),
    ])
}

/// The sweep, between two halves of an unlink loop over as many files.
fn sweep(site: &Site, files: u64, disk: &Path) -> io::Result<Sweep> {
    let before = unlink_loop(disk, files / 2)?;
    let began = Instant::now();
    let log = site.home.join("sweep.log");
    let mut child = Server::start(site.command().args(["sweep", "--json"]), &log)?;
    let (mut peak, mut cpu) = (0, Duration::ZERO);
    let took = loop {
        // The last sample is at most one interval before the end.
        peak = crate::process::peak_resident(child.pid())
            .unwrap_or(0)
            .max(peak);
        cpu = cpu_time(&[child.pid()]).max(cpu);
        if let Some(status) = child.ended()? {
            let took = began.elapsed();
            if !status.success() {
                return Err(io::Error::other(format!("sweep: {}", child.last_lines())));
            }
            break took;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let said = child.last_lines();
    let expected = format!(r#""expired":{files},"#);
    if !said.contains(&expected) {
        return Err(io::Error::other(format!(
            "sweep: not {expected} but {said}"
        )));
    }
    let left = output(
        Command::new("find")
            .arg(site.docroot().join("p/d"))
            .args(["-type", "f"]),
    )?;
    if !left.is_empty() {
        return Err(io::Error::other("the sweep left files behind"));
    }
    settle(disk)?;
    let after = unlink_loop(disk, files - files / 2)?;
    Ok(Sweep {
        said,
        took,
        cpu,
        peak,
        loops: [before, after],
    })
}

/// Files a second of a loop that does nothing but unlink, over files like those of the sweep and in the same order.
fn unlink_loop(disk: &Path, files: u64) -> io::Result<f64> {
    let root = disk.join("unlinked");
    let paths = rows::make_files(&root, &rows::expired(files, 0))?;
    settle(disk)?;
    let began = Instant::now();
    paths.iter().try_for_each(fs::remove_file)?;
    let took = began.elapsed();
    fs::remove_dir_all(&root)?;
    settle(disk)?;
    Ok(files as f64 / took.as_secs_f64())
}
