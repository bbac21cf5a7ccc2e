//! The figures of `--growth`, as a table and as JSON.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::memory::{ACTIVE, IDLE, Memory};
use super::{Scale, Starts, Sweep};
use crate::goals::Goals;
use crate::report::{MIB, Measurement};

pub struct Report {
    pub scale: Scale,
    pub ledger_bytes: u64,
    pub starts: Starts,
    /// Into an empty ledger, and into the large one.
    pub uploads: [Measurement; 2],
    pub sweep: Sweep,
    /// Without a sweep, and beside one.
    pub beside: [Measurement; 2],
    pub memory: Memory,
}

/// The goal for the p99 of uploads beside a sweep, in milliseconds.
const MOST_BESIDE_SWEEP: f64 = 50.0;

fn mib(bytes: u64) -> f64 {
    bytes as f64 / MIB
}

impl Report {
    fn goals(&self) -> Goals {
        let mut goals = Goals::default();
        goals.growth("CPU", self.scale.rows, &self.uploads, |round| round.cpu);
        goals.at_least(
            0.7,
            format!(
                "sweep of {}: rate to that of the unlink loop",
                self.scale.files
            ),
            Some(self.sweep_rate() / self.unlink_rate()),
        );
        goals.at_most(
            MOST_BESIDE_SWEEP,
            format!(
                "uploads beside a sweep of {}: p99 in milliseconds",
                self.scale.files
            ),
            Some(self.beside[1].median.p99),
        );
        goals.at_most(
            64.0,
            format!("{IDLE} idle and {ACTIVE} active connections: MiB in memory"),
            Some(mib(self.memory.active)),
        );
        goals.at_most(
            32.0,
            format!("{ACTIVE} uploads of 10 MiB at once: MiB more than that"),
            Some(mib(self.memory.large.saturating_sub(self.memory.active))),
        );
        goals
    }

    fn sweep_rate(&self) -> f64 {
        self.scale.files as f64 / self.sweep.took.as_secs_f64()
    }

    fn unlink_rate(&self) -> f64 {
        self.sweep.loops.iter().sum::<f64>() / 2.0
    }

    pub fn table(&self) -> String {
        let mut out = String::new();
        let _ = writeln!(
            out,
            "\nledger: {} rows in {:.0} MiB; docroot: {} files",
            self.scale.rows,
            mib(self.ledger_bytes),
            self.scale.files
        );
        let mut line = |name: &str, value: String| {
            let _ = writeln!(out, "{name:<52} {value:>12}");
        };
        let milliseconds =
            |time: std::time::Duration| format!("{:.1} ms", time.as_secs_f64() * 1e3);
        line(
            "start until it listens, empty ledger",
            milliseconds(self.starts.empty),
        );
        line(
            "start until it listens, this ledger",
            milliseconds(self.starts.grown),
        );
        for upload in &self.uploads {
            let name = format!("durable uploads of 20 KiB into {}", upload.label);
            line(&name, format!("{:.0}/s", upload.median.rate));
            line("  CPU of each", format!("{:.3} ms", upload.median.cpu));
            line("  p50, p99", upload.latencies());
        }
        line("sweep", format!("{:.1} s", self.sweep.took.as_secs_f64()));
        line("  images", format!("{:.0}/s", self.sweep_rate()));
        line("  CPU", format!("{:.1} s", self.sweep.cpu.as_secs_f64()));
        line(
            "  memory, at most",
            format!("{:.1} MiB", mib(self.sweep.peak)),
        );
        for upload in &self.beside {
            line(
                &format!("uploads beside {}: p50, p99", upload.label),
                upload.latencies(),
            );
        }
        let [before, after] = self.sweep.loops;
        line(
            "plain unlink loop, before and after it",
            format!("{before:.0}, {after:.0}/s"),
        );
        line(
            "responder in memory at its start",
            format!("{:.1} MiB", mib(self.memory.at_start)),
        );
        line(
            &format!("  with {IDLE} idle connections"),
            format!("{:.1} MiB", mib(self.memory.idle)),
        );
        line(
            &format!("  at most, with {ACTIVE} more that upload 20 KiB"),
            format!("{:.1} MiB", mib(self.memory.active)),
        );
        line(
            &format!("  at most, with {ACTIVE} more that upload 10 MiB"),
            format!("{:.1} MiB", mib(self.memory.large)),
        );
        out + &self.goals().table()
    }

    pub fn json(&self) -> Value {
        json!({
            "rows": self.scale.rows,
            "files": self.scale.files,
            "ledger_bytes": self.ledger_bytes,
            "start_ms": { "empty": self.starts.empty.as_secs_f64() * 1e3, "grown": self.starts.grown.as_secs_f64() * 1e3 },
            "uploads": self.uploads.iter().map(Measurement::json).collect::<Vec<_>>(),
            "sweep": {
                "seconds": self.sweep.took.as_secs_f64(),
                "per_second": self.sweep_rate(),
                "cpu_seconds": self.sweep.cpu.as_secs_f64(),
                "peak_bytes": self.sweep.peak,
                "said": self.sweep.said,
            },
            "uploads_beside_a_sweep": self.beside.iter().map(Measurement::json).collect::<Vec<_>>(),
            "unlinks_per_second": self.sweep.loops,
            "responder_bytes": {
                "at_start": self.memory.at_start,
                "idle": self.memory.idle,
                "active": self.memory.active,
                "large": self.memory.large,
            },
            "goals": self.goals().json(),
        })
    }
}
