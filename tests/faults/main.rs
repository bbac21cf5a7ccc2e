//! Faults of the host beside uploads: SIGKILL, power cuts, full disks, failing system calls, locked ledgers, clock jumps.
//!
//! After each fault every acknowledged image is there byte for byte, no partial file is below `/p/`, the ledger is intact, and uploads
//! go on without a restart. `tests/faults/run` runs these tests; `--long` repeats them a thousand times. A test whose tool or
//! permission is missing prints why and counts as skipped.

mod administration;
mod clock;
#[cfg(all(feature = "postgres", feature = "s3"))]
mod cluster;
#[cfg(all(feature = "postgres", feature = "s3"))]
mod copies;
mod failing_calls;
mod full_disk;
mod interference;
mod invariants;
mod log_cuts;
mod log_holders;
#[cfg(feature = "postgres")]
mod postgres;
mod power_cuts;
mod repetitions;
mod shim;
mod signals;
mod soak;
mod sync_order;
mod uploads;
mod volume;

use std::env;

/// The number in an environment variable, or `short` where it is unset: how often a test repeats its fault.
fn times(variable: &str, short: u32) -> u32 {
    match env::var(variable) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{variable}={text} is not a number")),
        Err(_) => short,
    }
}
