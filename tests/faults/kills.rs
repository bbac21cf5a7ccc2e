//! Signals in the midst of uploads: SIGKILL at any instant, and SIGTERM.

use std::fs::File;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::promise::{Place, holds};
use crate::times;
use crate::uploads::{Moments, UPLOADERS, Uploads, endless_with_ends};

/// How many kills there are between two sweeps.
const SWEEP_EVERY: u32 = 50;

#[test]
fn kills_lose_nothing_that_was_acknowledged() {
    let kills = times("FAULTS_KILLS", 12);
    let mut site = endless_with_ends().start();
    let mut place = Place::of(&site);
    let uploads = Uploads::default();
    let mut moments = Moments::new();
    let began = Instant::now();
    let (mut left, mut withdrawn) = (0, 0);
    for kill in 1..=kills {
        let before = uploads.len();
        uploads.during(&site, UPLOADERS, 9_000, || {
            uploads.wait_for(1);
            thread::sleep(Duration::from_micros(moments.below(120_000)));
            site.signal(Signal::KILL);
        });
        assert_eq!(site.wait_for_end().code(), None);
        // Before anything else opens the ledger, and before the next responder does.
        holds(&mut place, &uploads.acknowledged(before));
        if kill % SWEEP_EVERY == 0 || kill == kills {
            left += place.spooled();
            let report = place.sweep_clears_what_was_left();
            withdrawn += report["withdrawn"].as_u64().unwrap_or(0);
        }
        forget_log(&site);
        site.start_responder();
    }
    holds(&mut place, &uploads.acknowledged(0));
    assert_eq!(uploads.upload(&site, 9_000), 200, "after the last kill");
    eprintln!(
        "{kills} kills under {UPLOADERS} uploaders in {:.0} s: {} images acknowledged, 0 lost, 0 partial, the ledger sound each time; \
         the sweep cleared {left} files from the spool and withdrew {withdrawn} rows without files",
        began.elapsed().as_secs_f64(),
        uploads.len(),
    );
}

#[test]
fn terminations_leave_nothing_behind() {
    let mut site = endless_with_ends().start();
    let mut place = Place::of(&site);
    let uploads = Uploads::default();
    for _ in 0..times("FAULTS_TERMS", 4) {
        let before = uploads.len();
        uploads.during(&site, UPLOADERS, 60_000, || {
            uploads.wait_for(UPLOADERS);
            site.signal(Signal::TERM);
            // Uploads go on, to nobody.
            thread::sleep(Duration::from_millis(20));
        });
        assert_eq!(site.wait_for_end().code(), Some(0));
        holds(&mut place, &uploads.acknowledged(before));
        let (_, rows) = place.quota_and_rows();
        assert_eq!((rows, place.spooled()), (place.files().len() as u64, 0));
        site.start_responder();
    }
    assert_eq!(uploads.upload(&site, 9_000), 200);
}

/// Begins the responder's log anew; it is read whole whenever a responder starts.
fn forget_log(site: &crate::site::Site) {
    let log = File::options()
        .write(true)
        .open(site.root.join("responder.log"));
    log.and_then(|log| log.set_len(0)).expect("the log");
}
