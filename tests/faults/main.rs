//! What a host does to a service: kills it, cuts its power, fills its disks, locks its ledger, turns its clock. After each fault every
//! image that was acknowledged is there, byte for byte; nothing else is there in part; the ledger is sound; and uploads go on.
//!
//! `tests/faults/run` runs this, `tests/faults/run --long` as often as it takes to believe it. The sites are those of the end-to-end
//! tests. What needs root, strace or a compiler says so where that is missing, and is skipped.

#[path = "../end_to_end/form.rs"]
#[allow(dead_code, reason = "the end-to-end tests use the rest")]
mod form;
#[path = "../end_to_end/http.rs"]
#[allow(dead_code, reason = "the end-to-end tests use the rest")]
mod http;
#[path = "../end_to_end/images.rs"]
#[allow(dead_code, reason = "the end-to-end tests use the rest")]
mod images;
#[path = "../end_to_end/machine.rs"]
#[allow(dead_code, reason = "the end-to-end tests use the rest")]
mod machine;
#[path = "../end_to_end/plan.rs"]
#[allow(dead_code, reason = "the end-to-end tests use the rest")]
mod plan;
#[path = "../end_to_end/site.rs"]
#[allow(
    dead_code,
    unused_imports,
    reason = "the end-to-end tests use the rest"
)]
mod site;

mod clock;
mod disk;
mod errors;
mod kills;
mod locks;
mod order;
mod power;
mod promise;
mod shim;
mod soak;
mod uploads;
mod volume;

use std::env;

/// How often something is done: what the environment says, or else the number of a short run.
fn times(variable: &str, short: u32) -> u32 {
    match env::var(variable) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{variable}={text} is no number")),
        Err(_) => short,
    }
}

/// Says that a test is left out, and why. The line is shown where a run of the stage lists what it left out.
fn skip(what: &str, why: &str) {
    eprintln!("skip {what}: {why}");
}
