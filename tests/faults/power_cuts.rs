//! Power cuts: the disk is copied while uploads run, and the copy is mounted and checked.
//!
//! The disk is a file behind a loop device. The write cache of a drive, which a flush empties, is not simulated.

use std::collections::BTreeSet;
use std::fs;
use std::time::Instant;

use rustix::process::Signal;

use crate::invariants::Installation;
use crate::times;
use crate::uploads::{CROWD, Image, Random, UPLOADERS, Uploads, unlimited};
use crate::volume::Volume;
use support::machine::until;
use support::site::Site;

/// Totals over all power cuts.
#[derive(Debug, Default)]
struct Cuts {
    /// Acknowledged images that were looked for after a cut.
    looked_for: usize,
    /// Those without a file or a row.
    lost: usize,
    /// Power cuts that violated a guarantee.
    harmful: u32,
    broken: Vec<String>,
}

#[test]
fn power_cuts_lose_no_acknowledged_upload() {
    let Some(cuts) = cut("full", times("FAULTS_CUTS", 6)) else {
        return;
    };
    assert!(cuts.broken.is_empty(), "{}", cuts.broken.join("\n"));
}

/// `durability = "relaxed"` syncs nothing. If nothing were lost here, the test above could not fail.
#[test]
fn power_cuts_lose_images_with_relaxed_durability() {
    // A sync(2) of another program makes everything durable that is there by then.
    for _ in 0..5 {
        match cut("relaxed", times("FAULTS_CUTS", 6).min(100)) {
            Some(cuts) if cuts.lost == 0 => {}
            _ => return,
        }
    }
    panic!("relaxed lost nothing");
}

fn cut(durability: &str, cuts: u32) -> Option<Cuts> {
    let volume = Volume::make(512)?;
    let site = unlimited()
        .set("storage", &format!("durability = \"{durability}\""))
        .docroot(&volume.directory("docroot"))
        .ledger(&volume.directory("ledger"))
        .start();
    // The files of an installation without uploads are on disk.
    let directory = fs::File::open(site.docroot()).expect("the docroot");
    rustix::fs::syncfs(&directory).expect("synced");
    let uploads = Uploads::default();
    let mut random = Random::new();
    let mut report = Cuts::default();
    let began = Instant::now();
    for number in 0..cuts {
        let cut = || {
            stop(&site);
            let acknowledged = uploads.acknowledged(0);
            let left = volume.after_a_power_cut();
            site.signal(Signal::CONT);
            (acknowledged, left)
        };
        // A lone upload is durable by its own syncs only; one of many also by those of the others.
        let uploaders = [1, UPLOADERS, 1, CROWD][number as usize % 4];
        let (acknowledged, left) = if uploaders == 1 {
            assert_eq!(uploads.upload(&site, 7_000), 200);
            cut()
        } else {
            // Group commit needs a host with little to write back.
            rustix::fs::sync();
            let rounds = 1 + usize::try_from(random.below(3)).expect("a small number");
            let more = 1 + usize::try_from(random.below(40)).expect("a small number");
            uploads.during(&site, uploaders, 7_000, || {
                uploads.wait_for(more + rounds * uploaders / 2);
                cut()
            })
        };
        let mut installation = copy_of(&site, &volume, &left);
        let broken = check_copy(&mut installation, &acknowledged, durability);
        let lost = broken.iter().filter_map(|line| line.strip_prefix("lost "));
        let paths = lost.filter_map(|line| Some(line.split_once(':')?.0));
        report.lost += paths.collect::<BTreeSet<_>>().len();
        report.looked_for += acknowledged.len();
        report.harmful += u32::from(!broken.is_empty());
        report.broken.extend(broken);
    }
    let count = |kind: &str| {
        let lines = report.broken.iter();
        lines.filter(|line| line.starts_with(kind)).count()
    };
    eprintln!(
        "{cuts} power cuts with durability = \"{durability}\" in {:.0} s: {} acknowledged images looked for, {} lost, {} altered; \
         {} partial files, {} files without a row, {} broken ledgers; {} cuts violated a guarantee",
        began.elapsed().as_secs_f64(),
        report.looked_for,
        report.lost,
        count("altered "),
        count("partial "),
        count("uncounted "),
        count("ledger"),
        report.harmful,
    );
    Some(report)
}

/// Stops every thread of the responder, so that nothing is written while the disk is copied. A system call that has begun, such as
/// fsync, ends before its thread stops.
fn stop(site: &Site) {
    site.signal(Signal::STOP);
    until_stopped(site.responder_id());
}

/// Waits until every thread of a process has stopped.
pub(crate) fn until_stopped(process: u32) {
    let tasks = format!("/proc/{process}/task");
    until("all threads to stop", || {
        let threads = fs::read_dir(&tasks).expect("the process").flatten();
        threads
            .map(|thread| fs::read_to_string(thread.path().join("stat")).unwrap_or_default())
            // The state follows the name, which stands in parentheses (proc(5)).
            .all(|stat| {
                stat.rsplit(')')
                    .next()
                    .is_some_and(|rest| rest.trim().starts_with('T'))
            })
            .then_some(())
    });
}

/// The installation on a copy of the disk of `site`.
pub(crate) fn copy_of(site: &Site, volume: &Volume, left: &Volume) -> Installation {
    let (docroot, ledger) = (site.docroot(), site.ledger_file());
    let config = left.directory("").join("config.toml");
    let text = fs::read_to_string(site.config()).expect("config.toml");
    let installation = Installation::new(
        left.place_of(&docroot, volume),
        left.place_of(&ledger, volume),
        config.clone(),
    );
    let moved = [
        (&docroot, &installation.docroot),
        (&ledger, &installation.ledger),
    ]
    .into_iter()
    .fold(text, |text, (from, to)| {
        text.replace(&from.display().to_string(), &to.display().to_string())
    });
    fs::write(config, moved).expect("written");
    installation
}

/// The guarantees that the copy violates after a recovery.
fn check_copy(
    installation: &mut Installation,
    acknowledged: &[Image],
    durability: &str,
) -> Vec<String> {
    let recovered = installation.recover();
    let mut broken = installation.violations(acknowledged);
    if durability == "full" {
        if !recovered.status.success() {
            broken.push(format!("ledger: {recovered:?}"));
        }
        let (counted, rows) = installation.quota_and_rows();
        if counted != rows {
            broken.push(format!("quota: {counted} uploads counted, {rows} rows"));
        }
        if broken.is_empty() {
            installation.sweep_removes_leftovers();
        }
    }
    broken
}
