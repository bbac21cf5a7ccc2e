//! Memory, threads and descriptors under a steady load.

use std::fmt::Write as _;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::invariants::{Installation, assert_invariants};
use crate::times;
use crate::uploads::{Uploads, unlimited};
use support::site::Site;

/// Uploads a second.
const RATE: u32 = 20;

/// Clients that take turns.
const UPLOADERS: u32 = 4;

/// Samples between two sweeps.
const SWEEP_EVERY: usize = 5;

/// The resources of the responder.
#[derive(Debug, Clone, Copy)]
struct Sample {
    seconds: u64,
    uploads: usize,
    /// KiB.
    resident: u64,
    threads: u64,
    descriptors: u64,
}

#[test]
fn memory_threads_and_descriptors_stay_constant_under_a_steady_load() {
    let seconds = u64::from(times("FAULTS_SOAK_SECONDS", 15));
    let interval = Duration::from_secs((seconds / 30).max(1));
    let site = unlimited().start();
    let mut installation = Installation::of(&site);
    let uploads = Uploads::default();
    let over = AtomicBool::new(false);
    let mut samples = Vec::new();
    thread::scope(|scope| {
        for uploader in 0..UPLOADERS {
            let (site, uploads, over) = (&site, &uploads, &over);
            scope.spawn(move || {
                let step = Duration::from_secs(1) * UPLOADERS / RATE;
                let mut next = Instant::now() + Duration::from_secs(1) * uploader / RATE;
                while !over.load(Ordering::Relaxed) {
                    thread::sleep(next.saturating_duration_since(Instant::now()));
                    next += step;
                    assert_eq!(uploads.upload(site, 8_000), 200);
                }
            });
        }
        let began = Instant::now();
        while began.elapsed().as_secs() < seconds || samples.len() < SWEEP_EVERY {
            thread::sleep(interval);
            samples.push(sample(&site, began, uploads.len()));
            if samples.len().is_multiple_of(SWEEP_EVERY) {
                let swept = installation.run(&["sweep"]);
                assert!(swept.status.success(), "{swept:?}");
                assert_eq!(site.get("/image/v2/health").status, 200);
            }
        }
        over.store(true, Ordering::Relaxed);
    });
    assert_invariants(&mut installation, &uploads.acknowledged(0));
    let table = table(&samples);
    eprintln!("{table}");
    // The highest figure of the first fifth of the time is hardly exceeded later.
    let (warming, steady) = samples.split_at(samples.len().div_ceil(5));
    let highest = |samples: &[Sample], figure: fn(&Sample) -> u64| {
        samples.iter().map(figure).max().expect("a sample")
    };
    for (name, figure, slack) in [
        (
            "resident",
            (|sample| sample.resident) as fn(&Sample) -> u64,
            3_072,
        ),
        ("threads", |sample| sample.threads, UPLOADERS.into()),
        (
            "descriptors",
            |sample| sample.descriptors,
            (2 * UPLOADERS).into(),
        ),
    ] {
        let (before, after) = (highest(warming, figure), highest(steady, figure));
        assert!(
            after <= before + slack,
            "{name}: {before}, later {after}\n{table}"
        );
    }
}

fn sample(site: &Site, began: Instant, uploads: usize) -> Sample {
    let process = format!("/proc/{}", site.responder_id());
    let status = fs::read_to_string(format!("{process}/status")).expect("the responder");
    let figure = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|line| line.split_whitespace().next());
        number
            .and_then(|number| number.parse().ok())
            .expect("a number")
    };
    let descriptors = fs::read_dir(format!("{process}/fd")).expect("the responder");
    Sample {
        seconds: began.elapsed().as_secs(),
        uploads,
        resident: figure("VmRSS:"),
        threads: figure("Threads:"),
        descriptors: descriptors.count() as u64,
    }
}

fn table(samples: &[Sample]) -> String {
    let heading = format!(
        "{:>8} {:>9} {:>9} {:>8} {:>12}\n",
        "seconds", "uploads", "RSS KiB", "threads", "descriptors"
    );
    samples.iter().fold(heading, |mut table, sample| {
        let Sample {
            seconds,
            uploads,
            resident,
            threads,
            descriptors,
        } = sample;
        let _ = writeln!(
            table,
            "{seconds:>8} {uploads:>9} {resident:>9} {threads:>8} {descriptors:>12}"
        );
        table
    })
}
