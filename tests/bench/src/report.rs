//! The figures: medians, ratios, a table and JSON.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::load::Round;

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
                p50: of(|round| round.p50),
                p99: of(|round| round.p99),
            },
            rates: rounds.iter().map(|round| round.rate).collect(),
        }
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
}

/// A ratio that the project sets itself.
struct Goal {
    text: String,
    value: f64,
    /// The bound, and whether values above it are the good ones.
    bound: f64,
    at_least: bool,
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
        format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
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

    fn floor(&self, key: &str) -> Option<f64> {
        let floor = self.floors.iter().find(|floor| floor.key == key)?;
        Some(floor.rate)
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
        for skipped in &self.skipped {
            let _ = writeln!(out, "skipped: {skipped}");
        }
        for (size, connections) in self.settings() {
            let _ = writeln!(
                out,
                "\n{:<34} {:>9} {:>8} {:>8} {:>8} {:>7} {:>7}",
                format!("{}, {connections} connections", size_text(size)),
                "uploads/s",
                "p50 ms",
                "p99 ms",
                "CPU ms",
                "×PUT",
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
                    p50,
                    p99,
                } = found.median;
                let ratio = |other: Option<f64>| {
                    other.map_or("-".to_owned(), |other| format!("{:.2}", own / other))
                };
                let _ = writeln!(
                    out,
                    "{:<34} {own:>9.0} {p50:>8.2} {p99:>8.2} {cpu:>8.3} {:>7} {:>7}",
                    found.label,
                    ratio(rate("put")),
                    ratio(rate("php"))
                );
            }
        }
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
                } = found.median;
                let _ = writeln!(
                    out,
                    "{:<34} {rate:>9.0} {p50:>8.2} {p99:>8.2} {cpu:>8.3}",
                    found.label
                );
            }
        }
        let goals = self.goals();
        if !goals.is_empty() {
            let _ = writeln!(out, "\n{:<72} {:>7} {:>7}", "goals", "is", "goal");
            for goal in goals {
                let sign = if goal.at_least { '≥' } else { '≤' };
                let _ = writeln!(
                    out,
                    "{:<72} {:>7.2} {sign}{:>6.2}  {}",
                    goal.text,
                    goal.value,
                    goal.bound,
                    if goal.is_met() { "met" } else { "missed" }
                );
            }
        }
        out
    }

    /// The ratios that are goals, as far as this run has what they compare.
    fn goals(&self) -> Vec<Goal> {
        const SMALL: usize = 20 * 1024;
        let mut goals = Vec::new();
        let mut add = |text: &str, value: Option<f64>, bound: f64, at_least: bool| {
            if let Some(value) = value.filter(|value| value.is_finite()) {
                goals.push(Goal {
                    text: text.to_owned(),
                    value,
                    bound,
                    at_least,
                });
            }
        };
        let rates = |one, other, size, connections| {
            let of = |key| Some(self.find(key, size, connections)?.median.rate);
            Some(of(one)? / of(other)?)
        };
        add(
            "durable, 20 KiB, 16 connections: rate to that of a sync per file",
            rates("cdn-full", "bare-sync", SMALL, 16),
            1.0,
            true,
        );
        add(
            "durable, 20 KiB, 64 connections: rate to that of a sync per file",
            rates("cdn-full", "bare-sync", SMALL, 64),
            1.2,
            true,
        );
        add(
            "durable, 20 KiB, 16 connections: rate to that of PHP without durability",
            rates("cdn-full", "php", SMALL, 16),
            1.8,
            true,
        );
        for (size, bound) in [(SMALL, 0.7), (500 * 1024, 1.0), (4608 * 1024, 0.9)] {
            add(
                &format!(
                    "relaxed, {}, 16 connections: rate to that of PUT",
                    size_text(size)
                ),
                rates("cdn-relaxed", "put", size, 16),
                bound,
                true,
            );
        }
        let cpu = |key| Some(self.find(key, SMALL, 16)?.median.cpu);
        add(
            "relaxed, 20 KiB, 16 connections: CPU to that of PUT",
            cpu("cdn-relaxed").and_then(|own| Some(own / cpu("put")?)),
            1.8,
            false,
        );
        let lone = self
            .find("cdn-full", SMALL, 1)
            .map(|found| found.median.p50);
        add(
            "durable, 20 KiB, a lone client: p50 to the time of one synced file",
            lone.and_then(|p50| Some(p50 * self.floor("files-1")? / 1e3)),
            1.5,
            false,
        );
        let delivery = |key| {
            let found = self.downloads.iter().find(|found| found.target == key)?;
            Some(found.median.rate)
        };
        add(
            "delivery: rate to that without our headers",
            delivery("p").and_then(|own| Some(own / delivery("p-headless")?)),
            0.98,
            true,
        );
        goals
    }

    pub fn json(&self) -> Value {
        let measurement = |found: &Measurement| {
            json!({
                "target": found.target,
                "label": found.label,
                "bytes": found.size,
                "connections": found.connections,
                "per_second": found.median.rate,
                "p50_ms": found.median.p50,
                "p99_ms": found.median.p99,
                "cpu_ms": found.median.cpu,
                "per_second_of_rounds": found.rates,
            })
        };
        json!({
            "disk": self.disk,
            "cores": self.cores,
            "warnings": self.warnings,
            "skipped": self.skipped,
            "uploads": self.uploads.iter().map(measurement).collect::<Vec<_>>(),
            "downloads": self.downloads.iter().map(measurement).collect::<Vec<_>>(),
            "floors": self.floors.iter().map(|floor| json!({
                "floor": floor.key, "label": floor.label, "per_second": floor.rate,
            })).collect::<Vec<_>>(),
            "goals": self.goals().iter().map(|goal| json!({
                "goal": goal.text, "is": goal.value, "bound": goal.bound, "at_least": goal.at_least, "met": goal.is_met(),
            })).collect::<Vec<_>>(),
        })
    }
}

impl Goal {
    fn is_met(&self) -> bool {
        if self.at_least {
            self.value >= self.bound
        } else {
            self.value <= self.bound
        }
    }
}
