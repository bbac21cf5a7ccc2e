//! Measures the project beside its alternatives, all behind nginx, in one run. `tests/bench/run` builds and starts it.

mod chart;
mod disk;
mod fastcgi;
mod floors;
mod goals;
mod growth;
mod http;
mod load;
mod options;
mod pair;
mod picture;
mod process;
mod report;
mod responder;
mod rows;
mod scale;
mod targets;

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use disk::{Disk, Space};
use floors::Floor;
use load::STOP;
use options::{Hosts, Options, PHP, USAGE};
use picture::Picture;
use report::{FloorRate, Measurement, Report, median};
use responder::Durable;
use targets::backends::Backends;
use targets::{SlowSyncs, Target, Workshop};

/// Workers of PHP-FPM: more than cores, because each is idle while it waits for the ledger.
const PHP_WORKERS: usize = 8;

/// Seconds for which each target is warmed up.
const WARM_UP: f64 = 0.3;

/// Images that are downloaded in turn.
const DELIVERED: u64 = 200;

const DELIVERED_SIZE: usize = 20 * 1024;

/// Rounds of deliveries for each round of uploads.
const DELIVERY_ROUNDS: usize = 3;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    if let [command, socket, directory, rest @ ..] = &arguments[..]
        && command == "responder"
    {
        return exit(responder::serve(
            Path::new(socket),
            Path::new(directory),
            Durable::asked(rest),
        ));
    }
    if arguments
        .iter()
        .any(|argument| argument == "--help" || argument == "-h")
    {
        return exit(print(&format!("{USAGE}\n")));
    }
    match Options::parse(arguments) {
        Ok(options) => exit(run(&options)),
        Err(message) => {
            eprintln!("{message}");
            ExitCode::from(2)
        }
    }
}

fn exit(outcome: io::Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> io::Result<()> {
    stop_on_signals()?;
    let state = std::path::absolute(&options.state)?;
    let space = match (options.smoke, options.growth) {
        (true, _) => Space::SMOKE,
        (false, true) => options.scale.space(options.hosts == Hosts::Several),
        (false, false) if options.hosts == Hosts::Several => Space::SCALE,
        (false, false) => Space::ROUND,
    };
    let disk = Disk::prepare(options.directory.as_deref(), &state, space)?;
    let mut report = Report {
        disk: match options.sync_delay {
            Some(delay) => format!("{}, {delay} ms more for every sync", disk.description),
            None => disk.description.clone(),
        },
        warnings: disk.warnings.clone(),
        cores: std::thread::available_parallelism()?.get(),
        ..Report::default()
    };
    let sockets = Sockets::make()?;
    let own = std::env::current_exe()?;
    let slow_syncs = match options.sync_delay {
        Some(delay) => Some(SlowSyncs::build(&options.slow_sync, &sockets.0, delay)?),
        None => None,
    };
    let backends = Backends::new(disk.path(), &sockets.0);
    let workshop = Workshop {
        disk: disk.path(),
        sockets: &sockets.0,
        binary: &options.binary,
        php: &options.php,
        own: &own,
        slow_syncs: slow_syncs.as_ref(),
        backends: &backends,
    };
    allow_many_files();
    if options.growth {
        if options.hosts == Hosts::Several {
            report.growth_in_postgres = Some(growth::postgres::run(&workshop, options)?);
        } else {
            report.growth = Some(growth::run(&workshop, options)?);
        }
        return write(&report, options, &state);
    }
    if let Some(against) = &options.against {
        let against = std::path::absolute(against)?;
        report.pair = Some(pair::run(&workshop, &against, options)?);
        return write(&report, options, &state);
    }
    let targets = start(&workshop, options, &mut report)?;
    measure_uploads(&targets, options, &mut report)?;
    if options.floors {
        measure_deliveries(&workshop, &targets, options, &mut report)?;
    }
    drop(targets);
    if options.floors {
        measure_floors(disk.path(), options, &mut report)?;
    }
    write(&report, options, &state)
}

fn write(report: &Report, options: &Options, state: &Path) -> io::Result<()> {
    let json = match &options.json {
        Some(file) => file.clone(),
        None if options.smoke => state.join("smoke.json"),
        None if options.growth && options.hosts == Hosts::Several => {
            state.join("growth-scale.json")
        }
        None if options.growth => state.join("growth.json"),
        None if options.hosts == Hosts::Several => state.join("scale.json"),
        None if options.against.is_some() => state.join("pair.json"),
        None => state.join("figures.json"),
    };
    fs::write(&json, format!("{:#}\n", report.json()))?;
    if let Some(file) = &options.svg {
        fs::write(file, chart::svg(report))?;
    }
    print(&format!(
        "{}\nfigures: {}\n",
        report.table(),
        json.display()
    ))
}

/// Writes to standard output. A closed pipe is not an error.
fn print(text: &str) -> io::Result<()> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// A thousand connections are more than the usual limit on open files. Processes that are started from here inherit it.
fn allow_many_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    // Where that is not allowed, the connections that fail say so.
    let _ = setrlimit(Resource::Nofile, raised);
}

/// SIGINT, SIGTERM and SIGHUP end the run with its servers, mounts and files removed.
fn stop_on_signals() -> io::Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGHUP, SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    std::thread::spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        STOP.store(true, Ordering::Relaxed);
    });
    Ok(())
}

/// A directory for sockets, whose paths have to be short (unix(7): 107 bytes).
struct Sockets(PathBuf);

impl Sockets {
    fn make() -> io::Result<Self> {
        let path = std::env::temp_dir().join(format!("corenexis-bench-{}", std::process::id()));
        fs::create_dir(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Sockets {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn start(
    workshop: &Workshop<'_>,
    options: &Options,
    report: &mut Report,
) -> io::Result<Vec<Target>> {
    let mut targets = Vec::new();
    for key in options::targets() {
        let kind = scale::KINDS.into_iter().find(|kind| kind.key == key);
        let is_wanted = match &options.targets {
            Some(wanted) => wanted.iter().any(|wanted| wanted == key),
            None if options.hosts == Hosts::Several => kind.is_some() || key == scale::ONE_HOST,
            None => kind.is_none() || options.smoke,
        };
        if !is_wanted {
            continue;
        }
        let started = match (kind, key) {
            (Some(kind), _) => scale::start(workshop, kind),
            (None, "cdn-full") => workshop.cdn(key, "full"),
            (None, "cdn-relaxed") => workshop.cdn(key, "relaxed"),
            (None, "put") => workshop.put(),
            (None, "bare") => workshop.bare(key, Durable::Nothing),
            (None, "bare-sync") => workshop.bare(key, Durable::File),
            (None, "bare-steps") => workshop.bare(key, Durable::Steps),
            (None, _) => workshop.php(PHP_WORKERS),
        };
        match started {
            Ok(target) => targets.push(target),
            // PHP, PostgreSQL and the store are optional.
            Err(error) if key == PHP || kind.is_some() => {
                report.skipped.push(format!("{key}: {error}"));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(targets)
}

fn measure_uploads(targets: &[Target], options: &Options, report: &mut Report) -> io::Result<()> {
    for &size in &options.sizes {
        let picture = Picture::of_size(size);
        for target in targets {
            load::upload(target, &picture, 4, WARM_UP)?;
        }
        for &connections in &options.connections {
            eprintln!("{}, {connections} connections …", report::size_text(size));
            let rounds = load::in_turn(targets.len(), options.rounds, |at| {
                load::upload(&targets[at], &picture, connections, options.seconds)
            })?;
            report
                .uploads
                .extend(targets.iter().zip(rounds).map(|(target, rounds)| {
                    let names = (target.key, target.label);
                    Measurement::new(names, size, connections, &rounds)
                }));
        }
    }
    Ok(())
}

/// The cost of the headers of images.
fn measure_deliveries(
    workshop: &Workshop<'_>,
    targets: &[Target],
    options: &Options,
    report: &mut Report,
) -> io::Result<()> {
    let Some(cdn) = targets.iter().find(|target| target.key.starts_with("cdn-")) else {
        return Ok(());
    };
    eprintln!("delivery …");
    let picture = Picture::of_size(DELIVERED_SIZE);
    let paths = load::deposit(cdn, &picture, DELIVERED)?;
    let deliveries = workshop.deliveries(cdn)?;
    // The differences are small, so that many short rounds say more than a few long ones.
    let (rounds, seconds) = (options.rounds * DELIVERY_ROUNDS, options.seconds.min(1.0));
    let rounds = load::in_turn(deliveries.len(), rounds, |at| {
        load::download(&deliveries[at], &paths, DELIVERED_SIZE, 16, seconds)
    })?;
    for (target, rounds) in deliveries.iter().zip(rounds) {
        let names = (target.key, target.label);
        report
            .downloads
            .push(Measurement::new(names, DELIVERED_SIZE, 16, &rounds));
    }
    Ok(())
}

fn measure_floors(directory: &Path, options: &Options, report: &mut Report) -> io::Result<()> {
    eprintln!("loops without a server …");
    let picture = Picture::of_size(20 * 1024);
    let mut rates = vec![Vec::new(); Floor::ALL.len()];
    for _ in 0..options.rounds {
        for (floor, rates) in Floor::ALL.iter().zip(&mut rates) {
            let seconds = options.seconds.min(2.0);
            rates.push(floor.measure(directory, picture.bytes(), seconds)?);
        }
    }
    for (floor, rates) in Floor::ALL.iter().zip(rates) {
        report.floors.push(FloorRate {
            key: floor.key,
            label: floor.label,
            rate: median(rates),
        });
    }
    Ok(())
}
