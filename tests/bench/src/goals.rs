//! The goals of the project, as ratios within one run.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::load::Round;
use crate::report::{Measurement, Report, size_text};

/// The image size of most goals.
pub const SMALL: usize = 20 * 1024;

/// A ratio, or a number of MiB, with its bound.
pub struct Goal {
    pub text: String,
    pub value: f64,
    pub bound: f64,
    /// Whether values above the bound meet the goal.
    pub at_least: bool,
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

/// Collects the goals whose figures a run has.
#[derive(Default)]
pub struct Goals(Vec<Goal>);

impl Goals {
    pub fn at_least(&mut self, bound: f64, text: impl Into<String>, value: Option<f64>) {
        self.push(text.into(), value, bound, true);
    }

    pub fn at_most(&mut self, bound: f64, text: impl Into<String>, value: Option<f64>) {
        self.push(text.into(), value, bound, false);
    }

    /// CPU time of uploads into an empty ledger and into one with so many rows, by `cpu`, which `text` names.
    pub fn growth(
        &mut self,
        text: &str,
        rows: u64,
        [empty, grown]: &[Measurement; 2],
        cpu: fn(&Round) -> f64,
    ) {
        self.at_most(
            1.1,
            format!("{rows} rows: {text} for an upload to that with an empty ledger"),
            Some(cpu(&grown.median) / cpu(&empty.median)),
        );
    }

    fn push(&mut self, text: String, value: Option<f64>, bound: f64, at_least: bool) {
        if let Some(value) = value.filter(|value| value.is_finite()) {
            self.0.push(Goal {
                text,
                value,
                bound,
                at_least,
            });
        }
    }

    pub fn table(&self) -> String {
        let mut out = String::new();
        if !self.0.is_empty() {
            let _ = writeln!(out, "\n{:<76} {:>7} {:>7}", "goals", "is", "goal");
        }
        for goal in &self.0 {
            let sign = if goal.at_least { '≥' } else { '≤' };
            let verdict = if goal.is_met() { "met" } else { "missed" };
            let _ = writeln!(
                out,
                "{:<76} {:>7.2} {sign}{:>6.2}  {verdict}",
                goal.text, goal.value, goal.bound
            );
        }
        out
    }

    pub fn json(&self) -> Value {
        let goals = self.0.iter().map(|goal| {
            json!({
                "goal": goal.text, "is": goal.value, "bound": goal.bound, "at_least": goal.at_least, "met": goal.is_met(),
            })
        });
        goals.collect()
    }
}

/// The goals of uploads and deliveries whose targets this run has.
pub fn of(report: &Report) -> Goals {
    let mut goals = Goals::default();
    let rates = |one, other, size, connections| {
        let rate = |key| Some(report.find(key, size, connections)?.median.rate);
        Some(rate(one)? / rate(other)?)
    };
    for (connections, to_relaxed) in [(16, 0.75), (64, 0.85)] {
        let durable = format!("durable, 20 KiB, {connections} connections: rate to that");
        let rate = |other| rates("cdn-full", other, SMALL, connections);
        goals.at_least(
            to_relaxed,
            format!("{durable} of relaxed"),
            rate("cdn-relaxed"),
        );
        goals.at_least(
            1.1,
            format!("{durable} of a sync per file"),
            rate("bare-sync"),
        );
        goals.at_least(2.8, format!("{durable} of PHP, not durable"), rate("php"));
    }
    for (size, bound) in [(SMALL, 0.7), (500 * 1024, 1.0), (4608 * 1024, 0.9)] {
        goals.at_least(
            bound,
            format!(
                "relaxed, {}, 16 connections: rate to that of PUT",
                size_text(size)
            ),
            rates("cdn-relaxed", "put", size, 16),
        );
    }
    let cpu = |key| Some(report.find(key, SMALL, 16)?.median.cpu);
    goals.at_most(
        1.8,
        "relaxed, 20 KiB, 16 connections: CPU to that of PUT",
        cpu("cdn-relaxed").and_then(|own| Some(own / cpu("put")?)),
    );
    goals.at_most(
        1.25,
        "durable, 20 KiB, 16 connections: CPU to that of relaxed",
        cpu("cdn-full").and_then(|own| Some(own / cpu("cdn-relaxed")?)),
    );
    let lone = report
        .find("cdn-full", SMALL, 1)
        .map(|found| found.median.p50);
    goals.at_most(
        0.5,
        "durable, 20 KiB, a lone client: p50 to the time of one synced file",
        lone.and_then(|p50| Some(p50 * report.floor("files-1")? / 1e3)),
    );
    let delivery = |key| {
        let found = report.downloads.iter().find(|found| found.target == key)?;
        Some(found.median.rate)
    };
    goals.at_least(
        0.98,
        "delivery: rate to that without our headers",
        delivery("p").and_then(|own| Some(own / delivery("p-headless")?)),
    );
    goals
}
