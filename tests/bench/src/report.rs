//! The figures: medians, ratios, a table and JSON.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::load::Round;
use crate::{goals, growth, pair, scale};

/// Bytes of a MiB.
pub const MIB: f64 = 1_048_576.0;

/// The share of CPU time of other programs above which a run warns.
const QUIET: f64 = 0.25;

/// The medians of one target at one size and number of connections.
pub struct Measurement {
    pub target: &'static str,
    pub label: &'static str,
    pub size: usize,
    pub connections: usize,
    pub median: Round,
    /// The rate of each round.
    pub rates: Vec<f64>,
}

impl Measurement {
    pub fn new(
        (target, label): (&'static str, &'static str),
        size: usize,
        connections: usize,
        rounds: &[Round],
    ) -> Self {
        let of = |figure: fn(&Round) -> f64| median(rounds.iter().map(figure).collect());
        Self {
            target,
            label,
            size,
            connections,
            median: Round {
                rate: of(|round| round.rate),
                cpu: of(|round| round.cpu),
                database_cpu: of(|round| round.database_cpu),
                store_cpu: of(|round| round.store_cpu),
                load_cpu: of(|round| round.load_cpu),
                others: of(|round| round.others),
                p50: of(|round| round.p50),
                p99: of(|round| round.p99),
            },
            rates: rounds.iter().map(|round| round.rate).collect(),
        }
    }

    /// p50 and p99.
    pub fn latencies(&self) -> String {
        format!("{:.1}, {:.1} ms", self.median.p50, self.median.p99)
    }

    pub fn json(&self) -> Value {
        json!({
            "target": self.target,
            "label": self.label,
            "bytes": self.size,
            "connections": self.connections,
            "per_second": self.median.rate,
            "p50_ms": self.median.p50,
            "p99_ms": self.median.p99,
            "cpu_ms": self.median.cpu,
            "cpu_ms_of_database": self.median.database_cpu,
            "cpu_ms_of_store": self.median.store_cpu,
            "cpu_ms_of_load": self.median.load_cpu,
            "cpu_of_others": self.median.others,
            "per_second_of_rounds": self.rates,
        })
    }
}

/// Operations a second of a loop without a server.
pub struct FloorRate {
    pub key: &'static str,
    pub label: &'static str,
    pub rate: f64,
}

#[derive(Default)]
pub struct Report {
    pub disk: String,
    pub cores: usize,
    pub warnings: Vec<String>,
    pub skipped: Vec<String>,
    pub uploads: Vec<Measurement>,
    pub downloads: Vec<Measurement>,
    pub floors: Vec<FloorRate>,
    pub growth: Option<growth::Report>,
    pub growth_in_postgres: Option<growth::postgres::Report>,
    pub pair: Option<pair::Report>,
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => values[count / 2],
        count => f64::midpoint(values[count / 2 - 1], values[count / 2]),
    }
}

pub fn size_text(bytes: usize) -> String {
    if bytes >= 1 << 20 {
        format!("{:.1} MiB", bytes as f64 / MIB)
    } else {
        format!("{} KiB", bytes >> 10)
    }
}

impl Report {
    pub fn find(&self, target: &str, size: usize, connections: usize) -> Option<&Measurement> {
        self.uploads.iter().find(|found| {
            (found.target, found.size, found.connections) == (target, size, connections)
        })
    }

    pub fn floor(&self, key: &str) -> Option<f64> {
        let floor = self.floors.iter().find(|floor| floor.key == key)?;
        Some(floor.rate)
    }

    /// Whether other programs ran meanwhile, by targets that sync nothing: kernel threads have little to do there.
    fn noise(&self) -> Option<String> {
        let unsynced = self.uploads.iter().filter(|found| {
            ["cdn-relaxed", "bare", "php"].contains(&found.target) && found.connections > 1
        });
        let others = median(unsynced.map(|found| found.median.others).collect());
        (others > QUIET).then(|| {
            format!(
                "{:.0}% of the machine went to something else: this run is no measurement, repeat it on a quiet machine",
                others * 100.0
            )
        })
    }

    /// Every size and number of connections that was measured, in order.
    pub fn settings(&self) -> Vec<(usize, usize)> {
        let mut settings: Vec<_> = Vec::new();
        for found in &self.uploads {
            if !settings.contains(&(found.size, found.connections)) {
                settings.push((found.size, found.connections));
            }
        }
        settings
    }

    pub fn table(&self) -> String {
        let mut out = String::new();
        let _ = writeln!(out, "disk: {}; {} cores", self.disk, self.cores);
        for warning in &self.warnings {
            let _ = writeln!(out, "warning: {warning}");
        }
        if let Some(noise) = self.noise() {
            let _ = writeln!(out, "warning: {noise}");
        }
        for skipped in &self.skipped {
            let _ = writeln!(out, "skipped: {skipped}");
        }
        if !self.uploads.is_empty() {
            out += "CPU is that of the servers, nginx included, for each request; (load) that of this program, which runs on the same\n\
                cores; others is the share of the machine that went to the kernel's own threads and to strangers; ×steps the ratio to the\n\
                responder that takes the steps of a durable upload on the disk and does nothing else.\n";
        }
        for (size, connections) in self.settings() {
            let _ = writeln!(
                out,
                "\n{:<34} {:>9} {:>8} {:>8} {:>8} {:>8} {:>7} {:>7} {:>7} {:>7}",
                format!("{}, {connections} connections", size_text(size)),
                "uploads/s",
                "p50 ms",
                "p99 ms",
                "CPU ms",
                "(load)",
                "others",
                "×PUT",
                "×steps",
                "×PHP"
            );
            let rate = |target| self.find(target, size, connections).map(|m| m.median.rate);
            for found in &self.uploads {
                if (found.size, found.connections) != (size, connections) {
                    continue;
                }
                let Round {
                    rate: own,
                    cpu,
                    load_cpu,
                    others,
                    p50,
                    p99,
                    ..
                } = found.median;
                let ratio = |other: Option<f64>| {
                    other.map_or("-".to_owned(), |other| format!("{:.2}", own / other))
                };
                let _ = writeln!(
                    out,
                    "{:<34} {own:>9.0} {p50:>8.2} {p99:>8.2} {cpu:>8.3} {load_cpu:>8.3} {:>6.0}% {:>7} {:>7} {:>7}",
                    found.label,
                    others * 100.0,
                    ratio(rate("put")),
                    ratio(rate("bare-steps")),
                    ratio(rate("php"))
                );
            }
        }
        out += &self.rest_of_table();
        out += &scale::table(self);
        if let Some(growth) = &self.growth {
            out += &growth.table();
        }
        if let Some(growth) = &self.growth_in_postgres {
            out += &growth.table();
        }
        if let Some(pair) = &self.pair {
            out += &pair.table();
        }
        out += &goals::of(self).table();
        out
    }

    /// The loops without a server, and deliveries.
    fn rest_of_table(&self) -> String {
        let mut out = String::new();
        if !self.floors.is_empty() {
            let _ = writeln!(
                out,
                "\n{:<56} {:>9}",
                "without a server, 20 KiB", "a second"
            );
            for floor in &self.floors {
                let _ = writeln!(out, "{:<56} {:>9.0}", floor.label, floor.rate);
            }
        }
        if !self.downloads.is_empty() {
            let _ = writeln!(
                out,
                "\n{:<34} {:>9} {:>8} {:>8} {:>8}",
                "delivery, 20 KiB, 16 connections", "replies/s", "p50 ms", "p99 ms", "CPU ms"
            );
            for found in &self.downloads {
                let Round {
                    rate,
                    cpu,
                    p50,
                    p99,
                    ..
                } = found.median;
                let _ = writeln!(
                    out,
                    "{:<34} {rate:>9.0} {p50:>8.2} {p99:>8.2} {cpu:>8.3}",
                    found.label
                );
            }
        }
        out
    }

    pub fn json(&self) -> Value {
        json!({
            "disk": self.disk,
            "cores": self.cores,
            "warnings": self.warnings.iter().cloned().chain(self.noise()).collect::<Vec<_>>(),
            "skipped": self.skipped,
            "uploads": self.uploads.iter().map(Measurement::json).collect::<Vec<_>>(),
            "downloads": self.downloads.iter().map(Measurement::json).collect::<Vec<_>>(),
            "floors": self.floors.iter().map(|floor| json!({
                "floor": floor.key, "label": floor.label, "per_second": floor.rate,
            })).collect::<Vec<_>>(),
            "goals": goals::of(self).json(),
            "growth": self.growth.as_ref().map(growth::Report::json),
            "growth_in_postgres": self.growth_in_postgres.as_ref().map(growth::postgres::Report::json),
            "pair": self.pair.as_ref().map(pair::Report::json),
        })
    }
}
