//! The command line.

use std::path::PathBuf;

use crate::growth::Scale;
use crate::scale::KINDS;

pub const USAGE: &str = "usage: tests/bench/run [OPTIONS]

Measures this project and its alternatives, each behind an nginx of its own, in interleaved rounds, and prints medians, ratios and
the project's goals. Ends with 0 when every reply and every compared file was right, whatever the speed.

  --brief              the durable and the relaxed project at 20 KiB over 16 and 64 connections: rates, CPU and goals in a minute
  --quick              20 KiB and 500 KiB over 16 connections, two short rounds
  --scale              PostgreSQL and an S3-compatible store, one host and two, beside the one host: minutes; takes PostgreSQL and SeaweedFS
  --against BINARY     the program in turn with another build of it: size, start, rates, CPU and memory as ratios
  --growth             a ledger of 10 million images, a docroot and a sweep of a million, start, memory: minutes, and 10 GiB of disk
  --growth --scale     a ledger of 10 million images in PostgreSQL: uploads, lists, a sweep of a million: minutes, and 20 GiB of disk
  --smoke              whether all of it works: half a second of everything at 20 KiB over 4 connections, debug builds
  --dir DIR            measure the file system of DIR (default: a journaled ext4 of its own where root may mount one)
  --json FILE          write the figures there (default: figures.json, growth.json or smoke.json in target/bench)
  --svg FILE           draw a chart
  --targets KEY,…      only these: cdn-full cdn-relaxed put php bare bare-sync bare-steps
                       sqlite-s3 pg-docroot pg-docroot-2 pg-s3 pg-s3-2
  --sizes BYTES,…      sizes of the uploads (default: 20480,512000,4718592)
  --connections N,…    connections (default: 1,16,64)
  --rounds N           rounds of each measurement, whose median counts (default: 3)
  --seconds S          length of a round (default: 3)
  --rows N, --files N  another scale of --growth
  --no-floors          leave out the loops without a server, and delivery
  --sync-delay MS      make every sync of the servers take so much longer, as on a rented disk; takes cc, leaves out the floors

Examples:
  tests/bench/run --brief
  tests/bench/run --seconds 1 --svg chart.svg
  tests/bench/run --brief --sync-delay 5
  tests/bench/run --sizes 512000 --connections 16 --targets cdn-relaxed,put --no-floors";

/// Measured where it is installed.
pub const PHP: &str = "php";

/// The targets of uploads on one host.
const ON_ONE_HOST: [&str; 7] = [
    "cdn-full",
    "cdn-relaxed",
    "put",
    "bare",
    "bare-sync",
    "bare-steps",
    PHP,
];

/// The targets of uploads.
pub fn targets() -> impl Iterator<Item = &'static str> {
    ON_ONE_HOST.into_iter().chain(KINDS.map(|kind| kind.key))
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hosts {
    /// One host with SQLite and a docroot, and its alternatives.
    One,
    /// The targets of [`crate::scale`], or growth in PostgreSQL.
    Several,
}

pub struct Options {
    pub binary: PathBuf,
    pub php: PathBuf,
    pub state: PathBuf,
    pub directory: Option<PathBuf>,
    pub json: Option<PathBuf>,
    pub svg: Option<PathBuf>,
    pub targets: Option<Vec<String>>,
    pub sizes: Vec<usize>,
    pub connections: Vec<usize>,
    pub rounds: usize,
    pub seconds: f64,
    pub floors: bool,
    pub growth: bool,
    pub hosts: Hosts,
    /// Another build of the program.
    pub against: Option<PathBuf>,
    pub smoke: bool,
    /// Milliseconds that every sync of the servers takes longer.
    pub sync_delay: Option<usize>,
    /// The source of the library that delays syncs.
    pub slow_sync: PathBuf,
    pub scale: Scale,
}

impl Options {
    /// Parses the arguments; the error is the message for the user.
    pub fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let mut options = Self {
            binary: PathBuf::new(),
            php: PathBuf::new(),
            state: PathBuf::new(),
            directory: None,
            json: None,
            svg: None,
            targets: None,
            sizes: vec![20 * 1024, 500 * 1024, 4608 * 1024],
            connections: vec![1, 16, 64],
            rounds: 3,
            seconds: 3.0,
            floors: true,
            growth: false,
            hosts: Hosts::One,
            against: None,
            smoke: false,
            sync_delay: None,
            slow_sync: PathBuf::new(),
            scale: Scale::FULL,
        };
        let mut arguments = arguments.into_iter();
        while let Some(name) = arguments.next() {
            let mut value = || {
                arguments
                    .next()
                    .ok_or_else(|| format!("{name} needs a value\n{USAGE}"))
            };
            match name.as_str() {
                "--quick" => {
                    options.sizes.truncate(2);
                    options.connections = vec![16];
                    options.rounds = 2;
                    options.seconds = 1.0;
                }
                "--brief" => {
                    options.sizes.truncate(1);
                    options.connections = vec![16, 64];
                    options.seconds = 1.0;
                    options.floors = false;
                    let brief = ON_ONE_HOST.iter().filter(|&&key| key != PHP);
                    options.targets = Some(brief.map(|&key| key.to_owned()).collect());
                }
                "--smoke" => {
                    options.smoke = true;
                    options.sizes.truncate(1);
                    options.connections = vec![4];
                    options.rounds = 1;
                    options.seconds = 0.5;
                }
                "--scale" => {
                    options.hosts = Hosts::Several;
                    options.floors = false;
                    options.sizes.truncate(2);
                    options.seconds = options.seconds.min(1.5);
                }
                "--growth" => options.growth = true,
                "--rows" => options.scale.rows = numbers(&value()?, 1_000..=100_000_000)?[0] as u64,
                "--files" => options.scale.files = numbers(&value()?, 1_000..=2_800_000)?[0] as u64,
                "--no-floors" => options.floors = false,
                "--sync-delay" => {
                    options.sync_delay = Some(numbers(&value()?, 1..=1_000)?[0]);
                    options.floors = false;
                }
                "--against" => {
                    options.against = Some(value()?.into());
                    options.sizes.truncate(1);
                }
                "--binary" => options.binary = value()?.into(),
                "--slow-sync" => options.slow_sync = value()?.into(),
                "--php" => options.php = value()?.into(),
                "--state" => options.state = value()?.into(),
                "--dir" => options.directory = Some(value()?.into()),
                "--json" => options.json = Some(value()?.into()),
                "--svg" => options.svg = Some(value()?.into()),
                "--targets" => options.targets = Some(named_targets(&value()?)?),
                "--sizes" => options.sizes = numbers(&value()?, 4096..=10 << 20)?,
                "--connections" => options.connections = numbers(&value()?, 1..=200)?,
                "--rounds" => options.rounds = numbers(&value()?, 1..=99)?[0],
                "--seconds" => {
                    let text = value()?;
                    let seconds = text.parse().ok().filter(|s| (0.1..=600.0).contains(s));
                    options.seconds = seconds.ok_or(format!("--seconds {text}: 0.1 to 600"))?;
                }
                _ => return Err(format!("unknown option {name}\n{USAGE}")),
            }
        }
        Ok(options)
    }
}

fn named_targets(text: &str) -> Result<Vec<String>, String> {
    let known = |name: &str| {
        if targets().any(|key| key == name) {
            Ok(name.to_owned())
        } else {
            let all = targets().collect::<Vec<_>>().join(" ");
            Err(format!("there is no target {name:?}; there are {all}"))
        }
    };
    text.split(',').map(known).collect()
}

fn numbers(text: &str, legal: std::ops::RangeInclusive<usize>) -> Result<Vec<usize>, String> {
    let number = |text: &str| {
        let number = text.parse().ok().filter(|number| legal.contains(number));
        number.ok_or_else(|| format!("{text:?} is not a number from {legal:?}"))
    };
    text.split(',').map(number).collect()
}
