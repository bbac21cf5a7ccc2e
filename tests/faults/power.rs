//! Power cuts: what is on the disk at a moment of acknowledgement is copied, mounted and looked at.
//!
//! The disk is a file behind a loop device, so a write counts as done when the file system has handed it down: caches of the drive
//! itself, which a flush empties, are not simulated.

use std::collections::BTreeSet;
use std::fs;
use std::time::Instant;

use rustix::process::Signal;

use crate::promise::Place;
use crate::times;
use crate::uploads::{CROWD, Moments, UPLOADERS, Uploads, endless};
use crate::volume::Volume;
use support::machine::until;
use support::site::Site;

/// What so many power cuts did.
#[derive(Debug, Default)]
struct Cuts {
    /// Images that were acknowledged before a cut, and looked for after it.
    looked_for: usize,
    /// Those of them that were not there, or had no row.
    lost: usize,
    /// Power cuts after which a promise was broken.
    harmful: u32,
    broken: Vec<String>,
}

#[test]
fn power_cuts_lose_nothing_that_was_acknowledged() {
    let Some(cuts) = cut("full", times("FAULTS_CUTS", 6)) else {
        return;
    };
    assert!(cuts.broken.is_empty(), "{}", cuts.broken.join("\n"));
}

/// The same with `durability = "relaxed"`, which promises nothing of the kind: if nothing were lost here, the test above could not fail.
#[test]
fn power_cuts_without_syncs_lose_images() {
    let Some(cuts) = cut("relaxed", times("FAULTS_CUTS", 6).min(100)) else {
        return;
    };
    assert!(cuts.lost > 0, "relaxed lost nothing: {cuts:?}");
}

fn cut(durability: &str, cuts: u32) -> Option<Cuts> {
    let volume = Volume::make(512)?;
    let site = endless()
        .set("storage", &format!("durability = \"{durability}\""))
        .docroot(&volume.directory("docroot"))
        .ledger(&volume.directory("ledger"))
        .start();
    // What was made before the first upload is not what is tested: it is on the disk.
    let directory = fs::File::open(site.docroot()).expect("the docroot");
    rustix::fs::syncfs(&directory).expect("synced");
    let uploads = Uploads::default();
    let mut moments = Moments::new();
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
        // A lone upload is on the disk by its own syncs; one among many may be there by those of the others.
        let uploaders = [1, UPLOADERS, 1, CROWD][number as usize % 4];
        let (acknowledged, left) = if uploaders == 1 {
            assert_eq!(uploads.upload(&site, 7_000), 200);
            cut()
        } else {
            // So that those of a crowd are committed in groups, for which little may wait to be written, by whomever.
            rustix::fs::sync();
            let rounds = 1 + usize::try_from(moments.below(3)).expect("a small number");
            let more = 1 + usize::try_from(moments.below(40)).expect("a small number");
            uploads.during(&site, uploaders, 7_000, || {
                uploads.wait_for(more + rounds * uploaders / 2);
                cut()
            })
        };
        let broken = look_at(&site, &volume, &left, &acknowledged, durability);
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
         {} partial files, {} files without a row, {} broken ledgers; {} cuts broke a promise",
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

/// Stops every thread of the responder, so that nothing is written while the disk is copied: a call such as fsync that has begun ends
/// before its thread stops.
fn stop(site: &Site) {
    site.signal(Signal::STOP);
    let tasks = format!("/proc/{}/task", site.responder_id());
    until("all threads to stop", || {
        let threads = fs::read_dir(&tasks).expect("the responder").flatten();
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

/// The promises that what a power cut left of a site does not keep.
fn look_at(
    site: &Site,
    volume: &Volume,
    left: &Volume,
    acknowledged: &[crate::uploads::Image],
    durability: &str,
) -> Vec<String> {
    let (docroot, ledger) = (site.docroot(), site.ledger_file());
    let config = left.directory("").join("config.toml");
    let text = fs::read_to_string(site.config()).expect("config.toml");
    let mut place = Place::new(
        left.place_of(&docroot, volume),
        left.place_of(&ledger, volume),
        config.clone(),
    );
    let moved = [(&docroot, &place.docroot), (&ledger, &place.ledger)]
        .into_iter()
        .fold(text, |text, (from, to)| {
            text.replace(&from.display().to_string(), &to.display().to_string())
        });
    fs::write(config, moved).expect("written");
    let mut broken = place.broken_promises(acknowledged);
    if durability == "full" {
        let (counted, rows) = place.quota_and_rows();
        if counted != rows {
            broken.push(format!("quota: {counted} uploads counted, {rows} rows"));
        }
        if broken.is_empty() {
            place.sweep_clears_what_was_left();
        }
    }
    broken
}
