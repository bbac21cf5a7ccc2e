//! Two binaries of this project in turn, such as one with all features and one without.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;

use serde_json::{Value, json};

use crate::goals::Goals;
use crate::growth::memory::{self, ACTIVE, IDLE};
use crate::load::{self, Round};
use crate::options::Options;
use crate::picture::Picture;
use crate::report::{MIB, Measurement, median, size_text};
use crate::targets::Workshop;
use crate::targets::own::MAX_CONNECTIONS;

/// Starts of each binary, of which the median counts.
const STARTS: usize = 9;

/// Rounds of uploads for each round that is asked for: ratios near 1 take many short ones.
const ROUNDS: usize = 3;

/// One figure of both binaries.
struct Line {
    name: String,
    unit: &'static str,
    figures: [f64; 2],
}

/// The figures of `--binary` and of `--against`.
pub struct Report {
    lines: Vec<Line>,
    uploads: Vec<[Measurement; 2]>,
}

pub fn run(workshop: &Workshop<'_>, against: &Path, options: &Options) -> io::Result<Report> {
    let workshops = [
        *workshop,
        Workshop {
            binary: against,
            ..*workshop
        },
    ];
    let mut lines = Vec::new();
    let mut line = |name: String, unit, figures| {
        lines.push(Line {
            name,
            unit,
            figures,
        });
    };
    let size = |workshop: &Workshop<'_>| Ok(fs::metadata(workshop.binary)?.len() as f64 / MIB);
    line("binary".to_owned(), "MiB", both(&workshops, size)?);

    eprintln!("start …");
    let sites = [
        workshops[0].site("one", "full", MAX_CONNECTIONS)?,
        workshops[1].site("other", "full", MAX_CONNECTIONS)?,
    ];
    let mut times = [Vec::new(), Vec::new()];
    let repeats = |usual| if options.smoke { 1 } else { usual };
    for _ in 0..repeats(STARTS) {
        for (site, times) in sites.iter().zip(&mut times) {
            let (responder, took) = site.start_responder()?;
            drop(responder);
            times.push(took.as_secs_f64() * 1e3);
        }
    }
    line("start until it listens".to_owned(), "ms", times.map(median));

    eprintln!("uploads …");
    let targets = [sites[0].start()?, sites[1].start()?];
    let mut uploads = Vec::new();
    for &size in &options.sizes {
        let picture = Picture::of_size(size);
        for &connections in &options.connections {
            let upload = |at: usize| {
                let seconds = options.seconds.min(1.0);
                load::upload(&targets[at], &picture, connections, seconds)
            };
            load::in_turn(2, 1, upload)?;
            let rounds = load::in_turn(2, options.rounds * repeats(ROUNDS), upload)?;
            let names = [("one", "--binary"), ("other", "--against")];
            uploads
                .push([0, 1].map(|at| Measurement::new(names[at], size, connections, &rounds[at])));
        }
    }
    drop(targets);

    eprintln!("memory …");
    let keys = [["memory-1", "memory-2"], ["memory-3", "memory-4"]];
    let mut found = Vec::new();
    for keys in keys.into_iter().take(repeats(2)) {
        for (workshop, key) in workshops.iter().zip(keys) {
            found.push(memory::measure(workshop, key, options.seconds.min(1.0))?);
        }
    }
    for (name, of) in [
        (
            "memory at the start".to_owned(),
            at_start as fn(&memory::Memory) -> u64,
        ),
        (format!("memory with {IDLE} idle connections"), idle),
        (
            format!("memory with {ACTIVE} more that upload 20 KiB"),
            active,
        ),
    ] {
        let figures = [0, 1].map(|at| {
            let found = found.iter().skip(at).step_by(2);
            median(found.map(|memory| of(memory) as f64 / MIB).collect())
        });
        line(name, "MiB", figures);
    }
    Ok(Report { lines, uploads })
}

fn both<T>(workshops: &[T; 2], figure: impl Fn(&T) -> io::Result<f64>) -> io::Result<[f64; 2]> {
    Ok([figure(&workshops[0])?, figure(&workshops[1])?])
}

const fn at_start(memory: &memory::Memory) -> u64 {
    memory.at_start
}

const fn idle(memory: &memory::Memory) -> u64 {
    memory.idle
}

const fn active(memory: &memory::Memory) -> u64 {
    memory.active
}

impl Report {
    fn lines(&self) -> impl Iterator<Item = Line> {
        let uploads = self.uploads.iter().flat_map(|pair| {
            let setting = format!(
                "{}, {} connections",
                size_text(pair[0].size),
                pair[0].connections
            );
            let figures = |of: fn(&Round) -> f64| pair.each_ref().map(|found| of(&found.median));
            [
                Line {
                    name: format!("{setting}: uploads"),
                    unit: "/s",
                    figures: figures(|round| round.rate),
                },
                Line {
                    name: format!("{setting}: CPU of each"),
                    unit: "ms",
                    figures: figures(|round| round.cpu),
                },
                Line {
                    name: format!("{setting}: p99"),
                    unit: "ms",
                    figures: figures(|round| round.p99),
                },
            ]
        });
        let lines = self.lines.iter().map(|line| Line {
            name: line.name.clone(),
            ..*line
        });
        lines.chain(uploads)
    }

    fn goals(&self) -> Goals {
        let mut goals = Goals::default();
        for pair in &self.uploads {
            let [one, other] = pair;
            let setting = format!("{}, {} connections", size_text(one.size), one.connections);
            goals.at_least(
                0.97,
                format!("{setting}: rate to that of --against"),
                Some(one.median.rate / other.median.rate),
            );
        }
        for line in &self.lines {
            if line.name.contains("connections") || line.name.contains("upload") {
                let [one, other] = line.figures;
                goals.at_most(
                    1.05,
                    format!("{} to that of --against", line.name),
                    Some(one / other),
                );
            }
        }
        goals
    }

    pub fn table(&self) -> String {
        let mut out = format!(
            "\n{:<52} {:>10} {:>10} {:>6}\n",
            "", "--binary", "--against", "ratio"
        );
        for Line {
            name,
            unit,
            figures: [one, other],
        } in self.lines()
        {
            let _ = writeln!(
                out,
                "{:<52} {one:>10.2} {other:>10.2} {:>6.2}",
                format!("{name}, {unit}"),
                one / other
            );
        }
        out + &self.goals().table()
    }

    pub fn json(&self) -> Value {
        let figures = self.lines().map(|Line { name, unit, figures: [one, other] }| {
            json!({ "figure": name, "unit": unit, "binary": one, "against": other, "ratio": one / other })
        });
        json!({ "figures": figures.collect::<Vec<_>>(), "goals": self.goals().json() })
    }
}
